"""Columns of text cells, most of which repeat a few words many thousand times."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pandas as pd


def each(cells: pd.Series[str], meaning: Callable[[str], str]) -> pd.Series[str]:
    """``meaning`` of every cell, asked once for each different one."""
    words = cells.tolist()
    meanings = {word: meaning(word) for word in set(words)}
    return pd.Series([meanings[word] for word in words], index=cells.index, dtype=str)


def translated(cells: pd.Series[str], dictionary: Mapping[str, str]) -> pd.Series[str]:
    """Each cell by the dictionary, empty where it holds no such word."""
    return pd.Series([dictionary.get(word, "") for word in cells.tolist()], index=cells.index, dtype=str)
