"""Which column of a table is which quantity of this app's schema."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mammo_core.errors import DataError
from mammo_core.runs.importers.model import Row
from mammo_core.runs.importers.words import ROLES, SCORES, Reading, Role, read_name
from mammo_core.runs.schema import EpochRecord

METRICS = ("train_loss", "val_loss", "train_acc", "val_acc", "train_score", "val_score")
OWN_NUMBERS = frozenset(EpochRecord.model_fields) - {
    *("epoch", "val_recall", "predicted_share", "is_best", "resumed", "non_finite", "seconds"),
    *("train_loss", "val_loss", "train_acc", "val_acc", "lr"),
}
"""Further numbers of our own records that are taken over under their own name."""
SECONDS = frozenset({"seconds", "epoch_time", "epoch_time_s", "epoch_seconds", "time", "duration", "time_taken"})
MEASURED = frozenset({"loss", "accuracy", "balanced", "error", "score"})
FEWEST_OF_A_CURVE = 5
OWN_RECALL, OWN_SHARE = "val_recall_", "predicted_share_"


@dataclass
class Columns:
    """The chosen columns: canonical name to the names in the file (several where the parts of a loss are added up)."""

    chosen: dict[str, list[str]] = field(default_factory=dict)
    recalls: dict[str, str] = field(default_factory=dict)
    """Class name to column."""
    shares: dict[str, str] = field(default_factory=dict)
    epoch: str | None = None
    step: str | None = None
    phase: str | None = None
    stage: str | None = None
    groups: list[str] = field(default_factory=list)
    error_rates: set[str] = field(default_factory=set)
    """Canonical accuracies whose column is an error rate."""
    score_name: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def has_metrics(self) -> bool:
        return any(name in self.chosen for name in METRICS)


def choose_columns(names: Sequence[str], rows: Sequence[Row], mapping: Mapping[str, str] | None = None) -> Columns:
    """Recognise columns by name (and, where the name is silent, by values); ``mapping`` overrides, ours to the file's.

    Raises
    ------
    DataError
        ``mapping`` names a column that is not there or a quantity that is not ours.
    """
    readings = {name: read_name(name) for name in names}
    columns = Columns()
    _order_columns(readings, rows, columns)
    numeric = [name for name in names if _holds_numbers(rows, name)]
    curves = {name: readings[name] for name in numeric if not readings[name].summary}
    _leave_out_final_values(curves, rows)
    _class_columns(numeric, curves, columns)
    for quantity, ending in (("loss", "loss"), ("accuracy", "acc")):
        _pick_pair(curves, quantity, ending, columns)
    if not {"train_acc", "val_acc"} & columns.chosen.keys():
        _pick_pair(curves, "error", "acc", columns)
        columns.error_rates = {name for name in ("train_acc", "val_acc") if name in columns.chosen}
    if not {"train_acc", "val_acc"} & columns.chosen.keys():
        _pick_pair(curves, "balanced", "acc", columns)
    if not {"train_acc", "val_acc"} & columns.chosen.keys():
        _pick_pair(curves, "score", "score", columns)
    _pick_nameless(curves, rows, columns)
    _pick_others(curves, columns)
    seconds = [name for name in names if name.strip().lower() in SECONDS]
    if seconds:
        columns.chosen["seconds"] = seconds[:1]
    if mapping:
        _apply_mapping(mapping, names, columns)
    _say_what_is_left(numeric, columns)
    return columns


def _holds_numbers(rows: Sequence[Row], name: str) -> bool:
    return any(isinstance(row.get(name), float) for row in rows)


def _leave_out_final_values(curves: dict[str, Reading], rows: Sequence[Row]) -> None:
    """A measure with one value, where another has five or more, is a result of the whole run and no curve."""
    measured = [name for name, reading in curves.items() if reading.quantity in MEASURED]
    counts = {name: sum(isinstance(row.get(name), float) for row in rows) for name in measured}
    if max(counts.values(), default=0) >= FEWEST_OF_A_CURVE:
        for name in (name for name, count in counts.items() if count == 1):
            del curves[name]


def _order_columns(readings: Mapping[str, Reading], rows: Sequence[Row], columns: Columns) -> None:
    for name, reading in readings.items():
        values = [row.get(name) for row in rows]
        if reading.quantity == "epoch" and columns.epoch is None and any(isinstance(value, float) for value in values):
            columns.epoch = name
        elif reading.quantity == "step" and columns.step is None:
            columns.step = name
        elif reading.quantity in ("phase", "stage") and columns.phase is None and _is_phase(values):
            columns.phase = name
        elif reading.quantity in ("stage", "phase"):
            columns.stage = columns.stage or name
        elif reading.quantity == "group" and len({value for value in values if value is not None}) > 1:
            columns.groups.append(name)


def _is_phase(values: Sequence[object]) -> bool:
    texts = {value.lower() for value in values if isinstance(value, str)}
    roles = {ROLES[text] for text in texts if text in ROLES}
    return "train" in roles and len(roles) > 1 and len(roles) >= len(texts) - 1


def _class_columns(names: Sequence[str], curves: dict[str, Reading], columns: Columns) -> None:
    """Per-class recalls and predicted shares; a single recall column is no per-class one and stays out."""
    columns.shares = {name.removeprefix(OWN_SHARE): name for name in names if name.startswith(OWN_SHARE)}
    own = {name.removeprefix(OWN_RECALL): name for name in names if name.startswith(OWN_RECALL)}
    averaged = {"macro", "weighted", "at", "precision"}
    others = {
        _class_name(name): name
        for name in names
        if (reading := curves.get(name))
        and reading.quantity == "recall"
        and reading.role != "train"
        and reading.left
        and not averaged & set(reading.left)
    }
    numbered_by_keras = all(label.isdigit() for label in others) and len(others) < 3
    columns.recalls = own or ({} if len(others) < 2 or numbered_by_keras else others)


def _class_name(column: str) -> str:
    words = [
        word
        for word in column.replace("_", " ").split()
        if word.lower() not in ("recall", "sensitivity", "val", "valid", "class")
    ]
    return " ".join(words) or column


def _pick_pair(curves: Mapping[str, Reading], quantity: str, ending: str, columns: Columns) -> None:
    """Choose the training and the validation column of one quantity."""
    by_role: dict[Role, dict[str, Reading]] = {}
    for name, reading in curves.items():
        if reading.quantity == quantity:
            by_role.setdefault(reading.role, {})[name] = reading
    val = by_role.get("val") or {}
    if not val and by_role.get("test") and f"val_{ending}" not in columns.chosen and not _has_val(curves):
        val = by_role["test"]
        columns.notes.append(f"The file has no validation {quantity}; its test {quantity} stands in for it.")
    train, bare = by_role.get("train") or {}, by_role.get("") or {}
    if bare and not train and not (quantity != "loss" and not val and _bare_is_validation(curves)):
        train = bare
    elif not val and (plain := {name: part for name, part in bare.items() if quantity != "loss" or not part.left}):
        # A named part (``kl_loss``) beside a training total is a part of that total.
        val = plain
        named = ", ".join(map(repr, plain))
        columns.notes.append(f"{named} has no prefix and stands beside prefixed losses: read as validation.")
    chosen_val = _best(val)
    chosen_train = _best(train, like=chosen_val)
    for role, chosen in (("train", chosen_train), ("val", chosen_val)):
        if chosen:
            columns.chosen[f"{role}_{ending}"] = list(chosen)
            if len(chosen) > 1:
                columns.notes.append(f"{role}_{ending} is the sum of {', '.join(chosen)}: the file gives no total.")
    if quantity == "score" and (chosen_val or chosen_train):
        columns.score_name = next(iter((chosen_val or chosen_train).values())).name


def _has_val(curves: Mapping[str, Reading]) -> bool:
    return any(reading.role == "val" and reading.quantity in ("loss", "accuracy") for reading in curves.values())


def _bare_is_validation(curves: Mapping[str, Reading]) -> bool:
    """``train_loss, val_loss, accuracy``: where losses carry a prefix, a measure without one was taken on validation data."""
    losses = [reading for reading in curves.values() if reading.quantity == "loss"]
    return any(reading.role for reading in losses) and not any(not reading.role for reading in losses)


def _best(candidates: Mapping[str, Reading], like: Mapping[str, Reading] | None = None) -> dict[str, Reading]:
    """The plain column if there is one, else the one that matches its partner, else (losses) all parts, to be added up."""
    if not candidates:
        return {}
    ordered = dict(sorted(candidates.items(), key=lambda item: _rank(item[1], like)))
    first, reading = next(iter(ordered.items()))
    parts = {name: part for name, part in ordered.items() if part.twin == reading.twin}
    wanted = {part.left for part in (like or {}).values()}
    if reading.quantity != "loss" or not reading.left or len(parts) == 1 or (len(wanted) == 1 and reading.left in wanted):
        return {first: reading}
    return parts


def _rank(reading: Reading, like: Mapping[str, Reading] | None) -> tuple[object, ...]:
    partner = any(reading.left == other.left and reading.name == other.name for other in (like or {}).values())
    twins = {"epoch": 0, "": 1, "step": 2}
    score = SCORES.index(reading.name) if reading.name else 0
    return (not partner, len(reading.left), score, twins[reading.twin])


def _pick_nameless(curves: Mapping[str, Reading], rows: Sequence[Row], columns: Columns) -> None:
    """Columns called just ``train``, ``val`` or ``validation_epoch_average``: loss or accuracy is told by their values."""
    for role in ("train", "val"):
        if any(f"{role}_{ending}" in columns.chosen for ending in ("loss", "acc", "score")):
            continue
        for name, reading in curves.items():
            if reading.role == role and reading.quantity == "" and not reading.left:
                kind = "loss" if _behaves_like_a_loss(name, rows, columns) else "acc"
                columns.chosen[f"{role}_{kind}"] = [name]
                columns.notes.append(f"{name!r} does not say what it measures; its values behave like {_PLAIN[kind]}.")
                break


_PLAIN = {"loss": "a loss", "acc": "an accuracy"}


def _behaves_like_a_loss(name: str, rows: Sequence[Row], columns: Columns) -> bool:
    values = [value for row in rows if isinstance(value := row.get(name), float) and math.isfinite(value)]
    if not values:
        return True
    outside = any(value < 0 or 1 < value < 2 for value in values)
    return outside or values[-1] <= values[0]


def _pick_others(curves: Mapping[str, Reading], columns: Columns) -> None:
    for name, reading in curves.items():
        if reading.quantity == "lr":
            columns.chosen.setdefault("lr_next" if "next" in reading.left else "lr", [name])
        if name in OWN_NUMBERS:
            columns.chosen.setdefault(name, [name])


def _apply_mapping(mapping: Mapping[str, str], names: Sequence[str], columns: Columns) -> None:
    for ours, theirs in mapping.items():
        if theirs not in names:
            raise DataError(f"There is no column {theirs!r} to read as {ours}; the file has {', '.join(names[:20])}.")
        if ours in ("epoch", "step", "phase", "stage"):
            setattr(columns, ours, theirs)
        elif ours in METRICS or ours in OWN_NUMBERS or ours in ("lr", "seconds"):
            columns.chosen[ours] = [theirs]
            columns.error_rates.discard(ours)
        else:
            known = ", ".join(("epoch", *METRICS, "lr", "seconds"))
            raise DataError(f"{ours!r} is no quantity of a history; a mapping names one of {known}.")


def _say_what_is_left(numeric: Sequence[str], columns: Columns) -> None:
    used = {name for chosen in columns.chosen.values() for name in chosen} | set(columns.recalls.values())
    used |= {*columns.shares.values(), *columns.groups} | {columns.epoch or "", columns.step or "", columns.stage or ""}
    left = [name for name in numeric if name not in used and name.strip()]
    if left:
        more = f" and {len(left) - 8} more" if len(left) > 8 else ""
        columns.notes.append(f"Left out: {', '.join(left[:8])}{more}.")
