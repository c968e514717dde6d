"""The full audit of a data set: every film is looked at once, and what was found is written beside the manifest.

The import leaves a first ``audit.json``; this adds what needs all films at once: sizes and devices, films that look identical,
blank and inverted films, marks beside the breast, and the shortcut test. Memory stays flat: of each film 1 KB is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from mammo_core.data.audit import MAX_LISTED, FilmTally, audit_tables, facts_tables
from mammo_core.data.audit_findings import findings_of
from mammo_core.data.duplicates import (
    ALIKE_CORRELATION,
    MAX_DISTANCE,
    MAX_PAIRS,
    ROUGH_CORRELATION,
    ROUGH_SIDE,
    SAME_CORRELATION,
    candidate_pairs,
    rough_correlations,
    side_by_side,
)
from mammo_core.data.exclusions import films_in_use
from mammo_core.data.film_facts import facts_row, read_facts, with_year, write_facts
from mammo_core.data.foreign_file import without_name
from mammo_core.data.groups import group_films
from mammo_core.data.manifest import AUDIT_FILE, Dataset, load_dataset
from mammo_core.data.near_pairs import count_pairs, same_pairs, write_near
from mammo_core.data.sandbox import DecodePool, FilmSummary, Job
from mammo_core.data.shortcut import metadata_table, shortcut_test
from mammo_core.errors import DataError, FilmUnreadable
from mammo_core.report.audit_text import audit_markdown
from mammo_core.settings import Workspace, physical_cores
from mammo_core.storage import write_atomic, write_json, write_text
from mammo_core.workflows.audit_figures import write_audit_figures
from mammo_core.workflows.audit_looks import Lookers, OneFilm, fine_at, likeness, look, lookers
from mammo_core.workflows.ingest import MAX_READERS, thumbnail_path

MARKDOWN_FILE = "audit.md"
SCHEMA = 2
PAIRS_AT_ONCE = 512
"""Their films at 128 x 128 take at most 64 MB."""

FILMS_AT_ONCE = 512

Progress = Callable[[int, int, str], None]
Pixels = npt.NDArray[np.uint8]


def _no_progress(done: int, total: int, message: str) -> None:
    pass


@dataclass
class _Seen:
    """What was seen on the reduced films."""

    images: list[str] = field(default_factory=list)
    """Films that can be compared, in order."""
    hashes: list[int] = field(default_factory=list)
    rough: list[Pixels] = field(default_factory=list)
    flags: dict[str, list[str]] = field(default_factory=lambda: {name: [] for name in ("blank", "bright", "no_breast", "marks")})
    missing: int = 0
    """Films without a reduced copy."""


def audit_dataset(
    workspace: Workspace, name: str, near_duplicates: bool = True, progress: Progress = _no_progress
) -> dict[str, Any]:
    """Audit a data set and return the content of ``audit.json``, which is replaced, as are ``audit.md``, tables and figures.

    Films whose facts and reduced copy lie there are not read again. What a person decided (exclusions, pairs) stays.

    Parameters
    ----------
    near_duplicates : bool
        Whether to look at every film; without, only tables and the shortcut test are made, and what was found before stays.
    progress : callable
        Called with items done, items in all, and what is done; may raise to stop, and nothing is changed then.

    Raises
    ------
    DataError
        No such data set, or none of its films can be read.
    """
    dataset = load_dataset(workspace, name)
    manifest, before = dataset.manifest(), dataset.audit()
    facts = _facts(workspace, dataset, manifest, near_duplicates, progress)
    paths = dataset.paths()
    audit = {
        **before,
        **audit_tables(dataset.record, manifest, paths, _tally(before)),
        **facts_tables(manifest, facts, dataset.record.class_names),
    }
    for kept in ("kinds", "bits", "film_warnings", "unreadable"):  # the import's own, which saw the unreadable films too
        audit[kept] = before.get(kept, audit[kept])
    if near_duplicates:
        with lookers(len(manifest), min(MAX_READERS, physical_cores())) as those:
            seen = _look_at_all(workspace, dataset, manifest, those, progress)
            audit["near_duplicates"] = _search(workspace, dataset, seen, those, progress)
        audit["flags"] = {flag: {"films": len(images), "image_ids": images[:MAX_LISTED]} for flag, images in seen.flags.items()}
    burned = facts.loc[facts["burned_in"].str.upper() == "YES", "image_id"].tolist()
    audit.setdefault("flags", {})["burned_in"] = {"films": len(burned), "image_ids": burned[:MAX_LISTED]}
    progress(0, 1, "Shortcut test")
    audit["shortcut"] = _shortcut(dataset, manifest, facts)
    audit |= {"schema_version": SCHEMA, "audited_at": datetime.now(UTC).isoformat(timespec="seconds")}
    audit["findings"] = findings_of(audit)
    progress(0, 1, "Drawing figures")
    audit["figures"] = write_audit_figures(dataset, audit)
    write_json(dataset.directory / AUDIT_FILE, audit)
    write_text(dataset.directory / MARKDOWN_FILE, audit_markdown(audit))
    progress(1, 1, "Done")
    return audit


def _tally(before: dict[str, Any]) -> FilmTally:
    """The import's tally is not kept; its parts of the audit are carried over instead."""
    return FilmTally(unreadable=list(before.get("unreadable", [])))


