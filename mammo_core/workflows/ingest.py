"""Importing: from a plan to a data set in the workspace, every film looked at once and every id replaced.

The manifest, the record and the audit hold pseudonyms only. What can name a person (paths, the key of the pseudonyms) stands in
``paths.csv`` and ``hash.key``, which are never exported.
"""

from __future__ import annotations

import errno
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from mammo_core.data.adapters import ROW_COLUMNS, ImportPlan
from mammo_core.data.adapters.words import cbis_parts, patient_of, side_and_view_in
from mammo_core.data.audit import FilmTally, audit_tables
from mammo_core.data.dicom_facts import impersonal
from mammo_core.data.film import FilmFacts
from mammo_core.data.film_facts import facts_row, write_facts
from mammo_core.data.foreign_file import without_name
from mammo_core.data.manifest import (
    AUDIT_FILE,
    KEY_FILE,
    LESION_COLUMNS,
    LESIONS_FILE,
    MANIFEST_COLUMNS,
    MANIFEST_FILE,
    PATH_COLUMNS,
    PATHS_FILE,
    RECORD_FILE,
    Dataset,
    check_manifest,
    load_dataset,
)
from mammo_core.data.pseudonyms import Pseudonyms, new_key, write_key
from mammo_core.data.sandbox import DecodePool, FilmSummary, Job
from mammo_core.data.splits import import_split, save_split
from mammo_core.errors import DataError, DiskFull, FilmUnreadable, NameNotAllowed, SplitError
from mammo_core.settings import Workspace, physical_cores
from mammo_core.storage import held, new_folder, write_json, write_table, writing
from mammo_core.workflows.ingest_record import Findings, record_of
from mammo_core.workflows.lesion_outlines import OutlineReading, boxes_of, join_outlines

Progress = Callable[[int, int, str], None]
"""Called with films done, films in all, and what is being done."""

MAX_READERS = 4
"""Films read at once; more of them need memory that a laptop does not have."""


def _no_progress(done: int, total: int, message: str) -> None:
    pass


def thumbnail_path(workspace: Workspace, dataset: str, image_id: str) -> Path:
    """Where a film's thumbnail lies. It can be missing: the cache is safe to delete."""
    return workspace.cache / "thumbnails" / dataset / f"{image_id}.png"


def import_dataset(
    workspace: Workspace, plan: ImportPlan, name: str, progress: Progress = _no_progress, readers: int | None = None
) -> Dataset:
    """Read every film of the plan once and write the data set.

    Films that cannot be read are listed with their reason and left out of the manifest; the others go on. The folder appears in
    one step at the end: a killed import leaves nothing that looks like a data set.

    Parameters
    ----------
    progress : callable
        May raise to stop the import; nothing is left behind then.
    readers : int
        Films read at once; ``None`` takes the physical cores, at most four.

    Raises
    ------
    DataError
        The name is taken, an import under this name is running, or no film can be read.
    NameNotAllowed, DiskFull
    """
    target = workspace.dataset(name)
    workspace.datasets.mkdir(parents=True, exist_ok=True)
    thumbnails = thumbnail_path(workspace, name, "any").parent
    busy = DataError(f"An import under the name {name!r} is running; wait for it or choose another name.")
    with held(workspace.datasets / f".{name}.lock", 0.0, name, busy):
        if target.exists():
            raise DataError(f"There already is a data set {name!r}, and nothing is overwritten; choose another name.")
        try:
            with new_folder(target, alone=True) as building:
                _build(building, thumbnails, plan, name, _Reading(progress, readers))
        except BaseException:
            shutil.rmtree(thumbnails, ignore_errors=True)
            raise
    dataset = load_dataset(workspace, name)
    return _take_over_split(workspace, dataset) if plan.brings_split else dataset


