"""Write a set of phantom films to disk: films, true lesion masks, a table of the truth, and a README that says synthetic."""

from __future__ import annotations

import errno
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image, PngImagePlugin

from mammo_core.data.phantom.dicom_writer import SYNTHETIC_NOTE, film_dataset, write_dicom
from mammo_core.data.phantom.patient import VIEWS, PhantomFilm, make_patient, slot
from mammo_core.errors import ConfigError, DataError, DiskFull
from mammo_core.storage import write_table, write_text

FilmFormat = Literal["dicom", "png"]

TABLE_NAME = "phantom.csv"
TABLE_COLUMNS = ("file", "patient_id", "exam_id", "laterality", "view", "center", "vendor", "density", "lesion", "mask")

_SUFFIXES = {"dicom": ".dcm", "png": ".png"}
_POLARITY_STREAM, _COMPRESSION_STREAM = 10, 11
_POLARITY_BLOCK = (True,) + (False,) * 5
_COMPRESSION_BLOCK = (True,) + (False,) * 3

_README = """SYNTHETIC PHANTOM FILMS - NO PATIENT WAS IMAGED

These {images} mammogram-like films were computed by MammoTrace (seed {seed}, format {format}). Patients, exams, centres and
vendors are invented. Use them to learn and to test software, never to judge how a method does on people.

films/       the films, 16-bit PNG or DICOM
masks/       true outline of the lesion, 8-bit PNG (255 = lesion), for films that show one
phantom.csv  what is true of each film: file, patient_id, exam_id, laterality, view, center, vendor, density (A-D, by glandular
             share of the breast area), lesion (Normal, Benign, Malignant; of this film), mask (empty if there is none)

Density, lesion and centre are independent of each other by design.
"""


def write_phantoms(
    out: Path, images: int, seed: int, format: FilmFormat, progress: Callable[[int, int], None] | None = None
) -> int:
    """Write ``images`` films of as many patients as they need (four films each; the last patient may have fewer).

    Parameters
    ----------
    out : folder that does not exist yet, is empty, or holds an unfinished set of the same request, which is then completed
    images : number of films, at least 1
    seed : not negative; the same seed writes the same bytes
    format : ``png`` (16 bits) or ``dicom`` (about one film in six MONOCHROME1, one in four RLE compressed)
    progress : called as ``progress(done, images)`` after each film

    Returns
    -------
    Number of films written

    Raises
    ------
    ConfigError
        A number or format that cannot work.
    DataError
        ``out`` is a file or holds something already.
    DiskFull
        No space was left. The table is written last: a set without it is unfinished.
    """
    _check_request(images, seed, format)
    try:
        _prepare(out, _README.format(images=images, seed=seed, format=format))
        rows = []
        for number, film in enumerate(_films(images, seed)):
            rows.append(_write_film(out, film, number, seed, format))
            if progress is not None:
                progress(number + 1, images)
        write_table(out / TABLE_NAME, pd.DataFrame(rows, columns=list(TABLE_COLUMNS)))
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(
                f"No space was left for the phantom films in {out.name}. Free about {images} MB, then start again."
            ) from error
        raise
    return len(rows)


def _check_request(images: int, seed: int, format: str) -> None:
    if images < 1:
        raise ConfigError(f"The number of phantom films is {images}; expected at least 1. Four of them make one patient.")
    if seed < 0:
        raise ConfigError(f"The phantom seed is {seed}; expected 0 or more.")
    if format not in get_args(FilmFormat):
        raise ConfigError(f"The phantom format is {format!r}; expected 'dicom' or 'png'.")


def _prepare(out: Path, readme: str) -> None:
    """Make the folders and the README, which tells an unfinished set of the same request from anything else."""
    note = out / "README.txt"
    is_unfinished = note.is_file() and note.read_bytes() == readme.encode() and not (out / TABLE_NAME).exists()
    if out.exists() and not is_unfinished and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out.name!r} holds files already, and nothing is overwritten. Choose a new folder or empty this one.")
    for folder in ("films", "masks"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    write_text(note, readme)


def _films(images: int, seed: int) -> Iterator[PhantomFilm]:
    for index in range(-(-images // len(VIEWS))):
        yield from make_patient(seed, index)[: images - index * len(VIEWS)]


def _write_film(out: Path, film: PhantomFilm, number: int, seed: int, format: FilmFormat) -> dict[str, str]:
    """Write film and mask; ``number`` counts films from 0. Returns the film's row of the table."""
    file, mask = f"films/{film.name}{_SUFFIXES[format]}", ""
    if format == "png":
        _write_png(out / file, film.pixels)
    else:
        inverted = slot(seed, _POLARITY_STREAM, number, _POLARITY_BLOCK)
        rle = slot(seed, _COMPRESSION_STREAM, number, _COMPRESSION_BLOCK)
        write_dicom(out / file, film_dataset(film, seed, inverted, rle))
    if film.lesion_mask.any():
        mask = f"masks/{film.name}.png"
        _write_png(out / mask, film.lesion_mask.astype(np.uint8) * np.uint8(255))
    truth = {column: str(getattr(film, column)) for column in TABLE_COLUMNS[1:-1]}
    return {"file": file, **truth, "mask": mask}


def _write_png(path: Path, pixels: npt.NDArray[np.uint16] | npt.NDArray[np.uint8]) -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("Title", SYNTHETIC_NOTE)
    text.add_text("Software", "MammoTrace phantom")
    # Noise repeats nothing, so that zlib's search for repeats would only cost time.
    Image.fromarray(pixels).save(path, format="PNG", compress_level=1, compress_type=zlib.Z_RLE, pnginfo=text)
