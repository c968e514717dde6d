"""Looking at the reduced copies of many films, in several processes: most of this work holds Python's lock."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from mammo_core.data.breast import has_bright_background
from mammo_core.data.duplicates import Look, correlation, fine_copy, look_at
from mammo_core.explain.markers import marker_regions

BLANK_LEVELS = 8
"""Grey levels of 255 between the 1st and the 99th percentile below which a film shows nothing."""
FEW = 400
"""Up to here this process does the work itself: starting others takes longer."""
AT_ONCE = 32
"""Films or pairs that a process takes at a time."""

Given = TypeVar("Given")
Found = TypeVar("Found")
Pixels = npt.NDArray[np.uint8]
Each = Callable[[Callable[[Given], Found], Sequence[Given]], Iterator[Found]]


@dataclass(frozen=True, eq=False)
class OneFilm:
    """What is kept of one film: about 1 KB."""

    image: str
    flags: tuple[str, ...] = ()
    hash: int | None = None
    """``None`` for a blank film, and where there is no reduced copy."""
    rough: Pixels | None = None


class Lookers:
    """Does one thing to many films, in order."""

    def __init__(self, pool: ProcessPoolExecutor | None) -> None:
        self._pool = pool

    def each(self, work: Callable[[Given], Found], given: Sequence[Given]) -> Iterator[Found]:
        """``work`` of every item; a function of a module, since other processes call it."""
        return map(work, given) if self._pool is None else self._pool.map(work, given, chunksize=AT_ONCE)


@contextmanager
def lookers(films: int, processes: int) -> Iterator[Lookers]:
    """Those who look at ``films`` films, and end with this block."""
    if films <= FEW or processes < 2:
        yield Lookers(None)
        return
    # A fork of a process with running threads can hang; spawn cannot.
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield Lookers(pool)


def thumbnail_at(path: Path) -> Pixels | None:
    """The reduced copy that the import or an audit made; ``None`` where it is missing or damaged."""
    try:
        with Image.open(path, formats=("PNG",)) as picture:
            return np.asarray(picture.convert("L"))
    except (OSError, SyntaxError, ValueError):
        return None


def look(film: tuple[str, Path]) -> OneFilm:
    """Flags, hash and rough copy of one film, given as image id and reduced copy."""
    image, path = film
    thumbnail = thumbnail_at(path)
    if thumbnail is None:
        return OneFilm(image)
    low, high = np.percentile(thumbnail, (1, 99))
    if high - low < BLANK_LEVELS:
        return OneFilm(image, ("blank",))
    values = thumbnail.astype(np.float32) / np.float32(255)
    seen = look_at(thumbnail)
    flags = ["bright"] if has_bright_background(values) else []
    if seen.breast.problem is not None:
        flags.append("no_breast")
    elif _marks(values, seen):
        flags.append("marks")
    return OneFilm(image, tuple(flags), seen.hash, seen.rough)


def _marks(values: npt.NDArray[np.float32], seen: Look) -> int:
    """Bright things beside the breast: view markers, plates, lines of text."""
    small = values if seen.factor == 1 else np.asarray(Image.fromarray(values).reduce(seen.factor))
    return marker_regions(small, seen.breast)[1]


def fine_at(path: Path) -> npt.NDArray[np.float32] | None:
    """The copy for comparing pairs, (128, 128), or ``None`` where there is none."""
    thumbnail = thumbnail_at(path)
    return None if thumbnail is None else fine_copy(thumbnail)


def likeness(pair: tuple[npt.NDArray[np.float32] | None, npt.NDArray[np.float32] | None]) -> float:
    """How alike two films are, in [-1, 1]; 0 where one of them has no copy."""
    one, other = pair
    return 0.0 if one is None or other is None else correlation(one, other)
