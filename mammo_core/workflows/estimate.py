"""From what a step takes to what a launch takes: seconds an epoch, a run and all runs, and memory; in numbers and in words."""

from __future__ import annotations

import heapq
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mammo_core.data.cache import FilmCache
from mammo_core.data.manifest import load_dataset
from mammo_core.data.splits import resolve_split
from mammo_core.errors import FilmUnreadable
from mammo_core.runs.queue import TRAINING_KINDS, list_requests
from mammo_core.settings import Workspace
from mammo_core.workflows.launch import PlannedRun
from mammo_core.workflows.probe import Probe, Question
from mammo_core.workflows.queue_view import finish_clock
from mammo_core.workflows.slots import slots_of

EVAL_BATCH_FACTOR = 2
"""As in :mod:`mammo_core.training.inference`, which loads torch."""
FINISH_SECONDS = 5.0
"""Intervals, summary and figures after the last epoch."""
MEMORY_MARGIN = 1.18
"""Whole runs at 112 and 512 px needed 10 to 18 % more than their first steps (memory is cut up over time, figures are made)."""
LOOKED_AT = 8
"""Films of which it is looked up whether they are prepared already."""


@dataclass(frozen=True)
class Workload:
    """The films and the planned epochs of one run."""

    train: int
    validation: int
    epochs: int


