"""Grad-CAM: what influenced the score of a film? One film at a time, or a gallery of the telling ones."""

import pandas as pd
import streamlit as st

from mammo_core.analysis.mistakes import with_confidence
from mammo_core.report.charts_prediction import probability_chart
from mammo_core.runs.listing import RunCard, list_cards
from mammo_core.runs.run_dir import RunDir
from pages.shared.figures import show_chart
from pages.shared.film_view import film_and_map, map_choices, map_words
from pages.shared.frame import current_workspace, errors_in_words, page_title, plain, research_only
from pages.shared.gallery_view import show_gallery
from pages.shared.models_in_use import explanation_of, film_of, load_model
from pages.shared.run_picker import nothing_yet, pick_one, run_line

PARTS = {"val": "Validation films", "test": "Test films"}
VERDICTS = {"all": "All", "wrong": "Wrong", "right": "Right"}
LIST_HEIGHT, CHART_WIDTH = 250, 240

workspace = current_workspace()


def filtered(table: pd.DataFrame, class_names: tuple[str, ...]) -> pd.DataFrame:
    """The films that the reader wants to see, the surest calls first."""
    first, second, third, fourth = st.columns([2, 1.5, 1.5, 2], vertical_alignment="bottom")
    with first:
        verdict = st.segmented_control(
            "Called",
            list(VERDICTS),
            format_func=VERDICTS.__getitem__,
            default="all",
            required=True,
            key="gradcam_called",
            bind="query-params",
        )
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


def film_list(rows: pd.DataFrame) -> pd.Series | None:
    """The films as a table; the one that was selected."""
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
    return rows.iloc[picked[0]] if picked else None


def show_film(run: RunDir, row: pd.Series, class_names: tuple[str, ...]) -> None:
    """Film and map side by side, then the probabilities and what is odd about the map."""
    class_name, method, opacity, contours = map_choices(f"gradcam_{row['image_id']}", class_names, row["y_pred"])
    film = film_of(workspace, run.config().dataset, row["image_id"])
    explanation = explanation_of(
        load_model(workspace, (run.id,)), film, f"{run.config().dataset}/{row['image_id']}", class_name, method
    )
    film_and_map(film, explanation, opacity, contours)
    left, right = st.columns(2)
    with left:
        verdict = "right" if row["right"] else f"truly {row['y_true']}"
        st.markdown(f"**Called {plain(row['y_pred'])}, {plain(verdict)}**")
        probabilities = {name: float(row[f"prob_{name}"]) for name in class_names}
        show_chart(probability_chart(probabilities, {run.id: probabilities}, CHART_WIDTH), "gradcam_probabilities")
    with right:
        map_words(explanation)


def one_film(run: RunDir, on: str) -> None:
    config, table = run.config(), run.predictions(on)
    if table is None:
        st.info(f"There are no predictions on the {PARTS[on].lower()} yet.", icon=":material/info:")
        st.page_link("pages/evaluate.py", label="Evaluate this run", query_params={"evaluate_model": run.id})
        return
    rows = filtered(with_confidence(table, config.class_names), config.class_names)
    if rows.empty:
        st.info("No film fits these filters.", icon=":material/filter_alt_off:")
        return
    row = film_list(rows)
    if row is None:
        st.info("Select a film in the list to see what influenced its score.", icon=":material/touch_app:")
        return
    show_film(run, row, config.class_names)


def usable(cards: list[RunCard]) -> dict[str, RunCard]:
    return {card.id: card for card in cards if card.problem is None and card.run.best_model.exists()}


page_title("Grad-CAM", "What influenced the score?")
research_only()
runs = usable(list_cards(workspace))
if not runs:
    nothing_yet(
        "No run has kept a model yet; maps can be made from the first finished epoch on.", "pages/train.py", "Start a training"
    )
else:
    chosen = pick_one("Run", list(runs), "gradcam_run")
    if chosen is not None:
        st.caption(run_line(runs[chosen]))
        with st.container(horizontal=True):
            view = st.segmented_control(
                "View", ["One film", "Gallery"], default="One film", required=True, key="gradcam_view", bind="query-params"
            )
            on = st.segmented_control(
                "Films",
                list(PARTS),
                format_func=PARTS.__getitem__,
                default="val",
                required=True,
                key="gradcam_on",
                bind="query-params",
            )
        with errors_in_words():
            if view == "Gallery":
                show_gallery(workspace, runs[chosen].run, on)
            else:
                one_film(runs[chosen].run, on)
