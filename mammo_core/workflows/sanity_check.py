"""Can a run's maps be believed? Randomisation, repeatability across seeds and faithfulness, with one verdict each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from mammo_core.data.manifest import Dataset
from mammo_core.data.preprocess import prepare
from mammo_core.errors import ConfigError, DataError, MammoError
from mammo_core.explain import faithfulness, sanity
from mammo_core.explain.localisation import MAP
from mammo_core.explain.methods import METHOD_TITLES
from mammo_core.explain.randomise import stages
from mammo_core.explain.sanity import StudiedFilm, Tick
from mammo_core.predict.members import Member, load_member
from mammo_core.runs.run_dir import RunDir, experiment_runs, find_run
from mammo_core.settings import RESEARCH_ONLY, Workspace
from mammo_core.storage import write_json
from mammo_core.training.models import choose_device
from mammo_core.workflows.map_records import dataset_of, sanity_file
from mammo_core.workflows.telling_films import Progress, predictions_of, read_films

FILM_RANGE = (2, 50)
"""Films for randomisation and repeatability."""
MOST_ROAD_FILMS = 500
MOST_SEEDS = 5
TITLES = {
    "randomisation": "Do the maps depend on the learnt weights?",
    "repeatability": "Do runs with other seeds give the same maps?",
    "faithfulness": "Do the maps rank pixels by what they matter?",
}


@dataclass(frozen=True, kw_only=True)
class SanityPlan:
    """What is tested, on how many films. The same plan gives the same record."""

    method: str = "gradcam"
    films: int = 30
    """For randomisation and repeatability, 20 to 50 for a verdict."""
    road_films: int = 50
    """For faithfulness, at least 50 for a verdict; 0 leaves it out, which on a CPU saves most of the time."""
    seed: int = 0
    """Of the choice of films, the random weights and the noise."""

    def __post_init__(self) -> None:
        if self.method not in METHOD_TITLES:
            raise ConfigError(f"There is no map method {self.method!r}; expected one of {', '.join(METHOD_TITLES)}.")
        low, high = FILM_RANGE
        if not low <= self.films <= high or not 0 <= self.road_films <= MOST_ROAD_FILMS or self.seed < 0:
            raise ConfigError(
                f"{self.films} films, {self.road_films} for faithfulness and seed {self.seed} cannot be used; expected {low} to "
                f"{high} films, 0 to {MOST_ROAD_FILMS} for faithfulness and a seed of 0 or more."
            )


def check_sanity(
    workspace: Workspace, run: str, on: str = "val", plan: SanityPlan | None = None, progress: Progress | None = None
) -> dict[str, Any]:
    """Test the maps of a run's predicted classes, and write the record.

    Repeatability takes the other runs of the experiment with the same split, classes, architecture and canvas, up to five in
    all. The record is ``reports/gradcam/<experiment>/<run>/<on>_<method>_sanity.json``, see :func:`sanity_file`; an older one is
    replaced.

    Returns
    -------
    dict
        ``run, on, epoch, plan, tests {randomisation, repeatability, faithfulness}`` (each with ``passed`` true, false or null,
        ``words`` and its numbers), ``failures (image, error)``, ``unusable_runs (run, error)``, ``titles, disclaimer``.

    Raises
    ------
    DataError
        No predictions of that part, or fewer than two of the chosen films have a map.
    CheckpointMismatch
        A checkpoint that cannot be used.
    """
    plan = plan or SanityPlan()
    run_dir = find_run(workspace, run)
    table = predictions_of(run_dir, on)
    device = choose_device("auto")
    member = load_member(run_dir, device)
    others, unusable = _loaded(sibling_runs(workspace, run_dir), device)
    dataset = dataset_of(workspace, run_dir, on)
    chosen = chosen_rows(table, max(plan.films, plan.road_films), plan.seed)
    few, many = min(plan.films, len(chosen)), min(plan.road_films, len(chosen))
    tick = _counted(progress, len(chosen) + few * (len(stages(member.model)) + 2 + len(others)) + many)
    films, failures = _films(member, dataset, chosen, tick)
    if len(films) < FILM_RANGE[0]:
        raise DataError(_too_few(len(films), len(chosen), failures))
    tests = {
        "randomisation": sanity.randomisation_test(
            member.model, member.checkpoint.normalisation, films[: plan.films], plan.method, plan.seed, tick
        ),
        "repeatability": _repeatability([member, *others], films[: plan.films], plan.method, tick),
        "faithfulness": _faithfulness(member, films[: plan.road_films], plan, tick),
    }
    record = {
        "schema_version": 1,
        "run": run_dir.id,
        "on": on,
        "epoch": member.checkpoint.epoch,
        "plan": asdict(plan),
        "tests": tests,
        "failures": failures,
        "unusable_runs": unusable,
        "titles": {"tests": TITLES, "maps": {MAP: METHOD_TITLES[plan.method], **faithfulness.BASELINES}},
        "disclaimer": RESEARCH_ONLY,
    }
    path = sanity_file(workspace, run_dir, on, plan.method)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, record)
    if progress is not None:
        progress(1, 1)
    return record


def chosen_rows(predictions: pd.DataFrame, count: int, seed: int) -> pd.DataFrame:
    """``count`` rows of a prediction table, drawn without replacement; they depend on the ids and the seed alone."""
    table = predictions.sort_values("image_id", ignore_index=True)
    order = np.random.default_rng(seed).permutation(len(table))[:count]
    return table.iloc[order].reset_index(drop=True)


def sibling_runs(workspace: Workspace, run: RunDir) -> list[RunDir]:
    """Other runs of the experiment that differ from this one by their seed alone, at most four."""
    wanted = _likeness(run)
    found = []
    try:
        runs = experiment_runs(workspace, run.experiment)
    except MammoError:
        return []  # a run directory outside the workspace
    for other in runs:
        if other.path.resolve() == run.path.resolve() or not other.best_model.exists():
            continue
        try:
            if _likeness(other) == wanted and other.config().seed != run.config().seed:
                found.append(other)
        except MammoError:
            continue  # a run that cannot be read is shown as such on its own page
    return found[: MOST_SEEDS - 1]


def _likeness(run: RunDir) -> tuple[dict[str, Any], str]:
    """All settings but the seed, and the split."""
    split = run.split_table.read_text(encoding="utf-8") if run.split_table.exists() else ""
    return {name: value for name, value in run.config().to_dict().items() if name != "seed"}, split


def _loaded(runs: Sequence[RunDir], device: torch.device) -> tuple[list[Member], list[dict[str, str]]]:
    """The runs whose checkpoint can be used, and the others with the reason."""
    members, unusable = [], []
    for run in runs:
        try:
            members.append(load_member(run, device))
        except MammoError as error:
            unusable.append({"run": run.id, "error": str(error)})
    return members, unusable


def _counted(progress: Progress | None, total: int) -> Tick:
    """Tells ``progress`` one step more at each call; the last step is told when the record is written."""
    done = 0

    def tick() -> None:
        nonlocal done
        done = min(done + 1, total - 1)
        if progress is not None:
            progress(done, total)

    return tick


def _films(
    member: Member, dataset: Dataset, rows: pd.DataFrame, tick: Callable[[], None]
) -> tuple[list[StudiedFilm], list[dict[str, str]]]:
    """The chosen films, prepared; those that could not be read are listed."""
    names, canvas = member.checkpoint.class_names, member.checkpoint.config.image_size
    studied, failures = [], []
    read = read_films(dataset, rows["image_id"].tolist())
    for (image_id, film), row in zip(read, rows.to_dict("records"), strict=True):
        tick()
        if isinstance(film, MammoError):
            failures.append({"image": image_id, "error": str(film)})
            continue
        index = names.index(row["y_pred"])
        studied.append(StudiedFilm(image_id, row["patient_id"], prepare(film, canvas).pixels, index, row["y_pred"]))
    return studied, failures


def _too_few(films: int, chosen: int, failures: Sequence[dict[str, str]]) -> str:
    reason = f"; the first reason: {failures[0]['error']}" if failures else ""
    return f"{films} of {chosen} films could be read, and at least {FILM_RANGE[0]} are needed to compare maps{reason}"


def _repeatability(members: Sequence[Member], films: Sequence[StudiedFilm], method: str, tick: Tick) -> dict[str, Any]:
    if len(members) < 2:
        return _left_out("No other run of this experiment differs by its seed alone. Train the same settings with another seed.")
    maps = {member.id: sanity.maps_of(member.model, member.checkpoint.normalisation, films, method, tick) for member in members}
    try:
        return sanity.repeatability(maps, films)
    except DataError as error:
        return _left_out(str(error))


def _faithfulness(member: Member, films: Sequence[StudiedFilm], plan: SanityPlan, tick: Tick) -> dict[str, Any]:
    if not films:
        return _left_out("It was left out of this check.")
    return faithfulness.faithfulness_test(member.model, member.checkpoint.normalisation, films, plan.method, plan.seed, tick)


def _left_out(why: str) -> dict[str, Any]:
    return {"passed": None, "words": f"Not tested. {why}"}
