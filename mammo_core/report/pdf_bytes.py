"""PDF figures taken apart and put together again, so that equal figures are equal files and say where they come from.

The renderer numbers the fonts of a PDF, and lists what a page uses, in an order that changes from call to call. Here fonts come
in the order of their names, lists are sorted, and objects stand in the order in which they are first needed. Reading is limited
to what the renderer writes: PDF 1.7 with a plain cross-reference table.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass

OFFSET = re.compile(rb"(\d{10}) \d{5} n")
HEAD = re.compile(rb"(\d+) 0 obj\s*<<(.*?)>>\s*(stream\r?\n|endobj)", re.DOTALL)
REFERENCE = re.compile(rb"(\d+) 0 R")
RESOURCES = re.compile(rb"<<((?:\s*/[a-z]+\d+ \d+ 0 R)+)\s*>>")
"""A list of named things that a page uses: fonts, forms, graphics states; the renderer writes it in any order."""
RESOURCE = re.compile(rb"/([a-z]+)(\d+) (\d+) 0 R")
FONT_ENTRY = re.compile(rb"/(fo\d+) (\d+) 0 R")
FONT_USE = re.compile(rb"/(fo\d+)(?=\s)")
BASE_FONT = re.compile(rb"/BaseFont /(?:[A-Z]{6}\+)?(\S+)")


@dataclass(frozen=True)
class PdfObject:
    """One dictionary (the text between ``<<`` and ``>>``) and its stream, unpacked where it was packed with zlib."""

    head: bytes
    stream: bytes | None = None


def read_objects(pdf: bytes) -> dict[int, PdfObject]:
    """The objects of a PDF by number; empty where it has no plain cross-reference table."""
    place = pdf.rfind(b"startxref")
    start = int(pdf[place + 9 :].split()[0]) if place >= 0 else len(pdf)
    found = (HEAD.match(pdf, int(offset)) for offset in OFFSET.findall(pdf[start:]))
    return {int(match[1]): _read_object(pdf, match) for match in found if match}


def _read_object(pdf: bytes, match: re.Match[bytes]) -> PdfObject:
    head = match[2]
    if not match[3].startswith(b"stream"):
        return PdfObject(head)
    length = re.search(rb"/Length (\d+)", head)
    content = pdf[match.end() : match.end() + int(length[1] if length else 0)]
    return PdfObject(head, zlib.decompress(content) if b"/FlateDecode" in head else content)


def follow(objects: dict[int, PdfObject], head: bytes, key: str) -> PdfObject | None:
    """The object that ``/key`` of a dictionary refers to."""
    found = re.search(rb"/" + key.encode() + rb" \[?(\d+) 0 R", head)
    return objects.get(int(found[1])) if found else None


def canonical(pdf: bytes, title: str = "", subject: str = "") -> bytes:
    """The same PDF with everything in a fixed order, and with a title and a subject; unchanged where it is of another kind."""
    objects = read_objects(pdf)
    root = re.search(rb"/Root (\d+) 0 R", pdf[pdf.rfind(b"trailer") :])
    if root is None or int(root[1]) not in objects:
        return pdf
    renamed = _with_sorted_fonts(objects)
    order = _in_order_of_need(renamed, int(root[1]))
    numbers = {old: new for new, old in enumerate(order, start=1)}
    info = b"\n  /Producer (MammoTrace)" + _entry("Title", title) + _entry("Subject", subject) + b"\n"
    written = [PdfObject(_renumbered(renamed[old].head, numbers), renamed[old].stream) for old in order]
    return _joined([*written, PdfObject(info)])


def _with_sorted_fonts(objects: dict[int, PdfObject]) -> dict[int, PdfObject]:
    used = dict(entry for value in objects.values() for entry in FONT_ENTRY.findall(value.head))
    bases = {name: BASE_FONT.search(objects[int(number)].head) for name, number in used.items()}
    ordered = sorted(used, key=lambda name: (bases[name][1] if bases[name] else b"", name))  # type: ignore[index]
    names = {old: b"fo%d" % index for index, old in enumerate(ordered)}

    def named(match: re.Match[bytes]) -> bytes:
        return b"/" + names.get(match[1], match[1])

    drawn = {int(number) for value in objects.values() for number in re.findall(rb"/Contents (\d+) 0 R", value.head)}
    drawn |= {number for number, value in objects.items() if b"/Subtype /Form" in value.head}
    changed = {}
    for number, value in objects.items():
        stream = value.stream
        if stream is not None and number in drawn:
            stream = FONT_USE.sub(named, stream)
        changed[number] = PdfObject(RESOURCES.sub(_sorted_resources, FONT_USE.sub(named, value.head)), stream)
    return changed


def _sorted_resources(match: re.Match[bytes]) -> bytes:
    entries = sorted((kind, int(index), number) for kind, index, number in RESOURCE.findall(match[1]))
    return b"<<" + b"".join(b" /%s%d %s 0 R" % entry for entry in entries) + b" >>"


def _in_order_of_need(objects: dict[int, PdfObject], root: int) -> list[int]:
    order, waiting = [], [root]
    while waiting:
        number = waiting.pop(0)
        if number not in order and number in objects:
            order.append(number)
            waiting += [int(found) for found in REFERENCE.findall(objects[number].head)]
    return order


def _renumbered(head: bytes, numbers: dict[int, int]) -> bytes:
    return REFERENCE.sub(lambda match: b"%d 0 R" % numbers[int(match[1])], head)


def _entry(key: str, text: str) -> bytes:
    """A text string as UTF-16 with its mark, which every reader understands (PDF 1.7, 7.9.2.2)."""
    return b"\n  /%s <feff%s>" % (key.encode(), text.encode("utf-16-be").hex().encode()) if text else b""


def _joined(objects: list[PdfObject]) -> bytes:
    out, offsets = bytearray(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"), []
    for number, value in enumerate(objects, start=1):
        offsets.append(len(out))
        head, stream = value.head, value.stream
        if stream is not None:
            packed = zlib.compress(stream, 9) if b"/FlateDecode" in head else stream
            head = re.sub(rb"/Length \d+", b"/Length %d" % len(packed), head)
            out += b"%d 0 obj\n<<%s>>\nstream\n%s\nendstream\nendobj\n" % (number, head, packed)
        else:
            out += b"%d 0 obj\n<<%s>>\nendobj\n" % (number, head)
    start, count = len(out), len(objects) + 1
    out += b"xref\n0 %d\n0000000000 65535 f\r\n" % count
    out += b"".join(b"%010d 00000 n\r\n" % offset for offset in offsets)
    return bytes(out + b"trailer\n<< /Size %d /Root 1 0 R /Info %d 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (count, count - 1, start))
