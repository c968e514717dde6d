"""A film and its map side by side, as previews; nothing is added to the film but the map that is named below it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import streamlit as st
from PIL import Image

from mammo_core.explain.methods import MEANING, METHOD_TITLES
from pages.shared.frame import plain
from pages.shared.glossary import explain

if TYPE_CHECKING:
    from mammo_core.data.film import Film
    from mammo_core.predict.predictor import Explanation

PREVIEW_HEIGHT = 620


def film_preview(film: Film, height: int = PREVIEW_HEIGHT) -> None:
    """The film, reduced to fit."""
    st.image(_png(_grey(film, height)), alt="The film as it was read, reduced for display", width="content")
    st.caption(f"{film.facts.width} x {film.facts.height} pixels; reduced for display", help=explain("preview"))


def film_and_map(film: Film, explanation: Explanation, opacity: float, contours: bool, height: int = PREVIEW_HEIGHT) -> None:
    """The plain film, and the film with the map over it."""
    left, right = st.columns(2)
    with left:
        film_preview(film, height)
    with right:
        from mammo_core.explain.rendering import OverlayStyle, overlay, reduced

        shown = min(height, film.pixels.shape[0])
        style = OverlayStyle(alpha=opacity, contours=contours)
        picture = overlay(reduced(film.pixels, shown), reduced(explanation.map, shown), style)
        st.image(_png(picture), alt=explanation.statement, width="content")
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


def _grey(film: Film, height: int) -> npt.NDArray[np.uint8]:
    """8-bit grey values at most ``height`` rows high; areas are averaged."""
    whole = np.rint(np.clip(film.pixels, 0, 1) * 255).astype(np.uint8)
    shown = min(height, whole.shape[0])
    size = (max(1, round(whole.shape[1] * shown / whole.shape[0])), shown)
    return np.asarray(Image.fromarray(whole).resize(size, Image.Resampling.BOX))


def _png(pixels: npt.NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def map_choices(key: str, class_names: Sequence[str], first: str) -> tuple[str, str, float, bool]:
    """Class, method, opacity and whether to draw contours: one row of widgets. ``first`` is the class shown at first."""
    class_column, method_column, opacity_column, contour_column = st.columns([2, 2, 2, 1.3], vertical_alignment="bottom")
    with class_column:
        class_name = st.selectbox(
            "Influence on the score for", class_names, index=list(class_names).index(first), key=f"{key}_class"
        )
    with method_column:
        method = st.selectbox(
            "Method", list(METHOD_TITLES), format_func=METHOD_TITLES.__getitem__, key="map_method", persist_state="session"
        )
    with opacity_column:
        opacity = st.slider("Opacity", 0.0, 1.0, 0.4, 0.05, key="map_opacity", persist_state="session")
    with contour_column:
        contours = st.toggle("Contours", key="map_contours", persist_state="session", help="Lines instead of colours")
    return class_name, method, opacity, contours
