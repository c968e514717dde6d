"""A chart on the page in the look of the user's theme, and its download as PNG, SVG, PDF and CSV."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pandas as pd
import streamlit as st

from mammo_core.report.charts_history import ZOOM
from mammo_core.report.figures import FORMATS, PAPER_WIDTHS, Format, export, fit_width
from mammo_core.report.spec import Chart
from mammo_core.report.tables import safe_csv
from mammo_core.report.theme import StyleName, themed

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
    st.vega_lite_chart(_with_x_axis(spec, zoom) if zoom else spec, width="content", theme=None, key=key, on_select="rerun")


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
    """``Download figure``: size for paper or slides, three formats, and the numbers behind the figure.

    Nothing is made before a button is pressed. ``name`` becomes the file name, ``note`` is kept inside the file.
    """
    with st.popover("Download figure", icon=":material/download:"):
        size = st.selectbox("Size", list(PAPER_WIDTHS), key=f"{key}_size", persist_state="session")
        style: StyleName = "slide" if size.startswith("slide") else "paper"
        stem = name.replace("/", "_")

        def draw(file_format: Format) -> bytes:
            return export(fit_width(build, PAPER_WIDTHS[size], style), file_format, style=style, note=note)

        with st.container(horizontal=True):
            for file_format in FORMATS:
                st.download_button(
                    file_format.upper(),
                    data=functools.partial(draw, file_format),
                    file_name=f"{stem}.{file_format}",
                    mime=MIME[file_format],
                    key=f"{key}_{file_format}",
                    on_click="ignore",
                )
            download_table(data, stem, f"{key}_csv", "CSV (data)")


def download_table(data: pd.DataFrame, stem: str, key: str, label: str = "Download CSV") -> None:
    """A table as CSV, whose text cells no spreadsheet takes for formulas."""
    st.download_button(label, data=lambda: safe_csv(data), file_name=f"{stem}.csv", mime="text/csv", key=key, on_click="ignore")
