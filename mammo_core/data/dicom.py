"""Reading one DICOM file: what it may be, its budget before anything is decoded, the decoders in order, its facts.

The decoders are native code. Two of them can abort the whole process on a damaged file, which nothing here can catch:
films from outside go through :mod:`mammo_core.data.sandbox`.
"""

from __future__ import annotations

import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import generate_fragments
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from mammo_core.data import dicom_facts as tags
from mammo_core.data.display import Display, to_display
from mammo_core.data.film import Film, FilmFacts, Notes, Refusal

PLAIN = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian)
MAX_PIXELS = 10_000**2
"""The largest mammograms have about 33 million pixels."""
DEFLATED = "1.2.840.10008.1.2.1.99"
FOR_PROCESSING = frozenset({"1.2.840.10008.5.1.4.1.1.1.2.1", "1.2.840.10008.5.1.4.1.1.1.1.1"})
"""Digital mammography and digital X-ray, raw detector values."""
TOMOSYNTHESIS = "1.2.840.10008.5.1.4.1.1.13.1.3"
DICOMDIR = "1.2.840.10008.1.3.10"
DECODERS = {
    "pylibjpeg": ("pylibjpeg", "pylibjpeg-openjpeg", "pylibjpeg-rle", "pylibjpeg-libjpeg"),
    "pyjpegls": ("pyjpegls",),
    "gdcm": ("python-gdcm",),
    "pillow": ("pillow",),
    "pydicom": ("pydicom",),
}
"""pydicom's name of each decoder and the packages behind it, in the order tried. Fixed, because lossy decoders differ."""
NO_DECODER_HELP = "Convert the film to an uncompressed or JPEG Lossless DICOM file, for example with dcmdjpeg or gdcmconv."
COUNT = re.compile(r"\d{1,3}")
UID_PATTERN = re.compile(r"[0-2](?:\.\d+)+")
"""What is told of a tag is held against these: in a damaged file the text of any other tag can stand there."""
GREY_TOLERANCE = 2
"""Colour channels that differ by at most this (8-bit levels) hold a grey picture after lossy compression."""

ParserFault = (
    ArithmeticError, AssertionError, AttributeError, BytesLengthException, EOFError, InvalidDicomError, LookupError, OSError,
    RuntimeError, SyntaxError, TypeError, ValueError, struct.error, zlib.error,
)  # fmt: skip
"""What the parsers and decoders raise on damaged input, found by fuzzing (RuntimeError includes NotImplementedError)."""


def read_dicom(path: Path) -> Film:
    """Read a DICOM file into display values.

    Raises
    ------
    Refusal
        The file is damaged, is no single greyscale film for presentation, is too large, or no decoder here reads it.
    """
    notes = Notes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's warnings quote tag values, which can name the patient
        try:
            dataset = _open(path)
            _refuse_other_objects(dataset)
            _refuse_sizes(dataset)
            syntax = _transfer_syntax(dataset, notes)
            with _named_photometric(dataset):
                pixels, decoder = _decode(dataset, syntax, notes)
            display = _show(pixels, dataset, notes)
            tags.warn_about_tags(dataset, notes)
            facts = _facts(dataset, display, (decoder, syntax), notes)
        except ParserFault as error:
            raise Refusal(f"the DICOM file is damaged ({_cause(error)}). Export or copy it again.") from error
    return Film(display.pixels, facts)


def _cause(error: BaseException) -> str:
    """The first line of an error, short, and free of anything quoted, which could be a value of the file."""
    line = re.split("['\"]", (str(error).strip().splitlines() or [""])[0])[0].strip()[:100]
    return f"{type(error).__name__}: {line}" if line else type(error).__name__


def _open(path: Path) -> Dataset:
    return pydicom.dcmread(path, force=not is_marked(path))


