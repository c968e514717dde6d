"""R2: the disk refuses a call in the middle of a write, or the power goes between two of them.

Everything is written by one function, so the calls of one real epoch, of a launch and of the queue are what there is to try: each
of them fails once, with each error; and the calls of a whole training are written down and replayed to every point, as a disk may
stand that loses its power there.
"""

from __future__ import annotations

import errno
import itertools
import os
import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from mammo_core.data.manifest import load_dataset, relink
from mammo_core.data.splits import SplitPlan, list_splits, save_split, split_dataset
from mammo_core.errors import MammoError, WriteFailed
from mammo_core.report.privacy import PLACE
from mammo_core.runs import queue
from mammo_core.runs.run_dir import RunDir, list_runs
from mammo_core.runs.schema import Notes
from mammo_core.settings import Workspace
from mammo_core.storage import leftovers
from mammo_core.training.engine import Engine, EpochOutcome
from mammo_core.workflows.exit_codes import DONE
from mammo_core.workflows.films import PreparedSplit
from mammo_core.workflows.run_writer import RunWriter
from mammo_core.workflows.train_run import train
from mammo_core.workflows.training_job import Training
from reliability.crash_disk import CrashDisk, Names
from reliability.faults import Call, Faults, failing, recording
from reliability.findings import Finding
from reliability.small_runs import committed, differing, digests, new_run, small_workspace, unreadable

ERRORS = (errno.EIO, errno.ENOSPC, errno.EACCES)
ARCH = "test_efficientnet_gn"
"""The model of timm with the fewest tensors: each is a write of its own."""


def check(full: bool, seed: int, folder: Path) -> list[Finding]:
    workspace = small_workspace(folder)
    return [
        _failing_epoch(workspace, full),
        _failing_requests(workspace, full),
        *_power_losses(workspace, folder, full, random.Random(seed)),
    ]


# ---- a call that fails ------------------------------------------------------------------------------------------------------


@dataclass
class _Trials:
    """What came of doing some work again and again with another call failing each time."""

    folder: Path
    full: bool
    tried: int = 0
    problems: list[str] = field(default_factory=list)

    def run(self, what: str, prepare: Callable[[], Callable[[], object]], judge: Callable[[bool], list[str]]) -> None:
        """Let every call of the work fail.

        Parameters
        ----------
        prepare : makes the state before and gives the work
        judge : what is wrong after the work, told whether it went through
        """
        with failing(Faults(self.folder)) as faults:
            prepare()()
        plans = self._plans(faults.seen)
        for number, error, lasts in plans:
            work = prepare()
            name = f"{what}, call {number} ({faults.seen[number]}) {errno.errorcode[error]}{' and all after it' if lasts else ''}"
            with failing(Faults(self.folder, number, error, lasts)):
                through, told = _outcome(work)
            self.tried += 1
            self.problems += [f"{name}: {problem}" for problem in [*told, *judge(through)]]

    def _plans(self, seen: Sequence[str]) -> list[tuple[int, int, bool]]:
        """All calls with all errors; in the quick size with one, and of the many writes of a file the first and the last."""
        plain = list(itertools.product(range(len(seen)), ERRORS, (False, True)))
        if self.full:
            return plain
        edges = [n for n, call in enumerate(seen) if seen[n - 1 : n] != [call] or seen[n + 1 : n + 2] != [call]]
        return [(n, ERRORS[place % 3], place % 2 == 1) for place, n in enumerate(edges)]


def _outcome(work: Callable[[], object]) -> tuple[bool, list[str]]:
    """Whether the work went through, and what is wrong with how it said that it did not."""
    try:
        work()
    except WriteFailed as error:
        text = str(error)
        return False, [] if not PLACE.search(text) and "Errno" not in text else [f"was told as {text!r}"]
    except (MammoError, OSError, RuntimeError) as error:
        return False, [f"ended with {type(error).__name__}: {error}"]
    return True, []


@dataclass
class _Epoch:
    """One real epoch, trained once and written as often as asked for."""

    training: Training
    engine: Engine
    films: PreparedSplit
    outcome: EpochOutcome
    before: Path
    """A copy of the run's folder as the epoch before left it."""

    def write(self) -> None:
        writer = RunWriter(self.training.run, self.training.config)
        replace(self.training, writer=writer)._keep_epoch(writer, self.engine, self.films, self.outcome, {"films": "0"})


