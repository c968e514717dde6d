"""Films that show the same picture without being the same file: exported twice, re-windowed, resized, compressed or mirrored.

A film is brought to the model's view of it (breast found, cropped, chest wall left) and reduced. Its perceptual hash of 64 bits
finds candidates; a pair counts only once the reduced films correlate. Mammograms look alike, so a hash alone proves nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import imagehash
import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.fft import irfft2, rfft2
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.stats import rankdata

from mammo_core.data.breast import Breast, breast_percentiles, chest_wall_side, find_breast

MAX_DISTANCE = 6
"""Bits in which the hashes of candidates may differ. Copies at other sizes, compressions and windows of eight real and 12
synthetic films differed in 0 to 6 bits, slightly cropped or turned ones in up to 10."""
SAME_CORRELATION = 0.98
"""From here on a pair counts as the same picture. Different films stayed below 0.92 among 720 synthetic ones, and below 0.90
among eight real ones, where the two breasts of one woman came nearest."""
ALIKE_CORRELATION = 0.95
"""Pairs between this and the former are shown, and nothing follows from them."""
ROUGH_CORRELATION = 0.90
"""Candidates below this at 32 x 32 pixels are dropped without another look."""
LEAST_OVERLAP = 0.6
"""Share of the larger of the two breasts that must lie on the other one."""
ROUGH_SIDE, FINE_SIDE = 32, 128
MAX_SHIFT = 2
"""Pixels at 128 x 128 by which the crops of two copies may be off."""
LEAST_BREAST = 0.05
"""Share of a reduced film that must be breast in both films for a correlation to mean something."""
NO_SPREAD = 1e-9
"""Variance of values in [0, 1] below which a film has no contrast."""
MAX_PAIRS = 20000
"""Candidates that are looked at closely; more than that is a data set of copies, and the first pairs tell it."""
BLOCK = 1 << 22
"""Pairs compared at once: 32 MB of hashes."""

Pixels = npt.NDArray[np.uint8]
Hashes = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]
Spectrum = npt.NDArray[np.complex128]


@dataclass(frozen=True, eq=False)
class Look:
    """A film reduced for comparison."""

    hash: int
    """Perceptual hash, 64 bits."""
    rough: Pixels
    """(32, 32): the crop of the breast, its aspect lost."""
    breast: Breast
    """On the thumbnail reduced by ``factor``."""
    factor: int


def look_at(thumbnail: Pixels) -> Look:
    """The perceptual hash of a film and its small copy.

    Parameters
    ----------
    thumbnail : (H, W) uint8, dark background, about 256 pixels long
    """
    factor = max(1, round(max(thumbnail.shape) / FINE_SIDE))
    small = np.asarray(Image.fromarray(thumbnail).reduce(factor)) if factor > 1 else thumbnail
    crop, breast = _breast_of(small)
    picture = Image.fromarray(crop)
    bits = imagehash.phash(picture).hash.ravel()
    rough = np.asarray(picture.resize((ROUGH_SIDE, ROUGH_SIDE), Image.Resampling.BOX))
    return Look(int(np.packbits(bits).view(">u8")[0]), rough, breast, factor)


def fine_copy(thumbnail: Pixels) -> npt.NDArray[np.float32]:
    """(128, 128) float32: the crop of the breast for :func:`correlation`, its aspect lost, 0 outside the breast.

    Each value is replaced by its rank, so that two windows or gammas of one exposure agree.
    """
    crop, _ = _breast_of(thumbnail)
    small = np.asarray(Image.fromarray(crop).resize((FINE_SIDE, FINE_SIDE), Image.Resampling.BOX), dtype=np.float32)
    breast = small > 0
    if breast.any():
        small = small.copy()
        small[breast] = rankdata(small[breast]) / breast.sum()
    return small


def _breast_of(pixels: Pixels) -> tuple[Pixels, Breast]:
    """The breast alone: cropped, its chest wall on the left, its 0.5 and 99.5 percentiles black and white, and black around.

    As a model sees it but for the resizing; a film on which no breast was found stays whole.
    """
    values = pixels.astype(np.float32) / np.float32(255)
    breast = find_breast(values)
    mask = breast.mask
    if breast.factor > 1:
        mask = mask.repeat(breast.factor, axis=0).repeat(breast.factor, axis=1)[: values.shape[0], : values.shape[1]]
    low, high = breast_percentiles(values, breast)
    scaled = np.where(mask, np.clip((values - low) / ((high - low) or 1), 1 / 255, 1), 0)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    crop = np.rint(255 * scaled[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]).astype(np.uint8)
    if breast.problem is None and chest_wall_side(breast) == "right":
        crop = crop[:, ::-1]
    return np.ascontiguousarray(crop), breast


def correlation(one: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> float:
    """Pearson's correlation of two reduced films where both show breast, the best over small shifts; in [-1, 1].

    Only the breast counts: two black backgrounds would agree for any pair. 0 where there is too little of it, or no contrast.
    The sums for all shifts at once are cross-correlations, taken through their Fourier transforms.
    """
    side = len(one)
    shape = (side + MAX_SHIFT, side + MAX_SHIFT)  # so far padded, no shift meets the film's other end
    a, b, every = _spectra(one, shape), _spectra(other, shape), _everywhere(side, shape)

    def sums(left: Spectrum, right: Spectrum) -> npt.NDArray[np.float64]:
        whole = irfft2(left * right.conj(), s=shape)
        places = np.arange(-MAX_SHIFT, MAX_SHIFT + 1)
        return np.asarray(whole[np.ix_(places, places)], dtype=np.float64)

    count = np.rint(sums(a.mask, b.mask))
    of_a, of_b = np.rint(sums(a.mask, every.mask)), np.rint(sums(every.mask, b.mask))
    area = np.rint(sums(every.mask, every.mask))
    enough = (count >= LEAST_BREAST * area) & (count >= LEAST_OVERLAP * np.maximum(of_a, of_b)) & (count > 0)
    if not enough.any():
        return 0.0
    n = np.where(enough, count, 1)
    sum_a, sum_b = sums(a.value, b.mask), sums(a.mask, b.value)
    spread_a = sums(a.square, b.mask) - sum_a**2 / n
    spread_b = sums(a.mask, b.square) - sum_b**2 / n
    together = sums(a.value, b.value) - sum_a * sum_b / n
    contrast = enough & (np.minimum(spread_a, spread_b) > NO_SPREAD * n)
    found = np.divide(together, np.sqrt(spread_a * spread_b, where=contrast, out=np.ones_like(n)), where=contrast, out=0 * n)
    return float(np.clip(found[enough].max(), -1, 1))


@dataclass(frozen=True, eq=False)
class _Spectra:
    """Fourier transforms of a film's breast: where it is, its values, and their squares."""

    mask: Spectrum
    value: Spectrum
    square: Spectrum


