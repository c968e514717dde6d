"""From an adapter's reading to an import plan: labels, files, double rows and patients are settled here for every data set."""

from __future__ import annotations

import os
import re
from collections import Counter

import pandas as pd

from mammo_core.data.adapters.base import ROW_COLUMNS, Adapter, ImportChoices, ImportPlan, LeftOut, PatientSource, Reading
from mammo_core.data.adapters.labels import Labels, understand_labels
from mammo_core.data.adapters.listing import FileIndex, Listing
from mammo_core.data.adapters.words import HARMLESS_COLUMNS, cbis_parts, harmless_value, patient_of, plain, side_of, view_of
from mammo_core.errors import DataError
from mammo_core.storage import check_name

EXAMPLES = 5
MAX_FURTHER_VALUES = 60
"""A further column with more different words than this is free text, which may name a person."""


def make_plan(adapter: Adapter, listing: Listing, choices: ImportChoices) -> ImportPlan:
    """Read the source with ``adapter`` and settle what every data set has in common.

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
    labels = understand_labels(Counter(rows["label"]), task, choices, plain(reading.label_column) or "class")
    check_name(labels.task, "task")
    warnings += labels.warnings

    rows = _apply_labels(rows, labels, left_out)
    if not reading.files_are_found:
        rows = _find_files(rows, listing, left_out)
    rows = _one_row_a_film(rows, labels, left_out, warnings)
    if rows.empty:
        reasons = "; ".join(f"{item.count}: {item.reason}" for item in left_out)
        raise DataError(f"No film is left to import ({reasons}). Correct the columns, the label map or the folder of films.")
    patient_from = _patient_source(rows, reading, choices)
    rows = _tidy(rows, patient_from, choices)
    warnings += _remarks(rows, labels, listing, patient_from)
    counts = Counter(rows["label"])
    return ImportPlan(
        listing=listing,
        choices=choices,
        adapter=adapter.name,
        task=labels.task,
        table=reading.table,
        columns=dict(reading.columns),
        columns_found=reading.columns_found,
        further_columns=tuple(column for column in rows.columns if column not in ROW_COLUMNS),
        class_names=labels.class_names,
        label_map=labels.mapping,
        class_counts={name: counts[name] for name in labels.class_names},
        ordinal=labels.ordinal,
        patient_from=patient_from,
        rows=rows,
        left_out=tuple(left_out),
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
    return rows.assign(label=rows["label"].map(labels.mapping).astype(str))


def _find_files(rows: pd.DataFrame, listing: Listing, left_out: list[LeftOut]) -> pd.DataFrame:
    found = [listing.film_index.find(cell) for cell in rows["file"]]
    matches = pd.Series([len(names) for names in found], index=rows.index)
    rows = rows.assign(found=[names[0] if len(names) == 1 else "" for names in found])
    rows = _leave_out(rows, matches == 0, "the film file is missing", left_out)
    rows = _leave_out(rows, matches[matches > 0] > 1, "the file name fits several files", left_out)
    masks = _unique_matches(rows["mask"], listing.mask_index) if (rows["mask"] != "").any() else ""
    return rows.assign(file=rows["found"], mask=masks).drop(columns="found")


def _unique_matches(cells: pd.Series[str], index: FileIndex) -> list[str]:
    found = [index.find(cell) if cell else [] for cell in cells]
    return [names[0] if len(names) == 1 else "" for names in found]


def _one_row_a_film(rows: pd.DataFrame, labels: Labels, left_out: list[LeftOut], warnings: list[str]) -> pd.DataFrame:
    """Join the rows of one film: the worst lesion label counts; elsewhere two different labels leave the film out."""
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
    rows = _leave_out(rows, rows["file"].duplicated(), "a further row of a film that is already listed", left_out)
    return rows.sort_values("file", kind="stable").reset_index(drop=True)


# ---- patients ------------------------------------------------------------------------------------------------------------


def _patient_source(rows: pd.DataFrame, reading: Reading, choices: ImportChoices) -> PatientSource:
    """Where patients come from: as chosen, else the best that the source offers."""
    if choices.patient_from is not None:
        if choices.patient_from in ("column", "exam") and not (rows[_role_of(choices.patient_from)] != "").any():
            raise DataError(
                f"Patients should come from the {_role_of(choices.patient_from)} column, but there is none with values; the "
                f"columns found are {', '.join(reading.columns_found) or 'none'}. Set it, or choose another patient source."
            )
        return choices.patient_from
    if (rows["patient"].map(patient_of) != "").any():
        return "column"
    if choices.patient_pattern or rows["file"].map(lambda name: cbis_parts(name) is not None).all():
        return "file name pattern"
    if rows["file"].map(_may_have_header).any():
        return "header"
    return "exam" if (rows["exam"] != "").any() else "each film alone"


def _role_of(source: PatientSource) -> str:
    return "patient" if source == "column" else "exam"


def _may_have_header(name: str) -> bool:
    suffix = os.path.splitext(name)[1].lower()
    return suffix in ("", ".dcm", ".dicom", ".dic") or suffix[1:].isdecimal()


def _patient_in_name(name: str, pattern: re.Pattern[str] | None) -> str:
    if pattern is None:
        parts = cbis_parts(name)
        return parts[0] if parts else ""
    match = pattern.search(name)
    return (match[1] or "").strip() if match else ""


def _compiled(pattern: str | None) -> re.Pattern[str] | None:
    if pattern is None:
        return None
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise DataError(
            f"The patient pattern is no regular expression ({error}); expected one with a group, such as '^([^_]+)_'."
        ) from error
    if compiled.groups < 1:
        raise DataError("The patient pattern has no group in brackets; expected one around the patient, such as '^([^_]+)_'.")
    return compiled


# ---- the other columns ---------------------------------------------------------------------------------------------------


def _tidy(rows: pd.DataFrame, patient_from: PatientSource, choices: ImportChoices) -> pd.DataFrame:
    """Bring sides, views, patients and further columns to their one spelling; CBIS-like names fill side and view."""
    if patient_from == "column":
        patients = rows["patient"].map(patient_of)
    elif patient_from == "file name pattern":
        pattern = _compiled(choices.patient_pattern)
        patients = rows["file"].map(lambda name: _patient_in_name(name, pattern))
    else:
        patients = pd.Series("", index=rows.index)
    named = [cbis_parts(name) or ("", "", "") for name in rows["file"]]
    further = {
        column: [harmless_value(column, value) for value in rows[column]] for column in rows.columns if column not in ROW_COLUMNS
    }
    return rows.assign(
        patient=patients,
        exam=rows["exam"].map(lambda value: value if patient_of(value) else ""),
        laterality=[side_of(value) or parts[1] for value, parts in zip(rows["laterality"], named, strict=True)],
        view=[view_of(value) or parts[2] for value, parts in zip(rows["view"], named, strict=True)],
        **further,
    )


def _remarks(rows: pd.DataFrame, labels: Labels, listing: Listing, patient_from: PatientSource) -> list[str]:
    """Sentences on what deserves a look before the import."""
    remarks = []
    unlisted = len(listing.films) - rows["file"].nunique()
    if unlisted:
        remarks.append(f"{unlisted} of {len(listing.films)} film files in the folder are not imported.")
    counts = Counter(rows["label"])
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
