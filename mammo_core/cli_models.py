"""The commands that use trained models: predict, and keeping, listing, exporting and importing them. Importing registers them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mammo_core.cli_app import Json, app, open_home
from mammo_core.errors import ConfigError
from mammo_core.settings import RESEARCH_ONLY
from mammo_core.terminal import ProgressBar, answer, print_json, say, table_text

if TYPE_CHECKING:
    from mammo_core.workflows.model_shelf import KeptModel

Rule = Annotated[
    str,
    typer.Option(
        help="By which rule the threshold was chosen on the validation films: fixed_50, youden, sensitivity_90, sensitivity_80, "
        "specificity_90 or specificity_80."
    ),
]


@app.command()
def predict(
    images: Annotated[list[Path], typer.Argument(help="Films, or folders of films.")],
    run: Annotated[
        list[str] | None, typer.Option("--run", help="A run directory or <experiment>/<run>; may be repeated.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="A kept model, in place of runs.")] = None,
    gradcam: Annotated[Path | None, typer.Option(help="Also write maps into this folder.")] = None,
    method: Annotated[str, typer.Option(help="How the maps are made.")] = "gradcam",
    grouping: Annotated[
        str, typer.Option(help="Which films are one exam: study (as DICOM says), folder, or one (all).")
    ] = "study",
    rule: Rule = "youden",
    json: Json = False,
) -> None:
    """Predict on films with one run, with several as an ensemble, or with a kept model.

    Views of one exam are also averaged to breasts and the exam.
    """
    from mammo_core.analysis.operating_points import RULES
    from mammo_core.workflows.prediction import Maps, exam_lines, predict_exams, rows_with_thresholds, threshold_words

    if rule not in RULES:
        raise ConfigError(f"--rule is {rule!r}; expected one of {', '.join(RULES)}.")
    maps = None if gradcam is None else Maps(gradcam, method)
    progress = ProgressBar("Films") if len(images) > 1 or images[0].is_dir() else None
    made = predict_exams(open_home(), _chosen(run, model), images, maps, grouping, progress)  # type: ignore[arg-type]
    if json:
        print_json(rows_with_thresholds(made, rule))
    else:
        for item in made.rows:
            answer(f"{item['image']}: {item['error'] or _prediction_text(item)}")
        for line in exam_lines(made.exams):
            answer(line)
        for line in threshold_words(made, rule):
            answer(line)
    say(f"{RESEARCH_ONLY}.")
    if any(item["error"] for item in made.rows):
        raise typer.Exit(1)


def _chosen(runs: list[str] | None, model: str | None) -> list[str]:
    from mammo_core.predict.model_record import REFERENCE_PREFIX

    if bool(runs) == bool(model):
        raise ConfigError("Name either runs (--run, may be repeated) or one kept model (--model).")
    return [f"{REFERENCE_PREFIX}{model}"] if model else list(runs or ())


def _prediction_text(item: dict[str, Any]) -> str:
    from mammo_core.analysis.backing import score_text

    lines = [f"{item['predicted']} (score {score_text(max(item['probabilities'].values()))})"]
    return "\n  ".join([*lines, *(f"Warning: {warning}" for warning in item["warnings"])])


@app.command("models")
def list_models(json: Json = False) -> None:
    """The kept models: what they tell, from what data, how good they were."""
    from mammo_core.workflows.model_shelf import kept_models, record_words

    found = kept_models(open_home())
    if json:
        print_json([_listed(model) for model in found])
        return
    if not found:
        say("No model is kept yet; keep one with: keep-model <experiment>/<run> --name NAME")
    for model in found:
        answer(
            f"{model.name} ({model.megabytes:.0f} MB): {model.problem}"
            if model.problem
            else f"{model.name} ({model.megabytes:.0f} MB)"
        )
        for sentence in record_words(model.record) if model.record else ():
            answer(f"  {sentence}")


def _listed(model: KeptModel) -> dict[str, Any]:
    """A model in the JSON list; it goes by the name that it has here."""
    if model.record is None:
        return {"name": model.name, "problem": model.problem}
    return {**model.record.model_dump(mode="json"), "name": model.name, "model_id": model.record.model_id, "problem": None}


@app.command("keep-model")
def keep(
    run: Annotated[list[str], typer.Argument(help="Runs that predict together: run directories or <experiment>/<run>.")],
    name: Annotated[str, typer.Option(help="Name of the kept model.")],
    description: Annotated[str, typer.Option(help="What people should know of it.")] = "",
    json: Json = False,
) -> None:
    """Freeze trained runs into one model file, with thresholds, temperature, model card and what tells unlike films."""
    from mammo_core.workflows.model_shelf import keep_model, record_words

    _say_record(keep_model(open_home(), run, name, description), record_words, json)


@app.command("import-model")
def take_model(
    file: Path, name: Annotated[str | None, typer.Option(help="Another name than its own.")] = None, json: Json = False
) -> None:
    """Take over a model file from another machine, after checking all of it."""
    from mammo_core.workflows.model_shelf import import_model, record_words

    _say_record(import_model(open_home(), file.expanduser(), name), record_words, json)


@app.command("export-model")
def give_model(name: str, out: Annotated[Path, typer.Option(help="New file, or a folder.")]) -> None:
    """Copy a kept model to a file that another machine can import."""
    from mammo_core.workflows.model_shelf import export_model

    say(f"Written: {export_model(open_home(), name, out.expanduser()).name}")


def _say_record(record: Any, words: Any, json: bool) -> None:
    if json:
        print_json({"model_id": record.model_id, **record.model_dump(mode="json")})
        return
    rows = [("name", record.name), ("model id", record.model_id), ("networks", str(len(record.members)))]
    say(table_text(rows, ("", "")))
    for sentence in words(record):
        say(sentence)
