"""Evaluate, view Mistakes: the films that were called wrongly, the surest ones first, each leading to its map."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from mammo_core.analysis.mistakes import surest_mistakes, worst_mistakes
from mammo_core.workflows.ingest import thumbnail_path
from mammo_core.workflows.overview import plural
from mammo_core.workflows.shelf import ShelfRow
from pages.shared.choice import choose
from pages.shared.evaluation_view import PARTS, name_of
from pages.shared.figures import download_table
from pages.shared.frame import plain
from pages.shared.glossary import explain
from pages.shared.model_results import Results

FILMS_A_PAGE, FILMS_A_ROW = 8, 4
ORDERS = {"sure": "Surest first", "far": "Farthest from the truth first"}
EVERY = "All"


def mistakes(model: ShelfRow, results: Results) -> None:
    """Thumbnails a page at a time, with filters, and all mistakes as a table to download."""
    table = results.films()
    if results.level != "film":
        st.caption("Mistakes are shown film by film.")
    order = choose("Order", ORDERS, "evaluate_order") if results.ordinal else "sure"
    if order == "far":
        wrong = worst_mistakes(table, results.class_names, True, len(table))
    else:
        wrong = surest_mistakes(table, results.class_names)
    if wrong.empty:
        st.success("No film is called wrongly.", icon=":material/check_circle:")
        return
    wrong, chosen = _filtered(wrong)
    st.caption(f"{plural(len(wrong), 'film')} of {len(table)} called wrongly. {explain('preview')}")
    pages = max(1, -(-len(wrong) // FILMS_A_PAGE))
    page = st.pagination(pages, key=f"evaluate_mistakes_page_{order}_{chosen}") if pages > 1 else 1
    shown = wrong.iloc[(page - 1) * FILMS_A_PAGE : page * FILMS_A_PAGE].to_dict("records")
    for start in range(0, len(shown), FILMS_A_ROW):
        for column, row in zip(st.columns(FILMS_A_ROW), shown[start : start + FILMS_A_ROW], strict=False):
            with column:
                _film(results, row)
    columns = ["image_id", "center", "y_true", "y_pred", "confidence", "prob_true"]
    titles = ["Film", "Centre", "True", "Called", "Probability of the call", "Probability of the truth"]
    download_table(wrong[columns].set_axis(titles, axis=1), f"{name_of(model, results)}_mistakes", "evaluate_mistakes_table")


def _filtered(wrong: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The rows that the reader wants to see, and what was chosen."""
    left, right = st.columns(2)
    with left:
        true = st.selectbox(
            "True class", [EVERY, *sorted(wrong["y_true"].unique())], key="evaluate_mistakes_true", bind="query-params"
        )
    with right:
        called = st.selectbox(
            "Called", [EVERY, *sorted(wrong["y_pred"].unique())], key="evaluate_mistakes_called", bind="query-params"
        )
    keep = ((wrong["y_true"] == true) | (true == EVERY)) & ((wrong["y_pred"] == called) | (called == EVERY))
    return wrong[keep], f"{true}_{called}"


def _film(results: Results, row: Mapping[Any, Any]) -> None:
    words = f"truly {row['y_true']}, called {row['y_pred']}"
    try:
        picture = thumbnail_path(results.workspace, results.dataset, row["image_id"]).read_bytes()
        st.image(picture, alt=f"Film {row['image_id']}, {words}, reduced for display")
    except FileNotFoundError:
        st.caption(":material/hide_image: no preview")
    where = " ".join(str(row[name]) for name in ("laterality", "view") if row.get(name))
    st.caption(
        plain(f"{row['image_id']}{f' · {where}' if where else ''} · centre {row['center']}")
        + f"  \n**{plain(words)}**  \n{row['confidence']:.2f} for the call, {row['prob_true']:.2f} for the truth"
    )
    query = {"gradcam_run": results.runs[0].id, "gradcam_on": PARTS[results.on], "gradcam_called": "Wrong"}
    st.page_link(
        "pages/gradcam.py", label="Map", icon=":material/center_focus_strong:",
        query_params=query | {"gradcam_film": row["image_id"]},
    )  # fmt: skip
