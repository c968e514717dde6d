"""R4: the disk gets full at each file that a training and its surroundings write, and folders that may not be written.

All of it happens on a small file system of its own (tmpfs) where the system allows that: the errors are the kernel's. Elsewhere
the limit on the size of a file stands in for a full disk, and file modes, which root does not mind, for a read-only one.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import resource
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from mammo_core.data.manifest import load_dataset, relink
from mammo_core.errors import MammoError, WriteFailed
from mammo_core.runs import queue
from mammo_core.runs.listing import list_cards
from mammo_core.runs.run_dir import RunDir, list_runs
from mammo_core.settings import Workspace
from mammo_core.storage import leftovers
from mammo_core.workflows.exit_codes import DISK_FULL, DONE
from reliability.findings import Finding
from reliability.private_mounts import make_read_only, mount_small_disk, own_mounts, unmount
from reliability.small_runs import committed, differing, digests, new_run, small_workspace, unreadable
from reliability.traps import on_writing
from several_processes import start

PATIENCE_SECONDS = 1800.0
DISK_BYTES = 96 * 2**20
LEFT_BYTES = 4096
"""What a full disk still has for a checkpoint: its first page can be written, and then no more. For small files it has none."""
LARGE = (".pth", ".pt", ".npy")
EPOCHS = 2

FILES_OF_A_RUN = (
    *("run.log", "status.json", "environment.json", "resume.pt", "best_model.pth", "val_predictions.csv", "val_metrics.json"),
    *("embeddings_val.npy", "train_history.json", "training_log.csv", "train_history.pkl"),
    *("final_model.pth", "summary.json", "loss_curve.png", "recall_curve.png", "seeds_summary.json"),
)
"""In the order in which a run writes them: one run goes on from each full disk to the next."""
QUICK_FILES = ("status.json", "resume.pt", "best_model.pth", "embeddings_val.npy", "train_history.json", "final_model.pth")


@dataclass
class Told:
    """What the process on the small disk found out."""

    way: str
    points: int = 0
    problems: list[str] = field(default_factory=list)


def check(full: bool, seed: int, folder: Path) -> list[Finding]:
    ways = ("mounts", "limits") if full else ("mounts",)
    told = [_tell(folder, way, full) for way in ways]
    return [
        Finding(
            "R4",
            f"disk full, and read-only folders, at each file ({one.way}): a clear sentence, the old version loads, goes on after",
            f"{one.points} points, {len(one.problems)} problems",
            one.points > 0 and not one.problems,
            tuple(one.problems),
        )
        for one in told
    ]


def _tell(folder: Path, way: str, full: bool) -> Told:
    out, place = folder / f"{way}.json", folder / way
    place.mkdir()
    small_workspace(place)
    code, said = start(folder, story, str(place), str(out), way, full).wait(PATIENCE_SECONDS)
    if not out.exists():
        return Told(way, problems=[f"the process ended with {code}: {said[-1500:]}"])
    return Told(**json.loads(out.read_text()))


# ---- in the process of its own --------------------------------------------------------------------------------------------


class Disk:
    """A disk that can be filled up, by a file or by a limit on the size of files."""

    def __init__(self, folder: Path, is_mounted: bool) -> None:
        self._ballast = folder / "ballast"
        self._is_mounted = is_mounted
        self._limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(self, left: int) -> None:
        if not self._is_mounted:
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, self._limits[1]))
            return
        ballast = os.open(self._ballast, os.O_WRONLY | os.O_CREAT)  # no event of Python's files, else the trap would catch it
        with contextlib.suppress(OSError):
            while os.write(ballast, bytes(2**20)):
                pass
        os.ftruncate(ballast, max(0, os.fstat(ballast).st_size - left))
        os.close(ballast)

    def empty(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, self._limits)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._ballast)


class Story:
    """Fills the disk at one file after another, and notes what came of it."""

    def __init__(self, workspace: Workspace, disk: Disk, told: Told) -> None:
        self.workspace, self.disk, self.told = workspace, disk, told
        self._armed = ""
        self._said: list[str] = []
        handler = logging.Handler(logging.WARNING)
        handler.emit = lambda record: self._said.append(record.getMessage())  # type: ignore[method-assign]
        logging.getLogger("mammo_core").addHandler(handler)
        on_writing(workspace.home, self._fill_at)

    def _fill_at(self, event: str, name: str) -> None:
        if event == "open" and self._armed and self._armed in name:
            self.disk.fill(LEFT_BYTES if self._armed.endswith(LARGE) else 0)
            self._armed = ""

    @contextlib.contextmanager
    def full_at(self, name: str) -> Iterator[None]:
        """The disk is full from the moment at which a file with ``name`` in its own is opened for writing."""
        self._armed, self._said[:] = name, []
        self.told.points += 1
        try:
            yield
        finally:
            if self._armed:
                self.problem(name, "was never written, so the disk was never full")
            self._armed = ""
            self.disk.empty()

    def problem(self, name: str, what: str) -> None:
        self.told.problems.append(f"{name}: {what}")

    def judge(self, name: str, sentence: str, words: str = "No space was left") -> None:
        """A sentence for people: one line, in words, without a place of the machine."""
        if words not in sentence or "\n" in sentence or str(self.workspace.home) in sentence or "Errno" in sentence:
            self.problem(name, f"was told as: {sentence[:300]!r}")

    def refused(self, name: str, do: Callable[[], object], words: str = "No space was left") -> None:
        """Whether the work ends with such a sentence."""
        try:
            do()
        except WriteFailed as error:
            self.judge(name, str(error), words)
        except (MammoError, OSError, RuntimeError) as error:
            self.problem(name, f"ended with {type(error).__name__}: {error}")
        else:
            self.problem(name, "was said to be written on a full disk")

    def train(self, run: RunDir) -> int:
        from mammo_core.workflows.train_run import train

        return train(self.workspace, run)

    def train_refused(self, name: str, run: RunDir, words: str = "No space was left") -> None:
        """A training that ends for want of space, with what was kept before it still there."""
        before = committed(run)
        code = self.train(run)
        if code != DISK_FULL:
            self.problem(name, f"ended the training with exit code {code}: {self._said[-1:]}")
        else:
            self.judge(name, self._said[-1] if self._said else "", words)
            if name in FILES_OF_A_RUN[1:] and name not in self._said[-1]:
                self.problem(name, f"is not what the sentence names: {self._said[-1]!r}")
        for problem in unreadable(run):
            self.problem(name, problem)
        if committed(run)[: len(before)] != before:
            self.problem(name, "cost a committed epoch")
        for path in leftovers(run.path, 0.0):
            self.problem(name, f"{path.name} was left behind, which takes the room that is wanted")


def story(place: str, out: str, way: str, full: bool) -> None:
    """To be started: the small disk and everything that happens on it."""
    home, told = Path(place) / "runs", Told(way)
    if way == "mounts" and own_mounts():
        disk = Path(place) / "disk"
        disk.mkdir()
        if mount_small_disk(disk, DISK_BYTES):
            home = Path(shutil.copytree(home, disk / "runs"))
            told.way = "tmpfs and read-only mounts"
    if told.way == way:
        told.way = "limits on the size of files, and file modes"
    workspace = Workspace(home)
    relink(load_dataset(workspace, "demo"), home / "phantoms" / "demo")
    tale = Story(workspace, Disk(home.parent, "tmpfs" in told.way), told)
    whole = _whole(tale)
    _a_run(tale, FILES_OF_A_RUN if full else QUICK_FILES, whole)
    _films(tale, whole)
    _requests_and_launches(tale)
    _a_report(tale, full)
    if "read-only" in told.way or os.geteuid() != 0:
        _read_only(tale, whole)
    Path(out).write_text(json.dumps(asdict(told)))


def _whole(tale: Story) -> dict[str, str]:
    run = new_run(tale.workspace, "whole", epochs=EPOCHS)
    if tale.train(run) != DONE:
        raise RuntimeError(f"the undisturbed training failed: {tale._said}")
    return digests(run)


def _a_run(tale: Story, names: tuple[str, ...], whole: dict[str, str]) -> None:
    """One run that meets a full disk at each of its files in turn, and goes on each time when there is room again."""
    run = new_run(tale.workspace, "full", epochs=EPOCHS)
    for name in names:
        with tale.full_at(name):
            tale.train_refused(name, run)
    _ends_alike(tale, "the run after all its full disks", run, whole)


def _ends_alike(tale: Story, name: str, run: RunDir, whole: dict[str, str]) -> None:
    code = tale.train(run)
    if code != DONE:
        tale.problem(name, f"ended with exit code {code}: {tale._said[-1:]}")
        return
    for part in differing(run, whole):
        tale.problem(name, f"its {part} is not that of an undisturbed run")


def _films(tale: Story, whole: dict[str, str]) -> None:
    """The cache of films: a film, and the table of what was seen."""
    run = new_run(tale.workspace, "films", epochs=EPOCHS)
    shutil.rmtree(tale.workspace.cache)
    for name in (".part", "files.tsv"):
        with tale.full_at(name):
            tale.train_refused(name, run)
    _ends_alike(tale, "the run after a full cache", run, whole)


def _requests_and_launches(tale: Story) -> None:
    workspace = tale.workspace
    request = queue.enqueue(workspace, "audit", {"dataset": "demo"}, "Audit")
    with tale.full_at(".json"):
        tale.refused("a new request", lambda: queue.enqueue(workspace, "audit", {}, "Audit again"))
    with tale.full_at(request.id):
        tale.refused("a changed request", lambda: queue.update(workspace, request.id, state="running", message="x" * 10_000))
    if [(one.id, one.state) for one in queue.list_requests(workspace)] != [(request.id, "waiting")]:
        tale.problem("the queue", "does not hold what it held before the disk was full")
    runs = list_runs(workspace)
    for name in ("split.csv", "config.yaml"):
        with tale.full_at(name):
            tale.refused(name, lambda: new_run(workspace, "launched"))
    if list_runs(workspace) != runs:
        tale.problem("a launch", "that found no room is listed as a run")


def _a_report(tale: Story, full: bool) -> None:
    from mammo_core.report.report_pack import PackOptions, write_pack

    run, options = RunDir(tale.workspace.experiments / "whole" / "seed_42"), PackOptions(["png"])
    for name in (".png", "report_pack.zip") if full else (".png",):
        with tale.full_at(name):
            tale.refused(f"report {name}", lambda: write_pack([run], tale.workspace.reports / "pack", options))


def _read_only(tale: Story, whole: dict[str, str]) -> None:
    """A run's folder, and the whole workspace, that may not be written: said in words, still readable, and it goes on after."""
    run = new_run(tale.workspace, "read_only", epochs=EPOCHS)
    with tale.full_at("final_model.pth"):
        tale.train_refused("final_model.pth", run)
    for name, folder in (("a read-only run", run.path), ("a read-only workspace", tale.workspace.home)):
        with _unwritable(tale, folder):
            tale.told.points += 1
            tale._said.clear()
            tale.train_refused(name, run, "could not be written")
            states = {card.run.name: (card.state, card.problem) for card in list_cards(tale.workspace) if card.run == run}
            if any(problem for _, problem in states.values()) or not states:
                tale.problem(name, f"is listed as {states}")
    _ends_alike(tale, "the run after its folder was read-only", run, whole)


@contextlib.contextmanager
def _unwritable(tale: Story, folder: Path) -> Iterator[None]:
    if "read-only" in tale.told.way:
        if not make_read_only(folder):
            raise RuntimeError("the folder cannot be mounted read-only")
        try:
            yield
        finally:
            unmount(folder)
        return
    modes: dict[Path, int] = {path: path.stat().st_mode for path in (folder, *folder.rglob("*")) if path.is_dir()}
    for path in modes:
        path.chmod(0o555)
    try:
        yield
    finally:
        for path, mode in modes.items():
            path.chmod(mode)
