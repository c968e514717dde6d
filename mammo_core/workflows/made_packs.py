"""Report packs as the Report page lists them: what a pack will hold before it is made, and the packs that there are."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mammo_core.errors import MammoError
from mammo_core.report.report_pack import ZIP_NAME, endings, file_word
from mammo_core.runs.run_dir import RunDir
from mammo_core.settings import Workspace


@dataclass(frozen=True)
class PackOnDisk:
    """One pack below ``reports``."""

    name: str
    zip_path: Path
    made_at: float
    """Seconds since 1970."""
    size: int
    """Of the zip, bytes."""
    files: tuple[str, ...]
    """Paths inside the zip, sorted; empty where it cannot be read."""


def list_packs(workspace: Workspace) -> list[PackOnDisk]:
    """The packs that were made in this workspace, newest first."""
    found = []
    for path in workspace.reports.glob(f"*/{ZIP_NAME}"):
        try:
            status = path.stat()
            with zipfile.ZipFile(path) as archive:
                files = tuple(sorted(archive.namelist()))
        except (OSError, zipfile.BadZipFile):
            continue  # being written, or deleted a moment ago
        found.append(PackOnDisk(path.parent.name, path, status.st_mtime, status.st_size, files))
    return sorted(found, key=lambda pack: pack.made_at, reverse=True)


def planned_content(runs: Sequence[RunDir], formats: Sequence[str]) -> list[str]:
    """The files that a pack of these runs will hold, as far as the runs' files say; figures that fail are missing from it."""
    experiments = list(dict.fromkeys(run.experiment for run in runs))
    names = ["captions.md", "README.md"] if runs else []
    for experiment in experiments:
        members = [run for run in runs if run.experiment == experiment]
        folder = f"{experiment}/" if len(experiments) > 1 else ""
        for run, ending in zip(members, endings(members), strict=True):
            names += [folder + name for name in _files_of_run(run, ending, formats)]
        finished = [run for run in members if run.summary_file.exists()]
        if finished:
            names += [f"{folder}seed_table.{kind}" for kind in ("csv", "md", "tex")]
        if len(finished) > 1:
            names += [f"{folder}{_task(finished[0])}_seeds_val_loss.{kind}" for kind in formats]
    return sorted(names)


def _files_of_run(run: RunDir, ending: str, formats: Sequence[str]) -> list[str]:
    task = _task(run)
    figures = [f"{task}_train_{ending}"] if run.history_file.exists() else []
    figures += [f"{task}_confusion_{ending}"] if run.metrics_file("val").exists() else []
    figures += [f"{task}_confusion_test_{ending}"] if run.metrics_file("test").exists() else []
    names = [f"{figure}.{kind}" for figure in figures for kind in formats]
    names += [f"{task}_gradcam_{ending}.png"] if run.best_model.exists() else []
    return [*names, f"{task}_model_card_{ending}.md"]


def _task(run: RunDir) -> str:
    try:
        return file_word(run.config().task)
    except MammoError:
        return "task"
