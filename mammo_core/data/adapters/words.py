"""The words that tables use for columns and values, and what they mean here.

Everything compares through :func:`plain`, so ``" Patient ID "``, ``patient_id`` and ``Patient-ID`` are one name.
"""

from __future__ import annotations

import re

ROLES: dict[str, tuple[str, ...]] = {
    "file": (
        "file", "file_name", "filename", "file_path", "filepath", "path", "image_path", "image_file", "image_file_path",
        "fullpath", "image_name", "image", "img", "img_path", "film", "film_path", "dicom_path", "dicom_file", "dicom", "dcm",
        "anon_dicom_path", "png_path", "image_id", "imageid", "film_id", "img_id", "id", "name",
    ),
    "patient": (
        "patient", "patient_id", "patientid", "patient_key", "patient_number", "patient_no", "subject", "subject_id",
        "subjectid", "pid", "person_id", "woman", "woman_id", "client_id", "empi_anon", "case_id", "case",
    ),
    "exam": (
        "exam", "exam_id", "examid", "examination", "study", "study_id", "studyid", "study_instance_uid",
        "studyinstanceuid", "accession", "accession_number", "acc_anon", "visit", "visit_id",
    ),
    "laterality": (
        "laterality", "image_laterality", "imagelaterality", "side", "breast", "breast_side", "left_or_right_breast",
        "leftright", "left_right", "image_laterality_final", "imagelateralityfinal",
    ),
    "view": ("view", "view_position", "viewposition", "image_view", "projection"),
    "center": ("center", "centre", "center_id", "centre_id", "site", "site_id", "hospital", "clinic", "institution"),
    "vendor": ("vendor", "manufacturer", "maker"),
    "mask": ("mask", "mask_path", "mask_file", "lesion_mask", "roi_mask", "roi_mask_file_path", "segmentation"),
}  # fmt: skip
"""Role of a column -> its usual names, likeliest first."""

LABEL_WORDS: dict[str, tuple[str, ...]] = {
    "density": (
        "density",
        "breast_density",
        "density_label",
        "birads_density",
        "density_birads",
        "tissueden",
        "acr",
        "acr_density",
    ),
    "lesion": ("lesion", "pathology", "classification", "diagnosis", "lesion_type", "lesion_class", "severity"),
    "": ("label", "class", "class_name", "category", "target"),
}
"""Task -> usual names of its label column; the last entry serves every task."""

HARMLESS_COLUMNS = frozenset((
    "age", "patient_age", "density", "breast_density", "tissueden", "acr", "lesion", "pathology", "classification", "birads",
    "bi_rads", "breast_birads", "assessment", "asses", "subtlety", "abnormality", "abnormality_type", "mass_shape",
    "mass_margins", "calc_type", "calc_distribution", "subtype", "implant", "biopsy", "invasive", "cancer", "year",
    "study_year", "tissue", "machine_id", "source_split", "path_severity",
))  # fmt: skip
"""The only further columns that reach a manifest. Free text, dates, names and numbers of any other kind never do."""

UNKNOWN_WORDS = frozenset({"", "nan", "na", "n_a", "none", "null", "unknown", "not_available", "not_reported", "missing"})

PLACEHOLDERS = UNKNOWN_WORDS | {"anon", "anonymous", "anonymized", "anonymised", "removed", "deidentified", "de_identified"}
"""Values that stand where a patient or exam id was; two films that share one share nothing else."""

_SIDES = {"l": "L", "left": "L", "lt": "L", "li": "L", "r": "R", "right": "R", "rt": "R", "re": "R"}
_VIEWS = frozenset(("cc", "mlo", "ml", "lm", "lmo", "at", "xcc", "xccl", "xccm", "fb", "sio", "iso", "cv", "tan", "rl", "rm"))
_LONG_VIEWS = {
    "craniocaudal": "CC",
    "mediolateraloblique": "MLO",
    "mediolateral": "ML",
    "lateromedial": "LM",
    "axillarytail": "AT",
    "frontal": "FRONTAL",
    "lateral": "LATERAL",
    "oblique": "OBLIQUE",
}

_DATE = re.compile(r"\d{4}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}|\d{5,}")

