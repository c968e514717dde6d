"""Where the checks of a run's maps lie, what they say in one line, and of which films there are predictions; without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from mammo_core.data.manifest import Dataset, load_dataset
from mammo_core.errors import MammoError
from mammo_core.predict.model_record import REFERENCE_PREFIX
from mammo_core.runs.map_checks import MAP, TESTS, LocalisationRecord, SanityRecord, read_check
from mammo_core.runs.run_dir import RunDir, find_run
from mammo_core.settings import Workspace
from mammo_core.workflows.telling_films import safe_name

OWN_PARTS = {"val": "Validation films", "test": "Test films"}
OTHER = "dataset_"
"""How predictions on another data set are called: ``dataset_<name>_predictions.csv``."""
PREDICTIONS = "_predictions.csv"
NO_LESIONS = "density"
"""The task whose score is not about lesions."""

# Seconds of one of two cores with EfficientNet-Lite0, measured at 112 and 512 pixels; other machines and models differ a lot.
FILM_SECONDS = 0.8
"""To read a film of 8 million pixels and its outline, and to measure a map on it."""
MAP_SECONDS, MAP_SECONDS_AT_512 = 0.03, 0.5
ROAD_SECONDS, ROAD_SECONDS_AT_512 = 0.3, 25.0
"""To remove a film's pixels in the order of four maps: a fixed part, and one that grows with the pixels of the input."""
STAGES = 12
"""Parts of a model that are made random one after another."""


Model = type[SanityRecord] | type[LocalisationRecord]


# ---- parts of the data -------------------------------------------------------------------------------------------------------


def part_named(on: str) -> str:
    """What ``val``, ``test`` or the name of a data set is called in file names and records."""
    return on if on in OWN_PARTS or on.startswith(OTHER) else f"{OTHER}{on}"


def parts_of(run: RunDir) -> dict[str, str]:
    """Part -> title: the run's own two, and each other data set that it has predictions of."""
    others = sorted(path.name.removesuffix(PREDICTIONS) for path in run.path.glob(f"{OTHER}*{PREDICTIONS}"))
    return {**OWN_PARTS, **{part: part_title(part) for part in others}}


def part_title(on: str) -> str:
    return OWN_PARTS.get(on, f"Films of {on.removeprefix(OTHER)}")


def dataset_of(workspace: Workspace, run: RunDir, on: str) -> Dataset:
    """The data set that a part's films are in; raises as ``load_dataset``."""
    return load_dataset(workspace, on.removeprefix(OTHER) if on.startswith(OTHER) else run.config().dataset)


def films_with_outline(workspace: Workspace, run: RunDir, on: str) -> tuple[int, int]:
    """How many of a part's predicted films have a lesion outline in the data set's table, and how many films there are.

    The files themselves are not looked at. Without predictions both are 0.

    Raises
    ------
    MammoError
        The predictions or the data set cannot be read.
    """
    table = run.predictions(on)
    if table is None:
        return 0, 0
    dataset = dataset_of(workspace, run, on)
    paths = dataset.paths()
    outlined = {*paths.loc[paths["mask_path"] != "", "image_id"], *dataset.lesions()["image_id"]}
    return int(table["image_id"].isin(outlined).sum()), len(table)


# ---- records -----------------------------------------------------------------------------------------------------------------


def _folder(workspace: Workspace, run: RunDir) -> Path:
    return workspace.reports / "gradcam" / safe_name(run.experiment) / safe_name(run.name)


def localisation_file(workspace: Workspace, run: RunDir, on: str, method: str) -> Path:
    """Where :func:`mammo_core.workflows.localise.localise_run` writes its record."""
    return _folder(workspace, run) / f"{safe_name(f'{on}_{method}')}_localisation.json"


def sanity_file(workspace: Workspace, run: RunDir, on: str, method: str) -> Path:
    """Where :func:`mammo_core.workflows.sanity_check.check_sanity` writes its record."""
    return _folder(workspace, run) / f"{safe_name(f'{on}_{method}')}_sanity.json"


