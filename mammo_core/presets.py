"""Presets: YAML files in ``configs/`` that set some fields of a :class:`mammo_core.config.TrainConfig` and say what for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mammo_core.config import TrainConfig
from mammo_core.errors import ConfigError, CorruptRunFile
from mammo_core.reading import YAML_FAULTS, parse_yaml, read_yaml
from mammo_core.settings import PROJECT_ROOT

PRESETS = PROJECT_ROOT / "configs"


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
            overrides[key.strip()] = parse_yaml(text)
        except YAML_FAULTS as error:
            raise ConfigError(f"--set {pair!r} has a value that is not readable; expected a number, word or [list].") from error
    return overrides
