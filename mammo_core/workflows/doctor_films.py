"""Whether each transfer syntax of DICOM that films come in is really decoded here: a small picture in each, read as films are.

The compressed pictures were made once with GDCM, pydicom and pyjpegls from 16 x 16 values in order, and packed with zlib; the
decoders run in the sandbox's child process, as for a film from outside.
"""

from __future__ import annotations

import tempfile
import zlib
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    DigitalMammographyXRayImageStorageForPresentation,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    generate_uid,
)

from mammo_core.data.sandbox import DecodePool, Job
from mammo_core.errors import FilmUnreadable, MammoError
from mammo_core.workflows.doctor_check import Check
from mammo_core.workflows.doctor_installation import INSTALL

SIDE = 16
SECONDS = 60.0
"""For one picture; the first import of a decoder on a busy machine takes some of it."""


@dataclass(frozen=True)
class Sample:
    """One picture as it lies in a DICOM file."""

    name: str
    syntax: UID
    bits: int
    codestream: bytes = b""
    """Empty where the values lie in the file as they are."""
    tolerance: float = 1e-6
    """How far a display value, in [0, 1], may lie off; lossy compression does not give the values back."""


def _unpacked(text: str) -> bytes:
    return zlib.decompress(b64decode(text))


SAMPLES = (
    Sample("Implicit VR Little Endian", ImplicitVRLittleEndian, 12),
    Sample("Explicit VR Little Endian", ExplicitVRLittleEndian, 12),
    Sample("Explicit VR Big Endian", ExplicitVRBigEndian, 12),
    Sample("RLE", UID("1.2.840.10008.1.2.5"), 12, _unpacked(
        "eNpjYmBgcADiBAbywEeGj4wfmT4yf2T5yPqR7SP7R46PnB+5PnJ/5PnI+5HvIz8/g4CCgUNAQkHDhAUbDlx48GGECwAAY++JGw=="
    )),
    Sample("JPEG Baseline", UID("1.2.840.10008.1.2.4.50"), 8, _unpacked(
        "eNr7f+P/bQZnBkYKwf8DDNwcDAIMAoyMggz/jzDIMzAwskKkGKCAkYmZhZWNnYOTixuoYKsAAxMjMzMTCzMrKwsLULYWKM/AIsgqpGjoyCYcmM"
        "iuVChi1DhxIYey08aDokEXP6gYJxU1cXKJiUtISqmqqWtoapmYmplbWFo5u7i6uXt4egWHhIaFR0RGJaekpqVnZGYVl5SWlVdUVjW3tLa1d3R2"
        "TZo8Zeq06TNmzlq0eMnSZctXrFy1afOWrdu279i569DhI0ePHT9x8tSly1euXrt+4+ath48eP3n67PmLl68+fvr85eu37z9+/vp/i4ED5B97hn"
        "9lX+7/ULt/9z9DJ/vyP7vrv5m+kMr/I5z/7j/DkebL/2L3/5b698GEkJL/NwGzKYpi"
    ), 4 / 255),
    Sample("JPEG Extended, 8 bits", UID("1.2.840.10008.1.2.4.51"), 8, _unpacked(
        "eNr7f+P/bQZnBkYKwf8DDNwcDAIMAoyMggz/jzDIMzAwskKkGKCAkYmZhZWNnYOTixuoYKsAAxMjMzMTCzMrKwsLULYWKM/AIsgqpGjoyCYcmM"
        "iuVChi1DhxIYey08aDokEXP6gYJxU1cXKJiUtISqmqqWtoapmYmplbWFo5u7i6uXt4egWHhIaFR0RGJaekpqVnZGYVl5SWlVdUVjW3tLa1d3R2"
        "TZo8Zeq06TNmzlq0eMnSZctXrFy1afOWrdu279i569DhI0ePHT9x8tSly1euXrt+4+ath48eP3n67PmLl68+fvr85eu37z9+/vp/i4ED5B97hn"
        "9lX+7/ULt/9z9DJ/vyP7vrv5m+kMr/I5z/7j/DkebL/2L3/5b698GEkJL/NwGzKYpi"
    ), 4 / 255),
    Sample("JPEG Lossless", UID("1.2.840.10008.1.2.4.57"), 12, _unpacked(
        "eNr7f+P/YQZuAQYgZGQUZPh/hEGMgZGRkQEZsHIK/L/FwAEUBYqfUGjigKJWBkcWARjSYOKAyyg6CCBkuBiaEDIBCA0CTg0Io5pEGJFkFnDQwZ"
        "L/NwFTOiuc"
    )),
    Sample("JPEG Lossless SV1", UID("1.2.840.10008.1.2.4.70"), 12, _unpacked(
        "eNr7f+P/YQZuAQYgZGQUZPh/hEGMgZGRkQEZsHIK/L/FwAEUBYqfUGjigKJWBkcWARjSYOKAyyg6CCBkuBiaEDIBCA0CTg0Io5pEGJFkFnDQwZ"
        "L/NwFTOiuc"
    )),
    Sample("JPEG-LS Lossless", UID("1.2.840.10008.1.2.4.80"), 12, _unpacked(
        "eNr7f+P/dwZuHgYBBgFGRkGG/7cYOBgZGYBg/f395bu/Vz+vLT7220EhYe/zmNxlEbHppmsYBAx7kq5tXZsVNGXPf02fM2dOrVq1Xh5IgMC6+R"
        "B6rUWdyiRPlUm+8zNB9GT3S16rVq2ZrwWUOvhh1frf897/L7Od/7/ia/3/4Iv/6/3N/9cw/L/JAABGTkhj"
    )),
    Sample("JPEG 2000 Lossless", UID("1.2.840.10008.1.2.4.90"), 12, _unpacked(
        "eNr77/8/kEGTAQQEoBgGUPmM/IyM/4MYeEBMBmYWFgbG/zEMvA4NHR0TIOh/CoMWA6NzUWpiSWqKQlKlgruLs6++f0FqnleAq7tCWWpRcWZ+no"
        "KRnrGewf8JDFxgU/2Bxky+/2NCAHtjeJSTc2pA6fED7LfYGf80NfAysXLbtkrWH2B+xdpQd2CBkhRHbD1z/d0gvwOMn1sa7A0CzBbOPG+7zCTh"
        "/P+bDAA9kTkq"
    )),
)  # fmt: skip


