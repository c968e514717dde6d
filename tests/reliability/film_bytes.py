"""Films of every format as bytes, ways to damage them, and damaged films made by hand.

The sound ones are pydicom's own test files, a phantom, and films drawn here whose tags name a patient that must not be named.
"""

from __future__ import annotations

import importlib.util
import io
import re
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import pydicom
import pydicom.data
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

from make_films import dicom_of, drawn_film
from mammo_core.data.phantom import write_phantoms
from reliability.sentences import PATIENT

Films = dict[str, bytes]
Damage = Callable[[np.random.Generator, bytes], bytes]

MOST_BYTES = 400_000
"""Of a sound film; larger ones take long and show nothing else."""
VRS = (
    b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FL", b"FD", b"IS", b"LO", b"LT", b"OB", b"OD", b"OF", b"OL", b"OW", b"PN",
    b"SH", b"SL", b"SQ", b"SS", b"ST", b"TM", b"UC", b"UI", b"UL", b"UN", b"UR", b"US", b"UT",
)  # fmt: skip
LONG_VRS = (b"OB", b"OD", b"OF", b"OL", b"OW", b"SQ", b"UC", b"UN", b"UR", b"UT")
ELEMENT = re.compile(rb"[\x00-\x60\xe0\x7f]\x00..(" + b"|".join(VRS) + rb")", re.DOTALL)
"""Group, element and VR of an explicit element; a chance hit does no harm."""
EXTREMES = (0, 1, 2, 3, 7, 9, 31, 127, 255, 256, 4095, 10_000, 32_767, 40_000, 65_535, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1)
SIZES = {
    "samples": (0x0028, 0x0002), "frames": (0x0028, 0x0008), "rows": (0x0028, 0x0010), "columns": (0x0028, 0x0011),
    "allocated": (0x0028, 0x0100), "stored": (0x0028, 0x0101), "high": (0x0028, 0x0102), "signed": (0x0028, 0x0103),
    "planar": (0x0028, 0x0006),
}  # fmt: skip
SPOKEN = (
    (0x0028, 0x0008), (0x0028, 0x0004), (0x0008, 0x0060), (0x0008, 0x0016), (0x0002, 0x0010), (0x0018, 0x5101), (0x0020, 0x0062),
    (0x0008, 0x0068), (0x0028, 0x0010), (0x0028, 0x1050), (0x0028, 0x1056), (0x0028, 0x1052), (0x0008, 0x0008), (0x0020, 0x0020),
)  # fmt: skip
"""Tags whose values are read, and of which some are told."""
PERSONAL = ((0x0010, 0x0010), (0x0010, 0x0020), (0x0010, 0x0030), (0x0008, 0x0080), (0x0008, 0x0090), (0x0008, 0x1030))
SYNTAXES = (
    b"1.2.840.10008.1.2", b"1.2.840.10008.1.2.1", b"1.2.840.10008.1.2.2", b"1.2.840.10008.1.2.5", b"1.2.840.10008.1.2.4.50",
    b"1.2.840.10008.1.2.4.51", b"1.2.840.10008.1.2.4.57", b"1.2.840.10008.1.2.4.70", b"1.2.840.10008.1.2.4.80",
    b"1.2.840.10008.1.2.4.90", b"1.2.840.10008.1.2.4.91", b"1.2.840.10008.1.2.4.201", b"1.2.840.10008.1.2.1.99", b"9.9.9",
)  # fmt: skip


# ---- sound films -------------------------------------------------------------------------------------------------------------


def sound_films() -> Films:
    """Name -> bytes, always the same."""
    return {**_drawn(), **_phantoms(), **_of_pydicom()}


def _of_pydicom() -> Films:
    folders = [Path(pydicom.data.__file__).parent / "test_files"]
    further = importlib.util.find_spec("data_store")  # the package pydicom-data
    if further is not None and further.origin is not None:
        folders.append(Path(further.origin).parent / "data")
    files = sorted({path.name: path for folder in folders for path in folder.rglob("*")}.items())
    return {
        name: path.read_bytes()
        for name, path in files
        if path.is_file() and path.suffix not in (".py", ".pyc", ".gz", ".json", ".zip") and path.stat().st_size < MOST_BYTES
    }


