"""A chart on the page in the look of the user's theme, and its download as PNG, SVG, PDF, CSV and caption."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pandas as pd
import streamlit as st

from mammo_core.report.captions import figure_caption
from mammo_core.report.charts_history import ZOOM
from mammo_core.report.figures import FORMATS, PPI, PRESETS, FigureSize, Format, draw_figure
from mammo_core.report.spec import Chart
from mammo_core.report.tables import safe_csv
from mammo_core.report.theme import themed

MIME = {"png": "image/png", "svg": "image/svg+xml", "pdf": "application/pdf"}
PLOT_WIDTH = 560
"""Of a chart that has the page for itself: with axis and names it fits a window of 1280 pixels beside the sidebar."""

Build = Callable[[int], Chart]
"""Makes the chart for a width of its plot."""


def show_chart(chart: Chart, key: str) -> None:
    """Draw a chart of ``mammo_core.report``; its description is its alternative text."""
    st.vega_lite_chart(_specification(chart), width="content", theme=None, key=key)


def show_zoomable_chart(chart: Chart, key: str) -> None:
    """The same for a chart whose x axis can be zoomed, over all its panels; a redrawing keeps what was zoomed to.

    Streamlit itself keeps the zoom of single charts only, so what the reader zoomed to becomes the axis of the next drawing.
    """
    spec, zoom = _specification(chart), _zoom(key)
    shown = _with_x_axis(spec, zoom) if zoom else spec
    # only the zoom: a crosshair must not run the page at every movement of the pointer
    st.vega_lite_chart(shown, width="content", theme=None, key=key, on_select="rerun", selection_mode=ZOOM)


def _zoom(key: str) -> list[float] | None:
    """The ends of the x axis that the reader chose, as the chart reported them; ``None`` for all of it."""
    selection = st.session_state.get(key, {}).get("selection", {}).get(ZOOM, {})
    return next(iter(selection.values()), None)


def _with_x_axis(part: Any, domain: list[float]) -> Any:
    """A copy of a specification whose x axes show ``domain``."""
    if isinstance(part, list):
        return [_with_x_axis(item, domain) for item in part]
    if not isinstance(part, dict):
        return part
    copy = {name: value if name == "data" else _with_x_axis(value, domain) for name, value in part.items()}
    x = (copy.get("encoding") or {}).get("x") or {}
    if "domain" in (x.get("scale") or {}):
        x["scale"]["domain"] = domain
    return copy


def _specification(chart: Chart) -> dict[str, Any]:
    """Vega-Lite JSON in the colours of the page around it, on the page's own background."""
    shown = themed(chart, "dark" if st.context.theme.type == "dark" else "light")
    shown.config.background = "transparent"
    return shown.to_dict() | {"autosize": {"type": "pad"}}  # Streamlit's own "fit" squeezes plots that have names beside them


def download_figure(build: Build, name: str, data: pd.DataFrame, note: str, key: str) -> None:
    """``Download figure``: size, letters and sharpness for paper or slides, three formats, the numbers behind it, the caption.

    Nothing is made before a button is pressed. ``name`` becomes the file name, ``note`` (runs, n, SD) is kept inside the file.
    """
    stem = name.replace("/", "_")
    with st.popover("Download figure", icon=":material/download:"):
        size = choose_size(key)
        with st.container(horizontal=True):
            for file_format in FORMATS:
                st.download_button(
                    file_format.upper(),
                    data=functools.partial(_draw, build, file_format, size, note),
                    file_name=f"{stem}.{file_format}",
                    mime=MIME[file_format],
                    key=f"{key}_{file_format}",
                    on_click="ignore",
                )
        with st.container(horizontal=True):
            download_table(data, stem, f"{key}_csv", "Data (CSV)")
            st.download_button(
                "Caption",
                data=lambda: figure_caption(build(PLOT_WIDTH).description, note).encode(),
                file_name=f"{stem}_caption.txt",
                mime="text/plain",
                key=f"{key}_caption",
                on_click="ignore",
            )


def choose_size(key: str) -> FigureSize:
    """Widgets for the size of a figure file: where it will stand, its letters, and the sharpness of a PNG."""
    preset = st.selectbox(
        "Size", list(PRESETS), format_func=lambda name: PRESETS[name].title, key=f"{key}_size", persist_state="session"
    )
    sizes = PRESETS[preset].font_sizes
    left, right = st.columns(2)
    points = left.selectbox(
        "Letters", sizes, index=sizes.index(PRESETS[preset].font_size), format_func=lambda points: f"{points:g} pt",
        key=f"{key}_letters_{preset}", persist_state="session", help="Size of the smallest letters, on paper or slide.",
    )  # fmt: skip
    ppi = right.selectbox(
        "PNG", PPI, format_func=lambda ppi: f"{ppi} ppi", key=f"{key}_ppi", persist_state="session",
        help="Pixels per inch: sharpness, not size. SVG and PDF are sharp at any size.",
    )  # fmt: skip
    return FigureSize(preset, points, ppi)


def _draw(build: Build, file_format: Format, size: FigureSize, note: str) -> bytes:
    return draw_figure(build, (file_format,), size, note)[file_format]


def download_table(data: pd.DataFrame, stem: str, key: str, label: str = "Download CSV") -> None:
    """A table as CSV, whose text cells no spreadsheet takes for formulas."""
    st.download_button(label, data=lambda: safe_csv(data), file_name=f"{stem}.csv", mime="text/csv", key=key, on_click="ignore")
