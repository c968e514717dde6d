"""Shape and tissue of one breast as one view shows it: outline, pectoral muscle, thickness, gland and fat.

Everything here has the chest wall on the left; the film of a right breast is mirrored at the very end. Lengths are fractions
of the film's height unless a name says otherwise, so that a film of another size shows the same breast.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import scipy.special

from mammo_core.data.phantom.texture import Field, clumpy_field, ducts, enlarge, ligaments, power_law_field

Mask = npt.NDArray[np.bool_]
View = Literal["CC", "MLO"]

FILM_HEIGHT_MM = 256.0
"""Height of the detector; the pixel spacing follows from it."""


@dataclass(frozen=True)
class BreastShape:
    """Outline of one breast in one view. Lengths are fractions of the film's height."""

    view: View
    depth: float
    """Chest wall to nipple."""
    nipple_row: float
    above: float
    """Reach of the outline above the nipple, at the chest wall."""
    below: float
    power: float
    """Power of the super-ellipse: 2 is an ellipse, more is boxier. Not below 1.7, so that the outline stays convex."""
    rim: float
    """Width of the subcutaneous fat."""
    pectoral_top: float
    """Where the muscle's edge meets the top of the film, from the chest wall; 0 in CC views."""
    pectoral_bottom: float
    """Where it meets the chest wall, from the top."""


@dataclass(frozen=True)
class Anatomy:
    """Maps of one film, all of shape (H, C): the film's rows and as many of its columns as the breast reaches into."""

    breast: Mask
    """Breast including muscle and nipple."""
    cover: Field
    """Part of each pixel that the breast covers, [0, 1]: a smooth skin line."""
    tissue: Mask
    """Breast without the muscle: the area that glandular share refers to."""
    thickness: Field
    """Compressed thickness relative to the middle of the breast, [0, 1]."""
    gland: Field
    """Glandular tissue, [0, 1]; above 0.5 counts as gland."""
    attenuation: Field
    """Thickness times tissue, without lesions; 0 in air."""


def draw_shape(rng: np.random.Generator, view: View, size: float) -> BreastShape:
    """Outline of one view. ``size`` in [0, 1] is the patient's: all four views of a small breast are small."""

    def about(value: float, spread: float) -> float:
        return float(value * (1 + spread * rng.uniform(-1, 1)))

    if view == "CC":
        half = 0.29 + 0.12 * size
        return BreastShape(
            view=view,
            depth=about(0.35 + 0.23 * size, 0.05),
            nipple_row=about(0.5, 0.05),
            above=about(half, 0.06),
            below=about(half, 0.06),
            power=about(2.15, 0.1),
            rim=about(0.03, 0.35),
            pectoral_top=0.0,
            pectoral_bottom=0.0,
        )
    return BreastShape(
        view=view,
        depth=about(0.40 + 0.20 * size, 0.05),
        nipple_row=about(0.60, 0.04),
        above=about(0.70 + 0.08 * size, 0.05),
        below=about(0.27 + 0.07 * size, 0.06),
        power=about(2.05, 0.08),
        rim=about(0.03, 0.35),
        pectoral_top=about(0.21 + 0.08 * size, 0.2),
        pectoral_bottom=about(0.55, 0.2),
    )


def draw_anatomy(rng: np.random.Generator, shape: BreastShape, share: float, film_shape: tuple[int, int]) -> Anatomy:
    """Fill an outline with tissue.

    Parameters
    ----------
    share : glandular share of the tissue area, in (0, 1)
    film_shape : height and width of the film, pixels, both even
    """
    height, width = film_shape[0] // 2, film_shape[1] // 2
    # Air is left out. Steps of 32 columns keep the number of distinct sizes, and so of cached spectra, small.
    width = min(width, int(np.ceil((shape.depth + 0.03) * height / 32)) * 32)
    rows, columns = (np.asarray(axis, dtype=np.float32) for axis in np.mgrid[0:height, 0:width])
    y, x = (rows + np.float32(0.5)) / np.float32(height), (columns + np.float32(0.5)) / np.float32(height)
    depth = _distance_to_skin(shape, y, x)
    muscle = _pectoral(rng, shape, y, x)
    strands = ducts(rng, y, x, (shape.nipple_row, shape.depth))
    noise = 0.76 * clumpy_field(rng, y.shape, 2.9, 0.06 * height, 0.025) + 0.22 * strands
    gland = _gland(shape, (y, x, depth, muscle), noise, share)
    thickness = _thickness(rng, depth)
    tissue = _tissue(rng, gland, strands) + muscle * np.float32(rng.uniform(0.2, 0.4))
    attenuation = thickness * tissue + _skin_and_nipple(shape, y, x, depth)

    depth, muscle, gland, thickness, attenuation = (enlarge(field) for field in (depth, muscle, gland, thickness, attenuation))
    breast = depth > 0
    air = np.float32(0)
    return Anatomy(
        breast=breast,
        cover=np.clip(depth * np.float32(film_shape[0]) + np.float32(0.5), 0, 1),
        tissue=breast & (muscle < 0.5),
        thickness=np.where(breast, np.clip(thickness, 0, 1), air),
        gland=np.where(breast, np.clip(gland, 0, 1), air),
        attenuation=np.where(breast, np.maximum(attenuation, 0), air),
    )


