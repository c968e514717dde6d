"""The report pack of some runs with the Grad-CAM figures that need their checkpoints and films."""

from __future__ import annotations

import functools
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mammo_core.data.manifest import load_dataset
from mammo_core.errors import ConfigError, DataError, MammoError, Stopped
from mammo_core.explain.rendering import Panel, contact_sheet, png_bytes, reduced
from mammo_core.predict.predictor import Predictor
from mammo_core.report.figures import FORMATS, FigureSize, Format
from mammo_core.report.report_pack import PackOptions, missing_words, prepare_folder, write_pack
from mammo_core.report.run_facts import Known
from mammo_core.runs.run_dir import RunDir, find_run
from mammo_core.settings import Workspace
from mammo_core.training.checkpoint import load_checkpoint
from mammo_core.workflows.gallery import mapped_films
from mammo_core.workflows.telling_films import map_caption, pick_films, predictions_of

FILM_HEIGHT = 420
"""Pixels of a film in the figure: 36 mm at 300 ppi."""

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class MadePack:
    """What was written, and what could not be, as sentences."""

    folder: Path
    zip_path: Path
    files: tuple[Path, ...]
    problems: tuple[str, ...]
    missing: Mapping[str, int]
    """``figure``, ``file``, ``run`` or ``map`` (of a film in a figure) -> how many could not be made."""

    @property
    def words(self) -> str:
        """``Made 110 files, 3 figures missing``."""
        count = len(self.files)
        return f"Made {count} file{'' if count == 1 else 's'}, {missing_words(self.missing)}"


def make_pack(
    workspace: Workspace,
    runs: Sequence[str],
    out_dir: Path | None = None,
    formats: Sequence[str] = ("png",),
    size: FigureSize | None = None,
    progress: Progress | None = None,
) -> MadePack:
    """Write figures, tables, model cards and a zip of ``runs``.

    Parameters
    ----------
    out_dir : folder, made if missing; ``None`` takes a new one named after date and time below ``reports``
    formats : of ``png``, ``svg`` and ``pdf``; the Grad-CAM figure holds photographs and is always PNG
    size : of the charts; a single column (85 mm) where left out

    Raises
    ------
    ConfigError
        An unknown format; a folder that cannot be written into.
    MammoError
        No such run, or no run.
    """
    chosen: list[Format] = [name for name in FORMATS if name in formats]
    unknown = sorted(set(formats) - set(FORMATS))
    if unknown or not chosen:
        raise ConfigError(
            f"The formats {', '.join(formats) or 'none'} cannot all be made; expected some of {', '.join(FORMATS)}."
        )
    found = [find_run(workspace, run) for run in runs]
    folder = out_dir or _new_folder(workspace)
    prepare_folder(folder)
    left_out: list[str] = []
    draw = functools.partial(gradcam_figure, workspace, left_out=left_out)
    options = PackOptions(chosen, size or FigureSize(), draw, functools.partial(known_of, workspace))
    try:
        made = write_pack(found, folder, options, progress)
    except Stopped:
        if out_dir is None:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    return MadePack(folder, made.zip, made.files, (*made.problems, *left_out), {**made.missing, "map": len(left_out)})


def _new_folder(workspace: Workspace) -> Path:
    stamp = time.strftime("%Y%m%d_%H%M%S")
    names = (stamp if number == 1 else f"{stamp}_{number}" for number in range(1, 1000))
    return next(workspace.reports / name for name in names if not (workspace.reports / name).exists())


def known_of(workspace: Workspace, run: RunDir) -> Known:
    """What the data set and the checkpoint say beside the run's own files; nothing where they are gone or unreadable."""
    return Known(_dataset_facts(workspace, run), *_checkpoint_facts(run))


def _dataset_facts(workspace: Workspace, run: RunDir) -> dict[str, Any]:
    try:
        found = load_dataset(workspace, run.config().dataset).record.to_json()
    except MammoError:
        return {}
    return {key: value for key, value in found.items() if key != "root"}


def _checkpoint_facts(run: RunDir) -> tuple[int | None, int | None]:
    """Preprocessing version, and how many numbers training can change."""
    if not run.best_model.exists():
        return None, None
    try:
        checkpoint = load_checkpoint(run.best_model)
        model = checkpoint.build_model()
    except MammoError:
        return None, None
    return checkpoint.preprocessing_version, sum(part.numel() for part in model.parameters())


def gradcam_figure(workspace: Workspace, run: RunDir, left_out: list[str]) -> bytes:
    """PNG with a row a class: its most confident right and missed validation film, each plain and with its map.

    Parameters
    ----------
    left_out : list of str
        Gets a sentence for each film whose map could not be made.

    Raises
    ------
    DataError
        No predictions, or not one map.
    MammoError
        The checkpoint or the data set cannot be used.
    """
    table = predictions_of(run, "val")
    predictor = Predictor.load(workspace, [run])
    dataset = load_dataset(workspace, run.config().dataset)
    picks = [pick for pick in pick_films(table, predictor.class_names, 1) if pick.kind != "wrongly called"]
    panels: dict[str, list[Panel]] = {name: [] for name in predictor.class_names}
    problems: list[str] = []
    for pick, class_name, result in mapped_films(predictor, dataset, picks, "gradcam"):
        if isinstance(result, MammoError):
            problems.append(f"{run.id}: no map of film {pick.image_id} for {class_name} ({result}).")
            continue
        film, explanation = result
        small = reduced(film.pixels, FILM_HEIGHT), reduced(explanation.map, FILM_HEIGHT)
        panels[pick.class_name].append(Panel(*small, [pick.caption, map_caption(class_name, explanation.empty)]))
    if not any(panels.values()):
        raise DataError(problems[0] if problems else f"{run.id} has no validation film that could be shown.")
    left_out += problems
    title = f"{run.id}: what influenced the score (Grad-CAM, validation films)"
    return png_bytes(contact_sheet([(f"Films of {name}", row) for name, row in panels.items()], title, FILM_HEIGHT), title)
