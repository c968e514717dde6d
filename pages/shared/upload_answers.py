"""What a model says of uploaded films. Each film is read and judged once in a session; its pixels are kept for the last few."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from mammo_core.data.film import Film
from mammo_core.data.sandbox import read_film_safely
from mammo_core.settings import RESEARCH_ONLY, Workspace
from mammo_core.workflows.uploads import Upload, on_disk, told_by_name
from pages.shared.models_in_use import LoadedModel

if TYPE_CHECKING:
    from mammo_core.predict.predictor import Prediction

FILMS_KEPT = 2


@dataclass(frozen=True, eq=False)
class Answer:
    """The result of one upload: a prediction, or the sentence that says why there is none."""

    upload: Upload
    prediction: Prediction | None
    error: str


def answers_for(workspace: Workspace, model: LoadedModel, uploads: Sequence[Upload]) -> list[Answer]:
    """One answer an upload, in their order; films that were judged before are not read again."""
    known: dict[object, Prediction | str] = st.session_state.setdefault("predict_answers", {})
    new = {upload.sha256: upload for upload in uploads if (model.key, upload.sha256) not in known}
    if new:
        _judge(workspace, model, list(new.values()), known)
    found = [(upload, known[(model.key, upload.sha256)]) for upload in uploads]
    return [Answer(upload, None, result) if isinstance(result, str) else Answer(upload, result, "") for upload, result in found]


def _judge(workspace: Workspace, model: LoadedModel, uploads: Sequence[Upload], known: dict[object, Prediction | str]) -> None:
    from mammo_core.predict.predictor import Prediction, predict_each

    bar = st.progress(0.0, "Reading the films ...")
    with on_disk(workspace, uploads) as paths:
        results = predict_each(model.predictor, paths)
        for number, (upload, (path, film, result)) in enumerate(zip(uploads, results, strict=True), start=1):
            answer = result if isinstance(result, Prediction) else told_by_name(str(result), path, upload)
            known[(model.key, upload.sha256)] = answer
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


def answer_table(answers: Sequence[Answer], class_names: Sequence[str]) -> pd.DataFrame:
    """One row a film, failures too."""
    rows = []
    for answer in answers:
        p = answer.prediction
        row: dict[str, object] = {"File": answer.upload.shown_name, "Predicted": p.predicted if p else "not read"}
        row |= {f"p({name})": p.probabilities[name] if p else None for name in class_names}
        flagged = {True: "unlike", False: "familiar", None: "not judged"}[p.unfamiliar.flagged] if p else ""
        row |= {"SD over runs": p.spread if p else None, "Film is": flagged}
        row |= {"What to know": " ".join(p.warnings) if p else answer.error, "Film id": p.film_id if p else ""}
        rows.append(row)
    return pd.DataFrame(rows)


def export_table(table: pd.DataFrame, model: LoadedModel) -> pd.DataFrame:
    """The same to keep, with the model and the notice in every row."""
    return table.assign(Model=", ".join(model.run_ids), Notice=RESEARCH_ONLY)
