"""A prediction on the page: the answer, what limits it, how it came about, and its files to keep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import streamlit as st

from mammo_core.analysis.backing import DEFAULT_RULE, Backing, judge
from mammo_core.analysis.operating_points import RULES, rule_words
from mammo_core.data.film import Film
from mammo_core.report.charts_prediction import probability_chart
from pages.shared.figures import show_chart
from pages.shared.frame import plain
from pages.shared.glossary import explain

if TYPE_CHECKING:
    from mammo_core.predict.explaining import Explanation
    from mammo_core.predict.predictor import Prediction
    from mammo_core.predict.unfamiliar import Unfamiliar

GUARD_LIMITS = "The check does not notice films that are upside down or noisy, and it is no proof that the score is right."
PICTURE_HEIGHT = 1600
"""Pixels of a film in a saved picture."""
CHART_WIDTH = 250


def pick_rule(backing: Backing) -> str:
    """By which rule the threshold was chosen on the validation films; not asked where no question has a threshold."""
    if backing.question is None or not any(level.points for level in backing.levels):
        return DEFAULT_RULE
    return st.selectbox(
        f"Threshold for {plain(' or '.join(backing.question.positive))}",
        list(RULES),
        index=list(RULES).index(DEFAULT_RULE),
        format_func=rule_words,
        key="predict_rule",
        persist_state="session",
        help=explain("threshold"),
        width=420,
    )


def threshold_note(backing: Backing, rule: str, probabilities: Mapping[str, float]) -> None:
    """A film's score, before any temperature, held against the threshold, with what that gave on the validation films."""
    judged = judge(backing, "film", rule, probabilities)
    if isinstance(judged, str):
        st.caption(plain(judged))
    else:
        st.markdown(f":material/straighten: {plain(judged.words)}")


def told(prediction: Prediction, rule: str) -> None:
    """The answer in words, what limits it, and how far the runs agree."""
    from mammo_core.predict.result_files import headline, score_note

    st.markdown(f"### {plain(headline(prediction))}")
    agreement = "" if prediction.agreement in prediction.warnings else prediction.agreement
    st.caption(plain(f"{agreement} {score_note(prediction)}".strip()))
    if prediction.warnings:
        listed = "\n".join(f"- {plain(warning)}" for warning in prediction.warnings)
        st.warning(listed, title="Before you believe it", icon=":material/warning:")
    left, right = st.columns(2)
    with left:
        show_chart(probability_chart(prediction.probabilities, prediction.per_run, CHART_WIDTH), "predict_probabilities")
        if len(prediction.runs) > 1:
            if prediction.backing.scaling is None:
                st.caption(f"Bar: mean over {len(prediction.runs)} runs. Dots: the single runs.")
            else:
                st.caption(
                    f"Bar: mean over {len(prediction.runs)} runs, then scaled by the temperature. Dots: the single runs before "
                    "scaling, so the bar is not their mean."
                )
    with right:
        familiar(prediction.unfamiliar)
        threshold_note(prediction.backing, rule, prediction.raw_probabilities)


def familiar(unfamiliar: Unfamiliar) -> None:
    if unfamiliar.flagged is None:
        st.info(plain(unfamiliar.reason), title="Nobody can say whether the film is familiar", icon=":material/help:")
    elif unfamiliar.flagged:
        st.warning(plain(unfamiliar.reason), title="Unlike the films the model knows", icon=":material/warning:")
    else:
        st.info(
            plain(f"{unfamiliar.reason} {GUARD_LIMITS}"), title="Not flagged as unlike the films the model knows",
            icon=":material/info:",
        )  # fmt: skip


def save_buttons(prediction: Prediction, film: Film, explanation: Explanation, rule: str) -> None:
    from mammo_core.predict.result_files import prediction_json, prediction_pdf, prediction_png

    files = {
        "PDF": (lambda: prediction_pdf(film, prediction, explanation, rule), "application/pdf"),
        "PNG": (lambda: prediction_png(film, prediction, explanation, max_height=PICTURE_HEIGHT, rule=rule), "image/png"),
        "JSON": (lambda: prediction_json(prediction, explanation, rule), "application/json"),
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
    with st.expander("What backs the scores", icon=":material/verified:"):
        st.markdown(plain(prediction.backing.scaling_words))
        if prediction.backing.scaling is not None:
            raw = ", ".join(f"{name} {value:.2f}" for name, value in prediction.raw_probabilities.items())
            st.markdown(plain(f"Before scaling: {raw}."))
        if prediction.backing.joined:
            st.markdown(plain(f"Temperature and threshold come from {prediction.backing.joined}."))
    with st.expander("What was read and done to the film", icon=":material/list:"):
        st.markdown("\n".join(f"- {plain(step)}" for step in prediction.steps))
    with st.expander(f"Which model says so (id {prediction.model_id})", icon=":material/badge:", expanded=True):
        for run, origin in zip(prediction.runs, prediction.origins, strict=True):
            synthetic = " (synthetic)" if origin.get("synthetic") else ""
            st.markdown(
                f"**{plain(run)}** · {plain(str(origin.get('arch')))}, best epoch {origin.get('epoch')} · trained on "
                f"{origin.get('train_films', '?')} films of {origin.get('train_patients', '?')} patients of "
                f"{plain(str(origin.get('dataset') or 'an unknown data set'))}{synthetic} · "
                f"split {str(origin.get('split_sha256'))[:8]} · weights {str(origin.get('weights_sha256'))[:8]}"
            )
