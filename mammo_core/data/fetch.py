"""Fetching the public sets that anyone may download: resumed after an interruption, checked, and unpacked in one step.

A download that stopped leaves a hidden ``.part`` file and goes on there the next time. The folder of the set appears only when
everything in it is complete. Nothing about the user or the films is sent anywhere.
"""

from __future__ import annotations

import errno
import hashlib
import lzma
import os
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import IO, Any

from mammo_core.errors import DataError, DiskFull
from mammo_core.reading import read_json
from mammo_core.storage import lock_of, new_folder, write_json

Progress = Callable[[int, int, str], None]
"""Called with what is done, what is to be done, and the words for it; may raise to stop."""

CHUNK_BYTES = 2**20
TIMEOUT_SECONDS = 30.0
MAX_UNPACKED_BYTES = 64 * 2**30
MAX_UNPACKED_FILES = 200_000
NOTE_FILE = "fetched.json"
"""Where the set came from and the hash of its archive, kept beside its files."""


@dataclass(frozen=True, kw_only=True)
class Download:
    """A public set and where it may be fetched."""

    name: str
    title: str
    url: str
    archive: str
    """Name of the archive; its ending says how it is unpacked."""
    known_hash: str | None
    """``md5:...`` or ``sha256:...`` as published, ``None`` where nothing is."""
    size: str
    """About how much there is, in words."""
    terms: str
    """What the authors allow, in a sentence."""
    page: str
    """Where a person can read about it and download it by hand."""


