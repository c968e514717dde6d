"""Damaged films through the upload of the Predict page and through the import of a folder (goal R7).

Every film is read by the app's own sandbox, in a process of its own that must outlive all of them. Each is decoded or refused
with one readable sentence, in time and memory.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from make_models import write_model_run
from mammo_core.data.adapters import understand
from mammo_core.data.manifest import AUDIT_FILE, KEY_FILE, PATHS_FILE, load_dataset
from mammo_core.errors import MammoError
from mammo_core.predict.predictor import Prediction, Predictor, predict_each
from mammo_core.settings import open_workspace
from mammo_core.workflows.ingest import import_dataset
from mammo_core.workflows.uploads import Upload, on_disk, told_by_name
from reliability.apart import Journal, Report, run_apart
from reliability.film_bytes import LARGE, damaged, made_films, sound_films
from reliability.findings import Finding
from reliability.sentences import SECRETS, faults_of

QUICK, FULL = 500, 50_000
UPLOADS_AT_ONCE = 60
FOLDER_SIZE = 2_500
"""Films of one import."""
MOST_SECONDS = 10.0
MOST_BYTES = 1.5 * 2**30
PER_FILM_SECONDS = 1.0
"""Allowed on average before the whole is given up."""
Case = tuple[str, bytes]


def check(full: bool, seed: int, folder: Path, count: int | None = None) -> list[Finding]:
    """What became of 500 (``full``: 50,000) damaged films; ``count`` sets another number."""
    number = count or (FULL if full else QUICK)
    arguments = {"count": number, "seed": seed, "folder": str(folder)}
    report = run_apart("reliability.fuzz_films", "work", arguments, folder / "films.journal", 1800 + PER_FILM_SECONDS * number)
    return [_alive(report, number), _sentences(report), _limits(report)]


def work(journal: Journal, count: int, seed: int, folder: str) -> None:
    """Half of the films go through an upload, half through an import; the films made by hand through both."""
    watch = _Memory()
    cases = list(_cases(count, seed))
    large = LARGE if count > QUICK else LARGE[:1]
    made = [*made_films(large).items()]
    half = len(cases) // 2
    _upload(journal, [*made, *cases[:half]], Path(folder))
    again = made if count > QUICK else [case for case in made if "bomb" not in case[0]]
    for part, chosen in enumerate(_parts([*again, *cases[half:]], FOLDER_SIZE)):
        _import(journal, list(chosen), Path(folder) / f"part_{part}")
    journal.tell("end", peak=watch.end())


class _Memory(threading.Thread):
    """Looks ten times a second at the most memory that any child has had. ``getrusage`` would count what this process had when it
    started them."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._largest, self._over = 0, threading.Event()
        self.start()

    def run(self) -> None:
        while not self._over.wait(0.1):
            for listing in Path("/proc/self/task").glob("*/children"):
                with contextlib.suppress(OSError):
                    for pid in listing.read_text().split():
                        if b"decode_worker" not in Path(f"/proc/{pid}/cmdline").read_bytes():
                            continue  # just started, it still shares this process's memory
                        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
                        self._largest = max(self._largest, int(found[1]) * 1024 if found else 0)

    def end(self) -> int:
        """Bytes."""
        self._over.set()
        self.join()
        return self._largest


def _cases(count: int, seed: int) -> Iterator[Case]:
    films = sound_films()
    for number in range(count):
        yield damaged(np.random.default_rng([seed, number]), films)


def _parts(cases: Sequence[Case], size: int) -> Iterator[Sequence[Case]]:
    return (cases[start : start + size] for start in range(0, len(cases), size))


# ---- the two ways in -----------------------------------------------------------------------------------------------------------


def _upload(journal: Journal, cases: Sequence[Case], folder: Path) -> None:
    """As the Predict page does it: bytes on disk under a name that says nothing, read in a child, judged, erased."""
    workspace = open_workspace(folder / "upload")
    predictor = Predictor.load(workspace, [write_model_run(workspace)], "cpu")
    for chosen in _parts(cases, UPLOADS_AT_ONCE):
        journal.tell("uploading", films=[name for name, _ in chosen])
        uploads = [Upload(f"film {number}.dcm", content) for number, (_, content) in enumerate(chosen)]
        since = time.monotonic()
        with on_disk(workspace, uploads) as paths:
            for (name, _), upload, (path, film, result) in zip(chosen, uploads, predict_each(predictor, paths), strict=True):
                seconds, since = _quiet(time.monotonic() - since), time.monotonic()
                read = [] if film is None else [*film.facts.warnings, *film.facts.steps]
                said = [] if isinstance(result, Prediction) else [told_by_name(str(result), path, upload)]
                told = [f"{name}: {fault}: {text!r}" for text in (*read, *said) for fault in faults_of(text, [str(folder)])]
                journal.tell("film", by="upload", name=name, seconds=seconds, read=film is not None, told=told, said=_kind(said))
    left = [path.name for path in (workspace.cache / "uploads").rglob("*")]
    journal.tell("left", told=[f"{name} lies in the folder of uploads afterwards" for name in left])


