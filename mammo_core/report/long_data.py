"""Inline data of long histories: a list a column, a third of the bytes of one dict a row and quicker to write and to send."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from mammo_core.report.spec import Spec

Cells = Sequence[float | None]

DIGITS = 7
"""No eye sees more in a figure."""


def long_data(columns: Mapping[str, Cells]) -> Spec:
    """Columns of numbers as the ``data`` and ``transform`` of a Vega-Lite layer; ``None`` and NaN stay undefined.

    A CSV text would be as short, but its reader makes a function of the column names, which the app's pages do not allow.
    """
    values = {name: [_rounded(cell) for cell in cells] for name, cells in columns.items()}
    return {"data": {"values": [values]}, "transform": [{"flatten": list(values)}]}


def _rounded(number: float | None) -> float | None:
    return None if number is None or not math.isfinite(number) else float(f"{number:.{DIGITS}g}")
