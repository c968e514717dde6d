"""Inline data of long histories: as a CSV text, a third of the bytes of one dict a row and quicker to write and to send."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mammo_core.report.spec import Spec

Cells = Sequence[float | None]


def csv_data(columns: Mapping[str, Cells]) -> Spec:
    """Columns of numbers as Vega-Lite data; ``None`` and NaN stay undefined. Seven digits: no eye sees more in a figure."""
    table = np.array(list(columns.values()), dtype=np.float64).T
    table[~np.isfinite(table)] = np.nan
    row = ",".join(["%.7g"] * len(columns))
    # one call for all numbers takes a third of the time of one call for each
    text = "\n".join([row] * len(table)) % tuple(table.ravel().tolist())
    values = "\n".join([",".join(columns), text.replace("nan", "")])
    return {"values": values, "format": {"type": "csv", "parse": dict.fromkeys(columns, "number")}}
