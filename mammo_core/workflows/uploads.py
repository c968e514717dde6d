"""Films that come through the browser: on disk only while they are read, under a name that says nothing about anybody."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath

from mammo_core.errors import readable
from mammo_core.settings import Workspace
from mammo_core.storage import write_atomic

MAX_NAME = 120
"""Characters shown of a name; a file system allows 255, a browser any number."""


@dataclass(frozen=True, eq=False)
class Upload:
    """One file as the browser sent it. ``name`` is the user's own and is shown to nobody else."""

    name: str
    content: bytes = field(repr=False)

    @property
    def sha256(self) -> str:
        """Of the file's bytes, 64 hexadecimal digits."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def shown_name(self) -> str:
        """The last part of the name, whatever system it comes from, as one line that can be read."""
        return readable(PurePosixPath(PureWindowsPath(self.name).name).name, MAX_NAME).strip() or "film"


def uploads_folder(workspace: Workspace) -> Path:
    """Where uploaded files lie while they are worked on."""
    return workspace.cache / "uploads"


def stage(workspace: Workspace, upload: Upload) -> Path:
    """Put an upload on disk for a job, which erases it; two of one content are two files."""
    path = _new_file(workspace, upload, "upload")
    write_atomic(path, lambda file: file.write(upload.content))
    return path


@contextlib.contextmanager
def on_disk(workspace: Workspace, uploads: Sequence[Upload]) -> Iterator[list[Path]]:
    """The uploads as files for a decoder, which nobody else reads; they are erased afterwards."""
    paths: list[Path] = []
    try:
        for upload in uploads:
            path = _new_file(workspace, upload, "film")
            paths.append(path)
            write_atomic(path, lambda file, upload=upload: file.write(upload.content))  # type: ignore[misc]
        yield paths
    finally:
        for path in paths:
            path.unlink(missing_ok=True)


def _new_file(workspace: Workspace, upload: Upload, suffix: str) -> Path:
    """A name made of the content's hash and a token: who has read one upload must not erase another's of the same content."""
    folder = uploads_folder(workspace)
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{upload.sha256}.{secrets.token_hex(4)}.{suffix}"


def told_by_name(sentence: str, path: Path, upload: Upload) -> str:
    """What a decoder said of the file on disk, with the name that the user knows."""
    return sentence.replace(path.name, upload.shown_name)
