"""Maps of a run's films: the telling ones of each class as a gallery, or chosen ones into a folder.

Nothing fails silently: each film whose map could not be made is listed with the reason, and a gallery without a single map is an
error.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mammo_core.data.film import Film
from mammo_core.data.manifest import Dataset
from mammo_core.errors import ConfigError, DataError, MammoError
from mammo_core.explain.methods import MEANING, METHOD_TITLES
from mammo_core.explain.rendering import Panel, Rgb, contact_sheet, png_bytes, reduced, side_by_side
from mammo_core.predict.explaining import Explanation
from mammo_core.predict.predictor import Predictor
from mammo_core.predict.result_files import map_facts
from mammo_core.report.map_tables import KIND_TITLES
from mammo_core.report.picture_pdf import picture_pdf
from mammo_core.runs.run_dir import RunDir, find_run
from mammo_core.settings import RESEARCH_ONLY, Workspace
from mammo_core.storage import write_atomic, write_json
from mammo_core.workflows.map_records import dataset_of, part_title
from mammo_core.workflows.telling_films import (
    KINDS,
    Kind,
    Pick,
    Progress,
    gallery_folder,
    map_caption,
    map_file_name,
    pick_films,
    predictions_of,
    read_films,
    telling_films,
)

PICTURE_HEIGHT = 1000
"""Pixels of a film in the gallery's pictures; maps written to a folder keep every pixel."""
SHEET_HEIGHT = 320
"""Pixels of a film on the contact sheet."""
MAX_PER_CLASS = 20


