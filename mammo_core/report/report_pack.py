"""The report pack: every figure, table and model card of some runs in one folder, with captions, and all of it as a zip.

Everything is drawn anew from the run's files, so the same runs give the same pack.
"""

from __future__ import annotations

import functools
import io
import re
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mammo_core.analysis.variance import summarise_experiment
from mammo_core.errors import MammoError
from mammo_core.report.captions import (
    captions_document,
    confusion_caption,
    gradcam_caption,
    readme_document,
    seeds_caption,
    source_note,
    train_caption,
)
from mammo_core.report.charts_compare import CurveView, seed_curves
from mammo_core.report.charts_evaluation import confusion_chart
from mammo_core.report.charts_history import HistoryView, lowest_epoch, train_figure
from mammo_core.report.figures import SINGLE_COLUMN, Format, export_all, fit_width
from mammo_core.report.model_card import model_card
from mammo_core.report.spec import Chart
from mammo_core.report.tables import safe_csv, seed_caption, seed_numbers, seed_table, to_latex, to_markdown
from mammo_core.runs.history import history_frame
from mammo_core.runs.run_dir import RunDir
from mammo_core.storage import write_atomic

GradCam = Callable[[RunDir], bytes | None]
"""Draws the Grad-CAM figure of a run as PNG, or ``None`` where it cannot; comes from the caller, since torch stays outside."""

Progress = Callable[[int, int, str], None]
"""Takes items done, items in all, and what is being made."""

ZIP_NAME = "report_pack.zip"
ZIP_DATE = (1980, 1, 1, 0, 0, 0)
"""The earliest that zip knows; a real date would make equal packs differ."""


@dataclass(frozen=True)
class PackResult:
    """What was written, and what could not be, as sentences."""

    files: tuple[Path, ...]
    zip: Path
    problems: tuple[str, ...]


@dataclass
class _Pack:
    """A pack in the making."""

    out_dir: Path
    formats: Sequence[Format]
    gradcam: GradCam | None
    files: list[Path] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    captions: list[str] = field(default_factory=list)

    def write(self, path: Path, content: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, lambda file: file.write(content))
        self.files.append(path)

    def write_figure(self, stem: Path, build: Callable[[int], Chart], caption: str, source: str) -> None:
        """One figure in every format, 85 mm wide, with its caption."""
        chart = fit_width(build, SINGLE_COLUMN)
        for file_format, content in export_all(chart, self.formats, note=source).items():
            self.write(stem.with_name(f"{stem.name}.{file_format}"), content)
        self.add_caption(stem, caption)

    def add_caption(self, stem: Path, caption: str) -> None:
        self.captions.append(f"**{stem.relative_to(self.out_dir).as_posix()}.** {caption}")


def write_pack(
    runs: Sequence[RunDir],
    out_dir: Path,
    formats: Sequence[Format] = ("png",),
    gradcam: GradCam | None = None,
    progress: Progress | None = None,
) -> PackResult:
    """Write the report pack of some runs; files of the same names are replaced.

    Parameters
    ----------
    runs : sequence of RunDir
        Of one or several experiments; each experiment gets a folder of its own where there are several. Unfinished runs are
        drawn as far as they are, with a problem that says so.
    out_dir : Path
        Made if missing.
    formats : sequence of {"png", "svg", "pdf"}
        Of the charts; Grad-CAM figures are always PNG.

    Raises
    ------
    MammoError
        No runs were given, or an unknown format.
    """
    if not runs:
        raise MammoError("A report pack needs at least one run; none was given. Name one with --run or choose one on the page.")
    pack = _Pack(out_dir, formats, gradcam)
    experiments = list(dict.fromkeys(run.experiment for run in runs))
    if gradcam is None:
        pack.problems.append("There are no Grad-CAM figures, since nothing that draws them was given.")
    report = progress or _no_progress
    done, total = 0, len(runs) + 1
    for experiment in experiments:
        members = [run for run in runs if run.experiment == experiment]
        folder = out_dir / experiment if len(experiments) > 1 else out_dir
        for run, ending in zip(members, endings(members), strict=True):
            report(done, total, run.id)
            _add_run(pack, run, folder, ending)
            done += 1
        _add_experiment(pack, members, folder)
    report(done, total, "captions and zip")
    pack.write(out_dir / "captions.md", captions_document(pack.captions, runs).encode())
    names = [path.relative_to(out_dir).as_posix() for path in pack.files]
    pack.write(out_dir / "README.md", readme_document(names, pack.problems, runs, formats).encode())
    archive = out_dir / ZIP_NAME
    write_atomic(archive, lambda file: file.write(_zip_bytes(pack)))
    report(total, total, "done")
    return PackResult(tuple(pack.files), archive, tuple(pack.problems))


def _no_progress(done: int, total: int, what: str) -> None:
    """Nobody asked."""


