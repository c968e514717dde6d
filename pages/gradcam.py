"""Grad-CAM: what influenced the score of a film? One film at a time, or a gallery of the telling ones."""

import pandas as pd
import streamlit as st

from mammo_core.analysis.mistakes import with_confidence
from mammo_core.report.charts_prediction import probability_chart
from mammo_core.runs.listing import RunCard, list_cards
from mammo_core.runs.run_dir import RunDir
from pages.shared.choice import choose
from pages.shared.figures import show_chart
from pages.shared.film_list import film_list, filtered
from pages.shared.film_view import film_and_map, map_choices, map_words
from pages.shared.frame import current_workspace, errors_in_words, page_title, plain, research_only
from pages.shared.gallery_view import show_gallery
from pages.shared.models_in_use import explanation_of, film_of, load_model
from pages.shared.run_picker import nothing_yet, pick_one, run_line

PARTS = {"val": "Validation films", "test": "Test films"}
CHART_WIDTH = 240

workspace = current_workspace()


def show_film(run: RunDir, row: pd.Series, class_names: tuple[str, ...]) -> None:
    """Film and map side by side, then the probabilities and what is odd about the map."""
    class_name, method = map_choices(f"gradcam_{row['image_id']}", class_names, row["y_pred"])
    film = film_of(workspace, run.config().dataset, row["image_id"])
    explanation = explanation_of(
        load_model(workspace, (run.id,)), film, f"{run.config().dataset}/{row['image_id']}", class_name, method
    )
    film_and_map(film, explanation, "gradcam_viewer")
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
            on = choose("Films", PARTS, "gradcam_on")
        with errors_in_words():
            if view == "Gallery":
                show_gallery(workspace, runs[chosen].run, on)
            else:
                one_film(runs[chosen].run, on)
