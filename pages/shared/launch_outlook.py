"""What a start would do: its runs by name, the films they learn from, and where the first weights come from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from mammo_core.errors import MammoError
from mammo_core.workflows.launch_preview import LaunchPreview
from mammo_core.workflows.overview import plural
from pages.shared.frame import device_name, plain
from pages.shared.glossary import explain
from pages.shared.split_view import place_name

NAMES_SHOWN = 6


@st.cache_data(ttl=120, show_spinner="Looking for the first weights")
def weights_words(arch: str, weights: str) -> str:
    """Where the first weights come from; raises where they are not on this machine. Loads torch, once a server."""
    from mammo_core.training.weights import find_weights

    return find_weights(arch, weights).text


def draw_runs(outlook: LaunchPreview) -> None:
    """How many runs of how many epochs, and their names."""
    runs, epochs = plural(len(outlook.runs), "run"), plural(outlook.epochs, "epoch")
    order = ", one after another" if len(outlook.runs) > 1 else ""
    st.markdown(f"**{runs}** of {epochs}{order}, on {device_name()}:")
    names = "  \n".join(plain(name) for name in outlook.runs[:NAMES_SHOWN])
    more = f"  \nand {len(outlook.runs) - NAMES_SHOWN} more" if len(outlook.runs) > NAMES_SHOWN else ""
    st.caption(f"{names}{more}")


def draw_counts(outlook: LaunchPreview) -> None:
    """Films and patients of each class in training and validation."""
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for count in outlook.counts:
        rows.setdefault((count.split, count.class_name), {})[place_name(count.part)] = f"{count.films} · {count.patients}"
    table = pd.DataFrame.from_dict(rows, orient="index").fillna("0 · 0").rename_axis(["Split", "Class"]).reset_index()
    if table["Split"].nunique() == 1:
        table = table.drop(columns="Split")
    st.dataframe(table, hide_index=True, alt="Films and patients of each class in training and validation")
    folds = f" of fold 1 of {outlook.folds}; the other folds are alike" if outlook.folds else ""
    st.caption(f"Films · patients{folds}")


def draw_weights(settings: Mapping[str, Any]) -> bool:
    """Say where the first weights come from; ``False`` where they are not on this machine."""
    if settings.get("init_from"):
        st.markdown(f":material/check: First weights: the best ones of {plain(str(settings['init_from']))}")
        return True
    try:
        words = weights_words(str(settings.get("arch", "efficientnet_b0")), str(settings.get("weights", "imagenet")))
    except MammoError as error:
        st.error(plain(str(error)), icon=":material/error:")
        return False
    st.markdown(f":material/check: First weights: {plain(words)}", help=explain("weights"))
    return True
