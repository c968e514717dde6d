"""R6: who has died is shown as interrupted within 30 seconds, and who lives is never called dead.

The processes that are killed hold the run's lock and write its heartbeat with the real writer; how a real training dies is the
subject of ``kills``. The clock is moved by asking for the state of another moment, and by what stands in the heartbeat.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from make_runs import write_run
from mammo_core.runs import queue
from mammo_core.runs.listing import RunCard, list_cards
from mammo_core.runs.liveness import DEAD_AFTER_SECONDS, this_process
from mammo_core.runs.run_dir import RunDir
from mammo_core.runs.schema import Status
from mammo_core.settings import Workspace, open_workspace
from mammo_core.storage import is_locked, lock_of, write_json
from mammo_core.workflows.run_writer import RunWriter
from mammo_core.workflows.supervisor import POLL_SECONDS, Supervisor
from reliability.findings import Finding
from several_processes import start

PATIENCE_SECONDS = 120.0
DAY = 86400.0
LONG_AGO = DEAD_AFTER_SECONDS + 1
SILENCE_SECONDS = 3.0
"""What is left of the 30 seconds when a run is first looked at."""


@dataclass
class Scene:
    workspace: Workspace
    folder: Path
    looks: int = 0
    problems: list[str] = field(default_factory=list)

    def new_run(self, **status: Any) -> RunDir:
        """A run that has been trained for a while; ``status`` says by whom."""
        run = write_run(self.workspace.experiments / "dead" / f"seed_{self.looks}_{time.monotonic_ns()}", epochs=2)
        if status:
            write_json(run.status_file, Status(**{"state": "running", "epoch": 1, "epochs": 5, **status}).to_json())
        return run

    def expect(self, what: str, run: RunDir, state: str, now: float | None = None) -> None:
        self.looks += 1
        found = run.state(now)
        if found != state:
            self.problems.append(f"{what}: shown as {found}, expected {state}")
        if now is None:
            shown = _card(self, run).state
            if shown != state:
                self.problems.append(f"{what}: listed as {shown}, expected {state}")


def _card(scene: Scene, run: RunDir) -> RunCard:
    return next(card for card in list_cards(scene.workspace) if card.run == run)


def hold(folder: str, ready: str) -> None:
    """To be started: what a training does to its run while it works, at ten times its pace."""
    run = RunDir(Path(folder))
    with lock_of(run.lock_file).acquire():
        writer = RunWriter(run, run.config())
        Path(ready).touch()
        while True:
            writer.write_status(step=1)
            time.sleep(0.2)


def probe(folder: str, out: str, seconds: float) -> None:
    """To be started: a page that asks for the state of a run all the time; writes down the states that it saw."""
    run, seen, until = RunDir(Path(folder)), set(), time.monotonic() + seconds
    while time.monotonic() < until:
        seen.add(run.state())
    Path(out).write_text(" ".join(sorted(seen)))


def check(full: bool, seed: int, folder: Path) -> list[Finding]:
    scene = Scene(open_workspace(folder / "runs"), folder)
    rng = random.Random(seed)
    for number in range(50 if full else 5):
        _killed(scene, rng, number)
    _clocks(scene)
    _reused_numbers(scene)
    _unnoted_number(scene)
    _many_pages(scene, 10.0 if full else 1.0)
    _turns_in_the_list(scene)
    _leftovers(scene)
    return [
        Finding(
            "R6",
            "dead runs are interrupted within 30 s, live ones never; pid reuse, clocks, another host, many pages, leftovers",
            f"{scene.looks} looks, {len(scene.problems)} problems",
            scene.looks > 0 and not scene.problems,
            tuple(scene.problems),
        )
    ]


def _killed(scene: Scene, rng: random.Random, number: int) -> None:
    """A holder that lives, sleeps for a day, wakes, and is killed."""
    run = scene.new_run()
    ready = scene.folder / f"ready_{number}"
    child = start(scene.folder, hold, str(run.path), str(ready))
    _wait(ready.exists, "the holder to begin")
    time.sleep(rng.uniform(0, 0.5))
    scene.expect("a live run", run, "running")
    pid = child.process.pid or 0
    os.kill(pid, signal.SIGSTOP)
    for ahead in (LONG_AGO, DAY, -DAY):
        scene.expect(f"a live run that stands still, seen {ahead:+.0f} s off", run, "running", time.time() + ahead)
    os.kill(pid, signal.SIGCONT)
    child.process.kill()
    killed_at = time.time()
    child.wait(PATIENCE_SECONDS)
    scene.expect("a killed run after 30 s", run, "interrupted", killed_at + DEAD_AFTER_SECONDS + 0.001)
    scene.expect("a killed run whose clock was set back", run, "interrupted", killed_at - DAY)
    if is_locked(run.lock_file):
        scene.problems.append("the lock of a killed run is still held")


def _clocks(scene: Scene) -> None:
    """Heartbeats of the past and the future, of this machine and of another."""
    here, elsewhere = this_process(), {**this_process(), "host": "another-machine", "boot_id": "another"}
    expected: tuple[tuple[str, dict[str, Any], float, str], ...] = (
        ("a heartbeat of this machine, just now", here, -1, "running"),
        ("an old heartbeat of this machine", here, -LONG_AGO, "interrupted"),
        ("a heartbeat of this machine, an hour ahead", here, 3600, "interrupted"),
        ("a heartbeat of another machine, just now", elsewhere, -1, "running"),
        ("a heartbeat of another machine, whose clock goes ahead", elsewhere, 20, "running"),
        ("an old heartbeat of another machine", elsewhere, -LONG_AGO, "interrupted"),
        ("a heartbeat of another machine, a day ahead", elsewhere, DAY, "interrupted"),
    )
    for what, who, age, state in expected:
        run = scene.new_run(**who, heartbeat_at=time.time() + age)
        scene.expect(what, run, state)
        with lock_of(run.lock_file).acquire():
            scene.expect(f"{what}, its lock held", run, "running")
        scene.expect(f"{what}, its lock free again", run, state)


def _reused_numbers(scene: Scene) -> None:
    """A process that has nothing to do with a run has its number now."""
    run = scene.new_run(**{**this_process(), "process_started_at": 1.0}, heartbeat_at=time.time() - LONG_AGO)
    scene.expect("a dead run whose process number is used again", run, "interrupted")
    asked = {
        "of a reused number": queue.enqueue(scene.workspace, "resume", {"run": run.id}, "Resume"),
        "of no number": queue.enqueue(scene.workspace, "resume", {"run": run.id}, "Resume"),
    }
    for what, pid in (("of a reused number", os.getpid()), ("of no number", None)):
        queue.update(scene.workspace, asked[what].id, state="running", pid=pid)
    supervisor = Supervisor(scene.workspace)
    supervisor.start()
    try:
        _wait(
            lambda: all(one.state == "failed" for one in queue.list_requests(scene.workspace)), "the app to close dead requests"
        )
    except TimeoutError:
        scene.problems += [f"request {what} stays {one.state}" for what, one in asked.items()]
    finally:
        supervisor.stop()
    scene.looks += len(asked)


def _unnoted_number(scene: Scene) -> None:
    """The app was killed after it had started a child and before it noted its number: the child is met again by its command."""
    request = queue.enqueue(scene.workspace, "audit", {}, "Audit")
    queue.update(scene.workspace, request.id, state="running")
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", request.id])
    supervisor = Supervisor(scene.workspace)
    supervisor.start()
    try:
        time.sleep(3 * POLL_SECONDS)
        if _state(scene.workspace, request) != "running":
            scene.problems.append("a request whose child is at work was closed when the app had started again")
        child.kill()
        child.wait()
        _wait(lambda: _state(scene.workspace, request) == "failed", "the app to see that the child has ended")
    except TimeoutError:
        scene.problems.append("a request whose child was killed stays open")
    finally:
        child.kill()
        child.wait()
        supervisor.stop()
    scene.looks += 2


def _state(workspace: Workspace, request: queue.Request) -> str:
    found = queue.find_request(workspace, request.id)
    return found.state if found else "gone"


def _many_pages(scene: Scene, seconds: float) -> None:
    """Each page that asks takes the lock for an instant; no other may take that for a training."""
    run = scene.new_run(**this_process(), heartbeat_at=time.time() - LONG_AGO)
    outs = [scene.folder / f"page_{number}" for number in range(3)]
    for page in [start(scene.folder, probe, str(run.path), str(out), seconds) for out in outs]:
        page.wait(PATIENCE_SECONDS)
    seen = {state for out in outs for state in out.read_text().split()}
    scene.looks += len(outs)
    if seen != {"interrupted"}:
        scene.problems.append(f"a dead run that three pages look at is shown as {sorted(seen)}")


def _turns_in_the_list(scene: Scene) -> None:
    """The list reads a run again only when one of its files changes, and a death changes none."""
    dead_at = time.time() + SILENCE_SECONDS
    run = scene.new_run(**this_process(), heartbeat_at=dead_at - DEAD_AFTER_SECONDS)
    card = _card(scene, run)
    if time.time() < dead_at and card.state != "running":
        scene.problems.append(f"a run that was silent for less than 30 s is listed as {card.state}")
    time.sleep(max(0.0, dead_at - time.time()) + 0.1)
    scene.expect("the same run when the 30 s are over", run, "interrupted")


def _leftovers(scene: Scene) -> None:
    """The next start takes away what the killed one left, and nothing that somebody else is writing."""
    run = scene.new_run(**this_process(), heartbeat_at=time.time() - LONG_AGO)
    names = (".resume.pt.0123abcd.tmp", ".best_model.pth.tmp", ".train_history.json.0123abcd.tmp", ".notes.json.0123abcd.tmp")
    ours, others = [run.path / name for name in names[:3]], run.path / names[3]
    old = scene.workspace.queue / ".1-a.json.0123abcd.tmp"
    for path in (*ours, others, old):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"half")
    os.utime(old, (1.0, 1.0))
    RunWriter(run, run.config())
    scene.problems += [f"{path.name} outlives the next start" for path in ours if path.exists()]
    if not others.exists():
        scene.problems.append("a file that somebody else is writing was taken away")
    supervisor = Supervisor(scene.workspace)
    supervisor.start()
    try:
        _wait(lambda: not old.exists(), "the app to take away what is old")
    except TimeoutError:
        scene.problems.append(f"{old.name} outlives the next start of the app")
    finally:
        supervisor.stop()
    scene.looks += len(names) + 1


def _wait(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {PATIENCE_SECONDS:.0f} s in vain for {what}")
        time.sleep(0.02)