def _take_over_split(workspace: Workspace, dataset: Dataset) -> Dataset:
    """Save the split that came with the table; one that leaks is not saved, and the data set says so."""
    manifest, name = dataset.manifest(), f"{dataset.name}_imported"
    table = manifest.loc[manifest["source_split"] != "", ["image_id", "source_split"]]
    try:
        save_split(workspace, name, import_split(table.rename(columns={"source_split": "split"}), dataset))
        said = f"The split of the table is saved as {name!r}."
    except (SplitError, NameNotAllowed) as error:
        said = f"The split of the table is not taken over; its words are kept as the column source_split. {error}"
    record = dataset.record.model_copy(update={"warnings": [*dataset.record.warnings, said]})
    write_json(dataset.directory / RECORD_FILE, record.to_json())
    return Dataset(dataset.directory, record)


@dataclass(frozen=True)
class _Reading:
    progress: Progress
    readers: int | None

    @property
    def workers(self) -> int:
        return self.readers or min(MAX_READERS, physical_cores())


def _build(directory: Path, thumbnails: Path, plan: ImportPlan, name: str, reading: _Reading) -> None:
    key = new_key(plan.synthetic)
    with writing(KEY_FILE):
        write_key(directory / KEY_FILE, key)
    findings = _read_films(plan, Pseudonyms(key), thumbnails, reading)
    if not findings.rows:
        reasons = Counter(item["reason"] for item in findings.tally.unreadable).most_common(1)
        raise DataError(f"None of the {len(plan.rows)} films can be read. The most frequent reason: {reasons[0][0]}")
    further = [column for column in plan.rows.columns if column not in ROW_COLUMNS]
    manifest = pd.DataFrame(findings.rows, columns=[*MANIFEST_COLUMNS, *further], dtype=str)
    # The order of file names can follow names or dates; the order of pseudonyms follows nothing.
    manifest = manifest.sort_values("image_id", ignore_index=True)
    check_manifest(manifest, plan.class_names)
    outlines = OutlineReading(plan.root, reading.workers, reading.progress)
    findings.warnings += join_outlines(directory, findings.paths, findings.sizes, outlines)
    if findings.lesions:
        lesions = pd.DataFrame(findings.lesions, columns=list(LESION_COLUMNS))
        write_table(directory / LESIONS_FILE, lesions.sort_values("image_id", kind="stable"))
    paths = pd.DataFrame(findings.paths, columns=list(PATH_COLUMNS), dtype=str).sort_values("image_id")
    write_facts(directory, findings.facts)
    write_table(directory / MANIFEST_FILE, manifest)
    write_table(directory / PATHS_FILE, paths)
    record = record_of(name, plan, manifest, paths, findings)
    write_json(directory / RECORD_FILE, record.to_json())
    write_json(directory / AUDIT_FILE, audit_tables(record, manifest, paths, findings.tally))


# ---- one look at every film ----------------------------------------------------------------------------------------------------


def _read_films(plan: ImportPlan, pseudonyms: Pseudonyms, thumbnails: Path, reading: _Reading) -> Findings:
    findings = Findings()
    rows = [{str(key): str(value) for key, value in row.items()} for row in plan.rows.to_dict("records")]
    total = len(rows)
    thumbnails.mkdir(parents=True, exist_ok=True)
    reading.progress(0, total, "Reading films")
    boxes = {str(name): rows for name, rows in plan.lesions.groupby("file")}
    with DecodePool(reading.workers) as pool:
        results = pool.map(_jobs(plan, pseudonyms))
        for done, (row, (job, result)) in enumerate(zip(rows, results, strict=True), start=1):
            location = {"image_id": job.tag, "path": row["file"], "mask_path": row["mask"]}
            if isinstance(result, FilmUnreadable):
                reason = without_name(result, row["file"])
                findings.tally.unreadable.append({"image_id": job.tag, "label": row["label"], "reason": reason})
                findings.paths.append({**location, "sha256": ""})
            elif isinstance(result, FilmSummary):
                findings.rows.append(_manifest_row(job.tag, row, result.facts, plan, pseudonyms, findings.tally))
                _keep_lesions(findings, job.tag, result.facts, boxes.get(row["file"]))
                if "\n" in row["mask"]:
                    findings.sizes[job.tag] = (result.facts.height, result.facts.width)
                findings.paths.append({**location, "sha256": result.pixel_sha256})
                findings.facts.append(facts_row(job.tag, result.facts))
                _save_thumbnail(thumbnails / f"{job.tag}.png", result.thumbnail)
            reading.progress(done, total, "Reading films")
    return findings


