"""History in a real browser: a run that trains grows on the page, and what the reader chose and zoomed to stays."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from playwright.sync_api import Locator, Page, expect

from make_runs import write_run
from mammo_core.runs.run_dir import RunDir
from mammo_core.settings import PROJECT_ROOT, Workspace

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PLANNED = 20
SECONDS_TO_SHOW = 3.0
MARGIN_SECONDS = 3.0
"""For a machine that is busy with other tests."""

WRITER = """
import json, sys, time
from pathlib import Path
from mammo_core.runs.run_dir import RunDir
from mammo_core.storage import lock_of, write_json

run = RunDir(Path(sys.argv[1]))
with lock_of(run.lock_file):
    print("holds the lock", flush=True)
    for line in sys.stdin:
        records = json.loads(run.history_file.read_text())
        last = records[-1]
        records.append({**last, "epoch": last["epoch"] + 1, "train_loss": 0.9 * last["train_loss"], "is_best": False})
        write_json(run.history_file, records)
        status = json.loads(run.status_file.read_text())
        write_json(run.status_file, status | {"epoch": len(records), "heartbeat_at": time.time()})
        print(len(records), flush=True)
"""
"""Trains as far as a page can tell: holds the run's lock and writes one more epoch for each line that it is sent."""


class Writer:
    """The process that writes epochs."""

    def __init__(self, run: RunDir) -> None:
        command = [sys.executable, "-c", WRITER, str(run.path)]
        self.process = subprocess.Popen(
            command, cwd=PROJECT_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        assert self._answer() == "holds the lock"

    def write_epoch(self) -> int:
        """Append an epoch; returns how many there are."""
        self.process.stdin.write("epoch\n")
        self.process.stdin.flush()
        return int(self._answer())

    def _answer(self) -> str:
        return self.process.stdout.readline().strip()

    def end(self) -> None:
        self.process.stdin.close()
        self.process.wait(timeout=10)
        self.process.stdout.close()


@pytest.fixture
def live_run(home: Workspace) -> Iterator[tuple[RunDir, Writer]]:
    run = write_run(home.experiments / "live" / "seed_1", epochs=PLANNED, epochs_run=8, state="running", replicates=10)
    writer = Writer(run)
    yield run, writer
    writer.end()


def _chart(page: Page) -> Locator:
    return page.get_by_test_id("stVegaLiteChart").first


def _epochs_drawn(page: Page) -> int:
    """How many epochs the chart says that it shows, in its text for screen readers."""
    return max((int(number) for number in re.findall(rf"(\d+) epochs of {PLANNED} planned", page.content())), default=0)


def _epoch_axis(page: Page) -> list[str]:
    """The numbers under the lowest panel."""
    return _chart(page).locator("svg [aria-label^='X-axis titled'] .role-axis-label text").all_text_contents()


def _wait(condition, seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain for {what}"
        time.sleep(0.1)


def _zoom_in(page: Page) -> list[str]:
    """Turn the wheel over the first panel until the axis no longer begins at 1; returns its numbers."""
    before = _epoch_axis(page)
    box = _chart(page).locator("svg").first.bounding_box()
    page.mouse.move(box["x"] + 330, box["y"] + 130)
    for _ in range(4):
        page.mouse.wheel(0, -240)
        page.wait_for_timeout(150)
    _wait(lambda: _epoch_axis(page) != before, 10, "the zoom")
    page.wait_for_timeout(1200)  # the page is told of the zoom and draws once
    return _epoch_axis(page)


def _chosen(page: Page, name: str) -> str | None:
    return page.get_by_role("radio", name=name, exact=True).get_attribute("aria-checked")


def test_a_training_run_grows_within_seconds_and_keeps_zoom_and_choices(page, app_url, live_run):
    run, writer = live_run
    address = f"{app_url}/history?run={quote(run.id)}&history_panels=Loss&history_panels=Accuracy&history_panels=Time+per+epoch"
    page.goto(address)
    expect(_chart(page)).to_be_visible(timeout=30_000)
    _wait(lambda: _epochs_drawn(page) == 8, 20, "the eight epochs")
    assert _epoch_axis(page)[-1] == str(PLANNED), "the axis ends at the plan"
    zoomed = _zoom_in(page)
    page.get_by_role("radio", name="Smoothed 0.6", exact=True).click()
    _wait(lambda: _chart(page).get_by_text("smoothed (0.6)").count() > 0, 10, "the smoothed line")

    for _ in range(2):
        written = writer.write_epoch()
        _wait(lambda count=written: _epochs_drawn(page) == count, SECONDS_TO_SHOW + MARGIN_SECONDS, f"epoch {written}")
        page.wait_for_timeout(500)
        assert _epoch_axis(page) == zoomed
        assert _chosen(page, "Smoothed 0.6") == "true"
    words = page.get_by_test_id("stMain").inner_text()
    assert "So far" in words
    assert "when training ended" not in words
    assert page.get_by_test_id("stException").count() == 0

    page.goto(page.url)  # as in a new tab
    _wait(lambda: _epochs_drawn(page) == 10, 20, "the figure of the link")
    assert _chosen(page, "Smoothed 0.6") == "true"
    assert _chart(page).locator("svg [aria-label^='Y-axis titled']").count() == 3, "the three panels that were chosen"
