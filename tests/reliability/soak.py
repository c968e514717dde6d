"""R17: hours of everything at once, on one app: trainings in its queue, pages that are looked at and poll, films of every kind
uploaded, trainings stopped and killed and resumed. At the end nothing of it may be lost, left behind or still running.

Never part of the tests: ``full`` takes eight hours, else five minutes; the environment variable ``MAMMOTRACE_SOAK_MINUTES`` sets
another time, which the figures tell.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
from playwright.sync_api import Page, expect, sync_playwright
from playwright.sync_api import TimeoutError as BrowserTimeout

from bench.pages import CHROMIUM, FLAGS
from mammo_core.runs import queue
from mammo_core.runs.run_dir import RunDir, list_runs
from mammo_core.settings import HOME_VARIABLE, Workspace
from mammo_core.storage import LEFTOVER_SECONDS
from mammo_core.workflows.doctor_workspace import disk_now
from mammo_core.workflows.launch import queue_run, resume_runs
from mammo_core.workflows.leftovers import find_leftovers
from reliability.app_process import RunningApp, running_app
from reliability.film_bytes import damaged, sound_films
from reliability.findings import Finding
from reliability.sentences import SECRETS
from reliability.small_runs import differing, digests, new_run, small_workspace, train_here, unreadable
from several_processes import start

MINUTES = {False: 5.0, True: 480.0}
ENVIRONMENT = "MAMMOTRACE_SOAK_MINUTES"
END_SECONDS = 600.0
"""Given to the trainings that are left when the time is over."""
SAMPLE_SECONDS = 10.0
PAGES = ("", "films", "splits", "train", "queue", "history", "compare", "evaluate", "gradcam", "predict", "models", "report")
ACTIVE = ("waiting", "running")
SETTLED = 0.2
"""Share of the time after which memory is taken as that of an app in use."""
GROWTH_MIB = 50.0
"""Of a straight line along the second half."""
OWN_OF_MULTIPROCESSING = "pymp-"
"""A folder that multiprocessing keeps while its process lives; who is killed cannot remove it."""


@dataclass
class Soak:
    workspace: Workspace
    app: RunningApp
    rng: random.Random
    seed: int
    deeds: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    samples: list[tuple[float, float, int, int]] = field(default_factory=list)
    """Seconds since the start; the server's memory (MiB), open files and threads."""
    made: int = 0

    def runs(self) -> list[RunDir]:
        return [run for run in list_runs(self.workspace) if run.id.startswith("soak")]

    def in_state(self, *states: str) -> list[RunDir]:
        return [run for run in self.runs() if run.state() in states]

    # ---- what happens -------------------------------------------------------------------------------------------------------

    def keep_training(self) -> None:
        """Two trainings wait or run at any time."""
        active = [request for request in queue.list_requests(self.workspace) if request.state in ACTIVE]
        for _ in range(2 - len(active)):
            interrupted = self.in_state("interrupted", "stopped")
            if interrupted:
                resume_runs(self.workspace, interrupted[:1])
                self.deeds["trainings resumed"] += 1
            else:
                run = new_run(self.workspace, f"soak_{self.made}")
                self.made += 1
                queue_run(self.workspace, run, "train")
                self.deeds["trainings queued"] += 1

    def disturb(self) -> None:
        """Stop one training, or kill it."""
        running = self.in_state("running")
        if not running:
            return
        run = self.rng.choice(running)
        if self.rng.random() < 0.5:
            run.ask_to_stop()
            self.deeds["trainings asked to stop"] += 1
            return
        status = run.status()
        if status is not None and status.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(status.pid, signal.SIGKILL)
                self.deeds["trainings killed"] += 1

    def visit(self, page: Page) -> None:
        """Open a page, and let it poll for a while."""
        name = self.rng.choice(PAGES)
        runs = self.runs()
        query = f"?run={self.rng.choice(runs).id}" if name in ("history", "evaluate", "gradcam") and runs else ""
        page.goto(f"{self.app.url}/{name}{query}")
        expect(page.get_by_role("heading").first).to_be_visible(timeout=60_000)
        page.wait_for_timeout(self.rng.uniform(1, 8) * 1000)
        self.deeds["pages opened"] += 1
        self.look(page, f"page '{name or 'home'}'")

    def upload(self, page: Page, films: dict[str, bytes], own: list[str]) -> None:
        """A film on the Predict page: sound, damaged, or no film at all; it is answered."""
        if "/predict" not in page.url or self.rng.random() < 0.6:
            page.goto(f"{self.app.url}/predict")
            expect(page.locator("input[type=file]")).to_be_attached(timeout=60_000)
            self.deeds["uploads in this tab"] = 0
        number = self.deeds["uploads"]
        way = self.rng.choice(("sound", "damaged", "damaged", "noise"))
        name, content = {
            "sound": lambda: (chosen := self.rng.choice(own), films[chosen]),
            "damaged": lambda: damaged(np.random.default_rng([self.seed, number]), films),
            "noise": lambda: ("noise", self.rng.randbytes(self.rng.randrange(20_000))),
        }[way]()
        file = {"name": f"film_{number}.dcm", "mimeType": "application/octet-stream", "buffer": content}
        page.locator("input[type=file]").set_input_files(file)  # type: ignore[arg-type]
        self.deeds["uploads in this tab"] += 1
        many = self.deeds["uploads in this tab"] > 1
        answer = page.get_by_text("judged,") if many else page.get_by_text("What was read and done to the film")
        try:
            expect(answer.or_(page.get_by_test_id("stAlertContentError")).first).to_be_visible(timeout=60_000)
        except AssertionError:
            self.problems.append(f"upload {number} ({way}, {name}) was not answered within 60 s")
        self.deeds["uploads"] += 1
        self.deeds[f"uploads: {way}"] += 1
        self.look(page, f"upload {number} ({way}, {name})")

    def look(self, page: Page, where: str) -> None:
        """No page shows a fault of the program or a word of a patient."""
        text = page.inner_text("body")
        if page.get_by_test_id("stException").count() or "Traceback" in text:
            self.problems.append(
                f"{where} shows an error of the program: {page.get_by_test_id('stException').first.inner_text()}"
            )
        self.problems += [f"{where} shows {secret!r}" for secret in SECRETS if secret in text.lower()]

    def sample(self, since: float) -> None:
        if not self.app.process.is_running() or self.app.process.status() == psutil.STATUS_ZOMBIE:
            raise RuntimeError(f"the app ended: {self.app.log.read_text()[-2000:]}")
        process = self.app.process
        self.samples.append((since, process.memory_info().rss / 2**20, process.num_fds(), process.num_threads()))


