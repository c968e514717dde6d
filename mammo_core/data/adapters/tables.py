"""Films named by a table: one row a film (or a lesion), columns found by their usual names. Also the phantom sets of this app."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from mammo_core.data.adapters.base import Evidence, ImportChoices, Reading, SeveralLabels
from mammo_core.data.adapters.listing import TABLE_SUFFIXES, Listing
from mammo_core.data.adapters.words import LABEL_WORDS, ROLES, plain
from mammo_core.errors import DataError

ROWS_TRIED = 200
"""Rows in which a table or column must name at least one film to count as naming films."""

PHANTOM_COLUMNS = ("file", "patient_id", "exam_id", "laterality", "view", "center", "vendor", "density", "lesion", "mask")


@dataclass(frozen=True)
class TableAdapter:
    """A CSV, TSV or Excel table in or beside the folder of films."""

    name: str = "table"
    title: str = "Films named by a table (CSV, TSV, Excel, Parquet)"

    def recognises(self, listing: Listing, choices: ImportChoices) -> Evidence | None:
        if choices.table or (listing.source.is_file() and listing.tables):
            return Evidence(50, f"the table {choices.table or listing.source.name} was chosen")
        naming = [path.name for path in listing.tables if _names_films(listing, path)]
        return Evidence(50, f"the table {' and '.join(naming[:3])} names the film files") if naming else None

    def read(self, listing: Listing, choices: ImportChoices) -> Reading:
        path = _choose_table(listing, choices)
        frame = listing.table(path)
        columns = _understand_columns(listing, frame, choices, path.name)
        label_column, task = _label_column(frame, choices, path.name)
        columns["label"] = label_column
        rows = pd.DataFrame({role: frame[column] for role, column in columns.items()})
        for column in frame.columns:
            if column not in columns.values() and plain(column) not in rows.columns:
                rows[plain(column)] = frame[column]
        return Reading(
            rows=rows, columns=columns, columns_found=tuple(frame.columns), label_column=label_column, task=task, table=path
        )


@dataclass(frozen=True)
class PhantomAdapter:
    """Films made by ``mammography phantom``: known by ``phantom.csv`` and its exact columns."""

    name: str = "phantom"
    title: str = "Phantom films made by this app"

    def recognises(self, listing: Listing, choices: ImportChoices) -> Evidence | None:
        return Evidence(90, "there is a phantom.csv with the columns of a phantom set") if self._table(listing) else None

    def read(self, listing: Listing, choices: ImportChoices) -> Reading:
        table = self._table(listing)
        if table is None:
            raise DataError("There is no phantom.csv with the columns of a phantom set; choose another adapter, such as 'table'.")
        return replace(TableAdapter().read(listing, replace(choices, table=table.name)), synthetic=True)

    def _table(self, listing: Listing) -> Path | None:
        tables = [path for path in listing.tables if path.name == "phantom.csv"]
        return next((path for path in tables if listing.columns(path) == PHANTOM_COLUMNS), None)


def _choose_table(listing: Listing, choices: ImportChoices) -> Path:
    """The table that names the films; several that do are a question to the user."""
    names = ", ".join(path.name for path in listing.tables) or "none"
    if choices.table is not None:
        chosen = [path for path in listing.tables if path.name == choices.table]
        if not chosen:
            raise DataError(f"There is no table {choices.table!r} there; the tables found are {names}.")
        return chosen[0]
    naming = [path for path in listing.tables if _names_films(listing, path)]
    if len(naming) > 1:
        labelled = [path for path in naming if _label_candidates(listing.table(path), choices.task)]
        naming = labelled or naming
    if len(naming) > 1:
        raise DataError(
            f"Several tables name the films: {', '.join(path.name for path in naming)}; choose one of them as the source."
        )
    if not naming and len(listing.tables) != 1:
        found = f"Of the tables found ({names}), none names" if listing.tables else "There is no table that names"
        raise DataError(
            f"{found} the film files; expected one of {', '.join(sorted(TABLE_SUFFIXES))} with a column of file names. "
            "Choose the table itself as the source, or set the file column."
        )
    return (naming or listing.tables)[0]


def _names_films(listing: Listing, path: Path) -> bool:
    try:
        return bool(_file_column(listing, listing.table(path)))
    except DataError:
        return False  # some other table that lies there, unreadable or empty


def _file_column(listing: Listing, frame: pd.DataFrame) -> str:
    """The column that names most films: a usual name wins over a strange one; empty where none names any."""
    best, best_score = "", 0.0
    for column in frame.columns:
        cells = frame[column].head(ROWS_TRIED)
        hits = sum(bool(listing.film_index.find(cell)) for cell in cells) / len(cells)
        usual = plain(column) in ROLES["file"]
        score = hits + usual * (1 - ROLES["file"].index(plain(column)) / 1000) if usual else hits
        # A column without a usual name must name most films: numbers can hit a file by chance.
        if hits > (0 if usual else 0.5) and score > best_score:
            best, best_score = column, score
    return best


def _understand_columns(listing: Listing, frame: pd.DataFrame, choices: ImportChoices, table: str) -> dict[str, str]:
    """Role -> column, from the user's word, else from the usual names."""
    chosen = chosen_columns(tuple(frame.columns), choices, table)
    columns: dict[str, str] = {}
    for role, words in ROLES.items():
        if role in chosen:
            found = chosen[role]
        elif role == "file":
            found = _file_column(listing, frame) or _first_named(
                frame, tuple(word for word in words if word not in ("id", "name")), set()
            )
        else:
            found = _first_named(frame, words, {*columns.values(), *chosen.values()})
        if found:
            columns[role] = found
    if "file" not in columns:
        raise DataError(
            f"{table} has no column that names the film files; its columns are {', '.join(frame.columns)}. "
            "Set the 'file' column, or choose the folder in which the films lie."
        )
    return columns


