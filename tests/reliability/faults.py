"""The system's side of writing, made to fail or written down: what a program asks of the disk, call by call.

Only calls of the operating system are replaced, and only for files below one folder; the program under test is not touched.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

CALLS = ("open", "write", "fsync", "replace", "mkdir")


@dataclass
class Faults:
    """Lets the call of one number fail, counted from 0 over all kinds; and every later one, where it lasts."""

    folder: Path
    at: int = -1
    error: int = errno.EIO
    lasts: bool = False
    seen: list[str] = field(default_factory=list)
    """Kind and file name of each call so far."""

    def count(self, kind: str, path: str) -> None:
        number = len(self.seen)
        self.seen.append(f"{kind} {os.path.basename(path)}")
        if number == self.at or (self.lasts and 0 <= self.at <= number):
            raise OSError(self.error, os.strerror(self.error), path)


class _Writer(io.BufferedWriter):
    """A file whose writes are counted."""

    def __init__(self, path: str, mode: str, faults: Faults) -> None:
        super().__init__(io.FileIO(path, mode.replace("b", "")))
        self._faults, self._path = faults, path

    def write(self, content: Any, /) -> int:
        self._faults.count("write", self._path)
        return super().write(content)


@contextlib.contextmanager
def failing(faults: Faults) -> Iterator[Faults]:
    """Within this, calls for files below the folder are counted, and fail as told."""
    front = str(faults.folder) + os.sep
    real = {"open": io.open, "fsync": os.fsync, "replace": os.replace, "mkdir": os.mkdir}

    def is_ours(path: object) -> bool:
        return isinstance(path, str | os.PathLike) and (os.fspath(path) + os.sep).startswith(front)

    def opened(path: Any, mode: str = "r", *rest: Any, **more: Any) -> Any:
        if not is_ours(path) or not set(mode) & set("wax"):
            return real["open"](path, mode, *rest, **more)
        faults.count("open", os.fspath(path))
        return _Writer(os.fspath(path), mode, faults) if "b" in mode else real["open"](path, mode, *rest, **more)

    def synced(descriptor: int) -> None:
        path = path_of(descriptor)
        if is_ours(path):
            faults.count("fsync", path)
        real["fsync"](descriptor)

    def counted(kind: str) -> Callable[..., Any]:
        def call(first: Any, *rest: Any, **more: Any) -> Any:
            if is_ours(first):
                faults.count(kind, os.fspath(rest[0] if kind == "replace" else first))
            return real[kind](first, *rest, **more)

        return call

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(io, "open", opened)
        patch.setattr(os, "fsync", synced)
        patch.setattr(os, "replace", counted("replace"))
        patch.setattr(os, "mkdir", counted("mkdir"))
        yield faults


def path_of(descriptor: int) -> str:
    """The path of an open file; empty where the system does not tell."""
    for folder in ("/proc/self/fd", "/dev/fd"):
        with contextlib.suppress(OSError):
            return os.readlink(f"{folder}/{descriptor}")
    return ""


# ---- writing down ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Call:
    """One change that a program asked of the disk. ``content`` is that of the file at that moment."""

    kind: str
    """``create``, ``fsync``, ``rename``, ``unlink``, ``mkdir`` or ``sync_folder``."""
    path: str
    target: str = ""
    content: bytes = b""


@contextlib.contextmanager
def recording(folder: Path) -> Iterator[list[Call]]:
    """Within this, every change below ``folder`` is written down, but for locks."""
    recorder = _Recorder(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(io, "open", recorder.opened)
        patch.setattr(os, "fsync", recorder.synced)
        patch.setattr(os, "replace", recorder.replaced)
        patch.setattr(os, "mkdir", recorder.made)
        patch.setattr(os, "unlink", recorder.removed)
        yield recorder.calls


class _Recorder:
    """Stands in for the system's calls: asks the real one first, and writes down what went through."""

    def __init__(self, folder: Path) -> None:
        self.calls: list[Call] = []
        self._front = str(folder) + os.sep
        self._open, self._fsync, self._replace, self._mkdir, self._unlink = io.open, os.fsync, os.replace, os.mkdir, os.unlink

    def _is_ours(self, path: object) -> bool:
        if not isinstance(path, str | os.PathLike):
            return False
        text = os.fspath(path)
        return (text + os.sep).startswith(self._front) and not text.endswith(".lock")

    def opened(self, path: Any, mode: str = "r", *rest: Any, **more: Any) -> Any:
        file = self._open(path, mode, *rest, **more)
        if self._is_ours(path) and set(mode) & set("wx"):  # what is appended to is judged by its readers
            self.calls.append(Call("create", os.fspath(path)))
        return file

    def synced(self, descriptor: int) -> None:
        path = path_of(descriptor)
        self._fsync(descriptor)
        if self._is_ours(path):
            folder = os.path.isdir(path)
            self.calls.append(Call("sync_folder", path) if folder else Call("fsync", path, content=Path(path).read_bytes()))

    def replaced(self, source: Any, target: Any) -> None:
        content = Path(source).read_bytes() if self._is_ours(target) and os.path.isfile(source) else b""
        self._replace(source, target)
        if self._is_ours(target):
            self.calls.append(Call("rename", os.fspath(source), os.fspath(target), content))

    def made(self, path: Any, *rest: Any, **more: Any) -> None:
        self._mkdir(path, *rest, **more)
        if self._is_ours(path):
            self.calls.append(Call("mkdir", os.fspath(path)))

    def removed(self, path: Any, **more: Any) -> None:
        self._unlink(path, **more)
        if self._is_ours(path):
            self.calls.append(Call("unlink", os.fspath(path)))
