"""A disk that loses its power: which files may stand on it afterwards, from the changes that a program had asked of it before.

The rules are POSIX's, harsher than any one file system. The content of a file is safe once the file was synced; before that it
may be missing, cut or whole. A new name, a changed name and a removed one are safe once their folder was synced; before that each
of them may have reached the disk or not, in any order.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from reliability.faults import Call

ALL_SUBSETS_UP_TO = 6
"""More unsynced changes than these at once: only none, all, each alone and each prefix."""

Names = dict[str, bytes]
"""Path -> content of every file on the disk."""


@dataclass
class _File:
    safe: bytes | None = None
    """What a sync has made safe; ``None`` before the first."""
    asked: bytes = b""

    def contents(self) -> list[bytes]:
        if self.safe == self.asked:
            return [self.asked]
        return [b"" if self.safe is None else self.safe, self.asked[: len(self.asked) // 2], self.asked]


@dataclass(frozen=True)
class _Change:
    """A change of names that its folder has not been synced for. ``file`` is ``None`` for a folder that was made."""

    kind: str
    path: str
    target: str
    file: _File | None

    @property
    def folder(self) -> str:
        return os.path.dirname(self.target or self.path)


@dataclass
class CrashDisk:
    """Takes calls one after another; :meth:`after_power_loss` gives what may be found if the power goes now."""

    safe: dict[str, _File] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)
    """Folders that are safe, beside those that were there from the beginning."""
    made: set[str] = field(default_factory=set)
    now: dict[str, _File] = field(default_factory=dict)
    pending: list[_Change] = field(default_factory=list)

    @classmethod
    def holding(cls, files: Mapping[str, bytes]) -> CrashDisk:
        """A disk with these files, all safe."""
        kept = {path: _File(content, content) for path, content in files.items()}
        return cls(safe=dict(kept), now=dict(kept))

    def take(self, call: Call) -> None:
        if call.kind == "create":
            known = self.now.get(call.path)
            if known is None:
                self.now[call.path] = _File()
                self._change(call, self.now[call.path])
            else:
                known.asked = b""
        elif call.kind == "fsync":
            file = self.now[call.path]
            file.safe = file.asked = call.content
        elif call.kind == "rename":
            self._rename(call)
        elif call.kind == "unlink":
            self.now.pop(call.path, None)
            self._change(call, None)
        elif call.kind == "mkdir":
            self.made.add(call.path)
            self._change(call, None)
        elif call.kind == "sync_folder":
            self._sync(call.path)

    def _rename(self, call: Call) -> None:
        if call.path not in self.now:  # a folder with all that is in it
            inside = [path for path in self.now if path.startswith(call.path + os.sep)]
            for path in inside:
                self.now[call.target + path[len(call.path) :]] = self.now.pop(path)
            self.pending.append(_Change("rename_folder", call.path, call.target, None))
            return
        file = self.now.pop(call.path)
        if call.content != file.asked:  # one object for one content, so that states can be told apart quickly
            file.asked = call.content
        self.now[call.target] = file
        self._change(call, file)

    def _change(self, call: Call, file: _File | None) -> None:
        self.pending.append(_Change(call.kind, call.path, call.target, file))

    def _sync(self, folder: str) -> None:
        done = [change for change in self.pending if change.folder == folder]
        self.pending = [change for change in self.pending if change.folder != folder]
        _apply(self.safe, self.folders, done)

    def after_power_loss(self, counts: Callable[[str], bool] = lambda path: True) -> Iterator[Names]:
        """Every content of the disk that the next start may find, as far as :data:`ALL_SUBSETS_UP_TO` goes.

        Parameters
        ----------
        counts : whether a file of that path matters; the others are left out
        """
        for chosen in _subsets(self.pending):
            names, folders = dict(self.safe), set(self.folders)
            _apply(names, folders, chosen)
            lost = self.made - folders
            kept = {
                path: file
                for path, file in names.items()
                if counts(path) and not any(path.startswith(gone + os.sep) for gone in lost)
            }
            unsure = [path for path, file in kept.items() if len(file.contents()) > 1]
            for contents in itertools.product(*(kept[path].contents() for path in unsure)):
                yield {path: file.asked for path, file in kept.items()} | dict(zip(unsure, contents, strict=True))


def _apply(names: dict[str, _File], folders: set[str], changes: Sequence[_Change]) -> None:
    for change in changes:
        if change.kind == "create" and change.file is not None:
            names[change.path] = change.file
        elif change.kind == "rename" and change.file is not None:
            names.pop(change.path, None)
            names[change.target] = change.file
        elif change.kind == "unlink":
            names.pop(change.path, None)
        elif change.kind == "mkdir":
            folders.add(change.path)
        elif change.kind == "rename_folder":
            for path in [path for path in names if path.startswith(change.path + os.sep)]:
                names[change.target + path[len(change.path) :]] = names.pop(path)
            for path in [path for path in folders if (path + os.sep).startswith(change.path + os.sep)]:
                folders.add(change.target + path[len(change.path) :])


def _subsets(changes: Sequence[_Change]) -> Iterator[list[_Change]]:
    if len(changes) <= ALL_SUBSETS_UP_TO:
        for size in range(len(changes) + 1):
            yield from (list(chosen) for chosen in itertools.combinations(changes, size))
        return
    yield from ([change] for change in changes)
    yield from (list(changes[:end]) for end in range(len(changes) + 1))
