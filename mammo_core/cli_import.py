"""The commands that bring films: import, and fetch for the public sets that anyone may download."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mammo_core.cli_app import Json, app, comma_names, open_home
from mammo_core.errors import ConfigError
from mammo_core.terminal import ProgressBar, print_json, say, table_text

if TYPE_CHECKING:
    from mammo_core.data.adapters import ImportPlan
    from mammo_core.data.manifest import Dataset


@app.command("import")
def import_films(
    source: Path,
    name: Annotated[str, typer.Option(help="Name of the new data set.")] = "",
    task: Annotated[str | None, typer.Option(help="density, lesion or any other word.")] = None,
    adapter: Annotated[str, typer.Option(help="Kind of data set; auto works it out.")] = "auto",
    classes: Annotated[str | None, typer.Option(help="Class names in order, with commas.")] = None,
    ordinal: Annotated[
        bool | None, typer.Option("--ordinal/--nominal", help="Whether the order of the classes has a meaning.")
    ] = None,
    column: Annotated[list[str] | None, typer.Option(help="ROLE=COLUMN, such as patient=PatientNo; may be repeated.")] = None,
    label: Annotated[list[str] | None, typer.Option(help="VALUE=CLASS; VALUE= leaves its films out; may be repeated.")] = None,
    table: Annotated[str | None, typer.Option(help="File name of the table, where several lie there.")] = None,
    root: Annotated[Path | None, typer.Option(help="Folder of the films, where the table lies elsewhere.")] = None,
    patient_from: Annotated[
        str | None, typer.Option(help="column, exam, header, 'file name pattern' or 'each film alone'")
    ] = None,
    patient_pattern: Annotated[str | None, typer.Option(help="Pattern in the file name; its first group is the patient.")] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Only say what would be imported; nothing is written.")] = False,
    json: Json = False,
) -> None:
    """Import films with a table, in class-named folders, or of a known public set.

    Before anything is written it says what was recognised and why, which columns mean what, how labels map, and what is left out.
    """
    from mammo_core.data.adapters import ImportChoices, understand
    from mammo_core.data.adapters.describing import sentences
    from mammo_core.workflows.ingest import import_dataset

    if not name and not plan:
        raise ConfigError("import needs --name for the new data set, or --plan to only say what it would do.")
    choices = ImportChoices(
        adapter=adapter,
        task=task,
        root=root,
        table=table,
        class_names=comma_names(classes),
        ordinal=ordinal,
        columns=_pairs(column, "--column", "ROLE=COLUMN"),
        label_map={value: found or None for value, found in _pairs(label, "--label", "VALUE=CLASS").items()},
        patient_from=_patient_source(patient_from),  # type: ignore[arg-type]
        patient_pattern=patient_pattern,
    )
    understood = understand(source, choices)
    for sentence in sentences(understood):
        say(sentence)
    if plan:
        if json:
            print_json(_plan_json(understood))
        return
    dataset = import_dataset(open_home(), understood, name, ProgressBar("Reading films"))
    if json:
        print_json(dataset.record.to_json())
    else:
        _tell(dataset)


def _tell(dataset: Dataset) -> None:
    record, counts = dataset.record, dataset.record.counts
    say(f"{dataset.name}: {counts.films} films of {counts.patients} patients; {record.unreadable} films could not be read.")
    say(table_text([(label, counts.per_class[label]) for label in dataset.class_names], ("class", "films")))
    for sentence in (record.patient_statement, *record.warnings):
        say(sentence)


def _plan_json(plan: ImportPlan) -> dict[str, object]:
    return {
        "adapter": plan.adapter,
        "because": plan.because,
        "task": plan.task,
        "films": len(plan.rows),
        "classes": dict(plan.class_counts),
        "label_map": dict(plan.label_map),
        "origins": dict(plan.origins),
        "patients": plan.patient_statement,
        "left_out": [{"reason": item.reason, "count": item.count} for item in plan.left_out],
        "notes": list(plan.notes),
        "warnings": list(plan.warnings),
    }


def _pairs(texts: list[str] | None, option: str, form: str) -> dict[str, str]:
    strange = [text for text in texts or () if "=" not in text]
    if strange:
        raise ConfigError(f"{option} is {strange[0]!r}; expected {form}.")
    parts = [text.partition("=") for text in texts or ()]
    return {name.strip(): value.strip() for name, _, value in parts}


def _patient_source(text: str | None) -> str | None:
    from mammo_core.data.adapters.base import PATIENT_STATEMENTS

    if text is not None and text not in PATIENT_STATEMENTS:
        raise ConfigError(f"--patient-from is {text!r}; expected one of {', '.join(PATIENT_STATEMENTS)}.")
    return text


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="btxrd or mini-mias.")],
    out: Annotated[Path, typer.Option(help="Folder in which the set's own folder is made.")],
    json: Json = False,
) -> None:
    """Download a public set that is free to download; goes on where an earlier attempt stopped."""
    from mammo_core.data.fetch import DOWNLOADS
    from mammo_core.data.fetch import fetch as fetch_set

    if name in DOWNLOADS:
        say(f"{DOWNLOADS[name].title} ({DOWNLOADS[name].size}). {DOWNLOADS[name].terms}")
    folder = fetch_set(name, out, ProgressBar("Fetching"))
    say(f"Import it with: import {folder} --name {name}")
    if json:
        print_json({"name": name, "folder": str(folder)})
