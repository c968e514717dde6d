"""Whole data sets: the search for near duplicates, the audit, and the import of a large table. Run by ``bench.data``."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import imagehash
import numpy as np
import numpy.typing as npt
import pandas as pd
import psutil
from PIL import Image

from bench.wording import say_seconds, seconds
from mammo_core.data.adapters import ImportChoices, understand
from mammo_core.data.duplicates import MAX_DISTANCE, candidate_pairs
from mammo_core.data.phantom import make_patient
from mammo_core.settings import open_workspace
from mammo_core.workflows.audit import audit_dataset
from mammo_core.workflows.ingest import import_dataset, thumbnail_path

HASHES, AUDITED_FILMS, TABLE_ROWS = 50_000, 3_746, 54_706
PAIRS_GOAL, PAIRS_MEMORY_GOAL, AUDIT_GOAL, TABLE_GOAL = 10.0, 2**30, 60.0, 5.0
FILM_HEIGHT = 260
"""An audit looks at copies of 256 rows, whatever the films have."""


def bench_pairs() -> None:
    """Hashes with structure: half of their bits are one of 200 patterns, as breasts look alike."""
    rng = np.random.default_rng(1)
    patterns = rng.integers(0, 2**32, 200, dtype=np.uint64)
    hashes = (rng.choice(patterns, HASHES) << np.uint64(32)) | rng.integers(0, 2**32, HASHES, dtype=np.uint64)
    hashes[1::500] = hashes[::500] ^ np.uint64(0b101)  # true near duplicates
    found: dict[str, int] = {}

    def ours() -> None:
        found["ours"] = len(candidate_pairs(hashes)[0])

    def plain() -> None:
        near = (np.bitwise_count(hashes[row + 1 :] ^ hashes[row]) <= MAX_DISTANCE for row in range(len(hashes)))
        found["plain"] = sum(int(each.sum()) for each in near)

    memory = peak_memory(ours)
    say_seconds(f"near duplicates among {HASHES:,} hashes", seconds(ours), PAIRS_GOAL, seconds(plain), "all pairs in NumPy")
    reached = "reached" if memory <= PAIRS_MEMORY_GOAL else "MISSED"
    same = "the same" if found["ours"] == found["plain"] else "NOT THE SAME"
    print(f"  {found['ours']} pairs, {same} as by comparing all; memory grew by {memory / 2**20:.0f} MiB (goal 1024, {reached})")


def peak_memory(work: Callable[[], None]) -> int:
    """By how many bytes this process grew at most while ``work`` ran, looked at every 5 ms."""
    process, done = psutil.Process(), threading.Event()
    before = process.memory_info().rss
    highest = [before]

    def watch() -> None:
        while not done.wait(0.005):
            highest.append(process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        work()
    finally:
        done.set()
        watcher.join()
    return max(highest) - before


def bench_audit(folder: Path) -> None:
    """An audit of films whose facts and reduced copies the import left, which is what the page's button does."""
    films = folder / "films"
    rows = [row for patient in range((AUDITED_FILMS + 3) // 4) for row in _write_patient(films, patient)][:AUDITED_FILMS]
    pd.DataFrame(rows).to_csv(films / "films.csv", index=False)
    workspace = open_workspace(folder / "workspace")
    plan = understand(films / "films.csv", ImportChoices(task="density"))
    read = seconds(lambda: import_dataset(workspace, plan, "audited"))
    thumbnails = thumbnail_path(workspace, "audited", "any").parent
    plain = seconds(lambda: plain_audit(sorted(thumbnails.glob("*.png"))))
    ours = seconds(lambda: audit_dataset(workspace, "audited"))
    say_seconds(f"audit of {len(plan.rows):,} cached films", ours, AUDIT_GOAL, plain, "imagehash, all pairs")
    print(f"  their import had read them in {read:.0f} s: {len(plan.rows) / read:.0f} films of {FILM_HEIGHT} rows a second")


def _write_patient(folder: Path, index: int) -> list[dict[str, str]]:
    rows = []
    for film in make_patient(3, index, FILM_HEIGHT):
        name, label = f"{index}_{film.laterality}_{film.view}.png", "ABCD"[index % 4]
        folder.mkdir(exist_ok=True)
        Image.fromarray((film.pixels >> 8).astype(np.uint8)).save(folder / name)
        rows.append({"image": name, "patient": str(index), "side": film.laterality, "view": film.view, "label": label})
    return rows


def plain_audit(paths: list[Path]) -> int:
    """Near duplicates as a script finds them: a hash of the whole picture, every pair compared, nothing confirmed."""
    hashes = []
    for path in paths:
        with Image.open(path) as picture:
            hashes.append(imagehash.phash(picture))
    bits: npt.NDArray[np.bool_] = np.stack([each.hash.ravel() for each in hashes])
    return sum(int((np.count_nonzero(bits[row + 1 :] != bits[row], axis=1) <= MAX_DISTANCE).sum()) for row in range(len(bits)))


def bench_table(folder: Path) -> None:
    """The table of RSNA 2022 with its films in place (empty files, since no pixel is touched): found, understood, planned."""
    root = folder / "rsna"
    table = rsna_table()
    for patient, films in table.groupby("patient_id"):
        directory = root / "train_images" / str(patient)
        directory.mkdir(parents=True)
        for image in films["image_id"]:
            (directory / f"{image}.dcm").touch()
    table.to_csv(root / "train.csv", index=False)
    counted: dict[str, int] = {}

    def ours() -> None:
        counted.update(understand(root, ImportChoices(task="cancer")).class_counts)

    ours()  # the first one warms the folder's listing in the operating system
    say_seconds(
        f"import of a table of {len(table):,} rows", seconds(ours), TABLE_GOAL, seconds(lambda: plain_table(root)), "a loop"
    )
    print(f"  counted {counted}")


def rsna_table() -> pd.DataFrame:
    """Made up, in the columns and the numbers of the published one."""
    number = np.arange(TABLE_ROWS)
    cancer = (number * 48_611 % TABLE_ROWS < 1158).astype(int)
    return pd.DataFrame(
        {
            "site_id": np.where(number < 29_519, 1, 2),
            "patient_id": 10_000 + number % 11_913,
            "image_id": 1_000_000 + number,
            "laterality": np.where(number % 2, "L", "R"),
            "view": np.where(number % 3, "CC", "MLO"),
            "age": 60.0,
            "cancer": cancer,
            "biopsy": cancer | (number % 40 == 0),
            "invasive": 0,
            "BIRADS": np.where(number % 5, "0.0", "1.0"),
            "implant": 0,
            "density": np.where(number < 29_519, np.array(["A", "B", "C", "D"])[number % 4], ""),
            "machine_id": 29,
            "difficult_negative_case": False,
        }
    )


def plain_table(root: Path) -> int:
    """What a script does: read the table, look whether each film is there, take its label."""
    found = 0
    for _, row in pd.read_csv(root / "train.csv").iterrows():
        with suppress(OSError):
            (root / "train_images" / str(row["patient_id"]) / f"{row['image_id']}.dcm").stat()
            found += row["cancer"] >= 0
    return found
