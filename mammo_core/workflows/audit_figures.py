"""The figures of an audit as files beside ``audit.json``, for the study's papers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, BinaryIO

from mammo_core.data.manifest import Dataset
from mammo_core.report.audit_text import TABLES
from mammo_core.report.charts_audit import composition_chart, count_chart, shortcut_chart
from mammo_core.report.spec import Chart
from mammo_core.settings import RESEARCH_ONLY
from mammo_core.storage import write_atomic

FIGURES_FOLDER = "audit_figures"
"""In the folder of the data set."""
UNKNOWN = "unknown"

Build = Callable[[int], Chart]
"""Makes the chart for a width of its plot."""


def figures_of(audit: Mapping[str, Any], class_names: tuple[str, ...]) -> dict[str, Build]:
    """File stem -> figure, for everything that the audit has counted; what is unknown of every film has none."""
    figures: dict[str, Build] = {}
    by_center = audit.get("class_by_center") or {}
    if by_center:
        films = {name: sum(by_center.get(name, {}).values()) for name in class_names}
        figures["classes"] = partial(count_chart, films, "Class")
    for key, title in TABLES:
        counts = audit.get(key) or {}
        if {value for row in counts.values() for value in row} - {UNKNOWN}:
            figures[key] = partial(_composition, counts, title, class_names)
    if sizes := _sizes(audit):
        figures["image_sizes"] = partial(count_chart, sizes, "Image size")
    if kinds := audit.get("kinds") or {}:
        figures["file_kinds"] = partial(count_chart, kinds, "Kind of file")
    if bits := {f"{name} bits": films for name, films in (audit.get("bits") or {}).items()}:
        figures["bits"] = partial(count_chart, bits, "Bits a pixel")
    if (audit.get("shortcut") or {}).get("tested"):
        figures["shortcut"] = partial(shortcut_chart, audit["shortcut"])
    return figures


def _sizes(audit: Mapping[str, Any]) -> dict[str, int]:
    """Image size -> films; the audit lists the commonest sizes only."""
    sizes = {f"{size['height']} x {size['width']}": int(size["films"]) for size in audit.get("sizes") or []}
    unlisted = int(audit.get("films", 0)) - sum(sizes.values())
    return sizes | ({"others": unlisted} if unlisted > 0 and audit.get("size_kinds", 0) > len(sizes) else {})


def _composition(counts: Mapping[str, Mapping[str, int]], title: str, class_names: tuple[str, ...], width: int) -> Chart:
    return composition_chart(counts, title, class_names, width)


def write_audit_figures(dataset: Dataset, audit: Mapping[str, Any]) -> list[str]:
    """Draw every figure as PNG and SVG; those of an earlier audit that no longer apply go away.

    Returns
    -------
    list of str
        Names relative to the data set's folder.
    """
    from mammo_core.report.figures import draw_figure  # loads the renderer, which nothing else here needs

    folder = dataset.directory / FIGURES_FOLDER
    folder.mkdir(exist_ok=True)
    note = f"Data set {dataset.name}: {audit.get('films', '?')} films of {audit.get('patients', '?')} patients. {RESEARCH_ONLY}."
    names = []
    for stem, build in figures_of(audit, dataset.class_names).items():
        for ending, content in draw_figure(build, ("png", "svg"), note=note).items():
            name = f"{stem}.{ending}"
            write_atomic(folder / name, partial(_write, content))
            names.append(name)
    for old in folder.iterdir():
        if old.suffix in (".png", ".svg") and old.name not in names:
            old.unlink()
    return [f"{FIGURES_FOLDER}/{name}" for name in names]


def _write(content: bytes, file: BinaryIO) -> None:
    file.write(content)