def is_marked(path: Path) -> bool:
    """Whether the file bears the mark of DICOM.

    Raises
    ------
    Refusal
        It is deflated. Reading such a file inflates all of it: 300 KB can become 600 MB before any tag can be asked.
    """
    with path.open("rb") as file:
        head = file.read(2**16)
    marked = head[128:132] == b"DICM"
    if (marked and read_file_meta_info(path).get("TransferSyntaxUID") == DEFLATED) or (not marked and DEFLATED.encode() in head):
        raise Refusal("its transfer syntax Deflated Explicit VR can hide huge content. Convert it to Explicit VR first.")
    return marked


def _refuse_other_objects(dataset: Dataset) -> None:
    """Refuse what is no single film for presentation."""
    sop_class = tags.text_of(dataset, "SOPClassUID") or ""
    meta = getattr(dataset, "file_meta", None) or Dataset()
    if tags.text_of(meta, "MediaStorageSOPClassUID") == DICOMDIR or "DirectoryRecordSequence" in dataset:
        raise Refusal("it is a DICOMDIR index, not a film. Choose the folder of the films instead.")
    if "FloatPixelData" in dataset or "DoubleFloatPixelData" in dataset:
        raise Refusal("its pixels are floating-point numbers, which no film for reading has. Export the film for presentation.")
    if "PixelData" not in dataset:
        raise Refusal(f"it holds no picture (it is {_class_name(sop_class)}). Choose the film itself.")
    if sop_class in FOR_PROCESSING or tags.text_of(dataset, "PresentationIntentType") == "FOR PROCESSING":
        raise Refusal(
            "it is FOR PROCESSING: raw detector values, not made for reading. Export the FOR PRESENTATION image of this view."
        )
    frames = tags.text_of(dataset, "NumberOfFrames") or "1"
    if sop_class == TOMOSYNTHESIS or frames not in ("0", "1"):
        number = frames if COUNT.fullmatch(frames) else "an unknown number of"
        raise Refusal(
            f"it is multi-frame ({number} frames; tomosynthesis is stored so), and one film a file is expected. "
            "Export the 2D or the synthetic view."
        )


def _name_of(syntax: UID) -> str:
    """As the standard names it, or the identifier itself."""
    return syntax.name if syntax.name != syntax or UID_PATTERN.fullmatch(syntax) else "of an unknown kind"


def _class_name(sop_class: str) -> str:
    name = UID(sop_class).name if sop_class else ""
    return f"of class {name}" if name and name != sop_class else "of an unnamed class"


def _refuse_sizes(dataset: Dataset) -> None:
    """Refuse sizes that no film has, before anything is decoded."""
    rows, columns, allocated = (_whole(dataset, keyword) for keyword in ("Rows", "Columns", "BitsAllocated"))
    if rows == 0 or columns == 0 or rows * columns > MAX_PIXELS:
        raise Refusal(
            f"its header states {rows} x {columns} pixels; expected at least 1 and at most {MAX_PIXELS // 10**6} million. "
            "The file is damaged or no mammogram."
        )
    if allocated not in (8, 16):
        raise Refusal(f"it stores {allocated} bits a pixel, and mammograms store 8 or 16. Export the film for presentation.")
    samples, photometric = _whole(dataset, "SamplesPerPixel", 1), tags.text_of(dataset, "PhotometricInterpretation")
    if photometric == "PALETTE COLOR" or samples not in (1, 3):
        kind = tags.code_of(dataset, "PhotometricInterpretation") or "of an unknown kind"
        raise Refusal(f"it is a colour picture ({kind}, {samples} values a pixel). Export the film in greyscale.")


def _whole(dataset: Dataset, keyword: str, default: int = 0) -> int:
    text = tags.text_of(dataset, keyword)
    return int(text) if text and text.isdecimal() else default


def _transfer_syntax(dataset: Dataset, notes: Notes) -> UID:
    """The stated transfer syntax; where the file states none, the plain one in which its tags were readable."""
    if not hasattr(dataset, "file_meta"):
        dataset.file_meta = FileMetaDataset()
    stated = dataset.file_meta.get("TransferSyntaxUID")
    if stated:
        return UID(stated)
    implicit, little = dataset.original_encoding
    syntax = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian if little else ExplicitVRBigEndian
    dataset.file_meta.TransferSyntaxUID = syntax
    notes.warnings.append(f"The file states no transfer syntax; it was read as {syntax.name}.")
    return syntax


