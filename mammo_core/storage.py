"""Files written so that a reader never sees half of one, and names that cannot leave their folder.

Every file of the workspace goes through :func:`write_atomic`. The order is the one that survives a power cut: temporary
file in the same folder, flush, fsync, replace, fsync of the folder. What the system refuses becomes :class:`WriteFailed`, in
words that name the file and not its place.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import yaml
from filelock import FileLock, Timeout

from mammo_core.errors import DiskFull, MammoError, NameNotAllowed, WriteFailed

if TYPE_CHECKING:
    import pandas as pd

NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
RESERVED_NAMES = frozenset({"con", "prn", "aux", "nul", *(f"com{i}" for i in range(1, 10)), *(f"lpt{i}" for i in range(1, 10))})
"""Device names that Windows refuses whatever their suffix."""

REPLACE_TRIES = 10
REPLACE_WAIT_SECONDS = 0.05

NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""A full disk, a used-up quota, and a file larger than the account or the file system allows."""
ASKED_BYTES = 2**20

NO_FOLDER_SYNC = frozenset({errno.EINVAL, errno.EBADF, errno.ENOTSUP})
"""How a file system answers that has no fsync of folders: shared folders of virtual machines, some network shares."""

LEFTOVER_SUFFIX = ".tmp"
LEFTOVER_SECONDS = 3600.0
"""A temporary file that has not changed for so long belongs to a program that was killed."""

PROBE_SECONDS = 0.05
"""Two programs that ask for the same lock hold it for an instant each; only a longer hold is one."""


def check_name(name: str, what: str = "name") -> str:
    """Return ``name`` if it may become a folder of the workspace.

    Raises
    ------
    NameNotAllowed
        Anything but letters, digits, ``.``, ``_`` and ``-``; more than 80 characters; a leading dot or dash; a trailing
        dot; a name that Windows reserves.
    """
    if not is_allowed_name(name):
        raise NameNotAllowed(
            f"The {what} {name[:90]!r} cannot be used: expected at most 80 letters, digits, '.', '_' or '-', starting with "
            "a letter or digit and no name that Windows reserves. Choose another one, for example 'density_2026'."
        )
    return name


def is_allowed_name(name: str) -> bool:
    """Whether :func:`check_name` would accept ``name``."""
    allowed = NAME_PATTERN.fullmatch(name) and not name.endswith(".") and ".." not in name
    return bool(allowed) and name.split(".")[0].lower() not in RESERVED_NAMES


