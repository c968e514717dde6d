"""A split in words and bars: its scheme, its proof, and who is where."""

from __future__ import annotations

import streamlit as st

from mammo_core.data.splits import SplitRecord
from mammo_core.report.theme import class_colours
from pages.shared.count_charts import bars_and_table
from pages.shared.frame import plain
from pages.shared.glossary import explain

EACH_CENTER, IMPORTED = "leave-one-center-out", "imported"
SCHEMES = {
    "stratified": ("Patients at random, balanced", "Every part gets its share of each class. The usual choice."),
    "center-holdout": ("Hold out a centre", "The test comes from a hospital that training never saw: does the model travel?"),
    EACH_CENTER: (
        "Each centre in turn",
        "One split a centre, each with that centre as the test. The fullest answer to the same.",
    ),
    "kfold": ("k folds", "Every patient validates once. For small data sets; trains one model a fold."),
    "date": ("By date", "Trains on earlier films and tests on later ones, as in use."),
    IMPORTED: ("Import", "A split made elsewhere, from a table; its patients are checked here."),
}
PLACES = {"train": "Training", "val": "Validation", "test": "Test"}


def place_name(place: str) -> str:
    """``Training``, ``Validation``, ``Test`` or ``Fold 1``."""
    return PLACES.get(place, place.replace("_", " ").capitalize())


def leaks(record: SplitRecord) -> bool:
    return record.proof.leaks


def override_line(record: SplitRecord) -> None:
    """Why a leaking split was accepted, where one was."""
    if record.override_reason:
        st.caption(plain(f"Used although it leaks, for this reason: {record.override_reason}"))


def proof_line(record: SplitRecord, *, large: bool = True) -> None:
    """The proof in one line: green with a tick where nothing is shared, red with a cross where something is."""
    text = plain(record.proof_text or record.proof.text)
    sign, colour = (":material/cancel:", "red") if record.proof.leaks else (":material/verified:", "green")
    line = f":{colour}[{sign} {text}]"
    if large:
        st.markdown(f"### {line}", help=explain("proof"))
    else:
        st.markdown(line, help=explain("proof"))


def split_sentence(record: SplitRecord) -> str:
    """``Patients at random, balanced · seed 42 · training 37, validation 8, test 8 patients``."""
    parts = [SCHEMES[record.scheme][0], *([f"seed {record.seed}"] if record.scheme != IMPORTED else [])]
    if record.after:
        parts.append(f"test from {record.after} on")
    if record.holdout:
        parts.append(f"centre {', '.join(record.holdout)} held out")
    if record.folds:
        parts.append(f"{record.folds} folds")
    shown = [place for place in ("train", "val", "test") if place in record.counts]
    counted = ", ".join(f"{PLACES[place].lower()} {record.counts[place]['patients']}" for place in shown)
    return plain(" · ".join([*parts, f"{counted} patients"]))


def shown_places(record: SplitRecord) -> list[str]:
    """The places to show: with folds, each fold instead of their sum."""
    hidden = {"train"} if record.folds else set()
    order = {"train": 0, "val": 1, "test": 3}
    places = [place for place in record.class_counts if place not in hidden]
    return sorted(places, key=lambda place: (order.get(place, 2), len(place), place))


def split_bars(record: SplitRecord, unit: str = "films") -> None:
    """Class x split and centre x split, each with its numbers."""
    places = shown_places(record)
    st.markdown("**Classes**", help=explain("class"))
    counts = {place_name(p): {name: n[unit] for name, n in record.class_counts[p].items()} for p in places}
    finding = "Every class stands in every part" if not record.proof.classes_missing else "A part lacks a class"
    bars_and_table(counts, "Part", "Class", class_colours(record.class_names), unit=unit.capitalize(), finding=finding)
    st.markdown("**Centres**", help=explain("centre"))
    counts = {place_name(p): {name: n[unit] for name, n in record.center_counts.get(p, {}).items()} for p in places}
    bars_and_table(counts, "Part", "Centre", unit=unit.capitalize())
