"""What the steps of a training take on this machine, measured on made films.

Run as ``python -m mammo_core.workflows.probe_child FOLDER``: it reads ``question.json`` there and writes ``answer.json``. A
process of its own, so that a full memory or a model that cannot work ends it and nothing else.
"""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil
import torch

import mammo_core.workflows.train_run  # noqa: F401  the memory is then that of the process that trains
from mammo_core.config import TrainConfig
from mammo_core.errors import ConfigError, MammoError, OutOfMemory, Stopped
from mammo_core.reading import read_json
from mammo_core.report.privacy import without_places
from mammo_core.settings import physical_cores
from mammo_core.storage import write_atomic, write_json
from mammo_core.training.batches import BatchLoader, FilmSet
from mammo_core.training.checkpoint import cpu_copy
from mammo_core.training.engine import Engine
from mammo_core.training.fusion import embedding_width
from mammo_core.training.inference import EVAL_BATCH_FACTOR
from mammo_core.training.models import choose_device, new_model, normalisation_of
from mammo_core.training.planning import COMPILE_SECONDS, COPIES, OVERHEAD, bytes_kept, plan_steps

STEP_SECONDS = 7.0
"""Steps are measured for about so long; evaluation and a checkpoint take the rest of ten seconds."""
SLOW_SECONDS = 10.0
"""A first step longer than this is the only one."""
MAX_STEPS = 12
SETTLED_SECONDS = 1.0
"""A pass shorter than this is made twice, since the first one also makes memory ready."""
LARGE_CANVAS = 1024 * 1024
"""Above this many pixels the need of one film is worked out from a smaller one before it is tried."""


def main(folder: Path) -> None:
    """Answer the question that lies in ``folder``."""
    question = read_json(folder / "question.json")
    try:
        config = TrainConfig.from_dict(question["config"], source="the probe")
        answer = measure(config, int(question["films"]), folder, int(question.get("width", 0)))
    except MammoError as error:
        answer = {"problem": str(error), "kind": type(error).__name__}
    except Exception as error:  # noqa: BLE001  the process's outermost frame: nobody above could report it
        answer = {"problem": _in_words(error, config), "kind": "OutOfMemory" if _is_memory(error) else "ConfigError"}
    write_json(folder / "answer.json", answer)


def measure(config: TrainConfig, films: int, folder: Path, width: int = 0) -> dict[str, Any]:
    """Seconds and bytes of one setting; ``films`` is the number of training films, on which the plan depends, and ``width`` that
    of the embedded features of each.

    Raises
    ------
    OutOfMemory
        Not even one film fits.
    ConfigError
        No such model or device.
    """
    threads = config.threads or physical_cores()
    torch.set_num_threads(threads)
    device = choose_device(config.device)
    if device.type == "cpu":
        _keep_within_free_memory()
    model = new_model(config, width)
    _check_one_film_fits(config, model, device)
    planned = plan_steps(config, model, device, films, config.batch_size, threads)
    # Fusing kernels takes longer than a probe may; a graph without it is an upper bound of the step.
    plan = replace(planned, graphs="graph") if planned.graphs == "compiled" else planned
    at_once = plan.micro_batch if device.type == "cpu" else config.batch_size
    clock = _Clock(device)
    engine = Engine(
        # Made films must not make the loss jump, and Adam's work does not depend on the rate. Where a step is several passes, one
        # of them is enough.
        config.replace(lr=1e-6, min_lr=0.0, num_workers=0, batch_size=at_once),
        model,
        normalisation_of(model),
        _made_films(config, at_once * MAX_STEPS, width),
        _made_films(config, at_once * EVAL_BATCH_FACTOR, width),
        device,
        on_step=clock,
        plan=plan,
    )
    begun = clock.start()
    with suppress(Stopped):
        next(engine.fit())
    scale = config.batch_size / at_once
    evaluation = scale * _evaluation_seconds(engine, config, at_once, clock)
    checkpoint = _checkpoint_seconds(engine, folder)
    used = engine.plan_in_use
    engine.close()
    return {
        "step_seconds": scale * clock.step_seconds,
        "evaluation_seconds": evaluation,
        "checkpoint_seconds": checkpoint,
        "start_seconds": begun - psutil.Process().create_time() + (COMPILE_SECONDS if planned.graphs == "compiled" else 0.0),
        "memory_bytes": _peak_memory(),
        "gpu_bytes": torch.cuda.max_memory_reserved(device) if device.type == "cuda" else None,
        "batch_size": config.batch_size,
        "micro_batch": used.micro_batch,
        "precision": used.precision,
        "graphs": planned.graphs,
        "threads": threads,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "steps": max(1, len(clock.moments) - 2),
        "rough": clock.is_slow,
    }


