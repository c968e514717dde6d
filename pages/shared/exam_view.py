"""Views of one exam together: the mean of each breast and of the exam, and where the views differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from mammo_core.analysis.backing import Backing, judge, score_text
from mammo_core.predict.exam_rows import exam_row
from mammo_core.workflows.batch_tables import exam_table, model_names
from pages.shared.figures import download_table
from pages.shared.frame import plain

if TYPE_CHECKING:
    from mammo_core.predict.exams import ExamOpinion, GroupOpinion


def show_exams(
    exams: Sequence[ExamOpinion], class_names: Sequence[str], backing: Backing, rule: str, asked: Sequence[str] = ()
) -> None:
    """Every exam of more than one film; ``asked`` are the runs, or the kept model, as the reader chose them."""
    together = [exam for exam in exams if exam.basis != "alone"]
    if not together:
        st.caption(
            "No two of these films are known to be of one exam (DICOM files say it), so nothing is averaged. If they are one "
            "woman's exam, say so above."
        )
        return
    for exam in together:
        _show(exam, class_names, backing, rule)
    download_table(export_exams(together, class_names, rule, asked), "exams", "predict_exams_csv")


def export_exams(exams: Sequence[ExamOpinion], class_names: Sequence[str], rule: str, asked: Sequence[str]) -> pd.DataFrame:
    """The table that a folder's ``exams.csv`` holds."""
    by = exams[0].judged_by
    facts = {
        "class_names": class_names,
        "model": model_names(asked, by.runs),
        "model_id": by.model_id,
        "temperature": by.backing.temperature,
        "runs": by.runs,
        "models": by.origins,
        "made_at": by.made_at,
    }
    return exam_table([exam_row(exam, rule) for exam in exams], facts)


def _show(exam: ExamOpinion, class_names: Sequence[str], backing: Backing, rule: str) -> None:
    with st.container(border=True):
        _warn(f"Is {exam.title} one exam?", exam.warnings)
        if exam.whole is None:
            st.markdown(f"**{exam.title}**: no film of it counts.")
        else:
            score = score_text(exam.whole.probabilities[exam.whole.predicted])
            st.markdown(f"**{exam.title}: {plain(exam.whole.predicted)}, score {plain(score)}**")
            st.caption(plain(exam.whole.words))
            st.dataframe(_table(exam, class_names), hide_index=True, alt=f"{exam.title}: means of the exam and of each breast")
            _thresholds(exam, backing, rule)
        _warn("What to know about this exam", [exam.differing, *_notes(exam), *(film.words for film in exam.left_out)])


def _warn(title: str, notes: Sequence[str]) -> None:
    listed = "\n".join(f"- {plain(note)}" for note in dict.fromkeys(notes) if note)
    if listed:
        st.warning(listed, title=title, icon=":material/warning:")


def _thresholds(exam: ExamOpinion, backing: Backing, rule: str) -> None:
    """A line for the exam and each breast; a reason that they share stands once."""
    reasons: list[str] = []
    for opinion in (*exam.shown[1:], *exam.shown[:1]):
        judged = judge(backing, opinion.level, rule, opinion.raw_probabilities, len(opinion.views))
        if isinstance(judged, str):
            reasons.append(judged)
        else:
            st.markdown(f":material/straighten: **{plain(opinion.title)}.** {plain(judged.words)}")
    for reason in dict.fromkeys(reasons):
        st.caption(plain(reason))


def _notes(exam: ExamOpinion) -> list[str]:
    """Where the views of a breast differ, else those of the exam; then the warnings of the films."""
    if exam.whole is None:
        return []
    told = exam.breasts or (exam.whole,)
    differing = [f"{opinion.title}: {opinion.disagreement}" for opinion in told if opinion.disagreement]
    return [*differing, *exam.whole.warnings]


def _table(exam: ExamOpinion, class_names: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame([_row(opinion, class_names) for opinion in exam.shown])


def _row(opinion: GroupOpinion, class_names: Sequence[str]) -> dict[str, object]:
    low, high = opinion.view_range or (None, None)
    return {
        "Mean of": opinion.title,
        "Films": ", ".join(view.label for view in opinion.views),
        "Predicted": opinion.predicted,
        **{f"p({name})": round(opinion.probabilities[name], 3) for name in class_names},
        "SD over runs": None if opinion.spread is None else round(opinion.spread, 3),
        "Single films": "" if low is None or high is None else f"{score_text(low)} to {score_text(high)}",
    }