def make_gallery(
    workspace: Workspace,
    run: str,
    on: str = "val",
    per_class: int = 4,
    method: str = "gradcam",
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Maps of the most confident right, missed and wrongly called films of each class.

    Written to ``reports/gradcam/<experiment>/<run>/<on>_<method>/``: a picture for each film and class, ``gallery.png`` and
    ``gallery.pdf`` (contact sheet, 300 pixels an inch) and ``gallery.json``. A gallery made before with the same arguments is
    replaced.

    Parameters
    ----------
    on : ``val``, ``test`` or ``dataset_<name>``
        Whose predictions; they must have been made before.
    per_class : films of each class and kind, 1 to 20

    Returns
    -------
    dict
        ``run, on, method, folder`` (relative to ``reports``), ``sheet``, ``items`` (how many maps), ``failures`` (``image``,
        ``class``, ``error``), ``alarms`` (how many maps raised one).

    Raises
    ------
    DataError
        No predictions of that part, or not one map could be made; the text gives the first reason.
    ConfigError, CheckpointMismatch
        An unknown method; a checkpoint that cannot be used.
    """
    if method not in METHOD_TITLES or not 1 <= per_class <= MAX_PER_CLASS:
        raise ConfigError(
            f"A gallery of {per_class} films a class by {method!r} cannot be made; expected 1 to {MAX_PER_CLASS} films, and one "
            f"of {', '.join(METHOD_TITLES)}."
        )
    run_dir = find_run(workspace, run)
    predictor = Predictor.load(workspace, [run_dir])
    picks = pick_films(predictions_of(run_dir, on), predictor.class_names, per_class)
    folder = gallery_folder(workspace, run_dir, on, method)
    folder.mkdir(parents=True, exist_ok=True)
    items: list[dict[str, Any]] = []
    rows = SheetRows(predictor.class_names)
    for pick, class_name, result in mapped_films(predictor, dataset_of(workspace, run_dir, on), picks, method, progress):
        item: dict[str, Any] = {"image": pick.image_id, "class": class_name, "kind": pick.kind, "listed_under": pick.class_name}
        item |= {"true": pick.true, "predicted": pick.predicted, "score": pick.score, "file": None, "map": None, "error": None}
        if isinstance(result, MammoError):
            item["error"] = str(result)
        else:
            film, explanation = result
            item |= {"file": map_file_name(pick.image_id, class_name), "map": map_facts(explanation)}
            _write_map(folder / item["file"], film, explanation, pick.caption, PICTURE_HEIGHT)
            rows.add(pick, film, explanation)
        items.append(item)
    _refuse_if_none(items)
    title = f"{run_dir.id}: what influenced the score, {part_title(on).lower()}, {METHOD_TITLES[method]}"
    sheet = rows.picture(title)
    write_png(folder / "gallery.png", sheet, title)
    pdf = picture_pdf(sheet, title, f"{MEANING} {RESEARCH_ONLY}.")
    write_atomic(folder / "gallery.pdf", lambda file: file.write(pdf))
    record = {"run": run_dir.id, "on": on, "method": method, "disclaimer": RESEARCH_ONLY, "meaning": MEANING, "items": items}
    write_json(folder / "gallery.json", record)
    return {
        "run": run_dir.id,
        "on": on,
        "method": method,
        "folder": folder.relative_to(workspace.reports).as_posix(),
        "sheet": "gallery.png",
        "items": sum(item["error"] is None for item in items),
        "failures": [{key: item[key] for key in ("image", "class", "error")} for item in items if item["error"]],
        "alarms": sum(bool(item["map"] and item["map"]["alarms"]) for item in items),
    }


@dataclass(frozen=True)
class ChosenFilms:
    """Films of a part."""

    image_ids: Sequence[str] = ()
    """Empty takes the most confident right and missed one of each class."""
    on: str = "val"
    """``val``, ``test`` or ``dataset_<name>``: whose predictions, and the data set that the films are in."""


def make_maps(
    workspace: Workspace,
    run: str | RunDir,
    films: ChosenFilms,
    out_dir: Path,
    method: str = "gradcam",
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Write the maps of chosen films of the run's data set as ``<image_id>_<class>.png`` at full resolution.

    A film that the run predicts wrongly gets the map of its true class too.

    Returns
    -------
    list of dict
        One a map: ``image, class, predicted, file, map, error``; ``error`` is None or the sentence.

    Raises
    ------
    ConfigError, DataError, CheckpointMismatch
        Unknown method; no films named and no predictions to choose from; a checkpoint that cannot be used.
    """
    if method not in METHOD_TITLES:
        raise ConfigError(f"There is no map method {method!r}; expected one of {', '.join(METHOD_TITLES)}.")
    run_dir = run if isinstance(run, RunDir) else find_run(workspace, run)
    predictor = Predictor.load(workspace, [run_dir])
    chosen = list(films.image_ids) or telling_films(run_dir, predictor.class_names, films.on)
    dataset = dataset_of(workspace, run_dir, films.on)
    truth = dict(dataset.manifest()[["image_id", "label"]].itertuples(index=False, name=None))
    out_dir.mkdir(parents=True, exist_ok=True)
    made: list[dict[str, Any]] = []
    for image_id, film in read_films(dataset, chosen, progress):
        if isinstance(film, MammoError):
            made.append(_failed(image_id, None, film))
            continue
        made += _maps_of(predictor, film, (image_id, truth.get(image_id)), out_dir, method)
    return made


def _maps_of(
    predictor: Predictor, film: Film, named: tuple[str, str | None], out_dir: Path, method: str
) -> Iterator[dict[str, Any]]:
    image_id, true = named
    try:
        prediction = predictor.predict(film)
    except MammoError as error:
        yield _failed(image_id, None, error)
        return
    classes = dict.fromkeys((prediction.predicted, true if true in predictor.class_names else prediction.predicted))
    caption = f"Called {prediction.predicted} ({prediction.probabilities[prediction.predicted]:.2f})."
    for class_name in filter(None, classes):
        try:
            explanation = predictor.explain(film, class_name, method)
        except MammoError as error:
            yield _failed(image_id, class_name, error) | {"predicted": prediction.predicted}
            continue
        file = map_file_name(image_id, class_name)
        _write_map(out_dir / file, film, explanation, caption, None)
        yield {
            "image": image_id,
            "class": class_name,
            "predicted": prediction.predicted,
            "file": file,
            "map": map_facts(explanation),
            "error": None,
        }


def _failed(image_id: str, class_name: str | None, error: MammoError) -> dict[str, Any]:
    return {"image": image_id, "class": class_name, "predicted": None, "file": None, "map": None, "error": str(error)}


def mapped_films(
    predictor: Predictor, dataset: Dataset, picks: Sequence[Pick], method: str, progress: Progress | None = None
) -> Iterator[tuple[Pick, str, tuple[Film, Explanation] | MammoError]]:
    """The maps of the picks, film by film: one picked under two classes is read once. A failure is a result."""
    by_film: dict[str, list[Pick]] = {}
    for pick in picks:
        by_film.setdefault(pick.image_id, []).append(pick)
    for image_id, film in read_films(dataset, list(by_film), progress):
        for pick in by_film[image_id]:
            for class_name in pick.shown_classes:
                yield pick, class_name, film if isinstance(film, MammoError) else _explained(predictor, film, class_name, method)


def _explained(predictor: Predictor, film: Film, class_name: str, method: str) -> tuple[Film, Explanation] | MammoError:
    try:
        return film, predictor.explain(film, class_name, method)
    except MammoError as error:
        return error


class SheetRows:
    """Collects films and maps for a contact sheet, already at its size: at full size a gallery would need gigabytes."""

    def __init__(self, class_names: Sequence[str], height: int = SHEET_HEIGHT) -> None:
        self._class_names, self._height = tuple(class_names), height
        self._panels: dict[tuple[str, Kind], list[Panel]] = {}

    def add(self, pick: Pick, film: Film, explanation: Explanation) -> None:
        lines = [pick.caption, map_caption(explanation.class_name, explanation.empty)]
        small = Panel(reduced(film.pixels, self._height), reduced(explanation.map, self._height), lines)
        self._panels.setdefault((pick.class_name, pick.kind), []).append(small)

    def picture(self, title: str) -> Rgb:
        """The sheet, a row for each class and kind. ``ConfigError`` where nothing was added."""
        keys = [(name, kind) for name in self._class_names for kind in KINDS]
        rows = [(KIND_TITLES[kind].format(name=name), self._panels.get((name, kind), [])) for name, kind in keys]
        return contact_sheet(rows, title, self._height)


def _write_map(path: Path, film: Film, explanation: Explanation, caption: str, max_height: int | None) -> None:
    lines = [caption, explanation.statement, *explanation.alarms.sentences]
    write_png(path, side_by_side(Panel(film.pixels, explanation.map, lines), max_height=max_height), explanation.statement)


def write_png(path: Path, pixels: Any, description: str) -> None:
    content = png_bytes(pixels, description)
    write_atomic(path, lambda file: file.write(content))


def _refuse_if_none(items: Iterable[dict[str, Any]]) -> None:
    errors = [item["error"] for item in items]
    if errors and all(errors):
        raise DataError(f"Not one of {len(errors)} maps could be made; the first reason: {errors[0]}")
