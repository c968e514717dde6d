"""Charts as files for paper and slides: PNG, SVG and PDF from the specification that the screen shows, without a network."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import vl_convert

from mammo_core.errors import ConfigError, MammoError
from mammo_core.report.figure_bytes import Drawing, read_drawing, with_font, with_png_text, with_svg_description
from mammo_core.report.hover import HOVER
from mammo_core.report.pdf_bytes import canonical
from mammo_core.report.spec import VEGALITE_VERSION, Chart, Config, Spec
from mammo_core.report.svg_layers import without_needless_layers
from mammo_core.report.theme import STYLES, StyleName, theme_config

Format = Literal["png", "svg", "pdf"]
FORMATS: tuple[Format, ...] = ("png", "svg", "pdf")
PPI = (300, 600)
"""Pixels per inch that journals ask for: of pictures with tones, and of line drawings."""

POINTS_PER_MM = 72 / 25.4
FILE_FONT = "Liberation Sans, Arial, Helvetica, sans-serif"
"""Liberation Sans first: the renderer carries it, so that a figure is the same on every machine. Its letters are as wide as
Arial's, so an editor that shows Arial instead keeps the layout."""

SCREEN_FONT_SIZE = STYLES["light"].font_size
LEAST_PLOT = 40
SPARE_POINTS = 2.0
"""White that may be left at the right."""
TRIES = 5
CLIP_ID = re.compile(r"(?<=id=\")clip\d+(?=\")|(?<=url\(#)clip\d+(?=\))")
FONT_SIZES = frozenset({"labelFontSize", "titleFontSize", "subtitleFontSize", "fontSize"})
FONT_EXTENTS = frozenset({"minExtent", "maxExtent"})


@dataclass(frozen=True)
class Preset:
    """A place where figures are printed or shown."""

    title: str
    width_mm: float
    font_sizes: tuple[float, ...]
    """Choices, points."""
    font_size: float
    """The first choice."""
    is_enlarged: bool = False
    """Whether the whole drawing grows with the letters (to be seen from afar) or only the letters do."""

    @property
    def points(self) -> float:
        """Width in points; one point is one unit of a specification."""
        return self.width_mm * POINTS_PER_MM


PRESETS = {
    "single": Preset("Single column (85 mm)", 85, (7, 7.5, 8, 9, 10), 7.5),
    "double": Preset("Double column (180 mm)", 180, (7, 7.5, 8, 9, 10), 8),
    "slide": Preset("Slide (254 mm)", 254, (14, 16, 18, 20, 24), 18, is_enlarged=True),
}


@dataclass(frozen=True)
class FigureSize:
    """How large a figure file is drawn."""

    preset: str = "single"
    font_size: float | None = None
    """Of axis labels, points, and no text is smaller; the preset's own where ``None``."""
    ppi: int = 300
    """Pixels per inch of a PNG: its sharpness, not its size."""

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise ConfigError(f"There is no figure size {self.preset!r}; expected one of {', '.join(PRESETS)}.")
        if not 5 <= self.points <= 40:
            raise ConfigError(f"The font size is {self.points:g} pt; expected 5 to 40 pt, for paper 7 to 10 pt.")
        if not 72 <= self.ppi <= 1200:
            raise ConfigError(f"The resolution is {self.ppi} pixels per inch; expected 72 to 1200, for journals 300 or 600.")

    @property
    def width_mm(self) -> float:
        return PRESETS[self.preset].width_mm

    @property
    def points(self) -> float:
        """The font size in points."""
        return self.font_size or PRESETS[self.preset].font_size

    @property
    def text(self) -> str:
        """``85 mm wide, 7.5 pt, 300 ppi``."""
        return f"{self.width_mm:g} mm wide, letters of {self.points:g} pt, {self.ppi} pixels per inch"


def draw_figure(
    build: Callable[[int], Chart], formats: Sequence[Format], size: FigureSize | None = None, note: str = ""
) -> dict[Format, bytes]:
    """One figure, exactly as wide as its preset, axes and names included; the same figure gives the same bytes.

    Parameters
    ----------
    build
        Makes the chart for a width of its plot.
    formats : sequence of {"png", "svg", "pdf"}
    size : FigureSize
        Single column by default.
    note : str
        Source of the figure (runs, code version, smoothing), kept inside PNG and SVG where an editor can read it.

    Raises
    ------
    MammoError
        An unknown format.
    """
    size = size or FigureSize()
    _check(formats)
    preset = PRESETS[size.preset]
    zoom = size.points / SCREEN_FONT_SIZE if preset.is_enlarged else 1.0
    style: StyleName = "light" if preset.is_enlarged else "paper"
    chart, drawing = _fitted(build, preset.points / zoom, _config(style, None if preset.is_enlarged else size.points))
    return _files(drawing.widened(preset.points / zoom).scaled(preset.points), formats, size.ppi, (chart.description, note))


