"""The letters that a PDF figure holds, as font files that a browser accepts, so that an SVG can carry them too.

The renderer embeds in its PDF a TrueType font cut down to the letters that occur. A PDF font needs no table from letter to shape
(``cmap``) and no ``OS/2`` table; a font of a web page needs both, so they are added. Reading is limited to what the renderer
writes: of any other PDF there is simply no font.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from mammo_core.report.pdf_bytes import PdfObject, follow, read_objects

LETTER = re.compile(rb"<([0-9A-Fa-f]{4})> <([0-9A-Fa-f]{4})>")
NAME = re.compile(rb"/BaseFont /(?:[A-Z]{6}\+)?([A-Za-z]+?)(Sans|Serif|Mono)?(-Bold)?\s")
CHECKSUM_OF_A_FONT = 0xB1B0AFBA
"""What ``head.checkSumAdjustment`` is counted from (OpenType, table ``head``)."""


@dataclass(frozen=True)
class Font:
    """A part of a font that stands alone."""

    family: str
    weight: str
    """``normal`` or ``bold``."""
    data: bytes
    """A TrueType file."""


def fonts_of_pdf(pdf: bytes) -> list[Font]:
    """The TrueType fonts of a PDF, as the renderer of figures writes it, with what a web page needs."""
    objects = read_objects(pdf)
    fonts = (_font(objects, entry.head) for entry in objects.values() if b"/Subtype /Type0" in entry.head)
    return sorted((font for font in fonts if font is not None), key=lambda font: (font.family, font.weight))


def _font(objects: dict[int, PdfObject], head: bytes) -> Font | None:
    name = NAME.search(head)
    inner = follow(objects, head, "DescendantFonts")
    described = follow(objects, inner.head, "FontDescriptor") if inner else None
    file = follow(objects, described.head, "FontFile2") if described else None
    letters = follow(objects, head, "ToUnicode")
    if name is None or file is None or file.stream is None or letters is None or letters.stream is None:
        return None
    glyphs = {int(letter, 16): int(glyph, 16) for glyph, letter in LETTER.findall(letters.stream)}
    family = b" ".join(part for part in name.groups()[:2] if part).decode("ascii")
    return Font(family, "bold" if name[3] else "normal", _web_font(file.stream, glyphs, bool(name[3])))


def _web_font(font: bytes, glyphs: dict[int, int], is_bold: bool) -> bytes:
    """A TrueType file with the tables that browsers ask for besides those that are there."""
    tables = _tables(font)
    tables[b"cmap"] = _cmap(glyphs)
    tables[b"OS/2"] = _os2(tables, glyphs, is_bold)
    head = tables[b"head"]
    tables[b"head"] = head[:8] + bytes(4) + head[12:]
    joined = _joined(tables)
    total = (CHECKSUM_OF_A_FONT - _checksum(joined)) & 0xFFFFFFFF
    place = next(offset for tag, offset in _offsets(joined) if tag == b"head") + 8
    return joined[:place] + struct.pack(">I", total) + joined[place + 4 :]


def _offsets(font: bytes) -> list[tuple[bytes, int]]:
    count = struct.unpack_from(">H", font, 4)[0]
    return [(bytes(tag), offset) for tag, _, offset, _ in struct.iter_unpack(">4sIII", font[12 : 12 + 16 * count])]


def _tables(font: bytes) -> dict[bytes, bytes]:
    count = struct.unpack_from(">H", font, 4)[0]
    entries = struct.iter_unpack(">4sIII", font[12 : 12 + 16 * count])
    return {bytes(tag): font[offset : offset + length] for tag, _, offset, length in entries}


def _joined(tables: dict[bytes, bytes]) -> bytes:
    count = len(tables)
    power = count.bit_length() - 1
    search = 16 << power
    directory = struct.pack(">IHHHH", 0x00010000, count, search, power, 16 * count - search)
    place, body = 12 + 16 * count, b""
    for tag in sorted(tables):
        content = tables[tag]
        directory += struct.pack(">4sIII", tag, _checksum(content), place + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    return directory + body


def _checksum(content: bytes) -> int:
    padded = content + bytes(-len(content) % 4)
    return sum(int(word) for (word,) in struct.iter_unpack(">I", padded)) & 0xFFFFFFFF


def _cmap(glyphs: dict[int, int]) -> bytes:
    """Format 4, one segment a letter: every letter of a figure lies in the basic plane."""
    letters = [*sorted(letter for letter in glyphs if 0 < letter < 0xFFFF), 0xFFFF]
    deltas = [(glyphs.get(letter, 0) - letter) & 0xFFFF for letter in letters[:-1]] + [1]
    count = len(letters)
    power = count.bit_length() - 1
    search = 2 << power
    numbers = [*letters, 0, *letters, *deltas, *([0] * count)]
    table = struct.pack(f">{len(numbers)}H", *numbers)
    head = struct.pack(">7H", 4, 14 + len(table), 0, 2 * count, search, power, 2 * count - search)
    return struct.pack(">HHHHI", 0, 1, 3, 1, 12) + head + table


def _os2(tables: dict[bytes, bytes], glyphs: dict[int, int], is_bold: bool) -> bytes:
    """Version 3, with heights from ``hhea``; nothing in it moves a letter."""
    ascent, descent, gap = struct.unpack_from(">hhh", tables[b"hhea"], 4)
    weight, style = (700, 0x20) if is_bold else (400, 0x40)
    first, last = min(glyphs, default=32), max(glyphs, default=32)
    body = struct.pack(">HhHHH", 3, 0, weight, 5, 0)
    body += struct.pack(">10h", *([0] * 10)) + struct.pack(">h", 0) + bytes(10) + struct.pack(">4I", 1, 0, 0, 0) + b"    "
    body += struct.pack(">HHH", style, min(first, 0xFFFF), min(last, 0xFFFF))
    body += struct.pack(">hhhHH", ascent, descent, gap, max(0, ascent), max(0, -descent))
    return body + struct.pack(">IIhhHHH", 1, 0, 0, 0, 0, 32, 1)
