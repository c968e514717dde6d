"""The history of a run as a table: what charts, verdicts and comparisons read."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from mammo_core.runs.schema import EpochRecord

RECALL_PREFIX = "val_recall_"
SHARE_PREFIX = "predicted_share_"


def history_frame(records: Sequence[EpochRecord]) -> pd.DataFrame:
    """One row an epoch, sorted, epochs that were trained twice kept once (the later one); recalls as ``val_recall_<class>``.

    Undefined numbers are NaN (float64 columns), as pandas and Altair expect.
    """
    rows = []
    for record in records:
        row = record.model_dump(exclude={"val_recall", "predicted_share"})
        row |= {f"{RECALL_PREFIX}{name}": value for name, value in record.val_recall.items()}
        row |= {f"{SHARE_PREFIX}{name}": value for name, value in record.predicted_share.items()}
        rows.append(row)
    frame = pd.DataFrame(rows, columns=None if rows else list(EpochRecord.model_fields))
    if frame.empty:
        return frame
    frame = frame.drop_duplicates("epoch", keep="last").sort_values("epoch", ignore_index=True)
    flags = ["is_best", "resumed", "non_finite"]
    numbers = [column for column in frame.columns if column not in {"epoch", *flags}]
    return frame.astype({column: "float64" for column in numbers if frame[column].map(_is_number).all()})


def _is_number(value: object) -> bool:
    return value is None or isinstance(value, int | float)


def best_epoch(records: Sequence[EpochRecord]) -> EpochRecord | None:
    """The record with the lowest validation loss, the first of equals; ``None`` where no epoch has one."""
    judged = [record for record in records if record.val_loss is not None]
    return min(judged, key=lambda record: (record.val_loss, record.epoch)) if judged else None
