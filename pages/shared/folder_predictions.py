"""Prediction on a whole folder: work that is queued and can be left, and its results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from mammo_core.analysis.backing import DEFAULT_RULE
from mammo_core.analysis.operating_points import RULES, rule_words
from mammo_core.predict.exam_films import GROUPINGS
from mammo_core.predict.unfamiliar import FAMILIARITY
from mammo_core.report.tables import without_formulas
from mammo_core.runs.queue import enqueue, list_requests
from mammo_core.runs.schema import Request
from mammo_core.settings import Workspace
from mammo_core.workflows.batch_files import (
    EXAM_TABLE,
    FILM_TABLE,
    RESULTS,
    Batch,
    BatchSummary,
    film_paths,
    list_batches,
    load_batch,
)
from mammo_core.workflows.batch_tables import shown_groups, views_text
from mammo_core.workflows.overview import plural
from mammo_core.workflows.shelf import ShelfRow
from pages.shared.frame import errors_in_words, plain
from pages.shared.glossary import explain
from pages.shared.job_progress import OPEN_STATES, follow_job

KIND = "predict"
DOWNLOADS = {FILM_TABLE: ("Films, CSV", "text/csv"), EXAM_TABLE: ("Breasts and exams, CSV", "text/csv"),
             RESULTS: ("All, JSON", "application/json")}  # fmt: skip


def predict_folder(workspace: Workspace, model: ShelfRow) -> None:
    """Ask for a folder and start the job; below it the results of earlier ones."""
    with st.form("predict_folder_form", border=True):
        folder = st.text_input("Folder on this computer", placeholder="/data/exams", key="predict_folder").strip()
        left, right = st.columns(2, vertical_alignment="bottom")
        with left:
            grouping = st.selectbox(
                "Which films are one exam?", list(GROUPINGS), format_func=GROUPINGS.__getitem__, key="predict_grouping"
            )
        with right:
            rule = st.selectbox(
                "Threshold", list(RULES), index=list(RULES).index(DEFAULT_RULE), format_func=rule_words,
                key="predict_folder_rule", help=explain("threshold"),
            )  # fmt: skip
        maps = st.checkbox("Also write a map for each film", key="predict_maps")
        started = st.form_submit_button("Predict on all films in it", type="primary", icon=":material/play_arrow:")
    if started:
        if Path(folder).expanduser().is_dir() and folder:
            arguments = {"runs": list(model.runs), "folder": folder, "grouping": grouping, "gradcam": maps, "rule": rule}
            enqueue(workspace, KIND, arguments, f"Prediction on a folder with {model.name}")
            st.rerun()
        st.error("There is no such folder; expected one with films on this computer. Check how it is written.")
    _progress([request for request in list_requests(workspace) if request.kind == KIND])
    _results(workspace)


def _progress(requests: Sequence[Request]) -> None:
    request = max(requests, key=lambda item: item.created_at, default=None)
    if request is not None and request.state in OPEN_STATES:
        follow_job(request, "The films are being read and judged. You can leave this page.")
    elif request is not None and request.state == "failed":
        st.error(plain(request.message), icon=":material/error:")


def _results(workspace: Workspace) -> None:
    batches = {batch.name: batch for batch in list_batches(workspace)}
    if not batches:
        st.caption("Results of a folder are listed here and kept in the workspace, under reports/predictions.")
        return
    name = st.selectbox(
        "Results", list(batches), format_func=lambda key: _title(batches[key]), key="predict_batch", bind="query-params"
    )
    if name is not None:
        with errors_in_words():
            _show(load_batch(workspace, name))


def _title(batch: BatchSummary) -> str:
    if batch.state == "unreadable":
        return f"{batch.name}: cannot be read"
    state = "" if batch.state == "finished" else f", {batch.state}"
    return f"{batch.made_at} · {batch.predicted} of {plural(batch.films, 'film')} judged{state} · {batch.model}"


def _show(batch: Batch) -> None:
    if batch.problem:
        st.warning(plain(batch.problem), icon=":material/warning:")
    summary = batch.summary
    unlike = sum(row["unfamiliar"]["flagged"] is True for row in batch.films)
    st.markdown(
        f"**{plural(summary.predicted, 'film')} judged, {summary.failed} not read; {unlike} unlike the films the model knows; "
        f"{plural(summary.exams, 'exam')}.**"
    )
    if batch.films:
        shown = film_rows(batch)
        columns = {name: st.column_config.NumberColumn(format="%.2f") for name in shown.columns if name.startswith(("p(", "SD"))}
        st.dataframe(shown, hide_index=True, column_config=columns, alt=f"{len(shown)} films with what the model says of each")
    if any(exam["basis"] != "alone" for exam in batch.exams):
        table = exam_rows(batch)
        columns = {name: st.column_config.NumberColumn(format="%.2f") for name in table.columns if name.startswith("p(")}
        st.dataframe(table, hide_index=True, column_config=columns, alt=f"Means of {len(table)} breasts and exams")
    with st.container(horizontal=True):
        for name, (label, mime) in DOWNLOADS.items():
            path = summary.folder / name
            if path.exists():
                st.download_button(
                    label, path.read_bytes, file_name=f"{summary.name}_{name}", mime=mime, on_click="ignore",
                    icon=":material/download:", key=f"predict_batch_{name}",
                )  # fmt: skip
    maps = f" Their maps lie in {summary.folder.parent.name}/{summary.name}/maps." if summary.maps else ""
    if summary.rule in RULES:
        st.caption(plain(f"Thresholds by the rule: {rule_words(summary.rule)}. They are held against scores before scaling."))
    st.caption(plain(f"The files name films by number and content only. Which file a number was stands here on screen.{maps}"))


def film_rows(batch: Batch) -> pd.DataFrame:
    """One row a film, failures too, with the file's own name for the screen."""
    paths = film_paths(batch.summary.folder)
    rows = []
    for row in batch.films:
        probabilities = row.get("probabilities") or {}
        rows.append(
            {
                "Film": row["film"],
                "File": paths.get(row["film"], ""),
                "Exam": row.get("exam") or "",
                "Predicted": row.get("predicted") or "not read",
                **{f"p({name})": probabilities.get(name) for name in batch.summary.class_names},
                **_call(row),
                "SD over runs": row.get("spread"),
                "Film is": FAMILIARITY[row["unfamiliar"]["flagged"]] if row.get("predicted") else "",
                "What to know": " ".join(filter(None, (*row.get("warnings", ()), *_notes(row)))),
            }
        )
    return without_formulas(pd.DataFrame(rows))


