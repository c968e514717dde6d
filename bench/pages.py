"""How quickly the pages answer: start, rerun with 20 runs on disk, and reruns while a run trains.

    python -m bench.pages [--reruns 30] [--starts 5]

Measured in headless Chromium on this machine. Goals: process start to the first heading at most 4 s (disk cache warm); a rerun
with 20 runs at most 300 ms; rerun p95 while EfficientNet-B0 trains at 224 px, batch 16, at most 1.5 x idle. The plain way,
training in a thread of the server, is measured in the same run for comparison.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import psutil
from playwright.sync_api import Page, sync_playwright

from mammo_core.runs.run_dir import RunDir
from mammo_core.settings import HOME_VARIABLE, Workspace, open_workspace
from mammo_core.terminal import ProgressBar
from mammo_core.workflows.demo_data import make_demo_data
from mammo_core.workflows.launch import LaunchPlan, launch
from tests.make_runs import write_experiment

ROOT = Path(__file__).resolve().parent.parent

WATCH = """words => {
  const pattern = new RegExp(words), main = document.querySelector('[data-testid=stMain]');
  document.addEventListener('pointerdown', event => { window.pressed = event.timeStamp; }, {capture: true, once: true});
  window.shown = new Promise(resolve => {
    const look = () => { if (pattern.test(main.innerText)) { observer.disconnect(); resolve(performance.now()); } };
    const observer = new MutationObserver(look);
    observer.observe(main, {childList: true, subtree: true, characterData: true});
  });
}"""
"""Notes the moments of a press and of words appearing on the page, in the browser itself: its driver takes a tenth of a second to
move the pointer and to see that the button stands still."""

CHROMIUM = "/usr/bin/chromium"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--no-first-run"]
LOAD_CODE = """
import sys, threading
sys.path.insert(0, {root!r})
def work():
    import torch, timm
    model = timm.create_model("efficientnet_b0", num_classes=4)
    optimizer = torch.optim.AdamW(model.parameters())
    x, y = torch.randn(16, 3, 224, 224), torch.randint(0, 4, (16,))
    while True:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
threading.Thread(target=work, daemon=True).start()
from streamlit.web import cli
sys.argv = ["streamlit", "run", {app!r}, "--server.port", {port!r}, "--server.headless", "true"]
cli.main()
"""


@contextmanager
def server(workspace: Workspace, with_thread: bool = False) -> Iterator[str]:
    """The app on a free port; ``with_thread`` also trains in a thread of the server, the way not taken."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    app = str(ROOT / "app.py")
    command = [sys.executable, "-m", "mammo_core", "app", "--port", port, "--no-browser"]
    if with_thread:
        command = [sys.executable, "-c", LOAD_CODE.format(root=str(ROOT), app=app, port=port)]
    environment = {**os.environ, HOME_VARIABLE: str(workspace.home)}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def open_when_ready(page: Page, url: str, heading: str) -> None:
    """Open ``url`` as soon as its port answers, and wait for the page's heading."""
    address = urllib.parse.urlsplit(url)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex((address.hostname, address.port)) == 0:
                break
        time.sleep(0.02)
    page.goto(url)
    page.get_by_role("heading", name=heading, exact=True).wait_for()


def start_seconds(workspace: Workspace, page: Page, times: int) -> list[float]:
    found = []
    for _ in range(times + 1):
        started = time.monotonic()
        with server(workspace) as url:
            open_when_ready(page, url, "MammoTrace")
            found.append(time.monotonic() - started)
    return found[1:]  # the first one warms the disk cache