def write_atomic(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Replace ``path`` in one step: a reader sees the old file or the new one, never half of one.

    The temporary file lies beside ``path`` because ``os.replace`` is atomic only within one file system. Each has a name of its
    own, so that two programs that write the same file at once both write a whole one, and the later one holds.

    Raises
    ------
    DiskFull, WriteFailed
        No space was left; the system refused for another reason. The file that stood there before is untouched, unless the very
        last step failed, which only makes the new one outlive a power cut.
    """
    tmp = path.with_name(f".{path.name}.{secrets.token_hex(4)}{LEFTOVER_SUFFIX}")
    with writing(path.name):
        try:
            with tmp.open("wb") as file:
                _write(file, write)
                os.fsync(file.fileno())
            _replace(tmp, path)
        finally:
            with contextlib.suppress(OSError):  # what cannot be removed now is a leftover, see leftovers()
                tmp.unlink(missing_ok=True)
        sync_folder(path.parent)


def _write(file: BinaryIO, write: Callable[[BinaryIO], object]) -> None:
    try:
        write(file)
        file.flush()
    except (OSError, RuntimeError) as error:
        refusal = _refusal(file, error)
        if refusal is None:
            raise
        raise refusal from error


def _refusal(file: BinaryIO, error: OSError | RuntimeError) -> OSError | None:
    """Why the system refuses to write. torch and NumPy say that a write failed but not always why; the system is then asked to
    write once more."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno is not None:
            return cause
        cause = cause.__context__
    try:
        asked = os.dup(file.fileno())  # its own buffer is spoilt
        try:
            left = ASKED_BYTES
            while left:
                left -= os.write(asked, bytes(left))
            os.fsync(asked)
        finally:
            os.close(asked)
    except OSError as refusal:
        return refusal
    return None


@contextlib.contextmanager
def writing(name: str) -> Iterator[None]:
    """Turn the system's refusal to write into one sentence.

    Parameters
    ----------
    name : the file or folder that is written, without its place

    Raises
    ------
    DiskFull, WriteFailed
    """
    try:
        yield
    except Timeout:  # another program holds a lock: nothing was refused
        raise
    except OSError as error:
        if error.errno in NO_SPACE:
            raise DiskFull(
                f"No space was left to write {name}; the version written before is unharmed. "
                "Free some disk space (the Home page shows what uses it), then resume or start it again."
            ) from error
        reason = error.strerror or type(error).__name__
        raise WriteFailed(
            f"{name} could not be written ({reason}); the version written before is unharmed. "
            "Check that the workspace folder may be written and its disk is sound, then resume or start it again."
        ) from error


def _replace(source: Path, target: Path) -> None:
    """``os.replace``, tried again for half a second: Windows refuses while a polling page has the target open."""
    for attempt in range(REPLACE_TRIES):
        try:
            os.replace(source, target)
            return
        except PermissionError:
            if attempt == REPLACE_TRIES - 1:
                raise
            time.sleep(REPLACE_WAIT_SECONDS)


@contextlib.contextmanager
def new_folder(folder: Path, *, alone: bool) -> Iterator[Path]:
    """Make a folder that is there whole or not at all.

    What is yielded lies beside ``folder``; it takes that name when the block ends well and goes when it does not.

    Parameters
    ----------
    alone : whether a lock keeps every other maker of ``folder`` away; what a killed one left there is removed first then.
        Without such a lock each has a name of its own.

    Raises
    ------
    DiskFull, WriteFailed
    """
    mark = "" if alone else f".{secrets.token_hex(4)}"
    place = folder.with_name(f".{folder.name}{mark}{LEFTOVER_SUFFIX}")
    shutil.rmtree(place, ignore_errors=True)
    with writing(folder.name):
        place.mkdir(parents=True)
    try:
        yield place
        with writing(folder.name):
            os.replace(place, folder)
            sync_folder(folder.parent)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def sync_folder(folder: Path) -> None:
    """Make what was created, renamed or removed in a folder outlive a power cut; Windows has no such call."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in NO_FOLDER_SYNC:  # the file itself is written by then, and such a disk can do no more for it
            raise
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text with ``\\n`` line ends, atomically."""
    write_atomic(path, lambda file: file.write(text.encode("utf-8")))


def write_json(path: Path, value: object) -> None:
    """Write JSON, atomically. NaN and infinity are refused (``ValueError``): an undefined number is ``None``."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False) + "\n")


def write_yaml(path: Path, value: Mapping[str, object]) -> None:
    """Write YAML with the keys in their given order, atomically."""
    write_text(path, yaml.safe_dump(dict(value), sort_keys=False, allow_unicode=True))


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a CSV table without its index, atomically. Undefined cells are empty."""
    write_atomic(path, lambda file: table.to_csv(file, index=False, lineterminator="\n"))


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_size(path: Path) -> int:
    """Bytes of all regular files below ``path``; links are not followed, and what vanishes meanwhile does not count."""
    size = 0
    for folder, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(OSError):
                found = Path(folder, name).lstat()
                size += found.st_size if stat.S_ISREG(found.st_mode) else 0
    return size


def leftovers(folder: Path, older_than_seconds: float = LEFTOVER_SECONDS) -> list[Path]:
    """The temporary files in ``folder`` (not below it) that a killed program left."""
    oldest, found = time.time() - older_than_seconds, []
    for path in folder.glob(f".*{LEFTOVER_SUFFIX}"):
        with contextlib.suppress(FileNotFoundError):  # written to its end a moment ago
            if path.is_file() and path.stat().st_mtime <= oldest:
                found.append(path)
    return found


def lock_of(path: Path) -> FileLock:
    """A lock on ``path`` that ends with its process, however that dies.

    ``filelock`` uses ``flock`` on Unix, which a second handle in the same process cannot take either (POSIX ``lockf``
    would let two sessions of one server both hold it).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path, is_singleton=False)


@contextlib.contextmanager
def held(path: Path, seconds: float, name: str, busy: MammoError) -> Iterator[FileLock]:
    """Hold the lock on ``path``; ``busy`` is raised where another has it for longer than ``seconds``.

    Parameters
    ----------
    name : as :func:`writing` takes it, for a system that refuses the lock
    """
    lock = lock_of(path)
    try:
        with writing(name):
            lock.acquire(timeout=seconds)
    except TimeoutError as error:
        raise busy from error
    try:
        yield lock
    finally:
        lock.release()


def is_locked(path: Path) -> bool:
    """Whether some process holds the lock on ``path`` right now.

    Where this process may not write, the lock cannot be asked for and counts as free; nothing can be trained there either.
    """
    if not path.exists():
        return False
    lock = lock_of(path)
    try:
        lock.acquire(timeout=PROBE_SECONDS, poll_interval=PROBE_SECONDS / 5)
    except TimeoutError:
        return True
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            return False
        raise
    lock.release()
    return False