def check_decoders(samples: tuple[Sample, ...] = SAMPLES) -> Check:
    """Decode every sample in a child process and compare what it shows."""
    try:
        failed = [f"{sample.name} ({problem})" for sample, problem in _decoded(samples) if problem]
    except MammoError as error:
        return Check("decoders", "Decoders", "broken", "no film can be read", str(error))
    if failed:
        found = f"{len(samples) - len(failed)} of {len(samples)} kinds of DICOM film are read; not {', '.join(failed)}"
        todo = f"Run '{INSTALL}'; if that does not help, look for modules in the way above."
        return Check("decoders", "Decoders", "broken", found, todo)
    return Check("decoders", "Decoders", "good", f"all {len(samples)} kinds of DICOM film are read")


def _decoded(samples: tuple[Sample, ...]) -> Iterator[tuple[Sample, str]]:
    """Each sample with what is wrong with its decoding; empty where nothing is."""
    with tempfile.TemporaryDirectory(prefix="mammotrace_doctor_") as folder, DecodePool(1, SECONDS) as pool:
        jobs = [Job("film", _write(sample, Path(folder) / f"{number}.dcm")) for number, sample in enumerate(samples)]
        for sample, (_, result) in zip(samples, pool.map(jobs), strict=True):
            if isinstance(result, FilmUnreadable):
                yield sample, str(result).split(": ", 1)[-1].split(". ")[0]
            else:
                shown = getattr(result, "pixels", None)
                yield sample, "" if _is_right(shown, sample) else "it shows other values"


def _is_right(shown: npt.NDArray[np.float32] | None, sample: Sample) -> bool:
    expected = _values(sample.bits) / (2**sample.bits - 1)
    return shown is not None and shown.shape == expected.shape and bool(np.abs(shown - expected).max() <= sample.tolerance)


def _values(bits: int) -> npt.NDArray[np.uint16]:
    """The picture (:data:`SIDE` x :data:`SIDE`): equal steps from black to nearly white."""
    return np.arange(SIDE**2, dtype=np.uint16).reshape(SIDE, SIDE) * np.uint16(2**bits // SIDE**2)


def _write(sample: Sample, path: Path) -> Path:
    """The sample as a DICOM film."""
    meta, film = FileMetaDataset(), Dataset()
    meta.MediaStorageSOPClassUID = film.SOPClassUID = DigitalMammographyXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = film.SOPInstanceUID = generate_uid(entropy_srcs=["mammotrace doctor", sample.name])
    meta.TransferSyntaxUID = sample.syntax
    film.file_meta = meta
    film.Modality, film.PresentationIntentType = "MG", "FOR PRESENTATION"
    film.Rows = film.Columns = SIDE
    film.SamplesPerPixel, film.PhotometricInterpretation, film.PixelRepresentation = 1, "MONOCHROME2", 0
    film.BitsAllocated, film.BitsStored, film.HighBit = (8 if sample.bits == 8 else 16), sample.bits, sample.bits - 1
    film.WindowCenter, film.WindowWidth = (2**sample.bits - 1) / 2, 2**sample.bits - 1
    film.VOILUTFunction = "LINEAR_EXACT"
    order = ">" if sample.syntax == ExplicitVRBigEndian else "<"
    if sample.codestream:
        film.PixelData = encapsulate([sample.codestream])
        film["PixelData"].is_undefined_length = True
    else:
        film.PixelData = _values(sample.bits).astype(f"{order}u2").tobytes()
    film["PixelData"].VR = "OB" if sample.codestream or sample.bits == 8 else "OW"
    film.save_as(path, enforce_file_format=True)
    return path
