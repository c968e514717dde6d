"""A chart on the page in the look of the user's theme, and its download as PNG, SVG, PDF and CSV."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import streamlit as st

from mammo_core.report.figures import FORMATS, PAPER_WIDTHS, export, fit_width
from mammo_core.report.theme import StyleName, themed

MIME = {"png": "image/png", "svg": "image/svg+xml", "pdf": "application/pdf"}
Build = Callable[[int], Any]
"""Makes the chart for a width of its plot."""


def show_chart(chart: Any, key: str, finding: str, *, zoom: bool = False) -> None:
    """Draw a chart; with ``zoom`` what the reader zoomed to survives a redrawing."""
    if zoom:
        st.altair_chart(screen(chart), width="content", theme=None, key=key, on_select="rerun", alt=finding)
    else:
        st.altair_chart(screen(chart), width="content", theme=None, key=key, alt=finding)


def screen(chart: Any) -> Any:
    """The chart in the colours of the page around it."""
    dark = st.context.theme.type == "dark"
    return themed(chart, "dark" if dark else "light")


def download_figure(build: Build, name: str, data: pd.DataFrame, note: str, key: str) -> None:
    """``Download figure``: size for paper or slides, three formats, and the numbers behind the figure.

    Nothing is made before a button is pressed. ``name`` becomes the file name, ``note`` is kept inside the file.
    """
    with st.popover("Download figure", icon=":material/download:"):
        size = st.selectbox("Size", list(PAPER_WIDTHS), key=f"{key}_size", persist_state="session")
        style: StyleName = "slide" if size.startswith("slide") else "paper"
        stem = name.replace("/", "_")
        with st.container(horizontal=True):
            for file_format in FORMATS:
                st.download_button(
                    file_format.upper(),
                    data=lambda file_format=file_format: export(
                        fit_width(build, PAPER_WIDTHS[size], style), file_format, style=style, note=note
                    ),
                    file_name=f"{stem}.{file_format}",
                    mime=MIME[file_format],
                    key=f"{key}_{file_format}",
                    on_click="ignore",
                )
            download_table(data, stem, f"{key}_csv", "CSV (data)")


def download_table(data: pd.DataFrame, stem: str, key: str, label: str = "Download CSV") -> None:
    """A table as CSV, whose text cells no spreadsheet takes for formulas."""
    st.download_button(label, data=lambda: safe_csv(data), file_name=f"{stem}.csv", mime="text/csv", key=key, on_click="ignore")
