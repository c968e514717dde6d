"""Report packs as the Report page lists them: what a pack will hold before it is made, and the packs that there are."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mammo_core.report.figures import Format
from mammo_core.report.pack_plan import FigureItem, PackOptions, plan_pack
from mammo_core.report.report_pack import ZIP_NAME
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
        except (OSError, zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError, struct.error):
            continue  # being written, deleted a moment ago, or damaged
        found.append(PackOnDisk(path.parent.name, path, status.st_mtime, status.st_size, files))
    return sorted(found, key=lambda pack: pack.made_at, reverse=True)


def planned_content(runs: Sequence[RunDir], formats: Sequence[Format]) -> list[str]:
    """The files that a pack of these runs will hold, as far as the runs' files say; figures that fail are missing from it."""
    return plan_pack(runs, PackOptions(formats, gradcam=_later)).names


def planned_figures(runs: Sequence[RunDir]) -> dict[str, FigureItem]:
    """Title -> figure that can be drawn now, in the order of the pack; without Grad-CAM, which needs the films."""
    return {item.title: item for item in plan_pack(runs).figures}


def _later(run: RunDir) -> None:
    """Stands for the drawing of Grad-CAM, which only the making of a pack does."""
