"""Films read in child processes: the same result as here, and what a crash, a hang or a dead parent leaves behind.

Each pool starts real processes, about a second each; the file takes some twenty seconds on a busy machine.
"""

from __future__ import annotations

import io
import itertools
import json
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import psutil
import pydicom
import pytest
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate
from pydicom.uid import RLELossless

from make_films import RAMP, dicom_of, drawn_film, write_dicom
from mammo_core.data.decode_worker import pixel_sha256, read_message, thumbnail, write_message
from mammo_core.data.film import Film
from mammo_core.data.preprocess import PreparedFilm, prepare
from mammo_core.data.reader import read_film
from mammo_core.data.sandbox import DecodePool, FilmSummary, Job, read_film_safely
from mammo_core.errors import ConfigError, FilmUnreadable

ROOT = Path(__file__).resolve().parent.parent
STORED = (drawn_film() * 4095).round().astype(np.uint16)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two films, a picture, one that no decoder reads, one that makes a decoder abort, and one that takes seconds."""
    made = tmp_path_factory.mktemp("films")
    write_dicom(made / "a.dcm", STORED, ImageLaterality="L", ViewPosition="CC")
    write_dicom(made / "b.dcm", STORED[::-1].copy(), PhotometricInterpretation="MONOCHROME2")
    Image.fromarray((drawn_film(side="right") * 255).astype(np.uint8)).save(made / "c.png")
    (made / "junk.dcm").write_bytes(b"no film at all" * 50)
    bomb = dicom_of(RAMP, Rows=9999, Columns=9999)
    bomb.file_meta.TransferSyntaxUID = RLELossless
    bomb.PixelData = encapsulate([b"\2\0\0\0\x40\0\0\0\x68\0\0\0" + bytes(52) + b"\x81\0" * 40])
    bomb["PixelData"].is_undefined_length = True
    bomb.save_as(made / "bomb.dcm")
    assert (made / "bomb.dcm").stat().st_size < 1000
    Image.fromarray(np.tile(np.arange(6000, dtype=np.uint16), (6000, 1))).save(made / "slow.png", compress_level=1)
    Image.fromarray(np.tile(np.arange(1500, dtype=np.uint16), (1500, 1))).save(made / "large.png", compress_level=1)
    return made


@pytest.fixture(scope="module")
def pool() -> Iterator[DecodePool]:
    with DecodePool(1, seconds_per_film=60) as open_pool:
        yield open_pool


def is_gone(pid: int, within: float = 10) -> bool:
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False


def test_a_film_read_in_a_child_equals_one_read_here(pool, folder):
    for name in ("a.dcm", "c.png"):
        here, there = read_film(folder / name), pool.run(Job("film", folder / name))
        assert isinstance(there, Film)
        np.testing.assert_array_equal(there.pixels, here.pixels)
        assert there.facts == here.facts


def test_a_film_prepared_in_a_child_equals_one_prepared_here(pool, folder):
    here, there = prepare(read_film(folder / "c.png"), (128, 96)), pool.run(Job("prepare", folder / "c.png", (128, 96)))
    assert isinstance(there, PreparedFilm)
    np.testing.assert_array_equal(there.pixels, here.pixels)
    np.testing.assert_array_equal(there.breast_mask, here.breast_mask)
    assert (there.geometry, there.warnings, there.steps) == (here.geometry, here.warnings, here.steps)


def test_a_summary_has_facts_a_small_picture_and_a_hash_of_what_is_shown(pool, folder):
    film, summary = read_film(folder / "a.dcm"), pool.run(Job("facts", folder / "a.dcm"))
    assert isinstance(summary, FilmSummary)
    assert (summary.facts.laterality, summary.facts.view) == ("L", "CC")
    assert summary.thumbnail.shape == (256, 205) and summary.thumbnail.dtype == np.uint8
    np.testing.assert_array_equal(summary.thumbnail, thumbnail(film.pixels))
    assert summary.pixel_sha256 == pixel_sha256(film.pixels)
    assert summary.pixel_sha256 != pool.run(Job("facts", folder / "b.dcm")).pixel_sha256


def test_results_come_lazily_and_in_the_order_of_the_jobs(folder):
    drawn = []

    def endless() -> Iterator[Job]:
        for number in itertools.count():
            drawn.append(number)
            yield Job("facts", folder / ("large.png" if number == 0 else "a.dcm"), tag=str(number))

    with DecodePool(2) as pool:
        first = list(itertools.islice(pool.map(endless()), 4))
        assert [job.tag for job, _ in first] == ["0", "1", "2", "3"]
        assert all(isinstance(result, FilmSummary) for _, result in first)
        assert len(drawn) <= 4 + 2 * 2 + 1
        pids = pool.pids()
        assert len(pids) == 2
    assert all(is_gone(pid) for pid in pids)


def test_an_unreadable_film_is_a_result_and_the_others_go_on(pool, folder):
    jobs = [Job("facts", folder / name) for name in ("junk.dcm", "gone.dcm", "a.dcm")]
    results = [result for _, result in pool.map(jobs)]
    assert [type(result) for result in results] == [FilmUnreadable, FilmUnreadable, FilmSummary]
    assert str(results[0]).startswith("junk.dcm cannot be used: it is of an unknown kind")
    assert str(results[1]).startswith("gone.dcm cannot be opened")


def test_a_decoder_that_panics_costs_one_film(pool, folder, tmp_path):
    dataset = pydicom.dcmread(str(get_testdata_file("MR_small_RLE.dcm", download=False)))
    dataset.Rows = 63  # the Rust decoder writes beyond its array, and raises what no "except Exception" catches
    dataset.save_as(tmp_path / "panic.dcm")
    panic, good = (result for _, result in pool.map([Job("facts", tmp_path / "panic.dcm"), Job("facts", folder / "a.dcm")]))
    assert str(panic).startswith("panic.dcm cannot be used: the decoder crashed on it (exit code 1)")
    assert isinstance(good, FilmSummary)


@pytest.mark.skipif(sys.platform != "linux", reason="address space is limited on Linux only")
def test_a_film_that_makes_a_decoder_abort_costs_only_itself(folder):
    with DecodePool(1, memory_bytes=550 * 2**20) as pool:
        bomb, good = (result for _, result in pool.map([Job("facts", folder / "bomb.dcm"), Job("facts", folder / "a.dcm")]))
    assert isinstance(bomb, FilmUnreadable)
    assert "bomb.dcm cannot be used: the decoder crashed on it (SIGABRT)" in str(bomb) or "more memory" in str(bomb)
    assert isinstance(good, FilmSummary)


def test_a_film_that_takes_too_long_is_given_up_and_the_next_is_read(folder):
    with DecodePool(1, seconds_per_film=0.25) as pool:
        pool.run(Job("facts", folder / "c.png"))
        before = pool.pids()
        with pytest.raises(FilmUnreadable, match=r"slow.png cannot be used: reading it took longer than 0.25 seconds"):
            pool.run(Job("film", folder / "slow.png"))
        assert is_gone(before[0])


def test_a_worker_that_is_killed_costs_one_film_and_is_replaced(folder):
    outcome = []
    with DecodePool(1) as pool:
        pool.run(Job("facts", folder / "a.dcm"))
        (pid,) = pool.pids()
        reading = threading.Thread(target=lambda: outcome.extend(pool.map([Job("film", folder / "slow.png")])))
        reading.start()
        time.sleep(0.2)
        os.kill(pid, signal.SIGKILL)
        reading.join(timeout=30)
        assert "the decoder crashed on it (SIGKILL)" in str(outcome[0][1])
        assert isinstance(pool.run(Job("facts", folder / "a.dcm")), FilmSummary)
        assert pool.pids() != [pid]


def test_leaving_the_pool_ends_work_under_way_at_once(folder):
    outcome = []
    with DecodePool(1) as pool:
        pool.run(Job("facts", folder / "a.dcm"))
        (pid,) = pool.pids()
        results = pool.map([Job("film", folder / "slow.png")] * 3)
        reading = threading.Thread(target=lambda: outcome.extend(results))
        reading.start()
        time.sleep(0.1)
    assert is_gone(pid)
    reading.join(timeout=10)
    assert [str(result) for _, result in outcome] == ["The film was not read because the work was stopped."] * 3


def test_one_film_is_read_safely_from_any_thread_and_folder(folder, tmp_path, monkeypatch):
    for stray in ("dl.py", "rle.py", "numpy.py"):
        (tmp_path / stray).write_text("raise SystemExit('a stray module was imported')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    found = []
    thread = threading.Thread(target=lambda: found.append(read_film_safely(folder / "a.dcm")))
    thread.start()
    thread.join(timeout=60)
    np.testing.assert_array_equal(found[0].pixels, read_film(folder / "a.dcm").pixels)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dl.py", "numpy.py", "rle.py"]
    with pytest.raises(FilmUnreadable, match="junk.dcm cannot be used"):
        read_film_safely(folder / "junk.dcm")


@pytest.mark.skipif(sys.platform == "win32", reason="uses SIGKILL")
def test_a_worker_ends_when_its_parent_is_killed(folder):
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom mammo_core.data.sandbox import DecodePool, Job\n"
        "pool = DecodePool(1)\npool.run(Job('facts', Path(sys.argv[1])))\nprint(pool.pids()[0], flush=True)\ntime.sleep(60)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program, str(folder / "a.dcm")],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert parent.stdout is not None
    with parent, parent.stdout:
        worker = int(parent.stdout.readline())
        assert psutil.pid_exists(worker)
        parent.kill()
    assert is_gone(worker)


def test_what_a_library_prints_does_not_break_the_protocol():
    command = [
        sys.executable,
        "-c",
        "import os; from mammo_core.data import decode_worker as w; w._send_to_nowhere(1); os.write(1, b'x')",
    ]
    assert subprocess.run(command, capture_output=True, check=True, cwd=ROOT).stdout == b""


def test_a_worker_starts_without_the_heavy_libraries():
    program = "import sys; from mammo_core.data import decode_worker, reader, preprocess, sandbox; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, cwd=ROOT, text=True).stdout.split()
    assert "pydicom" in loaded
    assert not {"pandas", "torch", "streamlit", "sklearn", "matplotlib"} & set(loaded)


def test_a_job_says_at_once_what_it_lacks(folder):
    with pytest.raises(ValueError, match="has a canvas"):
        Job("prepare", folder / "a.dcm")
    with pytest.raises(ConfigError, match="image size"):
        Job("prepare", folder / "a.dcm", (1, 1))


# Messages between the processes


def test_a_message_comes_back_as_it_was_written(folder):
    stream = io.BytesIO()
    arrays = {"pixels": np.arange(12, dtype=np.float32).reshape(3, 4), "mask": np.eye(3, dtype=bool)}
    write_message(stream, {"facts": asdict(read_film(folder / "a.dcm").facts)}, arrays)
    stream.seek(0)
    header, found = read_message(stream)
    assert header["facts"]["view"] == "CC"
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
    with pytest.raises(EOFError):
        read_message(stream)


@pytest.mark.parametrize(
    "described",
    [{"x": ["|O", [2]]}, {"x": ["<f8", [2]]}, {"x": ["|u1", [2**40]]}, {"x": ["|u1", [-1]]}, {"x": ["|u1", [0, 5]]}],
)
def test_a_message_cannot_ask_for_objects_or_for_endless_memory(described):
    text = json.dumps({"arrays": described}).encode()
    with pytest.raises(ValueError, match="array not allowed"):
        read_message(io.BytesIO(struct.pack(">Q", len(text)) + text))
    with pytest.raises(ValueError, match="header too long"):
        read_message(io.BytesIO(struct.pack(">Q", 2**40)))
