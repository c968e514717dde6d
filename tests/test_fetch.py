"""Fetching public sets from a server on this machine: whole, interrupted, changed, damaged, and without a network."""

from __future__ import annotations

import hashlib
import io
import json
import socket
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mammo_core.data.fetch import DOWNLOADS, Download, fetch, fetch_download
from mammo_core.errors import DataError
from mammo_core.runs.queue import enqueue, find_request
from mammo_core.storage import lock_of
from mammo_core.workflows.jobs import run_job

CONTENT = {"set/dataset.csv": b"image_id\n1\n", "set/images/1.jpeg": bytes(range(256)) * 12_000}


def zip_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tar_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        link = tarfile.TarInfo("set/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    return buffer.getvalue()


@dataclass
class Server:
    """What is served, and what was asked for."""

    content: bytes = b""
    etag: str = '"one"'
    stops_after: int | None = None
    """Bytes after which the connection breaks."""
    status: int = 200
    knows_ranges: bool = True
    ranges: list[str | None] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            state.ranges.append(asked)
            if state.status != 200:
                self.send_error(state.status)
                return
            same = self.headers.get("If-Range") in (None, state.etag)
            start = int(asked.split("=")[1].rstrip("-")) if asked and same and state.knows_ranges else 0
            if start and start >= len(state.content):
                self.send_error(416)
                return
            body = state.content[start:]
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(state.content) - 1}/{len(state.content)}")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("ETag", state.etag)
            self.end_headers()
            self.wfile.write(body if state.stops_after is None else body[: state.stops_after])
            self.wfile.flush()
            if state.stops_after is not None:
                self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    state.url = f"http://127.0.0.1:{running.server_port}/files/1"
    yield state
    running.shutdown()
    thread.join()
    running.server_close()


def download_of(server: Server, content: bytes, archive: str = "set.zip", checked: bool = True) -> Download:
    server.content = content
    return Download(
        name="set",
        title="A set",
        url=server.url,
        archive=archive,
        known_hash=f"md5:{hashlib.md5(content, usedforsecurity=False).hexdigest()}" if checked else None,
        size="little",
        terms="Free.",
        page="https://example.org/set",
    )


def unpacked(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def leftovers(out: Path) -> set[str]:
    return {path.name for path in out.iterdir()} - {".set.lock"}


@pytest.mark.parametrize(("archive", "pack"), [("set.zip", zip_of), ("set.tar.gz", tar_of)])
def test_a_set_is_fetched_checked_and_unpacked_with_progress(server, tmp_path, archive, pack):
    told: list[tuple[int, int, str]] = []
    download = download_of(server, pack(CONTENT), archive)
    folder = fetch_download(download, tmp_path / "sets", lambda *call: told.append(call))
    found = unpacked(folder)
    note = json.loads(found.pop("fetched.json"))
    assert found == CONTENT  # the link in the archive is passed over
    assert note["sha256"] == hashlib.sha256(server.content).hexdigest()
    assert leftovers(tmp_path / "sets") == {"set"}
    assert any(message.startswith("Downloading set") for _, _, message in told)
    assert told[-1] == (2, 2, "Unpacking set")


def test_a_download_that_stopped_goes_on_where_it_was(server, tmp_path):
    download = download_of(server, zip_of(CONTENT))
    server.stops_after = 1_500_000
    with pytest.raises(DataError, match="stopped after 1.. MB, which are kept"):
        fetch_download(download, tmp_path)
    assert not (tmp_path / "set").exists()
    server.stops_after = None
    assert unpacked(fetch_download(download, tmp_path)).items() >= CONTENT.items()
    assert server.ranges[0] is None
    assert server.ranges[1] is not None
    assert int(server.ranges[1].removeprefix("bytes=").rstrip("-")) >= 2**20
    assert leftovers(tmp_path) == {"set"}


def test_progress_grows_to_the_whole_and_goes_on_after_an_interruption(server, tmp_path):
    def downloaded() -> list[tuple[int, int]]:
        return [(done, total) for done, total, message in told if message == "Downloading set, MB"]

    told: list[tuple[int, int, str]] = []
    download = download_of(server, zip_of({**CONTENT, "set/images/2.jpeg": bytes(range(256)) * 16_000}))
    whole = len(server.content) // 2**20
    server.stops_after = 3 * 2**20 + 5
    with pytest.raises(DataError, match="stopped after 3.0 MB"):
        fetch_download(download, tmp_path, lambda *call: told.append(call))
    first = downloaded()
    assert [done for done, _ in first][-1] == 3
    told.clear()
    server.stops_after = None
    fetch_download(download, tmp_path, lambda *call: told.append(call))
    second = downloaded()
    assert second[0][0] >= 3, "what was kept counts from the start"
    assert second[-1] == (whole, whole)
    for steps in (first, second):
        assert {total for _, total in steps} == {whole}
        assert [done for done, _ in steps] == sorted(done for done, _ in steps)


def test_a_download_in_pieces_that_is_not_what_was_published_is_refused(server, tmp_path):
    download = download_of(server, zip_of(CONTENT))
    server.stops_after = 1_500_000
    with pytest.raises(DataError, match="stopped"):
        fetch_download(download, tmp_path)
    part = tmp_path / ".set.zip.part"
    part.write_bytes(b"x" + part.read_bytes()[1:])  # damaged on disk
    server.stops_after = None
    with pytest.raises(DataError, match="its MD5 differs, so it was deleted"):
        fetch_download(download, tmp_path)
    assert leftovers(tmp_path) == set()
    assert unpacked(fetch_download(download, tmp_path)).items() >= CONTENT.items()  # and the next attempt starts anew
    assert server.ranges[-1] is None


def test_an_archive_that_lies_there_already_is_checked_before_it_is_used(server, tmp_path):
    download = download_of(server, zip_of(CONTENT))
    (tmp_path / "set.zip").write_bytes(server.content[:-10])
    assert unpacked(fetch_download(download, tmp_path)).items() >= CONTENT.items()
    assert server.ranges == [None], "a damaged one is fetched again"
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / "set.zip").write_bytes(server.content)
    assert unpacked(fetch_download(download, tmp_path / "again")).items() >= CONTENT.items()
    assert server.ranges == [None], "a whole one is not"