def _one_epoch(workspace: Workspace) -> _Epoch:
    run = new_run(workspace, "failing", arch=ARCH)
    config = run.config()
    writer = RunWriter(run, config)
    training = Training(workspace, run, config, writer)
    films = training._prepare()
    train_films, val_films = films.part("train"), films.part("val")
    model, normalisation = training._first_weights(train_films, 0)
    engine = Engine(config, model, normalisation, train_films, val_films, torch.device("cpu"))
    outcomes = engine.fit()
    training._keep_epoch(writer, engine, films, next(outcomes), {"films": "0"})
    before = Path(shutil.copytree(run.path, workspace.home / "before"))
    outcome = next(outcomes)
    best = replace(outcome, record=outcome.record.model_copy(update={"is_best": True}))  # so that every file is written
    return _Epoch(training, engine, films, best, before)


def _failing_epoch(workspace: Workspace, full: bool) -> Finding:
    epoch, trials = _one_epoch(workspace), _Trials(workspace.experiments, full)
    run = epoch.training.run

    def prepare() -> Callable[[], object]:
        shutil.rmtree(run.path)
        shutil.copytree(epoch.before, run.path)
        return epoch.write

    def judge(through: bool) -> list[str]:
        problems = unreadable(run)
        epochs = len(committed(run))
        if epochs not in (1, 2) or (through and epochs != 2):
            problems.append(f"{epochs} epochs are kept")
        problems += [f"{path.name} was left behind" for path in leftovers(run.path, 0.0)]
        epoch.write()
        return problems + ([] if len(committed(run)) == 2 else ["the next try does not mend it"])

    trials.run("an epoch", prepare, judge)
    shutil.rmtree(run.path)
    what = "every call of an epoch's files fails: the old or the new state loads, in words, and the next try mends it"
    return _finding(what, trials)


def _failing_requests(workspace: Workspace, full: bool) -> Finding:
    """The small writes beside a training: a launch, the queue, notes, a split, a data set's record, looks at the test part."""
    trials, numbers = _Trials(workspace.home, full), itertools.count()
    request, run = queue.enqueue(workspace, "audit", {}, "old"), new_run(workspace, "notes")
    dataset = load_dataset(workspace, "demo")
    split = split_dataset(dataset, SplitPlan(seed=7))

    def save() -> object:
        return save_split(workspace, f"made_{next(numbers)}", split)

    adding: tuple[tuple[str, Callable[[], object], Callable[[], int]], ...] = (
        ("a launch", lambda: new_run(workspace, "launched"), lambda: len(list_runs(workspace))),
        ("a request", lambda: queue.enqueue(workspace, "audit", {}, "new"), lambda: len(queue.list_requests(workspace))),
        ("a look at the test part", lambda: run.count_test_look(3), lambda: len(run.test_looks())),
        ("a split", save, lambda: len(list_splits(workspace)[0])),
    )
    for what, work, count in adding:
        counted = _Counted(work, count)
        trials.run(what, counted.prepare, counted.judge)
    changing: tuple[tuple[str, Callable[[], object], Callable[[], object]], ...] = (
        (
            "a request that changes",
            lambda: queue.update(workspace, request.id, message="new"),
            lambda: _found(workspace, request.id),
        ),
        ("notes", lambda: run.write_notes(Notes(text="new")), run.notes),
        ("a relinked data set", lambda: relink(dataset, dataset.root), lambda: load_dataset(workspace, "demo")),
    )
    for what, work, read in changing:
        trials.run(what, lambda work=work: work, lambda through, read=read: _unreadable_by(read))  # type: ignore[misc]
    shutil.rmtree(workspace.experiments)
    return _finding("every call of a launch, a request, notes, a split and a look at the test part fails", trials)


class _Counted:
    """Work that makes one thing more: afterwards there are as many as before, or one more where it was said to be done."""

    def __init__(self, work: Callable[[], object], count: Callable[[], int]) -> None:
        self._work, self._count, self._before = work, count, 0

    def prepare(self) -> Callable[[], object]:
        self._before = self._count()
        return self._work

    def judge(self, through: bool) -> list[str]:
        now = self._count()
        right = now == self._before + 1 or (now == self._before and not through)
        return [] if right else [f"there are {now} instead of {self._before} or one more"]


def _found(workspace: Workspace, request_id: str) -> None:
    if queue.find_request(workspace, request_id) is None:
        raise MammoError("it is gone")


def _unreadable_by(read: Callable[[], object]) -> list[str]:
    try:
        read()
    except MammoError as error:
        return [f"cannot be read: {error}"]
    return []


def _finding(what: str, trials: _Trials) -> Finding:
    found = f"{trials.tried} failing calls, {len(trials.problems)} problems"
    return Finding("R2", what, found, trials.tried > 0 and not trials.problems, tuple(trials.problems))


# ---- the power goes ---------------------------------------------------------------------------------------------------------


