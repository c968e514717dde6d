"""What every file from outside goes through before its pixels are decoded: an ordinary file, of a known kind, not too big.

Refusals become one sentence that names the file by the last part of its name.
"""

from __future__ import annotations

import re
import stat
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from PIL import Image

from mammo_core.data.film import Refusal
from mammo_core.errors import FilmUnreadable, readable

MAX_FILE_BYTES = 512 * 2**20
"""An uncompressed film of 100 million 16-bit pixels has 200 MB."""
TOO_MUCH_MEMORY = "it needs more memory than one film may take. It is damaged or too large."
HEAD_BYTES = 132
"""A DICOM file states its kind behind a preamble of 128 bytes."""
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
ImageFault = (
    ArithmeticError, AttributeError, EOFError, LookupError, OSError, RuntimeError, SyntaxError, TypeError, ValueError,
    struct.error, Image.DecompressionBombError,
)  # fmt: skip
"""What Pillow raises on damaged input."""


def kind_of(head: bytes) -> str | None:
    """``DICOM``, ``PNG``, ``JPEG``, ``TIFF`` or ``PGM`` by the first 132 bytes of a file, or ``None``."""
    return next((kind for pattern, kind in MAGIC if pattern.match(head)), None)


def kind_of_file(path: Path, one: str, expected: str) -> str:
    """What :func:`kind_of` says of a file that may be decoded; refusals say that ``one`` (a film) was ``expected``.

    Raises
    ------
    Refusal
        It is no ordinary file, too large, or of no known kind.
    OSError
        It cannot be opened.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for without end
        raise Refusal(f"it is a folder or no ordinary file; expected the file of one {one}.")
    if status.st_size > MAX_FILE_BYTES:
        raise Refusal(f"it has {status.st_size // 2**20} MB; expected at most {MAX_FILE_BYTES // 2**20} MB for one {one}.")
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    kind = kind_of(head)
    if kind is None:
        raise Refusal(f"it is {_stranger(head)}; expected {expected}.")
    return kind


def _stranger(head: bytes) -> str:
    if not head:
        return "empty"
    return next((name for magic, name in STRANGERS if head.startswith(magic)), "of an unknown kind")


@contextmanager
def refusals_name(path: Path, use: str = "") -> Iterator[None]:
    """Turn what reading raises into one sentence; ``use`` is what the file cannot be used as, such as `` as a lesion outline``.

    Raises
    ------
    FilmUnreadable
        Instead of a :class:`Refusal`, ``MemoryError`` or ``OSError``.
    """
    try:
        yield
    except Refusal as refusal:
        raise FilmUnreadable(f"{path.name} cannot be used{use}: {refusal}") from refusal
    except MemoryError as error:
        raise FilmUnreadable(f"{path.name} cannot be used{use}: {TOO_MUCH_MEMORY}") from error
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise FilmUnreadable(f"{path.name} cannot be opened ({reason}). Check that the file is there and may be read.") from error


@contextmanager
def open_picture(path: Path, kind: str) -> Iterator[Image.Image]:
    """A picture file opened by Pillow as this kind only, its header read and its pixels not yet.

    Raises
    ------
    Refusal
        It is damaged; what is done inside the ``with`` may raise it too.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # our own budget is stricter than Pillow's warning
        try:
            with Image.open(path, formats=(kind,)) as image:
                yield image
        except ImageFault as error:
            raise Refusal(
                f"the {kind} file is damaged or of an unusual kind ({type(error).__name__}). Export it again."
            ) from error


def refuse_by_header(image: Image.Image, budget: int, one: str) -> None:
    """Refuse too many pixels or pictures before anything is decoded; a 10 KB file can state 81 million pixels."""
    width, height = image.size
    if width * height > budget:
        raise Refusal(f"its header states {height} x {width} pixels; expected at most {budget // 10**6} million. It is no {one}.")
    count = getattr(image, "n_frames", 1)
    if count > 1:
        raise Refusal(f"it holds {count} pictures, and one {one} a file is expected. Save the {one} alone.")


def without_name(reason: object, name: str, shown: str = "The film") -> str:
    """What was said of a file, without its name or path, which can hold a patient's name or a date.

    Parameters
    ----------
    name : the path that may stand in the text, relative or absolute, with ``/``
    shown : what stands there instead
    """
    path, text = PurePosixPath(name), str(reason)
    # A message shows a name as one readable line, which can differ from the name on disk.
    for part in (part for name_part in (name, path.name, path.stem) for part in (name_part, readable(name_part))):
        if len(part) > 2 or (part and part == path.name):
            text = text.replace(part, shown)
    return text