def _keep_lesions(findings: Findings, image_id: str, facts: FilmFacts, boxes: pd.DataFrame | None) -> None:
    if boxes is not None:
        kept = boxes_of(boxes, facts.height, facts.width)
        findings.lesions += [{"image_id": image_id, **box} for box in kept]
        findings.lost_boxes += len(boxes) - len(kept)


def _jobs(plan: ImportPlan, pseudonyms: Pseudonyms) -> Iterator[Job]:
    for name in plan.rows["file"].tolist():
        yield Job("facts", plan.root / PurePosixPath(name), tag=pseudonyms.image(name))


def _manifest_row(
    image_id: str, row: dict[str, str], facts: FilmFacts, plan: ImportPlan, pseudonyms: Pseudonyms, tally: FilmTally
) -> dict[str, str]:
    """One row of the manifest; the table's word goes before the header's, the header's before the file name's.

    Where no exam is known, a patient's films count as one exam.
    """
    patient, known_by = _patient(row, facts, plan)
    tally.kinds[facts.kind] += 1
    tally.bits[str(facts.bits)] += 1
    tally.warnings.update(set(facts.warnings))
    tally.known_by[known_by] += 1
    # In CBIS-DDSM every film is a study of its own, so the study there is no exam.
    is_cbis = cbis_parts(facts.patient_key or "") is not None or cbis_parts(row["file"]) is not None
    exam = row["exam"] or ("" if is_cbis else patient_of(facts.study_key or ""))
    side, view = side_and_view_in(row["file"])
    center = impersonal(row["center"])
    if center != row["center"]:
        tally.warnings["The centre given for this film reads like a person, a date or a long number and was left out."] += 1
    further = {key: value for key, value in row.items() if key not in ROW_COLUMNS}
    return {
        "image_id": image_id,
        "patient_id": pseudonyms.patient(patient),
        "exam_id": pseudonyms.exam(patient, exam),
        "laterality": row["laterality"] or facts.laterality or side,
        "view": row["view"] or facts.view or view,
        "center": center,
        "vendor": row["vendor"] or facts.vendor or "",
        "label": row["label"],
        **further,
    }


def _patient(row: dict[str, str], facts: FilmFacts, plan: ImportPlan) -> tuple[str, str]:
    """What the patient's pseudonym is made from, with its kind in front, and how it was known.

    Where the chosen source says nothing about a film, its exam stands for the patient, and without one the film stands alone.
    """
    if plan.patient_from == "each film alone":
        return f"film:{row['file']}", "film"
    if row["patient"]:
        return f"patient:{row['patient']}", "patient"
    if plan.patient_from == "header":
        patient = patient_of(facts.patient_key or "")
        if patient:
            return f"patient:{patient}", "part" if cbis_parts(facts.patient_key or "") else "patient"
    exam = row["exam"] or patient_of(facts.study_key or "")
    return (f"exam:{exam}", "exam") if exam else (f"film:{row['file']}", "film")


def _save_thumbnail(path: Path, thumbnail: npt.NDArray[np.uint8]) -> None:
    """Written without the care of :func:`write_atomic`, whose syncs would cost more than the decoding: it is only a cache."""
    try:
        Image.fromarray(thumbnail).save(path, format="PNG")
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise DiskFull("No space was left for the thumbnails; free some disk space and import again.") from error
        raise
