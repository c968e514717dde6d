"""A film and its map in the viewer, at full resolution; nothing is added to the film but the map that is named below it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import streamlit as st

from mammo_core.explain.methods import MEANING, METHOD_TITLES
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
    """Alarms first, then what such a map can and cannot say."""
    for sentence in explanation.alarms.sentences:
        st.warning(plain(sentence), icon=":material/warning:")
    if not explanation.alarms.sentences and not explanation.empty:
        st.caption(":material/check_circle: No alarm: the map lies on the breast and not on the film's border.")
    cell = explanation.cell_mm
    size = f" One cell is about {cell[0]:.0f} x {cell[1]:.0f} mm of the breast." if cell else ""
    st.caption(plain(f"{MEANING}{size}"))


def map_choices(key: str, class_names: Sequence[str], first: str) -> tuple[str, str]:
    """Class and method: one row of widgets. ``first`` is the class shown at first."""
    class_column, method_column = st.columns(2, vertical_alignment="bottom")
    with class_column:
        class_name = st.selectbox(
            "Influence on the score for", class_names, index=list(class_names).index(first), key=f"{key}_class"
        )
    with method_column:
        method = st.selectbox(
            "Method", list(METHOD_TITLES), format_func=METHOD_TITLES.__getitem__, key="map_method", persist_state="session"
        )
    return class_name, method
