"""Maps as pictures: the film in grey, the map over it in a perceptually even colour scale, the plain film beside it.

Blending is our own: the library's divides by the maximum, so the same film would be of another brightness under each map.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo
from skimage.measure import find_contours

from mammo_core.errors import ConfigError
from mammo_core.explain.methods import MEANING
from mammo_core.settings import RESEARCH_ONLY

Grey = npt.NDArray[np.float32]
Rgb = npt.NDArray[np.uint8]

COLOUR_MAPS = ("inferno", "magma", "viridis", "cividis")
"""Even in lightness; with jet, edges appear where the map has none."""
FULL_COLOUR_AT = 0.25
"""Map value from which the overlay has its whole opacity. Below it fades, so that tissue without influence stays plain grey."""
CONTOUR_LEVELS = (0.25, 0.5, 0.75)
CONTOUR_COLOUR = (0, 230, 255)
PAPER = (255, 255, 255)
INK = (25, 25, 25)
GAP = 8
"""Pixels between panels."""
MIN_TEXT = 12
"""Pixels."""
LINES_PER_FILM = 22
"""Lines of text that a film is high; 8 points in print where the film is 5 cm high."""
PRINT_PPI = 300
COMPRESSION = 3
"""Of PNG, 0 to 9: half the time of the default for a tenth more bytes."""


@dataclass(frozen=True, kw_only=True)
class OverlayStyle:
    """How a map is laid over a film."""

    alpha: float = 0.4
    """Opacity of the colours where the map is high, in [0, 1]."""
    colour_map: str = "inferno"
    contours: bool = False
    """Lines at a quarter, half and three quarters of the maximum instead of colours."""

    def __post_init__(self) -> None:
        if self.colour_map not in COLOUR_MAPS:
            raise ConfigError(f"The colour map {self.colour_map!r} is not offered; expected one of {', '.join(COLOUR_MAPS)}.")
        if not 0 <= self.alpha <= 1:
            raise ConfigError(f"The opacity is {self.alpha}; expected a number from 0 (film only) to 1 (colours only).")


@dataclass(frozen=True, eq=False)
class Panel:
    """One film with its map, as it goes into a figure."""

    film: Grey
    """``(H, W)`` in [0, 1]."""
    map: Grey
    """``(H, W)`` in [0, 1], on the same pixels."""
    lines: Sequence[str] = ()
    """Caption, one entry a line. Never a patient's identity or a file name."""


def coloured(map_: Grey, colour_map: str = "inferno") -> Rgb:
    """Colours ``(H, W, 3)`` uint8 of a map in [0, 1]."""
    return np.asarray(_palette_picture(_to_8_bits(map_), colour_map))


def grey(film: Grey) -> Rgb:
    """A film in [0, 1] as ``(H, W, 3)`` uint8."""
    return np.asarray(_to_8_bits(film).convert("RGB"))


def overlay(film: Grey, map_: Grey, style: OverlayStyle | None = None) -> Rgb:
    """The film with its map over it; pixels where the map is 0 are those of the film.

    Everything is done on 8 bits in Pillow: for a film of 12 million pixels that is ten times as fast as in float32.

    Parameters
    ----------
    film, map_ : float32 ndarrays of one shape (H, W), in [0, 1]

    Returns
    -------
    uint8 ndarray of shape (H, W, 3)
    """
    style = style or OverlayStyle()
    if style.contours:
        return _with_contours(film, map_)
    levels = _to_8_bits(map_)
    opacity = levels.point([round(255 * style.alpha * min(1.0, level / 255 / FULL_COLOUR_AT)) for level in range(256)])
    return np.asarray(Image.composite(_palette_picture(levels, style.colour_map), _to_8_bits(film).convert("RGB"), opacity))


def _to_8_bits(image: Grey) -> Image.Image:
    """Grey picture of values in [0, 1], rounded; what lies outside is cut off."""
    return Image.fromarray((np.clip(image, 0, 1) * np.float32(255) + np.float32(0.5)).astype(np.uint8))


def _palette_picture(levels: Image.Image, colour_map: str) -> Image.Image:
    table = np.rint(matplotlib.colormaps[colour_map](np.arange(256))[:, :3] * 255).astype(np.uint8)
    picture = levels.copy()
    picture.putpalette(table.ravel().tolist())
    return picture.convert("RGB")


def _with_contours(film: Grey, map_: Grey) -> Rgb:
    image = Image.fromarray(grey(film))
    draw = ImageDraw.Draw(image)
    width = max(1, round(max(film.shape) / 400))
    # A rim of zeros closes lines that would otherwise end at the film's edge.
    rimmed = np.pad(map_, 1)
    for level in CONTOUR_LEVELS:
        for line in find_contours(rimmed, level):  # type: ignore[no-untyped-call]
            points = [(float(column) - 1, float(row) - 1) for row, column in line]
            draw.line(points, fill=CONTOUR_COLOUR, width=width)
    return np.asarray(image)


def png_bytes(pixels: npt.NDArray[np.uint8], description: str = "") -> bytes:
    """PNG of ``(H, W)`` or ``(H, W, 3)`` pixels whose text chunks say that it is for research only."""
    info = PngInfo()
    info.add_text("Disclaimer", RESEARCH_ONLY)
    info.add_text("Description", f"{description} {MEANING}".strip())
    info.add_text("Software", "MammoTrace")
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", pnginfo=info, dpi=(PRINT_PPI, PRINT_PPI), compress_level=COMPRESSION)
    return buffer.getvalue()


