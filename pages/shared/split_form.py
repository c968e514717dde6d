"""What the user asks of a split: the scheme as cards, and its settings."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from mammo_core.data.manifest import Dataset
from mammo_core.data.split_dates import holds_years
from mammo_core.data.splits import SplitPlan, centers_of, date_columns
from pages.shared.frame import plain
from pages.shared.glossary import explain
from pages.shared.split_view import EACH_CENTER, IMPORTED, SCHEMES

CHOICES = ("stratified", "center-holdout", EACH_CENTER, "kfold", "date", IMPORTED)


def ask_scheme(manifest: pd.DataFrame) -> str:
    """The scheme; ways that the films do not allow say why they are not there."""
    possible = [name for name in CHOICES if not why_not(name, manifest)]
    scheme = st.radio(
        "How to split", possible, format_func=lambda name: SCHEMES[name][0], captions=[SCHEMES[name][1] for name in possible],
        key="splits_scheme", bind="query-params", help=explain("split"),
    )  # fmt: skip
    missing = [f"{SCHEMES[name][0]}: {why_not(name, manifest)}" for name in CHOICES if name not in possible]
    if missing:
        st.caption("Not with these films - " + plain("; ".join(missing)))
    return scheme


def why_not(scheme: str, manifest: pd.DataFrame) -> str:
    """Why the films cannot be split this way; empty where they can."""
    if scheme in ("center-holdout", EACH_CENTER) and len(centers_of(manifest)) < 2:
        return "they name fewer than two centres"
    return "they have no year" if scheme == "date" and not date_columns(manifest) else ""


def ask_plan(scheme: str, dataset: Dataset, manifest: pd.DataFrame) -> SplitPlan:
    """The settings of a scheme other than an imported one."""
    if scheme == "kfold":
        return _ask_folds(dataset)
    if scheme == "date":
        return _ask_date(dataset, manifest)
    if scheme in ("center-holdout", EACH_CENTER):
        return _ask_centers(scheme, dataset, manifest)
    one, two = st.columns(2)
    val, test = _val(one), _test(two)
    seed = _seed()
    ratios = (100.0 - val - test, float(val), float(test))
    st.caption(f"Training gets the other {ratios[0]:.0f} % of the patients.")
    return SplitPlan(dataset=dataset.name, seed=seed, ratios=ratios)


def _ask_folds(dataset: Dataset) -> SplitPlan:
    folds = st.number_input("Folds", 2, 20, 5, key="splits_folds", help=explain("fold"))
    one, two = st.columns(2)
    with one:
        seed = _seed()
    test = _test(two)
    ratios = ((100.0 - test) * (1 - 1 / folds), (100.0 - test) / folds, float(test))
    return SplitPlan(dataset=dataset.name, scheme="kfold", seed=seed, ratios=ratios, folds=folds)


def _ask_centers(scheme: str, dataset: Dataset, manifest: pd.DataFrame) -> SplitPlan:
    holdout: list[str] = []
    if scheme == "center-holdout":
        centers = centers_of(manifest)
        holdout = st.multiselect("Centres held out for the test", centers, default=centers[-1:], key=f"splits_out_{dataset.name}")
    one, two = st.columns(2)
    val = _val(one)
    with two:
        seed = _seed()
    ratios = (100.0 - val, float(val), 0.0)
    return SplitPlan(dataset=dataset.name, scheme="center-holdout", seed=seed, ratios=ratios, holdout=tuple(holdout))


def _ask_date(dataset: Dataset, manifest: pd.DataFrame) -> SplitPlan:
    column = date_columns(manifest)[0]
    values = sorted({value for value in manifest[column] if value})
    whole = len(values) <= 60
    found = "Chosen by the test share"
    help_text = f"Films from then on are the test ({column} in the table); earlier films of the same patients are in no part."
    if whole:
        after = st.selectbox("First date of the test", [found, *values[1:]], key=f"splits_after_{dataset.name}", help=help_text)
    else:
        after = st.text_input(
            "First date of the test", key=f"splits_after_{dataset.name}", help=help_text, placeholder="2019-05-01"
        )
    after = "" if after == found else after.strip()
    one, two = st.columns(2)
    val = _val(one)
    test = 15 if after else max(1, _test(two))
    step = 12 if holds_years(manifest[column]) else 1
    gap = st.number_input(
        "Gap before the test, months", 0, 120, 0, step, key="splits_gap", help="Films this long before the test are in no part."
    )
    seed = _seed()
    ratios = (100.0 - val - test, float(val), float(test))
    return SplitPlan(
        dataset=dataset.name, scheme="date", seed=seed, ratios=ratios, after=after, date_column=column, gap_months=gap
    )


def _seed() -> int:
    return int(st.number_input("Split seed", 0, 2**32 - 1, 42, key="splits_seed", help=explain("split seed")))


def _val(place: st.delta_generator.DeltaGenerator) -> int:
    return int(place.number_input("Validation, %", 1, 90, 15, key="splits_val", help=explain("val")))


def _test(place: st.delta_generator.DeltaGenerator) -> int:
    return int(place.number_input("Test, %", 0, 80, 15, key="splits_test", help=explain("test")))
