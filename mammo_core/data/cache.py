"""Prepared films on disk, by content: decoded once, then read in well under a millisecond.

::

    FOLDER/<key[:2]>/<key>.npy    uint8 (h, w), one film on one canvas
    FOLDER/files.tsv              which file bytes were seen where, so that 50,000 films are not hashed again at each start
    FOLDER/warnings.tsv           what was odd about a film when it was prepared

A key stands for the bytes of the file, the preprocessing version, the canvas and the decoders. So nothing here is ever out of
date, any of it may be deleted at any time, and several processes may use one folder at once: two of them at worst prepare the
same film twice and write the same bytes. Neither file holds a path or a name.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache as remembered
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from mammo_core.data.dicom import DECODERS, version_of
from mammo_core.data.foreign_file import without_name
from mammo_core.data.preprocess import PREPROCESSING_VERSION, PreparedFilm, check_canvas
from mammo_core.data.sandbox import DecodePool, Job
from mammo_core.errors import FilmUnreadable
from mammo_core.storage import lock_of, sha256_of, write_atomic, writing

FLUSH_EVERY = 64
"""Films between two writes of the tables; a killed process hashes at most these again."""
KEY = re.compile(r"[0-9a-f]{64}")
SETTLED_SECONDS = 2.0
"""A file that changed this recently is hashed and not remembered: it could change again within one tick of its clock."""
LEFTOVER_SECONDS = 3600.0
"""Temporary files older than this belong to a process that was killed."""


def film_key(path: Path, canvas: tuple[int, int]) -> str:
    """The key of a film on a canvas, 64 hexadecimal digits. Reads the whole file; :meth:`FilmCache.key` remembers.

    Raises
    ------
    FilmUnreadable
        The file cannot be opened.
    """
    return _key(_file_sha256(path), canvas)


def _key(file_sha256: str, canvas: tuple[int, int]) -> str:
    parts = [file_sha256, PREPROCESSING_VERSION, list(canvas), _decoders()]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _file_sha256(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise FilmUnreadable(f"{path.name} cannot be opened ({reason}). Check that the file is there and may be read.") from error


@remembered
def _decoders() -> tuple[tuple[str, str | None], ...]:
    """Every package whose version can change a pixel: lossy decoders differ, and Pillow also resizes."""
    names = sorted({package for packages in DECODERS.values() for package in packages})
    return tuple((name, version_of(name)) for name in names)


class FilmCache:
    """Prepared films in one folder, which is made if missing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with writing(folder.name):
            folder.mkdir(parents=True, exist_ok=True)
        self._files = _Lines(folder / "files.tsv")
        self._warnings = _Lines(folder / "warnings.tsv")
        self._remove_leftovers()

    def key(self, path: Path, canvas: tuple[int, int]) -> str:
        """As :func:`film_key`, but a file that has not changed since it was last seen is not read.

        "Changed" is told by path, size, and the times of the last change of content and of entry, to the nanosecond.

        Raises
        ------
        FilmUnreadable
            The file cannot be opened.
        """
        stamp, settled = _stamp(path)
        known = self._files.get(stamp)
        if known is None or not KEY.fullmatch(known):
            known = _file_sha256(path)
            if settled:
                self._files.put(stamp, known)
        return _key(known, canvas)

    def get(self, key: str) -> npt.NDArray[np.uint8] | None:
        """The prepared film (h, w), or ``None`` where it is missing or its file is damaged."""
        return _load(self._path(key), None)

    def has(self, key: str) -> bool:
        """Whether :meth:`get` would give the film; only its header and its size are looked at."""
        return _load(self._path(key), "r") is not None

    def put(self, key: str, prepared: PreparedFilm) -> None:
        """Keep a prepared film.

        Raises
        ------
        DiskFull
            No space was left; what was kept before is unharmed.
        """
        if prepared.warnings:
            self._warnings.put(key, json.dumps(prepared.warnings))
        path = self._path(key)
        # Two processes may write the same film at once, so each has a name of its own until the last moment.
        part = path.with_name(f"{key}.{os.getpid()}-{secrets.token_hex(4)}.part")
        with writing(path.name):
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                write_atomic(part, lambda file: np.save(file, prepared.pixels, allow_pickle=False))
                os.replace(part, path)
            finally:
                part.unlink(missing_ok=True)

    def warnings(self, key: str) -> tuple[str, ...]:
        """What was odd when this film was read and prepared."""
        text = self._warnings.get(key)
        with suppress(ValueError):
            return tuple(str(warning) for warning in json.loads(text or "[]"))
        return ()

    def flush(self) -> None:
        """Write what the two tables have learnt since the last time."""
        self._files.flush()
        self._warnings.flush()

    def _path(self, key: str) -> Path:
        if not KEY.fullmatch(key):
            raise ValueError("a key has 64 hexadecimal digits")
        return self._folder / key[:2] / f"{key}.npy"

    def _remove_leftovers(self) -> None:
        oldest = time.time() - LEFTOVER_SECONDS
        for path in self._folder.glob("??/*part*"):
            with suppress(OSError):  # another process may be removing it too
                if path.stat().st_mtime < oldest:
                    path.unlink()


