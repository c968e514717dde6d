"""What the header of a DICOM file says about patient, side and view, for sets that say it nowhere else. No pixel is decoded."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

TAGS = (
    "PatientID", "ImageLaterality", "Laterality", "FrameLaterality", "ViewPosition", "ViewCodeSequence", "PatientOrientation",
    "SeriesDescription",
)  # fmt: skip


@dataclass(frozen=True)
class Header:
    """Empty text where the file does not say."""

    patient: str = ""
    laterality: str = ""
    view: str = ""


def header_of(root: Path, name: str, size: int) -> Header:
    """The header of ``root/name``; all empty where it cannot be read, which the import itself will tell.

    Parameters
    ----------
    size : int
        Of the file, bytes; a file that changed is read again.
    """
    return _read(str(root / name), size)


@lru_cache(maxsize=2**16)
def _read(path: str, size: int) -> Header:
    import pydicom  # a plan without DICOM needs none of it

    from mammo_core.data import dicom_facts as tags
    from mammo_core.data.dicom import ParserFault, is_marked
    from mammo_core.data.film import Refusal

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's warnings quote tag values, which can name the patient
        try:
            if not is_marked(Path(path)):
                return Header()
            dataset = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(TAGS))
            return Header(tags.text_of(dataset, "PatientID") or "", tags.side_of(dataset) or "", tags.view_of(dataset) or "")
        except (*ParserFault, MemoryError, Refusal):
            return Header()
