"""The commands that show what a run found: evaluate, diagnose, compare, report-pack, gradcam."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mammo_core import cli_maps, cli_models
from mammo_core.cli_app import Json, Runs, app, comma_names, open_home
from mammo_core.errors import MammoError
from mammo_core.terminal import ProgressBar, answer, print_json, say, table_text

__all__ = ["cli_maps", "cli_models"]
"""They register their commands when they are imported."""


@app.command()
def evaluate(
    run: str, on: Annotated[str, typer.Option(help="val, test or the name of another data set.")] = "val", json: Json = False
) -> None:
    """Judge a run's best checkpoint; each look at the test split is counted."""
    from mammo_core.runs.run_dir import find_run
    from mammo_core.workflows.commands import metric_rows
    from mammo_core.workflows.evaluation import evaluate_run

    workspace = open_home()
    metrics = evaluate_run(workspace, find_run(workspace, run), on, ProgressBar("Preparing films"))
    if json:
        print_json(metrics.to_json())
    else:
        answer(f"{metrics.n} films of {metrics.patients} patients, epoch {metrics.epoch}")
        answer(table_text(metric_rows(metrics), ("metric", "value", "95 % interval", "method")))


Columns = Annotated[
    list[str] | None,
    typer.Option(
        "--column",
        metavar="NAME=COLUMN",
        help="Read COLUMN of the file as NAME (epoch, train_loss, val_loss, train_acc, val_acc, train_score, val_score, lr, "
        "seconds), where the names alone do not tell; may be repeated.",
    ),
]


def _mapping(columns: list[str] | None) -> dict[str, str]:
    from mammo_core.errors import DataError
    from mammo_core.workflows.foreign_preview import parse_mapping

    try:
        return parse_mapping(columns or ())
    except DataError as error:
        raise typer.BadParameter(str(error), param_hint="--column") from error


@app.command()
def diagnose(
    paths: Annotated[list[str], typer.Argument(help="Runs, history files of any tool, or their results folders.")],
    column: Columns = None,
    json: Json = False,
) -> None:
    """Did it converge? A verdict with its evidence on runs, or on histories of other tools.

    Read are Keras, Lightning, Ultralytics, Hugging Face, fastai, timm, nnU-Net and TensorBoard logs, the files and folders of
    the density and lesion reference setups, and any CSV or JSON with a row an epoch:
    diagnose metrics.csv --column val_loss="my column"
    """
    from mammo_core.runs.run_dir import find_run
    from mammo_core.workflows.diagnose import diagnose_path

    mapping, workspace, judged = _mapping(column), open_home(), []
    for text in paths:
        path = text
        if not Path(text).expanduser().exists():
            try:
                path = str(find_run(workspace, text).path)
            except MammoError:
                path = text  # no run either: the sentence about the path says what was looked for
        judged.append({**diagnose_path(path, mapping or None), "path": text})
    if json:
        print_json(judged)
    else:
        for item in judged:
            _tell_judged(item)
    if any(item["error"] for item in judged):
        raise typer.Exit(1)


def _tell_judged(item: dict[str, Any]) -> None:
    from mammo_core.analysis.diagnosis.text import merged

    histories = item.get("histories", ())
    if len(histories) > 1 and Path(item["path"]).expanduser().is_dir():
        answer(f"{item['path']}: a folder of {len(histories)} histories; each is judged by itself:")
        for history in histories:
            answer(f"  {history['label']}, {history['rows']} rows: {history['verdict']} - {history['headline']}")
        answer("  Name one of its files or sub-folders to see what led to its verdict.")
        return
    answer(f"{item['path']}: {item['error'] or item['verdict'] + ' - ' + item['headline']}")
    for finding in merged(item["findings"]):
        answer(f"  {finding['severity']}: {finding['text']}")
    for fact in item.get("facts", ()):
        answer(f"  read: {fact}")
    if len(histories) > 1:
        answer(f"  The file holds {len(histories)} histories; the longest is judged above:")
        for history in histories:
            answer(f"  {history['label']}, {history['rows']} rows: {history['verdict']} - {history['headline']}")