def _import(journal: Journal, cases: Sequence[Case], folder: Path) -> None:
    """A folder with a film in each, named after a patient, imported with classes by folder."""
    names = {}
    for number, (name, content) in enumerate(cases):
        file = folder / "films" / "AB"[number % 2] / f"zanzibara_19470923_{number}.dcm"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        names[file.relative_to(folder / "films").as_posix()] = name
    workspace = open_workspace(folder / "home")
    since = [time.monotonic()]
    slowest = [0.0, 0.0]

    def progress(done: int, total: int, what: str) -> None:
        slowest[:] = max(slowest, [_quiet(time.monotonic() - since[0]), float(done)])
        since[0] = time.monotonic()
        if done % 50 == 0:
            journal.tell("importing", done=done, total=total, step=what)

    try:
        plan = understand(folder / "films")
        dataset = import_dataset(workspace, plan, "damaged", progress, readers=1)
    except MammoError as error:
        journal.tell("left", told=[f"The import as a whole was refused: {error}"])
        return
    journal.tell("slowest", seconds=slowest[0], name=f"film {slowest[1]:.0f} of an import")
    _look_at_import(journal, dataset.directory, names, [str(folder)])
    load_dataset(workspace, "damaged").manifest()


def _quiet(seconds: float) -> float:
    """What would have taken so long with a core to itself."""
    return seconds / max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def _look_at_import(journal: Journal, directory: Path, names: dict[str, str], places: list[str]) -> None:
    dataset_audit = json.loads((directory / AUDIT_FILE).read_text(encoding="utf-8"))
    refused = dataset_audit["unreadable"]
    told = [f"{item['image_id']}: {fault}: {item['reason']!r}" for item in refused for fault in faults_of(item["reason"], places)]
    for path in directory.rglob("*"):
        if path.is_file() and path.name not in (PATHS_FILE, KEY_FILE, "dataset.json"):
            text = path.read_bytes().lower()
            told += [f"{path.name} holds {secret!r}" for secret in SECRETS if secret.encode() in text]
    for item in refused:
        journal.tell("film", by="import", name="", seconds=0.0, read=False, told=[], said=_kind([item["reason"]]))
    for _ in range(len(names) - len(refused)):
        journal.tell("film", by="import", name="", seconds=0.0, read=True, told=[], said="")
    journal.tell("left", told=told)


def _kind(said: Sequence[str]) -> str:
    """A refusal without names and numbers, for counting."""
    text = said[0].partition(": ")[2] if said else ""
    return "".join("#" if sign.isdigit() else sign for sign in text)[:70]


# ---- findings ------------------------------------------------------------------------------------------------------------------


def _alive(report: Report, asked: int) -> Finding:
    films = report.of("film")
    read = sum(film["read"] for film in films)
    crashed = sum("decoder crashed" in film["said"] for film in films)
    ways = Counter(film["by"] for film in films)
    found = (
        f"{len(films)} films ({ways['upload']} uploaded, {ways['import']} imported), {read} decoded, "
        f"{len(films) - read} refused, "
        f"{crashed} of them because a decoder died in its child; {len(report.died)} deaths of the caller, {report.seconds:.0f} s"
    )
    return Finding(
        "R7", "damaged films never end the process that asked", found, not report.died and len(films) >= asked, tuple(report.died)
    )


def _sentences(report: Report) -> Finding:
    problems = [fault for line in (*report.of("film"), *report.of("left")) for fault in line["told"]]
    kinds = Counter(film["said"] for film in report.of("film") if film["said"])
    found = f"{len(kinds)} kinds of refusal, {len(problems)} sentences at fault"
    return Finding(
        "R7", "each is decoded or refused in one sentence without place or patient", found, not problems, tuple(problems)
    )


def _limits(report: Report) -> Finding:
    timed = [*report.of("film"), *report.of("slowest")]
    slow = sorted(((line["seconds"], line["name"]) for line in timed), reverse=True)
    ended = report.of("end")
    peak = ended[-1]["peak"] if ended else float("inf")
    problems = [f"{name} took {seconds:.1f} s" for seconds, name in slow if seconds > MOST_SECONDS]
    problems += [f"a child took {peak / 2**20:.0f} MB"] if peak > MOST_BYTES else []
    slowest = f"{slow[0][0]:.1f} s ({slow[0][1]})" if slow else "nothing was read"
    found = f"slowest {slowest}, largest child {peak / 2**20:.0f} MB"
    return Finding(
        "R7", f"at most {MOST_SECONDS:.0f} s and {MOST_BYTES / 2**30:g} GB for one film", found, not problems, tuple(problems)
    )
