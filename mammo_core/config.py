"""Everything that decides the outcome of a training run, checked before anything starts.

Preset, overrides and data are joined into one :class:`TrainConfig`, which is written to the run directory before epoch 1.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import math
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any, Literal

from mammo_core.config_values import coerce
from mammo_core.errors import ConfigError
from mammo_core.reading import read_yaml

SCHEMA_VERSION = 1
DEFAULT_SEEDS = (42, 43, 44)


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """The resolved settings of one run. Field by field: meaning, unit, and the reason for the default."""

    schema_version: int = SCHEMA_VERSION

    # What is learnt from what
    task: str = "density"
    """``density``, ``lesion`` or any other word; it names figures and exports."""
    class_names: tuple[str, ...] = ()
    """In label order; for an ordinal task from low to high. Taken from the data set."""
    ordinal: bool = False
    """Whether the order of the classes has a meaning (density A-D). Taken from the data set."""
    dataset: str = ""
    split: str = ""
    experiment: str = ""
    seed: int = 42
    """Seeds the head's weights, the sample order, augmentation and dropout; the split has its own seed."""
    fold: int | None = None
    """1-based fold that validates; ``None`` where the split has no folds."""
    view: str | None = None
    """Train on films of this view only (``CC``, ``MLO``); ``None`` takes all. Models of single views make an ensemble."""

    # Model
    arch: str = "efficientnet_b0"
    """Any classifier that timm knows."""
    weights: str = "imagenet"
    """``imagenet``, ``none`` (random) or the path of a local weights file. Never replaced silently."""
    init_from: str | None = None
    """Start from the best weights of another run, ``<experiment>/<run>``; the way to train longer."""
    dropout: float = 0.2
    """Share of the pooled features dropped before the head, in [0, 1)."""
    embeddings: str | None = None
    """Features that ``embed`` wrote, by name or folder; standardised and projected, they join the backbone's before the head."""

    # Image
    image_size: tuple[int, int] = (512, 512)
    """Height and width of the canvas, pixels; the film is resized with its aspect kept, then padded."""
    augment: Literal["none", "light", "strong"] = "light"
    """``light``: small rotation, shift, scale, brightness and contrast; ``strong``: more of each, gamma, and erased patches. No
    left-right flip in either, since films are oriented."""
    mixup: float = 0.0
    """Both parameters of the beta distribution from which two films are mixed; 0 mixes none. Blurs the training loss."""

    # Schedule
    epochs: int = 20
    """Planned epochs; also the horizon of the cosine decay."""
    warmup_epochs: float = 2
    """Epochs of linear ramp before the cosine decay; must be below ``epochs``."""
    early_stopping_patience: int | None = 7
    """Epochs without a new minimum of the validation loss before the run stops; ``None`` never stops early."""
    min_delta: float = 0.0
    """How far below the best the validation loss must fall to count as a new minimum for early stopping, nats."""

    # Optimiser
    optimizer: Literal["adamw", "adam"] = "adamw"
    lr: float = 3e-4
    """Peak learning rate; of the head, where ``backbone_lr_factor`` differs from 1."""
    backbone_lr_factor: float = 1.0
    """The backbone learns at this times ``lr``, in (0, 1]: pretrained weights need smaller steps than a new head."""
    min_lr: float = 1e-6
    """Learning rate at the end of the cosine decay."""
    weight_decay: float = 0.01
    batch_size: int = 16
    """Films for one optimiser update, over all processes and micro-batches together."""
    sampler: Literal["shuffle", "balanced"] = "shuffle"
    """``balanced``: each class gives equally many films to an epoch, those of rare classes several times."""
    ema_decay: float | None = None
    """Share kept of the running mean of the weights at each step, in [0, 1); validation and checkpoints then use that mean."""

    # Loss
    loss: Literal["cross_entropy", "ordinal"] = "cross_entropy"
    """``ordinal`` adds to it the squared distance from the true class on the ordered scale; for ordinal tasks."""
    class_weights: Literal["auto", "none"] | tuple[float, ...] = "auto"
    """``auto``: inverse class frequency in the training split, mean 1; for training only, validation is unweighted."""
    label_smoothing: float = 0.0
    """In [0, 1); training loss only."""

    # Machine
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    num_workers: int = 0
    """Processes that load films; 0 loads them in the training process. The result does not depend on it."""
    threads: int | None = None
    """torch threads; ``None`` takes the physical cores. Results can differ in the last bits between numbers of threads."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the model's passes; ``auto`` is bfloat16 on a CUDA device that has it, else float32. Weights are always float32."""
    micro_batch: int | None = None
    """Films that go through the model at once; ``None`` takes as many as memory allows. Gradients add up to the whole batch's,
    but batch normalisation sees one micro-batch at a time."""
    graphs: Literal["auto", "off", "graph", "compiled"] = "auto"
    """On CUDA: replay the training step as one graph; ``compiled`` fuses its kernels first, which takes about a minute. ``auto``
    compiles where the run is long enough to repay it."""
    deterministic: bool = False
    """On CUDA: only algorithms that give the same result each time, which are slower."""

    def __post_init__(self) -> None:
        for problem in _problems(self):
            raise ConfigError(problem)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any], source: str = "the configuration") -> TrainConfig:
        """Build from plain values as YAML holds them; an unknown key or a value of a wrong kind is an error that names it."""
        hints = _kinds()
        unknown = [key for key in raw if key not in hints]
        if unknown:
            close = difflib.get_close_matches(str(unknown[0]), hints, n=1)
            hint = f"did you mean '{close[0]}'?" if close else f"known are {', '.join(sorted(hints))}."
            raise ConfigError(f"Unknown setting {', '.join(map(repr, unknown))} in {source}; {hint}")
        return cls(**{key: coerce(key, value, hints[key], source) for key, value in raw.items()})

    def to_dict(self) -> dict[str, Any]:
        """Plain values (lists for tuples) that YAML and ``torch.load(weights_only=True)`` accept."""
        return {
            field.name: list(value) if isinstance(value := getattr(self, field.name), tuple) else value
            for field in dataclasses.fields(self)
        }

    def replace(self, **changes: Any) -> TrainConfig:
        return dataclasses.replace(self, **changes)

    def without_places(self) -> TrainConfig:
        """For what is handed on: files are named without the folders of this machine."""
        embeddings = None if self.embeddings is None else _last_part(self.embeddings)
        return self.replace(weights=_last_part(self.weights), embeddings=embeddings)

    @property
    def run_name(self) -> str:
        """``seed_42`` or ``seed_42_fold_1``."""
        return f"seed_{self.seed}" + (f"_fold_{self.fold}" if self.fold is not None else "")


