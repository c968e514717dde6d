"""Hostile and damaged files through every door that there is (goal R8).

In a process of its own with limits of memory and time. Two canaries: a file that any payload would create, and everything around
the workspace, hashed before and after.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import os
import resource
import shutil
import signal
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mammo_core.data.manifest import load_dataset
from mammo_core.errors import MammoError
from mammo_core.predict.model_record import model_path
from mammo_core.report.tables import FORMULA_STARTS, safe_csv
from mammo_core.runs.importers import import_history
from mammo_core.runs.importers.imported_runs import run_name
from mammo_core.runs.run_dir import experiment_runs, find_run
from mammo_core.storage import check_name, is_allowed_name
from mammo_core.workflows.batch_files import load_batch
from mammo_core.workflows.foreign_preview import lay_out_files, lay_out_folder
from mammo_core.workflows.uploads import Upload, on_disk, stage
from reliability.apart import Journal, Report, run_apart
from reliability.doors import KERAS, Door, House, build_house, doors_of
from reliability.findings import Finding
from reliability.hostile_bytes import (
    NAMES,
    fuzzed,
    hostile_arrays,
    hostile_checkpoints,
    hostile_events,
    hostile_pickles,
    hostile_tables,
    hostile_tensors,
    hostile_texts,
    hostile_zips,
)
from reliability.sentences import faults_of

QUICK, FULL = 500, 20_000
MEMORY_BYTES = 10 * 2**30
"""Address space of the whole; torch alone takes some three of it."""
CASE_SECONDS = 30
SLOW_SECONDS = 12.0
EXTRA_BYTES = 2 * 2**30
"""By which the largest memory may grow over all cases."""
QUICK_DOORS = 2
"""In the quick size a payload goes through about so many of the doors for its kind, the next one through others."""
SLOW_DOORS = ("train_history.pkl",)
"""Each opening starts a process: in the quick size these see only the payloads made for them."""


def check(full: bool, seed: int, folder: Path, count: int | None = None) -> list[Finding]:
    """Every hand-made payload through its doors, then 500 (``full``: 20,000) fuzzed files, then hostile names."""
    number = count or (FULL if full else QUICK)
    arguments = {"count": number, "seed": seed, "folder": str(folder), "full": full or number > QUICK}
    report = run_apart("reliability.hostile_files", "work", arguments, folder / "files.journal", 1800 + 2 * number)
    return [_nothing_ran(report), _nothing_outside(report), _in_words(report, number)]


class TooSlow(BaseException):
    """A file took longer than any may; no code under test catches it."""


def work(journal: Journal, count: int, seed: int, folder: str, full: bool) -> None:
    """What runs apart."""
    base = Path(folder) / "base"
    around, canary = base / "around", base / "ran"
    for place in ("cwd", "user", "tmp", "house"):
        (around / place).mkdir(parents=True)
        (around / place / "sentinel").write_text(place)
    os.environ |= {"HOME": str(around / "user"), "TMPDIR": str(around / "tmp"), "XDG_CACHE_HOME": str(around / "user")}
    tempfile.tempdir = None
    os.chdir(around / "cwd")
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    signal.signal(signal.SIGPROF, _give_up)
    warnings.simplefilter("ignore")
    house = build_house(around / "house")
    watch = _Watch(journal, canary, around, house)
    doors = doors_of(house)
    for door in doors:
        watch.sound(door)
    watch.begin()
    for number, (name, content) in enumerate(_payloads(str(canary))):
        fitting = [door for door in doors if _belongs(name, door, full)]
        for place, door in enumerate(fitting):
            if (
                full
                or len(fitting) <= QUICK_DOORS
                or place % (len(fitting) // QUICK_DOORS) == number % (len(fitting) // QUICK_DOORS)
            ):
                watch.case(door, name, content)
    _chance(watch, doors, count, seed)
    _names(watch, house)
    watch.end()


def _payloads(canary: str) -> Iterator[tuple[str, bytes]]:
    yield from hostile_pickles(canary)
    yield from hostile_checkpoints(canary)
    yield from hostile_arrays(canary)
    yield from hostile_texts(canary)
    yield from hostile_tables()
    yield from hostile_zips(canary)
    yield from hostile_tensors()
    yield from hostile_events()


KINDS = {
    "pickle": ("pkl", ".pth", ".pt", "history", "embeddings"),
    "checkpoint": (".pth", ".pt", "safetensors", "model file"),
    "array": ("embeddings",),
    "JSON": ("json", "request", "record of", "notes", "preset"),
    "YAML": ("yaml", "preset", "setting"),
    "table": ("csv", "split", "log", "table", "xlsx", "history"),
    "zip": ("model", "pack", "archive", "xlsx", "pth", "pt"),
    "safetensors": ("safetensors", "model file"),
    "events": ("tfevents",),
}


def _belongs(name: str, door: Door, full: bool) -> bool:
    """In full every payload goes through every door but the slow ones; quickly only where its kind is expected."""
    words = next((words for kind, words in KINDS.items() if name.startswith(kind)), ("",))
    fits = any(word in door.name for word in words)
    if any(slow in door.name for slow in SLOW_DOORS):
        return name.startswith("pickle")
    return fits or (full and len(name) % 2 == 0)


def _chance(watch: _Watch, doors: list[Door], count: int, seed: int) -> None:
    shares = np.array([door.share for door in doors])
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        door = doors[int(rng.choice(len(doors), p=shares / shares.sum()))]
        sound = door.sound[int(rng.integers(len(door.sound)))]
        watch.case(door, f"fuzzed {number}", fuzzed(rng, sound))


# ---- watching ------------------------------------------------------------------------------------------------------------------


def _give_up(*_: object) -> None:
    raise TooSlow


class _Watch:
    """Opens doors, and tells the journal of everything that is not an answer or one sentence."""

    def __init__(self, journal: Journal, canary: Path, around: Path, house: House) -> None:
        self._journal, self._canary, self._around, self._house = journal, canary, around, house
        self._places = [str(around)]
        self._before: dict[str, str] = {}
        self._inside: dict[str, str] = {}

    def sound(self, door: Door) -> None:
        """A door must let sound files in, else nothing behind it is tested."""
        for content in door.sound:
            try:
                door.open(content)
            except MammoError as error:
                self._journal.tell("sound", door=door.name, fault=str(error))

    def begin(self) -> None:
        self._before, self._inside = self._tree(), self._workspace_files()
        self._journal.tell("begin", peak=_peak())

    def case(self, door: Door, name: str, content: bytes) -> None:
        self._journal.tell("case", door=door.name, name=name)
        self.call(f"{door.name}, {name}", lambda: door.open(content), door.name)

    def call(self, what: str, call: Any, door: str) -> None:
        """One opening: an answer, a refusal in words, or a fault."""
        since, outcome, faults = time.process_time(), "taken", []
        signal.setitimer(signal.ITIMER_PROF, CASE_SECONDS)  # of computing, so that other work on the machine does not count
        try:
            call()
        except MammoError as error:
            outcome = "refused"
            faults = faults_of(str(error), self._places, ())
        except TooSlow:
            outcome, faults = "slow", [f"was not done after {CASE_SECONDS} s: {_where()}"]
        except BaseException as error:  # noqa: BLE001  whatever it is, it is the finding
            outcome, faults = "crash", [f"raised {type(error).__name__}: {str(error)[:200]!r} {_place_of(error)}"]
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        seconds = time.process_time() - since
        if seconds > SLOW_SECONDS and outcome != "slow":
            faults.append(f"took {seconds:.0f} s")
        if self._canary.exists():
            faults.append("RAN the code of the payload")
            shutil.rmtree(self._canary, ignore_errors=True) if self._canary.is_dir() else self._canary.unlink()
        self._journal.tell(
            "done", door=door, outcome=outcome, seconds=round(seconds, 2), faults=[f"{what}: {fault}" for fault in faults]
        )

    def end(self) -> None:
        after, inside = self._tree(), self._workspace_files()
        changed = sorted(name for name in {*self._before, *after} if self._before.get(name) != after.get(name))
        inside_changed = sorted(name for name in {*self._inside, *inside} if self._inside.get(name) != inside.get(name))
        self._journal.tell("end", changed=changed, inside=inside_changed, peak=_peak())

    def _tree(self) -> dict[str, str]:
        """Everything around the workspace, by content."""
        home = str(self._house.workspace.home)
        return _hashes(self._around, lambda path: not str(path).startswith(home))

    def _workspace_files(self) -> dict[str, str]:
        home = self._house.workspace.home
        return _hashes(home, lambda path: "cache" not in path.parts and not path.name.endswith(".lock"))


def _hashes(folder: Path, counts: Any) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file() and counts(path)]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _place_of(error: BaseException) -> str:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "mammo_core" in frame.filename]
    return f"at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""


def _where() -> str:
    return traceback.format_exc().strip().splitlines()[-3].strip()[:200]


# ---- names ---------------------------------------------------------------------------------------------------------------------


def _names(watch: _Watch, house: House) -> None:
    """Hostile names where names are taken."""
    workspace, outside = house.workspace, house.outside
    history = outside / "log.csv"
    history.write_text(KERAS)
    for number, name in enumerate(NAMES):

        def expect_inside(name: str = name, number: int = number) -> None:
            folder = outside / f"names_{number}"
            paths = [
                *lay_out_files(folder / "a", [(name, b"x"), (f"d/{name}", b"y")]),
                lay_out_folder(folder / "b", [(name, b"x")]),
            ]
            strays = [path for path in paths if not path.resolve().is_relative_to(folder)]
            upload = Upload(name, b"x" + name.encode("utf-8", "replace"))
            faults = faults_of(upload.shown_name, (), ())
            with on_disk(workspace, [upload]) as staged:
                strays += [path for path in (*staged, stage(workspace, upload)) if path.parent.parent != workspace.cache]
            stage(workspace, upload).unlink()
            shutil.rmtree(folder)
            if not is_allowed_name(run_name(name)) or strays or faults:
                raise AssertionError(f"{run_name(name)!r}, {strays}, {faults}")

        def expect_refusal(name: str = name) -> None:
            if is_allowed_name(name):
                return
            for call in (check_name, lambda text: model_path(workspace, text), lambda text: load_dataset(workspace, text)):
                with contextlib.suppress(MammoError):
                    call(name)
                    raise AssertionError(f"{name!r} was taken")
            for call in (lambda text: find_run(workspace, text), lambda text: find_run(workspace, f"{text}/{text}")):
                with contextlib.suppress(MammoError):
                    call(name)
            for call in (lambda text: experiment_runs(workspace, text), lambda text: load_batch(workspace, text)):
                with contextlib.suppress(MammoError):
                    call(name)
                    raise AssertionError(f"{name!r} was opened")
            import_history(workspace, history, name)

        watch.call(f"the name {name[:40]!r} laid out", expect_inside, "names")
        watch.call(f"the name {name[:40]!r} asked for", expect_refusal, "names")
    history.unlink()


# ---- findings ------------------------------------------------------------------------------------------------------------------


def _nothing_ran(report: Report) -> Finding:
    done = report.of("done")
    ran = [fault for line in done for fault in line["faults"] if "RAN" in fault]
    doors = Counter(line["door"] for line in done)
    found = (
        f"{len(done)} files and names through {len(doors)} doors, {len(ran)} of them ran code, {len(report.died)} deaths, "
        f"{report.seconds:.0f} s"
    )
    return Finding("R8", "nothing in a file is ever executed", found, not ran and not report.died, (*ran, *report.died))


def _nothing_outside(report: Report) -> Finding:
    ended = report.of("end")
    changed = [f"{name} was written or changed" for line in ended for name in (*line["changed"], *line["inside"])]
    found = f"{len(changed)} files around the workspace or in it changed"
    return Finding(
        "R8", "nothing is written outside, and nothing is left behind", found, bool(ended) and not changed, tuple(changed)
    )


def _in_words(report: Report, asked: int) -> Finding:
    done = report.of("done")
    problems = [fault for line in done for fault in line["faults"] if "RAN" not in fault]
    problems += [f"a sound file is refused at {line['door']}: {line['fault']}" for line in report.of("sound")]
    kinds = Counter(line["outcome"] for line in done)
    grown = report.of("end")[-1]["peak"] - report.of("begin")[-1]["peak"] if report.of("end") else 0
    problems += [f"memory grew by {grown / 2**20:.0f} MB"] if grown > EXTRA_BYTES else []
    found = (
        f"{kinds['taken']} taken, {kinds['refused']} refused in words, {kinds['crash'] + kinds['slow']} uncaught or endless, "
        f"memory grew by {grown / 2**20:.0f} MB"
    )
    return Finding("R8", "each is taken or refused in one sentence", found, not problems and len(done) > asked, tuple(problems))


def formulas_left(table: pd.DataFrame) -> list[str]:
    """Text cells of an exported table that a spreadsheet would run."""
    rows = csv.reader(io.StringIO(safe_csv(table).decode("utf-8"), newline=""))
    return [cell for row in rows for cell in row if cell.startswith(FORMULA_STARTS)]
