"""Prediction on files and folders, with breast and exam means, and with maps where wanted: what the command line calls."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mammo_core.analysis.backing import DEFAULT_RULE, Backing, judge, score_text, threshold_facts
from mammo_core.analysis.operating_points import RULES
from mammo_core.data.film import Film
from mammo_core.data.foreign_file import kind_of
from mammo_core.errors import ConfigError, DataError, MammoError
from mammo_core.explain.methods import METHOD_TITLES
from mammo_core.predict.exam_films import GROUPINGS, SIDES, ExamFilm, Grouping
from mammo_core.predict.exams import ExamOpinion, GroupOpinion, exam_opinions
from mammo_core.predict.predictor import Prediction, Predictor, as_row, predict_each
from mammo_core.predict.result_files import map_facts, prediction_png
from mammo_core.runs.run_dir import RunDir
from mammo_core.settings import Workspace
from mammo_core.storage import write_atomic
from mammo_core.workflows.telling_films import Progress, map_file_name

HEAD_BYTES = 132
"""Enough to know a film by its content."""
FILM_SUFFIXES = frozenset({".dcm", ".dicom", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".pgm"})
"""A file so called is listed whatever it holds: a damaged film must not go missing in silence."""
DICOM_INDEX = "DICOMDIR"
"""The table of contents of a DICOM disc: a DICOM file, but no film."""


@dataclass(frozen=True)
class Maps:
    """Maps of the predicted classes that are wanted."""

    folder: Path
    """Made if missing. A map is called ``film_<film_id>_<class>.png``: the films' own names can carry a patient's."""
    method: str = "gradcam"
    max_height: int | None = None
    """Pixels of the film in the picture; ``None`` keeps every pixel."""


@dataclass(frozen=True)
class FilmsAnswer:
    """What the runs say about some files, film by film and joined."""

    rows: list[dict[str, Any]]
    """The document of ``predict --json``."""
    exams: tuple[ExamOpinion, ...]
    backing: Backing
    """What the validation films say of such scores."""


def predict_exams(
    workspace: Workspace,
    run_ids: Sequence[str | RunDir],
    paths: Sequence[Path],
    maps: Maps | None = None,
    grouping: Grouping = "study",
    progress: Progress | None = None,
) -> FilmsAnswer:
    """Predict on films and average them to breasts and exams; folders are searched for films, with all folders in them.

    Returns
    -------
    FilmsAnswer
        One row an image in the order given. ``error`` is None or the sentence; a film that was predicted and whose map failed
        has both its probabilities and an ``error``. Beside the keys of ``as_row``: ``side`` and ``view``; ``exam`` and
        ``breast``, the means that the film counts for, each None where there is none; ``left_out``, why it does not count;
        with maps ``gradcam``, the picture's name, and ``map``, what it is.

    Raises
    ------
    MammoError
        As :meth:`Predictor.load`; unknown method or grouping; nothing to predict on.
    """
    check_choices(maps.method if maps else "gradcam", grouping)
    files = list(expand(paths))
    predictor = Predictor.load(workspace, run_ids)
    if maps is not None:
        maps.folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    films: list[ExamFilm] = []
    for index, (path, film, result) in enumerate(predict_each(predictor, files, progress)):
        row = as_row(str(path), result, predictor.runs)
        row |= {"side": None, "view": None, "exam": None, "breast": None, "left_out": None}
        if film is not None and isinstance(result, Prediction):
            row |= {"side": film.facts.laterality, "view": film.facts.view}
            films.append(ExamFilm(index, result, film.facts, str(path.parent) if grouping == "folder" else ""))
            if maps is not None:
                row |= write_map(predictor, film, result, maps)
        rows.append(row)
    exams = exam_opinions(films, one_exam=grouping == "one")
    for index, told in film_places(exams).items():
        rows[index] |= told
    return FilmsAnswer(rows, exams, predictor.backing)


def check_choices(method: str, grouping: str, rule: str = DEFAULT_RULE) -> None:
    """Refuse (``ConfigError``) an unknown map method, way of grouping or rule of the threshold."""
    if method not in METHOD_TITLES:
        raise ConfigError(f"There is no map method {method!r}; expected one of {', '.join(METHOD_TITLES)}.")
    if grouping not in GROUPINGS:
        raise ConfigError(f"Films cannot be grouped by {grouping!r}; expected one of {', '.join(GROUPINGS)}.")
    if rule not in RULES:
        raise ConfigError(f"No threshold is chosen by a rule {rule!r}; expected one of {', '.join(RULES)}.")


def write_map(predictor: Predictor, film: Film, prediction: Prediction, maps: Maps) -> dict[str, Any]:
    """Write the map of the predicted class; ``gradcam`` and ``map``, or why there is none as ``error``."""
    try:
        explanation = predictor.explain(film, prediction.predicted, maps.method)
    except MammoError as error:
        return {"gradcam": None, "map": None, "error": str(error)}
    name = map_file_name(f"film_{prediction.film_id}", prediction.predicted)
    content = prediction_png(film, prediction, explanation, max_height=maps.max_height)
    write_atomic(maps.folder / name, lambda file: file.write(content))
    return {"gradcam": name, "map": map_facts(explanation)}


def film_places(exams: Sequence[ExamOpinion]) -> dict[int, dict[str, Any]]:
    """Film index -> the keys ``exam``, ``breast`` and ``left_out`` of its row; films that stand alone are not in it."""
    found: dict[int, dict[str, Any]] = {}
    for exam in exams:
        whole = None if exam.whole is None or exam.basis == "alone" else mean_facts(exam.whole)
        for view in exam.whole.views if whole and exam.whole else ():
            found[view.index] = {"exam": whole, "breast": None, "left_out": None}
        for breast in exam.breasts if whole else ():
            for view in breast.views:
                found[view.index]["breast"] = mean_facts(breast)
        for film in exam.left_out:
            found[film.index] = {"exam": None, "breast": None, "left_out": film.reason}
    return found


def mean_facts(opinion: GroupOpinion) -> dict[str, Any]:
    """What a film's row says about the mean that it counts for."""
    return {
        "name": opinion.title,
        "films": len(opinion.views),
        "predicted": opinion.predicted,
        "probabilities": opinion.probabilities,
        "spread": opinion.spread,
        "disagreement": opinion.disagreement,
    }


