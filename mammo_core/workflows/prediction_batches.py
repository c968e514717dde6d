"""Prediction on all films of a folder as work that can be left: a queue job with tables and maps to keep.

Of the films only what is said about them is held: a batch of thousands takes no more memory than one of ten. A film that
cannot be used is a row of the tables, and the batch goes on.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mammo_core.analysis.backing import DEFAULT_RULE, threshold_facts
from mammo_core.errors import DataError, MammoError, Stopped, readable
from mammo_core.predict.exam_films import ExamFilm, Grouping
from mammo_core.predict.exam_rows import exam_row
from mammo_core.predict.exams import exam_opinions
from mammo_core.report.privacy import without_places
from mammo_core.settings import Workspace
from mammo_core.storage import check_name
from mammo_core.workflows.batch_files import (
    MAPS,
    batches_folder,
    list_batches,
    load_batch,
    write_batch,
    write_files_table,
)
from mammo_core.workflows.batch_tables import model_names
from mammo_core.workflows.naming import propose_name
from mammo_core.workflows.telling_films import Progress

if TYPE_CHECKING:
    from mammo_core.data.film import Film
    from mammo_core.predict.predictor import Prediction, Predictor  # import torch, which a list of batches does not need

__all__ = ["BatchOptions", "list_batches", "load_batch", "predict_batch", "run_batch"]

MAX_FILMS = 10_000
"""More would make a results file that is not read again (``reading.MAX_JSON_BYTES``)."""
SAVE_SECONDS = 60.0
"""Least time between two savings of what there is, so that a crash costs a minute."""
MAP_HEIGHT = 1600
"""Pixels of the film in a map's picture: a full-size one takes 20 MB."""
NAMED_ON_FILM = "No map was written: the file says that text is burned into the picture, and it may name the patient."


@dataclass(frozen=True)
class BatchOptions:
    """How a folder is predicted on."""

    grouping: Grouping = "study"
    """Which films are one exam."""
    gradcam: bool = False
    """Whether to write a map of each film's predicted class."""
    method: str = "gradcam"
    rule: str = DEFAULT_RULE
    """By which the thresholds were chosen on the validation films; a key of ``operating_points.RULES``."""
    name: str = ""
    """Of the batch; empty takes date and time. Never the folder's, which can name a patient."""


