"""BTXRD: radiographs of bone tumours, ``dataset.csv`` or ``.xlsx``, ``images/`` and LabelMe outlines in ``Annotations/``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from mammo_core.data.adapters.base import LESION_COLUMNS, ImportChoices, LabelRule, Reading
from mammo_core.data.adapters.cells import each, translated
from mammo_core.data.adapters.known import (
    KnownByColumns,
    LabelChoice,
    by_plain_names,
    find_films,
    one_table,
    settle,
    text_column,
    whole_number,
)
from mammo_core.data.adapters.labels import LESION_CLASSES
from mammo_core.data.adapters.listing import Listing

COLUMNS = ("image_id", "center", "tumor", "benign", "malignant")
VIEWS = ("frontal", "lateral", "oblique")
MAX_OUTLINE_BYTES = 32 * 2**20
LESION_RULE = LabelRule({"no tumour": "Normal", "benign": "Benign", "malignant": "Malignant"}, LESION_CLASSES, worst_wins=True)
TUMOUR_RULE = LabelRule({"0": "No tumour", "1": "Tumour"}, ("No tumour", "Tumour"))
NOT_OF_THE_PATIENT = {"image_id", *VIEWS}


@dataclass(frozen=True)
class BtxrdAdapter(KnownByColumns):
    """Neighbouring rows with equal centre, age, sex, bone and kind are taken for views of one patient."""

    name: str = "btxrd"
    title: str = "BTXRD bone tumours"

    columns = COLUMNS

    def read(self, listing: Listing, choices: ImportChoices) -> Reading:
        table = one_table(listing, COLUMNS, choices, self.title)
        raw = by_plain_names(listing.table(table))
        flags = {name: each(raw[name], whole_number) for name in ("tumor", "benign", "malignant")}
        frame = raw[["image_id", "center", "age"] if "age" in raw else ["image_id", "center"]].assign(
            center=each(raw["center"], whole_number),
            tumor=flags["tumor"],
            lesion=[_truth(*words) for words in zip(*flags.values(), strict=True)],
            view=_views(raw),
            neighbours=_neighbours(raw),
            image_file=find_films(listing.film_index, raw["image_id"]),
        )
        base = Reading(
            rows=frame,
            columns={"file": "image_file", "patient": "neighbours", "view": "view", "center": "center"},
            table=table,
            origins={
                "patient": "neighbouring rows with equal centre, age, sex, bone and kind",
                "view": "columns frontal, lateral and oblique",
                "file": "column image_id",
                "label": "columns tumor, benign and malignant",
                "lesions": "outlines in the folder Annotations",
            },
            patient_statement="The table has no patients; neighbouring rows with equal centre, age, sex, bone and kind are taken "
            "for views of one. Patient leakage cannot be excluded within a centre, so hold out whole centres.",
            lesions=_boxes((table.parent, listing.root, listing.root.parent), frame),
        )
        labels = [
            LabelChoice("lesion", "lesion", "tumor=0 counts as Normal; a tumour by its column benign or malignant.", LESION_RULE),
            LabelChoice("tumor", "tumor", "A tumour, or none.", TUMOUR_RULE),
        ]
        if choices.task is None and "label" not in choices.columns:
            labels = labels[:1]  # the three classes tell more, and both say the same
        return settle(base, labels, choices)


def _truth(tumor: str, benign: str, malignant: str) -> str:
    """Empty where the three columns contradict each other."""
    return {
        ("0", "0", "0"): "no tumour",
        ("1", "1", "0"): "benign",
        ("1", "0", "1"): "malignant",
    }.get((tumor, benign, malignant), "")


def _views(raw: pd.DataFrame) -> list[str]:
    columns = [each(text_column(raw, name), whole_number) == "1" for name in VIEWS]
    return [
        next((name for name, is_it in zip(VIEWS, row, strict=True) if is_it), "") if sum(row) == 1 else ""
        for row in zip(*columns, strict=True)
    ]


def _neighbours(raw: pd.DataFrame) -> list[str]:
    """A number that goes up wherever a row differs from the one before it in anything but the film and its view."""
    ordered = raw.sort_values("image_id", kind="stable")
    described = ordered[[column for column in raw.columns if column not in NOT_OF_THE_PATIENT]]
    starts = (described != described.shift()).any(axis=1)
    return ("run " + starts.cumsum().astype(str)).reindex(raw.index).tolist()


# ---- LabelMe -----------------------------------------------------------------------------------------------------------------


def _boxes(places: Sequence[Path], frame: pd.DataFrame) -> pd.DataFrame:
    stems = [Path(image).stem.casefold() for image in frame["image_id"]]
    truths = translated(frame["lesion"], {"benign": "Benign", "malignant": "Malignant"})
    films = {
        stem: {"file": file, "pathology": truth} for stem, file, truth in zip(stems, frame["image_file"], truths, strict=True)
    }
    rows = [
        films[path.stem.casefold()] | box
        for path in _outlines(places)
        if path.stem.casefold() in films
        for box in _boxes_of(path)
    ]
    return pd.DataFrame(rows, columns=list(LESION_COLUMNS))


def _outlines(places: Sequence[Path]) -> Iterator[Path]:
    """The outlines of the first of these folders that has some."""
    for folder in (place / "Annotations" for place in places):
        if folder.is_dir():
            yield from sorted(path for path in folder.glob("*.json") if path.stat().st_size <= MAX_OUTLINE_BYTES)
            return


def _boxes_of(path: Path) -> Iterator[dict[str, Any]]:
    """The box around each shape; a file that is no LabelMe file has none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        size = {"of_height": float(content.get("imageHeight") or 0), "of_width": float(content.get("imageWidth") or 0)}
        for shape in content.get("shapes", []):
            across, down = zip(*shape["points"], strict=True)
            edges = {"top": min(down), "left": min(across), "bottom": max(down), "right": max(across)}
            yield {name: float(value) for name, value in edges.items()} | size
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return
