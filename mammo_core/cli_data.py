"""The commands that judge a data set and split it: audit, exclude, take-back, split."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mammo_core.cli_app import Json, app, comma_names, open_home
from mammo_core.errors import ConfigError, SplitError
from mammo_core.terminal import ProgressBar, answer, print_json, say, table_text

if TYPE_CHECKING:
    from mammo_core.data.manifest import Dataset
    from mammo_core.data.splits import Split, SplitPlan

EACH_CENTER = "leave-one-center-out"
SCHEMES = ("stratified", "center-holdout", EACH_CENTER, "kfold", "date", "imported")


@app.command()
def audit(
    dataset: str,
    near_duplicates: Annotated[
        bool, typer.Option("--near-duplicates/--tables-only", help="Also look at every film: alike, blank and inverted ones.")
    ] = True,
    json: Json = False,
) -> None:
    """What a data set holds, which films look identical, and whether the file alone tells the class.

    Writes audit.json, audit.md and figures beside the manifest. The first audit reads films of which the import kept no preview.
    """
    from mammo_core.workflows.audit import MARKDOWN_FILE, audit_dataset
    from mammo_core.workflows.audit_figures import FIGURES_FOLDER

    workspace = open_home()
    content = audit_dataset(workspace, dataset, near_duplicates, ProgressBar("Audit"))
    if json:
        print_json(content)
        return
    for finding in content["findings"]:
        answer(f"{finding['severity']}: {finding['sentence']}")
    figures = f", {len(content['figures'])} figures: {FIGURES_FOLDER}" if content["figures"] else ""
    say(f"All tables: {MARKDOWN_FILE}{figures}, in the folder datasets/{dataset} of the workspace.")


Films = Annotated[list[str], typer.Argument(help="Image ids.")]


@app.command()
def exclude(
    dataset: str,
    image: Films,
    reason: Annotated[str, typer.Option(help="Why; every split made from now on repeats it.")],
    json: Json = False,
) -> None:
    """Leave films out of every split made from now on; take-back undoes it."""
    from mammo_core.data import exclusions
    from mammo_core.data.manifest import load_dataset

    _say_excluded(exclusions.exclude(load_dataset(open_home(), dataset), image, reason), json)


@app.command("take-back")
def take_back(dataset: str, image: Films, json: Json = False) -> None:
    """Undo the exclusion of films."""
    from mammo_core.data import exclusions
    from mammo_core.data.manifest import load_dataset

    _say_excluded(exclusions.take_back(load_dataset(open_home(), dataset), image), json)


def _say_excluded(table: Any, json: bool) -> None:
    rows = table.to_dict("records")
    if json:
        print_json(rows)
    else:
        answer(table_text([tuple(row.values()) for row in rows], ("film", "reason", "since")) if rows else "No film is excluded.")


@app.command()
def split(
    dataset: str,
    name: Annotated[str, typer.Option(help="Name of the new split; with leave-one-center-out the centre is put behind it.")],
    scheme: Annotated[str, typer.Option(help=", ".join(SCHEMES))] = "stratified",
    seed: int = 42,
    ratios: Annotated[str, typer.Option(help="train/val/test in percent; 80/20/0 makes no test part.")] = "70/15/15",
    holdout: Annotated[str | None, typer.Option(help="Centres held out, with commas.")] = None,
    folds: int = 5,
    after: Annotated[
        str, typer.Option(help="First year or day of the test of a split by date; chosen by the ratios if empty.")
    ] = "",
    date_column: Annotated[str, typer.Option(help="Column that says when a film was made; the first known one if empty.")] = "",
    gap_months: Annotated[int, typer.Option(help="Films this long before the test are left out.")] = 0,
    table: Annotated[Path | None, typer.Option(help="CSV with image_id (or file name) and split, for an imported one.")] = None,
    override_leak: Annotated[
        str | None, typer.Option(help="Reason for saving a split that leaks; every report repeats it.")
    ] = None,
    json: Json = False,
) -> None:
    """Split a data set by patient, with the proof that none is shared."""
    from mammo_core.data.manifest import load_dataset
    from mammo_core.data.splits import SplitPlan, parse_ratios, save_split
    from mammo_core.workflows.center_splits import save_center_splits

    workspace = open_home()
    data = load_dataset(workspace, dataset)
    plan = SplitPlan(
        scheme="center-holdout" if scheme == EACH_CENTER else scheme,  # type: ignore[arg-type]
        seed=seed, ratios=parse_ratios(ratios), holdout=comma_names(holdout), folds=folds, after=after, date_column=date_column,
        gap_months=gap_months,
    )  # fmt: skip
    if scheme == EACH_CENTER:
        made = save_center_splits(workspace, data, name, plan)
    else:
        made = [save_split(workspace, name, _new_split(data, scheme, plan, table), override_leak)]
    if json:
        print_json([item.record.to_json() for item in made] if scheme == EACH_CENTER else made[0].record.to_json())
        return
    for item in made:
        say(f"{item.name}: {item.record.proof.text}" if scheme == EACH_CENTER else item.record.proof.text)
        for warning in item.record.warnings:
            say(f"Note: {warning}")


def _new_split(dataset: Dataset, scheme: str, plan: SplitPlan, table: Path | None) -> Split:
    from mammo_core.data.split_import import read_split_table
    from mammo_core.data.splits import import_split, split_dataset

    if scheme != "imported":
        if table is not None:
            raise ConfigError(f"--table goes with --scheme imported, not with {scheme}.")
        return split_dataset(dataset, plan)
    if table is None:
        raise ConfigError("--scheme imported needs --table, a CSV with the columns image_id and split.")
    try:
        content = table.expanduser().read_bytes()
    except OSError as error:
        raise SplitError(f"The table {table.name} cannot be opened ({error.strerror}); expected a CSV file.") from error
    return import_split(read_split_table(content), dataset)
