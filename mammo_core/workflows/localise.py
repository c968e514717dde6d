"""Do a run's maps point at the lesions? Its films with a lesion outline, measured and summarised."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from mammo_core.data.film import Film
from mammo_core.data.foreign_file import without_name
from mammo_core.data.manifest import Dataset
from mammo_core.data.masks import LesionMask
from mammo_core.data.preprocess import prepare
from mammo_core.data.sandbox import DecodePool, Job
from mammo_core.errors import ConfigError, DataError, FilmUnreadable, MammoError
from mammo_core.explain.gradcam import cell_pixels, explain, to_film
from mammo_core.explain.localisation import (
    BASELINES,
    MAP,
    MEASURES,
    LocalisedFilm,
    breast_on_film,
    localise_all,
    mask_of_boxes,
)
from mammo_core.explain.localisation_summary import summarise
from mammo_core.explain.methods import METHOD_TITLES
from mammo_core.predict.members import Member, load_member
from mammo_core.runs.run_dir import find_run
from mammo_core.settings import RESEARCH_ONLY, Workspace
from mammo_core.storage import write_json
from mammo_core.training.models import choose_device
from mammo_core.workflows.map_records import NO_LESIONS, dataset_of, localisation_file
from mammo_core.workflows.telling_films import Progress, predictions_of, read_films

Read = TypeVar("Read", Film, LesionMask)


@dataclass
class _Collected:
    """What came of the films."""

    measured: list[LocalisedFilm] = field(default_factory=list)
    without_outline: Counter[str] = field(default_factory=Counter)
    """Films by class."""
    failures: list[dict[str, str]] = field(default_factory=list)


def localise_run(
    workspace: Workspace, run: str, on: str = "val", method: str = "gradcam", progress: Progress | None = None
) -> dict[str, Any]:
    """Measure the maps of each film's true class against its lesion outline, and write the record.

    Written to ``reports/gradcam/<experiment>/<run>/<on>_<method>_localisation.json``, see :func:`localisation_file`; an older one
    is replaced.

    Parameters
    ----------
    on : ``val``, ``test`` or ``dataset_<name>``
        Whose predictions; they must have been made before.

    Returns
    -------
    dict
        The record: ``run, on, method, epoch, n, patients, without_outline {class: films}, failures (image, error), all, sizes,
        words, titles, films, disclaimer`` (see :func:`summarise`).

    Raises
    ------
    ConfigError
        An unknown method, or a run that judges density: the outlines are of lesions, which its score is not about.
    DataError
        No predictions of that part, or not one film with an outline could be measured; the text gives the first reason.
    CheckpointMismatch
        A checkpoint that cannot be used.
    """
    if method not in METHOD_TITLES:
        raise ConfigError(f"There is no map method {method!r}; expected one of {', '.join(METHOD_TITLES)}. Choose one of these.")
    run_dir = find_run(workspace, run)
    table = predictions_of(run_dir, on)
    if run_dir.config().task == NO_LESIONS:
        raise ConfigError(
            f"{run_dir.id} judges density, and the outlines are of lesions: where its maps lie says nothing about them. Choose a "
            "run of a lesion task."
        )
    member = load_member(run_dir, choose_device("auto"))
    rows = [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]
    collected = _measure(member, dataset_of(workspace, run_dir, on), rows, method, progress)
    if not collected.measured:
        raise DataError(_nothing(collected, len(table)))
    record = {
        "schema_version": 1,
        "run": run_dir.id,
        "on": on,
        "method": method,
        "epoch": member.checkpoint.epoch,
        "n": len(collected.measured),
        "patients": len({film.patient_id for film in collected.measured}),
        "without_outline": dict(sorted(collected.without_outline.items())),
        "failures": collected.failures,
        **summarise(collected.measured),
        "titles": {"maps": {MAP: METHOD_TITLES[method], **BASELINES}, "measures": MEASURES},
        "films": [film.to_json() for film in collected.measured],
        "disclaimer": RESEARCH_ONLY,
    }
    record["words"] = [*record["words"], *_told(collected)]
    path = localisation_file(workspace, run_dir, on, method)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, record)
    return record


def _nothing(collected: _Collected, films: int) -> str:
    if collected.failures:
        first = collected.failures[0]["error"]
        return f"Not one of {len(collected.failures)} films with a lesion outline could be measured; the first reason: {first}"
    return (
        f"None of the {films} films has a lesion outline; expected at least one. Import the data set again with a mask column, "
        "or choose another part."
    )


def _told(collected: _Collected) -> list[str]:
    words = []
    if collected.without_outline:
        classes = ", ".join(f"{name} {count}" for name, count in sorted(collected.without_outline.items()))
        words.append(f"Films without a lesion outline were left out: {classes}.")
    if collected.failures:
        words.append(
            f"{len(collected.failures)} films have an outline but could not be measured; each is listed with its reason."
        )
    return words


# ---- measuring ---------------------------------------------------------------------------------------------------------------


def _measure(
    member: Member, dataset: Dataset, rows: Sequence[Mapping[str, Any]], method: str, progress: Progress | None
) -> _Collected:
    collected, outlines, boxed = _Collected(), {}, {}
    for row in rows:
        try:
            path = dataset.mask_path(row["image_id"])
        except MammoError as error:
            collected.failures.append({"image": row["image_id"], "error": str(error)})
            continue
        if path is not None:
            outlines[row["image_id"]] = (path, row)
        elif dataset.lesion_boxes(row["image_id"]):
            boxed[row["image_id"]] = row
        else:
            collected.without_outline[row["y_true"]] += 1
    masks = _read_masks({image_id: path for image_id, (path, _) in outlines.items()})
    films = read_films(dataset, list(outlines), progress)
    for (image_id, film), (_, mask) in zip(films, masks, strict=True):
        try:
            collected.measured.append(_measured(member, _good(film), _good(mask), outlines[image_id][1], method))
        except MammoError as error:
            collected.failures.append({"image": image_id, "error": str(error)})
    for image_id, film in read_films(dataset, list(boxed), progress):
        try:
            whole = _good(film)
            lesion = LesionMask(mask_of_boxes(dataset.lesion_boxes(image_id), whole.pixels.shape))
            collected.measured.append(_measured(member, whole, lesion, boxed[image_id], method))
        except MammoError as error:
            collected.failures.append({"image": image_id, "error": str(error)})
    return collected


def _read_masks(paths: Mapping[str, Path]) -> Iterator[tuple[str, LesionMask | FilmUnreadable]]:
    """The files of the outlines, read in a child process, in order."""
    with DecodePool(1) as pool:
        for job, result in pool.map(Job("mask", path, tag=image_id) for image_id, path in paths.items()):
            if isinstance(result, LesionMask):
                yield job.tag, result
            elif isinstance(result, FilmUnreadable):
                yield job.tag, FilmUnreadable(without_name(result, job.path.as_posix(), "The outline"))


def _good(read: Read | MammoError) -> Read:
    if isinstance(read, MammoError):
        raise read
    return read


def _measured(member: Member, film: Film, mask: LesionMask, row: Mapping[str, Any], method: str) -> LocalisedFilm:
    class_name, names = row["y_true"], member.checkpoint.class_names
    if class_name not in names:
        raise DataError(f"The film's class {class_name!r} is none of the model's ({', '.join(names)}), so it has no map.")
    prepared = prepare(film, member.checkpoint.config.image_size)
    cam = explain(member.model, member.checkpoint.normalisation, prepared.pixels, names.index(class_name), method, class_name)
    on_film, lesion = to_film(cam, prepared.geometry), mask.pixels
    breast, was_found = breast_on_film(film)
    spacing = film.facts.pixel_spacing_mm
    scores = localise_all(on_film, lesion, breast, cell_pixels(cam, prepared.geometry))
    area = int(lesion.sum())
    return LocalisedFilm(
        image_id=row["image_id"],
        patient_id=row["patient_id"],
        class_name=class_name,
        area_pixels=area,
        area_mm2=area * spacing[0] * spacing[1] if spacing else None,
        empty=not on_film.any(),
        breast_found=was_found,
        scores=scores,
    )
