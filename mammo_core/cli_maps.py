"""The commands that check a run's maps: localise and sanity. Importing this module registers them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mammo_core.cli_app import Json, app, open_home
from mammo_core.settings import RESEARCH_ONLY
from mammo_core.terminal import ProgressBar, answer, print_json, say, table_text

if TYPE_CHECKING:
    import pandas as pd

Part = Annotated[str, typer.Option("--on", help="val, test or the name of another data set that the run was evaluated on.")]
Method = Annotated[str, typer.Option(help="How the maps are made: gradcam, gradcam++, layercam, eigencam, hirescam, ...")]
RUN = typer.Argument(help="A run directory or <experiment>/<run>.")


@app.command()
def localise(
    run: Annotated[str, RUN],
    on: Part = "val",
    method: Method = "gradcam",
    json: Json = False,
) -> None:
    """Do the maps point at the lesions? Measured against the lesion outlines of the data set, beside maps that need no model.

    The record is kept in the workspace and shown on the Grad-CAM page. Exit 1 also where a single film could not be measured.
    """
    from mammo_core.report.map_tables import score_rows, size_rows
    from mammo_core.runs.map_checks import LocalisationRecord
    from mammo_core.workflows.localise import localise_run
    from mammo_core.workflows.map_records import part_named

    made = localise_run(open_home(), run, part_named(on), method, ProgressBar("Films with an outline"))
    if json:
        print_json(made)
    else:
        record = LocalisationRecord.model_validate(made)
        _print([*record.words, "", _text(score_rows(record))])
        if record.sizes.groups:
            _print(["", "Points at the lesion, by its size:", _text(size_rows(record, "pointing"))])
    _end(made["failures"])


@app.command()
def sanity(
    run: Annotated[str, RUN],
    on: Part = "val",
    method: Method = "gradcam",
    films: Annotated[int, typer.Option(help="For randomisation and repeatability, 2 to 50; 20 are needed for a verdict.")] = 30,
    road_films: Annotated[
        int, typer.Option(help="For faithfulness, which takes most of the time; 50 are needed for a verdict, 0 leaves it out.")
    ] = 50,
    seed: Annotated[int, typer.Option(help="Of the choice of films and the random weights.")] = 0,
    json: Json = False,
) -> None:
    """Can the maps be believed? Randomisation, repeatability across seeds and faithfulness: passed, failed or not decided.

    The record is kept in the workspace and shown on the Grad-CAM page. A test that is failed is a result and no error: exit 0.
    """
    from mammo_core.report.map_tables import TEST_NAMES, TEST_QUESTIONS, outcome_rows, verdict_of
    from mammo_core.runs.map_checks import SanityRecord
    from mammo_core.workflows.map_records import part_named
    from mammo_core.workflows.sanity_check import SanityPlan, check_sanity

    plan = SanityPlan(method=method, films=films, road_films=road_films, seed=seed)
    made = check_sanity(open_home(), run, part_named(on), plan, ProgressBar("Steps"))
    if json:
        print_json(made)
    else:
        record = SanityRecord.model_validate(made)
        for name, test in record.tests.items():
            _print([f"{TEST_NAMES[name]}: {test.outcome}. {TEST_QUESTIONS[name]}", f"  {test.words}"])
        _print(["", verdict_of(record), "", _text(outcome_rows(record))])
    for item in made["unusable_runs"]:
        say(f"Left out of repeatability: {item['run']}: {item['error']}")
    _end(made["failures"])


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        answer(line)


def _text(table: pd.DataFrame) -> str:
    cells = table.astype(object).where(table.notna(), "-")
    return table_text(cells.to_numpy().tolist(), [str(name) for name in table.columns])


def _end(failures: Sequence[Mapping[str, Any]]) -> None:
    """Each film that was lost, and exit 1 if there is one."""
    for failure in failures:
        say(f"{failure['image']}: {failure['error']}")
    say(f"{RESEARCH_ONLY}.")
    if failures:
        raise typer.Exit(1)
