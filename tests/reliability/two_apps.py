"""R5: two programs on one workspace at once. One trains a run, one starts a request, one gets a name; no reader sees half.

The programs are processes of their own that begin at the same moment and call the real functions: ``train``, the supervisor of an
app, ``save_split``, ``create_run``, the queue and the writers of small files.
"""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from mammo_core.data.adapters import ImportChoices, understand
from mammo_core.data.manifest import load_dataset
from mammo_core.data.splits import SplitPlan, load_split, save_split, split_dataset
from mammo_core.errors import CorruptRunFile, MammoError
from mammo_core.reading import read_json
from mammo_core.runs import queue
from mammo_core.runs.run_dir import RunDir, list_runs
from mammo_core.runs.schema import Notes
from mammo_core.settings import Workspace
from mammo_core.storage import leftovers, write_json
from mammo_core.workflows.exit_codes import BUSY, DONE
from mammo_core.workflows.supervisor import Supervisor
from reliability.findings import Finding
from reliability.small_runs import new_run, small_workspace, train_here, unreadable
from several_processes import Started, start

PATIENCE_SECONDS = 600.0
HEAD_START_SECONDS = 0.5
"""Until the moment at which both begin: the time that a process takes to be there."""


@dataclass(frozen=True)
class Size:
    """How often each race is run."""

    trainings: int
    requests: int
    names: int
    imports: int
    polls: int


QUICK, FULL = Size(1, 2, 10, 0, 500), Size(100, 50, 500, 20, 10_000)


RACE_EPOCHS = 15
"""The one that comes second waits two seconds for the lock; the training of the first must outlast that."""


@dataclass
class Scene:
    workspace: Workspace
    folder: Path
    rng: random.Random
    races: int = 0
    polls: int = 0
    problems: list[str] = field(default_factory=list)

    def race(self, work: Callable[..., object], *arguments: object) -> list[Started]:
        """The same work in two processes, which begin together."""
        self.races += 1
        begin = time.time() + HEAD_START_SECONDS
        return [start(self.folder, together, begin, number, work, *arguments) for number in (1, 2)]

    def poll(self, readers: dict[str, Callable[[], object]], until: Callable[[], bool], at_least: int = 0) -> None:
        """Read files all the time; each reading gives the old or the new content."""
        polls = 0
        while polls < at_least or not until():
            for name, read in readers.items():
                try:
                    read()
                except FileNotFoundError:
                    pass  # not there yet
                except (CorruptRunFile, ValueError) as error:
                    self.problems.append(f"a reader saw half of {name}: {error}")
                polls += 1
            time.sleep(0.001)
        self.polls += polls

    def ended(self, processes: list[Started]) -> list[int | None]:
        told = [process.wait(PATIENCE_SECONDS) for process in processes]
        self.problems += [f"a process ended with {code}: {said[-400:]}" for code, said in told if code not in (DONE, BUSY)]
        return [code for code, _ in told]


def together(begin: float, number: int, work: Callable[..., object], *arguments: object) -> None:
    """To be started: wait for the moment, then do the work. ``number`` is 1 or 2."""
    while time.time() < begin:
        pass
    work(number, *arguments)


def check(full: bool, seed: int, folder: Path) -> list[Finding]:
    size = FULL if full else QUICK
    scene = Scene(small_workspace(folder), folder, random.Random(seed))
    for _ in range(size.trainings):
        _one_trainer(scene)
    _one_start(scene, size.requests)
    _names(scene, size.names)
    for _ in range(size.imports):
        _imports(scene)
    _small_files(scene, size.names, size.polls)
    return [
        Finding(
            "R5",
            "two programs on one workspace: one trainer a run, one start a request, one winner a name, no torn reading",
            f"{scene.races} races, {scene.polls} readings, {len(scene.problems)} problems",
            scene.races > 0 and not scene.problems,
            tuple(scene.problems),
        )
    ]


# ---- one trainer ----------------------------------------------------------------------------------------------------------


def train_one(number: int, home: str, folder: str) -> None:
    train_here(home, folder)


def _one_trainer(scene: Scene) -> None:
    run = new_run(scene.workspace, "race", epochs=RACE_EPOCHS)
    processes = scene.race(train_one, str(scene.workspace.home), str(run.path))
    readers: dict[str, Callable[[], object]] = {
        "status.json": run.status,
        "train_history.json": run.history,
        "the run": run.state,
    }
    scene.poll(readers, lambda: not any(process.process.is_alive() for process in processes))
    codes = scene.ended(processes)
    begun = run.log_file.read_text().count("INFO Training ")
    if sorted(codes, key=str) != [DONE, BUSY] or begun != 1:
        scene.problems.append(f"{run.id}: exit codes {codes}, {begun} trainings begun")
    scene.problems += [f"{run.id}: {problem}" for problem in unreadable(run)]


# ---- one start of a request -----------------------------------------------------------------------------------------------


def serve(number: int, home: str) -> None:
    """An app without its pages, until it is killed."""
    Supervisor(Workspace(Path(home))).start()
    while True:
        time.sleep(1)


