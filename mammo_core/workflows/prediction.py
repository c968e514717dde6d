"""Prediction on files and folders, with maps where wanted: what the command line and the batch page call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mammo_core.data.film import Film
from mammo_core.data.reader import kind_of
from mammo_core.errors import ConfigError, DataError, MammoError
from mammo_core.explain.methods import METHOD_TITLES
from mammo_core.predict.predictor import Prediction, Predictor, as_row, predict_each
from mammo_core.predict.result_files import map_facts, prediction_png
from mammo_core.runs.run_dir import RunDir
from mammo_core.settings import Workspace
from mammo_core.storage import write_atomic
from mammo_core.workflows.telling_films import Progress, map_file_name

HEAD_BYTES = 132
"""Enough to know a film by its content."""


def predict_files(
    workspace: Workspace,
    run_ids: Sequence[str | RunDir],
    paths: Sequence[Path],
    gradcam_dir: Path | None = None,
    method: str = "gradcam",
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Predict on films; folders are searched for films, with all folders in them.

    Parameters
    ----------
    gradcam_dir : folder for the maps of the predicted classes, or None
        A map is called ``film_<film_id>_<class>.png``: the films' own names can carry a patient's. The entry's ``gradcam``
        holds that name, and ``map`` what the map is.

    Returns
    -------
    list of dict
        The document of ``predict --json``, one entry a film in the order given. ``error`` is None or the sentence; a film
        that was predicted and whose map failed has both its probabilities and an ``error``.

    Raises
    ------
    MammoError
        As :meth:`Predictor.load`; unknown method; nothing to predict on.
    """
    if method not in METHOD_TITLES:
        raise ConfigError(f"There is no map method {method!r}; expected one of {', '.join(METHOD_TITLES)}.")
    films = list(expand(paths))
    predictor = Predictor.load(workspace, run_ids)
    if gradcam_dir is not None:
        gradcam_dir.mkdir(parents=True, exist_ok=True)
    rows = []
    for path, film, result in predict_each(predictor, films, progress):
        row = as_row(str(path), result, predictor.runs)
        if gradcam_dir is not None and film is not None and isinstance(result, Prediction):
            row |= _map(predictor, film, result, gradcam_dir, method)
        rows.append(row)
    return rows


def _map(predictor: Predictor, film: Film, prediction: Prediction, folder: Path, method: str) -> dict[str, Any]:
    try:
        explanation = predictor.explain(film, prediction.predicted, method)
    except MammoError as error:
        return {"gradcam": None, "map": None, "error": str(error)}
    name = map_file_name(f"film_{prediction.film_id}", prediction.predicted)
    content = prediction_png(film, prediction, explanation)
    write_atomic(folder / name, lambda file: file.write(content))
    return {"gradcam": name, "map": map_facts(explanation)}


def expand(paths: Sequence[Path]) -> Iterator[Path]:
    """The files named, and the films in the folders named, sorted by path; other files there are passed over.

    Raises
    ------
    DataError
        A folder holds no film, or nothing was named.
    """
    if not paths:
        raise DataError("No film was named; expected files or folders with films (DICOM, PNG, JPEG, TIFF or PGM).")
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        found = sorted(entry for entry in path.rglob("*") if entry.is_file() and _looks_like_film(entry))
        if not found:
            raise DataError(f"The folder {path.name!r} holds no film; expected DICOM, PNG, JPEG, TIFF or PGM files in it.")
        yield from found


def _looks_like_film(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return kind_of(file.read(HEAD_BYTES)) is not None
    except OSError:
        return True  # listed, so that the reader says what is wrong with it