def _phantoms() -> Films:
    with tempfile.TemporaryDirectory() as folder:
        films: Films = {}
        for kind in ("dicom", "png"):
            write_phantoms(Path(folder) / kind, 4, 3, kind)  # type: ignore[arg-type]
            paths = sorted((Path(folder) / kind / "films").rglob("*"))
            films |= {f"phantom_{path.name}": _small(path.read_bytes()) for path in paths if path.is_file()}
        return films


def _small(content: bytes) -> bytes:
    """A phantom with a part of its rows, so that damaging and reading it takes milliseconds."""
    if content[:4] == b"\x89PNG":
        with Image.open(io.BytesIO(content)) as image:
            return _saved(np.asarray(image)[::6, ::6], "PNG")
    dataset = pydicom.dcmread(io.BytesIO(content))
    pixels = np.ascontiguousarray(dataset.pixel_array[::6, ::6])
    packed = dataset.file_meta.TransferSyntaxUID.is_compressed
    if packed:
        dataset.decompress()
    dataset.Rows, dataset.Columns, dataset.PixelData = *pixels.shape, pixels.tobytes()
    if packed:
        dataset.compress(RLELossless)
    return _dicom(dataset)


def _drawn() -> Films:
    pixels = drawn_film((160, 128))
    eight, sixteen = np.rint(pixels * 255).astype(np.uint8), np.rint(pixels * 4095).astype(np.uint16)
    films = {
        "drawn_8.png": _saved(eight, "PNG"),
        "drawn_16.png": _saved(sixteen, "PNG"),
        "drawn_colour.png": _saved(np.dstack([eight] * 3), "PNG"),
        "drawn.jpg": _saved(eight, "JPEG"),
        "drawn_16.tif": _saved(sixteen, "TIFF"),
        **{
            f"drawn_{way}.tif": _saved(eight, "TIFF", compression=way) for way in ("tiff_lzw", "tiff_deflate", "packbits", "jpeg")
        },
        "drawn_8.pgm": b"P5\n# CREATOR: test\n128 160\n255\n" + eight.tobytes(),
        "drawn_16.pgm": b"P5 128 160 4095\n" + sixteen.astype(">u2").tobytes(),
        "drawn_plain.pgm": b"P2 128 160 255\n" + b" ".join(str(value).encode() for value in eight.ravel()),
    }
    for name, syntax in (("plain", None), ("rle", RLELossless), ("jpeg2000", JPEG2000Lossless), ("jpegls", JPEGLSLossless)):
        dataset = dicom_of(sixteen, **PATIENT, BitsStored=12, HighBit=11, WindowCenter=2047, WindowWidth=4095)
        if syntax is not None:
            dataset.compress(syntax)
        films[f"drawn_{name}.dcm"] = _dicom(dataset)
    return films


