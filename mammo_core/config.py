"""Everything that decides the outcome of a training run, checked before anything starts.

A preset is a YAML file in ``configs/`` that sets some of these fields; :func:`resolve` joins preset, overrides and data into
one :class:`TrainConfig`, which is written to the run directory before epoch 1.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import math
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from mammo_core.errors import ConfigError, CorruptRunFile
from mammo_core.settings import PROJECT_ROOT
from mammo_core.storage import read_yaml

SCHEMA_VERSION = 1
PRESETS = PROJECT_ROOT / "configs"
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

    # Model
    arch: str = "efficientnet_b0"
    """Any classifier that timm knows."""
    weights: str = "imagenet"
    """``imagenet``, ``none`` (random) or the path of a local weights file. Never replaced silently."""
    init_from: str | None = None
    """Start from the best weights of another run, ``<experiment>/<run>``; the way to train longer."""
    dropout: float = 0.2
    """Share of the pooled features dropped before the head, in [0, 1)."""

    # Image
    image_size: tuple[int, int] = (512, 512)
    """Height and width of the canvas, pixels; the film is resized with its aspect kept, then padded."""
    augment: Literal["none", "light"] = "light"
    """``light``: small rotation, shift, scale, brightness and contrast; no left-right flip, since films are oriented."""

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
    """Peak learning rate."""
    min_lr: float = 1e-6
    """Learning rate at the end of the cosine decay."""
    weight_decay: float = 0.01
    batch_size: int = 16
    """Films for one optimiser update."""

    # Loss
    class_weights: Literal["auto", "none"] | tuple[float, ...] = "auto"
    """``auto``: inverse class frequency in the training split, mean 1; for training only, validation is unweighted."""
    label_smoothing: float = 0.0
    """In [0, 1); training loss only."""

    # Machine
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    num_workers: int = 0
    """Processes that load films; 0 loads them in the training process. The result does not depend on it."""
    threads: int | None = None
    """torch threads; ``None`` takes the physical cores."""

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
        return cls(**{key: _coerce(key, value, hints[key], source) for key, value in raw.items()})

    def to_dict(self) -> dict[str, Any]:
        """Plain values (lists for tuples) that YAML and ``torch.load(weights_only=True)`` accept."""
        return {
            field.name: list(value) if isinstance(value := getattr(self, field.name), tuple) else value
            for field in dataclasses.fields(self)
        }

    def replace(self, **changes: Any) -> TrainConfig:
        return dataclasses.replace(self, **changes)

    @property
    def run_name(self) -> str:
        """``seed_42`` or ``seed_42_fold_1``."""
        return f"seed_{self.seed}" + (f"_fold_{self.fold}" if self.fold is not None else "")


def _problems(c: TrainConfig) -> typing.Iterator[str]:
    """Sentences on what cannot work; the first one is raised."""
    checks = (*_schedule_checks(c), *_number_checks(c), *_class_checks(c))
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
        (0 <= c.label_smoothing < 1, f"label_smoothing is {c.label_smoothing}; expected at least 0 and below 1."),
        (
            all(32 <= side <= 4096 for side in c.image_size),
            f"image_size is {list(c.image_size)}; expected sides of 32 to 4096 pixels.",
        ),
        (0 <= c.seed < 2**32, f"seed is {c.seed}; expected a whole number from 0 to {2**32 - 1}."),
        (c.num_workers >= 0, f"num_workers is {c.num_workers}; expected at least 0."),
        (c.threads is None or c.threads >= 1, f"threads is {c.threads}; expected at least 1, or null for the physical cores."),
    )


def _class_checks(c: TrainConfig) -> tuple[tuple[bool, str], ...]:
    weights = c.class_weights if isinstance(c.class_weights, tuple) else ()
    return (
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


def _coerce(key: str, value: Any, hint: Any, source: str) -> Any:
    """Turn a YAML value into the field's type, or say what was expected."""
    if key == "image_size" and isinstance(value, int) and not isinstance(value, bool):
        value = [value, value]
    for option in _options(hint):
        matched, result = _match(value, option)
        if matched:
            return result
    expected = " or ".join(_describe(option) for option in _options(hint))
    raise ConfigError(f"{key} is {value!r} in {source}; expected {expected}.")


