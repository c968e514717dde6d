"""R1: ``kill -9`` while a run trains, as the app trains it and as the command line does.

Most kills meet processes that branch off one which has loaded torch (see ``several_processes``): there the real training function
runs, at random moments of its whole time or at an exact moment of its writing. Some meet programs that were started anew: by the
app's supervisor, and by ``python -m mammo_core train`` and ``resume``.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from mammo_core.runs import queue
from mammo_core.runs.run_dir import RunDir
from mammo_core.settings import HOME_VARIABLE, PROJECT_ROOT, Workspace
from mammo_core.storage import leftovers, write_json
from mammo_core.workflows.launch import queue_run
from mammo_core.workflows.supervisor import Supervisor
from reliability.findings import Finding
from reliability.small_runs import differing, digests, epochs_of, forgotten, new_run, small_workspace, train_here, unreadable
from reliability.traps import count_moments, train_until
from several_processes import Started, do_nothing, start

PATIENCE_SECONDS = 300.0
ORPHAN_SECONDS = 10.0
"""A process that a killed training had started ends within this time."""
KILLS_A_RUN = 5
WRITING_SECONDS = 0.02
"""A kill at a moment of writing comes at most so long after it: the time that a file of this size takes."""


@dataclass(frozen=True)
class Size:
    """How many kills of each kind."""

    at_random: int
    while_writing: int
    of_programs: int
    """Started anew: ten seconds of a processor each."""


QUICK, FULL = Size(4, 3, 3), Size(250, 200, 51)


@dataclass
class Scene:
    """One workspace, the uninterrupted run in it, and what the kills did."""

    workspace: Workspace
    folder: Path
    rng: random.Random
    whole: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    moments: list[list[str]] = field(default_factory=list)
    kills: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    finished: int = 0

    def train_undisturbed(self) -> None:
        out, run = self.folder / "moments.json", new_run(self.workspace, "whole")
        start(self.folder, do_nothing).wait(PATIENCE_SECONDS)  # loads torch for all that branch off later, which is no training
        started = time.monotonic()
        code, said = start(self.folder, count_moments, self._home, str(run.path), str(out)).wait(PATIENCE_SECONDS)
        self.seconds = time.monotonic() - started
        if code != 0:
            raise RuntimeError(f"the undisturbed training ended with {code}: {said[-500:]}")
        self.moments, self.whole = json.loads(out.read_text()), digests(run)

    @property
    def _home(self) -> str:
        return str(self.workspace.home)

    def run_of(self, name: str) -> RunDir:
        return new_run(self.workspace, f"{name}_{sum(self.kills.values())}")

    # ---- one kill ---------------------------------------------------------------------------------------------------

    def kill_at_random(self, run: RunDir) -> bool:
        seconds = self.rng.uniform(0, self.seconds)
        with self.watched(run, f"killed after {seconds:.2f} s") as watched:
            child = start(self.folder, train_here, self._home, str(run.path))
            time.sleep(seconds)
            watched.note(child.process.pid)
            child.process.kill()
            watched.killed = _ended(child) == -signal.SIGKILL
        self.kills["at random moments"] += watched.killed
        return watched.killed

    def kill_while_writing(self, run: RunDir) -> bool:
        moment, seconds = self.rng.randrange(len(self.moments)), self.rng.choice((0.0, self.rng.uniform(0, WRITING_SECONDS)))
        what = f"killed {seconds * 1000:.1f} ms after moment {moment} ({' '.join(self.moments[moment])})"
        with self.watched(run, what) as watched:
            child = start(self.folder, train_until, self._home, str(run.path), moment, seconds)
            watched.killed = _ended(child) == -signal.SIGKILL
        self.kills["while writing"] += watched.killed
        return watched.killed

    def kill_program(self, run: RunDir, way: str) -> bool:
        """Kill a program that was started anew, some time after it has committed an epoch (or ends, where all are done)."""
        with self.watched(run, f"killed as {way}") as watched:
            wanted = min(len(run.history()) + 1, run.config().epochs)
            with self._program(run, way) as pid:
                _wait(lambda: len(run.history()) >= wanted and _status_pid(run) == pid(), f"{way} to train")
                time.sleep(self.rng.uniform(0, 0.7))
                watched.note(pid())
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid(), signal.SIGKILL)
                    watched.killed = True
        self.kills[f"of {way}"] += watched.killed
        return watched.killed

    @contextlib.contextmanager
    def _program(self, run: RunDir, way: str):  # type: ignore[no-untyped-def]
        """Starts the program and gives what tells its process id; waits until its end is known."""
        if way == "the app's child":
            supervisor = Supervisor(self.workspace)
            request = queue_run(self.workspace, run, "resume")
            supervisor.start()
            try:
                yield lambda: _request(self.workspace, request.id).pid
                _wait(lambda: _request(self.workspace, request.id).state != "running", "the app to see that its child ended")
            finally:
                supervisor.stop()
            return
        _make_old(run)  # 'resume' asks whether the run is dead, which takes 30 s to tell
        arguments = ["train", "--run-dir", str(run.path)] if way == "the command train" else ["resume", run.id]
        environment = {**os.environ, HOME_VARIABLE: self._home, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "mammo_core", *arguments]
        with subprocess.Popen(command, cwd=PROJECT_ROOT, env=environment, stderr=subprocess.DEVNULL) as process:
            yield lambda: process.pid

    @contextlib.contextmanager
    def watched(self, run: RunDir, what: str):  # type: ignore[no-untyped-def]
        """Compare the run before and after a kill."""
        before, watched = epochs_of(run), _Watched()
        yield watched
        told = [*unreadable(run)]
        told += forgotten(before, run) if not told else []
        told += watched.survivors()
        self.problems += [f"{run.id}, {what}: {problem}" for problem in told]

    def finish(self, run: RunDir) -> None:
        """Let a run that was killed go on to its end, and compare its result."""
        code = _ended(start(self.folder, train_here, self._home, str(run.path)))
        told = [f"ended with exit code {code}"] if code else differing(run, self.whole)
        told += [f"{path.name} was left behind" for folder in (run.path, *run.path.glob("*/")) for path in leftovers(folder, 0.0)]
        self.problems += [f"{run.id}, finished after its kills: {problem}" for problem in told]
        self.finished += 1


@dataclass
class _Watched:
    killed: bool = False
    children: list[psutil.Process] = field(default_factory=list)

    def note(self, pid: int | None) -> None:
        with contextlib.suppress(psutil.Error):
            self.children = psutil.Process(pid).children(recursive=True)

    def survivors(self) -> list[str]:
        """Processes of the killed one that go on without it."""
        _, alive = psutil.wait_procs(self.children, timeout=ORPHAN_SECONDS)
        alive = [process for process in alive if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]
        return [f"a process that it had started lives on: {' '.join(process.cmdline()[-4:])}" for process in alive]


def check(full: bool, seed: int, folder: Path) -> list[Finding]:
    size = FULL if full else QUICK
    scene = Scene(small_workspace(folder), folder, random.Random(seed))
    scene.train_undisturbed()
    shutil.rmtree(scene.workspace.cache)  # the next ones are killed while they read films in processes of their own, too
    _chains(scene, "random", scene.kill_at_random, size.at_random)
    _chains(scene, "writing", scene.kill_while_writing, size.while_writing)
    _programs(scene, size.of_programs)
    return _findings(scene, sum((size.at_random, size.while_writing, size.of_programs)))


def _chains(scene: Scene, name: str, kill: Callable[[RunDir], bool], wanted: int) -> None:
    """Kill runs until there were enough kills; each run at most some times, and then it may finish."""
    done = 0
    while done < wanted:
        run = scene.run_of(name)
        for _ in range(min(KILLS_A_RUN, wanted - done)):
            if not kill(run):
                break
            done += 1
        scene.finish(run)


def _programs(scene: Scene, wanted: int) -> None:
    done = 0
    while done < wanted:
        run = scene.run_of("program")
        for way in ("the command train", "the app's child", "the command resume"):
            if done < wanted and scene.kill_program(run, way):
                done += 1
        scene.finish(run)


def _findings(scene: Scene, wanted: int) -> list[Finding]:
    kills = ", ".join(f"{count} {kind}" for kind, count in scene.kills.items())
    problems, total = tuple(scene.problems), sum(scene.kills.values())
    return [
        Finding("R1", "kill -9 of a training", f"{total} kills ({kills}); {len(problems)} problems", total >= wanted, ()),
        Finding(
            "R1",
            "after every kill all is readable and no committed epoch lost; the result is that of an uninterrupted run",
            f"{scene.finished} runs finished, {len(problems)} problems",
            not problems,
            problems,
        ),
    ]


def _ended(child: Started) -> int | None:
    return child.wait(PATIENCE_SECONDS)[0]


def _wait(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {PATIENCE_SECONDS:.0f} s in vain for {what}")
        time.sleep(0.01)


def _request(workspace: Workspace, request_id: str) -> queue.Request:
    found = queue.find_request(workspace, request_id)
    if found is None:
        raise LookupError(request_id)
    return found


def _status_pid(run: RunDir) -> int | None:
    status = run.status()
    return status.pid if status else None


def _make_old(run: RunDir) -> None:
    """Set the heartbeat back by a minute, as if somebody had waited."""
    status = run.status()
    if status is not None and status.state == "running":
        write_json(run.status_file, {**status.to_json(), "heartbeat_at": time.time() - 60})
