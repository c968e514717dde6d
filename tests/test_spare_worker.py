"""A reader process kept ready: taken once, by one caller, replaced after a rest, and gone with its owner."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import psutil
import pytest

from make_films import RAMP, write_dicom
from mammo_core.data import spare_worker
from mammo_core.data.reader import read_film
from mammo_core.data.sandbox import DEFAULT_MEMORY, DecodePool, Job
from mammo_core.data.spare_worker import SpareWorker, keep_spare_worker, take_worker

SECONDS = 31.5
"""Like no other pool's, so that nobody else takes the spare of these tests."""


def until(condition: Callable[[], object], within: float = 60) -> bool:
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


@pytest.fixture
def spare() -> Iterator[SpareWorker]:
    kept = SpareWorker(SECONDS, DEFAULT_MEMORY, rest_seconds=0.1)
    yield kept
    kept.close()


def test_a_spare_goes_to_one_of_many_threads_and_another_follows(spare):
    spare.keep()
    spare.keep()
    assert until(lambda: spare.pid)
    first, taken = spare.pid, []
    threads = [threading.Thread(target=lambda: taken.append(spare.take())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (worker,) = [one for one in taken if one is not None]
    assert worker.pid == first
    assert until(lambda: spare.pid) and spare.pid != first
    worker.close()


def test_a_spare_that_died_is_not_handed_out_and_is_replaced(spare):
    spare.keep()
    assert until(lambda: spare.pid)
    dead = spare.pid
    psutil.Process(dead).kill()
    assert until(lambda: spare.pid is None)
    assert spare.take() is None
    assert until(lambda: spare.pid) and spare.pid != dead


def test_closing_ends_the_spare_and_no_other_comes(spare):
    spare.keep()
    assert until(lambda: spare.pid)
    pid = spare.pid
    spare.close()
    spare.keep()
    assert until(lambda: is_gone(pid))
    assert spare.take() is None
    assert not until(lambda: spare.pid, within=0.5)


def test_a_pool_reads_with_the_spare_and_ends_it(tmp_path, monkeypatch):
    monkeypatch.setattr(spare_worker, "_SPARES", {})
    keep_spare_worker(SECONDS, DEFAULT_MEMORY)
    (spare,) = spare_worker._SPARES.values()
    assert until(lambda: spare.pid)
    pid, path = spare.pid, write_dicom(tmp_path / "a.dcm", RAMP)
    with DecodePool(1, SECONDS) as pool:
        np.testing.assert_array_equal(pool.run(Job("film", path)).pixels, read_film(path).pixels)
        assert pool.pids() == [pid]
    assert is_gone(pid)
    spare.close()
    other = take_worker(SECONDS, DEFAULT_MEMORY)  # without a spare one is started
    assert other.pid not in (None, pid)
    other.close()