def exam_lines(exams: Sequence[ExamOpinion]) -> list[str]:
    """The breast and exam means for a terminal, a line each; films that stand alone say no more than their own row.

    What speaks against taking the films for one exam stands before its means.
    """
    lines: list[str] = []
    for exam in exams:
        if exam.basis == "alone":
            continue
        lines += [f"{exam.title}: {warning}" for warning in exam.warnings]
        if exam.whole is None:
            lines.append(f"{exam.title}: no film of it counts.")
        for opinion in exam.shown:
            name = exam.title if opinion.side is None else f"  {SIDES[opinion.side]} breast"
            lines.append(f"{name}: {_mean_text(opinion)}")
        lines += [f"  {note}" for note in (exam.differing, *(film.words for film in exam.left_out)) if note]
    return lines


def rows_with_thresholds(answer: FilmsAnswer, rule: str) -> list[dict[str, Any]]:
    """The rows with ``threshold``, what the rule's threshold says of the film, or ``threshold_reason``, why there is none.

    Both are ``None`` for a film that was not read.
    """
    nothing = {"threshold": None, "threshold_reason": None}
    return [
        {**row, **(threshold_facts(answer.backing, "film", rule, row["raw_probabilities"]) if row["probabilities"] else nothing)}
        for row in answer.rows
    ]


def threshold_words(answer: FilmsAnswer, rule: str = DEFAULT_RULE) -> list[str]:
    """Each film, breast and exam held against the threshold of a rule, a sentence each; and whether the scores are scaled.

    A breast or exam of one film is that film, and is not told again.
    """
    backing = answer.backing
    cases = [(row["image"], "film", row["raw_probabilities"], 1) for row in answer.rows if row["probabilities"]]
    for exam in answer.exams:
        cases += [
            (opinion.title, opinion.level, opinion.raw_probabilities, len(opinion.views))
            for opinion in exam.shown
            if len(opinion.views) > 1
        ]
    told: list[str] = []
    for name, level, raw_probabilities, films in cases:
        judged = judge(backing, level, rule, raw_probabilities, films)
        if isinstance(judged, str):
            told.append(judged)  # the same for every case of its level
        else:
            told.append(f"{name}: {judged.words}")
    return [*dict.fromkeys(told), backing.scaling_words] if cases else []


def _mean_text(opinion: GroupOpinion) -> str:
    spread = "" if opinion.spread is None else f", SD {opinion.spread:.2f} over {len(opinion.per_run)} runs"
    text = f"{opinion.predicted} (score {score_text(opinion.probabilities[opinion.predicted])}{spread}). {opinion.words}"
    return " ".join(filter(None, (text, opinion.disagreement)))


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
        found = films_in(path)
        if not found:
            raise DataError(f"The folder {path.name!r} holds no film; expected DICOM, PNG, JPEG, TIFF or PGM files in it.")
        yield from found


def films_in(folder: Path) -> list[Path]:
    """The films in a folder and all folders in it, sorted by path: by their content, or by a suffix that promises a film."""
    # os.path.isfile: a folder that may not be entered hides its files, and stops nothing
    return sorted(entry for entry in folder.rglob("*") if os.path.isfile(entry) and _looks_like_film(entry))


def _looks_like_film(path: Path) -> bool:
    if path.name.startswith(".") or path.name.upper() == DICOM_INDEX:
        return False
    if path.suffix.lower() in FILM_SUFFIXES:
        return True
    try:
        with path.open("rb") as file:
            return kind_of(file.read(HEAD_BYTES)) is not None
    except OSError:
        return True  # listed, so that the reader says what is wrong with it
