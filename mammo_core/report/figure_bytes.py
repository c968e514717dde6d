"""What is inside figure files: the size of an SVG, its font, and the texts that PNG and SVG carry."""

from __future__ import annotations

import base64
import re
import struct
import zlib
from dataclasses import dataclass, replace
from xml.sax.saxutils import escape

from mammo_core.report.embedded_font import fonts_of_pdf

PNG_SIGNATURE_BYTES = 8
PNG_HEADER_BYTES = 25
"""Length of the IHDR chunk, which must come first."""

MM_PER_POINT = 25.4 / 72
HEAD = re.compile(
    r'<svg(?P<names>[^>]*?) width="(?P<width>[\d.]+)" height="(?P<height>[\d.]+)" viewBox="[^"]*">'
    r'(?:<rect width="[\d.]+" height="[\d.]+" fill="(?P<paper>[^"]+)"/>)?'
)


@dataclass(frozen=True)
class Drawing:
    """An SVG taken apart: its content in its own units, and the size that it is shown in."""

    names: str
    """Attributes of the root."""
    paper: str
    """Colour of the background; empty where there is none."""
    content: str
    width: float
    """Of the content, units."""
    height: float
    scale: float = 1.0
    """Points for each unit."""

    @property
    def points(self) -> float:
        """The width that it is shown in."""
        return self.width * self.scale

    def widened(self, width: float) -> Drawing:
        """With the paper exactly ``width`` units wide; a content that is wider keeps its width."""
        return replace(self, width=max(width, self.width))

    def scaled(self, points: float) -> Drawing:
        """Shown exactly ``points`` wide."""
        return replace(self, scale=points / self.width)

    def svg(self, unit: str = "") -> str:
        """The whole file; ``unit`` is empty for points or ``mm``."""
        shown = self.scale * (MM_PER_POINT if unit == "mm" else 1.0)
        width, height = (f"{side * shown:.4f}".rstrip("0").rstrip(".") for side in (self.width, self.height))
        box = f"{self.width:.4f} {self.height:.4f}"
        paper = f'<rect width="{self.width:.4f}" height="{self.height:.4f}" fill="{self.paper}"/>' if self.paper else ""
        head = f'<svg{self.names} width="{width}{unit}" height="{height}{unit}" viewBox="0 0 {box}">'
        return f"{head}{paper}{self.content}"


def read_drawing(svg: str) -> Drawing:
    """Take apart an SVG as Vega writes it.

    Raises
    ------
    ValueError
        Another program wrote it.
    """
    found = HEAD.match(svg)
    if found is None:
        raise ValueError("The SVG does not begin as Vega's do.")
    width, height = float(found["width"]), float(found["height"])
    return Drawing(found["names"], found["paper"] or "", svg[found.end() :], width, height)


def with_font(svg: str, pdf: bytes) -> str:
    """The SVG with the letters of its fonts inside, so that a browser without them shows the same; text stays text.

    The letters are those that the PDF of the same drawing holds.
    """
    faces = [
        f'@font-face{{font-family:"{font.family}";font-weight:{font.weight};'
        f"src:url(data:font/ttf;base64,{base64.b64encode(font.data).decode()})}}"
        for font in fonts_of_pdf(pdf)
    ]
    end = svg.index(">") + 1
    style = f"<defs><style>{''.join(faces)}</style></defs>" if faces else ""
    return svg[:end] + style + svg[end:]


def with_png_text(png: bytes, note: str) -> bytes:
    """Put ``note`` into the PNG as an iTXt chunk (UTF-8), right behind the header."""
    if not note:
        return png
    body = b"iTXt" + b"Description\0\0\0\0\0" + note.encode("utf-8")
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    place = PNG_SIGNATURE_BYTES + PNG_HEADER_BYTES
    return png[:place] + chunk + png[place:]


def with_svg_description(svg: str, finding: str, note: str) -> bytes:
    """Put the finding as title and the source as description into the SVG, where screen readers and editors look."""
    end = svg.index(">") + 1
    inside = "".join(f"<{tag}>{escape(text)}</{tag}>" for tag, text in (("title", finding), ("desc", note)) if text)
    return (svg[:end] + inside + svg[end:]).encode("utf-8")
