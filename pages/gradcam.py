"""Grad-CAM: what influenced the score of a film, and can such maps be believed? One film, a gallery, and two checks."""

import pandas as pd
import streamlit as st

from mammo_core.analysis.mistakes import with_confidence
from mammo_core.report.charts_prediction import probability_chart
from mammo_core.runs.listing import RunCard, list_cards
from mammo_core.runs.run_dir import RunDir, find_run
from mammo_core.workflows.map_records import dataset_of, part_title, parts_of
from mammo_core.workflows.shelf import runs_alike
from pages.shared.choice import choose
from pages.shared.figures import show_chart
from pages.shared.film_list import film_list, filtered, first_class
from pages.shared.film_view import film_and_map, map_choices, map_words
from pages.shared.frame import current_workspace, errors_in_words, page_title, plain, research_only
from pages.shared.gallery_view import show_gallery
from pages.shared.localisation_view import show_localisation
from pages.shared.map_checks import show_check_lines
from pages.shared.models_in_use import explanation_of, film_of, load_model
from pages.shared.run_picker import nothing_yet, pick_one, run_line
from pages.shared.sanity_view import show_sanity

VIEWS = ["One film", "Gallery", "Localisation", "Sanity check"]
CHART_WIDTH = 240

workspace = current_workspace()


def show_film(run: RunDir, on: str, row: pd.Series, class_names: tuple[str, ...]) -> None:
    """Film and map side by side, then the probabilities, what is odd about the map, and what the checks of such maps say."""
    first = first_class(row, class_names)
    alike = runs_alike(list_cards(workspace), run.id)
    together = len(alike) > 1 and st.toggle(
        f"Mean over the {len(alike)} runs of {plain(run.experiment)}", key="gradcam_together", bind="query-params",
        help="The map of each run by itself, then their mean on the film. Where the runs disagree, the mean is faint.",
    )  # fmt: skip
    shown = alike if together else (run.id,)
    configs = [find_run(workspace, name).config() for name in shown]
    class_name, method = map_choices(f"gradcam_{row['image_id']}", class_names, first, configs)
    dataset = dataset_of(workspace, run, on).name
    film = film_of(workspace, dataset, row["image_id"])
    explanation = explanation_of(load_model(workspace, shown), film, f"{dataset}/{row['image_id']}", class_name, method)
    film_and_map(film, explanation, "gradcam_viewer")
    show_check_lines(workspace, run, on, method)
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
        st.info(f"There are no predictions on the {part_title(on).lower()} yet.", icon=":material/info:")
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
    show_film(run, on, row, config.class_names)


def show_view(view: str, run: RunDir, on: str) -> None:
    if view == "Gallery":
        show_gallery(workspace, run, on)
    elif view == "Localisation":
        show_localisation(workspace, run, on)
    elif view == "Sanity check":
        show_sanity(workspace, run, on)
    else:
        one_film(run, on)


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
            view = choose("View", {name: name for name in VIEWS}, "gradcam_view")
            on = choose("Films", parts_of(runs[chosen].run), "gradcam_on")
        with errors_in_words():
            show_view(view, runs[chosen].run, on)
