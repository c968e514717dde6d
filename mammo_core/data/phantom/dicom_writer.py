"""Phantom films as complete Digital Mammography X-Ray Image objects, FOR PRESENTATION (DICOM PS3.3, A.26).

Every attribute that the standard's modules ask for (type 1 and type 2) is there, so that an importer meets what a hospital's
archive would send. All of them say in several places that nobody was imaged.
"""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, DigitalMammographyXRayImageStorageForPresentation, ExplicitVRLittleEndian, RLELossless

from mammo_core.data.phantom.anatomy import FILM_HEIGHT_MM
from mammo_core.data.phantom.centers import CENTERS, Center
from mammo_core.data.phantom.patient import VIEWS, PhantomFilm

SYNTHETIC_NOTE = "synthetic phantom, not a patient"

_NAMESPACE = uuid.UUID("0d6f2b1c-5b0e-5c3a-9a52-6d616d6d6f74")
_EXAM_DATE, _EXAM_TIME = "20200101", "120000"
_ORIENTATION = {("L", "CC"): ["A", "R"], ("L", "MLO"): ["A", "FR"], ("R", "CC"): ["P", "L"], ("R", "MLO"): ["P", "FL"]}
"""Directions of a row and of a column: away from the chest wall, then towards the midline (and the feet)."""
_VIEW_CODES = {"CC": ("399162004", "cranio-caudal"), "MLO": ("399368009", "medio-lateral oblique")}


def film_dataset(film: PhantomFilm, seed: int, inverted: bool = False, rle: bool = False) -> Dataset:
    """One film as a DICOM object with file meta information; equal arguments give equal bytes.

    Parameters
    ----------
    seed : of the set; the UIDs come from it and from what identifies the film
    inverted : store MONOCHROME1, that is the negative with Presentation LUT Shape INVERSE
    rle : compress the pixel data with RLE Lossless; otherwise Explicit VR Little Endian
    """
    center = CENTERS[film.center]
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    attributes = {
        **_identity(film, seed),
        **_equipment(film),
        **_geometry(film),
        **_pixels(film, center, inverted),
    }
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    if rle:
        dataset.compress(RLELossless, generate_instance_uid=False)
    return dataset


def write_dicom(path: Path, dataset: Dataset) -> None:
    """Write a DICOM file with preamble and file meta information."""
    dataset.save_as(path, enforce_file_format=True)


def _uid(seed: int, *parts: object) -> UID:
    """UID under the root for UUIDs (PS3.5, B.2), the same for the same parts."""
    name = "/".join(str(part) for part in ("phantom", seed, *parts))
    return UID(f"2.25.{uuid.uuid5(_NAMESPACE, name).int}")


def _identity(film: PhantomFilm, seed: int) -> dict[str, Any]:
    """Patient, study, series and instance: PS3.3 C.7.1.1, C.7.2.1, C.7.3.1, C.12.1."""
    number = VIEWS.index((film.laterality, film.view)) + 1
    exam = (film.patient_id, film.exam_id, *film.pixels.shape)
    return {
        "SOPClassUID": DigitalMammographyXRayImageStorageForPresentation,
        "SOPInstanceUID": _uid(seed, *exam, film.laterality, film.view),
        "StudyInstanceUID": _uid(seed, *exam, "study"),
        "SeriesInstanceUID": _uid(seed, *exam, "series"),
        "PatientName": f"SYNTHETIC^PHANTOM{film.patient_id.removeprefix('P')}",
        "PatientID": film.patient_id,
        "PatientBirthDate": "",
        "PatientSex": "F",
        "PatientComments": SYNTHETIC_NOTE,
        "QualityControlSubject": "YES",
        "StudyDate": _EXAM_DATE,
        "StudyTime": _EXAM_TIME,
        "StudyID": film.exam_id,
        "StudyDescription": "SYNTHETIC PHANTOM EXAM",
        "AccessionNumber": "",
        "ReferringPhysicianName": "",
        "Modality": "MG",
        "SeriesNumber": 1,
        "SeriesDescription": "SYNTHETIC PHANTOM FILMS",
        "InstanceNumber": number,
        "ContentDate": _EXAM_DATE,
        "ContentTime": _EXAM_TIME,
        "ImageComments": SYNTHETIC_NOTE,
        "PresentationIntentType": "FOR PRESENTATION",
        "AcquisitionContextSequence": Sequence(),
    }