def run_batch(workspace: Workspace, arguments: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """The job of a queue request with ``runs``, ``folder`` and any field of :class:`BatchOptions`."""
    options = BatchOptions(**{key: value for key, value in arguments.items() if key not in ("runs", "folder")})
    made = predict_batch(workspace, arguments["runs"], Path(arguments["folder"]), options, progress)
    return {"name": made["name"], **made["counts"]}


def predict_batch(
    workspace: Workspace,
    runs: Sequence[str],
    folder: Path,
    options: BatchOptions | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Predict on every film in a folder and all folders in it.

    Written to ``reports/predictions/<name>/``: ``predictions.json``, ``predictions.csv`` (one row a film, failures too),
    ``exams.csv`` (means of breasts and exams), ``batch.json`` (the summary), ``files.csv`` (which file a film number was; it can
    identify patients) and, where asked for, ``maps/``. Nothing is overwritten: a name that is taken gets ``_2`` behind it.

    Returns
    -------
    dict
        The content of ``batch.json``.

    Raises
    ------
    DataError
        No such folder, no film in it or too many, or not one of them could be predicted; the last leaves the batch with the
        reason for each film.
    MammoError
        As ``Predictor.load``; unknown method, grouping or rule; a name that cannot be used; a full disk.
    """
    from mammo_core.predict.predictor import Predictor, predict_each
    from mammo_core.workflows.prediction import check_choices

    chosen = options or BatchOptions()
    check_choices(chosen.method, chosen.grouping, chosen.rule)
    paths = _films_of(folder.expanduser())
    predictor = Predictor.load(workspace, runs)
    batch = _BatchUnderWay(_new_folder(workspace, chosen.name), predictor, _Asked(tuple(runs), chosen, len(paths)))
    write_files_table(batch.folder, [_shown(path.relative_to(folder.expanduser())) for path in paths])
    batch.save("unfinished")
    try:
        for path, film, result in predict_each(predictor, paths, progress):
            batch.add(path, film, result)
    except Stopped:
        batch.save("unfinished")
        raise
    made = batch.save("finished" if batch.films else "failed")
    if not batch.films:
        raise DataError(
            f"Not one of {len(paths)} films could be predicted; the first reason: {batch.rows[0]['error']} "
            f"The batch {made['name']} lists the reason for each."
        )
    return made


def _films_of(folder: Path) -> list[Path]:
    """The texts name no folder: they are kept in the queue, and a folder's name can be a patient's."""
    from mammo_core.workflows.prediction import films_in

    if not folder.is_dir():
        raise DataError("There is no such folder; expected one with films on this computer. Check how it is written.")
    paths = films_in(folder)
    if not paths:
        raise DataError("The folder holds no film; expected DICOM, PNG, JPEG, TIFF or PGM files in it. Choose another one.")
    if len(paths) > MAX_FILMS:
        raise DataError(
            f"The folder holds {len(paths)} films; expected at most {MAX_FILMS} in a batch. Choose its folders apart."
        )
    return paths


def _new_folder(workspace: Workspace, name: str) -> Path:
    parent = batches_folder(workspace)
    wanted = check_name(name, "batch name") if name else time.strftime("%Y%m%d_%H%M%S")
    folder = parent / propose_name(wanted, lambda text: (parent / text).exists())
    folder.mkdir(parents=True)
    return folder


@dataclass(frozen=True)
class _Asked:
    """What the user wants."""

    names: tuple[str, ...]
    """Of the runs, or of a kept model."""
    options: BatchOptions
    total: int
    """Films in the folder."""


class _BatchUnderWay:
    """Collects what is said about the films and writes it now and then."""

    def __init__(self, folder: Path, predictor: Predictor, asked: _Asked) -> None:
        self.folder, self.films, self.rows = folder, list[ExamFilm](), list[dict[str, Any]]()
        self._predictor, self._options, self._asked = predictor, asked.options, asked
        self._made_at, self._saved_at = time.strftime("%Y-%m-%d %H:%M:%S"), time.monotonic()

    def add(self, path: Path, film: Film | None, result: Prediction | MammoError) -> None:
        from mammo_core.predict.predictor import as_row

        number = len(self.rows) + 1
        row = {"film": number, **as_row("", result, self._predictor.runs), "side": None, "view": None}
        row |= {"exam": None, "breast": None, "left_out": None, "threshold": None, "threshold_reason": None}
        del row["image"], row["runs"]
        if film is not None and not isinstance(result, MammoError):
            group = str(path.parent) if self._options.grouping == "folder" else ""
            self.films.append(ExamFilm(number - 1, result, film.facts, group))
            row |= {"side": film.facts.laterality, "view": film.facts.view, **self._map(film, result)}
            row |= threshold_facts(result.backing, "film", self._options.rule, result.raw_probabilities)
        if row["error"]:
            row["error"] = _without_name(row["error"], path, f"Film {number}")
        self.rows.append(row)
        if time.monotonic() - self._saved_at >= SAVE_SECONDS:
            self.save("unfinished")

    def _map(self, film: Film, prediction: Prediction) -> dict[str, Any]:
        from mammo_core.workflows.prediction import Maps, write_map

        if not self._options.gradcam:
            return {}
        if film.facts.burned_in_annotation == "YES":
            return {"gradcam": None, "map": None, "map_note": NAMED_ON_FILM}
        maps = Maps(self.folder / MAPS, self._options.method, MAP_HEIGHT)
        maps.folder.mkdir(exist_ok=True)
        return write_map(self._predictor, film, prediction, maps)

    def save(self, state: str) -> dict[str, Any]:
        """Write what there is so far and return the summary."""
        from mammo_core.workflows.prediction import film_places

        exams = exam_opinions(self.films, one_exam=self._options.grouping == "one")
        for index, told in film_places(exams).items():
            names = {key: told[key]["name"] if told[key] else None for key in ("exam", "breast")}
            self.rows[index] |= {**names, "left_out": told["left_out"]}
        first = self.films[0].prediction if self.films else None
        facts = {
            "name": self.folder.name,
            "state": state,
            "made_at": self._made_at,
            "task": self._predictor.members[0].checkpoint.config.task,
            "model": model_names(self._asked.names, self._predictor.runs),
            "model_id": first.model_id if first else None,
            "temperature": first.backing.temperature if first else None,
            "runs": list(self._predictor.runs),
            "class_names": list(self._predictor.class_names),
            "models": list(first.origins) if first else [],
            "grouping": self._options.grouping,
            "rule": self._options.rule,
            "gradcam": self._options.gradcam,
            "found": self._asked.total,
        }
        summary = write_batch(self.folder, facts, self.rows, [exam_row(exam, self._options.rule) for exam in exams])
        self._saved_at = time.monotonic()
        return summary


def _shown(path: Path) -> str:
    """A path as text even where its bytes are none."""
    return os.fsencode(path.as_posix()).decode("utf-8", "backslashreplace")


def _without_name(sentence: str, path: Path, shown: str) -> str:
    """The sentence with the film's number where it names the file or a folder of it."""
    text = without_places(sentence.replace(str(path), shown))
    for name in {path.name, readable(path.name)} - {""}:  # an error shows a name as one readable line
        text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", shown, text)
    return text.encode("utf-8", "backslashreplace").decode()