def _distance_to_skin(shape: BreastShape, y: Field, x: Field) -> Field:
    """Signed distance to the outline, positive inside; exact near the skin, where it matters."""
    dy = y - np.float32(shape.nipple_row)
    reach = np.where(dy < 0, np.float32(shape.above), np.float32(shape.below))
    power = np.float32(shape.power)
    rho = ((np.abs(dy) / reach) ** power + (x / np.float32(shape.depth)) ** power) ** (1 / power)
    step = 1.0 / y.shape[0]
    slope = np.hypot(*np.gradient(rho, step))
    outline = (1 - rho) / np.maximum(slope, 0.5)
    # The nipple swells out of the skin line: a bump added to the distance has no seam, unlike the union of two shapes.
    bump = 0.016 * np.exp(-((dy / 0.014) ** 2)) * np.exp(-(((x - shape.depth) / 0.03) ** 2))
    return np.asarray(outline + bump, dtype=np.float32)


def _pectoral(rng: np.random.Generator, shape: BreastShape, y: Field, x: Field) -> Field:
    """Pectoral muscle, [0, 1]: the triangle at the chest wall of an MLO view, with a slightly curved edge."""
    if shape.pectoral_top == 0:
        return np.zeros_like(y)
    along = np.clip(y / np.float32(shape.pectoral_bottom), 0, 1.2)
    bulge = np.float32(rng.uniform(-0.02, 0.035)) * np.sin(np.pi * along)
    edge = np.float32(shape.pectoral_top) * (1 - along) + bulge
    softness = np.float32(rng.uniform(0.003, 0.007))
    return np.asarray(scipy.special.expit((edge - x) / softness), dtype=np.float32)


def _gland(shape: BreastShape, place: tuple[Field, Field, Field, Field], noise: Field, share: float) -> Field:
    """Glandular tissue: the ``share`` of the area that scores highest on place plus noise.

    The place says: a disc behind the nipple, away from skin, chest wall and muscle. The noise makes its edge scalloped and
    puts islands of fat into gland and of gland into fat.
    """
    y, x, depth, muscle = place
    centre_y = shape.nipple_row - (0.07 if shape.view == "MLO" else 0.0)
    reach = 0.5 * (min(shape.above, shape.nipple_row) + shape.below)
    disc = np.hypot((x - 0.55 * shape.depth) / (0.55 * shape.depth), (y - centre_y) / (0.75 * reach))
    near_skin = np.exp(-np.maximum(depth, 0) / np.float32(shape.rim))
    near_wall = np.exp(-x / np.float32(0.035))
    score = noise - 1.5 * disc - 3.0 * near_skin - 1.2 * near_wall - 2.0 * muscle
    threshold = np.quantile(score[(depth > 0) & (muscle < 0.5)], 1 - share)
    return np.asarray(scipy.special.expit((score - threshold) / 0.15), dtype=np.float32)


def _tissue(rng: np.random.Generator, gland: Field, strands: Field) -> Field:
    """Attenuation a unit of thickness: smooth fat with ligaments, brighter gland with lobules and strands towards the nipple."""
    half = gland.shape
    height = half[0]
    fat = 0.40 + 0.04 * power_law_field(rng, half, 3.6) + 0.05 * ligaments(rng, strands, 0.09 * height, 0.005 * height)
    lobules = 1.08 * clumpy_field(rng, half, 2.3, 0.04 * height, 0.12)
    texture = 1.0 + 0.22 * lobules + 0.15 * strands
    return np.asarray(fat + rng.uniform(0.24, 0.48) * gland * texture, dtype=np.float32)


def _thickness(rng: np.random.Generator, depth: Field) -> Field:
    """1 under the paddle, falling to 0 at the skin as a quarter circle; the power stands for the device's edge correction."""
    roll_off = np.float32(rng.uniform(0.05, 0.10))
    inward = np.clip(depth / roll_off, 0, 1)
    quarter_circle = np.sqrt(np.maximum(1 - (1 - inward) ** 2, 0))
    return np.asarray(quarter_circle ** np.float32(rng.uniform(0.6, 1.1)), dtype=np.float32)


def _skin_and_nipple(shape: BreastShape, y: Field, x: Field, depth: Field) -> Field:
    mm = depth * np.float32(FILM_HEIGHT_MM)
    skin = 0.09 * np.exp(-(((mm - 1.2) / 1.0) ** 2)) * (mm > -1)
    nipple = 0.10 * np.exp(-((np.hypot(y - shape.nipple_row, x - shape.depth + 0.004) / 0.013) ** 2))
    return np.asarray(skin + nipple, dtype=np.float32)