def _equipment(film: PhantomFilm) -> dict[str, Any]:
    """General Equipment and DX Detector: PS3.3 C.7.5.1, C.8.11.4."""
    spacing = round(FILM_HEIGHT_MM / film.pixels.shape[0], 6)
    return {
        "Manufacturer": film.vendor,
        "ManufacturerModelName": "Phantom film generator",
        "InstitutionName": f"Phantom centre {film.center}",
        "DeviceSerialNumber": "0",
        "SoftwareVersions": "1",
        "DetectorType": "DIRECT",
        "ImagerPixelSpacing": [spacing, spacing],
        "PixelSpacing": [spacing, spacing],
    }


def _geometry(film: PhantomFilm) -> dict[str, Any]:
    """Anatomy and view: PS3.3 C.8.11.2 (DX Anatomy Imaged), C.8.11.7 (Mammography Image)."""
    view = _code(*_VIEW_CODES[film.view])
    view.ViewModifierCodeSequence = Sequence()
    return {
        "BodyPartExamined": "BREAST",
        "OrganExposed": "BREAST",
        "AnatomicRegionSequence": Sequence([_code("76752008", "Breast")]),
        "ImageLaterality": film.laterality,
        "ViewPosition": film.view,
        "ViewCodeSequence": Sequence([view]),
        "PatientOrientation": _ORIENTATION[film.laterality, film.view],
        "PositionerType": "MAMMOGRAPHIC",
        "BreastImplantPresent": "NO",
        "PartialView": "NO",
    }


def _code(value: str, meaning: str) -> Dataset:
    """A SNOMED CT code."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "SCT", meaning
    return item


def _pixels(film: PhantomFilm, center: Center, inverted: bool) -> dict[str, Any]:
    """Image Pixel, DX Image and VOI LUT: PS3.3 C.7.6.3, C.8.11.3, C.11.2."""
    bits = center.bits_stored
    stored = (film.pixels >> (16 - bits)).astype("<u2")
    window = _window(stored[film.breast_mask], center, bits, inverted)
    if inverted:
        stored = (2**bits - 1 - stored).astype("<u2")
    return {
        "ImageType": ["ORIGINAL", "PRIMARY"],
        "QualityControlImage": "YES",
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME1" if inverted else "MONOCHROME2",
        "Rows": stored.shape[0],
        "Columns": stored.shape[1],
        "BitsAllocated": 16,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": 0,
        "PixelIntensityRelationship": "LOG",
        # -1: high values mean that few X-rays arrived, so bright is dense (PS3.3 C.8.11.3.1.2).
        "PixelIntensityRelationshipSign": 1 if inverted else -1,
        "RescaleIntercept": 0,
        "RescaleSlope": 1,
        "RescaleType": "US",
        "PresentationLUTShape": "INVERSE" if inverted else "IDENTITY",
        "LossyImageCompression": "00",
        "BurnedInAnnotation": "NO",
        **window,
        "PixelData": stored.tobytes(),
    }


def _window(breast: npt.NDArray[np.uint16], center: Center, bits: int, inverted: bool) -> dict[str, Any]:
    """Window over the breast's own grey levels; with MONOCHROME1 it shows the negative's breast in the same way."""
    low, high = (float(level) for level in np.percentile(breast, (0.5, 99.8)))
    middle, width = round((low + high) / 2), max(2, round(high - low))
    if inverted:
        # LINEAR is centred on c - 0.5 (PS3.3 C.11.2.1.2.1), so its mirror image about the full range lies one level higher.
        middle = 2**bits - 1 - middle + (center.voi_function == "LINEAR")
    if center.name == "3":
        # One vendor offers two windows, the first one being its default.
        return {
            "WindowCenter": [middle, middle],
            "WindowWidth": [width, max(2, round(0.7 * width))],
            "WindowCenterWidthExplanation": ["NORMAL", "HARD"],
            "VOILUTFunction": center.voi_function,
        }
    return {"WindowCenter": middle, "WindowWidth": width, "VOILUTFunction": center.voi_function}
