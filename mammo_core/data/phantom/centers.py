"""What three centres do to the same breast: tone, exposure, blur, noise, background and view markers.

Presentation processing adapts each film to its own histogram, so brightness says little about density. Here each film gets
a random tone curve that pulls its grey values towards a random distribution, whatever the breast holds: density has to be
*seen* as the extent of glandular texture and cannot be measured as a grey level.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.ndimage
import scipy.special

from mammo_core.data.phantom.anatomy import FILM_HEIGHT_MM, Anatomy
from mammo_core.data.phantom.markers import MarkerStyle
from mammo_core.data.phantom.texture import Field

Range = tuple[float, float]

TONE_STRENGTH: Range = (0.62, 0.95)
"""How far the tone curve pulls a film's histogram to the random one: 0 not at all, 1 completely."""
QUANTILES = np.concatenate(([0.0, 0.005, 0.02, 0.05], np.arange(0.1, 0.91, 0.05), [0.95, 0.98, 0.995, 1.0]))


@dataclass(frozen=True)
class Center:
    """Ranges that the films of one centre are drawn from. Grey levels are fractions of the full scale."""

    name: str
    vendor: str
    blur_mm: Range
    """Standard deviation of the blur, mm."""
    noise: Range
    """Standard deviation of the noise."""
    midtone: Range
    """Centre of the target histogram before the logistic function: below 0 is dark, above bright."""
    spread: Range
    """Width of the target histogram before the logistic function: the contrast."""
    black: Range
    """Grey level of the thinnest part of the breast."""
    white: Range
    """Grey level of the densest part."""
    background: float
    """Grey level of air."""
    has_collimator_edge: bool
    """Whether an unexposed black frame surrounds the exposed field."""
    marker: MarkerStyle
    bits_stored: int
    voi_function: Literal["LINEAR", "SIGMOID"]


CENTERS = {
    center.name: center
    for center in (
        Center("1", "MammoTrace phantom A", (0.20, 0.36), (0.008, 0.014), (-0.9, 0.5), (0.8, 1.3), (0.04, 0.16), (0.7, 0.95),
               0.0, False, "framed", 12, "LINEAR"),
        Center("2", "MammoTrace phantom B", (0.36, 0.56), (0.012, 0.022), (-0.5, 0.8), (0.6, 1.0), (0.10, 0.24), (0.6, 0.85),
               0.02, True, "plain", 12, "SIGMOID"),
        Center("3", "MammoTrace phantom C", (0.16, 0.44), (0.018, 0.032), (-1.1, 0.3), (0.9, 1.5), (0.02, 0.12), (0.8, 1.0),
               0.005, False, "plate", 14, "LINEAR"),
    )
}  # fmt: skip


def expose(rng: np.random.Generator, anatomy: Anatomy, attenuation: Field, center: Center, width: int) -> Field:
    """Film of one centre, (H, ``width``) grey levels in [0, 1], chest wall left, without markers.

    Parameters
    ----------
    attenuation : (H, C) as the anatomy's maps, with C at most ``width``; lesions included
    """
    height = attenuation.shape[0]
    sigma = rng.uniform(*center.blur_mm) * height / FILM_HEIGHT_MM
    blurred = scipy.ndimage.gaussian_filter(attenuation, sigma, truncate=3.0)
    tone = _tone_curve(rng, blurred[anatomy.breast], center)
    black, white = rng.uniform(*center.black), rng.uniform(*center.white)
    noise = np.where(anatomy.breast, np.float32(rng.uniform(*center.noise)), np.float32(0.003))
    above_air = np.float32(black - center.background) + np.float32(white - black) * _apply_curve(blurred, *tone)
    film = np.full((height, width), center.background, dtype=np.float32)
    exposed = film[:, : noise.shape[1]]
    exposed += anatomy.cover * above_air + noise * rng.standard_normal(noise.shape, dtype=np.float32)
    if center.has_collimator_edge:
        edge = max(2, height // 90)
        film[:edge], film[-edge:], film[:, -edge:] = 0, 0, 0
    return np.clip(film, 0, 1)


def _tone_curve(rng: np.random.Generator, inside: Field, center: Center) -> tuple[Field, Field]:
    """Knots of a rising curve from attenuation to [0, 1]."""
    knots = np.quantile(inside[::5], QUANTILES)
    knots[-1] = max(knots[-1], float(inside.max()))
    natural = (knots - knots[0]) / max(knots[-1] - knots[0], 1e-6)
    mid, spread = rng.uniform(*center.midtone), rng.uniform(*center.spread)
    target = scipy.special.expit(mid + spread * scipy.special.ndtri(np.clip(QUANTILES, 1e-3, 1 - 1e-3)))
    target = (target - target[0]) / (target[-1] - target[0])
    strength = rng.uniform(*TONE_STRENGTH)
    return knots.astype(np.float32), ((1 - strength) * natural + strength * target).astype(np.float32)


def _apply_curve(values: Field, knots: Field, levels: Field) -> Field:
    """Look the curve up in a table of 16,384 steps; ``np.interp`` on every pixel would take most of a film's time."""
    table = np.interp(np.linspace(knots[0], knots[-1], 16384), knots, levels).astype(np.float32)
    scale = np.float32(16383 / max(float(knots[-1] - knots[0]), 1e-6))
    return np.asarray(table[np.clip((values - knots[0]) * scale, 0, 16383).astype(np.intp)], dtype=np.float32)
