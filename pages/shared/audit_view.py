"""The audit of a data set: findings as sentences, tables, figures, and the films that were flagged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from mammo_core.data.audit_findings import findings_of
from mammo_core.data.manifest import Dataset, relink
from mammo_core.report.audit_text import audit_markdown
from mammo_core.report.charts_audit import composition_chart, shortcut_chart
from mammo_core.report.tables import safe_csv, without_formulas
from mammo_core.settings import Workspace
from mammo_core.workflows.audit_figures import FIGURES_FOLDER
from mammo_core.workflows.overview import plural
from pages.shared.audit_job import audit_button
from pages.shared.figures import download_figure, show_chart
from pages.shared.frame import errors_in_words, plain
from pages.shared.glossary import explain

CHART_WIDTH = 520
TABLES = {
    "Centre": "class_by_center", "Vendor": "class_by_vendor", "Device": "class_by_model", "View": "class_by_view",
    "Side": "class_by_laterality", "Year": "class_by_year",
}  # fmt: skip
COLOURS = {"warning": "orange", "info": "blue", "ok": "green"}
ICONS = {"warning": ":material/warning:", "info": ":material/info:", "ok": ":material/check_circle:"}


def show_findings(findings: Sequence[Mapping[str, str]], view_key: str, view: str) -> None:
    """Sentences below each other, each with the button to where it can be looked at; nothing where there is none.

    Parameters
    ----------
    view_key : key of the widget that chooses the tab
    view : the tab that is shown now
    """
    if not findings:
        return
    with st.container(border=True, gap="small"):
        for number, item in enumerate(findings):
            left, right = st.columns([7, 1], vertical_alignment="center")
            colour, icon = COLOURS[item["severity"]], ICONS[item["severity"]]
            left.markdown(f":{colour}[{icon}] {plain(item['sentence'])}")
            if item["view"] not in ("", view):
                right.button(
                    "Review", type="tertiary", key=f"films_review_{item['severity']}_{number}",
                    on_click=st.session_state.__setitem__, args=(view_key, item["view"]),
                )  # fmt: skip


def show_audit(workspace: Workspace, dataset: Dataset, view_key: str) -> None:
    """Everything that the audit counted; the button that makes it."""
    audit = dataset.audit()
    if not audit:
        st.info("This data set has no audit yet.", icon=":material/info:")
    is_full = "shortcut" in audit
    if not is_full:
        st.info(
            "The import counted what the table says. The full audit looks at every film once: sizes and devices, films that look "
            "identical, blank or inverted ones, and whether the file alone tells the class.",
            icon=":material/fact_check:",
        )
    with st.container(horizontal=True, vertical_alignment="center"):
        audit_button(workspace, dataset, "Audit again" if is_full else "Audit these films", primary=not is_full)
        if audit:
            st.download_button(
                "Markdown", audit_markdown({**audit, "findings": findings_of(audit), "figures": []}), f"{dataset.name}_audit.md",
                "text/markdown", icon=":material/download:", on_click="ignore",
            )  # fmt: skip
    if audit.get("figures"):
        folder = plain(f"datasets/{dataset.name}/{FIGURES_FOLDER}")
        st.caption(f"{plural(len(audit['figures']), 'figure')} (PNG and SVG) lie in the folder {folder} of the workspace.")
    if audit:
        show_findings([item for item in findings_of(audit) if item["severity"] != "warning"], view_key, "Audit")
        _show_numbers(audit)
        _show_composition(dataset, audit)
        if is_full:
            _show_shortcut(dataset, audit["shortcut"])
        _show_devices(audit)
    _ask_to_relink(dataset)


def _show_numbers(audit: Mapping[str, Any]) -> None:
    spread = audit.get("films_per_patient")
    if spread:
        patients = plural(audit.get("patients", 0), "patient")
        st.markdown(f"{patients} with {spread['min']} to {spread['max']} films each (median {spread['median']:g}).")
    kinds, bits = _pairs("Kinds of file", audit.get("kinds", {})), _pairs("Bits a pixel", audit.get("bits", {}))
    if kinds or bits:
        st.markdown(f"{kinds} {bits}")


def _pairs(title: str, counts: Mapping[str, int]) -> str:
    return f"{title}: {', '.join(f'{plain(str(name))} {count}' for name, count in counts.items())}." if counts else ""


def _show_composition(dataset: Dataset, audit: Mapping[str, Any]) -> None:
    there = [title for title, key in TABLES.items() if audit.get(key)]
    if not there:
        return
    st.markdown("**Classes by**")
    title = st.segmented_control(
        "Classes by", there, default=there[0], required=True, key=f"films_by_{dataset.name}", label_visibility="collapsed"
    )
    counts = audit[TABLES[title]]
    names = list(dataset.class_names)
    show_chart(composition_chart(counts, title, names, CHART_WIDTH), f"films_composition_{title}")
    table = pd.DataFrame(counts).reindex(columns=names, fill_value=0).rename_axis(title)
    st.dataframe(without_formulas(table), alt=f"Films by {title.lower()} and class")
    st.download_button("CSV", safe_csv(table.reset_index()), f"{dataset.name}_{title.lower()}.csv", "text/csv", on_click="ignore")


def _show_shortcut(dataset: Dataset, test: Mapping[str, Any]) -> None:
    st.subheader("Can the file alone tell the class?", help=explain("shortcut"))
    st.caption(
        "A small classifier that sees no picture, only vendor, size, bits, window, year and the like, is judged on patients it "
        "did not learn from. If it succeeds, a network can take the same shortcut, and will fail in another hospital."
    )
    if not test.get("tested"):
        st.info(plain(test["sentence"]), icon=":material/info:")
        return
    show_chart(shortcut_chart(test, CHART_WIDTH), "films_shortcut")
    counted = f"{test['films']} films in {test.get('groups', '?')} groups (a patient, or patients who share a film)"
    note = f"{counted}, {test['folds']} folds; {test['method']}."
    download_figure(
        lambda width: shortcut_chart(test, width),
        f"{dataset.name}_shortcut",
        pd.DataFrame(test["columns"]),
        note,
        "films_shortcut_file",
    )
    st.caption(plain(note))
    titles = {column["column"]: column["title"] for column in test["columns"]}
    for name, table in test.get("tables", {}).items():
        st.markdown(f"**{plain(titles.get(name, name)).capitalize()}**")
        st.dataframe(
            without_formulas(pd.DataFrame.from_dict(table, orient="index")), alt=f"Films by {titles.get(name, name)} and class"
        )


def _show_devices(audit: Mapping[str, Any]) -> None:
    left, right = st.columns(2)
    if audit.get("sizes"):
        left.markdown(f"**Image sizes** ({audit.get('size_kinds', len(audit['sizes']))} different)")
        sizes = pd.DataFrame(audit["sizes"]).rename(columns={"height": "Height", "width": "Width", "films": "Films"})
        left.dataframe(sizes, hide_index=True, alt="Image sizes in pixels with the number of films")
    missing = {**audit.get("missing", {}), **audit.get("facts_missing", {})}
    if missing:
        right.markdown("**Missing values**")
        table = pd.DataFrame(missing.items(), columns=["Column", "Films without"])
        right.dataframe(without_formulas(table), hide_index=True, alt="Columns with the number of films that lack a value")
    notices = audit.get("film_warnings", [])
    if notices:
        st.markdown("**What films told when they were read**")
        st.dataframe(without_formulas(pd.DataFrame(notices)), hide_index=True, alt="Warnings of films with the number of films")


def _ask_to_relink(dataset: Dataset) -> None:
    with st.expander("The folder of the films moved", icon=":material/drive_file_move:"):
        root = st.text_input("Where the films are now", key=f"films_root_{dataset.name}", placeholder="/data/moved/mammograms")
        if st.button("Relink", disabled=not root.strip()):
            with errors_in_words():
                relink(dataset, Path(root.strip()))
                st.success("The films were found there.", icon=":material/check_circle:")
