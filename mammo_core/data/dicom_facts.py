"""What the tags of a DICOM file say about its film. A tag that cannot be read counts as absent."""

from __future__ import annotations

import re
from contextlib import suppress

from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException

from mammo_core.data.film import Notes

TagFault = (
    ArithmeticError, AttributeError, BytesLengthException, LookupError, NotImplementedError, OSError, TypeError, ValueError,
)  # fmt: skip
"""What pydicom raises when a damaged element is converted, which happens on first access."""

MAX_TEXT = 64
"""Characters kept of any text; longer ones occur only in damaged files."""

CODE = re.compile(r"(?!.*\d{4})[A-Z0-9_ \\]+")
"""Four digits in a row are a date or a number of a person: no code has them."""

PERSONAL = re.compile(r"\^|\d{7}|(?<!\d)\d{4}[-/.]\d{1,2}(?!\d)|(?<!\d)\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}")
"""A person's name as DICOM writes it, a date or a long number."""
NAME_WITH_COMMA = re.compile(r",(?!\s*(?:inc|ltd|limited|llc|co|corp|corporation|gmbh)\b)", re.IGNORECASE)
"""``Doe, Jane``, but not ``HOLOGIC, Inc.``"""

VIEWS = frozenset(
    {"CC", "MLO", "ML", "LM", "LMO", "LMLO", "XCCL", "XCCM", "FB", "SIO", "ISO", "AT", "CV", "RL", "RM", "RI", "RS", "TAN"}
    | {"SPECIMEN"}
)
"""Abbreviations for View Position (PS3.3, mammography view codes and modifiers, as vendors write them)."""

VIEW_CODES = {
    "399162004": "CC", "R-10242": "CC",
    "399368009": "MLO", "R-10226": "MLO",
    "399260004": "ML", "R-10224": "ML",
    "399352003": "LM", "R-10228": "LM",
    "399099002": "LMO", "R-10230": "LMO",
    "399192008": "XCCL", "R-1024A": "XCCL",
    "399101009": "XCCM", "R-1024B": "XCCM",
    "399196006": "FB", "R-10244": "FB",
    "399188001": "SIO", "R-102D0": "SIO",
    "441555000": "ISO", "R-40AAA": "ISO",
    "127457009": "SPECIMEN", "G-8310": "SPECIMEN",
}  # fmt: skip
"""PS3.16 context group 4014, in SNOMED CT and in the older SRT codes."""

VIEW_MODIFIER_CODES = {
    "399163009": "magnification", "R-102D6": "magnification",
    "399055006": "spot compression", "R-102D7": "spot compression",
    "399209000": "implant displaced", "R-102D5": "implant displaced",
    "399110001": "tangential", "R-102C2": "tangential",
    "399226006": "rolled medial", "R-102D4": "rolled medial",
    "399197002": "rolled lateral", "R-102D3": "rolled lateral",
    "415670009": "rolled superior", "R-102C9": "rolled superior",
    "414493004": "rolled inferior", "R-102CA": "rolled inferior",
    "399161006": "cleavage", "R-102D2": "cleavage",
    "399011000": "axillary tail", "R-102D1": "axillary tail",
    "442580003": "axillary tissue", "R-40AB2": "axillary tissue",
    "441752004": "anterior compression", "P2-00161": "anterior compression",
    "442581004": "nipple in profile", "R-40AB3": "nipple in profile",
    "442593008": "infra-mammary fold", "R-40ABE": "infra-mammary fold",
}  # fmt: skip
"""PS3.16 context group 4015."""
USUAL_MODALITIES = frozenset({"MG", "CR", "DX", "RG", "OT", "SC"})


def text_of(dataset: Dataset, keyword: str) -> str | None:
    """A tag as text: blanks trimmed, several values joined by a backslash, ``None`` where empty or unreadable."""
    try:
        value = dataset.get(keyword)
        if value is None:
            return None
        parts = [value] if isinstance(value, str) or not hasattr(value, "__iter__") else list(value)
        text = "\\".join(" ".join(str(part).split()) for part in parts)
    except TagFault:
        return None
    return text.strip("\x00 ")[:MAX_TEXT] or None


def code_of(dataset: Dataset, keyword: str) -> str | None:
    """A tag that holds a code (VR CS: capitals, digits, blank, ``_``); anything else there counts as absent.

    In a damaged file the text of any other tag can stand there, the patient's name too, and codes are kept and shown.
    """
    text = text_of(dataset, keyword)
    return text if text is not None and CODE.fullmatch(text) else None


def maker_of(dataset: Dataset, keyword: str) -> str | None:
    """A tag that holds the free name of a maker or a device; what reads like a person, a date or a long number counts as absent.

    As with :func:`code_of`, the text of any other tag can stand there.
    """
    text = impersonal(text_of(dataset, keyword) or "")
    return text if text and not NAME_WITH_COMMA.search(text) else None


