"""What the adapters of the public sets share: finding their tables, their films, and the label that the task asks for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from mammo_core.data.adapters.base import Evidence, ImportChoices, LabelRule, Reading, SeveralLabels
from mammo_core.data.adapters.cells import each
from mammo_core.data.adapters.labels import density_class
from mammo_core.data.adapters.listing import FileIndex, Listing
from mammo_core.data.adapters.tables import chosen_columns
from mammo_core.data.adapters.words import HARMLESS_COLUMNS, ROLES, plain
from mammo_core.errors import DataError

KNOWN_SET = 80
"""How sure an adapter is by the exact columns of a public set."""

BIRADS_RULE = LabelRule(
    {f"{word}{value}": f"BI-RADS {value}" for word in ("", "bi_rads_") for value in (*"0123456", "4a", "4b", "4c")},
    tuple(f"BI-RADS {value}" for value in ("0", "1", "2", "3", "4", "4a", "4b", "4c", "5", "6")),
)
BIRADS_WORDS = "BI-RADS is the reader's assessment, not pathology."


class KnownByColumns:
    """An adapter of a set whose table is told by its exact columns."""

    columns: ClassVar[tuple[str, ...]]

    def recognises(self, listing: Listing, choices: ImportChoices) -> Evidence | None:
        return evidence_of(tables_with(listing, self.columns, choices), self.columns)


@dataclass(frozen=True)
class LabelChoice:
    """One label that a set offers."""

    task: str
    column: str
    words: str = ""
    """What it says and how it is mapped, for the user."""
    rule: LabelRule | None = None


def tables_with(listing: Listing, needed: Iterable[str], choices: ImportChoices, everywhere: bool = False) -> list[Path]:
    """The tables that have all of these columns (compared by ``plain``); the user's choice of one counts.

    Parameters
    ----------
    everywhere : bool
        Also tables beside the chosen one.
    """
    wanted = {plain(name) for name in needed}
    paths = listing.all_tables if everywhere else listing.tables
    if choices.table is not None and not everywhere:
        paths = tuple(path for path in paths if path.name == choices.table)
    return [path for path in paths if wanted <= {plain(column) for column in listing.columns(path)}]


def evidence_of(paths: Sequence[Path], needed: Sequence[str]) -> Evidence | None:
    """That these tables have these columns; ``None`` without a table."""
    if not paths:
        return None
    names = " and ".join(path.name for path in paths[:2]) + (f" and {len(paths) - 2} more" if len(paths) > 2 else "")
    return Evidence(KNOWN_SET, f"{names} {'has' if len(paths) == 1 else 'have'} the columns {', '.join(needed)}")


def one_table(listing: Listing, needed: Sequence[str], choices: ImportChoices, title: str) -> Path:
    """The table of a set that has one.

    Raises
    ------
    DataError
        There is none, or several have its columns.
    """
    paths = tables_with(listing, needed, choices)
    if not paths:
        raise DataError(
            f"There is no table of {title} here; expected one with the columns {', '.join(needed)}. Choose another kind of data "
            "set, or the folder that holds the table."
        )
    if len(paths) > 1:
        names = ", ".join(path.name for path in paths)
        raise DataError(f"Several tables have the columns of {title}: {names}; choose one of them as the table.")
    return paths[0]


def by_plain_names(frame: pd.DataFrame) -> pd.DataFrame:
    """The table under :func:`plain` column names, for sets that spell one column in two ways."""
    renamed = frame.rename(columns=plain)
    return renamed.loc[:, ~renamed.columns.duplicated()]


def settle(
    base: Reading, labels: Sequence[LabelChoice], choices: ImportChoices, refused: Mapping[str, str] | None = None
) -> Reading:
    """Complete a reading with the label that the task asks for and the columns that the user corrected.

    Parameters
    ----------
    base : Reading
        ``rows`` are the set's own and made columns, ``columns`` says which one has which role.
    labels : sequence of LabelChoice
        What the set offers.
    refused : mapping of task to sentence
        Tasks that the set has no truth for.

    Raises
    ------
    DataError
        The task is refused, not offered, or not chosen where several labels are there; the text names them.
    """
    frame = base.rows
    chosen = chosen_columns(tuple(frame.columns), choices, base.table.name if base.table else "the table")
    label = _chosen_label(chosen.get("label", ""), labels, choices, refused or {})
    columns = {**base.columns, **chosen, "label": label.column}
    columns = {role: column for role, column in columns.items() if column}
    rows = pd.DataFrame({role: frame[column] for role, column in columns.items()})
    for column in frame.columns:
        name = plain(column)
        is_told_by_label = column == label.column and label.rule is None
        if name in HARMLESS_COLUMNS and name not in rows.columns and not is_told_by_label:
            rows[name] = each(frame[column], lambda word: density_class(word) or word) if name == "density" else frame[column]
    return replace(
        base,
        rows=rows.fillna(""),
        columns=columns,
        columns_found=base.columns_found or tuple(frame.columns),
        label_column=label.column,
        label_rule=label.rule,
        label_words=label.words,
        task=label.task or None,
        origins={role: words for role, words in base.origins.items() if role not in chosen},
    )


def _chosen_label(column: str, labels: Sequence[LabelChoice], choices: ImportChoices, refused: Mapping[str, str]) -> LabelChoice:
    if column:
        return next((label for label in labels if label.column == column), LabelChoice(choices.task or "", column))
    offered = ", ".join(f"{label.task} (column {label.column})" for label in labels)
    if choices.task is None:
        if len(labels) == 1:
            return labels[0]
        raise SeveralLabels(
            f"This set has several labels: {offered}. Choose what is to be learnt, or set the 'label' column.",
            tuple(label.task for label in labels),
        )
    fitting = [label for label in labels if label.task == choices.task]
    if fitting:
        return fitting[0]
    if choices.task in refused:
        raise DataError(refused[choices.task])
    raise DataError(
        f"This set has no label for the task {choices.task!r}; it has {offered}. Choose one, or set the 'label' column."
    )


def made(frame: pd.DataFrame, **columns: Any) -> pd.DataFrame:
    """The table with made columns, which replace those that mean the same under another spelling (``Bi-Rads``, ``BIRADS``)."""
    taken = {plain(name).replace("_", "") for name in columns}
    kept = [column for column in frame.columns if plain(column).replace("_", "") not in taken]
    return frame[kept].assign(**columns)


def find_films(index: FileIndex, *candidates: Iterable[str]) -> list[str]:
    """For each row the film that its first fitting cell names; the first cell itself where none does, so that it is counted."""
    found = []
    lists = [cells.tolist() if isinstance(cells, pd.Series) else list(cells) for cells in candidates]
    for cells in zip(*lists, strict=True):
        matches = (index.find(cell) for cell in cells)
        found.append(next((names[0] for names in matches if len(names) == 1), cells[0]))
    return found


def whole_number(text: str) -> str:
    """``4`` for ``4.0``; anything else as it is."""
    return re.sub(r"\.0+$", "", text.strip())


def assessment(text: str) -> str:
    """The bare BI-RADS assessment: ``4a`` for ``BI-RADS 4A``, ``0`` for ``0.0``."""
    return re.sub(r"^bi_?rads_*", "", plain(whole_number(text)))


def text_column(frame: pd.DataFrame, name: str) -> pd.Series[str]:
    """The column by its ``plain`` name, or empty text where there is none."""
    for column in frame.columns:
        if plain(column) == name:
            return frame[column]
    return pd.Series("", index=frame.index, dtype=str)


def first_column(frame: pd.DataFrame, role: str) -> str:
    """The column that usually has this role, or empty."""
    by_plain = {plain(column): column for column in reversed(frame.columns)}
    return next((by_plain[word] for word in ROLES[role] if word in by_plain), "")
