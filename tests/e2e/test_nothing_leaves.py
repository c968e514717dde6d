"""What the README says, in a real browser: no page and no process asks anything of another machine, and nothing names a person.

One app on films whose headers, names, folders and table are full of canaries; it trains while its pages are read.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, Route, WebSocket, expect

from make_models import ARCH, write_model
from make_runs import write_run
from mammo_core.data.adapters import ImportChoices, understand
from mammo_core.data.manifest import load_dataset
from mammo_core.data.splits import SplitPlan, save_split, split_dataset
from mammo_core.runs.run_dir import RunDir
from mammo_core.settings import Workspace, open_workspace
from mammo_core.workflows.ingest import import_dataset
from mammo_core.workflows.launch import LaunchPlan, launch
from reliability.app_process import RunningApp, running_app
from reliability.canaries import found_below, found_in, write_source

pytestmark = [pytest.mark.browser, pytest.mark.slow]

HERE = {"localhost", "127.0.0.1", ""}
INLINE = {"data", "blob", "about"}
PAGES = {
    "home": "MammoTrace",
    "films?dataset=set": "Films",
    "splits?split=parts": "Splits",
    "train": "Train",
    "queue": "Queue",
    "history?run=e/seed_1": "History",
    "compare?experiment=e": "Compare",
    "evaluate?run=e/seed_1": "Evaluate",
    "gradcam?run=e/seed_1": "Grad-CAM",
    "models": "Models",
    "report?run=e/seed_1": "Report",
    "predict?run=e/seed_1": "Predict",
}
TINY = {"arch": "test_resnet", "weights": "none", "image_size": 48, "epochs": 1, "warmup_epochs": 0, "batch_size": 2}


@dataclass
class Watch:
    """All that a browser was told, was to ask of others, or complained of."""

    asked: list[str] = field(default_factory=list)
    """Addresses of other machines; it never gets through to one."""
    complaints: list[str] = field(default_factory=list)
    """Scripts that the security policy forbids, and errors of scripts."""
    told: list[bytes] = field(default_factory=list)
    """What came over the socket: also tables, which are drawn and stand in no text."""

    def answer(self, route: Route) -> None:
        address = urlsplit(route.request.url)
        if address.scheme in INLINE or address.hostname in HERE:
            route.continue_()
        else:
            self.asked.append(route.request.url)
            route.abort()

    def connected(self, socket: WebSocket) -> None:
        if urlsplit(socket.url).hostname not in HERE:
            self.asked.append(socket.url)
        socket.on("framereceived", lambda frame: self.told.append(frame if isinstance(frame, bytes) else frame.encode()))

    def said(self, text: str) -> None:
        if "Content Security Policy" in text:
            self.complaints.append(text)


@pytest.fixture
def watch(page: Page) -> Watch:
    found = Watch()
    page.context.route("**/*", found.answer)
    page.on("websocket", found.connected)
    page.on("console", lambda message: found.said(message.text))
    page.on("pageerror", lambda error: found.complaints.append(str(error)))
    return found


@dataclass(frozen=True)
class Visited:
    app: RunningApp
    workspace: Workspace
    folder: Path
    trained: RunDir
    """Trains, or waits, while the pages are read."""


@pytest.fixture
def visited(tmp_path: Path) -> Iterator[Visited]:
    workspace = open_workspace(tmp_path / "runs")
    write_source(tmp_path / "source", films=16)
    choices = ImportChoices(task="density", patient_from="header")
    import_dataset(workspace, understand(tmp_path / "source", choices), "set", lambda done, total, message="": None)
    save_split(workspace, "parts", split_dataset(load_dataset(workspace, "set"), SplitPlan(ratios=(0.5, 0.25, 0.25), seed=1)))
    run = write_run(workspace.experiments / "e" / "seed_1", seed=1, class_names=("A", "B"), epochs=3, replicates=10, patients=20)
    write_model(run, run.config().replace(arch=ARCH, image_size=(96, 96)))
    (trained,) = launch(workspace, LaunchPlan(dataset="set", splits=["parts"], experiment="child", settings=TINY, seeds=[1]))
    (tmp_path / "scratch").mkdir()
    with running_app(workspace, TMPDIR=str(tmp_path / "scratch")) as app:
        yield Visited(app, workspace, tmp_path, trained)


def seen(page: Page) -> list[str]:
    """Canaries in the page: what is read, what is hidden, and every attribute."""
    page.wait_for_timeout(500)  # a click has reached the server; icons and charts are fetched after the title
    expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning", timeout=30_000)
    return found_in(page.content().encode())


def test_nothing_asks_another_machine_and_nothing_names_a_person(page, watch, visited):
    _read_every_page(page, visited)
    _predict_and_save(page, visited)
    _crash(page, visited)
    deadline = time.monotonic() + 120
    while visited.trained.state() != "finished" and time.monotonic() < deadline:
        time.sleep(0.2)
    assert visited.trained.state() == "finished", "the child of the app that was to be watched"
    assert visited.app.watched_processes() >= 2, "the server and its child were watched"
    assert (watch.asked, watch.complaints, visited.app.tried(), visited.app.elsewhere()) == ([], [], [], [])

    assert watch.told and found_in(b"".join(watch.told)) == []
    assert found_in(visited.app.log.read_bytes()) == []
    assert found_below(visited.workspace.home, without=(str(visited.folder / "source").encode(),)) == {}
    assert found_below(visited.folder / "scratch") == {}


def _read_every_page(page: Page, visited: Visited) -> None:
    for place, title in PAGES.items():
        page.goto(f"{visited.app.url}/{place}")
        expect(page.get_by_role("heading", name=title, exact=True, level=1)).to_be_visible(timeout=30_000)
        assert seen(page) == [], place
        icon = page.locator("link[rel*=icon]").first.get_attribute("href")
        assert urlsplit(icon).hostname in HERE | {None}
        if title == "Films":
            for view in ("Films", "Audit", "Flagged", "Unreadable"):
                page.get_by_test_id("stMain").get_by_role("radio", name=view, exact=True).click()
                assert seen(page) == [], view


def _predict_and_save(page: Page, visited: Visited) -> None:
    """The last page that was read; the film in the viewer, and all that can be saved of it."""
    film, broken = (visited.folder / name for name in ("film.dcm", "broken.dcm"))
    shutil.copy(next((visited.folder / "source").rglob("Quintiliane_0_*.dcm")), film)
    shutil.copy(next((visited.folder / "source").rglob("Quintiliane_broken*.dcm")), broken)
    page.locator("input[type=file]").set_input_files(film)
    expect(page.get_by_text("What was read and done to the film")).to_be_visible(timeout=120_000)
    expect(page.locator("canvas").first).to_be_visible()
    assert seen(page) == []
    for kind in ("PDF", "JSON", "PNG"):
        with page.expect_download() as download:
            page.get_by_role("button", name=kind, exact=True).click()
        assert found_in(download.value.suggested_filename.encode() + download.value.path().read_bytes()) == [], kind
    page.reload()
    page.locator("input[type=file]").set_input_files(broken)
    expect(page.get_by_test_id("stAlert").first).to_be_visible(timeout=60_000)
    assert seen(page) == []


def _crash(page: Page, visited: Visited) -> None:
    """What was not foreseen is told without the path at which it happened."""
    run = write_run(visited.workspace.experiments / "damaged" / "seed_1", seed=1, epochs=3, replicates=10, patients=20)
    table = run.path / "val_predictions.csv"
    table.unlink()
    table.mkdir()
    page.goto(f"{visited.app.url}/evaluate?run={run.id}")
    expect(page.get_by_test_id("stException").first).to_be_visible(timeout=30_000)
    assert seen(page) == []
    assert str(visited.folder) not in page.content() and "Traceback" not in page.content()
