"""Density labels of whole exams: ``AccessionNumber,Classification`` and the films in ``archive/<accession>/``."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from mammo_core.data.adapters.base import Evidence, ImportChoices, LabelRule, LeftOut, Reading
from mammo_core.data.adapters.cells import each
from mammo_core.data.adapters.known import KNOWN_SET, LabelChoice, first_column, one_table, settle, tables_with, whole_number
from mammo_core.data.adapters.listing import Listing
from mammo_core.errors import DataError

COLUMNS = ("AccessionNumber", "Classification")
SPELLINGS = (COLUMNS, ("Accession_Number", "Classification"))
DENSITY_RULE = LabelRule(
    {"1": "A", "2": "B", "3": "C", "4": "D", "5": None, "A": "A", "B": "B", "C": "C", "D": "D"},
    ("A", "B", "C", "D"),
    ordinal=True,
)


@dataclass(frozen=True)
class ExamAdapter:
    """Every film below the folder of an exam has the exam's density."""

    name: str = "exams"
    title: str = "Density of whole exams (a folder an exam)"

    def recognises(self, listing: Listing, choices: ImportChoices) -> Evidence | None:
        for path, columns in _tables(listing, choices):
            frame = listing.table(path)
            folders = _folders(listing)
            named = [folder for folder in each(frame[_column(frame, columns[0])], whole_number) if folder in folders]
            if named and not first_column(frame, "file"):
                return Evidence(
                    KNOWN_SET,
                    f"{path.name} has the columns {' and '.join(columns)}, and films lie in folders named after the exams",
                )
        return None

    def read(self, listing: Listing, choices: ImportChoices) -> Reading:
        found = _tables(listing, choices)
        if not found:
            raise DataError(
                f"There is no table of exams here; expected one with the columns {' and '.join(COLUMNS)}. Choose another kind of "
                "data set, or the folder that holds the table."
            )
        table = one_table(listing, found[0][1], choices, self.title)
        raw = listing.table(table)
        exam, label = (_column(raw, name) for name in found[0][1])
        folders = _folders(listing)
        exams = each(raw[exam], whole_number)
        missing = exams[~exams.isin(folders.keys())]
        films = [
            {"image_file": name, "exam": number, "classification": whole_number(word)}
            for number, word in zip(exams, raw[label], strict=True)
            for name in folders.get(number, ())
        ]
        if not films:
            raise DataError(
                f"None of the {len(raw)} exams of {table.name} has a folder with films; expected folders named after the "
                "accession number, such as archive/12345. Choose the folder that holds them."
            )
        without_films = LeftOut("the exam has no folder with films (exams)", len(missing), tuple(missing.head(5)))
        base = Reading(
            rows=pd.DataFrame(films, dtype=str),
            columns={"file": "image_file", "exam": "exam"},
            table=table,
            origins={
                "file": "every film below the folder named after the exam",
                "exam": f"column {exam}",
                "label": f"column {label}, for all films of the exam",
            },
            left_out=(without_films,) if len(missing) else (),
        )
        words = "1 to 4 is density A to D; 5 stands for no density and is left out. All films of an exam have its label."
        return settle(base, [LabelChoice("density", "classification", words, DENSITY_RULE)], choices)


def _tables(listing: Listing, choices: ImportChoices) -> list[tuple[Path, tuple[str, str]]]:
    return [(path, columns) for columns in SPELLINGS for path in tables_with(listing, columns, choices)]


def _column(frame: pd.DataFrame, name: str) -> str:
    return next(str(column) for column in frame.columns if str(column).casefold().replace(" ", "_") == name.casefold())


def _folders(listing: Listing) -> dict[str, list[str]]:
    """Every folder name above a film -> the films below it."""
    found: dict[str, list[str]] = defaultdict(list)
    for name in listing.films:
        for folder in dict.fromkeys(name.split("/")[:-1]):
            found[folder].append(name)
    return found