@functools.cache
def _everywhere(side: int, shape: tuple[int, int]) -> _Spectra:
    return _spectra(np.ones((side, side), dtype=np.float32), shape)


def _spectra(film: npt.NDArray[np.float32], shape: tuple[int, int]) -> _Spectra:
    values = film.astype(np.float64)
    return _Spectra(*(rfft2(part, s=shape) for part in (values > 0, values, values**2)))


# ---- candidates --------------------------------------------------------------------------------------------------------------


def candidate_pairs(hashes: Hashes, max_distance: int = MAX_DISTANCE) -> tuple[Ints, Ints]:
    """All pairs of hashes that differ in at most ``max_distance`` bits, without comparing all pairs.

    The 64 bits are cut into ``max_distance + 1`` pieces: two hashes that differ in fewer bits than there are pieces have one
    piece in common, so only films that share a piece are compared. The answer is exact. Where so many share pieces that this
    would be more work than comparing all, all are compared, block by block.

    Parameters
    ----------
    hashes : ndarray of shape (n,), uint64

    Returns
    -------
    Pairs of shape (m, 2) with the smaller index first, sorted, and their distances of shape (m,).
    """
    pieces = _pieces(hashes, max_distance + 1)
    orders = [np.argsort(piece, kind="stable") for piece in pieces]
    work = sum(_shared_pairs(piece[order]) for piece, order in zip(pieces, orders, strict=True))
    total = len(hashes) * (len(hashes) - 1) // 2
    if work >= total:
        blocks = _all_pairs(len(hashes))
    else:
        blocks = (block for piece, order in zip(pieces, orders, strict=True) for block in _pairs_of(piece[order], order))
    found = [np.zeros((0, 2), dtype=np.int64)]
    for left, right in blocks:
        near = np.bitwise_count(hashes[left] ^ hashes[right]) <= max_distance
        if near.any():
            found.append(np.stack([np.minimum(left[near], right[near]), np.maximum(left[near], right[near])], axis=1))
    pairs = np.unique(np.concatenate(found), axis=0)
    distances = np.bitwise_count(hashes[pairs[:, 0]] ^ hashes[pairs[:, 1]]).astype(np.int64)
    return pairs, distances