@app.command("import-history")
def import_history(
    file: Annotated[Path, typer.Argument(help="History file of another tool, or its results folder.")],
    name: Annotated[str, typer.Option(help="Name of the imported experiment.")],
    column: Columns = None,
    json: Json = False,
) -> None:
    """Take over a training history of another tool, so that it can be charted, judged and compared.

    A file with several histories (models, folds) becomes several runs of one experiment. For example:
    import-history metrics.csv --name rival --column val_loss="my column"
    """
    from mammo_core.runs.importers import import_history as take_over
    from mammo_core.workflows.diagnose import diagnose_run

    mapping = _mapping(column)
    runs = take_over(open_home(), file.expanduser(), name, mapping or None)
    taken = [{"run": run.id, "epochs": len(run.history()), **_verdict_of(diagnose_run(run))} for run in runs]
    if json:
        print_json(taken)
    else:
        for item in taken:
            say(f"{item['run']}: {item['epochs']} epochs, {item['verdict']} - {item['headline']}")


def _verdict_of(diagnosis: Any) -> dict[str, str]:
    return {"verdict": diagnosis.verdict, "headline": diagnosis.headline}


@app.command()
def compare(names: list[str], on: Annotated[str, typer.Option(help="val or test")] = "val", json: Json = False) -> None:
    """Compare experiments (or single runs): mean, SD (n-1), n and interval, all at each run's best epoch."""
    from mammo_core.analysis.compare import compare as compare_groups
    from mammo_core.workflows.commands import comparison_lines, groups_of

    result = compare_groups(groups_of(open_home(), names), on)
    if json:
        print_json(result)
    else:
        for line in comparison_lines(result):
            answer(line)


@app.command("report-pack")
def report_pack(
    run: Runs,
    assets_dir: Annotated[Path, typer.Option(help="Folder for the figures; made if missing.")],
    format: Annotated[str, typer.Option(help="png,svg,pdf")] = "png,svg,pdf",
    preset: Annotated[str, typer.Option(help="single (85 mm), double (180 mm) or slide (254 mm)")] = "single",
    json: Json = False,
) -> None:
    """Write the figures, tables, checklists and model cards of runs into a folder and a zip."""
    from mammo_core.report.figures import FigureSize
    from mammo_core.workflows.pack import make_pack

    size, progress = FigureSize(preset), ProgressBar("Report pack")
    made = make_pack(open_home(), run, assets_dir, formats=comma_names(format), size=size, progress=progress)
    if json:
        print_json(
            {"zip": str(made.zip_path), "files": [str(path) for path in made.files], "problems": list(made.problems)}
            | {"missing": dict(made.missing)}
        )
    for problem in made.problems:
        say(f"Note: {problem}")
    say(f"{made.words}; in {assets_dir}")
    raise typer.Exit(1 if any(made.missing.values()) else 0)


@app.command()
def gradcam(
    run: str = typer.Option(help="A run directory or <experiment>/<run>."),
    out: Path = typer.Option(help="Folder for the maps."),
    images: Annotated[
        str | None, typer.Option(help="Image ids with commas; none takes the clearest right and wrong ones.")
    ] = None,
    method: cli_maps.Method = "gradcam",
    on: cli_maps.Part = "val",
    json: Json = False,
) -> None:
    """Maps of what influenced the score, on the original films."""
    from mammo_core.runs.run_dir import find_run
    from mammo_core.workflows.gallery import ChosenFilms, make_maps
    from mammo_core.workflows.map_records import part_named

    workspace, films = open_home(), ChosenFilms(comma_names(images), part_named(on))
    made = make_maps(workspace, find_run(workspace, run), films, out, method=method, progress=ProgressBar("Maps"))
    _items(made, json, lambda item: item["file"])


def _items(made: list[dict[str, Any]], json: bool, show: Any) -> None:
    """Print one result an item; exit 1 if any of them failed."""
    if json:
        print_json(made)
    else:
        for item in made:
            say(f"{item['image']}: {item['error'] or show(item)}")
    if any(item["error"] for item in made):
        raise typer.Exit(1)