def _problems(c: TrainConfig) -> typing.Iterator[str]:
    """Sentences on what cannot work; the first one is raised."""
    checks = (*_schedule_checks(c), *_number_checks(c), *_loss_checks(c), *_class_checks(c))
    return (sentence for holds, sentence in checks if not holds)


def _schedule_checks(c: TrainConfig) -> tuple[tuple[bool, str], ...]:
    return (
        (c.epochs >= 1, f"epochs is {c.epochs}; expected at least 1."),
        (c.batch_size >= 1, f"batch_size is {c.batch_size}; expected at least 1."),
        (
            0 <= c.warmup_epochs < c.epochs,
            f"warmup_epochs is {c.warmup_epochs:g} with epochs at {c.epochs}; expected at least 0 and below epochs, since the "
            "cosine decay needs at least a part of one epoch. Lower warmup_epochs or raise epochs.",
        ),
        (
            c.early_stopping_patience is None or c.early_stopping_patience >= 1,
            f"early_stopping_patience is {c.early_stopping_patience}; expected at least 1, or null to never stop early.",
        ),
        (c.min_delta >= 0, f"min_delta is {c.min_delta}; expected 0 or more."),
    )


def _number_checks(c: TrainConfig) -> tuple[tuple[bool, str], ...]:
    return (
        (0 < c.lr <= 1, f"lr is {c.lr}; expected a learning rate above 0 and at most 1, for example 3e-4."),
        (0 <= c.min_lr <= c.lr, f"min_lr is {c.min_lr}; expected between 0 and lr ({c.lr:g})."),
        (0 <= c.weight_decay <= 1, f"weight_decay is {c.weight_decay}; expected between 0 and 1."),
        (0 <= c.dropout < 1, f"dropout is {c.dropout}; expected at least 0 and below 1."),
        (
            c.embeddings is None or bool(c.embeddings.strip()),
            "embeddings is empty; expected the name of a folder that 'embed' wrote, or null for none.",
        ),
        (0 < c.backbone_lr_factor <= 1, f"backbone_lr_factor is {c.backbone_lr_factor}; expected above 0 and at most 1."),
        (c.ema_decay is None or 0 <= c.ema_decay < 1, f"ema_decay is {c.ema_decay}; expected at least 0 and below 1, or null."),
        (0 <= c.mixup <= 2, f"mixup is {c.mixup}; expected 0 (off) to 2, for example 0.2."),
        (c.micro_batch is None or c.micro_batch >= 1, f"micro_batch is {c.micro_batch}; expected at least 1, or null."),
        (0 <= c.label_smoothing < 1, f"label_smoothing is {c.label_smoothing}; expected at least 0 and below 1."),
        (
            all(32 <= side <= 4096 for side in c.image_size),
            f"image_size is {list(c.image_size)}; expected sides of 32 to 4096 pixels.",
        ),
        (0 <= c.seed < 2**32, f"seed is {c.seed}; expected a whole number from 0 to {2**32 - 1}."),
        (c.num_workers >= 0, f"num_workers is {c.num_workers}; expected at least 0."),
        (c.threads is None or c.threads >= 1, f"threads is {c.threads}; expected at least 1, or null for the physical cores."),
    )


