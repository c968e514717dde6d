"""Films for the tests: a drawn breast, and DICOM files with just the tags that a test is about."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid
from scipy import ndimage

FOR_PRESENTATION = "1.2.840.10008.5.1.4.1.1.1.2"
RAMP = np.arange(4096, dtype=np.uint16).reshape(64, 64)
"""Every 12-bit value once."""


def drawn_film(
    shape: tuple[int, int] = (320, 256), side: str = "left", reach: float = 0.55, seed: int = 7
) -> npt.NDArray[np.float32]:
    """A half-ellipse of textured tissue at one edge, a dark background with a little noise, and a bright marker.

    Parameters
    ----------
    reach : how far the breast reaches into the film, as a share of its width
    """
    height, width = shape
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    inside = ((rows - height / 2) / (0.4 * height)) ** 2 + (columns / (reach * width)) ** 2 < 1
    texture = ndimage.gaussian_filter(rng.normal(size=shape), max(shape) / 60)
    texture /= np.abs(texture).max()
    film = np.where(inside, 0.5 + 0.35 * texture, 0.01 + 0.005 * rng.random(shape)).astype(np.float32)
    film[int(0.04 * height) : int(0.09 * height), int(0.8 * width) : int(0.92 * width)] = 0.95  # a marker
    return np.ascontiguousarray(film[:, ::-1]) if side == "right" else film


def breast_of(shape: tuple[int, int] = (320, 256), side: str = "left", reach: float = 0.55) -> npt.NDArray[np.bool_]:
    """Where :func:`drawn_film` drew the breast."""
    height, width = shape
    rows, columns = np.mgrid[:height, :width]
    inside = ((rows - height / 2) / (0.4 * height)) ** 2 + (columns / (reach * width)) ** 2 < 1
    return inside[:, ::-1] if side == "right" else inside


def dicom_of(stored: npt.NDArray[Any], syntax: UID = ExplicitVRLittleEndian, **tags: object) -> FileDataset:
    """A mammography data set for presentation with these pixels. A tag given as ``None`` is left out."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = FOR_PRESENTATION
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["mammotrace tests"])
    meta.TransferSyntaxUID = syntax
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    bits = stored.dtype.itemsize * 8
    standard = {
        "SOPClassUID": FOR_PRESENTATION,
        "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "Modality": "MG",
        "PatientName": "Miller^Anna",
        "PatientID": "secret-4711",
        "PresentationIntentType": "FOR PRESENTATION",
        "Rows": stored.shape[0],
        "Columns": stored.shape[1],
        "SamplesPerPixel": 1 if stored.ndim == 2 else stored.shape[2],
        "PhotometricInterpretation": "MONOCHROME2" if stored.ndim == 2 else "RGB",
        "BitsAllocated": bits,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": int(stored.dtype.kind == "i"),
        "PlanarConfiguration": 0 if stored.ndim == 3 else None,
    }
    for keyword, value in {**standard, **tags}.items():
        if value is not None:
            setattr(dataset, keyword, value)
    dataset.PixelData = stored.tobytes()
    dataset["PixelData"].VR = "OW" if bits == 16 else "OB"
    return dataset


def write_dicom(path: Path, stored: npt.NDArray[Any], **tags: Any) -> Path:
    """Write :func:`dicom_of` and return its path."""
    dicom_of(stored, **tags).save_as(path, enforce_file_format=True)
    return path


def lut(first: int, entries: npt.NDArray[np.integer[Any]], bits: int) -> Dataset:
    """An item of a Modality or VOI LUT Sequence with 16-bit words."""
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [len(entries) % 2**16, first, bits])
    item.add_new("LUTData", "OW", entries.astype("<u2").tobytes())
    return item