def _shortcut(dataset: Dataset, manifest: pd.DataFrame, facts: pd.DataFrame) -> dict[str, Any]:
    groups = group_films(manifest, dataset.pixel_hashes(), same_pairs(dataset) or ())
    metadata = metadata_table(with_year(manifest, dataset), facts)
    return shortcut_test(metadata, manifest["label"].tolist(), groups.tolist(), dataset.class_names)


# ---- facts and reduced copies -----------------------------------------------------------------------------------------------


def _facts(
    workspace: Workspace, dataset: Dataset, manifest: pd.DataFrame, with_pictures: bool, progress: Progress
) -> pd.DataFrame:
    """``film_facts.csv`` of every readable film, and where asked for a reduced copy of each; only what is missing is read."""
    known = read_facts(dataset)
    rows: dict[str, dict[str, str]] = {}
    for row in [] if known is None else known.to_dict("records"):
        rows[row["image_id"]] = {str(key): str(value) for key, value in row.items()}
    files = dataset.film_paths()
    wanted = [
        image
        for image in manifest["image_id"].tolist()
        if image not in rows or (with_pictures and not thumbnail_path(workspace, dataset.name, image).is_file())
    ]
    if wanted:
        progress(0, len(wanted), "Reading films")
        thumbnail_path(workspace, dataset.name, "any").parent.mkdir(parents=True, exist_ok=True)
        reason = ""
        with DecodePool(min(MAX_READERS, physical_cores())) as pool:
            jobs = (Job("facts", files[image], tag=image) for image in wanted)
            for done, (job, result) in enumerate(pool.map(jobs), start=1):
                if isinstance(result, FilmSummary):
                    rows[job.tag] = facts_row(job.tag, result.facts)
                    _save(thumbnail_path(workspace, dataset.name, job.tag), result.thumbnail)
                elif isinstance(result, FilmUnreadable):
                    reason = without_name(result, job.path.as_posix())
                progress(done, len(wanted), "Reading films")
        if not rows:
            raise DataError(
                f"Not one film of {dataset.name!r} could be read ({reason}). If its folder moved, relink the data set on the "
                "Films page."
            )
    return write_facts(dataset.directory, [rows[image] for image in manifest["image_id"] if image in rows])


def _save(path: Path, thumbnail: Pixels) -> None:
    write_atomic(path, lambda file: Image.fromarray(thumbnail).save(file, format="PNG"))


# ---- what can be seen -------------------------------------------------------------------------------------------------------


def _look_at_all(workspace: Workspace, dataset: Dataset, manifest: pd.DataFrame, those: Lookers, progress: Progress) -> _Seen:
    """Every film's flags, hash and rough copy."""
    seen, images = _Seen(), manifest["image_id"].tolist()
    for first in range(0, len(images), FILMS_AT_ONCE):
        part = [(image, thumbnail_path(workspace, dataset.name, image)) for image in images[first : first + FILMS_AT_ONCE]]
        for done, one in enumerate(those.each(look, part), start=first + 1):
            _note(seen, one)
            progress(done, len(images), "Looking at films")
    return seen


