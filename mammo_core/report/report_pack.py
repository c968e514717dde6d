"""The report pack: every figure, table and document of some runs in one folder, with captions, and all of it as a zip.

Everything is made anew from the runs' files, so the same runs give the same pack, byte for byte.
"""

from __future__ import annotations

import hashlib
import io
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mammo_core.errors import ConfigError, MammoError, WriteFailed
from mammo_core.report.captions import captions_document, readme_document
from mammo_core.report.figures import draw_figure
from mammo_core.report.pack_plan import FigureItem, FileItem, GradCam, PackOptions, PackPlan, endings, file_word, plan_pack
from mammo_core.report.plain_text import plain_in_file
from mammo_core.report.privacy import without_places
from mammo_core.report.reproduce import MANIFEST_NAME, manifest_text
from mammo_core.report.tables import safe_csv
from mammo_core.runs.run_dir import RunDir
from mammo_core.storage import write_atomic

__all__ = ["ZIP_NAME", "GradCam", "PackOptions", "PackResult", "endings", "file_word", "write_pack"]

Progress = Callable[[int, int, str], None]
"""Takes items done, items in all, and what is being made."""

ZIP_NAME = "report_pack.zip"
ZIP_DATE = (1980, 1, 1, 0, 0, 0)
"""The earliest that zip knows; a real date would make equal packs differ."""
UNIX, READABLE = 3, 0o644 << 16


@dataclass(frozen=True)
class PackResult:
    """What was written, and what could not be, as sentences."""

    files: tuple[Path, ...]
    zip: Path
    problems: tuple[str, ...]
    missing: Mapping[str, int] = field(default_factory=dict)
    """``figure``, ``file`` or ``run`` -> how many could not be made; a problem without one is a remark."""


@dataclass
class _Pack:
    """A pack in the making."""

    out_dir: Path
    plan: PackPlan
    contents: dict[str, bytes] = field(default_factory=dict)
    """Path inside the pack -> bytes, for the zip."""
    problems: list[str] = field(default_factory=list)
    captions: list[str] = field(default_factory=list)

    def write(self, name: str, content: bytes) -> None:
        path = self.out_dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, lambda file: file.write(content))
        self.contents[name] = content

    def make(self, item: FigureItem | FileItem) -> None:
        """Make the files of one item; what cannot be made becomes a sentence."""
        try:
            if isinstance(item, FigureItem):
                self._draw(item)
            else:
                for name, content in zip(item.files, item.make(), strict=True):
                    self.write(name, content)
                if item.caption:
                    self.add_caption(item.files[0].rpartition(".")[0], item.caption())
        except WriteFailed:  # the other items would fail as well
            raise
        except MammoError as error:
            self.problems.append(f"{_label(item)}: {error}")
            self.plan.missing["figure" if _is_figure(item) else "file"] += 1

    def _draw(self, item: FigureItem) -> None:
        figure, options = item.prepare(), self.plan.options
        files = draw_figure(figure.build, options.formats, options.size, figure.note)
        contents = [*(files[kind] for kind in options.formats), safe_csv(figure.data)]
        for name, content in zip(item.names(options.formats), contents, strict=True):
            self.write(name, content)
        self.add_caption(item.stem, figure.caption)

    def add_caption(self, stem: str, caption: str) -> None:
        self.captions.append(f"**{plain_in_file(stem)}.** {plain_in_file(caption)}")


def _is_figure(item: FigureItem | FileItem) -> bool:
    return isinstance(item, FigureItem) or item.files[0].endswith(".png")


def _label(item: FigureItem | FileItem) -> str:
    return item.title if isinstance(item, FigureItem) else item.files[0]


def write_pack(
    runs: Sequence[RunDir], out_dir: Path, options: PackOptions | None = None, progress: Progress | None = None
) -> PackResult:
    """Write the report pack of some runs; files of the same names are replaced.

    Parameters
    ----------
    runs : sequence of RunDir
        Of one or several experiments; each experiment gets a folder of its own where there are several. Unfinished runs are
        drawn as far as they are, with a problem that says so.
    out_dir : Path
        Made if missing.
    options : PackOptions
        Formats and size of the charts (Grad-CAM figures are always PNG), what draws Grad-CAM, and what is known of the data.

    Raises
    ------
    MammoError
        No runs were given, or an unknown format.
    ConfigError
        Nothing can be written into ``out_dir``; said before anything is drawn.
    """
    if not runs:
        raise MammoError("A report pack needs at least one run; none was given. Name one with --run or choose one on the page.")
    prepare_folder(out_dir)
    plan = plan_pack(runs, options)
    pack = _Pack(out_dir, plan, problems=list(plan.problems))
    if plan.options.gradcam is None:
        pack.problems.append("There are no Grad-CAM figures, since nothing that draws them was given.")
    report, total = progress or _no_progress, len(plan.items) + 1
    for done, item in enumerate(plan.items):
        report(done, total, _label(item))
        pack.make(item)
    report(total - 1, total, "captions and zip")
    archive = _finish(pack)
    report(total, total, "done")
    return PackResult(tuple(out_dir / name for name in pack.contents), archive, tuple(pack.problems), dict(plan.missing))


def prepare_folder(folder: Path) -> None:
    """Make the folder of a pack and try to write into it.

    Raises
    ------
    ConfigError
        A file stands in its place, or nothing can be written there.
    """
    try:
        if folder.is_file():
            raise ConfigError(f"{folder.name} is a file, so no report pack can be written there; name a folder, old or new.")
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigError(
            f"Nothing can be written into the folder {folder.name or folder} ({reason}); name another folder for the report pack."
        ) from error


def missing_words(missing: Mapping[str, int]) -> str:
    """``3 figures and 1 run missing``, or ``nothing missing``."""
    told = [f"{count} {kind}{'' if count == 1 else 's'}" for kind, count in missing.items() if count]
    return f"{' and '.join(told) or 'nothing'} missing"


def _no_progress(done: int, total: int, what: str) -> None:
    """Nobody asked."""


def _finish(pack: _Pack) -> Path:
    """The files that speak of all others, and the zip."""
    plan, options = pack.plan, pack.plan.options
    pack.problems[:] = [without_places(problem) for problem in pack.problems]
    how = options.size.text, f"--format {','.join(options.formats)} --preset {options.size.preset}"
    pack.write("captions.md", captions_document(pack.captions, plan.runs, plan.counted).encode())
    names = [*pack.contents, "README.md", MANIFEST_NAME]
    pack.write("README.md", readme_document(names, pack.problems, plan.runs, how).encode())
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in pack.contents.items()}
    pack.write(MANIFEST_NAME, manifest_text(hashes).encode())
    archive = pack.out_dir / ZIP_NAME
    write_atomic(archive, lambda file: file.write(_zip_bytes(pack.contents)))
    return archive


def _zip_bytes(contents: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(contents):
            entry = zipfile.ZipInfo(name, ZIP_DATE)
            entry.compress_type, entry.create_system, entry.external_attr = zipfile.ZIP_DEFLATED, UNIX, READABLE
            archive.writestr(entry, contents[name])
    return buffer.getvalue()