_CBIS = re.compile(r"(?:mass|calc)-(?:training|train|test)_(p_\d{3,})_(left|right)_(cc|mlo)", re.IGNORECASE)


def plain(text: str) -> str:
    """Lower case, with every run of other signs than letters and digits as one ``_``.

    Examples
    --------
    >>> plain(" Patient ID "), plain("Bi-Rads")
    ('patient_id', 'bi_rads')
    """
    return re.sub(r"[\W_]+", "_", text.casefold()).strip("_")


def side_of(text: str) -> str:
    """``L``, ``R``, or empty where the value is neither."""
    return _SIDES.get(plain(text), "")


def view_of(text: str) -> str:
    """The view's short name in capitals (``CC``, ``MLO``, ...), or empty where it is not known.

    A side written in front (``LCC``, ``R-MLO``) is passed over.

    Examples
    --------
    >>> view_of("R-MLO"), view_of("cranio-caudal"), view_of("12.03.1961")
    ('MLO', 'CC', '')
    """
    letters = plain(text).replace("_", "")
    if letters in _LONG_VIEWS:
        return _LONG_VIEWS[letters]
    for candidate in (letters, letters[1:] if letters[:1] in ("l", "r") else ""):
        if candidate in _VIEWS:
            return candidate.upper()
    return ""


def side_and_view_in(name: str) -> tuple[str, str]:
    """Side and view that a file name spells out, each empty where it does not or where it contradicts itself.

    A single L or R counts only beside a view, since it also numbers rooms and repeats; side and view may be written together
    in either order (``LCC``, ``MLORT``).

    Examples
    --------
    >>> side_and_view_in("case7_L_MLO.png"), side_and_view_in("MLORT.tif"), side_and_view_in("IMG_R_12.png")
    (('L', 'MLO'), ('R', 'MLO'), ('', ''))
    """
    sides, views = set(), set()
    words = [word for word in plain(re.sub(r"\.[^.]*$", "", name.rsplit("/", 1)[-1])).split("_") if not word.isdecimal()]
    for word in words:
        joined = re.fullmatch(r"(l|r|left|right)?(cc|mlo|ml|lm)(lt|rt)?", word)
        if joined and not (joined[1] and joined[3]):
            views.add(joined[2].upper())
            sides |= {side_of(part) for part in (joined[1], joined[3]) if part}
        elif word in ("left", "right"):
            sides.add(side_of(word))
    if len(views) == 1:
        sides |= {word.upper() for word in words if word in ("l", "r")}
    return sides.pop() if len(sides) == 1 else "", views.pop() if len(views) == 1 else ""


def cbis_parts(text: str) -> tuple[str, str, str] | None:
    """Patient, side and view in a name as CBIS-DDSM writes it, else ``None``.

    The DICOM PatientID of that set is such a name, different for each film: grouping by it leaks.

    Examples
    --------
    >>> cbis_parts("Mass-Test_P_00820_LEFT_CC/1-280.dcm")
    ('P_00820', 'L', 'CC')
    """
    match = _CBIS.search(text)
    return (match[1].upper(), match[2][0].upper(), match[3].upper()) if match else None


def patient_of(text: str) -> str:
    """The patient that an id stands for: the ``P_...`` part of a CBIS-like name, empty for a placeholder, else the id itself."""
    parts = cbis_parts(text)
    if parts:
        return parts[0]
    return "" if plain(text) in PLACEHOLDERS else text.strip()


def harmless_value(column: str, text: str) -> str:
    """The value of a further column if it can identify nobody, else empty.

    Ages above 89 become 90, as the HIPAA safe-harbour rule asks (45 CFR 164.514(b)(2)); a year has four digits; anything that
    holds a date, a long number or more than 40 signs is emptied.
    """
    text = " ".join(text.split())
    if column in ("age", "patient_age"):
        digits = re.fullmatch(r"0*(\d{1,3})(?:\.0+)?\s*[yY]?", text)
        return str(min(int(digits[1]), 90)) if digits else ""
    if column in ("year", "study_year"):
        return text if re.fullmatch(r"(19|20)\d{2}", text) else ""
    return "" if len(text) > 40 or _DATE.search(text) else text
