"""Lesions with their true outlines: smooth and spiculated masses, coarse calcifications and clusters of fine ones.

A lesion belongs to a patient: both views of its breast show it at the same distance from the nipple and with the same size.
Its contrast is a multiple of the local contrast, so that it is neither lost in dense tissue nor glaring in fat.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.special
from PIL import Image, ImageDraw
from scipy.spatial import ConvexHull

from mammo_core.data.phantom.anatomy import FILM_HEIGHT_MM, Anatomy, Mask
from mammo_core.data.phantom.texture import Field

LesionClass = Literal["Normal", "Benign", "Malignant"]
LesionKind = Literal["smooth mass", "coarse calcifications", "spiculated mass", "spiculated mass with fine calcifications"]


@dataclass(frozen=True)
class Lesion:
    """What a patient's lesion is and where it lies; the same in both views of its breast."""

    kind: LesionKind
    laterality: Literal["L", "R"]
    radius_mm: float
    """Of a mass without its spicules, or of the area that calcifications take."""
    nipple_distance: float
    """Distance from the nipple as a fraction of the nipple's distance from the chest wall."""
    offset: dict[str, float]
    """Height in the breast for each view, -1 at its upper and 1 at its lower border."""
    contrast: float
    """Multiple of the local standard deviation."""


@dataclass(frozen=True)
class _Patch:
    """Square around the lesion's centre; ``dy`` and ``dx`` are mm from the centre, both (side, side)."""

    rows: slice
    columns: slice
    dy: Field
    dx: Field
    pixel_mm: float


def draw_lesion(rng: np.random.Generator, lesion: LesionClass) -> Lesion | None:
    """Choose kind, side, size and place. Half the malignant masses carry fine calcifications; a third of the benign lesions
    are coarse calcifications."""
    if lesion == "Normal":
        return None
    kind: LesionKind
    if lesion == "Benign":
        kind = "coarse calcifications" if rng.uniform() < 1 / 3 else "smooth mass"
    else:
        kind = "spiculated mass with fine calcifications" if rng.uniform() < 0.5 else "spiculated mass"
    return Lesion(
        kind=kind,
        laterality="L" if rng.uniform() < 0.5 else "R",
        radius_mm=float(rng.uniform(5.5, 10.5)),
        nipple_distance=float(rng.uniform(0.32, 0.62)),
        offset={view: float(rng.uniform(-0.55, 0.55)) for view in ("CC", "MLO")},
        contrast=float(rng.uniform(1.6, 2.4)),
    )


def add_lesion(rng: np.random.Generator, anatomy: Anatomy, lesion: Lesion, view: str) -> tuple[Field, Mask]:
    """Attenuation with the lesion, and its outline as a mask; both (H, W)."""
    patch = _patch_around(anatomy, lesion, view)
    window = (patch.rows, patch.columns)
    signal, outline = _DRAW[lesion.kind](rng, lesion, patch)
    outline &= anatomy.breast[window]
    around = anatomy.attenuation[window][anatomy.breast[window]]
    strength = lesion.contrast * float(np.clip(around.std(), 0.05, 0.12))
    attenuation = anatomy.attenuation.copy()
    attenuation[window] += strength * signal * anatomy.thickness[window]
    mask = np.zeros(attenuation.shape, dtype=np.bool_)
    mask[window] = outline
    return attenuation, mask


def _patch_around(anatomy: Anatomy, lesion: Lesion, view: str) -> _Patch:
    height, width = anatomy.breast.shape
    pixel_mm = FILM_HEIGHT_MM / height
    nipple_column = int(np.flatnonzero(anatomy.tissue.any(axis=0))[-1])
    column = int(nipple_column * (1 - lesion.nipple_distance))
    inside = np.flatnonzero(anatomy.tissue[:, column])
    row = int(inside[0] + (inside[-1] - inside[0]) * (0.5 + 0.5 * lesion.offset[view]))
    reach = int(np.ceil(3.2 * lesion.radius_mm / pixel_mm))
    rows, columns = (
        slice(max(0, row - reach), min(height, row + reach)),
        slice(max(0, column - reach), min(width, column + reach)),
    )
    dy, dx = (np.asarray(axis, dtype=np.float32) * np.float32(pixel_mm) for axis in np.mgrid[rows, columns])
    return _Patch(rows, columns, dy - np.float32(row * pixel_mm), dx - np.float32(column * pixel_mm), pixel_mm)


def _wavy_radius(rng: np.random.Generator, patch: _Patch, lesion: Lesion, waves: dict[int, float]) -> Field:
    """Distance from the centre in units of an outline whose radius swings with the angle: below 1 is inside."""
    turn, flat = rng.uniform(0, np.pi), rng.uniform(0.75, 1.0)
    along = np.cos(turn) * patch.dx + np.sin(turn) * patch.dy
    across = (np.cos(turn) * patch.dy - np.sin(turn) * patch.dx) / flat
    angle = np.arctan2(across, along)
    swing = sum(size * np.sin(number * angle + rng.uniform(0, 2 * np.pi)) for number, size in waves.items())
    return np.asarray(np.hypot(along, across) / (lesion.radius_mm * (1 + swing)), dtype=np.float32)