def exam_rows(batch: Batch) -> pd.DataFrame:
    """One row an exam and one each of its breasts; of one film the exam alone."""
    rows = []
    for exam in batch.exams:
        groups = shown_groups(exam)
        if not groups:
            rows.append({"Mean of": exam["exam"], "Predicted": "no film of it counts"})
        for place, group in enumerate(groups):
            side = {"L": ", left breast", "R": ", right breast"}.get(group.get("side") or "", "")
            own = exam.get("warnings", ()) if place == 0 else ()
            rows.append(
                {
                    "Mean of": f"{exam['exam']}{side}",
                    "Films": views_text(group),
                    "Predicted": group["predicted"],
                    **{f"p({name})": group["probabilities"].get(name) for name in batch.summary.class_names},
                    **_call(group),
                    "What to know": " ".join(filter(None, [*own, group.get("disagreement"), *group.get("warnings", ())])),
                }
            )
    return without_formulas(pd.DataFrame(rows))


def _notes(row: Mapping[str, Any]) -> tuple[str | None, ...]:
    left_out = f"It counts for no mean: {row['left_out']}." if row.get("left_out") else None
    return left_out, row.get("error"), row.get("map_note")


def _call(row: Mapping[str, Any]) -> dict[str, str]:
    """A column named by the question, such as ``yes: 0.412 (threshold 0.350)``; batches of older versions have none."""
    judged = row.get("threshold")
    if not isinstance(judged, dict):
        return {}
    limit = judged["threshold"]
    threshold = "no score is high enough" if limit is None else f"threshold {limit:.3f}"
    return {judged["question"]: f"{'yes' if judged['called'] else 'no'}: {judged['score']:.3f} ({threshold})"}