@contextmanager
def _named_photometric(dataset: Dataset) -> Iterator[None]:
    """The decoders insist on a Photometric Interpretation. One that the file lacks is set only for them."""
    if tags.text_of(dataset, "PhotometricInterpretation"):
        yield
        return
    dataset.PhotometricInterpretation = "MONOCHROME2" if _whole(dataset, "SamplesPerPixel", 1) == 1 else "RGB"
    yield
    del dataset.PhotometricInterpretation


def _decode(dataset: Dataset, syntax: UID, notes: Notes) -> tuple[npt.NDArray[Any], str]:
    """Decoded pixels, (H, W) or (H, W, 3), and the decoder's name with versions."""
    if syntax in PLAIN:
        return _uncompressed(dataset, notes), f"pydicom {pydicom.__version__}"
    _refuse_codestream(dataset)
    try:
        available = get_decoder(syntax).available_plugins
    except NotImplementedError as error:
        raise Refusal(f"no decoder exists here for its transfer syntax {_name_of(syntax)}. {NO_DECODER_HELP}") from error
    usable = [name for name in DECODERS if name in available]
    for name in usable:
        with suppress(*ParserFault):
            return pixel_array(dataset, decoding_plugin=name), f"{name} ({_versions(name)})"
    tried = f"tried {', '.join(usable)}" if usable else "none is installed"
    raise Refusal(
        f"no decoder here reads its transfer syntax {_name_of(syntax)} ({tried}), or the file is damaged. {NO_DECODER_HELP}"
    )


def _uncompressed(dataset: Dataset, notes: Notes) -> npt.NDArray[Any]:
    samples, bits = _whole(dataset, "SamplesPerPixel", 1), _whole(dataset, "BitsAllocated")
    if tags.text_of(dataset, "PhotometricInterpretation") != "YBR_FULL_422":  # which stores fewer bytes than it has samples
        expected = _whole(dataset, "Rows") * _whole(dataset, "Columns") * samples * bits // 8
        if len(dataset.PixelData) < expected:
            raise Refusal(f"the file is cut short: {len(dataset.PixelData)} of {expected} pixel bytes are there. Copy it again.")
    shifted = _shifted_down(dataset, bits)
    if shifted is None:
        return pixel_array(dataset)
    notes.steps.append("The stored values lay in the upper bits, as the High Bit says, and were shifted down.")
    return shifted


def _shifted_down(dataset: Dataset, allocated: int) -> npt.NDArray[Any] | None:
    """Values that an old file keeps in the upper bits of each word (PS3.5 D), where pydicom takes the lower ones; else ``None``.

    A High Bit is believed only if the values bear it out, since some writers state it wrongly.
    """
    high, stored = _whole(dataset, "HighBit"), _whole(dataset, "BitsStored")
    below = high + 1 - stored
    if not (below > 0 and stored and high < allocated):
        return None
    dataset.BitsStored = high + 1
    try:
        values = pixel_array(dataset)
    finally:
        dataset.BitsStored = stored
    lie_above = not (values & (2**below - 1)).any() and bool(((values >> stored) % 2**below).any())
    return values >> below if lie_above else None


def _versions(decoder: str) -> str:
    return ", ".join(f"{package} {version}" for package in DECODERS[decoder] if (version := version_of(package)))


