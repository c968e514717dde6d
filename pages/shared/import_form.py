"""Importing films in three steps on one screen: where they are, what was understood (and can be corrected), import."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import pandas as pd
import streamlit as st

from mammo_core.data.adapters import ADAPTERS, ROW_COLUMNS, ImportChoices, ImportPlan, adapter_names, understand
from mammo_core.data.adapters.base import PatientSource, SeveralLabels
from mammo_core.data.adapters.describing import meanings
from mammo_core.data.adapters.listing import Listing, list_source
from mammo_core.data.sandbox import DecodePool, FilmSummary, Job
from mammo_core.errors import DataError
from mammo_core.report.tables import without_formulas
from mammo_core.runs.queue import enqueue
from mammo_core.settings import Workspace
from pages.shared.fetch_form import fetch_form
from pages.shared.frame import plain
from pages.shared.glossary import explain
from pages.shared.name_field import ask_name

WORK_OUT = "work it out"
NO_COLUMN = "(none)"
LEAVE_OUT = "(leave out)"
ROLES = {role: role.capitalize() for role in ("label", *ROW_COLUMNS)} | {"laterality": "Side", "center": "Centre"}
PREVIEWS = 4
Choices = dict[str, Any]


def import_form(workspace: Workspace) -> str | None:
    """Draw the three steps; returns the id of the request once Import (or Fetch) was pressed.

    Raises
    ------
    MammoError
        What cannot be understood at all; the page shows it below the path.
    """
    st.markdown("**1. Where are the films?**")
    typed = st.text_input(
        "Folder of the films, or the table that lists them",
        key="films_source",
        persist_state="session",
        placeholder="for example /data/mammograms or D:\\mammograms\\labels.xlsx",
        help="DICOM, PNG, JPEG, TIFF or PGM, with a CSV or Excel table, or in folders named after the classes. "
        "The films stay where they are.",
    ).strip()
    if not typed:
        return fetch_form(workspace)
    source = str(Path(typed).expanduser().absolute())
    elsewhere = _ask_root(source)
    listing = _listing(source, elsewhere.get("root"), _stamp(source))
    st.markdown("**2. What I understood**")
    choices = _ask_source(listing, source, elsewhere)
    plan = _correct(source, listing, choices)
    if plan is None:
        return None
    _show(plan)
    return _start(workspace, source, plan, choices)


@st.cache_resource(max_entries=4, ttl=600, show_spinner="Looking at the folder")
def _listing(source: str, root: str | None, stamp: float) -> Listing:
    return list_source(Path(source), Path(root) if root else None)


@st.cache_resource(max_entries=8, ttl=600, show_spinner="Reading names and tables")
def _plan(source: str, choices: str, stamp: float) -> ImportPlan:
    return understand(source, ImportChoices(**json.loads(choices)))


def _stamp(source: str) -> float:
    """Changes when the folder or table was changed, so that it is looked at again."""
    path = Path(source)
    return path.stat().st_mtime if path.exists() else 0.0


def _attempt(source: str, choices: Choices) -> tuple[ImportPlan | None, DataError | None]:
    try:
        return _plan(source, json.dumps(choices, sort_keys=True), _stamp(source)), None
    except DataError as error:
        return None, error


# ---- corrections ------------------------------------------------------------------------------------------------------


def _tasks(source: str, choices: Choices) -> tuple[str, ...]:
    """What the source itself says can be learnt from it."""
    try:
        return (_plan(source, json.dumps(choices, sort_keys=True), _stamp(source)).task,)
    except SeveralLabels as question:
        return question.tasks
    except DataError:
        return ()


def _ask_root(source: str) -> Choices:
    """Where the films are, for a table that may lie apart from them."""
    if not Path(source).is_file():
        return {}
    typed = st.text_input("Folder of the films, if they lie elsewhere than the table", key="films_root").strip()
    return {"root": str(Path(typed).expanduser().absolute())} if typed else {}


def _ask_source(listing: Listing, source: str, elsewhere: Choices) -> Choices:
    titles = {adapter.name: adapter.title for adapter in ADAPTERS} | {"auto": "Work it out"}
    tables = [path.name for path in listing.tables]
    kind, task, table = st.columns(3)
    adapter = kind.selectbox("Kind of data set", adapter_names(), format_func=lambda name: titles[name], key="films_adapter")
    choices: Choices = elsewhere | ({"adapter": adapter} if adapter != "auto" else {})
    tasks = dict.fromkeys([*_tasks(source, choices), "density", "lesion"])
    learnt = task.selectbox(
        "What is to be learnt", [WORK_OUT, *tasks], accept_new_options=True, key="films_task", help=explain("class")
    )
    named = table.selectbox("Table", [WORK_OUT, *tables], key="films_table", disabled=len(tables) < 2)
    if learnt and learnt != WORK_OUT:
        choices["task"] = learnt
    if named in tables:
        choices["table"] = named
    return choices


def _correct(source: str, listing: Listing, choices: Choices) -> ImportPlan | None:
    """Let the user correct columns, patients and labels; ``choices`` grows by what was corrected."""
    plan, problem = _attempt(source, choices)
    columns = plan.columns_found if plan else _columns_of(listing, choices)
    with st.expander("Correct columns and patients", icon=":material/edit:", expanded=type(problem) is DataError):
        if columns:
            choices |= _ask_columns(plan, columns)
        choices |= _ask_patients(plan)
    plan, problem = _attempt(source, choices)
    if plan is not None:
        with st.expander("Correct labels and classes", icon=":material/label:"):
            choices |= _ask_labels(plan)
        plan, problem = _attempt(source, choices)
    if isinstance(problem, SeveralLabels):
        st.info(plain(str(problem)), icon=":material/help:")
    elif problem is not None:
        st.error(plain(str(problem)), icon=":material/error:")
    return plan


def _columns_of(listing: Listing, choices: Choices) -> Sequence[str]:
    named = [path for path in listing.tables if path.name == choices.get("table")] or list(listing.tables[:1])
    try:
        return list(listing.table(named[0]).columns) if named else []
    except DataError:
        return []


def _ask_columns(plan: ImportPlan | None, columns: Sequence[str]) -> Choices:
    options = [WORK_OUT, NO_COLUMN, *columns]
    chosen: dict[str, str] = {}
    with st.container(horizontal=True):
        for role, title in ROLES.items():
            found = plan.columns.get(role, NO_COLUMN) if plan else WORK_OUT
            index = options.index(found) if found in options else 0
            picked = st.selectbox(title, options, index=index, key=f"films_column_{role}", width=180)
            if picked not in (found, WORK_OUT):
                chosen[role] = "" if picked == NO_COLUMN else str(picked)
    return {"columns": chosen} if chosen else {}


def _ask_patients(plan: ImportPlan | None) -> Choices:
    sources = [WORK_OUT, *get_args(PatientSource)]
    left, right = st.columns(2)
    source = left.selectbox("Patients are known by", sources, key="films_patients", help=explain("patient key"))
    choices: Choices = {} if source == WORK_OUT else {"patient_from": source}
    if source == "file name pattern":
        pattern = right.text_input(
            "Pattern in the file name", placeholder="^([^_]+)_", key="films_pattern", help="The part in brackets is the patient."
        )
        if pattern.strip():
            choices["patient_pattern"] = pattern.strip()
    if plan is not None:
        left.caption(plan.patient_statement)
    return choices


def _ask_labels(plan: ImportPlan) -> Choices:
    left, right = st.columns(2)
    before = pd.DataFrame(
        {"In your data": list(plan.label_map), "Class": [name or LEAVE_OUT for name in plan.label_map.values()]}, dtype=str
    )
    with left:
        key = f"films_labels_{hash(tuple(plan.label_map.items()))}"
        after = st.data_editor(before, hide_index=True, disabled=["In your data"], key=key, alt="The label map")
        st.caption(f"{explain('label map')} Write {LEAVE_OUT} to leave films out.")
    names = [None if name in (LEAVE_OUT, "", None) else str(name).strip() for name in after["Class"]]
    corrected = dict(zip(before["In your data"], names, strict=True))
    found = list(dict.fromkeys(name for name in [*plan.class_names, *names] if name is not None and name in set(names)))
    with right:
        order = st.text_input("Classes in their order", ", ".join(found), key=f"films_order_{'_'.join(found)}")
        ordinal = st.checkbox("The order has a meaning (as for density A to D)", plan.ordinal, key=f"films_ordinal_{plan.task}")
    chosen = [name.strip() for name in order.split(",") if name.strip()]
    choices: Choices = {"label_map": corrected} if corrected != dict(plan.label_map) else {}
    if chosen != list(plan.class_names) and chosen:
        choices["class_names"] = chosen
    return choices | ({"ordinal": ordinal} if ordinal != plan.ordinal else {})


# ---- what was understood ----------------------------------------------------------------------------------------------


def _show(plan: ImportPlan) -> None:
    classes = " · ".join(f"{plain(name)} {count}" for name, count in plan.class_counts.items())
    where = f"the table {plain(plan.table.name)}" if plan.table else "folders"
    st.markdown(
        f"**{len(plan.rows)} films**, labelled by {where}, for the task **{plain(plan.task)}**: {classes}. "
        f"{plain(plan.patient_statement)}"
    )
    st.caption(plain(f"Recognised as {plan.title}: {plan.because}."))
    for note in [plan.label_words, *plan.notes]:
        if note:
            st.info(plain(note), icon=":material/info:")
    for warning in plan.warnings:
        st.warning(plain(warning), icon=":material/warning:")
    if plan.left_out:
        total = sum(item.count for item in plan.left_out)
        with st.expander(f"{total} rows or films are left out, and why", icon=":material/block:"):
            for item in plan.left_out:
                examples = f" (for example {', '.join(item.examples[:3])})" if item.examples else ""
                st.markdown(plain(f"{item.count}: {item.reason}{examples}"))
    with st.expander("What means what, and where it comes from", icon=":material/table_rows:"):
        lines = [(line.what, line.origin, "" if line.films is None else str(line.films)) for line in meanings(plan)]
        told = pd.DataFrame(lines, columns=["What", "From", "Known for (films)"])
        widths = {"What": "small", "From": "large", "Known for (films)": "small"}
        config = {name: st.column_config.TextColumn(width=width) for name, width in widths.items()}
        st.dataframe(
            without_formulas(told), hide_index=True, column_config=config, alt="What was understood, and where it comes from"
        )
    rows = plan.first_rows()
    shown = [column for column in rows.columns if (rows[column] != "").any()]
    st.caption("The first films, as they were understood. Patients and exams get new ids when they are imported.")
    st.dataframe(without_formulas(rows[shown]), hide_index=True, alt="The first films as they were understood")
    if st.toggle("Look at the first films", key="films_preview"):
        _show_previews(plan)


def _show_previews(plan: ImportPlan) -> None:
    files = plan.rows["file"].head(PREVIEWS).tolist()
    for column, (picture, sentence) in zip(st.columns(PREVIEWS), _previews(str(plan.root), tuple(files)), strict=False):
        if picture is None:
            column.warning(plain(sentence))
        else:
            column.image(picture, alt="Preview of a film as it will be read")
    st.caption(explain("preview"))


@st.cache_data(max_entries=4, show_spinner="Reading films")
def _previews(root: str, files: tuple[str, ...]) -> list[tuple[Any, str]]:
    with DecodePool(1) as pool:
        results = [result for _, result in pool.map(Job("facts", Path(root) / name) for name in files)]
    return [(result.thumbnail, "") if isinstance(result, FilmSummary) else (None, str(result)) for result in results]


# ---- import -----------------------------------------------------------------------------------------------------------


def _start(workspace: Workspace, source: str, plan: ImportPlan, choices: Choices) -> str | None:
    st.markdown("**3. Import**")
    with st.container(width=420):
        name = ask_name("Name of the data set", Path(source).stem, workspace.dataset, key="films_name")
    if not st.button(f"Import {len(plan.rows)} films", type="primary", icon=":material/download:", disabled=name is None):
        return None
    return enqueue(workspace, "import", {"source": source, "choices": choices, "name": name}, f"Import {name}").id