@dataclass
class _Clock:
    """The moments between steps; ends the training when there are enough of them."""

    device: torch.device
    moments: list[float] = field(default_factory=list)

    def start(self) -> float:
        """Begin; returns the time of day."""
        self.moments = [self._now()]
        return time.time()

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.monotonic()

    def __call__(self, step: int, steps: int) -> None:
        self.moments.append(self._now())
        measured = len(self.moments) - 2  # the first step also makes memory and kernels ready
        enough = measured >= 1 and self.moments[-1] - self.moments[0] >= STEP_SECONDS
        if self.is_slow or enough or step == steps:
            raise Stopped

    @property
    def is_slow(self) -> bool:
        return self.moments[1] - self.moments[0] > SLOW_SECONDS

    @property
    def step_seconds(self) -> float:
        """Mean of the steps after the first one, or the first where there is no other."""
        settled = self.moments[1:] if len(self.moments) > 2 else self.moments
        return (settled[-1] - settled[0]) / (len(settled) - 1)


def _evaluation_seconds(engine: Engine, config: TrainConfig, at_once: int, clock: _Clock) -> float:
    """Of an evaluation batch that goes with ``at_once`` films a step; on slow settings worked out from a part of it."""
    whole = at_once * EVAL_BATCH_FACTOR
    films = max(1, at_once // 4) if clock.is_slow and engine.device.type != "cuda" else whole
    loader = (
        engine.val_loader if films == whole else BatchLoader(_made_films(config, films, embedding_width(engine.model)), whole)
    )
    seconds = _timed(lambda: engine.infer(loader))
    if seconds < SETTLED_SECONDS:
        seconds = _timed(lambda: engine.infer(loader))
    return seconds * whole / films


def _checkpoint_seconds(engine: Engine, folder: Path) -> float:
    """Of what an epoch with a new best leaves on the disk: everything for a resume, and the weights."""

    def write() -> None:
        for name, content in (("resume", engine.state()), ("best", cpu_copy(engine.judged))):
            write_atomic(folder / f"{name}.pt", lambda file, content=content: torch.save(content, file))  # type: ignore[misc]

    return _timed(write)


def _timed(work: Any) -> float:
    started = time.monotonic()
    work()
    return time.monotonic() - started


def _made_films(config: TrainConfig, count: int, width: int) -> FilmSet:
    """Films of noise; every class is among them."""
    noise = np.random.default_rng(0).integers(0, 256, config.image_size, dtype=np.uint8)
    count = max(count, len(config.class_names))
    labels = np.arange(count, dtype=np.int64) % len(config.class_names)
    embeddings = np.zeros((count, width), dtype=np.float32) if width else None
    return FilmSet([f"made{place}" for place in range(count)], labels, _Noise(noise), embeddings)


@dataclass(frozen=True)
class _Noise:
    pixels: npt.NDArray[np.uint8]

    def __call__(self, image_id: str) -> npt.NDArray[np.uint8]:
        return self.pixels.copy()


# ---- memory -----------------------------------------------------------------------------------------------------------


def _check_one_film_fits(config: TrainConfig, model: torch.nn.Module, device: torch.device) -> None:
    height, width = config.image_size
    if device.type != "cpu" or height * width <= LARGE_CANVAS:
        return
    small = max(32, height // 16), max(32, width // 16)
    kept = bytes_kept(model, small) * height * width / (small[0] * small[1])
    weights = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    free = psutil.virtual_memory().available
    needed = COPIES * weights + OVERHEAD * kept
    if needed > free:
        raise OutOfMemory(
            f"Not even one film of {height} x {width} pixels fits into memory: {config.arch} needs about {needed / 2**30:.1f} GB "
            f"for it, and {free / 2**30:.1f} GB are free. Choose a smaller image_size or a smaller arch, or close other programs."
        )
    # How many films fit is found out with two of them, unless it was said.
    if config.micro_batch is None and COPIES * weights + 2 * kept > free:
        raise OutOfMemory(
            f"Only one film of {height} x {width} pixels at a time fits into the {free / 2**30:.1f} GB of memory that are free. "
            "Set micro_batch to 1, choose a smaller image_size or a smaller arch, or close other programs."
        )


def _keep_within_free_memory() -> None:
    """Let an allocation beyond what is free fail here, before the system ends some program for want of memory."""
    if sys.platform != "linux":
        return
    import resource

    used, free = psutil.Process().memory_info().data, psutil.virtual_memory().available
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = used + free
    resource.setrlimit(resource.RLIMIT_DATA, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


def _peak_memory() -> int:
    """Most bytes that this process held at once."""
    if sys.platform == "linux":  # ru_maxrss would begin with what the parent held when it started this process
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS


def _is_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _in_words(error: Exception, config: TrainConfig) -> str:
    size = " x ".join(map(str, config.image_size))
    if _is_memory(error):
        return (
            f"Memory ran out with films of {size} pixels in {config.arch}. Choose a smaller image_size or a smaller arch, set "
            "micro_batch to 1, or close other programs."
        )
    first = without_places(next(iter(str(error).splitlines()), ""))
    return (
        f"{config.arch} cannot be trained on films of {size} pixels with these settings ({type(error).__name__}: {first[:200]}). "
        "Choose another arch or image_size."
    )


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise ConfigError("The probe needs the folder of its question.")
    main(Path(sys.argv[1]))