def _load(path: Path, mmap_mode: Literal["r"] | None) -> npt.NDArray[np.uint8] | None:
    try:
        pixels = np.load(path, mmap_mode=mmap_mode, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return pixels if pixels.ndim == 2 and pixels.dtype == np.uint8 else None


def _stamp(path: Path) -> tuple[str, bool]:
    """What changes when a file does, as a hash (a path can name a patient); and whether it has been still for a while."""
    try:
        status = path.stat()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise FilmUnreadable(f"{path.name} cannot be opened ({reason}). Check that the file is there and may be read.") from error
    parts = [str(path.absolute()), status.st_size, status.st_mtime_ns, status.st_ctime_ns]
    settled = time.time() - max(status.st_mtime, status.st_ctime) > SETTLED_SECONDS
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest(), settled


class _Lines:
    """A table of key and text, one line each, that several processes append to. The last line of a key holds."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known = dict(self._read())
        self._new: dict[str, str] = {}

    def get(self, key: str) -> str | None:
        return self._known.get(key)

    def put(self, key: str, text: str) -> None:
        if self._known.get(key) != text:
            self._known[key] = self._new[key] = text

    def flush(self) -> None:
        if not self._new:
            return
        # The leading line end closes a line that a killed process left unfinished.
        block = "\n" + "".join(f"{key}\t{text}\n" for key, text in self._new.items())
        with (
            writing(self._path.name),
            lock_of(self._path.with_suffix(".lock")),
            self._path.open("a", encoding="utf-8", newline="\n") as file,
        ):
            file.write(block)
        self._new = {}

    def _read(self) -> Iterator[tuple[str, str]]:
        with suppress(FileNotFoundError), self._path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                key, tab, text = line.rstrip("\n").partition("\t")
                if tab and line.endswith("\n") and KEY.fullmatch(key):
                    yield key, text


@dataclass(frozen=True)
class PreparedIndex:
    """Where each image of a data set lies in the cache."""

    keys: dict[str, str] = field(default_factory=dict)
    """Image id to key; images that could not be read are missing."""
    failures: list[tuple[str, str]] = field(default_factory=list)
    """Image id and the sentence that says why it could not be read, in the order of the images. It does not name the file."""
    warnings: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Image id to what was odd about it; images without warning are missing."""


Progress = Callable[[int, int], None]


def prepare_all(
    cache: FilmCache,
    items: Sequence[tuple[str, Path]],
    canvas: tuple[int, int],
    workers: int = 1,
    progress: Progress | None = None,
) -> PreparedIndex:
    """Prepare what the cache lacks, in child processes. What is done stays done if this is stopped.

    Parameters
    ----------
    items : image id and path
    canvas : height and width of the model's input, pixels
    workers : films read at once
    progress : called with the number of images done and of all images

    Raises
    ------
    ConfigError
        The canvas cannot be used.
    DiskFull
        No space was left.
    """
    check_canvas(canvas)
    work = _Preparation(cache, items, canvas, progress or (lambda done, total: None))
    try:
        with DecodePool(workers) as pool:
            for job, result in pool.map(work.jobs()):
                work.take(job, result)
    finally:
        cache.flush()
    return work.index()


class _Preparation:
    """What :func:`prepare_all` knows while it runs."""

    def __init__(self, cache: FilmCache, items: Sequence[tuple[str, Path]], canvas: tuple[int, int], progress: Progress) -> None:
        self._cache = cache
        self._items = items
        self._canvas = canvas
        self._progress = progress
        self._done = 0
        self._keys: dict[str, str] = {}
        self._no_key: dict[str, str] = {}
        self._unreadable: dict[str, str] = {}

    def jobs(self) -> Iterator[Job]:
        """The films that the cache lacks, each once; files are hashed as the work reaches them."""
        asked = set()
        for image_id, path in self._items:
            try:
                key = self._keys[image_id] = self._cache.key(path, self._canvas)
            except FilmUnreadable as error:
                self._no_key[image_id] = without_name(error, path.as_posix())
                self._count()
                continue
            if key in asked or self._cache.has(key):
                self._count()
            else:
                asked.add(key)
                yield Job("prepare", path, self._canvas, tag=key)

    def take(self, job: Job, result: object) -> None:
        """Keep what became of one job."""
        if isinstance(result, PreparedFilm):
            self._cache.put(job.tag, result)
        else:
            self._unreadable[job.tag] = without_name(result, job.path.as_posix())
        self._count()
        if self._done % FLUSH_EVERY == 0:
            self._cache.flush()

    def _count(self) -> None:
        self._done += 1
        self._progress(self._done, len(self._items))

    def index(self) -> PreparedIndex:
        index = PreparedIndex()
        for image_id, _ in self._items:
            key = self._keys.get(image_id, "")
            reason = self._no_key.get(image_id) or self._unreadable.get(key)
            if reason:
                index.failures.append((image_id, reason))
                continue
            index.keys[image_id] = key
            if warnings := self._cache.warnings(key):
                index.warnings[image_id] = warnings
        return index
