"""One user's journey in a real browser: demo films, training that grows by itself, stop, resume, results, prediction, export."""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress

import pytest
from playwright.sync_api import Page, expect

from mammo_core.data.phantom import write_phantoms
from mammo_core.runs.run_dir import RunDir, list_runs

MINUTES = 60_000
SIDE = 64
"""Pixels of the films that are trained on."""
FOR_THE_DOCUMENTATION = bool(os.environ.get("MAMMOTRACE_SCREENSHOTS"))
"""Its pictures show the preset as it is."""
expect.set_options(timeout=30_000)

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def _heading(page: Page, name: str) -> None:
    expect(page.get_by_role("heading", name=name, exact=True).first).to_be_visible()


def _open(page: Page, link: str, heading: str) -> None:
    page.get_by_test_id("stSidebarNav").get_by_role("link", name=link, exact=True).click()
    _heading(page, heading)


def _wait(condition, seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain for {what}"
        time.sleep(0.2)


def _no_crash(page: Page) -> None:
    assert page.get_by_test_id("stException").count() == 0


def _settled(page: Page) -> None:
    expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning", timeout=30_000)


def _picture(page: Page, folder, name: str) -> None:
    _settled(page)
    page.wait_for_timeout(700)
    page.screenshot(path=folder / f"{name}.png")


def _charted_epochs(page: Page) -> int:
    """How many epochs the chart says that it shows, in its text for screen readers; 0 before there is a chart."""
    return max((int(number) for number in re.findall(r"(\d+) epochs of \d+ planned", page.content())), default=0)


def test_a_user_goes_from_demo_films_to_a_figure_for_paper(page, app_url, home, screenshots, tmp_path):
    page.goto(app_url)
    _heading(page, "MammoTrace")
    _picture(page, screenshots, "home_empty")
    page.get_by_role("button", name="Try it with demo films").click()
    page.get_by_role("button", name="Train on the demo films").click(timeout=5 * MINUTES)

    _heading(page, "Train")
    seeds = page.get_by_label("Seeds", exact=True)
    seeds.fill("42")
    seeds.press("Enter")
    start = page.get_by_role("button", name="Start 1 run")
    expect(start).to_be_enabled()
    _picture(page, screenshots, "train")
    if not FOR_THE_DOCUMENTATION:
        _make_films_smaller(page)
        expect(start).to_be_enabled()
    start.click()
    page.get_by_role("button", name="Watch in History").click()
    _heading(page, "History")
    _wait(lambda: bool(list_runs(home)), 30, "the run directory")
    (run,) = list_runs(home)
    assert FOR_THE_DOCUMENTATION or run.config().image_size == (SIDE, SIDE)

    # The chart grows without a touch.
    _wait(lambda: _charted_epochs(page) >= 1, 240, "the first epoch in the chart")
    first = _charted_epochs(page)
    _wait(lambda: _charted_epochs(page) > first, 120, "a further epoch in the chart without touching the page")
    assert _charted_epochs(page) <= len(run.history())

    page.get_by_test_id("stMainBlockContainer").get_by_role("button", name="Stop", exact=True).click()
    _wait(lambda: run.state() == "stopped", 60, "the run to stop")
    kept = len(run.history())
    page.get_by_role("button", name="Resume", exact=True).click()
    _wait(lambda: len(run.history()) > kept, 120, "the run to go on")
    assert [record.epoch for record in run.history()] == list(range(1, len(run.history()) + 1))
    _wait(lambda: run.state() == "finished", 300, "the run to finish")

    page.goto(f"{app_url}/history?run={run.id}")
    _heading(page, "History")
    expect(page.get_by_test_id("stVegaLiteChart").first).to_be_visible()
    _picture(page, screenshots, "history")
    page.get_by_role("button", name="Download figure").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="PDF", exact=True).click()
    content = download.value.path().read_bytes()
    assert content.startswith(b"%PDF-") and len(content) > 5_000
    page.keyboard.press("Escape")

    _open(page, "Compare", "Compare")
    expect(page.get_by_text("n = 1").first).to_be_visible()
    _no_crash(page)
    _picture(page, screenshots, "compare")

    _evaluate(page, screenshots)
    _see_a_map(page, screenshots)
    _predict(page, screenshots, tmp_path, run)
    _keep_the_model(page)