def check(full: bool, seed: int, folder: Path) -> list[Finding]:
    minutes = float(os.environ.get(ENVIRONMENT) or MINUTES[full])
    workspace, temporary = small_workspace(folder), folder / "temporary"
    temporary.mkdir()
    whole = _undisturbed(workspace, folder)
    with running_app(workspace, TMPDIR=str(temporary), OMP_NUM_THREADS="1") as app:
        soak = Soak(workspace, app, random.Random(seed), seed)
        with _browser() as (looking, uploading):
            _run(soak, minutes * 60, looking, uploading)
        _end_trainings(soak)
        tried = app.tried()
    soak.problems += [f"the app asked for {place}" for place in tried]
    return [_lost(soak, whole, minutes), _left(soak, folder, temporary), _grown(soak)]


def _undisturbed(workspace: Workspace, folder: Path) -> dict[str, str]:
    run = new_run(workspace, "whole")
    code, said = start(folder, train_here, str(workspace.home), str(run.path)).wait(END_SECONDS)
    if code != 0:
        raise RuntimeError(f"the undisturbed training ended with {code}: {said[-500:]}")
    return digests(run)


@contextlib.contextmanager
def _browser() -> Iterator[tuple[Page, Page]]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            yield tuple(browser.new_page(viewport={"width": 1280, "height": 900}) for _ in range(2))  # type: ignore[misc]
        finally:
            browser.close()


