"""The history of a run as a table: what charts, verdicts and comparisons read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from mammo_core.runs.schema import EpochRecord

RECALL_PREFIX = "val_recall_"
SHARE_PREFIX = "predicted_share_"
FLAGS = frozenset({"is_best", "resumed", "non_finite"})


def history_frame(records: Sequence[EpochRecord]) -> pd.DataFrame:
    """One row an epoch, sorted, epochs that were trained twice kept once (the later one); recalls as ``val_recall_<class>``.

    Undefined numbers are NaN (float64 columns), as pandas and Altair expect.
    """
    if not records:
        return pd.DataFrame(columns=list(EpochRecord.model_fields))
    plain = [name for name in EpochRecord.model_fields if name not in ("val_recall", "predicted_share")]
    extra = dict.fromkeys(key for record in records for key in record.model_extra or ())
    columns = {name: [getattr(record, name) for record in records] for name in plain}
    columns |= {name: [(record.model_extra or {}).get(name) for record in records] for name in extra}
    for prefix, parts in (
        (RECALL_PREFIX, [record.val_recall for record in records]),
        (SHARE_PREFIX, [record.predicted_share for record in records]),
    ):
        names = dict.fromkeys(name for part in parts for name in part)
        columns |= {f"{prefix}{name}": [part.get(name) for part in parts] for name in names}
    frame = pd.DataFrame({name: _column(name, values) for name, values in columns.items()})
    return frame.drop_duplicates("epoch", keep="last").sort_values("epoch", ignore_index=True)


def _column(name: str, values: Sequence[Any]) -> Any:
    """Numbers as float64 with NaN for undefined ones; epochs, flags and texts as they are."""
    if name == "epoch" or name in FLAGS or not all(_is_number(value) for value in values):
        return values
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _is_number(value: object) -> bool:
    return value is None or isinstance(value, int | float)


def epoch_word(record: EpochRecord) -> str:
    """How every page and file names an epoch: ``epoch 4``; ``epoch 3 (row 4)`` where an imported file numbers it otherwise than
    by its row, counted from 1; ``row 4`` where the file gives it no number.
    """
    extra = record.model_extra or {}
    row = int(extra.get("source_row") or record.epoch)
    return place_words(extra.get("source_epoch", row), row)


def place_words(epoch: float | None, row: int) -> str:
    """:func:`epoch_word` from the file's own number, if any, and the row."""
    if epoch is None or not np.isfinite(epoch):
        return f"row {row}"
    return f"epoch {epoch:g}" if epoch == row else f"epoch {epoch:g} (row {row})"


def best_epoch(records: Sequence[EpochRecord]) -> EpochRecord | None:
    """The record with the lowest validation loss, the first of equals; ``None`` where no epoch has one."""
    judged = [record for record in records if record.val_loss is not None]
    return min(judged, key=lambda record: (record.val_loss, record.epoch)) if judged else None