def _make_films_smaller(page: Page) -> None:
    """Change a setting by hand; an epoch then takes a third of the time."""
    page.get_by_text("Settings", exact=True).click()
    page.get_by_role("tab", name="Image", exact=True).click()
    size = page.get_by_role("tabpanel").get_by_label("Image size, pixels", exact=True)
    size.fill(str(SIDE))
    size.press("Enter")
    expect(page.get_by_text(re.compile(rf"Changed: image.size \d+ → {SIDE}"))).to_be_visible()


def _evaluate(page: Page, screenshots) -> None:
    _open(page, "Evaluate", "Evaluate")
    for view in ("Ranking", "Calibration", "Threshold", "Subgroups", "Mistakes", "Overview"):
        page.get_by_role("button", name=view, exact=True).or_(page.get_by_role("radio", name=view, exact=True)).first.click()
        _settled(page)
        _no_crash(page)
        if view == "Threshold":
            _picture(page, screenshots, "evaluate_threshold")


def _see_a_map(page: Page, screenshots) -> None:
    _open(page, "Grad-CAM", "Grad-CAM")
    table = page.get_by_test_id("stDataFrame").first
    expect(table).to_be_visible()
    _settled(page)
    table.click(position={"x": 12, "y": 50})  # the first row: cells are drawn on a canvas
    expect(page.get_by_text(re.compile("influenced")).first).to_be_visible(timeout=2 * MINUTES)
    expect(page.get_by_text("Research use only - not for diagnosis").first).to_be_visible()
    _no_crash(page)
    _picture(page, screenshots, "gradcam")


def _predict(page: Page, screenshots, tmp_path, run: RunDir) -> None:
    write_phantoms(tmp_path / "upload", 1, 99, "dicom")
    (film,) = (tmp_path / "upload" / "films").iterdir()
    _open(page, "Predict", "Predict")
    expect(page.get_by_text("Research use only - not for diagnosis").first).to_be_visible()
    page.locator("input[type=file]").set_input_files(film)
    expect(page.get_by_text(re.compile("What was read and done to the film")).first).to_be_visible(timeout=2 * MINUTES)
    expect(page.get_by_text(run.id).first).to_be_visible()
    _no_crash(page)
    _picture(page, screenshots, "predict")
    bad = tmp_path / "not_a_film.dcm"
    bad.write_bytes(b"this is no image" * 50)
    page.reload()
    _heading(page, "Predict")
    page.locator("input[type=file]").set_input_files(bad)
    expect(page.get_by_text(re.compile("not_a_film|no image|cannot be read|not a", re.IGNORECASE)).last).to_be_visible(
        timeout=MINUTES
    )
    assert "Traceback" not in page.content()
    _no_crash(page)


def _keep_the_model(page: Page) -> None:
    """Keep the runs as a model, and be led to predicting with it."""
    _open(page, "Models", "Models")
    _settled(page)
    page.get_by_test_id("stDataFrame").last.click(position={"x": 12, "y": 50})
    page.get_by_text("Keep it as a model under a name").click()
    page.get_by_role("button", name="Keep", exact=True).click()
    expect(page.get_by_text("frozen copy of trained runs")).to_be_hidden(timeout=2 * MINUTES)
    _settled(page)
    _choose_first_row(page, "Download the file")
    _settled(page)
    page.get_by_role("button", name="Predict with it").first.click()
    _heading(page, "Predict")
    expect(page.get_by_text(re.compile("kept model")).first).to_be_visible()
    _no_crash(page)


def _choose_first_row(page: Page, shown: str) -> None:
    """Choose the first row of the first table: its cells are drawn on a canvas, which misses a click while it is drawn anew."""
    for _ in range(4):
        page.get_by_test_id("stDataFrame").first.click(position={"x": 12, "y": 50})
        with suppress(AssertionError):
            expect(page.get_by_text(shown)).to_be_visible(timeout=15_000)
            return
    raise AssertionError(f"{shown!r} was not shown after four clicks on the first row")


@pytest.mark.parametrize(
    ("link", "heading"),
    [
        ("Films", "Films"),
        ("Splits", "Splits"),
        ("Queue", "Queue"),
        ("Evaluate", "Evaluate"),
        ("Models", "Models"),
        ("Report", "Report"),
    ],
)
def test_every_other_page_opens_and_does_not_scroll_sideways(page, app_url, screenshots, link, heading):
    page.goto(f"{app_url}/{link.lower()}")
    _heading(page, heading)
    _settled(page)
    _no_crash(page)
    overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert overflow <= 0
    _picture(page, screenshots, link.lower())
