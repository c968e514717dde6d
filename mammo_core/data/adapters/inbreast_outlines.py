"""The lesion outlines of INbreast: one Apple property list a film, ``AllXML/<film id>.xml``, as OsiriX wrote it.

``Images`` lists the pictures of a file, each with ``ROIs``; a ROI has a ``Name`` (Mass, Cluster, Calcification ...) and its
corners as text, ``Point_px`` with ``(x, y)`` in pixels from the upper left corner of the film. Single calcifications are ROIs of
one point.
"""

from __future__ import annotations

import math
import plistlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.parsers.expat import ExpatError

import pandas as pd

from mammo_core.data.adapters.base import LESION_COLUMNS

FOLDER = "AllXML"
MAX_BYTES = 16 * 2**20
"""The largest of the set has a few hundred outlines and less than 2 MB."""
LEAST_CORNERS = 3
"""With fewer an outline encloses nothing."""


@dataclass(frozen=True)
class Outlines:
    """What the outline files of a set say."""

    boxes: pd.DataFrame
    """:data:`~mammo_core.data.adapters.base.LESION_COLUMNS`."""
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def read_outlines(places: Sequence[Path], films: Mapping[str, str]) -> Outlines:
    """The box around each outline of these films, from the first of ``places`` that has the folder ``AllXML``.

    Parameters
    ----------
    films : film id -> file of the film
    """
    folder = next((place / FOLDER for place in places if (place / FOLDER).is_dir()), None)
    rows: list[dict[str, Any]] = []
    points = unreadable = 0
    for path in sorted(folder.glob("*.xml")) if folder else ():
        film = films.get(path.stem)
        if film is None:
            continue
        shapes = _shapes(path)
        if shapes is None:
            unreadable += 1
            continue
        for corners, size in shapes:
            if len(corners) < LEAST_CORNERS:
                points += 1
            else:
                rows.append({"file": film, "pathology": "", **_box(corners), **size})
    note = f"{points} outline(s) are single points or lines (mostly single calcifications); they are no lesion boxes."
    warning = f"{unreadable} file(s) of lesion outlines cannot be read; their films have no lesion boxes."
    boxes = pd.DataFrame(rows, columns=list(LESION_COLUMNS))
    return Outlines(boxes, (note,) if points else (), (warning,) if unreadable else ())


Corner = tuple[float, float]
Shape = tuple[list[Corner], dict[str, float]]
"""Corners as x and y, and the size of the film on which they were drawn."""


def _shapes(path: Path) -> list[Shape] | None:
    """Every outline of a file; ``None`` where it is no such property list.

    The parser refuses entity declarations, so that a few lines cannot grow to gigabytes, and opens no other file.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            return None
        content = plistlib.loads(path.read_bytes(), fmt=plistlib.FMT_XML)
        return list(_outlines(content["Images"]))
    except (ExpatError, OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


def _outlines(images: Iterable[Mapping[str, Any]]) -> Iterator[Shape]:
    for image in images:
        size = {"of_height": float(image.get("ImageHeight") or 0), "of_width": float(image.get("ImageWidth") or 0)}
        for outline in image.get("ROIs") or ():
            yield [_corner(text) for text in outline.get("Point_px") or ()], size


def _corner(text: str) -> Corner:
    """``(1254.5, 2043.1)`` as numbers; raises :class:`ValueError` for anything else."""
    x, y = (float(part) for part in text.strip().strip("(){}").split(","))
    if not (math.isfinite(x) and math.isfinite(y)):
        raise ValueError("a corner of an outline is not finite")
    return x, y


def _box(corners: Sequence[Corner]) -> dict[str, float]:
    across, down = zip(*corners, strict=True)
    return {"top": min(down), "left": min(across), "bottom": max(down), "right": max(across)}
