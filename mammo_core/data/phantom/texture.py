"""Random fields that look like breast tissue: power-law parenchyma, lobules, ligaments and ducts.

The power spectrum of a mammogram falls as 1 / f**beta with beta about 3 (Burgess, Jacobson and Judy 2001, Medical Physics 28:419,
doi:10.1118/1.1355308). All fields are drawn in the Fourier domain, have mean 0 and standard deviation 1, and wrap around.
"""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt
import scipy.fft

Field = npt.NDArray[np.float32]

PARENCHYMA_EXPONENT = 3.0
"""beta of the power spectrum 1 / f**beta."""


def power_law_field(rng: np.random.Generator, shape: tuple[int, int], exponent: float = PARENCHYMA_EXPONENT) -> Field:
    """Gaussian field whose power spectrum falls as 1 / f**``exponent``.

    Parameters
    ----------
    shape : (rows, columns) in pixels
    exponent : slope of the radially averaged power spectrum, about 3 in mammograms

    Returns
    -------
    Field of ``shape``, mean 0, standard deviation 1
    """
    return _from_spectrum(rng, shape, _power_law(shape, exponent))


def band_field(rng: np.random.Generator, shape: tuple[int, int], wavelength: float) -> Field:
    """Gaussian field of blobs about ``wavelength`` pixels apart (a log-normal band, half an octave wide)."""
    return _from_spectrum(rng, shape, _band(shape, wavelength))


def clumpy_field(rng: np.random.Generator, shape: tuple[int, int], exponent: float, wavelength: float, share: float) -> Field:
    """Power-law field in which a ``share`` of the variance sits in blobs about ``wavelength`` pixels apart."""
    power = (1 - share) * _power_law(shape, exponent) ** 2 + share * _band(shape, wavelength) ** 2
    return _from_spectrum(rng, shape, np.sqrt(power))


def ligaments(rng: np.random.Generator, strands: Field, spacing: float, width: float) -> Field:
    """Curved bright lines in [0, 1], like Cooper's ligaments around fat lobules: the zero level of a field.

    Parameters
    ----------
    strands : field of :func:`ducts`; it draws the lines out towards the nipple
    spacing : typical size of the lobules between the lines, pixels
    width : width of a line, pixels
    """
    lobules = band_field(rng, strands.shape, 2.0 * spacing) + 0.6 * strands
    # The band's mean slope at a zero crossing is 2 pi / wavelength, so this level is one line width from the crossing.
    level = np.float32(np.pi * width / (2.0 * spacing))
    # A second field fades the lines in and out, because no ligament can be followed all around a lobule.
    fading = np.clip(0.4 + 0.6 * power_law_field(rng, strands.shape), 0.0, 1.0)
    return np.asarray(np.exp(-((lobules / level) ** 2)) * fading, dtype=np.float32)


def ducts(rng: np.random.Generator, y: Field, x: Field, nipple: tuple[float, float]) -> Field:
    """Strands that run towards the nipple, mean about 0, standard deviation about 1: noise stretched along the rays.

    Parameters
    ----------
    y, x : (H, W), row and column as fractions of the film's height
    nipple : row and column of the nipple, same unit
    """
    # The rays meet a little outside the skin, because the ducts do not narrow to one point.
    dy, dx = y - np.float32(nipple[0]), np.float32(nipple[1] + 0.06) - x
    angle, radius = np.arctan2(dy, dx), np.hypot(dy, dx)
    # Strands bend: the angle is shifted by a slow wave of the radius, otherwise they look like the spokes of a wheel.
    angle += np.float32(0.12) * np.sin(radius * np.float32(rng.uniform(8, 14)) + np.float32(rng.uniform(0, 6.28)))
    noise = band_field(rng, (128, 256), 5.0)
    return _sample(noise, radius * np.float32(36.0), angle * np.float32(256.0 / (2 * np.pi)))


def enlarge(field: Field) -> Field:
    """Twice the size in both directions, linearly. Tissue has no finer detail, and half the size is drawn four times quicker."""
    for axis in (0, 1):
        rows = np.moveaxis(field, axis, 0)
        before, after = np.concatenate((rows[:1], rows[:-1])), np.concatenate((rows[1:], rows[-1:]))
        pair = np.stack((0.75 * rows + 0.25 * before, 0.75 * rows + 0.25 * after), axis=1)
        field = np.moveaxis(pair.reshape(2 * rows.shape[0], rows.shape[1]), 0, axis)
    return np.ascontiguousarray(field, dtype=np.float32)


def _sample(noise: Field, rows: Field, columns: Field) -> Field:
    """Bilinear look-up that wraps around; three times quicker than ``map_coordinates``."""
    height, width = noise.shape
    row, column = np.floor(rows), np.floor(columns)
    down, right = rows - row, columns - column
    top, left = row.astype(np.int32) % height, column.astype(np.int32) % width
    flat, start, below = noise.ravel(), top * width, (top + 1) % height * width
    next_left = (left + 1) % width
    upper = flat[start + left] * (1 - right) + flat[start + next_left] * right
    lower = flat[below + left] * (1 - right) + flat[below + next_left] * right
    return np.asarray(upper * (1 - down) + lower * down, dtype=np.float32)


@functools.cache
def _radial_frequency(shape: tuple[int, int]) -> Field:
    """Cycles a pixel of each coefficient of ``rfft2``, (rows, columns // 2 + 1); the constant term counts as infinite."""
    radius = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None, :])
    frequency: Field = np.asarray(radius, dtype=np.float32)
    frequency[0, 0] = np.inf
    frequency.setflags(write=False)
    return frequency


@functools.lru_cache(maxsize=128)
def _power_law(shape: tuple[int, int], exponent: float) -> Field:
    """Amplitudes of unit total power; likewise :func:`_band`."""
    return _unit_power(_radial_frequency(shape) ** np.float32(-exponent / 2))


@functools.lru_cache(maxsize=128)
def _band(shape: tuple[int, int], wavelength: float) -> Field:
    return _unit_power(np.exp(-0.5 * (np.log2(_radial_frequency(shape) * np.float32(wavelength)) / 0.5) ** 2))


def _unit_power(amplitude: Field) -> Field:
    amplitude = np.asarray(amplitude / np.sqrt(np.sum(amplitude.astype(np.float64) ** 2)), dtype=np.float32)
    amplitude.setflags(write=False)
    return amplitude


def _from_spectrum(rng: np.random.Generator, shape: tuple[int, int], amplitude: Field) -> Field:
    noise = rng.standard_normal((*amplitude.shape, 2), dtype=np.float32).view(np.complex64)[..., 0]
    field = np.asarray(scipy.fft.irfft2(noise * amplitude, s=shape), dtype=np.float32)
    return np.asarray((field - field.mean()) / field.std(), dtype=np.float32)