ARCHIVE_FAULTS = (
    EOFError, NotImplementedError, OSError, RuntimeError, ValueError, lzma.LZMAError, struct.error, tarfile.TarError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""What unpacking a damaged archive raises."""

DOWNLOADS: dict[str, Download] = {
    download.name: download
    for download in (
        Download(
            name="btxrd",
            title="BTXRD: 3,746 radiographs of bone tumours (not mammography)",
            url="https://ndownloader.figshare.com/files/50653575",
            archive="BTXRD.zip",
            known_hash="md5:59132a5036d030580ccade8add8f13df",
            size="802 MB to download, about twice that on disk while it is unpacked",
            terms="CC BY-NC-ND 4.0: not for commercial use, and no changed copies may be passed on.",
            page="https://doi.org/10.6084/m9.figshare.27865398",
        ),
        Download(
            name="mini-mias",
            title="mini-MIAS: 322 digitised mammograms",
            url="http://peipa.essex.ac.uk/pix/mias/all-mias.tar.gz",
            archive="all-mias.tar.gz",
            known_hash=None,
            size="About 340 MB unpacked",
            terms="For research only; the licence lies in the archive. No checksum is published.",
            page="http://peipa.essex.ac.uk/info/mias.html",
        ),
    )
}


def fetch(name: str, out: Path, progress: Progress | None = None) -> Path:
    """Fetch a set by its name in :data:`DOWNLOADS`; see :func:`fetch_download`."""
    if name not in DOWNLOADS:
        raise DataError(f"There is no public set {name!r} to fetch; expected one of {', '.join(DOWNLOADS)}.")
    return fetch_download(DOWNLOADS[name], out, progress)


def fetch_download(download: Download, out: Path, progress: Progress | None = None) -> Path:
    """Download, check and unpack a set into ``out/<name>``.

    Returns
    -------
    Path
        The new folder, which can be imported.

    Raises
    ------
    DataError
        The folder is there already, the set cannot be reached, the download stopped, what came is not what was published, or the
        archive cannot be unpacked. The text says whether anything is kept.
    DiskFull
    """
    tell = progress or _say_nothing
    target = out / download.name
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock = lock_of(out / f".{download.name}.lock")
        lock.acquire(timeout=0)
    except TimeoutError as error:
        raise DataError(f"{download.name} is being fetched into this folder already; wait for it.") from error
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise DataError(f"The folder {out.name!r} cannot be written ({reason}); choose another one.") from error
    try:
        if target.exists():
            raise DataError(
                f"There already is a folder {download.name!r} there, and nothing is overwritten; import it, or move it."
            )
        archive = _retrieve(download, out, tell)
        _unpack(download, archive, target, tell)
        archive.unlink()
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(
                f"No space was left for {download.name} ({download.size}); what was downloaded is kept. Free some disk space and "
                "fetch again."
            ) from error
        raise DataError(
            f"{download.name} cannot be written ({error.strerror or type(error).__name__}); choose another folder."
        ) from error
    finally:
        lock.release()
    return target


def _say_nothing(done: int, total: int, message: str) -> None:
    pass


# ---- downloading -------------------------------------------------------------------------------------------------------------


def _retrieve(download: Download, out: Path, progress: Progress) -> Path:
    """The whole archive, checked; one that lies there from an earlier time is checked and used."""
    import logging

    import pooch  # type: ignore[import-untyped]

    pooch.get_logger().setLevel(logging.WARNING)  # it tells the path of the folder
    try:
        path = pooch.retrieve(
            download.url, download.known_hash, fname=download.archive, path=out, downloader=_Resuming(download, out, progress)
        )
    except ValueError as error:  # what pooch raises where the checksum differs
        raise DataError(
            f"What was downloaded for {download.name} is not what was published: its {_kind_of_hash(download)} differs, so it "
            f"was deleted. Fetch it again; if that does not help, download it by hand from {download.page}."
        ) from error
    return Path(path)


def _kind_of_hash(download: Download) -> str:
    return (download.known_hash or "sha256:").split(":")[0].upper()


class _Resuming:
    """Downloads into a ``.part`` file and goes on where an earlier attempt stopped, as long as the server has the same file."""

    def __init__(self, download: Download, out: Path, progress: Progress) -> None:
        self._download, self._progress = download, progress
        self._part = out / f".{download.archive}.part"
        self._note = out / f".{download.archive}.part.json"

    def __call__(self, url: str, output_file: str, pooch: object) -> None:
        import requests

        try:
            total = self._load(url)
        except requests.exceptions.HTTPError as error:
            raise DataError(
                f"{self._download.name} is not to be had: the server answered {_answer(error)}. Try again later, or "
                f"download it by hand from {self._download.page}."
            ) from error
        except (requests.exceptions.RequestException, ConnectionError) as error:
            raise self._stopped() from error
        if total and self._part.stat().st_size < total:
            raise self._stopped()
        self._note.unlink(missing_ok=True)
        os.replace(self._part, output_file)

    def _stopped(self) -> DataError:
        have = self._part.stat().st_size if self._part.exists() else 0
        if have == 0:
            return DataError(
                f"{self._download.name} cannot be reached; expected a network connection to its server. Check the connection or "
                f"ask whether this machine may download, or fetch it elsewhere from {self._download.page} and copy it here."
            )
        return DataError(
            f"The download of {self._download.name} stopped after {have / 2**20:.1f} MB, which are kept. Fetch it again, and it "
            "goes on there."
        )

    def _load(self, url: str) -> int:
        """Write what is missing into the part file; returns the size of the whole, 0 if the server does not say."""
        import requests

        have, validator = self._resumable(url)
        headers = {"Accept-Encoding": "identity"}
        if have:
            headers |= {"Range": f"bytes={have}-"} | ({"If-Range": validator} if validator else {})
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS) as response:
            if have and response.status_code == 416:  # the part is no part of what lies there now
                self._part.unlink()
                return self._load(url)
            response.raise_for_status()
            goes_on = response.status_code == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
            if have and response.status_code == 206 and not goes_on:
                self._part.unlink()
                return self._load(url)
            have = have if goes_on else 0
            total = have + int(response.headers.get("Content-Length") or 0)
            write_json(self._note, {"url": url, "validator": _validator(response.headers)})
            with self._part.open("ab" if goes_on else "wb") as file:
                for chunk in response.iter_content(CHUNK_BYTES):
                    file.write(chunk)
                    have += len(chunk)
                    self._progress(have // 2**20, max(total, have) // 2**20, f"Downloading {self._download.name}, MB")
        return total if response.headers.get("Content-Length") else 0

    def _resumable(self, url: str) -> tuple[int, str]:
        """Bytes that can be kept, and what the server calls that version of the file."""
        if not (self._part.exists() and self._note.exists()):
            return 0, ""
        note = read_json(self._note)
        validator = str(note.get("validator") or "")
        if note.get("url") != url or not (validator or self._download.known_hash):
            return 0, ""  # nothing would show that both halves are of one file
        return self._part.stat().st_size, validator


def _answer(error: Any) -> str:
    return str(error.response.status_code) if error.response is not None else "nothing"


def _validator(headers: Any) -> str:
    """The strong ETag or the date of the file, for If-Range (RFC 9110, 13.1.5)."""
    etag = str(headers.get("ETag") or "")
    return etag if etag and not etag.startswith("W/") else str(headers.get("Last-Modified") or "")


# ---- unpacking ---------------------------------------------------------------------------------------------------------------


def _unpack(download: Download, archive: Path, target: Path, progress: Progress) -> None:
    """Unpack beside the target and rename, so that half a set is never taken for one."""
    try:
        with new_folder(target, alone=True) as building:
            for done, total, name, source in _members(archive):
                path = building.joinpath(*_safe_parts(name))
                path.parent.mkdir(parents=True, exist_ok=True)
                with source, path.open("wb") as file:
                    shutil.copyfileobj(source, file, CHUNK_BYTES)
                progress(done, total, f"Unpacking {download.name}")
            with archive.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            when = datetime.now(UTC).isoformat(timespec="seconds")
            note = {"url": download.url, "sha256": digest, "terms": download.terms, "fetched_at": when}
            write_json(building / NOTE_FILE, note)
    except ARCHIVE_FAULTS as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):  # of the disk, not of the data
            raise
        archive.unlink()
        raise DataError(
            f"The archive of {download.name} cannot be unpacked ({type(error).__name__}), so it was deleted. Fetch it again; if "
            f"that does not help, download it by hand from {download.page}."
        ) from error


def _members(archive: Path) -> Iterator[tuple[int, int, str, IO[bytes]]]:
    """Number, count, name and content of each regular file in the archive; links and devices are passed over."""
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive) as packed:
            infos = [info for info in packed.infolist() if not info.is_dir() and not stat.S_ISLNK(info.external_attr >> 16)]
            _refuse_sizes(len(infos), sum(info.file_size for info in infos))
            for done, info in enumerate(infos, start=1):
                yield done, len(infos), info.filename, packed.open(info)
        return
    with tarfile.open(archive) as tar:
        files = [member for member in tar.getmembers() if member.isreg()]
        _refuse_sizes(len(files), sum(member.size for member in files))
        for done, member in enumerate(files, start=1):
            content = tar.extractfile(member)
            if content is not None:
                yield done, len(files), member.name, content


def _refuse_sizes(files: int, size: int) -> None:
    if files > MAX_UNPACKED_FILES or size > MAX_UNPACKED_BYTES:
        raise DataError(
            f"The archive would unpack to {files} files of {size // 2**30} GB, which no public set here has; it was left packed."
        )


def _safe_parts(name: str) -> tuple[str, ...]:
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if not parts or parts[0] == "/" or ".." in parts or any(":" in part for part in parts):
        raise DataError("The archive holds a file that would leave its folder; it was not unpacked any further. Do not use it.")
    return parts
