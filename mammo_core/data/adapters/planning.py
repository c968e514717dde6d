"""From an adapter's reading to an import plan: labels, files, double rows and patients are settled here for every data set."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from functools import partial

import pandas as pd

from mammo_core.data.adapters.base import (
    PATIENT_STATEMENTS,
    ROW_COLUMNS,
    Adapter,
    ImportChoices,
    ImportPlan,
    LeftOut,
    PatientSource,
    Reading,
)
from mammo_core.data.adapters.cells import each
from mammo_core.data.adapters.describing import centres_without_label, lesions_of, origins_of
from mammo_core.data.adapters.labels import Labels, understand_labels
from mammo_core.data.adapters.listing import FileIndex, Listing
from mammo_core.data.adapters.words import HARMLESS_COLUMNS, cbis_parts, harmless_value, patient_of, plain, side_of, view_of
from mammo_core.errors import DataError
from mammo_core.storage import check_name

EXAMPLES = 5
ANY_SOURCE = frozenset({"table", "folders", "split-manifest"})
"""Adapters that take columns of any name."""
MAX_PATTERN = 200
MAX_SEARCH_SECONDS = 10
"""A sound pattern takes one second for a million file names."""
SEARCH = """
import json, re, sys
pattern, names = json.load(sys.stdin)
found = map(re.compile(pattern).search, names)
json.dump([(match[1] or "").strip() if match else "" for match in found], sys.stdout)
"""
MAX_FURTHER_VALUES = 60
"""A further column with more different words than this is free text, which may name a person."""


def make_plan(adapter: Adapter, listing: Listing, choices: ImportChoices, because: str = "you chose it") -> ImportPlan:
    """Read the source with ``adapter`` and settle what every data set has in common.

    Parameters
    ----------
    because : str
        Why this adapter, for the user.

    Raises
    ------
    DataError
        As the adapter and :func:`understand_labels`; also where no film is left, with the reasons and their counts.
    """
    reading = adapter.read(listing, choices)
    rows = reading.rows.reindex(columns=[*ROW_COLUMNS, *_further(reading.rows)], fill_value="")
    left_out = list(reading.left_out)
    warnings = list(reading.warnings)

    task = choices.task or reading.task
    rule = reading.label_rule
    labels = understand_labels(Counter(rows["label"].tolist()), task, choices, plain(reading.label_column) or "class", rule)
    check_name(labels.task, "task")
    warnings += [*labels.warnings, *centres_without_label(rows)]

    words = rows["label"]
    rows = _apply_labels(rows, labels, left_out)
    cells = rows["file"]
    if not reading.files_are_found:
        rows = _find_files(rows, listing, left_out)
    found_as = dict(zip(cells[rows.index].tolist(), rows["file"].tolist(), strict=True))
    rows = _one_row_a_film(rows, labels, _Remarks(left_out, warnings, reading.row_is))
    if rows.empty:
        reasons = "; ".join(f"{item.count}: {item.reason}" for item in left_out)
        raise DataError(f"No film is left to import ({reasons}). Correct the columns, the label map or the folder of films.")
    patient_from = _patient_source(rows, reading, choices)
    word_counts = _films_of_words(words, rows.index, labels)
    rows = _tidy(rows.reset_index(drop=True), patient_from, choices)
    warnings += _remarks(rows, labels, listing, patient_from)
    counts = Counter(rows["label"].tolist())
    statement = reading.patient_statement if choices.patient_from in (None, reading.patient_from) else ""
    return ImportPlan(
        listing=listing,
        choices=choices,
        adapter=adapter.name,
        title=adapter.title,
        because=because,
        is_known_set=adapter.name not in ANY_SOURCE,
        task=labels.task,
        table=reading.table,
        columns=dict(reading.columns),
        columns_found=reading.columns_found,
        further_columns=tuple(column for column in rows.columns if column not in ROW_COLUMNS),
        origins=origins_of(reading, rows, patient_from),
        label_words=reading.label_words,
        class_names=labels.class_names,
        label_map=labels.mapping,
        word_counts=word_counts,
        class_counts={name: counts[name] for name in labels.class_names},
        ordinal=labels.ordinal,
        patient_from=patient_from,
        rows=rows,
        lesions=lesions_of(reading, found_as, rows),
        patient_statement=statement or PATIENT_STATEMENTS[patient_from],
        brings_split=reading.brings_split,
        left_out=tuple(left_out),
        notes=reading.notes,
        warnings=tuple(warnings),
        synthetic=choices.synthetic or reading.synthetic,
    )


def _further(rows: pd.DataFrame) -> list[str]:
    """Names of the harmless further columns that hold categories rather than free text."""
    names = [name for name in rows.columns if name in HARMLESS_COLUMNS]
    return [name for name in names if name in ("age", "patient_age") or rows[name].nunique() <= MAX_FURTHER_VALUES]


def _leave_out(rows: pd.DataFrame, which: pd.Series[bool], reason: str, left_out: list[LeftOut]) -> pd.DataFrame:
    if which.any():
        examples = tuple(str(name) for name in rows.loc[which, "file"].head(EXAMPLES))
        left_out.append(LeftOut(reason, int(which.sum()), examples))
    return rows[~which]


def _apply_labels(rows: pd.DataFrame, labels: Labels, left_out: list[LeftOut]) -> pd.DataFrame:
    """Replace words by class names; rows without a label are counted and dropped, never guessed."""
    rows = _leave_out(rows, rows["label"].str.strip() == "", "the label is empty", left_out)
    for value, name in sorted(labels.mapping.items()):
        if name is None:
            rows = _leave_out(rows, rows["label"] == value, f"the label {value!r} stands for no class", left_out)
    return rows.assign(label=[str(labels.mapping[word]) for word in rows["label"].tolist()])


def _films_of_words(words: pd.Series[str], kept: pd.Index[int], labels: Labels) -> dict[str, int]:
    """Each word -> films that got their class by it; for a word without a class its rows, whose films were left out."""
    by_word, rows = Counter(words.loc[kept].tolist()), Counter(words.tolist())
    return {word: rows[word] if name is None else by_word[word] for word, name in labels.mapping.items()}


def _find_files(rows: pd.DataFrame, listing: Listing, left_out: list[LeftOut]) -> pd.DataFrame:
    films = frozenset(listing.films)
    found = [[cell] if cell in films else listing.film_index.find(cell) for cell in rows["file"].tolist()]
    matches = pd.Series([len(names) for names in found], index=rows.index)
    rows = rows.assign(found=[names[0] if len(names) == 1 else "" for names in found])
    rows = _leave_out(rows, matches == 0, "the film file is missing", left_out)
    rows = _leave_out(rows, matches[matches > 0] > 1, "the file name fits several files", left_out)
    masks: list[str] | str = ""
    if (rows["mask"] != "").any():
        there = frozenset(listing.masks) | frozenset(listing.films)
        masks = [_found_masks(cell, there, listing.mask_index) for cell in rows["mask"].tolist()]
    return rows.assign(file=rows["found"], mask=masks).drop(columns="found")


def _found_masks(cell: str, there: frozenset[str], index: FileIndex) -> str:
    """The mask files that a cell names, one a line; a name that fits several files is passed over."""
    found = []
    for name in cell.split("\n") if cell else ():
        names = [name] if name in there else index.find(name)
        found += names if len(names) == 1 else []
    return "\n".join(found)


def _masks_of_films(rows: pd.DataFrame) -> dict[str, str]:
    """Film -> the masks of all its rows, one a line, each once."""
    masks: dict[str, dict[str, None]] = {}
    for name, cell in zip(rows["file"].tolist(), rows["mask"].tolist(), strict=True):
        if cell:
            masks.setdefault(name, {}).update(dict.fromkeys(cell.split("\n")))
    return {name: "\n".join(found) for name, found in masks.items()}


@dataclass(frozen=True)
class _Remarks:
    """Where the joining of rows writes what it did."""

    left_out: list[LeftOut]
    warnings: list[str]
    row_is: str


def _one_row_a_film(rows: pd.DataFrame, labels: Labels, remarks: _Remarks) -> pd.DataFrame:
    """Join the rows of one film: the worst lesion label counts; elsewhere two different labels leave the film out."""
    left_out, warnings = remarks.left_out, remarks.warnings
    conflicting = rows.groupby("file", sort=False)["label"].transform("nunique") > 1
    if labels.worst_wins:
        films = rows.loc[conflicting, "file"].nunique()
        if films:
            worst = " before ".join(reversed(labels.class_names))
            warnings.append(f"{films} film(s) have several rows with different labels; the worst one counts ({worst}).")
        worst_first = rows["label"].map(labels.class_names.index).sort_values(ascending=False, kind="stable")
        rows = rows.loc[worst_first.index]
    else:
        rows = _leave_out(rows, conflicting, "rows of one film give different labels", left_out)
    if remarks.row_is == "lesion":
        masks = _masks_of_films(rows)
        rows = rows.assign(mask=[masks.get(name, "") for name in rows["file"].tolist()])
        reason = "a further lesion row of a film, joined with its other rows"
    else:
        reason = "a further row of a film that is already listed"
    rows = _leave_out(rows, rows["file"].duplicated(), reason, left_out)
    return rows.sort_values("file", kind="stable")


# ---- patients ------------------------------------------------------------------------------------------------------------


def _patient_source(rows: pd.DataFrame, reading: Reading, choices: ImportChoices) -> PatientSource:
    """Where patients come from: as chosen, else the best that the source offers."""
    if choices.patient_from is None and choices.patient_pattern is None and reading.patient_from is not None:
        return reading.patient_from
    if choices.patient_from is not None:
        if choices.patient_from in ("column", "exam") and not (rows[_role_of(choices.patient_from)] != "").any():
            raise DataError(
                f"Patients should come from the {_role_of(choices.patient_from)} column, but there is none with values; the "
                f"columns found are {', '.join(reading.columns_found) or 'none'}. Set it, or choose another patient source."
            )
        return choices.patient_from
    if (each(rows["patient"], patient_of) != "").any():
        return "column"
    if choices.patient_pattern or all(cbis_parts(name) is not None for name in rows["file"].tolist()):
        return "file name pattern"
    if any(_may_have_header(name) for name in rows["file"].tolist()):
        return "header"
    return "exam" if (rows["exam"] != "").any() else "each film alone"


def _role_of(source: PatientSource) -> str:
    return "patient" if source == "column" else "exam"


def _may_have_header(name: str) -> bool:
    suffix = os.path.splitext(name)[1].lower()
    return suffix in ("", ".dcm", ".dicom", ".dic") or suffix[1:].isdecimal()


def _patients_in_names(names: list[str], pattern: str | None) -> list[str]:
    if pattern is None:
        return [parts[0] if (parts := cbis_parts(name)) else "" for name in names]
    _check_pattern(pattern)
    # A pattern such as '((a+)+)_' can search for years, and nothing can stop it within this process.
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-c", SEARCH], input=json.dumps([pattern, names]), capture_output=True, text=True, check=True,
            timeout=MAX_SEARCH_SECONDS,
        )  # fmt: skip
    except subprocess.SubprocessError as error:
        raise DataError(
            f"The patient pattern cannot be searched for in these file names within {MAX_SEARCH_SECONDS} s; expected one without "
            "a repeat inside a repeat, such as '^([^_]+)_' instead of '^(([a-z]+)+)_'."
        ) from error
    return [str(name) for name in json.loads(done.stdout)]


def _check_pattern(pattern: str) -> None:
    if len(pattern) > MAX_PATTERN:
        raise DataError(f"The patient pattern has more than {MAX_PATTERN} signs; expected a short one, such as '^([^_]+)_'.")
    try:
        compiled = re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise DataError(
            f"The patient pattern is no regular expression ({error}); expected one with a group, such as '^([^_]+)_'."
        ) from error
    if compiled.groups < 1:
        raise DataError("The patient pattern has no group in brackets; expected one around the patient, such as '^([^_]+)_'.")


# ---- the other columns ---------------------------------------------------------------------------------------------------


def _tidy(rows: pd.DataFrame, patient_from: PatientSource, choices: ImportChoices) -> pd.DataFrame:
    """Bring sides, views, patients and further columns to their one spelling; CBIS-like names fill side and view."""
    if patient_from == "column":
        patients = each(rows["patient"], patient_of)
    elif patient_from == "file name pattern":
        patients = pd.Series(_patients_in_names(rows["file"].tolist(), choices.patient_pattern), index=rows.index, dtype=str)
    else:
        patients = pd.Series("", index=rows.index)
    named = [cbis_parts(name) or ("", "", "") for name in rows["file"].tolist()]
    further = {
        column: each(rows[column], partial(harmless_value, column)) for column in rows.columns if column not in ROW_COLUMNS
    }
    return rows.assign(
        patient=patients,
        exam=each(rows["exam"], lambda value: value if patient_of(value) else ""),
        laterality=[side or parts[1] for side, parts in zip(each(rows["laterality"], side_of).tolist(), named, strict=True)],
        view=[view or parts[2] for view, parts in zip(each(rows["view"], view_of).tolist(), named, strict=True)],
        **further,
    )


def _remarks(rows: pd.DataFrame, labels: Labels, listing: Listing, patient_from: PatientSource) -> list[str]:
    """Sentences on what deserves a look before the import."""
    remarks = []
    used = set(rows["file"].tolist()) | set("\n".join(rows["mask"].tolist()).split("\n"))
    unlisted = sum(name not in used for name in listing.films)
    if unlisted:
        remarks.append(f"{unlisted} of {len(listing.films)} film files in the folder are not imported.")
    counts = Counter(rows["label"].tolist())
    empty = [name for name in labels.class_names if not counts[name]]
    if empty:
        remarks.append(f"No film is left of class {', '.join(empty)}.")
    if patient_from in ("column", "file name pattern"):
        unknown = int((rows["patient"] == "").sum())
        if unknown:
            remarks.append(f"{unknown} film(s) have no patient; each becomes its own group, unless its exam is known.")
    return remarks + _lone_patients(rows)


def _lone_patients(rows: pd.DataFrame) -> list[str]:
    """Whether every film has a patient of its own, which mostly means that the column holds film ids."""
    patients = rows.loc[rows["patient"] != "", "patient"]
    if len(patients) > 10 and patients.nunique() == len(patients):
        return ["Every film has a patient of its own; check that the patient column does not hold film ids."]
    return []