def chosen_columns(columns: Sequence[str], choices: ImportChoices, table: str) -> Mapping[str, str]:
    """Role -> column as the user set it, in the table's own spelling; empty where the user said that there is none.

    Raises
    ------
    DataError
        There is no such role or column.
    """
    by_plain = {plain(column): column for column in columns}
    chosen: dict[str, str] = {}
    for role, column in choices.columns.items():
        if role != "label" and role not in ROLES:
            raise DataError(f"There is no column role {role!r}; expected one of {', '.join([*ROLES, 'label'])}.")
        if column and plain(column) not in by_plain:
            raise DataError(
                f"{table} has no column {column!r} for '{role}'; its columns are {', '.join(columns)}. Choose one of them."
            )
        chosen[role] = by_plain[plain(column)] if column else ""
    return chosen


def _first_named(frame: pd.DataFrame, words: tuple[str, ...], taken: set[str]) -> str:
    by_plain = {plain(column): column for column in reversed(frame.columns) if column not in taken}
    return next((by_plain[word] for word in words if word in by_plain), "")


def _label_column(frame: pd.DataFrame, choices: ImportChoices, table: str) -> tuple[str, str | None]:
    """The label column and the task it speaks of.

    Raises
    ------
    DataError
        No column looks like a label, or several do and neither task nor choice decides; the text names them.
    """
    chosen = chosen_columns(tuple(frame.columns), choices, table).get("label")
    if chosen:
        return chosen, next((task for task, words in LABEL_WORDS.items() if plain(chosen) in words), None) or None
    candidates = _label_candidates(frame, choices.task)
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        raise SeveralLabels(
            f"{table} has several label columns: {', '.join(column for column, _ in candidates)}. "
            "Say which one with the task (density or lesion) or set the 'label' column.",
            tuple(dict.fromkeys(task for _, task in candidates if task)),
        )
    raise DataError(
        f"{table} has no label column for the task {choices.task or '(none chosen)'}; its columns are "
        f"{', '.join(frame.columns)}. Set the 'label' column."
    )


def _label_candidates(frame: pd.DataFrame, task: str | None) -> list[tuple[str, str | None]]:
    """Columns that may hold the label, with their task. A column for the task goes before one for any task."""
    by_plain = {plain(column): column for column in frame.columns}
    if task is None:
        return [(by_plain[word], kind or None) for kind, words in LABEL_WORDS.items() for word in words if word in by_plain]
    for words in (LABEL_WORDS.get(task, (plain(task),)), LABEL_WORDS[""]):
        found: list[tuple[str, str | None]] = [(by_plain[word], task) for word in words if word in by_plain]
        if found:
            return found
    return []
