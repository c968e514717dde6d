"""What a model says of uploaded films. Each film is read and judged once in a session; its pixels are kept for the last few."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import pandas as pd
import streamlit as st

from mammo_core.data.film import Film, FilmFacts
from mammo_core.data.sandbox import read_film_safely
from mammo_core.predict.model_record import REFERENCE_PREFIX
from mammo_core.predict.unfamiliar import FAMILIARITY
from mammo_core.settings import RESEARCH_ONLY, Workspace
from mammo_core.workflows.uploads import Upload, on_disk, told_by_name
from pages.shared.models_in_use import LoadedModel

if TYPE_CHECKING:
    from mammo_core.predict.exams import ExamOpinion
    from mammo_core.predict.predictor import Prediction

FILMS_KEPT = 2

Known: TypeAlias = "tuple[Prediction, FilmFacts] | str"
"""What is remembered of one film under one model."""


@dataclass(frozen=True, eq=False)
class Answer:
    """The result of one upload: a prediction, or the sentence that says why there is none."""

    upload: Upload
    prediction: Prediction | None
    error: str
    facts: FilmFacts | None = None
    """What the film's file says, of a film that was judged; it can name a patient and is never shown."""


def answers_for(workspace: Workspace, model: LoadedModel, uploads: Sequence[Upload]) -> list[Answer]:
    """One answer an upload, in their order; films that were judged before are not read again."""
    known: dict[object, Known] = st.session_state.setdefault("predict_answers", {})
    new = {upload.sha256: upload for upload in uploads if (model.key, upload.sha256) not in known}
    if new:
        _judge(workspace, model, list(new.values()), known)
    return [_answer(upload, known[(model.key, upload.sha256)]) for upload in uploads]


def _answer(upload: Upload, result: Known) -> Answer:
    return Answer(upload, None, result) if isinstance(result, str) else Answer(upload, result[0], "", result[1])


def _judge(workspace: Workspace, model: LoadedModel, uploads: Sequence[Upload], known: dict[object, Known]) -> None:
    from mammo_core.predict.predictor import Prediction, predict_each

    bar = st.progress(0.0, "Reading the films ...")
    with on_disk(workspace, uploads) as paths:
        results = predict_each(model.predictor, paths)
        for number, (upload, (path, film, result)) in enumerate(zip(uploads, results, strict=True), start=1):
            if film is not None and isinstance(result, Prediction):
                known[(model.key, upload.sha256)] = (result, film.facts)
            else:
                known[(model.key, upload.sha256)] = told_by_name(str(result), path, upload)
            if film is not None:
                _keep(upload, film)
            bar.progress(number / len(uploads), f"{number} of {len(uploads)} films")
    bar.empty()


def film_of_upload(workspace: Workspace, upload: Upload) -> Film:
    """The film itself, read again where it is no longer kept.

    Raises
    ------
    FilmUnreadable
        It cannot be read.
    """
    films: dict[str, Film] = st.session_state.setdefault("predict_films", {})
    if upload.sha256 not in films:
        with on_disk(workspace, [upload]) as (path,):
            _keep(upload, read_film_safely(path))
    return films[upload.sha256]


def _keep(upload: Upload, film: Film) -> None:
    films: dict[str, Film] = st.session_state.setdefault("predict_films", {})
    films[upload.sha256] = film
    for sha in list(films)[:-FILMS_KEPT]:
        del films[sha]


def exams_of(answers: Sequence[Answer], one_exam: bool) -> tuple[ExamOpinion, ...]:
    """The films averaged to breasts and exams; those that were not read are left out.

    Raises
    ------
    DataError
        They cannot be averaged.
    """
    from mammo_core.predict.exam_films import ExamFilm
    from mammo_core.predict.exams import exam_opinions

    films = [
        ExamFilm(place, answer.prediction, answer.facts)
        for place, answer in enumerate(answers)
        if answer.prediction is not None and answer.facts is not None
    ]
    return exam_opinions(films, one_exam)


def answer_table(answers: Sequence[Answer], class_names: Sequence[str]) -> pd.DataFrame:
    """One row a film, failures too, for the screen: it names the files."""
    rows = []
    for number, answer in enumerate(answers, start=1):
        p = answer.prediction
        row: dict[str, object] = {"Film": number, "File": answer.upload.shown_name}
        row |= {"Predicted": p.predicted if p else "not read"}
        row |= {f"p({name})": p.probabilities[name] if p else None for name in class_names}
        row |= {"SD over runs": p.spread if p else None, "Film is": FAMILIARITY[p.unfamiliar.flagged] if p else ""}
        row |= {"What to know": " ".join(p.warnings) if p else answer.error, "Film id": p.film_id if p else ""}
        rows.append(row)
    return pd.DataFrame(rows)


def export_table(answers: Sequence[Answer], table: pd.DataFrame, model: LoadedModel) -> pd.DataFrame:
    """The same to keep: without file names, which can name a patient, and with the model and the notice in every row."""
    told = [
        text.replace(answer.upload.shown_name, f"Film {number}")
        for number, (answer, text) in enumerate(zip(answers, table["What to know"], strict=True), start=1)
    ]
    names = ", ".join(run_id.removeprefix(REFERENCE_PREFIX) for run_id in model.run_ids)
    ids = [answer.prediction.model_id for answer in answers if answer.prediction is not None][:1]
    kept = table.drop(columns="File").assign(**{"What to know": told})
    return kept.assign(Model=names, **{"Model id": ids[0] if ids else "", "Notice": RESEARCH_ONLY})
