"""Charts as files for paper and slides: PNG, SVG and PDF from the specification that the screen shows, without a network."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Sequence
from typing import Any, Literal
from xml.sax.saxutils import escape

import pandas as pd
import vl_convert

from mammo_core.errors import MammoError
from mammo_core.report.panels import HOVER
from mammo_core.report.spec import VEGALITE_VERSION, Chart, Spec
from mammo_core.report.tables import safe_csv
from mammo_core.report.theme import StyleName, themed

Format = Literal["png", "svg", "pdf"]
FORMATS: tuple[Format, ...] = ("png", "svg", "pdf")

POINTS_PER_MM = 72 / 25.4
SINGLE_COLUMN, DOUBLE_COLUMN, SLIDE = (width_mm * POINTS_PER_MM for width_mm in (85, 180, 254))
PAPER_WIDTHS = {"single column (85 mm)": SINGLE_COLUMN, "double column (180 mm)": DOUBLE_COLUMN, "slide (254 mm)": SLIDE}
"""Total widths in points; one point is one unit of the specification."""

CLIP_ID = re.compile(r"(?<=id=\")clip\d+(?=\")|(?<=url\(#)clip\d+(?=\))")
PNG_SIGNATURE_BYTES = 8
PNG_HEADER_BYTES = 25
"""Length of the IHDR chunk, which must come first."""


def export(chart: Chart, file_format: Format, *, ppi: int = 300, style: StyleName = "paper", note: str = "") -> bytes:
    """One figure file; the same chart gives the same bytes.

    Parameters
    ----------
    file_format : {"png", "svg", "pdf"}
    ppi : int
        Pixels per inch of a PNG, where one unit of the chart is one point (1/72 inch). It changes sharpness, not size.
    style : str
        The look; ``paper`` and ``slide`` have a white background.
    note : str
        Source of the figure (runs, code version, smoothing), kept inside PNG and SVG where an editor can read it.

    Raises
    ------
    MammoError
        An unknown format.
    """
    return export_all(chart, (file_format,), ppi=ppi, style=style, note=note)[file_format]


def export_all(
    chart: Chart, formats: Sequence[Format], *, ppi: int = 300, style: StyleName = "paper", note: str = ""
) -> dict[Format, bytes]:
    """:func:`export` to several formats, for one drawing: PNG and PDF are made from the SVG."""
    for file_format in formats:
        if file_format not in FORMATS:
            raise MammoError(f"{file_format!r} is no figure format; expected one of {', '.join(FORMATS)}.")
    spec = specification(themed(chart, style))
    svg = _svg(spec)
    files: dict[Format, bytes] = {}
    if "png" in formats:
        files["png"] = _with_png_text(vl_convert.svg_to_png(svg, ppi=ppi, scale=1), note)
    if "svg" in formats:
        files["svg"] = _with_svg_description(svg, spec.get("description", ""), note)
    if "pdf" in formats:
        files["pdf"] = bytes(vl_convert.svg_to_pdf(svg))
    return files


def _svg(spec: Spec) -> str:
    """The drawing, with its clip paths counted from 0: Vega counts them through the life of the process."""
    svg: str = vl_convert.vegalite_to_svg(spec, vl_version=VEGALITE_VERSION, allowed_base_urls=[])
    found = dict.fromkeys(CLIP_ID.findall(svg))
    numbers = {name: f"clip{index}" for index, name in enumerate(found)}
    return CLIP_ID.sub(lambda match: numbers[match.group()], svg)


def specification(chart: Chart) -> Spec:
    """The chart as Vega-Lite JSON, without the invisible layers that carry tooltips."""
    spec: Spec = _without_hover(chart.to_dict())
    return spec


def _without_hover(part: Any) -> Any:
    if isinstance(part, dict):
        return {key: value if key == "values" else _without_hover(value) for key, value in part.items()}
    if isinstance(part, list):
        return [_without_hover(entry) for entry in part if not _is_hover(entry)]
    return part


def _is_hover(part: Any) -> bool:
    return isinstance(part, dict) and str(part.get("name", "")).startswith(HOVER) and "mark" in part


def figure_data_csv(frame: pd.DataFrame) -> bytes:
    """The numbers behind a figure as CSV, safe to open in a spreadsheet."""
    return safe_csv(frame)


def fit_width(build: Callable[[int], Chart], total_points: float, style: StyleName = "paper") -> Chart:
    """Build a chart whose whole figure, axes and names included, is ``total_points`` wide.

    ``build`` takes the width of the plot. Axes and names keep their size, so one measurement is enough.
    """
    first = max(60, round(total_points * 0.7))
    around = svg_size(build(first), style)[0] - first
    return build(max(40, round(total_points - around)))


def svg_size(chart: Chart, style: StyleName = "paper") -> tuple[float, float]:
    """Width and height of the whole figure, points."""
    svg = _svg(specification(themed(chart, style)))
    head = svg[: svg.index(">")]
    width, height = (float(head.split(f' {name}="')[1].split('"')[0]) for name in ("width", "height"))
    return width, height


def _with_png_text(png: bytes, note: str) -> bytes:
    """Put ``note`` into the PNG as an iTXt chunk (UTF-8), right behind the header."""
    if not note:
        return png
    body = b"iTXt" + b"Description\0\0\0\0\0" + note.encode("utf-8")
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    place = PNG_SIGNATURE_BYTES + PNG_HEADER_BYTES
    return png[:place] + chunk + png[place:]


def _with_svg_description(svg: str, finding: str, note: str) -> bytes:
    """Put the finding as title and the source as description into the SVG, where screen readers and editors look."""
    end = svg.index(">") + 1
    inside = "".join(f"<{tag}>{escape(text)}</{tag}>" for tag, text in (("title", finding), ("desc", note)) if text)
    return (svg[:end] + inside + svg[end:]).encode("utf-8")
