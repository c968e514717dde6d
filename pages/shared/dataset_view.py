"""One data set: its numbers, its films by class, what was odd about them and what could not be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from mammo_core.data.audit_findings import warnings_of
from mammo_core.data.exclusions import EXCLUSIONS_FILE, read_exclusions
from mammo_core.data.flagged import audit_now
from mammo_core.data.manifest import AUDIT_FILE, MANIFEST_FILE, Dataset, load_dataset
from mammo_core.data.near_pairs import NEAR_FILE
from mammo_core.report.tables import without_formulas
from mammo_core.settings import Workspace, open_workspace
from mammo_core.workflows.ingest import thumbnail_path
from mammo_core.workflows.overview import plural
from pages.shared.audit_view import show_audit, show_findings
from pages.shared.count_charts import bars_and_table, counts_sentence
from pages.shared.duplicate_view import show_duplicates
from pages.shared.flagged_view import show_flagged
from pages.shared.frame import plain
from pages.shared.glossary import explain
from pages.shared.import_record_view import show_import_record
from pages.shared.run_files import Stamp, stamp

FILMS_A_PAGE, FILMS_A_ROW = 12, 6
VIEW_KEY = "films_view"
WITH_WARNINGS = ("Classes and centres", "Audit")


def show_dataset(workspace: Workspace, dataset: Dataset) -> None:
    """Heading, numbers and warnings, then the chosen view."""
    record = dataset.record
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader(plain(dataset.name), width="content")
        if record.synthetic:
            st.badge("synthetic", icon=":material/science:", color="orange", help=explain("synthetic"))
    _numbers(dataset)
    order = ", in this order" if record.ordinal else ""
    out = len(read_exclusions(dataset))
    left_out = f" {plural(out, 'film')} left out by a person." if out else ""
    st.caption(
        plain(f"To be learnt: {record.task} ({', '.join(record.class_names)}{order}). {record.patient_statement}{left_out}")
    )
    views = {
        "Classes and centres": _show_classes,
        "Films": lambda dataset: _show_films(workspace, dataset),
        "Audit": lambda dataset: show_audit(workspace, dataset, VIEW_KEY),
        "Duplicates": lambda dataset: show_duplicates(workspace, dataset),
        "Flagged": lambda dataset: show_flagged(workspace, dataset),
        "Unreadable": _show_unreadable,
    }
    view = st.segmented_control(
        "View", list(views), default="Classes and centres", required=True, key=VIEW_KEY, label_visibility="collapsed",
        bind="query-params",
    )  # fmt: skip
    if view in WITH_WARNINGS:
        files = (AUDIT_FILE, EXCLUSIONS_FILE, NEAR_FILE)
        version = tuple(stamp(dataset.directory / name) for name in files)
        show_findings(warnings_of(record.warnings, _audit(str(workspace.home), dataset.name, version)), VIEW_KEY, view)
    views[view](dataset)


@st.cache_data(max_entries=4, show_spinner=False)
def _audit(home: str, name: str, version: tuple[Stamp, ...]) -> dict[str, Any]:
    return audit_now(load_dataset(open_workspace(home), name))


def _numbers(dataset: Dataset) -> None:
    counts = dataset.record.counts
    centers = [name for name in counts.per_center if name != "unknown"]
    numbers = (
        ("Films", counts.films, "film"),
        ("Patients", counts.patients, "patient"),
        ("Exams", counts.exams, "exam"),
        ("Classes", len(dataset.class_names), "class"),
        ("Centres", len(centers) or "–", "centre"),
        ("Unreadable", dataset.record.unreadable, "unreadable"),
    )
    for column, (label, value, word) in zip(st.columns(len(numbers)), numbers, strict=True):
        column.metric(label, value, help=explain(word))


def _show_classes(dataset: Dataset) -> None:
    counts = dataset.audit().get("class_by_center") or {
        name: {"films": films} for name, films in dataset.record.counts.per_class.items()
    }
    bars_and_table(counts, "Class", "Centre", finding=counts_sentence(counts, f"Films of {dataset.name} by class"))
    show_import_record(dataset.record)


# ---- films ------------------------------------------------------------------------------------------------------------


def _show_films(workspace: Workspace, dataset: Dataset) -> None:
    """Thumbnails of one class, a page at a time."""
    classes = list(dataset.class_names)
    chosen = st.segmented_control(
        "Class", classes, format_func=plain, key="films_class", default=classes[0], required=True, bind="query-params"
    )
    table = _manifest(str(workspace.home), dataset.name, stamp(dataset.directory / MANIFEST_FILE))
    rows = table[table["label"] == chosen]
    pages = max(1, -(-len(rows) // FILMS_A_PAGE))
    page = st.pagination(pages, key=f"films_page_{dataset.name}_{chosen}") if pages > 1 else 1
    st.caption(f"{plural(len(rows), 'film')} of class {plain(str(chosen))}")
    shown = rows.iloc[(page - 1) * FILMS_A_PAGE : page * FILMS_A_PAGE].to_dict("records")
    for start in range(0, len(shown), FILMS_A_ROW):
        for column, row in zip(st.columns(FILMS_A_ROW), shown[start : start + FILMS_A_ROW], strict=False):
            with column:
                _thumbnail(thumbnail_path(workspace, dataset.name, row["image_id"]), row)
    st.caption(explain("preview") + (" These films are synthetic." if dataset.record.synthetic else ""))


@st.cache_data(max_entries=4, show_spinner=False)
def _manifest(home: str, name: str, version: Stamp) -> pd.DataFrame:
    return load_dataset(open_workspace(home), name).manifest()


def _thumbnail(path: Path, row: dict[Any, Any]) -> None:
    words = " ".join(filter(None, [row["laterality"], row["view"]])) or "film"
    where = f" · centre {row['center']}" if row["center"] else ""
    try:
        picture = path.read_bytes()
    except FileNotFoundError:
        st.caption(f":material/hide_image: no preview  \n{plain(words + where)}")
        return
    st.image(picture, alt=f"{row['label']}, {words}{where}, reduced for display")
    st.caption(plain(words + where))


# ---- unreadable ----------------------------------------------------------------------------------------------------


def _show_unreadable(dataset: Dataset) -> None:
    films = dataset.audit().get("unreadable", [])
    if not films:
        st.success("Every film could be read.", icon=":material/check_circle:")
        return
    st.caption(explain("unreadable"))
    reasons = pd.DataFrame(films).rename(columns={"image_id": "Film", "label": "Class", "reason": "Reason"})
    st.dataframe(without_formulas(reasons), hide_index=True, alt=f"{len(films)} films that could not be read, with the reason")


def broken_datasets(problems: dict[str, str]) -> None:
    """Data sets that cannot be read, each with its sentence."""
    for name, problem in problems.items():
        st.error(f"**{plain(name)}**: {plain(problem)}", icon=":material/error:")