def _options(hint: Any) -> tuple[Any, ...]:
    return typing.get_args(hint) if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union else (hint,)


def _match(value: Any, option: Any) -> tuple[bool, Any]:
    if typing.get_origin(option) is Literal:
        return value in typing.get_args(option) and isinstance(value, str), value
    if typing.get_origin(option) is tuple:
        return _match_tuple(value, typing.get_args(option))
    if option is types.NoneType:
        return value is None, None
    if option is bool:
        return isinstance(value, bool), value
    if option is float:
        if isinstance(value, str):  # YAML 1.1 reads 1e-3 as text
            try:
                return True, float(value)
            except ValueError:
                return False, None
        return isinstance(value, int | float) and not isinstance(value, bool), value if not isinstance(value, int) else float(
            value
        )
    if option is int:
        return isinstance(value, int) and not isinstance(value, bool), value
    return isinstance(value, option), value


@functools.cache
def _kinds() -> dict[str, Any]:
    """The kind of each setting; worked out once, since a list of a thousand runs reads as many configurations."""
    return typing.get_type_hints(TrainConfig)


def _match_tuple(value: Any, kinds: tuple[Any, ...]) -> tuple[bool, Any]:
    if not isinstance(value, list | tuple):
        return False, None
    if kinds[-1] is Ellipsis:
        kinds = (kinds[0],) * len(value)
    if len(kinds) != len(value):
        return False, None
    matches = [_match(item, kind) for item, kind in zip(value, kinds, strict=True)]
    return all(ok for ok, _ in matches), tuple(item for _, item in matches)


def _describe(option: Any) -> str:
    if typing.get_origin(option) is Literal:
        return " or ".join(repr(choice) for choice in typing.get_args(option))
    if typing.get_origin(option) is tuple:
        kinds = typing.get_args(option)
        return f"a list of {_describe(kinds[0])}" if kinds[-1] is Ellipsis else f"{len(kinds)} times {_describe(kinds[0])}"
    return {int: "a whole number", float: "a number", bool: "true or false", str: "text", types.NoneType: "null"}[option]


# ---- presets ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Preset:
    """One YAML file of ``configs/``: settings, and the words that introduce it on the Train page."""

    name: str
    title: str
    summary: str
    settings: Mapping[str, Any]


def load_preset(path: str | Path) -> Preset:
    """Read a preset by path, or by name from ``configs/``.

    ``title`` and ``summary`` are for the reader; every other key is a setting of :class:`TrainConfig` and is checked here.

    Raises
    ------
    ConfigError
        No such file, no YAML mapping, an unknown key or a wrong value; the text names the file and the key.
    """
    file = Path(path)
    if not file.is_file() and file.parent == Path(".") and file.suffix in ("", ".yaml"):
        file = PRESETS / f"{file.stem}.yaml"
    try:
        raw = read_yaml(file)
    except FileNotFoundError as error:
        known = ", ".join(preset.stem for preset in sorted(PRESETS.glob("*.yaml")))
        raise ConfigError(f"There is no preset {str(path)!r}; expected a YAML file or one of {known}.") from error
    except CorruptRunFile as error:
        raise ConfigError(str(error)) from error
    title, summary = str(raw.pop("title", file.stem)), str(raw.pop("summary", ""))
    TrainConfig.from_dict(raw, source=file.name)
    return Preset(file.stem, title, summary, raw)


def list_presets() -> list[Preset]:
    """All presets of ``configs/``, by file name."""
    return [load_preset(path) for path in sorted(PRESETS.glob("*.yaml"))]


def parse_overrides(pairs: Sequence[str]) -> dict[str, Any]:
    """Read ``key=value`` pairs of the command line; the value is YAML (``lr=1e-4``, ``image_size=[512,256]``)."""
    overrides: dict[str, Any] = {}
    for pair in pairs:
        key, sign, text = pair.partition("=")
        if not sign or not key.strip():
            raise ConfigError(f"--set {pair!r} has no '='; expected key=value, for example --set epochs=10.")
        try:
            overrides[key.strip()] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {pair!r} has a value that is not readable; expected a number, word or [list].") from error
    return overrides


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
