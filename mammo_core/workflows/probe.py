"""How long a training's steps take and how much memory they need on this machine, measured once for each setting.

A child process measures for about ten seconds (:mod:`mammo_core.workflows.probe_child`); nothing here loads torch. The result
lies in the workspace's cache under what it depends on, so no setting is measured twice.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pydantic
from pydantic import BaseModel, ConfigDict, Field

from mammo_core.config import TrainConfig
from mammo_core.errors import ConfigError, CorruptRunFile, MammoError, OutOfMemory
from mammo_core.reading import read_json
from mammo_core.settings import Workspace, physical_cores
from mammo_core.storage import write_json
from mammo_core.workflows.child_processes import KILLED, start_child
from mammo_core.workflows.slots import graphics_cards, slots_of

TIMEOUT_SECONDS = 180.0
"""For slow settings one step may take a minute; beyond this nothing is waited for."""
LOOK_SECONDS = 0.5
BUSY_PERCENT = 30.0
"""Of all cores: with more work than this beside it, a step takes visibly longer."""
PROBE_VERSION = 1
"""Raised when what is measured changes."""
FOLDER = "probes"
COSTLY = (
    *("arch", "image_size", "augment", "optimizer", "loss", "device", "threads"),
    *("precision", "micro_batch", "graphs", "deterministic"),
)
"""Settings of which the time or memory of a step depends; some more are only on or off."""

FREE = frozenset({"dataset", "split", "experiment", "fold", "view", "embeddings", "init_from"})
"""Settings that cost nothing at a step."""


class Probe(BaseModel):
    """What one setting took on this machine."""

    model_config = ConfigDict(extra="ignore")

    step_seconds: float = Field(gt=0)
    """One optimiser step of ``batch_size`` films, loading and augmentation included."""
    evaluation_seconds: float = Field(gt=0)
    """One evaluation batch, of twice as many films."""
    checkpoint_seconds: float = Field(ge=0)
    start_seconds: float = Field(ge=0)
    """From the start of the process to the first step."""
    memory_bytes: int = Field(gt=0)
    """Most that the process held at once."""
    gpu_bytes: int | None = None
    """Most that was reserved on the graphics card, without films that stay there."""
    batch_size: int = Field(ge=1)
    micro_batch: int
    precision: str
    graphs: str
    threads: int
    device: str
    steps: int
    """How many steps were measured."""
    rough: bool = False
    """Whether a step took so long that there was only one."""
    beside: bool = False
    """Whether a training ran at the same time, which makes every time too long."""
    busy: bool = False
    """Whether other programs worked the processor just before."""
    measured_at: float = 0.0

    @property
    def is_disturbed(self) -> bool:
        """Whether measuring again may give other times."""
        return self.beside or self.busy


@dataclass(frozen=True)
class Question:
    """What is to be measured: a setting, and how many films it trains on."""

    config: TrainConfig
    films: int
    width: int = 0
    """Features of an embedding that join each film's."""

    @property
    def effective(self) -> TrainConfig:
        """The setting of which the time depends: films, run and seed left out, and no batch larger than all films."""
        free = {item.name: item.default for item in dataclasses.fields(TrainConfig) if item.name in FREE}
        return self.config.replace(batch_size=max(1, min(self.config.batch_size, self.films)), **free)

    @property
    def key(self) -> str:
        """Stands for everything on which the answer depends, 64 hexadecimal digits."""
        config = self.effective.to_dict()
        cards = graphics_cards()
        parts = {
            **{name: config[name] for name in COSTLY},
            "batch_size": config["batch_size"],
            "classes": len(config["class_names"]),
            "weighted": config["class_weights"] != "none",
            **{name: bool(config[name]) for name in ("mixup", "dropout", "label_smoothing")},
            "average": config["ema_decay"] is not None,
            **({"embedded": self.width} if self.width else {}),
            # How long a run is decides on a graphics card whether kernels are fused.
            "length": [self.films, config["epochs"]] if cards else None,
            "machine": [platform.node(), platform.machine(), physical_cores(), cards],
            "packages": [_version(name) for name in ("torch", "timm")],
            "version": PROBE_VERSION,
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@functools.cache  # a page asks several times each time it is drawn, and the answer is read from a file
def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


# ---- measuring --------------------------------------------------------------------------------------------------------


def kept_probe(workspace: Workspace, question: Question) -> Probe | None:
    """What was measured before, or ``None``."""
    try:
        return Probe.model_validate(read_json(_file(workspace, question)))
    except (FileNotFoundError, CorruptRunFile, pydantic.ValidationError):
        return None


def probe(workspace: Workspace, question: Question, timeout: float = TIMEOUT_SECONDS) -> Probe:
    """Measure in a child process, keep the result in the workspace's cache, and return it.

    Raises
    ------
    OutOfMemory
        Not even one film fits.
    ConfigError
        The model cannot be built or cannot work on these films.
    MammoError
        The child took too long, or ended without a word.
    """
    folder = workspace.cache / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    workspace.queue.mkdir(parents=True, exist_ok=True)  # where the output of child processes goes
    _remove_leftovers(folder)
    slots = slots_of(workspace)
    beside, busy = slots.taken > 0, _is_busy()
    with tempfile.TemporaryDirectory(prefix="now_", dir=folder) as place:
        asked = {"config": question.effective.to_dict(), "films": question.films, "width": question.width}
        write_json(Path(place) / "question.json", asked)
        code = _run(workspace, [sys.executable, "-m", "mammo_core.workflows.probe_child", place], timeout)
        try:
            answer = read_json(Path(place) / "answer.json")
        except (FileNotFoundError, CorruptRunFile) as error:
            raise MammoError(_ended(code)) from error
    if "problem" in answer:
        raise _as_error(answer)
    beside = beside or slots.taken > 0
    measured = Probe.model_validate({**answer, "beside": beside, "busy": busy and not beside, "measured_at": time.time()})
    keep_probe(workspace, question, measured)
    return measured


def keep_probe(workspace: Workspace, question: Question, measured: Probe) -> None:
    """Put a result where :func:`kept_probe` finds it."""
    file = _file(workspace, question)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, measured.model_dump(mode="json"))