def _run(soak: Soak, seconds: float, looking: Page, uploading: Page) -> None:
    films = sound_films()
    own = [name for name in films if name.startswith(("drawn", "phantom"))]
    deeds: tuple[tuple[float, Callable[[], None]], ...] = (
        (0.5, lambda: soak.visit(looking)),
        (0.35, lambda: soak.upload(uploading, films, own)),
        (0.15, soak.disturb),
    )
    started = sampled = time.monotonic()
    while (now := time.monotonic()) - started < seconds:
        soak.keep_training()
        (deed,) = soak.rng.choices([deed for _, deed in deeds], [weight for weight, _ in deeds])
        try:
            deed()
        except (BrowserTimeout, AssertionError) as error:
            soak.problems.append(f"after {now - started:.0f} s a page did not answer: {str(error).splitlines()[0]}")
        if time.monotonic() - sampled > SAMPLE_SECONDS:
            sampled = time.monotonic()
            soak.sample(sampled - started)


def _end_trainings(soak: Soak) -> None:
    """Let every training come to its end, the disturbed ones too."""
    deadline = time.monotonic() + END_SECONDS
    while time.monotonic() < deadline:
        waiting = soak.in_state("interrupted", "stopped")
        asked = {request.arguments.get("run") for request in queue.list_requests(soak.workspace) if request.state in ACTIVE}
        resume_runs(soak.workspace, [run for run in waiting if run.id not in asked])
        if all(run.state() == "finished" for run in soak.runs()):
            return
        time.sleep(1)


# ---- findings -----------------------------------------------------------------------------------------------------------------


def _lost(soak: Soak, whole: dict[str, str], minutes: float) -> Finding:
    states = Counter(run.state() for run in soak.runs())
    problems = [f"{run.id} is {run.state()}" for run in soak.runs() if run.state() != "finished"]
    for run in soak.in_state("finished"):
        problems += [f"{run.id}: {problem}" for problem in (*unreadable(run), *differing(run, whole))]
    problems += soak.problems
    del soak.deeds["uploads in this tab"]
    done = ", ".join(f"{count} {what}" for what, count in sorted(soak.deeds.items()))
    found = (
        f"{minutes:g} minutes, {done}; {states['finished']} of {sum(states.values())} trainings finished as an undisturbed one"
    )
    return Finding("R17", "everything at once: no restart, nothing lost", found, not problems, tuple(problems))


def _left(soak: Soak, folder: Path, temporary: Path) -> Finding:
    left = find_leftovers(soak.workspace, disk_now(soak.workspace) + LEFTOVER_SECONDS + 1)
    problems = [f"{leftover.kind} {leftover.name}" for leftover in left]
    files = list(temporary.iterdir())
    killed = [path for path in files if path.name.startswith(OWN_OF_MULTIPROCESSING)]
    problems += [f"temporary file or folder {path.name}" for path in files if path not in killed]
    if len(killed) > soak.deeds["trainings killed"]:
        problems.append(f"{len(killed)} folders of multiprocessing after {soak.deeds['trainings killed']} kills")
    problems += [f"a process goes on: {words}" for words in _still_there(soak.workspace)]
    found = f"{len(problems)} processes, temporary files or leftovers; {len(killed)} folders of processes that were killed"
    return Finding("R17", "nothing is left behind", found, not problems, tuple(problems))


def _still_there(workspace: Workspace) -> list[str]:
    """Processes that were started with this workspace in their environment."""
    mark, found = f"{HOME_VARIABLE}={workspace.home}\0".encode(), []
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, psutil.Error):
            if mark in (place / "environ").read_bytes():
                found.append(" ".join(psutil.Process(int(place.name)).cmdline())[:200])
    return found


def _grown(soak: Soak) -> Finding:
    kept = [sample for sample in soak.samples if sample[0] >= SETTLED * soak.samples[-1][0]]
    seconds, memory, files, threads = (np.asarray(column, dtype=float) for column in zip(*kept, strict=True))
    half = len(seconds) // 2
    growth = float(np.polyfit(seconds[half:], memory[half:], 1)[0]) * (seconds[-1] - seconds[half])
    found = (
        f"{memory[0]:.0f} MiB once in use, {memory[-1]:.0f} at the end, at most {memory.max():.0f}; along the second half "
        f"{growth:+.1f} MiB; open files {files[0]:.0f} to {files[-1]:.0f}, threads {threads[0]:.0f} to {threads[-1]:.0f}"
    )
    return Finding("R17", "memory of the server", found, growth <= GROWTH_MIB)