def is_outdated(record: LocalisationRecord | SanityRecord, run: RunDir) -> bool:
    """Whether the run's best epoch has changed since the check was made."""
    try:
        summary = run.summary()
    except MammoError:
        return False  # the run's own page says so; the check itself is as it was
    return summary is not None and record.epoch is not None and record.epoch != summary.best_epoch


# ---- in one line -------------------------------------------------------------------------------------------------------------


def sanity_words(record: SanityRecord | None) -> str:
    """The outcome of each test in one line; ``not checked yet`` without a record."""
    if record is None:
        return "not checked yet"
    return ", ".join(f"{name} {record.tests[name].outcome}" for name in TESTS)


def localisation_words(record: LocalisationRecord | None) -> str:
    """Where the maps point in one line, beside the best map that needs no model."""
    if record is None:
        return "not measured yet"
    pointing = {who: values["pointing"].value or 0.0 for who, values in record.all.scores.items() if "pointing" in values}
    others = [value for who, value in pointing.items() if who != MAP]
    beside = f", the best map without a model in {max(others):.0%}" if others else ""
    return f"points at the lesion in {pointing.get(MAP, 0.0):.0%} of {record.n} films{beside}"


def check_lines(workspace: Workspace, run: RunDir, on: str, method: str) -> Mapping[str, str]:
    """What is known of a run's maps by one method, for the place where such a map is shown.

    Returns
    -------
    mapping
        ``sanity`` and, where the task is about lesions, ``localisation`` -> a line of words. A record of the films shown comes
        first, then one of the run's other parts, which is then named.
    """
    lines = {"sanity": _line(workspace, run, on, method, SanityRecord)}
    if run.config().task != NO_LESIONS:
        lines["localisation"] = _line(workspace, run, on, method, LocalisationRecord)
    return lines


def check_sentences(workspace: Workspace, run_ids: Sequence[str], method: str) -> tuple[str, ...]:
    """What the checks of the maps of these runs have shown, a sentence a run; for a kept model, that it came without any."""
    told = []
    for run_id in run_ids:
        if run_id.startswith(REFERENCE_PREFIX):
            told.append("Whether maps of this kept model can be believed is not checked here: the checks belong to its runs.")
            continue
        lines = check_lines(workspace, find_run(workspace, run_id), "val", method)
        parts = [f"sanity check {lines['sanity']}", *(f"localisation: {lines[name]}" for name in lines if name == "localisation")]
        told.append(f"Maps of {run_id}: {'; '.join(parts)}.")
    return tuple(told)


def _line(workspace: Workspace, run: RunDir, on: str, method: str, model: Model) -> str:
    is_sanity = model is SanityRecord
    file = sanity_file if is_sanity else localisation_file
    for part in (on, *(other for other in parts_of(run) if other != on)):
        try:
            record = read_check(file(workspace, run, part, method), model)
        except MammoError:
            return "the record cannot be read"
        if record is None:
            continue
        words = sanity_words(record) if isinstance(record, SanityRecord) else localisation_words(record)
        where = f" ({part_title(part).lower()})" if part != on else ""
        older = " - of an earlier checkpoint of this run" if is_outdated(record, run) else ""
        return f"{words}{where}{older}"
    return sanity_words(None) if is_sanity else localisation_words(None)


# ---- how long it takes -------------------------------------------------------------------------------------------------------


def localisation_seconds(films: int, image_size: tuple[int, int]) -> float:
    """A rough guess for this many films with an outline; ``image_size`` is the model's input, pixels."""
    return 10 + films * (FILM_SECONDS + MAP_SECONDS + MAP_SECONDS_AT_512 * _share_of_512(image_size))


def sanity_seconds(films: int, road_films: int, image_size: tuple[int, int], others: int = 2) -> float:
    """A rough guess: ``films`` maps at each stage of randomisation and for each other run, ``road_films`` for faithfulness."""
    share = _share_of_512(image_size)
    maps = films * (STAGES + 2 + others) * (MAP_SECONDS + MAP_SECONDS_AT_512 * share)
    return 10 + maps + road_films * (ROAD_SECONDS + ROAD_SECONDS_AT_512 * share)


def _share_of_512(image_size: tuple[int, int]) -> float:
    return image_size[0] * image_size[1] / 512**2