def _run(workspace: Workspace, command: list[str], timeout: float) -> int:
    child = start_child(command, workspace)
    try:
        return child.wait(timeout)
    except subprocess.TimeoutExpired as error:
        raise MammoError(
            f"One training step took more than {timeout:.0f} seconds, so nothing could be measured. Choose a smaller image_size, "
            "arch or batch_size, or train for one epoch to see how long it takes."
        ) from error
    finally:
        child.kill()
        child.wait()


def _ended(code: int) -> str:
    if code == -KILLED:
        return (
            "Time and memory could not be measured: the process that measured was ended by signal 9, most often because memory "
            "ran out. Lower image_size or batch_size, or close other programs, then measure again."
        )
    return f"Time and memory could not be measured: the process ended with code {code}. The log in the queue folder says more."


def _is_busy() -> bool:
    """Whether the processor has much to do before anything is measured."""
    import psutil  # only here: the first page must not wait for it

    return float(psutil.cpu_percent(LOOK_SECONDS)) > BUSY_PERCENT


def _remove_leftovers(folder: Path) -> None:
    """Forget questions of a server that was ended while it measured."""
    for place in folder.glob("now_*"):
        with suppress(OSError):  # another server may be removing it too
            if time.time() - place.stat().st_mtime > 2 * TIMEOUT_SECONDS:
                shutil.rmtree(place)


def _as_error(answer: Mapping[str, Any]) -> MammoError:
    kinds: dict[str, type[MammoError]] = {kind.__name__: kind for kind in (OutOfMemory, ConfigError)}
    return kinds.get(str(answer.get("kind")), MammoError)(str(answer["problem"]))


def _file(workspace: Workspace, question: Question) -> Path:
    return workspace.cache / FOLDER / f"{question.key}.json"


# ---- measuring while a page goes on -----------------------------------------------------------------------------------


@dataclass
class _Work:
    thread: threading.Thread | None = None
    problem: MammoError | None = None


_works: dict[tuple[str, str], _Work] = {}
_works_lock = threading.Lock()
_one_at_a_time = threading.Lock()
"""Two probes at once would measure each other."""


def start_probe(workspace: Workspace, question: Question) -> None:
    """Begin to measure unless that is under way; :func:`is_probing` says whether it still is."""
    place = (str(workspace.home), question.key)

    def work() -> None:
        try:
            with _one_at_a_time:
                probe(workspace, question)
        except MammoError as error:
            mine.problem = error
        except OSError as error:
            mine.problem = MammoError(f"Time and memory could not be measured ({error.strerror}). Try again.")

    with _works_lock:
        if is_probing(workspace, question):
            return
        mine = _works[place] = _Work()
        mine.thread = threading.Thread(target=work, name="mammotrace-probe", daemon=True)
        mine.thread.start()


def is_probing(workspace: Workspace, question: Question) -> bool:
    """Whether this server measures that setting now."""
    work = _works.get((str(workspace.home), question.key))
    return work is not None and work.thread is not None and work.thread.is_alive()


def probe_problem(workspace: Workspace, question: Question) -> MammoError | None:
    """Why the last measuring of that setting in this server failed. Not kept longer: what is free may change."""
    work = _works.get((str(workspace.home), question.key))
    return work.problem if work is not None else None
