"""Reading one film, whatever format it comes in. The format is found by content, never by the file's suffix."""

from __future__ import annotations

from pathlib import Path

from mammo_core.data.dicom import read_dicom
from mammo_core.data.film import Film, FilmFacts
from mammo_core.data.foreign_file import kind_of_file, refusals_name
from mammo_core.data.images import read_image

__all__ = ["Film", "FilmFacts", "read_film"]


def read_film(path: Path) -> Film:
    """Read a film in this process.

    Native decoders can abort the process on a damaged file: what comes from outside is read by
    :func:`mammo_core.data.sandbox.read_film_safely` or through a ``DecodePool``.

    Returns
    -------
    Film
        Display values (H, W) float32 in [0, 1] with a dark background, full resolution, and the facts of the file.

    Raises
    ------
    FilmUnreadable
        The file is missing, damaged, too large, or no single greyscale film; the text names it by its last part only.
    """
    with refusals_name(path):
        kind = kind_of_file(path, "film", "a film as DICOM, PNG, JPEG, TIFF or PGM")
        return read_dicom(path) if kind == "DICOM" else read_image(path, kind)
