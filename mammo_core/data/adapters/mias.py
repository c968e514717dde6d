"""mini-MIAS: ``mdb001.pgm`` .. ``mdb322.pgm`` and ``Info.txt``, a list without fixed columns below some prose."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from mammo_core.data.adapters.base import Evidence, ImportChoices, LabelRule, Reading
from mammo_core.data.adapters.cells import translated
from mammo_core.data.adapters.known import KNOWN_SET, LabelChoice, find_films, settle
from mammo_core.data.adapters.listing import Listing
from mammo_core.errors import DataError

LINE = re.compile(
    r"^\s*(mdb(\d{3}))[lr]?\w{0,2}\s+([FGD])\s+(CALC|CIRC|SPIC|MISC|ARCH|ASYM|NORM)(?:\s+([BM]))?(?:\s+(\d+)\s+(\d+)\s+(\d+))?",
    re.MULTILINE,
)
SIDE = 1024
"""Pixels; every film of the set has this height and width, and its coordinates refer to them."""
TISSUE_RULE = LabelRule(
    {"F": "Fatty", "G": "Fatty-glandular", "D": "Dense-glandular"}, ("Fatty", "Fatty-glandular", "Dense-glandular"), ordinal=True
)


@dataclass(frozen=True)
class MiasAdapter:
    """Films 2k-1 and 2k are one woman's two breasts."""

    name: str = "mias"
    title: str = "mini-MIAS"

    def recognises(self, listing: Listing, choices: ImportChoices) -> Evidence | None:
        text = _list_of(listing)
        if text is None:
            return None
        return Evidence(KNOWN_SET, f"{text.name} lists films as mdb001 with tissue F, G or D and the kind of lesion")

    def read(self, listing: Listing, choices: ImportChoices) -> Reading:
        text = _list_of(listing)
        if text is None:
            raise DataError(
                "There is no Info.txt that lists films of mini-MIAS (mdb001 G CIRC B 535 425 197); put it beside the films, or "
                "choose another kind of data set."
            )
        frame = _frame(text)
        frame["image_file"] = find_films(listing.film_index, frame["film"])
        base = Reading(
            rows=frame.drop(columns=["x", "y", "radius"]),
            columns={"file": "image_file", "patient": "woman", "view": "projection"},
            table=text,
            origins={
                "file": "first column of Info.txt",
                "patient": "number of the film: 2k-1 and 2k are one woman",
                "lesions": "circles of the list; their y counts from the bottom",
                "view": "every film of the set is MLO",
            },
            patient_statement="Films 2k-1 and 2k are one woman's two breasts.",
            row_is="lesion",
            lesions=_boxes(frame),
            notes=(
                "Which film of a pair is the left breast is not taken from its number, since the set's own rule is unreliable.",
                "Tissue F, G, D is a scale of three levels and not BI-RADS density A to D.",
            ),
        )
        labels = [
            LabelChoice("lesion", "severity", "NORM counts as Normal; B is Benign, M Malignant; the worst of a film counts."),
            LabelChoice("tissue", "tissue", "Three levels: fatty, fatty-glandular, dense-glandular.", TISSUE_RULE),
        ]
        refused = {
            "density": "mini-MIAS grades tissue in three levels (F, G, D), which is not BI-RADS density A to D; choose the task "
            "'tissue'."
        }
        return settle(base, labels, choices, refused)


def _list_of(listing: Listing) -> Path | None:
    """The text with most lines of films; the original set has them in ``README`` and in ``Info.txt``."""
    counted = [(len(LINE.findall(_content(path))), path) for path in listing.texts]
    return max((item for item in counted if item[0]), key=lambda item: item[0], default=(0, None))[1]


def _content(path: Path) -> str:
    return path.read_text(encoding="latin-1")


def _frame(text: Path) -> pd.DataFrame:
    rows = []
    for film, number, tissue, kind, severity, x, y, radius in LINE.findall(_content(text)):
        rows.append(
            {
                "film": film,
                "woman": f"pair {(int(number) + 1) // 2}",
                "tissue": tissue,
                "abnormality": kind,
                "severity": "NORM" if kind == "NORM" else severity,
                "projection": "MLO",
                "x": x,
                "y": y,
                "radius": radius,
            }
        )
    return pd.DataFrame(rows, dtype=str)


def _boxes(frame: pd.DataFrame) -> pd.DataFrame:
    """Boxes around the circles; their y runs from the bottom of the film."""
    known = frame[frame["radius"] != ""]
    x, y, radius = (known[name].astype(float) for name in ("x", "y", "radius"))
    return pd.DataFrame(
        {
            "file": known["image_file"],
            "top": SIDE - y - radius,
            "left": x - radius,
            "bottom": SIDE - y + radius,
            "right": x + radius,
            "of_height": SIDE,
            "of_width": SIDE,
            "pathology": translated(known["severity"], {"B": "Benign", "M": "Malignant"}),
        }
    )
