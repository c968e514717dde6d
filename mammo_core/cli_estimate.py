"""The command that says what a training would take: estimate. Importing this module registers it."""

from __future__ import annotations

from typing import Annotated

import typer

from mammo_core.cli_app import Json, app, open_home
from mammo_core.config import DEFAULT_SEEDS
from mammo_core.terminal import answer, print_json, say


@app.command()
def estimate(
    dataset: Annotated[str, typer.Option(help="A data set of the workspace.")],
    split: Annotated[list[str], typer.Option(help="May be given twice, as for train.")],
    config: Annotated[str, typer.Option(help="A preset's name or a YAML file.")] = "demo",
    seeds: Annotated[str, typer.Option(help="With commas.")] = ",".join(map(str, DEFAULT_SEEDS)),
    set: Annotated[list[str] | None, typer.Option(help="key=value, overrides the preset; may be repeated.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Measure even where this setting was measured before.")] = False,
    json: Json = False,
) -> None:
    """How long a training would take on this machine and how much memory it would need, from a probe of about ten seconds."""
    from mammo_core.presets import load_preset, parse_overrides
    from mammo_core.workflows.estimate import (
        estimate_launch,
        estimate_notes,
        estimate_words,
        films_to_read,
        free_memory,
        question_of,
        trainings_ahead,
    )
    from mammo_core.workflows.launch import LaunchPlan, plan_runs
    from mammo_core.workflows.launch_preview import parse_seeds
    from mammo_core.workflows.overview import plural
    from mammo_core.workflows.probe import kept_probe, probe

    workspace = open_home()
    settings = {**load_preset(config).settings, **parse_overrides(set or [])}
    plan = LaunchPlan(dataset=dataset, splits=split, experiment="estimate", settings=settings, seeds=parse_seeds(seeds))
    planned = plan_runs(workspace, plan)
    question = question_of(planned)
    measured = None if again else kept_probe(workspace, question)
    if measured is None:
        say("Measuring for about ten seconds ...")
        measured = probe(workspace, question)
    made, lacking = estimate_launch(measured, planned), films_to_read(workspace, planned[0])
    if json:
        print_json({**made.to_json(), "films_to_read": lacking, "probe": measured.model_dump(mode="json")})
        return
    words = f"{plural(made.runs, 'run')}, {estimate_words(made, trainings_ahead(workspace))}"
    answer("\n".join([words, *estimate_notes(made, lacking, free_memory())]))