def export(chart: Chart, file_format: Format, *, ppi: int = 300, style: StyleName = "paper", note: str = "") -> bytes:
    """One figure file of a chart as it is, one unit of it a point; :func:`draw_figure` makes one for a given width."""
    return export_all(chart, (file_format,), ppi=ppi, style=style, note=note)[file_format]


def export_all(
    chart: Chart, formats: Sequence[Format], *, ppi: int = 300, style: StyleName = "paper", note: str = ""
) -> dict[Format, bytes]:
    """:func:`export` to several formats, for one drawing: PNG and PDF are made from the SVG."""
    _check(formats)
    return _files(_draw(chart, _config(style, None)), formats, ppi, (chart.description, note))


def _check(formats: Sequence[str]) -> None:
    for file_format in formats:
        if file_format not in FORMATS:
            raise MammoError(f"{file_format!r} is no figure format; expected one of {', '.join(FORMATS)}.")


def _files(drawing: Drawing, formats: Sequence[Format], ppi: int, texts: tuple[str, str]) -> dict[Format, bytes]:
    files: dict[Format, bytes] = {}
    finding, note = texts
    pdf = canonical(vl_convert.svg_to_pdf(drawing.svg()), finding, note) if {"svg", "pdf"} & set(formats) else b""
    if "png" in formats:
        pixels = round(drawing.points * ppi / 72) + 0.01  # the renderer rounds down
        exact = drawing.scaled(pixels * 72 / ppi).svg()
        files["png"] = with_png_text(vl_convert.svg_to_png(exact, ppi=ppi, scale=1), note)
    if "svg" in formats:
        files["svg"] = with_svg_description(with_font(drawing.svg(unit="mm"), pdf), finding, note)
    if "pdf" in formats:
        files["pdf"] = pdf
    return files


# ---- from a chart to a drawing --------------------------------------------------------------------------------------------


def _config(style: StyleName, font_size: float | None) -> Config:
    """The look of a style with letters of another size; no text becomes smaller than ``font_size``."""
    config = theme_config(style)
    if font_size is not None:
        config = _resized(config, font_size / STYLES[style].font_size, font_size)
    config["font"] = config["text"]["font"] = FILE_FONT
    return Config(config)


def _resized(part: Any, factor: float, least: float) -> Any:
    if not isinstance(part, dict):
        return part
    return {key: _resized_value(key, value, factor, least) for key, value in part.items()}


def _resized_value(key: str, value: Any, factor: float, least: float) -> Any:
    if key in FONT_SIZES:
        return max(least, round(value * factor, 2))
    return round(value * factor) if key in FONT_EXTENTS else _resized(value, factor, least)


def _fitted(build: Callable[[int], Chart], width: float, config: Config) -> tuple[Chart, Drawing]:
    """The widest drawing that is not wider than ``width``: what stands around the plot can change with its width."""
    plot = max(LEAST_PLOT, round(width * 0.7))
    found: tuple[Chart, Drawing] | None = None
    for _ in range(TRIES):
        chart = build(plot)
        drawing = _draw(chart, config)
        left = width - drawing.width
        if left >= 0 and (found is None or drawing.width > found[1].width):
            found = chart, drawing
        if 0 <= left < SPARE_POINTS or (left < 0 and plot == LEAST_PLOT):
            break
        plot = max(LEAST_PLOT, plot + math.floor(left))
    return found or (chart, drawing)


def _draw(chart: Chart, config: Config) -> Drawing:
    """The drawing, with its clip paths counted from 0: Vega counts them through the life of the process."""
    spec = specification(chart.with_properties(config=config))
    svg: str = vl_convert.vegalite_to_svg(spec, vl_version=VEGALITE_VERSION, allowed_base_urls=[])
    found = dict.fromkeys(CLIP_ID.findall(svg))
    numbers = {name: f"clip{index}" for index, name in enumerate(found)}
    return read_drawing(without_needless_layers(CLIP_ID.sub(lambda match: numbers[match.group()], svg)))


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