@dataclass(frozen=True)
class Estimate:
    """What a launch takes."""

    epoch_seconds: float
    """Of the run with the longest epochs."""
    run_seconds: float
    """Of the longest run."""
    total_seconds: float
    """From the start of the first run to the end of the last."""
    memory_bytes: int
    gpu_bytes: int | None
    runs: int
    at_most: bool
    """Whether early stopping may end the runs sooner."""
    rough: bool
    beside: bool
    """Whether another training ran while it was measured."""
    busy: bool
    """Whether other programs were at work then."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def question_of(planned: Sequence[PlannedRun]) -> Question:
    """What must be measured for these runs: the setting on which all of them agree."""
    embeddings = planned[0].embeddings
    return Question(
        planned[0].config, max(work.train for work in workloads(planned)), 0 if embeddings is None else embeddings.features
    )


def workloads(planned: Sequence[PlannedRun]) -> list[Workload]:
    """The films and epochs of each run."""
    found: dict[tuple[str, int | None], Workload] = {}
    for item in planned:
        place = (item.config.split, item.config.fold)
        if place not in found:
            counts = resolve_split(item.split, item.config.fold).record.class_counts
            films = {part: sum(number["films"] for number in counts.get(part, {}).values()) for part in ("train", "val")}
            found[place] = Workload(films["train"], films["val"], item.config.epochs)
    return [found[item.config.split, item.config.fold] for item in planned]


def epoch_seconds(probe: Probe, work: Workload) -> float:
    """Training steps, validation, the losses of a part of the training films, and a checkpoint.

    On a graphics card every batch has the same size; elsewhere a batch takes as long as it has films.
    """
    whole = probe.device not in ("cpu", "mps")

    def batches(films: int, size: int) -> float:
        return math.ceil(films / size) if whole else films / size

    evaluated = EVAL_BATCH_FACTOR * probe.batch_size
    passes = batches(work.validation, evaluated) + batches(min(work.train, work.validation), evaluated)
    steps = batches(work.train, probe.batch_size)
    return steps * probe.step_seconds + passes * probe.evaluation_seconds + probe.checkpoint_seconds


def estimate(
    probe: Probe, works: Sequence[Workload], image_size: tuple[int, int], early_stopping: bool, at_once: int = 1
) -> Estimate:
    """Put together what ``works`` take.

    Parameters
    ----------
    at_once : runs that train beside each other, one a graphics card; each begins where the first of them is free
    image_size : height and width, pixels; films may lie on the graphics card as one byte a pixel
    early_stopping : whether runs may end before their planned epochs
    """
    epochs = [epoch_seconds(probe, work) for work in works]
    runs = [work.epochs * seconds + probe.start_seconds + FINISH_SECONDS for work, seconds in zip(works, epochs, strict=True)]
    kept = max(work.train + min(work.train, work.validation) + work.validation for work in works) * math.prod(image_size)
    return Estimate(
        epoch_seconds=max(epochs),
        run_seconds=max(runs),
        total_seconds=_last_end(runs, at_once),
        memory_bytes=round(MEMORY_MARGIN * probe.memory_bytes),
        gpu_bytes=None if probe.gpu_bytes is None else probe.gpu_bytes + kept,
        runs=len(works),
        at_most=early_stopping,
        rough=probe.rough,
        beside=probe.beside,
        busy=probe.busy,
    )


def _last_end(seconds: Sequence[float], at_once: int) -> float:
    free = [0.0] * at_once
    for run in seconds:
        heapq.heapreplace(free, free[0] + run)
    return max(free)


def estimate_launch(probe: Probe, planned: Sequence[PlannedRun], at_once: int = 1) -> Estimate:
    """What these runs take, by what was measured for :func:`question_of` them; ``at_once`` train beside each other."""
    config = planned[0].config
    return estimate(probe, workloads(planned), config.image_size, config.early_stopping_patience is not None, at_once)


# ---- what else takes time ---------------------------------------------------------------------------------------------


def films_to_read(workspace: Workspace, planned: PlannedRun) -> int:
    """About how many films of a run the cache lacks, by looking at eight of them; a missing film is not counted."""
    table = resolve_split(planned.split, planned.config.fold).table
    ids = table.loc[table["split"].isin(("train", "val")), "image_id"].tolist()
    chosen = [ids[place] for place in np.unique(np.linspace(0, len(ids) - 1, LOOKED_AT).astype(int))] if ids else []
    cache, paths = FilmCache(workspace.cache), load_dataset(workspace, planned.config.dataset).film_paths()
    lacking = 0
    for image_id in chosen:
        try:
            lacking += not cache.has(cache.key(paths[image_id], planned.config.image_size))
        except (FilmUnreadable, KeyError):
            continue
    return round(len(ids) * lacking / len(chosen)) if chosen else 0


def free_memory() -> int:
    """Bytes that programs may still take."""
    import psutil  # only here: the first page must not wait for it

    return int(psutil.virtual_memory().available)


def training_now(workspace: Workspace) -> bool:
    """Whether a training is at work, beside which a measured time would be wrong."""
    return slots_of(workspace).taken > 0


def trainings_ahead(workspace: Workspace) -> bool:
    """Whether other trainings come first, so that the end cannot be told."""
    states = ("waiting", "running")
    return training_now(workspace) or any(
        request.kind in TRAINING_KINDS and request.state in states for request in list_requests(workspace)
    )


# ---- in words ---------------------------------------------------------------------------------------------------------


def about(seconds: float) -> str:
    """A length of time in as many digits as an estimate deserves.

    Examples
    --------
    >>> about(44.2), about(130), about(7300)
    ('45 s', '2 min', '2 h')
    """
    if seconds < 90:
        return f"{max(5, round(seconds / 5) * 5)} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f}".removesuffix(".0") + " h" if seconds < 36 * 3600 else f"{seconds / 86400:.1f} days"


def size(count: int) -> str:
    """Bytes as ``1.9 GB`` or ``640 MB``."""
    return f"{count / 2**30:.1f} GB" if count >= 2**30 else f"{round(count / 2**20, -1):.0f} MB"


def estimate_words(made: Estimate, ahead: bool, now: float | None = None) -> str:
    """``about 40 min each, finished around 16:40; 1.9 GB memory``.

    Parameters
    ----------
    ahead : whether other trainings come first
    now : seconds since 1970
    """
    limit = " at most" if made.at_most else ""
    word = "roughly" if made.rough else "about"
    each = " each" if made.runs > 1 else ""
    start = time.time() if now is None else now
    end = "after those in the queue" if ahead else f"finished around {finish_clock(made.total_seconds, start)}"
    if made.at_most and not ahead:
        end = f"finished by about {finish_clock(made.total_seconds, start)}"
    memory = f"{size(made.memory_bytes)} memory" + (f", {size(made.gpu_bytes)} on the graphics card" if made.gpu_bytes else "")
    return f"{word} {about(made.run_seconds)}{each}{limit}, {end}; {memory}"


def estimate_notes(made: Estimate, lacking: int, free: int | None = None) -> list[str]:
    """What to know beside the numbers, each a sentence.

    Parameters
    ----------
    lacking : films that must be read first
    free : bytes of memory that are free now, where known
    """
    notes = [f"One epoch takes {'roughly' if made.rough else 'about'} {about(made.epoch_seconds)}."]
    if made.at_most:
        notes.append("Early stopping may end a run sooner.")
    if lacking:
        notes.append(f"The first run also reads {lacking} films once, which comes on top.")
    if free is not None and made.memory_bytes > free:
        notes.append(f"Only {size(free)} of memory are free now; close other programs before you start.")
    if made.rough:
        notes.append("One step takes more than ten seconds, so only one was measured.")
    if made.beside:
        notes.append("It was measured beside a running training, so the times are too long.")
    if made.busy:
        notes.append("Other programs were at work while it was measured; without them it goes faster.")
    return notes