def _one_start(scene: Scene, count: int) -> None:
    """Two apps serve one queue, and one of them is killed while they do."""
    workspace = scene.workspace
    asked = {"source": "/nowhere/at/all", "choices": {}, "name": "x"}  # fails in one sentence, which is work enough
    ids = [queue.enqueue(workspace, "import", asked, f"Import {number}").id for number in range(count)]
    apps = scene.race(serve, str(workspace.home))
    pids: dict[str, set[int]] = {one: set() for one in ids}
    deadline, victim = time.monotonic() + PATIENCE_SECONDS, scene.rng.choice(apps)
    states: Counter[str] = Counter()
    while states["failed"] < count and time.monotonic() < deadline:
        requests = [request for request in queue.list_requests(workspace) if request.id in pids]
        states = Counter(request.state for request in requests)
        for request in requests:
            pids[request.id] |= {request.pid} if request.pid else set()
        if states["failed"] and victim.process.is_alive():
            victim.process.kill()  # the next request is served by the other one, if need be
        scene.polls += 1
        time.sleep(0.01)
    for app in apps:
        app.process.kill()
        app.wait(PATIENCE_SECONDS)
    if states["failed"] < count:
        scene.problems.append(f"of {count} requests {dict(states)} after {PATIENCE_SECONDS:.0f} s")
    scene.problems += [f"request {one} was started as {sorted(found)}" for one, found in pids.items() if len(found) != 1]


# ---- names ------------------------------------------------------------------------------------------------------------------


def save_splits(number: int, home: str, out: str, count: int) -> None:
    """Save splits under the names that the other process uses too; writes down which names it got."""
    workspace = Workspace(Path(home))
    split = split_dataset(load_dataset(workspace, "demo"), SplitPlan(seed=number))
    got = []
    for name in (f"race_{place}" for place in range(count)):
        try:
            save_split(workspace, name, split)
            got.append(name)
        except MammoError as error:
            if "already is a split" not in str(error):
                raise
    Path(f"{out}_{number}").write_text(json.dumps(got))


def create_runs(number: int, home: str, count: int) -> None:
    workspace = Workspace(Path(home))
    for _ in range(count):
        new_run(workspace, "named")


def _names(scene: Scene, count: int) -> None:
    workspace, out = scene.workspace, scene.folder / "got"
    scene.ended(scene.race(save_splits, str(workspace.home), str(out), count))
    got = [name for number in (1, 2) for name in json.loads(Path(f"{out}_{number}").read_text())]
    if sorted(got) != sorted(f"race_{place}" for place in range(count)):
        scene.problems.append(f"{len(got)} of {count} split names were given, {len(set(got))} different ones")
    for name in got:
        load_split(workspace, name)
    processes = scene.race(create_runs, str(workspace.home), count)
    record = workspace.experiments / "named" / "experiment.json"
    readers: dict[str, Callable[[], object]] = {
        "experiment.json": lambda: read_json(record),
        "a new run": lambda: [run.config() for run in list_runs(workspace) if run.experiment == "named"],
    }
    scene.poll(readers, lambda: not any(process.process.is_alive() for process in processes))
    scene.ended(processes)
    runs = [run for run in list_runs(workspace) if run.experiment == "named"]
    if len(runs) != 2 * count:
        scene.problems.append(f"two launches of {count} runs each made {len(runs)} runs")
    scene.problems += [f"{run.id}: {problem}" for run in runs for problem in unreadable(run)]


def import_once(number: int, home: str, films: str, out: str, name: str) -> None:
    from mammo_core.workflows.ingest import import_dataset

    try:
        import_dataset(Workspace(Path(home)), understand(Path(films), ImportChoices(task="density")), name)
        Path(f"{out}_{number}").write_text("won")
    except MammoError as error:
        Path(f"{out}_{number}").write_text(str(error))


def _imports(scene: Scene) -> None:
    name, out = f"imported_{scene.races}", scene.folder / f"import_{scene.races}"
    films = scene.workspace.home / "phantoms" / "demo"
    scene.ended(scene.race(import_once, str(scene.workspace.home), str(films), str(out), name))
    told = sorted(Path(f"{out}_{number}").read_text() for number in (1, 2))
    if told[-1] != "won" or told[0] == "won" or "name" not in told[0] and "data set" not in told[0]:
        scene.problems.append(f"two imports under one name: {told}")
    load_dataset(scene.workspace, name).manifest()


# ---- small files --------------------------------------------------------------------------------------------------------------


def write_small_files(number: int, home: str, folder: str, request_id: str, count: int) -> None:
    """Write files that several programs may write at any time: notes, records, looks at the test part, a request."""
    workspace, run = Workspace(Path(home)), RunDir(Path(folder))
    for place in range(count):
        run.write_notes(Notes(text=f"{number} " * 500))
        write_json(run.path.parent / "experiment.json", {"name": "x" * (100 + 2000 * number)})
        run.count_test_look(number)
        queue.update(workspace, request_id, **{f"by_{number}": place})


def _small_files(scene: Scene, count: int, polls: int) -> None:
    workspace, run = scene.workspace, new_run(scene.workspace, "small")
    run.metrics_file("test").parent.mkdir()
    request = queue.enqueue(workspace, "audit", {}, "Audit")
    queue.cancel(workspace, request.id)
    processes = scene.race(write_small_files, str(workspace.home), str(run.path), request.id, count)
    readers: dict[str, Callable[[], object]] = {
        "notes.json": run.notes,
        "experiment.json": lambda: read_json(run.path.parent / "experiment.json"),
        "test_looks.json": run.test_looks,
        "the request": lambda: read_json(workspace.queue / f"{request.id}.json"),
    }
    scene.poll(readers, lambda: not any(process.process.is_alive() for process in processes), polls)
    scene.ended(processes)
    if len(run.test_looks()) != 2 * count:
        scene.problems.append(f"of {2 * count} looks at the test part {len(run.test_looks())} were counted")
    kept = queue.find_request(workspace, request.id)
    if kept is None or any((kept.model_extra or {}).get(f"by_{number}") != count - 1 for number in (1, 2)):
        scene.problems.append(f"changes of a request were lost: {kept}")
    left = [path.name for folder in (run.path, run.path.parent, workspace.queue) for path in leftovers(folder, 0.0)]
    scene.problems += [f"{name} was left behind" for name in left]