def side_by_side(panel: Panel, style: OverlayStyle | None = None, max_height: int | None = None) -> Rgb:
    """Plain film, film with its map, and a bar of the colours; both films at one scale, caption and disclaimer below.

    Parameters
    ----------
    max_height : int or None
        Height of the films in pixels beyond which they are reduced, which the caption then says; ``None`` keeps each pixel.
    """
    style = style or OverlayStyle()
    film, map_ = panel.film, panel.map
    lines = list(panel.lines)
    if max_height is not None and film.shape[0] > max_height:
        film, map_ = reduced(film, max_height), reduced(map_, max_height)
        lines.append("Reduced for display.")
    size = max(MIN_TEXT, film.shape[0] // 38)
    pictures = [grey(film), overlay(film, map_, style)]
    if not style.contours:
        pictures.append(_colour_bar(film.shape[0], style.colour_map, size))
    return _captioned(_beside(pictures), [*lines, MEANING, RESEARCH_ONLY], size)


def reduced(image: Grey, height: int) -> Grey:
    """``image`` at this height with its aspect kept; areas are averaged, so that it does not alias."""
    width = max(1, round(image.shape[1] * height / image.shape[0]))
    method = Image.Resampling.BOX if height < image.shape[0] else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(np.ascontiguousarray(image, dtype=np.float32)).resize((width, height), method))


def _text_size(height: int) -> int:
    return max(MIN_TEXT, height // LINES_PER_FILM)


def contact_sheet(rows: Sequence[tuple[str, Sequence[Panel]]], title: str, height: int = 320) -> Rgb:
    """Films with their maps in titled rows, each film plain and with its map, both ``height`` pixels high.

    Raises
    ------
    ConfigError
        No row holds a panel.
    """
    strips = [_strip(heading, [_thumbnail(panel, height) for panel in panels]) for heading, panels in rows if panels]
    if not strips:
        raise ConfigError("There is no map to put on the sheet; expected at least one.")
    size = _text_size(height)
    body = _below(strips)
    heading = _text_block([title], max(body.shape[1], _width_of(title, size + 4)), size + 4)
    return _captioned(_below([heading, body]), [MEANING, RESEARCH_ONLY], size)


def _thumbnail(panel: Panel, height: int) -> Rgb:
    film, map_ = reduced(panel.film, height), reduced(panel.map, height)
    return _captioned(_beside([grey(film), overlay(film, map_)]), panel.lines, _text_size(height))


def _strip(heading: str, pictures: Sequence[Rgb]) -> Rgb:
    row = _beside(pictures)
    size = _text_size(pictures[0].shape[0]) + 1
    return _below([_text_block([heading], max(row.shape[1], _width_of(heading, size)), size), row])


def _colour_bar(height: int, colour_map: str, size: int) -> Rgb:
    """``none`` at the foot, ``high`` at the top: the colours have no unit and no common scale between maps."""
    ramp = np.repeat(np.linspace(1, 0, height, dtype=np.float32)[:, None], size, axis=1)
    bar = Image.new("RGB", (size + _width_of("relative", size), height), PAPER)
    bar.paste(Image.fromarray(coloured(ramp, colour_map)), (0, 0))
    draw = ImageDraw.Draw(bar)
    for text, top in (("high", 0), ("relative", (height - size) // 2), ("none", height - round(1.3 * size))):
        draw.text((size + GAP, max(0, top)), text, fill=INK, font=_font(size))
    return np.asarray(bar)


def _beside(pictures: Sequence[Rgb]) -> Rgb:
    """Side by side, tops aligned, with gaps between."""
    width = sum(picture.shape[1] for picture in pictures) + GAP * (len(pictures) - 1)
    whole = _paper(max(picture.shape[0] for picture in pictures), width)
    left = 0
    for picture in pictures:
        whole[: picture.shape[0], left : left + picture.shape[1]] = picture
        left += picture.shape[1] + GAP
    return whole


def _below(pictures: Sequence[Rgb]) -> Rgb:
    """One below the other, left edges aligned, with gaps between."""
    height = sum(picture.shape[0] for picture in pictures) + GAP * (len(pictures) - 1)
    whole = _paper(height, max(picture.shape[1] for picture in pictures))
    top = 0
    for picture in pictures:
        whole[top : top + picture.shape[0], : picture.shape[1]] = picture
        top += picture.shape[0] + GAP
    return whole


def _paper(height: int, width: int) -> Rgb:
    return np.full((height, width, 3), PAPER, np.uint8)


def _captioned(picture: Rgb, lines: Sequence[str], size: int) -> Rgb:
    if not lines:
        return picture
    return _below([picture, _text_block(lines, picture.shape[1], size)])


def _text_block(lines: Sequence[str], width: int, size: int) -> Rgb:
    font = _font(size)
    wrapped = [part for line in lines for part in _wrapped(line, width - 2 * GAP, font)]
    step = round(size * 1.35)
    image = Image.new("RGB", (width, step * len(wrapped) + GAP), PAPER)
    draw = ImageDraw.Draw(image)
    for index, line in enumerate(wrapped):
        draw.text((GAP // 2, GAP // 2 + index * step), line, fill=INK, font=font)
    return np.asarray(image)


def _wrapped(line: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> list[str]:
    rows, current = [], ""
    for word in line.split():
        longer = f"{current} {word}".strip()
        if current and font.getlength(longer) > width:
            rows.append(current)
            longer = word
        current = longer
    return [*rows, current]


def _width_of(text: str, size: int) -> int:
    return round(_font(size).getlength(text)) + 2 * GAP


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The font inside Pillow: nothing is looked up on the machine, so a figure looks the same everywhere."""
    return ImageFont.load_default(size)