def test_a_user_who_stops_the_work_keeps_what_was_downloaded(server, tmp_path):
    class Stop(Exception):
        pass

    def stop(done: int, total: int, message: str) -> None:
        raise Stop

    download = download_of(server, zip_of(CONTENT))
    with pytest.raises(Stop):
        fetch_download(download, tmp_path, stop)
    assert (tmp_path / ".set.zip.part").stat().st_size >= 2**20
    fetch_download(download, tmp_path)
    assert server.ranges[1] is not None


@pytest.mark.parametrize("knows_ranges", [True, False])
def test_two_versions_of_a_file_are_never_joined(server, tmp_path, knows_ranges):
    first = download_of(server, zip_of(CONTENT), checked=False)
    server.stops_after = 1_500_000
    with pytest.raises(DataError, match="stopped"):
        fetch_download(first, tmp_path)
    changed = {**CONTENT, "set/dataset.csv": b"image_id\n2\n"}
    server.content, server.etag, server.stops_after, server.knows_ranges = zip_of(changed), '"two"', None, knows_ranges
    assert unpacked(fetch_download(first, tmp_path)).items() >= changed.items()


def test_a_part_longer_than_the_file_starts_anew(server, tmp_path):
    download = download_of(server, zip_of(CONTENT))
    (tmp_path / ".set.zip.part").write_bytes(b"x" * (len(server.content) + 5))
    (tmp_path / ".set.zip.part.json").write_text(json.dumps({"url": server.url, "validator": server.etag}))
    assert unpacked(fetch_download(download, tmp_path)).items() >= CONTENT.items()
    assert len(server.ranges) == 2


def test_a_wrong_checksum_is_told_and_nothing_is_left(server, tmp_path):
    download = replace(download_of(server, zip_of(CONTENT)), known_hash="md5:" + "0" * 32)
    with pytest.raises(DataError, match="not what was published: its MD5 differs, so it was deleted"):
        fetch_download(download, tmp_path)
    assert leftovers(tmp_path) == set()


def test_no_network_is_one_sentence_with_a_way_out(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens there
        download = replace(DOWNLOADS["btxrd"], url=f"http://127.0.0.1:{taken.getsockname()[1]}/x")
        with pytest.raises(DataError, match="cannot be reached; expected a network connection.*figshare") as caught:
            fetch_download(download, tmp_path)
    assert str(tmp_path) not in str(caught.value)


def test_an_answer_that_is_no_file_is_told_with_its_number(server, tmp_path):
    download = download_of(server, zip_of(CONTENT))
    server.status = 503
    with pytest.raises(DataError, match="the server answered 503"):
        fetch_download(download, tmp_path)


def test_a_damaged_archive_is_deleted_and_half_a_set_is_never_left(server, tmp_path):
    content = zip_of(CONTENT)
    download = download_of(server, content[: len(content) // 2], checked=False)
    with pytest.raises(DataError, match="cannot be unpacked .BadZipFile."):
        fetch_download(download, tmp_path)
    assert leftovers(tmp_path) == set()


@pytest.mark.parametrize("name", ["../out.txt", "/tmp/out.txt", "set/../../out.txt", "C:\\out.txt"])
def test_an_archive_that_would_leave_its_folder_is_refused(server, tmp_path, name):
    download = download_of(server, zip_of({name: b"x"}))
    with pytest.raises(DataError, match="leave its folder"):
        fetch_download(download, tmp_path / "sets")
    assert not (tmp_path / "sets" / "set").exists()
    assert not (tmp_path / "out.txt").exists()


def test_nothing_is_overwritten_and_two_fetches_do_not_meet(server, tmp_path):
    download = download_of(server, zip_of(CONTENT))
    (tmp_path / "set").mkdir()
    with pytest.raises(DataError, match="already is a folder 'set'"):
        fetch_download(download, tmp_path)
    with lock_of(tmp_path / ".set.lock"), pytest.raises(DataError, match="being fetched into this folder already"):
        fetch_download(download, tmp_path)
    assert server.ranges == []


def test_fetching_as_a_job_tells_where_the_set_lies_or_why_not(server, workspace, tmp_path, monkeypatch):
    monkeypatch.setitem(DOWNLOADS, "set", download_of(server, zip_of(CONTENT)))
    server.stops_after = 1_500_000
    asked = [enqueue(workspace, "fetch", {"name": "set", "out": str(tmp_path / "sets")}, "Fetch set") for _ in range(2)]
    assert run_job(workspace, asked[0].id) == 1
    failed = find_request(workspace, asked[0].id)
    assert failed is not None
    assert (failed.state, failed.message.startswith("The download of set stopped after")) == ("failed", True)
    server.stops_after = None
    assert run_job(workspace, asked[1].id) == 0
    done = find_request(workspace, asked[1].id)
    assert done is not None
    assert (done.state, done.result) == ("done", {"folder": str(tmp_path / "sets" / "set")})


def test_unknown_sets_and_folders_that_cannot_be_are_told(tmp_path):
    with pytest.raises(DataError, match="no public set 'ddsm' to fetch; expected one of btxrd, mini-mias"):
        fetch("ddsm", tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be written"):
        fetch("btxrd", tmp_path / "file" / "below")