def rerun_milliseconds(page: Page, reruns: int) -> list[float]:
    """Time from pressing on the Queue page's view to the words of the list of runs being on the screen, a whole rerun.

    Only the list is timed: it is the same page whether something trains or not. The other view shows the training's progress.
    """
    found = []
    for number in range(2 * reruns):
        page.wait_for_timeout(250)
        name, words = (("Runs", "Select a run to write notes"), ("Queue", "Nothing is running|Now"))[number % 2]
        button = page.get_by_test_id("stMain").get_by_role("radio", name=name, exact=True)
        page.evaluate(WATCH, words)
        button.click()
        milliseconds = page.evaluate("window.shown") - page.evaluate("window.pressed")
        found += [milliseconds] if name == "Runs" else []
    return found


BLOCK = 5
"""Reruns in a row before the training is held or let go: the machine's own speed drifts, and so it does for both alike. Held for
longer than half a minute, a training would be called dead."""


def idle_and_training(workspace: Workspace, page: Page, reruns: int) -> tuple[list[float], list[float]]:
    """Reruns of a page in milliseconds while the training of EfficientNet-B0 in a child process is held, and while it runs."""
    make_demo_data(workspace, images=160, progress=ProgressBar("films"))
    with server(workspace) as url:
        open_when_ready(page, f"{url}/queue", "Queue")
        page.wait_for_timeout(3000)
        settings = {"arch": "efficientnet_b0", "weights": "none", "image_size": 224, "batch_size": 16, "epochs": 200}
        (run,) = launch(workspace, LaunchPlan(dataset="demo", splits=["demo"], experiment="load", settings=settings, seeds=[1]))
        wait_until(lambda: (status := run.status()) is not None and status.step > 0)
        idle: list[float] = []
        busy: list[float] = []
        while len(busy) < reruns:
            for held, found in ((True, idle), (False, busy)):
                with _held(run) if held else nullcontext():
                    rerun_milliseconds(page, 1)
                    found += rerun_milliseconds(page, BLOCK)
        told("rerun of Queue with 20 runs, idle", idle, "ms")
        told("the same while a child process trains", busy, "ms")
        run.ask_to_stop()
        wait_until(lambda: run.state() == "stopped")
    return idle, busy


@contextmanager
def _held(run: RunDir) -> Iterator[None]:
    """The training and its reading processes stand still."""
    status = run.status()
    assert status is not None and status.pid is not None
    processes = [trainer := psutil.Process(status.pid), *trainer.children(recursive=True)]
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in processes:
            process.resume()


def make_runs(workspace: Workspace) -> None:
    """Twenty runs, as the pages are timed with."""
    for number in range(5):
        write_experiment(workspace.experiments / f"exp_{number}", seeds=(1, 2, 3, 4), epochs=20)


def share(values: list[float], part: float) -> float:
    """The value that ``part`` of the values do not exceed."""
    return sorted(values)[round(part * (len(values) - 1))]


def told(name: str, values: list[float], unit: str) -> None:
    p95 = share(values, 0.95)
    print(f"{name:44s} p50 {statistics.median(values):7.1f} {unit}   p95 {p95:7.1f} {unit}   n {len(values)}", flush=True)


def wait_until(condition: Callable[[], bool], seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            sys.exit("the training did not start in time")
        time.sleep(0.2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reruns", type=int, default=30)
    parser.add_argument("--starts", type=int, default=5)
    chosen = parser.parse_args()
    reruns = chosen.reruns
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as playwright:
        workspace = open_workspace(temporary)
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        make_runs(workspace)
        told("start to first heading", start_seconds(workspace, page, chosen.starts), "s")
        idle, busy = idle_and_training(workspace, page, reruns)
        with server(workspace, with_thread=True) as url:
            open_when_ready(page, f"{url}/queue", "Queue")
            page.wait_for_timeout(10_000)
            rerun_milliseconds(page, 4)
            threaded = rerun_milliseconds(page, reruns)
            told("the same with training in a server thread", threaded, "ms")
        browser.close()
    ratio = [share(values, 0.95) / share(idle, 0.95) for values in (busy, threaded)]
    print(f"p95 against idle: child process {ratio[0]:.2f} x (goal at most 1.5), server thread {ratio[1]:.2f} x")


if __name__ == "__main__":
    main()
