"""Lesion boxes and outlines of films as they are read: boxes brought to the film's pixels, outlines of several files joined."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from mammo_core.data.manifest import MASKS_FOLDER, OWN_FILE
from mammo_core.data.masks import LesionMask
from mammo_core.data.sandbox import DecodePool, Job
from mammo_core.storage import write_atomic

Size = tuple[int, int]
Pixels = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class OutlineReading:
    """Where outlines lie and how they are read."""

    root: Path
    readers: int
    progress: Callable[[int, int, str], None]


def boxes_of(lesions: pd.DataFrame, height: int, width: int) -> list[dict[str, Any]]:
    """``top, left, height, width, pathology`` of a film's boxes in its own pixels, clipped to the film.

    Boxes that were drawn on a film of another size are scaled; those that leave nothing on the film are dropped.

    Parameters
    ----------
    lesions : DataFrame
        ``mammo_core.data.adapters.base.LESION_COLUMNS`` of one film.
    height, width : int
        Of the film as it was read, pixels.
    """
    edges = lesions[["top", "bottom", "of_height", "left", "right", "of_width"]].to_numpy(dtype=np.float64).tolist()
    found = []
    for (top, bottom, of_height, left, right, of_width), pathology in zip(edges, lesions["pathology"], strict=True):
        first_row, end_row = _on_film(top, bottom, of_height, height)
        first_column, end_column = _on_film(left, right, of_width, width)
        if end_row > first_row and end_column > first_column:
            place = {"top": first_row, "left": first_column, "height": end_row - first_row, "width": end_column - first_column}
            found.append(place | {"pathology": str(pathology)})
    return found


def _on_film(start: float, end: float, of_length: float, length: int) -> tuple[int, int]:
    """First and past-the-end pixel of a stretch that was measured on a side of ``of_length``, clipped to ``length`` pixels."""
    scale = length / of_length if of_length else 1.0
    return max(0, math.floor(start * scale)), min(length, math.ceil(end * scale))


def join_outlines(
    directory: Path,
    paths: list[dict[str, str]],
    films: Mapping[str, Size],
    reading: OutlineReading,
) -> list[str]:
    """Settle the films with several candidates for their outline, in ``paths`` itself.

    A candidate counts if it is as large as the film and marks something: the cropped pictures that some sets keep beside their
    outlines, under names that do not tell the two apart, are smaller. One outline is named by its path; several are joined in a
    picture below ``directory``.

    Parameters
    ----------
    paths : list of dict
        ``image_id`` and ``mask_path``, candidates one a line; ``mask_path`` is changed.
    films : mapping of image_id to (height, width)
        The readable films that have several candidates.

    Returns
    -------
    list of str
        A sentence where films are left without an outline.
    """
    several = {entry["image_id"]: entry for entry in paths if "\n" in entry["mask_path"]}
    wanted = {image_id: entry["mask_path"].split("\n") for image_id, entry in several.items() if image_id in films}
    for entry in several.values():
        entry["mask_path"] = ""
    without = 0
    for image_id, fitting in _outlines(wanted, films, reading):
        without += not fitting
        if len(fitting) == 1:
            several[image_id]["mask_path"] = next(iter(fitting))
        elif fitting:
            several[image_id]["mask_path"] = OWN_FILE + _save(directory, image_id, fitting.values())
    return [f"{without} film(s) have lesion pictures, but none of the film's size; they have no outline."] if without else []


def _outlines(
    wanted: Mapping[str, list[str]], films: Mapping[str, Size], reading: OutlineReading
) -> Iterator[tuple[str, dict[str, Pixels]]]:
    """Film by film, file -> outline of the candidates that fit; one film's at a time, since each can have 15 million pixels."""
    jobs = [
        Job("mask", reading.root / PurePosixPath(name), tag=f"{image_id}\n{name}")
        for image_id, names in wanted.items()
        for name in names
    ]
    with DecodePool(reading.readers) as pool:
        numbered = enumerate(pool.map(iter(jobs)), start=1)
        for image_id, results in groupby(numbered, key=lambda item: item[1][0].tag.split("\n")[0]):
            fitting = {}
            for done, (job, result) in results:
                if isinstance(result, LesionMask) and result.pixels.shape == films[image_id] and result.pixels.any():
                    fitting[job.tag.split("\n")[1]] = result.pixels
                reading.progress(done, len(jobs), "Reading lesion outlines")
            yield image_id, fitting


def _save(directory: Path, image_id: str, outlines: Iterable[Pixels]) -> str:
    joined = np.logical_or.reduce(list(outlines))
    (directory / MASKS_FOLDER).mkdir(exist_ok=True)
    name = f"{MASKS_FOLDER}/{image_id}.png"
    write_atomic(directory / name, lambda file: Image.fromarray(joined).save(file, format="PNG"))
    return name