def _note(seen: _Seen, one: OneFilm) -> None:
    for flag in one.flags:
        seen.flags[flag].append(one.image)
    if one.hash is not None and one.rough is not None:
        seen.images.append(one.image)
        seen.hashes.append(one.hash)
        seen.rough.append(one.rough)
    elif not one.flags:
        seen.missing += 1


# ---- nearly identical films -------------------------------------------------------------------------------------------------


def _search(workspace: Workspace, dataset: Dataset, seen: _Seen, those: Lookers, progress: Progress) -> dict[str, Any]:
    """Find, confirm and write the pairs; returns the part ``near_duplicates`` of the audit."""
    sha = dataset.pixel_hashes()
    images = np.array(seen.images, dtype=object)
    # Of identical films one stands for all: they are together anyway.
    kept = np.sort(np.unique(np.array([sha.get(image) or image for image in seen.images], dtype=str), return_index=True)[1])
    hashes = np.array(seen.hashes, dtype=np.uint64)[kept]
    rough = np.stack([seen.rough[index] for index in kept]) if len(kept) else np.zeros((0, ROUGH_SIDE, ROUGH_SIDE), np.uint8)
    progress(0, 1, "Searching pairs")
    pairs, distances = candidate_pairs(hashes)
    likeness = rough_correlations(rough, pairs)
    order = np.argsort(-likeness, kind="stable")
    order = order[likeness[order] >= ROUGH_CORRELATION]
    chosen = side_by_side(pairs, np.sort(order[:MAX_PAIRS]), len(hashes))
    rows = []
    files = [(image, thumbnail_path(workspace, dataset.name, image)) for image in images[kept].tolist()]
    for done, (pair, value) in enumerate(_confirm(files, pairs[chosen], those, progress), start=1):
        if value >= ALIKE_CORRELATION:
            distance = int(distances[chosen[done - 1]])
            rows.append(_row(pair, distance, value))
    write_near(dataset, sorted(rows, key=lambda row: (row["confirmed"] != "yes", -float(row["correlation"]), row["image_id"])))
    told = {
        "searched": True,
        "films": len(images),
        "not_compared": seen.missing + len(seen.flags["blank"]),
        "candidates": len(order),
        "candidates_checked": len(chosen),
        "capped": len(order) > MAX_PAIRS,
        "max_distance": MAX_DISTANCE,
        "same_correlation": SAME_CORRELATION,
    }
    return {**told, **count_pairs(dataset, films_in_use(dataset))}


def _row(pair: tuple[str, str], distance: int, value: float) -> dict[str, str]:
    one, other = sorted(pair)
    confirmed = "yes" if value >= SAME_CORRELATION else "no"
    return {"image_id": one, "other_id": other, "distance": str(distance), "correlation": f"{value:.4f}", "confirmed": confirmed}


def _confirm(
    files: Sequence[tuple[str, Path]], pairs: npt.NDArray[np.int64], those: Lookers, progress: Progress
) -> Iterator[tuple[tuple[str, str], float]]:
    """Each pair with the correlation of its reduced films, in order; pairs that hang together come together, so few are held."""
    held: dict[str, npt.NDArray[np.float32] | None] = {}
    for first in range(0, len(pairs), PAIRS_AT_ONCE):
        ends = pairs[first : first + PAIRS_AT_ONCE].tolist()
        part = [(files[left][0], files[right][0]) for left, right in ends]
        wanted = dict(files[place] for pair in ends for place in pair)
        missing = {image: path for image, path in wanted.items() if image not in held}
        made = dict(zip(missing, those.each(fine_at, list(missing.values())), strict=True))
        held = made | {image: copy for image, copy in held.items() if image in wanted}
        values = those.each(likeness, [(held[one], held[other]) for one, other in part])
        for done, (pair, value) in enumerate(zip(part, values, strict=True), start=first + 1):
            yield pair, value
            progress(done, len(pairs), "Comparing pairs")