def endings(runs: Sequence[RunDir]) -> list[str]:
    """``seed42`` or ``seed42_fold1`` for each run, with ``_2`` and so on behind where that would repeat; the run's name where
    its configuration cannot be read."""
    found: list[str] = []
    for run in runs:
        try:
            config = run.config()
            base = f"seed{config.seed}" + (f"_fold{config.fold}" if config.fold is not None else "")
        except MammoError:
            base = run.name
        number = 1 + sum(other == base or other.startswith(f"{base}_again") for other in found)
        found.append(base if number == 1 else f"{base}_again{number}")
    return [re.sub(r"_again(\d+)$", r"_\1", ending) for ending in found]


def _add_run(pack: _Pack, run: RunDir, folder: Path, ending: str) -> None:
    try:
        task = file_word(run.config().task)
        state = run.state()
        if state != "finished":
            pack.problems.append(f"{run.id} is {state}; its figures show the epochs there are.")
        _add_curves(pack, run, folder / f"{task}_train_{ending}")
        _add_confusions(pack, run, folder, task, ending)
        _add_gradcam(pack, run, folder / f"{task}_gradcam_{ending}")
        pack.write(folder / f"{task}_model_card_{ending}.md", model_card(run).encode())
    except MammoError as error:
        pack.problems.append(f"{run.id}: {error}")


def _add_curves(pack: _Pack, run: RunDir, stem: Path) -> None:
    frame, config = history_frame(run.history()), run.config()
    if frame.empty:
        pack.problems.append(f"{run.id} has no history yet, so there is no training figure.")
        return
    best = lowest_epoch(frame, "val_loss")

    def build(width: int) -> Chart:
        return train_figure(frame, HistoryView(width=width, best_epoch=best, epochs_planned=config.epochs))

    pack.write_figure(stem, build, train_caption(run, frame), source_note(run))


def _add_confusions(pack: _Pack, run: RunDir, folder: Path, task: str, ending: str) -> None:
    for on, words, part in (("val", "validation", "confusion"), ("test", "test", "confusion_test")):
        metrics = run.metrics(on)
        if metrics is None:
            if on == "val":
                pack.problems.append(f"{run.id} has no validation metrics, so there is no confusion matrix.")
            continue
        build = functools.partial(confusion_chart, metrics.confusion_matrix, metrics.class_names)
        pack.write_figure(folder / f"{task}_{part}_{ending}", build, confusion_caption(run, metrics, words), source_note(run))


def _add_gradcam(pack: _Pack, run: RunDir, stem: Path) -> None:
    if pack.gradcam is None:
        return
    try:
        picture = pack.gradcam(run)
    except MammoError as error:
        pack.problems.append(f"{run.id}: no Grad-CAM figure ({error}).")
        return
    if picture is None:
        pack.problems.append(f"{run.id}: no Grad-CAM figure, since none could be drawn from its checkpoint and films.")
        return
    pack.write(stem.with_name(f"{stem.name}.png"), picture)
    pack.add_caption(stem, gradcam_caption(run))


def _add_experiment(pack: _Pack, runs: Sequence[RunDir], folder: Path) -> None:
    summary = summarise_experiment(runs)
    pack.problems += [f"{entry['run']} is not in the seed table: {entry['reason']}." for entry in summary["left_out"]]
    if not summary["n"]:
        return
    caption, table = seed_caption(summary), seed_table(summary)
    warnings = "".join(f"- {warning}\n" for warning in summary["warnings"])
    pack.write(folder / "seed_table.csv", safe_csv(seed_numbers(summary)))
    pack.write(folder / "seed_table.md", f"{caption}\n\n{to_markdown(table)}\n{warnings}".encode())
    pack.write(folder / "seed_table.tex", to_latex(table, caption, f"tab:{file_word(runs[0].experiment)}").encode())
    pack.add_caption(folder / "seed_table", caption)
    if summary["n"] > 1:
        counted = {entry["run"] for entry in summary["runs"]}
        _add_seed_curves(
            pack, [run for run in runs if run.name in counted], folder / f"{file_word(summary['task'])}_seeds_val_loss"
        )


def _add_seed_curves(pack: _Pack, runs: Sequence[RunDir], stem: Path) -> None:
    frames = {run.id: history_frame(run.history()) for run in runs}
    planned = max(run.config().epochs for run in runs)

    def build(width: int) -> Chart:
        view = CurveView(title="Validation loss (nats)", epochs_planned=planned, width=width, height=150)
        return seed_curves(frames, "val_loss", view)

    pack.write_figure(stem, build, seeds_caption(list(frames)), "; ".join(source_note(run) for run in runs))


def file_word(text: str) -> str:
    """Text as a part of a file name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text).strip("._") or "task"


def _zip_bytes(pack: _Pack) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(pack.files):
            entry = zipfile.ZipInfo(path.relative_to(pack.out_dir).as_posix(), ZIP_DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, path.read_bytes())
    return buffer.getvalue()
