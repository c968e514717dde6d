"""Reading one film, whatever format it comes in. The format is found by content, never by the file's suffix."""

from __future__ import annotations

import re
import stat
from pathlib import Path

from mammo_core.data.dicom import read_dicom
from mammo_core.data.film import Film, FilmFacts, Refusal
from mammo_core.data.images import read_image
from mammo_core.errors import FilmUnreadable

__all__ = ["Film", "FilmFacts", "kind_of", "read_film"]

MAX_FILE_BYTES = 512 * 2**20
"""An uncompressed film of 100 million 16-bit pixels has 200 MB."""
TOO_MUCH_MEMORY = "it needs more memory than one film may take. It is damaged or too large."
MAGIC = (
    (re.compile(rb".{128}DICM", re.DOTALL), "DICOM"),
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "PNG"),
    (re.compile(rb"\xff\xd8\xff"), "JPEG"),
    (re.compile(rb"II[*+]\x00|MM\x00[*+]"), "TIFF"),
    (re.compile(rb"P[25][\s#]"), "PGM"),
    # A data set without preamble begins with a low element of group 0002 or 0008, explicit or implicit.
    (re.compile(rb"[\x02\x08]\x00[\x00-\x60]\x00(?:UL|OB|UI|CS|SH|DA|..\x00\x00)", re.DOTALL), "DICOM"),
)
STRANGERS = (
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a GZIP archive"),
    (b"GIF8", "a GIF picture"),
    (b"BM", "a BMP picture"),
    (b"<", "a text in HTML or XML"),
)


def kind_of(head: bytes) -> str | None:
    """``DICOM``, ``PNG``, ``JPEG``, ``TIFF`` or ``PGM`` by the first 132 bytes of a file, or ``None``."""
    return next((kind for pattern, kind in MAGIC if pattern.match(head)), None)


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
    try:
        return _read(path)
    except Refusal as refusal:
        raise FilmUnreadable(f"{path.name} cannot be used: {refusal}") from refusal
    except MemoryError as error:
        raise FilmUnreadable(f"{path.name} cannot be used: {TOO_MUCH_MEMORY}") from error
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise FilmUnreadable(f"{path.name} cannot be opened ({reason}). Check that the file is there and may be read.") from error


def _read(path: Path) -> Film:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for without end
        raise Refusal("it is a folder or no ordinary file; expected the file of one film.")
    size = status.st_size
    if size > MAX_FILE_BYTES:
        raise Refusal(f"it has {size // 2**20} MB; expected at most {MAX_FILE_BYTES // 2**20} MB for one film.")
    with path.open("rb") as file:
        head = file.read(132)
    kind = kind_of(head)
    if kind is None:
        raise Refusal(f"it is {_stranger(head)}; expected a film as DICOM, PNG, JPEG, TIFF or PGM.")
    return read_dicom(path) if kind == "DICOM" else read_image(path, kind)


def _stranger(head: bytes) -> str:
    if not head:
        return "empty"
    return next((name for magic, name in STRANGERS if head.startswith(magic)), "of an unknown kind")