def _loss_checks(c: TrainConfig) -> tuple[tuple[bool, str], ...]:
    return (
        (
            c.sampler == "shuffle" or c.class_weights == "none",
            "sampler is balanced and class_weights is not none; expected one of the two, since together they correct for rare "
            "classes twice. Set class_weights to none, or sampler to shuffle.",
        ),
        (
            c.loss == "cross_entropy" or c.ordinal or not c.class_names,
            f"loss is ordinal, which needs classes in an order, and {', '.join(c.class_names)} have none. Set loss to "
            "cross_entropy.",
        ),
    )


def _class_checks(c: TrainConfig) -> tuple[tuple[bool, str], ...]:
    weights = c.class_weights if isinstance(c.class_weights, tuple) else ()
    return (
        (
            c.view is None or bool(c.view.strip()),
            f"view is {c.view!r}; expected the name of a view such as CC or MLO, or null for films of all views.",
        ),
        (
            len(set(c.class_names)) == len(c.class_names),
            f"class_names {list(c.class_names)} repeats a name; expected each class once.",
        ),
        (
            not weights or not c.class_names or len(weights) == len(c.class_names),
            f"class_weights has {len(weights)} numbers for {len(c.class_names)} classes; expected one each.",
        ),
        (
            all(math.isfinite(weight) and weight > 0 for weight in weights),
            f"class_weights is {list(weights)}; expected numbers above 0.",
        ),
    )


@functools.cache
def _kinds() -> dict[str, Any]:
    """The kind of each setting; worked out once, since a list of a thousand runs reads as many configurations."""
    return typing.get_type_hints(TrainConfig)


def _last_part(path: str) -> str:
    return PureWindowsPath(path).name or path  # knows the marks of all systems


def load_config(path: Path) -> TrainConfig:
    """Read a run's ``config.yaml``.

    Raises
    ------
    FileNotFoundError, CorruptRunFile, ConfigError
        Missing; not YAML; settings that this version does not know or that cannot work.
    """
    raw = read_yaml(path)
    version = raw.get("schema_version", SCHEMA_VERSION)
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise ConfigError(
            f"{path.name} has schema version {version}, this program reads up to {SCHEMA_VERSION}. Update MammoTrace."
        )
    return TrainConfig.from_dict(raw, source=f"{path.parent.name}/{path.name}")
