"""One data set: its numbers, its films by class, what was odd about them and what could not be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from mammo_core.data.manifest import MANIFEST_FILE, Dataset, load_dataset, relink
from mammo_core.settings import Workspace, open_workspace
from mammo_core.workflows.ingest import thumbnail_path
from mammo_core.workflows.overview import plural
from pages.shared.count_charts import bars_and_table, counts_sentence
from pages.shared.frame import errors_in_words, plain
from pages.shared.glossary import explain
from pages.shared.run_files import Stamp, stamp

FILMS_A_PAGE, FILMS_A_ROW = 12, 6


def show_dataset(workspace: Workspace, dataset: Dataset) -> None:
    """Heading, numbers and warnings, then the chosen view."""
    record = dataset.record
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader(plain(dataset.name), width="content")
        if record.synthetic:
            st.badge("synthetic", icon=":material/science:", color="orange", help=explain("synthetic"))
    _numbers(dataset)
    order = ", in this order" if record.ordinal else ""
    st.caption(plain(f"To be learnt: {record.task} ({', '.join(record.class_names)}{order}). {record.patient_statement}"))
    for warning in record.warnings:
        st.warning(plain(warning), icon=":material/warning:")
    views = {
        "Classes and centres": _show_classes,
        "Films": lambda dataset: _show_films(workspace, dataset),
        "Audit": _show_audit,
        "Unreadable": _show_unreadable,
    }
    view = st.segmented_control(
        "View", list(views), default="Classes and centres", required=True, key="films_view", label_visibility="collapsed",
        bind="query-params",
    )  # fmt: skip
    views[view](dataset)


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
    _show_left_out(dataset)


def _show_left_out(dataset: Dataset) -> None:
    if dataset.record.left_out:
        st.markdown("**Left out at import**")
        for item in dataset.record.left_out:
            st.markdown(plain(f"{item.get('count', '?')}: {item.get('reason', '')}"))


# ---- films ------------------------------------------------------------------------------------------------------------


def _show_films(workspace: Workspace, dataset: Dataset) -> None:
    """Thumbnails of one class, a page at a time."""
    classes = list(dataset.class_names)
    chosen = st.segmented_control("Class", classes, key="films_class", default=classes[0], required=True, bind="query-params")
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


# ---- audit ------------------------------------------------------------------------------------------------------------


def _show_audit(dataset: Dataset) -> None:
    audit = dataset.audit()
    if not audit:
        st.info("This data set has no audit; import it again to make one.")
        return
    spread = audit.get("films_per_patient")
    if spread:
        patients = plural(audit.get("patients", 0), "patient")
        st.markdown(f"{patients} with {spread['min']} to {spread['max']} films each (median {spread['median']:g}).")
    st.markdown(f"{_pairs('Kinds of file', audit.get('kinds', {}))} {_pairs('Bits a pixel', audit.get('bits', {}))}")
    identical, conflicts = audit.get("identical_films", 0), audit.get("identical_with_different_labels", 0)
    sentence = f"{identical} films have the same pixels as another one ({conflicts} sets with different labels)."
    st.markdown(sentence, help=explain("duplicate"))
    left, right = st.columns(2)
    for place, part, key in (
        (left, "View", "class_by_view"),
        (right, "Side", "class_by_laterality"),
        (st, "Vendor", "class_by_vendor"),
    ):
        if audit.get(key):
            place.markdown(f"**{part}**")
            place.dataframe(pd.DataFrame(audit[key]).T.rename_axis("Class"), alt=f"Films by class and {part.lower()}")
    notices = audit.get("film_warnings", [])
    if notices:
        st.markdown("**What films told when they were read**")
        st.dataframe(pd.DataFrame(notices), hide_index=True, alt="Warnings of films with the number of films")
    _ask_to_relink(dataset)


def _pairs(title: str, counts: dict[str, int]) -> str:
    return f"{title}: {', '.join(f'{plain(str(name))} {count}' for name, count in counts.items())}." if counts else ""


def _ask_to_relink(dataset: Dataset) -> None:
    with st.expander("The folder of the films moved", icon=":material/drive_file_move:"):
        root = st.text_input("Where the films are now", key=f"films_root_{dataset.name}", placeholder="/data/moved/mammograms")
        if st.button("Relink", disabled=not root.strip()):
            with errors_in_words():
                relink(dataset, Path(root.strip()))
                st.success("The films were found there.", icon=":material/check_circle:")


def _show_unreadable(dataset: Dataset) -> None:
    films = dataset.audit().get("unreadable", [])
    if not films:
        st.success("Every film could be read.", icon=":material/check_circle:")
        return
    st.caption(explain("unreadable"))
    reasons = pd.DataFrame(films).rename(columns={"image_id": "Film", "label": "Class", "reason": "Reason"})
    st.dataframe(reasons, hide_index=True, alt=f"{len(films)} films that could not be read, with the reason")


def broken_datasets(problems: dict[str, str]) -> None:
    """Data sets that cannot be read, each with its sentence."""
    for name, problem in problems.items():
        st.error(f"**{plain(name)}**: {plain(problem)}", icon=":material/error:")
