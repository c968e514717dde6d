"""A prediction on the page: the answer, what limits it, how it came about, and its files to keep."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from mammo_core.data.film import Film
from mammo_core.report.charts_prediction import probability_chart
from pages.shared.figures import show_chart
from pages.shared.frame import plain

if TYPE_CHECKING:
    from mammo_core.predict.explaining import Explanation
    from mammo_core.predict.predictor import Prediction
    from mammo_core.predict.unfamiliar import Unfamiliar

PICTURE_HEIGHT = 1600
"""Pixels of a film in a saved picture."""
CHART_WIDTH = 250


def told(prediction: Prediction) -> None:
    """The answer in words, what limits it, and how far the runs agree."""
    from mammo_core.predict.result_files import SCORE_NOTE, headline

    st.markdown(f"### {plain(headline(prediction))}")
    agreement = "" if prediction.agreement in prediction.warnings else prediction.agreement
    st.caption(plain(f"{agreement} {SCORE_NOTE}".strip()))
    if prediction.warnings:
        listed = "\n".join(f"- {plain(warning)}" for warning in prediction.warnings)
        st.warning(listed, title="Before you believe it", icon=":material/warning:")
    left, right = st.columns(2)
    with left:
        show_chart(probability_chart(prediction.probabilities, prediction.per_run, CHART_WIDTH), "predict_probabilities")
        if len(prediction.runs) > 1:
            st.caption(f"Bar: mean over {len(prediction.runs)} runs. Dots: the single runs.")
    with right:
        familiar(prediction.unfamiliar)


def familiar(unfamiliar: Unfamiliar) -> None:
    if unfamiliar.flagged is None:
        st.info(plain(unfamiliar.reason), title="Nobody can say whether the film is familiar", icon=":material/help:")
    elif unfamiliar.flagged:
        st.warning(plain(unfamiliar.reason), title="Unlike the films the model knows", icon=":material/warning:")
    else:
        st.success(plain(unfamiliar.reason), title="Familiar", icon=":material/check_circle:")


def save_buttons(prediction: Prediction, film: Film, explanation: Explanation) -> None:
    from mammo_core.predict.result_files import prediction_json, prediction_pdf, prediction_png

    files = {
        "PDF": (lambda: prediction_pdf(film, prediction, explanation), "application/pdf"),
        "PNG": (lambda: prediction_png(film, prediction, explanation, max_height=PICTURE_HEIGHT), "image/png"),
        "JSON": (lambda: prediction_json(prediction, explanation), "application/json"),
    }
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown("Save result")
        for kind, (make, mime) in files.items():
            name = f"prediction_{prediction.film_id}.{kind.lower()}"
            st.download_button(
                kind, make, file_name=name, mime=mime, key=f"predict_{kind}", on_click="ignore", icon=":material/download:"
            )
    st.caption("Saved files name the film by its content, never by its file name or patient.")


def details(prediction: Prediction) -> None:
    with st.expander("What was read and done to the film", icon=":material/list:"):
        st.markdown("\n".join(f"- {plain(step)}" for step in prediction.steps))
    with st.expander("Which model says so", icon=":material/badge:", expanded=True):
        for run, origin in zip(prediction.runs, prediction.origins, strict=True):
            synthetic = " (synthetic)" if origin.get("synthetic") else ""
            st.markdown(
                f"**{plain(run)}** · {plain(str(origin.get('arch')))}, best epoch {origin.get('epoch')} · trained on "
                f"{origin.get('train_films', '?')} films of {origin.get('train_patients', '?')} patients of "
                f"{plain(str(origin.get('dataset') or 'an unknown data set'))}{synthetic} · "
                f"split {str(origin.get('split_sha256'))[:8]}"
            )