def _pieces(hashes: Hashes, count: int) -> list[Hashes]:
    """The bits of each hash dealt out in turn, so that every piece has some of the telling low frequencies."""
    bits = np.unpackbits(hashes.astype(">u8").view(np.uint8).reshape(-1, 8), axis=1).astype(np.uint64)
    pieces = []
    for start in range(count):
        part = bits[:, start::count]
        pieces.append((part << np.arange(part.shape[1], dtype=np.uint64)).sum(axis=1, dtype=np.uint64))
    return pieces


def _runs(ordered: Hashes) -> tuple[Ints, Ints]:
    """Where each run of equal values starts, and how long it is."""
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    return starts, np.diff(np.append(starts, len(ordered)))


def _shared_pairs(ordered: Hashes) -> int:
    if not len(ordered):
        return 0
    _, sizes = _runs(ordered)
    return int((sizes * (sizes - 1) // 2).sum())


def _pairs_of(ordered: Hashes, order: Ints) -> Iterator[tuple[Ints, Ints]]:
    """Pairs of films with the same piece, in blocks: each film with those behind it in its run."""
    starts, sizes = _runs(ordered)
    behind = np.repeat(starts + sizes, sizes) - np.arange(len(ordered)) - 1  # partners of each film
    ends = np.cumsum(behind)
    first = 0
    while first < len(ordered):
        done = int(ends[first - 1]) if first else 0
        last = max(first + 1, int(np.searchsorted(ends, done + BLOCK, side="right")))
        counts = behind[first:last]
        left = np.repeat(np.arange(first, last), counts)
        offset = np.arange(len(left)) - np.repeat(np.cumsum(counts) - counts, counts) + 1
        yield order[left], order[left + offset]
        first = last


def _all_pairs(count: int) -> Iterator[tuple[Ints, Ints]]:
    rows = max(1, BLOCK // max(1, count))
    for first in range(0, count, rows):
        last = min(count, first + rows)
        left, right = np.meshgrid(np.arange(first, last), np.arange(first + 1, count), indexing="ij")
        upper = left < right
        yield left[upper], right[upper]


def rough_correlations(rough: npt.NDArray[np.uint8], pairs: Ints) -> npt.NDArray[np.float32]:
    """Pearson's correlation of the 32 x 32 copies of each pair.

    Parameters
    ----------
    rough : ndarray of shape (n, 32, 32), uint8
    pairs : ndarray of shape (m, 2)
    """
    found = np.zeros(len(pairs), dtype=np.float32)
    step = 4096
    for first in range(0, len(pairs), step):
        a, b = (rough[pairs[first : first + step, side]].reshape(-1, ROUGH_SIDE**2).astype(np.float32) for side in (0, 1))
        a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
        scale = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
        found[first : first + step] = (a * b).sum(axis=1) / np.where(scale > 0, scale, np.inf)
    return found


def side_by_side(pairs: Ints, chosen: Ints, films: int) -> Ints:
    """``chosen`` rows of ``pairs`` reordered so that pairs of films that hang together follow each other.

    Each film then has to be reduced only once while its pairs are compared.
    """
    if not len(chosen):
        return chosen
    ends = pairs[chosen].T
    graph = coo_array((np.ones(ends.shape[1], dtype=np.int8), (ends[0], ends[1])), shape=(films, films))
    _, component = connected_components(graph, directed=False)
    order: Ints = chosen[np.argsort(component[ends[0]], kind="stable")]
    return order
