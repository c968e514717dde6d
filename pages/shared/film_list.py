"""The films of a run's predictions as a list to choose from, with filters."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from pages.shared.choice import choose

VERDICTS = {"all": "All", "wrong": "Wrong", "right": "Right"}
LIST_HEIGHT = 250


def filtered(table: pd.DataFrame, class_names: tuple[str, ...]) -> pd.DataFrame:
    """The films that the reader wants to see, the surest calls first."""
    first, second, third, fourth = st.columns([2, 1.5, 1.5, 2], vertical_alignment="bottom")
    with first:
        verdict = choose("Called", VERDICTS, "gradcam_called")
    with second:
        true = st.selectbox("True class", ["All", *class_names], key="gradcam_true")
    with third:
        center = st.selectbox("Centre", ["All", *sorted(table["center"].unique())], key="gradcam_center")
    with fourth:
        low, high = st.slider("Confidence", 0.0, 1.0, (0.0, 1.0), 0.05, key="gradcam_confidence")
    keep = table["confidence"].between(low - 1e-9, high + 1e-9)
    if verdict != "all":
        keep &= table["right"] == (verdict == "right")
    if true != "All":
        keep &= table["y_true"] == true
    if center != "All":
        keep &= table["center"] == center
    return table[keep].sort_values("confidence", ascending=False, ignore_index=True)


def film_list(rows: pd.DataFrame) -> pd.Series[Any] | None:
    """The films as a table; the one that was selected, else the one that the URL names."""
    shown = rows[["image_id", "center", "y_true", "y_pred", "confidence"]].set_axis(
        ["Film", "Centre", "True", "Called", "Confidence"], axis=1
    )
    shown.insert(0, "", ["✓" if right else "✕" for right in rows["right"]])
    chosen = st.dataframe(
        shown,
        hide_index=True,
        height=LIST_HEIGHT,
        column_config={"Confidence": st.column_config.ProgressColumn(format="%.2f", min_value=0, max_value=1)},
        on_select="rerun",
        selection_mode="single-row",
        key="gradcam_films",
        alt=f"{len(rows)} films with their true and called class",
    )
    picked = [row for row in chosen.selection.rows if row < len(rows)]
    if picked:
        return rows.iloc[picked[0]]
    asked = rows.index[rows["image_id"] == st.query_params.get("gradcam_film")]
    return rows.loc[asked[0]] if len(asked) else None


def first_class(row: pd.Series[Any], class_names: tuple[str, ...]) -> str:
    """The class whose map is shown first: the called one, or the one that the URL names together with the film."""
    asked = st.query_params.get("gradcam_class")
    is_named = row["image_id"] == st.query_params.get("gradcam_film")
    return asked if is_named and asked in class_names else str(row["y_pred"])