def _power_losses(workspace: Workspace, folder: Path, full: bool, rng: random.Random) -> list[Finding]:
    epochs = 3 if full else 2
    whole = new_run(workspace, "whole", epochs=epochs, arch=ARCH)
    if train(workspace, whole) != DONE:
        raise RuntimeError("the undisturbed training failed")
    with recording(workspace.experiments) as calls:
        run = new_run(workspace, "power", epochs=epochs, arch=ARCH)
        train(workspace, run)
    replay = Replay(run, folder / "after" / "seed_42")
    replay.play(calls)
    finding = Finding(
        "R2",
        "power loss at every point of a training: the old or the new state loads, no shown epoch is lost",
        f"{len(calls)} calls, {replay.states} states of the disk, {len(replay.seen)} different, {len(replay.problems)} problems",
        bool(replay.seen) and not replay.problems,
        tuple(replay.problems),
    )
    return [finding, _go_on(workspace, replay, digests(whole), rng, 30 if full else 2)]


class Replay:
    """Replays the calls of a training and judges what a power loss after each of them may leave of the run."""

    def __init__(self, run: RunDir, folder: Path) -> None:
        self._run = run
        self._folder = folder
        self.states = 0
        self.seen: dict[frozenset[tuple[str, int]], Names] = {}
        """Every different content of the run's folder that was met, by the identity of the contents."""
        self.problems: list[str] = []
        self._whole: dict[str, set[bytes]] = {}
        self._shown = 0
        self._laid_out: Names = {}

    def play(self, calls: Sequence[Call]) -> None:
        disk = CrashDisk()
        for number, call in enumerate(calls):
            disk.take(call)
            if call.kind == "rename":
                self._whole.setdefault(call.target, set()).add(call.content)
                if call.target == str(self._run.history_file):
                    self._shown = call.content.count(b'"epoch":')
            for names in disk.after_power_loss(self._counts):
                self.states += 1
                told = self._judge(names)
                where = f"after call {number} ({call.kind} {os.path.basename(call.target or call.path)})"
                self.problems += [f"{where}: {problem}" for problem in told if len(self.problems) < 100]

    def _counts(self, path: str) -> bool:
        """The run's own files; what is left of temporary ones is never read."""
        return path.startswith(str(self._run.path) + os.sep) and not os.path.basename(path).startswith(".")

    def _judge(self, names: Names) -> list[str]:
        if str(self._run.config_file) not in names:
            return ["the run is gone and its history was shown"] if self._shown else []
        key = frozenset({("shown", self._shown), *((path, id(content)) for path, content in names.items())})
        if key in self.seen:
            return []
        self.seen[key] = names
        torn = [path for path, content in names.items() if content not in self._whole.get(path, {content})]
        if torn:
            return [f"{os.path.basename(path)} is neither its old nor its new version" for path in torn]
        run = self._lay_out_next(names)
        problems = unreadable(run)
        if not problems and len(committed(run)) < self._shown:
            problems = [f"{self._shown} epochs were shown and {len(committed(run))} are kept"]
        return problems

    def _lay_out_next(self, names: Names) -> RunDir:
        """As :meth:`lay_out`, always in the same place: only what differs from the state before is written."""
        for path in self._laid_out.keys() - names.keys():
            (self._folder / Path(path).relative_to(self._run.path)).unlink()
        changed = {path: content for path, content in names.items() if self._laid_out.get(path) is not content}
        self._laid_out = names
        return self.lay_out(changed, self._folder)

    def lay_out(self, names: Names, place: Path) -> RunDir:
        """The run in a folder of its own."""
        for path, content in names.items():
            target = place / Path(path).relative_to(self._run.path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        return RunDir(place)


def _go_on(workspace: Workspace, replay: Replay, whole: dict[str, str], rng: random.Random, count: int) -> Finding:
    """Some of the states go on as a run would: to the result of an undisturbed one."""
    states = [names for names in replay.seen.values() if any(path.endswith("resume.pt") for path in names)]
    problems = []
    for number, names in enumerate(rng.sample(states, min(count, len(states)))):
        run = replay.lay_out(names, workspace.experiments / "power" / f"seed_42_{number + 2}")
        code = train(workspace, run)
        problems += [f"state {number}: ended with {code}"] if code != DONE else []
        problems += [f"state {number}: its {part} is another one" for part in differing(run, whole)]
    return Finding(
        "R2",
        "a run goes on from what a power loss left, to the result of an undisturbed one",
        f"{min(count, len(states))} of {len(states)} states with a checkpoint, {len(problems)} problems",
        bool(states) and not problems,
        tuple(problems),
    )