def _saved(pixels: np.ndarray, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def _dicom(dataset: pydicom.Dataset) -> bytes:
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


# ---- damage ------------------------------------------------------------------------------------------------------------------


def damaged(rng: np.random.Generator, films: Films) -> tuple[str, bytes]:
    """A film of these with one to three kinds of damage; its name says which."""
    own = [name for name in films if name.startswith(("drawn", "phantom"))]  # most of the others are no mammograms
    names = own if rng.random() < 0.5 else list(films)
    name = names[int(rng.integers(len(names)))]
    content = films[name]
    ways = [*GENERAL, *_ways_of(content)]
    done = []
    for _ in range(int(rng.choice([1, 1, 1, 2, 3]))):
        way = ways[int(rng.integers(len(ways)))]
        content = way(rng, content)
        done.append(way.__name__.strip("_"))
    return f"{name} ({', '.join(done)})", content[: 4 * MOST_BYTES]


def _ways_of(content: bytes) -> tuple[Damage, ...]:
    if content[:8] == b"\x89PNG\r\n\x1a\n":
        return PNG_WAYS
    if content[:4] in (b"II*\0", b"MM\0*"):
        return (_tiff_entry,) * 4
    if content[:2] in (b"P2", b"P5"):
        return (_graymap_number,) * 3
    if content[:2] == b"\xff\xd8":
        return (_jpeg_size,) * 2
    return DICOM_WAYS


def _place(rng: np.random.Generator, content: bytes) -> int:
    """Half of the time near the beginning, where headers are."""
    end = max(1, len(content))
    return int(rng.integers(min(end, 1500) if rng.random() < 0.5 else end))


def _flip(rng: np.random.Generator, content: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(int(rng.integers(1, 25))):
        if changed:
            changed[_place(rng, content)] = int(rng.integers(256))
    return bytes(changed)


def _cut(rng: np.random.Generator, content: bytes) -> bytes:
    return content[: _place(rng, content)]


def _leave_out(rng: np.random.Generator, content: bytes) -> bytes:
    at = _place(rng, content)
    return content[:at] + content[at + int(rng.integers(1, 600)) :]


def _double(rng: np.random.Generator, content: bytes) -> bytes:
    at, size = _place(rng, content), int(rng.integers(1, 4000))
    return content[: at + size] + content[at : at + size] * int(rng.integers(1, 4)) + content[at + size :]


def _blank(rng: np.random.Generator, content: bytes) -> bytes:
    at, size = _place(rng, content), int(rng.integers(1, 300))
    return content[:at] + bytes([int(rng.choice([0, 255]))]) * size + content[at + size :]


def _number(rng: np.random.Generator, content: bytes) -> bytes:
    """Four bytes anywhere become an extreme number, in one order or the other."""
    at, value = _place(rng, content), int(rng.choice(EXTREMES))
    return content[:at] + struct.pack(str(rng.choice(["<I", ">I"])), value) + content[at + 4 :]


def _element(rng: np.random.Generator, content: bytes) -> re.Match[bytes] | None:
    found = list(ELEMENT.finditer(content))
    return found[int(rng.integers(len(found)))] if found else None


def _length(rng: np.random.Generator, content: bytes) -> bytes:
    match = _element(rng, content)
    if match is None:
        return _number(rng, content)
    value = int(rng.choice(EXTREMES))
    if match[1] in LONG_VRS:
        return content[: match.start() + 8] + struct.pack("<I", value) + content[match.start() + 12 :]
    return content[: match.start() + 6] + struct.pack("<H", value & 0xFFFF) + content[match.start() + 8 :]


def _vr(rng: np.random.Generator, content: bytes) -> bytes:
    match = _element(rng, content)
    if match is None:
        return _flip(rng, content)
    return content[: match.start() + 4] + VRS[int(rng.integers(len(VRS)))] + content[match.start() + 6 :]


def _tag_bytes(tag: tuple[int, int]) -> bytes:
    return struct.pack("<HH", *tag)


def _size(rng: np.random.Generator, content: bytes) -> bytes:
    tag = list(SIZES.values())[int(rng.integers(len(SIZES)))]
    at = content.find(_tag_bytes(tag) + b"US\2\0")
    if at < 0:
        return _number(rng, content)
    return content[: at + 8] + struct.pack("<H", int(rng.choice(EXTREMES)) & 0xFFFF) + content[at + 10 :]


def _frames(rng: np.random.Generator, content: bytes) -> bytes:
    """A Number Of Frames before the rows."""
    at = content.find(_tag_bytes(SIZES["rows"]))
    text = rng.choice([b"0 ", b"2 ", b"99999999", b"-1", b"1e9 ", b"1\\2 ", b"1.0 ", b"Zanzibara^"])
    return (
        content
        if at < 0
        else content[:at] + _tag_bytes(SIZES["frames"]) + b"IS" + struct.pack("<H", len(text)) + text + content[at:]
    )


def _personal(rng: np.random.Generator, content: bytes) -> bytes:
    """The patient's name, number or date stands under a tag that is read; the film's own value is hidden."""
    source = _tag_bytes(PERSONAL[int(rng.integers(len(PERSONAL)))])
    target = _tag_bytes(SPOKEN[int(rng.integers(len(SPOKEN)))])
    at, own = content.find(source), content.find(target)
    if at < 0:
        return _vr(rng, content)
    if own >= 0:
        content = content[:own] + b"\x09\0\1\x10" + content[own + 4 :]
    return content[:at] + target + content[at + 4 :]


def _syntax(rng: np.random.Generator, content: bytes) -> bytes:
    at = content.find(b"\2\0\x10\0UI")
    if at < 0:
        return _flip(rng, content)
    old = struct.unpack_from("<H", content, at + 6)[0]
    new = SYNTAXES[int(rng.integers(len(SYNTAXES)))]
    new += b"\0" * (len(new) % 2)
    return content[: at + 6] + struct.pack("<H", len(new)) + new + content[at + 8 + old :]


def _png_header(rng: np.random.Generator, content: bytes) -> bytes:
    """Other sizes, depths or kinds, with a checksum that agrees."""
    header = bytearray(content[12:29])
    struct.pack_into(
        ">I", header, 4 + 4 * int(rng.integers(2)), int(rng.choice([0, 1, 127, 161, 9000, 40_000, 2**31 - 1, 2**32 - 1]))
    )
    if rng.random() < 0.5:
        header[12 + int(rng.integers(5))] = int(rng.choice([0, 1, 2, 3, 4, 6, 8, 16, 255]))
    return content[:12] + bytes(header) + struct.pack(">I", zlib.crc32(header)) + content[33:]


def _png_chunk(rng: np.random.Generator, content: bytes) -> bytes:
    """A chunk of any kind behind the header, with a checksum that agrees."""
    kind = rng.choice([b"tRNS", b"PLTE", b"eXIf", b"iCCP", b"zTXt", b"acTL", b"fcTL", b"gAMA", b"tIME", b"IEND"])
    body = rng.bytes(int(rng.integers(0, 64)))
    chunk = struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return content[:33] + bytes(chunk) + content[33:]


def _tiff_entry(rng: np.random.Generator, content: bytes) -> bytes:
    """One field of the directory gets another tag, type, count or value."""
    order = "<" if content[:2] == b"II" else ">"
    at = struct.unpack_from(order + "I", content, 4)[0]
    if at + 2 > len(content):
        return _flip(rng, content)
    count = struct.unpack_from(order + "H", content, at)[0]
    entry = at + 2 + 12 * int(rng.integers(max(1, min(count, 60))))
    if rng.random() < 0.3:
        return content[: entry + 2] + struct.pack(order + "H", int(rng.integers(20))) + content[entry + 4 :]
    place = entry + int(rng.choice([4, 8]))
    return content[:place] + struct.pack(order + "I", int(rng.choice(EXTREMES))) + content[place + 4 :]


def _graymap_number(rng: np.random.Generator, content: bytes) -> bytes:
    numbers = list(re.finditer(rb"\d+", content[:60]))[1:4]
    if not numbers:
        return _flip(rng, content)
    chosen = numbers[int(rng.integers(len(numbers)))]
    new = rng.choice([b"0", b"-1", b"1", b"99999", b"999999", b"65535", b"65536", b"10000", b"1e9", b"127"])
    return content[: chosen.start()] + bytes(new) + content[chosen.end() :]


def _jpeg_size(rng: np.random.Generator, content: bytes) -> bytes:
    at = max(content.find(b"\xff\xc0"), content.find(b"\xff\xc2"))
    if at < 0:
        return _flip(rng, content)
    height, width = (int(rng.choice([0, 1, 160, 9000, 65_535])) for _ in range(2))
    return content[: at + 5] + struct.pack(">HH", height, width) + content[at + 9 :]


GENERAL: tuple[Damage, ...] = (_flip, _flip, _cut, _leave_out, _double, _blank, _number)
DICOM_WAYS: tuple[Damage, ...] = (_length, _length, _vr, _vr, _size, _size, _frames, _personal, _personal, _syntax)
PNG_WAYS: tuple[Damage, ...] = (_png_header, _png_header, _png_chunk)


# ---- made by hand ------------------------------------------------------------------------------------------------------------


LARGE = (("I;16", 9_900), ("CMYK", 7_900), ("L", 9_900), ("F", 9_900), ("RGB", 7_900))
"""Kinds and sides of pictures that are just not too large: a few kilobytes that take a gigabyte and seconds to read."""


def made_films(large: Sequence[tuple[str, int]] = LARGE) -> Films:
    """Bombs, lies and oddities that no chance finds."""
    return dict([*_dicom_bombs(), *_pictures(large)])


def _dicom_bombs() -> Iterable[tuple[str, bytes]]:
    pixels = np.rint(drawn_film((64, 64)) * 4095).astype(np.uint16)
    rle = encapsulate([b"\2\0\0\0\x40\0\0\0\x68\0\0\0" + bytes(52) + b"\x81\0" * 40])
    for side in (9_999, 40_000, 65_535):
        lie = dicom_of(pixels, RLELossless, **PATIENT, Rows=side, Columns=side)
        lie.PixelData = rle
        lie["PixelData"].is_undefined_length = True
        yield f"rle_{side}.dcm", _dicom(lie)
    for syntax in (JPEG2000Lossless, JPEGLSLossless):
        lie = dicom_of(pixels, **PATIENT)
        lie.compress(syntax)
        lie.Rows, lie.Columns = 9_999, 9_999
        yield f"stated_{syntax.name}.dcm", _dicom(lie)
    yield "frames.dcm", _dicom(dicom_of(pixels, **PATIENT, NumberOfFrames="200000000"))
    yield "many_samples.dcm", _dicom(dicom_of(pixels, **PATIENT, SamplesPerPixel=65_535))
    head = _dicom(dicom_of(pixels, **PATIENT))
    meta_end = 132 + 12 + struct.unpack_from("<I", head, 140)[0]
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = packer.compress(bytes(200 * 2**20)) + packer.flush()
    meta = head[:meta_end].replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.1.99")
    grown = struct.pack("<I", meta_end - 144 + 2)
    size = meta.find(b"\2\0\x10\0UI") + 6
    meta = meta[:140] + grown + meta[144:size] + struct.pack("<H", 22) + meta[size + 2 :]
    yield "deflated.dcm", meta + bomb
    sequence = b"\x08\0\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\xff\xff\xff\xff"
    yield "nested.dcm", head[:meta_end] + sequence * 20_000
    yield "endless_text.dcm", head[:meta_end] + b"\x10\0\x10\0PN\xfe\xff" + b"Zanzibara^" * 7_000
    yield "values.dcm", head[:meta_end] + b"\x28\0\x50\x10DS\xfe\xff" + b"1\\" * 32_767 + head[meta_end:]
    yield "only_meta.dcm", head[:meta_end]
    yield "preamble.dcm", head[:132]


def _pictures(large: Sequence[tuple[str, int]]) -> Iterable[tuple[str, bytes]]:
    yield "empty.png", b""
    for side, mode in ((9_000, "1"), (20_000, "1"), (7_900, "L"), (12_000, "L")):
        buffer = io.BytesIO()
        Image.new(mode, (side, side)).save(buffer, "PNG")
        yield f"bomb_{side}_{mode}.png", buffer.getvalue()
    for mode, side in large:
        buffer = io.BytesIO()
        Image.new(mode, (side, side)).save(buffer, "TIFF", compression="tiff_deflate")
        yield f"bomb_{mode.replace(';', '')}.tif", buffer.getvalue()
    buffer = io.BytesIO()
    pages = [Image.new("L", (8, 8), page % 256) for page in range(2_000)]
    pages[0].save(buffer, "TIFF", save_all=True, append_images=pages[1:])
    yield "pages.tif", buffer.getvalue()
    yield "loop.tif", b"II*\0\x08\0\0\0\0\0\x08\0\0\0"
    sound = _saved(np.zeros((64, 64), np.uint8), "PNG")
    text = b"Comment\0\0" + zlib.compress(bytes(150 * 2**20), 9)
    chunk = struct.pack(">I", len(text)) + b"zTXt" + text + struct.pack(">I", zlib.crc32(b"zTXt" + text))
    yield "text_bomb.png", sound[:33] + chunk + sound[33:]
    profile = b"icc\0\0" + zlib.compress(bytes(150 * 2**20), 9)
    chunk = struct.pack(">I", len(profile)) + b"iCCP" + profile + struct.pack(">I", zlib.crc32(b"iCCP" + profile))
    yield "profile_bomb.png", sound[:33] + chunk + sound[33:]
    yield "lie.pgm", b"P5 99999 99999 255\n"
    yield "plain.pgm", b"P2 10000 9999 65535\n" + b"1 " * 100_000
    yield "comments.pgm", b"P5\n" + b"#a\n" * 20_000 + b"9 9 255\n" + bytes(81)
    yield "blanks.pgm", b"P5" + b" " * 65_000 + b"9 9 255\n" + bytes(81)
    yield "script.png", b"<script>alert(1)</script>"
    yield "pdf.dcm", b"%PDF-1.7 Zanzibara"
    yield "zip.dcm", b"PK\3\4" + bytes(200)
    yield "postscript.tif", b"%!PS-Adobe-3.0 EPSF-3.0\n(%pipe%touch /tmp/ran) (w) file\n"