def impersonal(text: str) -> str:
    """The name of a place or a device, or empty where it holds ``^``, a date or more than six digits in a row.

    Examples
    --------
    >>> impersonal("St. Anna 3"), impersonal("Doe^Jane"), impersonal("19610412")
    ('St. Anna 3', '', '')
    """
    return "" if PERSONAL.search(text) else text


def spacing_of(dataset: Dataset) -> tuple[float, float] | None:
    """Row and column distance in the breast, millimetres.

    Mammography usually states Imager Pixel Spacing, which holds at the detector; divided by the estimated magnification it
    holds in the breast.
    """
    plain, at_detector = _pair(dataset, "PixelSpacing"), _pair(dataset, "ImagerPixelSpacing")
    if plain or not at_detector:
        return plain
    try:
        magnification = float(text_of(dataset, "EstimatedRadiographicMagnificationFactor") or 1)
    except ValueError:
        magnification = 1.0
    if not 1 <= magnification <= 10:
        magnification = 1.0
    return at_detector[0] / magnification, at_detector[1] / magnification


def _pair(dataset: Dataset, keyword: str) -> tuple[float, float] | None:
    try:
        row, column = (float(part) for part in (text_of(dataset, keyword) or "").split("\\"))
    except ValueError:
        return None
    return (row, column) if 0 < row < 10 and 0 < column < 10 else None


def side_of(dataset: Dataset) -> str | None:
    """``L`` or ``R`` from Image Laterality, Laterality, Frame Laterality, or the words of Series Description."""
    for keyword in ("ImageLaterality", "Laterality", "FrameLaterality"):
        text = (text_of(dataset, keyword) or "").upper()
        if text in ("L", "R"):
            return text
    words = _words(text_of(dataset, "SeriesDescription"))
    sides = {side for word, side in (("L", "L"), ("LEFT", "L"), ("R", "R"), ("RIGHT", "R")) if word in words}
    sides |= {word[0] for word in words if word[0] in "LR" and word[1:] in ("CC", "MLO")}
    return sides.pop() if len(sides) == 1 else None


def view_of(dataset: Dataset) -> str | None:
    """View from View Position, View Code Sequence, Patient Orientation (as in CBIS-DDSM) or Series Description."""
    position = (text_of(dataset, "ViewPosition") or "").upper()
    if position in VIEWS:
        return position
    for code in _codes(dataset, "ViewCodeSequence"):
        if code in VIEW_CODES:
            return VIEW_CODES[code]
    orientation = (text_of(dataset, "PatientOrientation") or "").upper()
    if orientation in VIEWS:
        return orientation
    words = {word[1:] if word[1:] in ("CC", "MLO") else word for word in _words(text_of(dataset, "SeriesDescription"))}
    views = words & {"CC", "MLO", "ML", "LM", "XCCL", "XCCM"}
    return views.pop() if len(views) == 1 else None


def view_modifiers_of(dataset: Dataset) -> tuple[str, ...]:
    """Names of the view modifiers, such as ``magnification``; unknown codes are left out."""
    holders = [dataset]
    with suppress(*TagFault):
        holders += list(dataset.get("ViewCodeSequence") or [])
    codes = [code for holder in holders for code in _codes(holder, "ViewModifierCodeSequence")]
    return tuple(sorted({VIEW_MODIFIER_CODES[code] for code in codes if code in VIEW_MODIFIER_CODES}))


def _codes(dataset: Dataset, keyword: str) -> list[str]:
    try:
        items = list(dataset.get(keyword) or [])
    except TagFault:
        return []
    return [code for item in items if isinstance(item, Dataset) and (code := text_of(item, "CodeValue"))]


def _words(text: str | None) -> set[str]:
    return {word for word in re.split(r"[^A-Z]+", (text or "").upper()) if word}


def warn_about_tags(dataset: Dataset, notes: Notes) -> None:
    """Say what about this file should make a user look twice."""
    modality = code_of(dataset, "Modality")
    if modality and modality not in USUAL_MODALITIES:
        notes.warnings.append(f"The file's modality is {modality[:16]}, not mammography (MG).")
    if text_of(dataset, "BurnedInAnnotation") == "YES":
        notes.warnings.append("The file says that text is burned into the picture; it may name the patient.")
    modifiers = view_modifiers_of(dataset)
    if modifiers:
        notes.warnings.append(f"This is a special view ({', '.join(modifiers)}), not a standard one.")
    if text_of(dataset, "BreastImplantPresent") == "YES":
        notes.warnings.append("The file says that the breast holds an implant.")
    if "GENERATED_2D" in (text_of(dataset, "ImageType") or ""):
        notes.warnings.append("This is a synthetic view computed from tomosynthesis, not an exposure of its own.")