def version_of(package: str) -> str | None:
    """Installed version of a package, or ``None``."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _refuse_codestream(dataset: Dataset) -> None:
    """Refuse a compressed picture whose own size is not that of the header.

    Decoders allocate by the one and fill by the other: some then abort, others give a sheared picture without a word.
    """
    data = dataset.PixelData
    first = next(iter(generate_fragments(data[_offset_table_end(data) :])), b"")
    size = codestream_size(first)
    stated = (_whole(dataset, "Rows"), _whole(dataset, "Columns"))
    if size is not None and size != stated:
        raise Refusal(
            f"its header states {stated[0]} x {stated[1]} pixels, but its compressed picture has {size[0]} x {size[1]}. "
            "The file is damaged; export it again."
        )


def _offset_table_end(data: bytes) -> int:
    """Encapsulated pixel data begin with an item that holds the offset table, empty or not (PS3.5 A.4)."""
    return int(8 + struct.unpack_from("<L", data, 4)[0]) if len(data) >= 8 else 0


def codestream_size(data: bytes) -> tuple[int, int] | None:
    """Height and width in the header of a JPEG, JPEG-LS or JPEG 2000 codestream, or ``None`` where it does not say."""
    if data[:4] == b"\xff\x4f\xff\x51" and len(data) >= 24:  # JPEG 2000: SOC, SIZ; length, capabilities, end and offset
        right, bottom, left, top = struct.unpack_from(">LLLL", data, 8)
        return bottom - top, right - left
    if data[:2] != b"\xff\xd8":
        return None
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], struct.unpack_from(">H", data, at + 2)[0]
        if (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)) or marker == 0xF7:  # a frame header; F7 is JPEG-LS
            height, width = struct.unpack_from(">HH", data, at + 5)
            return (height, width) if height else None  # 0: the number of rows follows the picture
        at += 2 + length
    return None


def _show(pixels: npt.NDArray[Any], dataset: Dataset, notes: Notes) -> Display:
    """Display values of decoded pixels; a colour picture only where it is grey in fact."""
    if pixels.ndim == 2:
        return to_display(pixels, dataset, notes)
    levels = 2 ** (8 * pixels.dtype.itemsize) - 1
    spread = int(np.max(pixels.max(axis=2).astype(np.int64) - pixels.min(axis=2)))
    if spread * 255 > GREY_TOLERANCE * levels:
        raise Refusal("it is a colour picture with real colour in it, and a mammogram is grey. Export the film in greyscale.")
    notes.steps.append("Stored as colour with three equal channels; one of them was taken.")
    return Display((pixels[:, :, 1] / np.float32(levels)).astype(np.float32), "as stored", False)


def _facts(dataset: Dataset, display: Display, read_by: tuple[str, UID], notes: Notes) -> FilmFacts:
    decoder, syntax = read_by
    height, width = display.pixels.shape
    bits = _whole(dataset, "BitsStored", _whole(dataset, "BitsAllocated"))
    sop_class = tags.text_of(dataset, "SOPClassUID")
    implant = tags.text_of(dataset, "BreastImplantPresent")
    opening = f"Read as DICOM ({_name_of(syntax)}, {bits} bits, {height} x {width} pixels) by {decoder}."
    return FilmFacts(
        kind="DICOM",
        height=height,
        width=width,
        bits=bits,
        window=display.window,
        inverted=display.inverted,
        decoder=decoder,
        photometric=tags.code_of(dataset, "PhotometricInterpretation"),
        transfer_syntax=_name_of(syntax),
        sop_class=UID(sop_class).name if sop_class else None,
        modality=tags.code_of(dataset, "Modality"),
        image_type=tags.code_of(dataset, "ImageType"),
        presentation_intent=tags.code_of(dataset, "PresentationIntentType"),
        burned_in_annotation=tags.code_of(dataset, "BurnedInAnnotation"),
        laterality=tags.side_of(dataset),
        view=tags.view_of(dataset),
        view_modifiers=tags.view_modifiers_of(dataset),
        patient_orientation=tags.code_of(dataset, "PatientOrientation"),
        implant=None if implant is None else implant == "YES",
        vendor=tags.maker_of(dataset, "Manufacturer"),
        model=tags.maker_of(dataset, "ManufacturerModelName"),
        pixel_spacing_mm=tags.spacing_of(dataset),
        patient_key=tags.text_of(dataset, "PatientID"),
        study_key=tags.text_of(dataset, "StudyInstanceUID"),
        study_date=tags.text_of(dataset, "StudyDate"),
        series_description=tags.text_of(dataset, "SeriesDescription"),
        warnings=tuple(notes.warnings),
        steps=(opening, *notes.steps),
    )