def _smooth_mass(rng: np.random.Generator, lesion: Lesion, patch: _Patch) -> tuple[Field, Mask]:
    rho = _wavy_radius(rng, patch, lesion, {2: 0.04, 3: 0.03})
    dome = 0.65 + 0.35 * np.sqrt(np.maximum(1 - rho**2, 0))
    # A thin dark line around the border, the halo of a well-defined mass.
    halo = 0.15 * np.exp(-(((rho - 1.12) / 0.05) ** 2))
    return (dome * scipy.special.expit((1 - rho) / 0.03) - halo).astype(np.float32), rho < 1


def _spiculated_mass(rng: np.random.Generator, lesion: Lesion, patch: _Patch) -> tuple[Field, Mask]:
    core = 0.75 * lesion.radius_mm
    rho = _wavy_radius(rng, patch, lesion, {2: 0.07, 3: 0.07, 5: 0.06, 7: 0.05}) / np.float32(0.75)
    signal = scipy.special.expit((1 - rho) / 0.10) * (0.75 + 0.25 * np.sqrt(np.maximum(1 - rho**2, 0)))
    count = int(rng.integers(14, 24))
    for turn in 2 * np.pi * (np.arange(count) + rng.uniform(-0.35, 0.35, count)) / count:
        length, bend = core * rng.uniform(1.7, 3.4), rng.uniform(-0.02, 0.02)
        along = np.cos(turn) * patch.dx + np.sin(turn) * patch.dy
        across = np.cos(turn) * patch.dy - np.sin(turn) * patch.dx + bend * along**2
        taper = np.clip(1 - along / length, 0, 1) * (along > 0)
        signal = np.maximum(signal, 0.85 * taper**0.7 * np.exp(-((across / (0.25 + 0.9 * taper)) ** 2)))
    return signal.astype(np.float32), signal > 0.35


def _coarse_calcifications(rng: np.random.Generator, lesion: Lesion, patch: _Patch) -> tuple[Field, Mask]:
    """One to four dense stones of 2 to 5 mm, some with a lucent middle."""
    signal = np.zeros_like(patch.dx)
    outline = np.zeros(patch.dx.shape, dtype=np.bool_)
    for number in range(int(rng.integers(1, 5))):
        distance = 0.0 if number == 0 else rng.uniform(0.4, 0.9) * lesion.radius_mm
        turn = rng.uniform(0, 2 * np.pi)
        rho = np.hypot(patch.dy - distance * np.sin(turn), patch.dx - distance * np.cos(turn)) / rng.uniform(1.0, 2.4)
        lucent = rng.choice([0.0, 0.5]) * np.exp(-((rho / 0.5) ** 2))
        signal = np.maximum(signal, 2.2 * (scipy.special.expit((1 - rho) / 0.08) - lucent))
        outline |= rho < 1
    return signal.astype(np.float32), outline


def _mass_with_cluster(rng: np.random.Generator, lesion: Lesion, patch: _Patch) -> tuple[Field, Mask]:
    signal, outline = _spiculated_mass(rng, lesion, patch)
    count = int(rng.integers(10, 22))
    turn, distance = rng.uniform(0, 2 * np.pi, count), 0.85 * lesion.radius_mm * np.sqrt(rng.uniform(0, 1, count))
    centre = rng.uniform(-0.5, 0.5, 2) * lesion.radius_mm
    points = np.stack((centre[0] + distance * np.sin(turn), centre[1] + distance * np.cos(turn)), axis=1)
    for y, x in points:
        # No speck is narrower than the film can show.
        width = max(float(rng.uniform(0.25, 0.55)), 0.6 * patch.pixel_mm)
        speck = np.exp(-(((patch.dy - y) / width) ** 2) - ((patch.dx - x) / (width * rng.uniform(0.8, 1.8))) ** 2)
        signal = signal + rng.uniform(1.2, 2.4) * speck
    return signal.astype(np.float32), outline | _hull(points, patch)


def _hull(points: np.ndarray[tuple[int, int], np.dtype[np.float64]], patch: _Patch) -> Mask:
    """Convex hull of a cluster: its outline as a reader would draw it."""
    corners = points[ConvexHull(points).vertices]
    origin = np.array([patch.dy[0, 0], patch.dx[0, 0]])
    pixels = (corners - origin) / patch.pixel_mm
    canvas = Image.new("1", (patch.dx.shape[1], patch.dx.shape[0]))
    ImageDraw.Draw(canvas).polygon([(float(x), float(y)) for y, x in pixels], fill=1, outline=1)
    return np.asarray(canvas, dtype=np.bool_)


_DRAW = {
    "smooth mass": _smooth_mass,
    "coarse calcifications": _coarse_calcifications,
    "spiculated mass": _spiculated_mass,
    "spiculated mass with fine calcifications": _mass_with_cluster,
}
