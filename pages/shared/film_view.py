"""A film and its map in the viewer, at full resolution; nothing is added to the film but the map that is named below it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import streamlit as st

from mammo_core.config import TrainConfig
from mammo_core.explain.methods import MEANING, METHOD_TITLES, methods_of
from mammo_core.explain.targets import targets_of
from pages.shared.frame import plain
from pages.shared.viewer import Look, film_viewer

if TYPE_CHECKING:
    from mammo_core.data.film import Film
    from mammo_core.predict.explaining import Explanation


def film_and_map(film: Film, explanation: Explanation, key: str) -> None:
    """The plain film beside the film with the map over it; with an empty map the film alone. ``key`` names the viewer's place."""
    film_viewer(film, key, None if explanation.empty else explanation.map, Look(mode="pair"))
    st.caption(plain(explanation.statement))


def map_words(explanation: Explanation) -> None:
    """Alarms first, then what was looked at, then what such a map can and cannot say."""
    for sentence in explanation.alarms.sentences:
        st.warning(plain(sentence), icon=":material/warning:")
    calm = "" if explanation.alarms.sentences else ":material/check_circle: No alarm. "
    if explanation.alarms.checked:
        st.caption(f"{calm}{plain(explanation.alarms.checked)}")
    st.caption(plain(MEANING))


def map_choices(key: str, class_names: Sequence[str], first: str, configs: Iterable[TrainConfig] = ()) -> tuple[str, str]:
    """What to explain, and the method: one row of widgets.

    Parameters
    ----------
    first : the class shown at first
    configs : of the runs that are explained; they decide which questions make sense and which methods there can be

    Returns
    -------
    The name of a class or of another target, and the name of a method; both are what ``Predictor.explain`` takes.
    """
    configs = list(configs)
    names = [target.name for target in targets_of(class_names, any(config.ordinal for config in configs))]
    methods = [name for name in METHOD_TITLES if all(name in methods_of(config.arch) for config in configs)]
    target_column, method_column = st.columns(2, vertical_alignment="bottom")
    with target_column:
        target = st.selectbox(
            "Influence on the score for",
            names,
            index=names.index(first),
            key=f"{key}_class",
            help="A class, or the question that matters: its map shows what spoke for one side and against the other.",
        )
    with method_column:
        method = st.selectbox("Method", methods, format_func=METHOD_TITLES.__getitem__, key="map_method", persist_state="session")
    return target, method
