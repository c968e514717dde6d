"""From the words of a label column to class names in order."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from mammo_core.data.adapters.base import ImportChoices, LabelRule
from mammo_core.data.adapters.words import UNKNOWN_WORDS, plain
from mammo_core.errors import DataError

MAX_CLASSES = 20

DENSITY_CLASSES = ("A", "B", "C", "D")
LESION_CLASSES = ("Normal", "Benign", "Malignant")
KNOWN_ORDERS = {"density": DENSITY_CLASSES, "lesion": LESION_CLASSES}
"""Scale -> its classes in order."""

_DENSITY = re.compile(
    r"(?:(?:breast_)?density|bi_?rads|acr|type|category)?_*([a-d])|(?:(?:breast_)?density|acr)?_*([1-4])(?:_0)?"
)
_DENSITY_UNKNOWN = UNKNOWN_WORDS | {"0", "0_0"}
_LESION = {
    "n": "Normal", "norm": "Normal", "normal": "Normal",
    "b": "Benign", "benign": "Benign", "benign_without_callback": "Benign",
    "m": "Malignant", "malign": "Malignant", "malignant": "Malignant", "malignancy": "Malignant", "cancer": "Malignant",
}  # fmt: skip


@dataclass(frozen=True)
class Labels:
    """The classes of a data set and the way to them."""

    task: str
    class_names: tuple[str, ...]
    mapping: dict[str, str | None]
    """Every value found, as written -> class name, or ``None``: left out."""
    ordinal: bool
    worst_wins: bool
    """Whether of several rows of one film the highest class counts (Normal < Benign < Malignant)."""
    warnings: tuple[str, ...]


def understand_labels(
    values: Mapping[str, int], task: str | None, choices: ImportChoices, default_task: str, rule: LabelRule | None = None
) -> Labels:
    """Work out class names, their order and the label map from the values found.

    A known scale (density A-D; Normal, Benign, Malignant) is taken only if every value fits it or says *unknown*: the D of the
    three-level scale F, G, D is not density D. All other values become classes under their own names.

    Parameters
    ----------
    values : mapping of str to int
        Value as written -> number of rows.
    task : str or None
        The task as chosen or as the label column's name tells it; ``None`` lets the values tell.
    default_task : str
        The task's name where nothing else gives one.
    rule : LabelRule
        The data set's own way from words to classes, instead of the scales; the user's choices go before it.

    Raises
    ------
    DataError
        Fewer than two classes or too many, unless the classes are chosen; a chosen class name or label map that does not fit.
    """
    counted = {value: count for value, count in values.items() if value.strip()}
    scale, proposed = _propose(counted, task) if rule is None else _by_rule(counted, rule)
    mapping = _with_choices(proposed, choices)
    found = {name for name in mapping.values() if name is not None}
    class_names = _class_order(found, KNOWN_ORDERS.get(scale, ()) if rule is None else rule.class_names, choices)
    warnings = []
    if task in ("density", "lesion") and scale == "own" and not choices.label_map:
        expected = "A to D" if task == "density" else "Normal, Benign, Malignant"
        warnings.append(
            f"The labels {_quoted(sorted(found))} are not all on the scale {expected}; they are kept as classes of their own. "
            "Set the label map where they mean something else."
        )
    if scale == "density" and not choices.class_names and set(DENSITY_CLASSES) - found:
        absent = ", ".join(name for name in DENSITY_CLASSES if name not in found)
        warnings.append(f"No film has density {absent}; the classes are {', '.join(class_names)}.")
    is_ordered, worst_wins = (scale == "density", scale == "lesion") if rule is None else (rule.ordinal, rule.worst_wins)
    ordinal = choices.ordinal if choices.ordinal is not None else is_ordered
    named = task or (scale if scale in KNOWN_ORDERS else default_task)
    return Labels(named, class_names, mapping, ordinal, worst_wins, tuple(warnings))


def _by_rule(counted: Mapping[str, int], rule: LabelRule) -> tuple[str, dict[str, str | None]]:
    by_plain = {plain(value): name for value, name in rule.mapping.items()}
    return "rule", {value: by_plain.get(plain(value)) for value in counted}


def _propose(counted: Mapping[str, int], task: str | None) -> tuple[str, dict[str, str | None]]:
    """The scale (``density``, ``lesion`` or ``own``) that the values are on, and the map onto it."""
    if task in (None, "density"):
        density = {value: density_class(value) for value in counted}
        unknown = {value for value in counted if plain(value) in _DENSITY_UNKNOWN}
        # Bare digits or an unnamed column may mean anything; only letters say density by themselves.
        speaks = task == "density" or all(re.search("[a-dA-D]$", value.strip()) for value in counted if value not in unknown)
        if speaks and _fits(density, unknown):
            return "density", density
    if task in (None, "lesion"):
        lesion = {value: _LESION.get(plain(value)) for value in counted}
        if _fits(lesion, {value for value in counted if plain(value) in UNKNOWN_WORDS}):
            return "lesion", lesion
    return "own", _own_classes(counted)


def _fits(mapping: Mapping[str, str | None], unknown: set[str]) -> bool:
    return any(mapping.values()) and all(name is not None or value in unknown for value, name in mapping.items())


def density_class(value: str) -> str | None:
    """``A`` to ``D`` for ``b``, ``2``, ``DENSITY B``, ``BI-RADS B``, ``ACR 2``; not for ``BI-RADS 2``, which is an assessment."""
    match = _DENSITY.fullmatch(plain(value))
    if match is None:
        return None
    return match[1].upper() if match[1] else DENSITY_CLASSES[int(match[2]) - 1]


def _own_classes(counted: Mapping[str, int]) -> dict[str, str | None]:
    """Values that differ only in case or blanks are one class, under the spelling met most often."""
    spelling: dict[str, str] = {}
    for value in sorted(counted, key=lambda value: (-counted[value], value)):
        spelling.setdefault(value.strip().casefold(), value.strip())
    return {value: None if plain(value) in UNKNOWN_WORDS else spelling[value.strip().casefold()] for value in counted}


def _with_choices(proposed: Mapping[str, str | None], choices: ImportChoices) -> dict[str, str | None]:
    chosen = {key.strip().casefold(): name for key, name in choices.label_map.items()}
    unused = set(chosen) - {value.strip().casefold() for value in proposed}
    if unused:
        raise DataError(
            f"The label map names {_quoted(sorted(unused))}, which no row holds; the values found are "
            f"{_quoted(sorted(proposed))}."
        )
    return {value: chosen.get(value.strip().casefold(), name) or None for value, name in proposed.items()}


def _class_order(found: set[str], known: tuple[str, ...], choices: ImportChoices) -> tuple[str, ...]:
    if choices.class_names:
        # Chosen classes may have no film: an outside test set keeps the classes of the model it is for.
        if found - set(choices.class_names) or len(set(choices.class_names)) != len(choices.class_names):
            raise DataError(
                f"The classes chosen are {_quoted(choices.class_names)}, but the labels lead to {_quoted(sorted(found))}; "
                "name each class once, or set the label map."
            )
        return choices.class_names
    if not 2 <= len(found) <= MAX_CLASSES:
        raise DataError(
            f"The labels give {len(found)} class(es) ({_quoted(sorted(found)[:5])}); expected 2 to {MAX_CLASSES}. "
            "Choose another label column, join values with the label map, or name the classes."
        )
    return tuple(sorted(found, key=lambda name: (known.index(name) if name in known else len(known), _natural(name))))


def _natural(name: str) -> list[tuple[int, int, str]]:
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part.casefold()) for part in re.split(r"(\d+)", name) if part]


def _quoted(names: tuple[str, ...] | list[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:8])
    return shown + (f" and {len(names) - 8} more" if len(names) > 8 else "") if names else "none"
