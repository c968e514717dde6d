"""Files written so that a reader never sees half of one, and names that cannot leave their folder.

Every file of the workspace goes through :func:`write_atomic`. The order is the one that survives a power cut: temporary
file in the same folder, flush, fsync, replace, fsync of the folder.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import yaml
from filelock import FileLock

from mammo_core.errors import CorruptRunFile, DiskFull, NameNotAllowed

if TYPE_CHECKING:
    import pandas as pd

MAX_JSON_BYTES = 64 * 2**20
"""Larger JSON files are refused before they are parsed; a history of 100,000 epochs is about 40 MB."""

NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
RESERVED_NAMES = frozenset({"con", "prn", "aux", "nul", *(f"com{i}" for i in range(1, 10)), *(f"lpt{i}" for i in range(1, 10))})
"""Device names that Windows refuses whatever their suffix."""

REPLACE_TRIES = 10
REPLACE_WAIT_SECONDS = 0.05


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

    The temporary file lies beside ``path`` because ``os.replace`` is atomic only within one file system. Its name is
    fixed, because each file has one writer, so that a killed writer leaves at most one leftover.

    Raises
    ------
    DiskFull
        No space was left; the file that stood there before is untouched. torch's zip writer reports a full disk as
        ``RuntimeError``, so free space is asked for that case too.
    """
    tmp = path.with_name(f".{path.name}.tmp")
    try:
        try:
            with tmp.open("wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            _replace(tmp, path)
        finally:
            tmp.unlink(missing_ok=True)
        _sync_directory(path.parent)
    except (OSError, RuntimeError) as error:
        if _is_disk_full(error, path.parent):
            raise DiskFull(
                f"No space was left to write {path.name}; the version written before is unharmed. "
                "Free some disk space (the Home page shows what uses it), then resume."
            ) from error
        raise


def _is_disk_full(error: OSError | RuntimeError, folder: Path) -> bool:
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    # A RuntimeError of torch.save names neither cause nor errno: a nearly full disk is the one cause we can verify.
    return shutil.disk_usage(folder).free < 2**20


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


def _sync_directory(folder: Path) -> None:
    """Make the rename itself durable; Windows has no such call."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
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


def read_json_bytes(path: Path) -> bytes:
    """The bytes of a JSON file, for readers that parse and check in one step.

    Raises
    ------
    FileNotFoundError, CorruptRunFile
        There is no such file; it is larger than any run file.
    """
    with path.open("rb") as file:
        content = file.read(MAX_JSON_BYTES + 1)
    if len(content) > MAX_JSON_BYTES:
        raise CorruptRunFile(
            f"{path.name} is larger than {MAX_JSON_BYTES // 2**20} MB, which no run file is. Look at it by hand."
        )
    return content


def read_json(path: Path) -> Any:
    """Read one JSON document.

    Raises
    ------
    FileNotFoundError
        There is no such file; readers of a run decide what its absence means.
    CorruptRunFile
        The file is not JSON, is too large or nests too deeply.
    """
    content = read_json_bytes(path)
    try:
        return json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise CorruptRunFile(
            f"{path.parent.name}/{path.name} is not readable as JSON ({_first_line(error)}). "
            "The other files of the run are unaffected; restore or delete this one."
        ) from error


FAST_YAML_BYTES = 2**16
FAST_YAML_NESTING = 400


def _yaml_loader(text: str) -> Any:
    """The safe loader, in C where PyYAML has it and the text cannot nest deeply: ten times as quick, which a list of a thousand
    runs needs. The C loader crashes the interpreter on deep nesting, where the Python one raises ``RecursionError``."""
    nesting = sum(text.count(mark) for mark in ("[", "{", "- ", "? "))
    is_flat = len(text) <= FAST_YAML_BYTES and nesting <= FAST_YAML_NESTING
    return getattr(yaml, "CSafeLoader", yaml.SafeLoader) if is_flat else yaml.SafeLoader


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping. Aliases are refused: a few hundred bytes of them can unfold to gigabytes.

    Raises
    ------
    FileNotFoundError, CorruptRunFile
        As :func:`read_json`; also where the document is no mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
        loader = _yaml_loader(text)
        if "*" in text and any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text, loader)):
            raise CorruptRunFile(f"{path.name} uses YAML aliases (*name), which are not accepted here. Write the values out.")
        value = yaml.load(text, loader)  # one of the two safe loaders
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise CorruptRunFile(f"{path.name} is not readable as YAML ({_first_line(error)}). Correct or restore it.") from error
    if not isinstance(value, dict):
        raise CorruptRunFile(f"{path.name} holds no 'key: value' lines but a {type(value).__name__}. Correct or restore it.")
    return value


def read_text_table(path: Path) -> pd.DataFrame:
    """Read a CSV whose every column is text; an empty cell is the empty string. Ids such as ``007`` keep their zeros.

    Raises
    ------
    FileNotFoundError, CorruptRunFile
        As :func:`read_json`.
    """
    import pandas as pd  # takes most of a second: commands that read no table start without it

    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise CorruptRunFile(f"{path.name} is not readable as CSV ({_first_line(error)}). Restore or re-create it.") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_size(path: Path) -> int:
    """Bytes of all regular files below ``path``; links are not followed."""
    return sum(entry.stat().st_size for entry in path.rglob("*") if entry.is_file() and not entry.is_symlink())


def lock_of(path: Path) -> FileLock:
    """A lock on ``path`` that ends with its process, however that dies.

    ``filelock`` uses ``flock`` on Unix, which a second handle in the same process cannot take either (POSIX ``lockf``
    would let two sessions of one server both hold it).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path, is_singleton=False)


def is_locked(path: Path) -> bool:
    """Whether some process holds the lock on ``path`` right now."""
    if not path.exists():
        return False
    lock = lock_of(path)
    try:
        lock.acquire(timeout=0)
    except TimeoutError:
        return True
    lock.release()
    return False
