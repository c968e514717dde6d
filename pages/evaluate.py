"""Evaluate: how good is a model, and for whom? On validation films, and, counted, on test films."""

from collections.abc import Sequence

import streamlit as st

from mammo_core.analysis.levels import LEVELS
from mammo_core.runs.queue import enqueue, list_requests
from mammo_core.runs.run_dir import RunDir
from mammo_core.runs.schema import Request
from mammo_core.workflows.overview import plural
from mammo_core.workflows.shelf import ShelfRow
from pages.shared.choice import choose
from pages.shared.evaluation_calibration import calibration
from pages.shared.evaluation_mistakes import mistakes
from pages.shared.evaluation_ranking import ranking
from pages.shared.evaluation_subgroups import subgroups
from pages.shared.evaluation_threshold import threshold
from pages.shared.evaluation_view import PARTS, View, facts_notice, headline, overview
from pages.shared.frame import current_workspace, errors_in_words, page_title, plain
from pages.shared.glossary import explain
from pages.shared.job_progress import OPEN_STATES, follow_job
from pages.shared.model_results import missing_on, results_of, runs_of
from pages.shared.run_picker import nothing_yet, pick_model, pickable_cards

VIEWS: dict[str, tuple[str, View]] = {
    "overview": ("Overview", overview),
    "ranking": ("Ranking", ranking),
    "calibration": ("Calibration", calibration),
    "threshold": ("Threshold", threshold),
    "subgroups": ("Subgroups", subgroups),
    "mistakes": ("Mistakes", mistakes),
}

workspace = current_workspace()


def last_request(runs: Sequence[RunDir], on: str) -> Request | None:
    """The newest evaluation of these runs on that part that was asked for."""
    ids = {run.id for run in runs}
    mine = [r for r in list_requests(workspace) if r.kind == "evaluate" and r.arguments.get("on") == on]
    mine = [request for request in mine if ids & set(request.arguments.get("runs", []))]
    return max(mine, key=lambda request: request.created_at, default=None)


def offer_evaluation(model: ShelfRow, missing: list[RunDir], on: str) -> None:
    """What to do where there are no numbers yet; the test films are looked at only on request."""
    request = last_request(missing, on)
    if request is not None and request.state in OPEN_STATES:
        follow_job(request, f"{plain(model.name)} is being evaluated on the {PARTS[on].lower()}. You can leave this page.")
        return
    if request is not None and request.state == "failed":
        st.error(plain(request.message), icon=":material/error:")
    if on == "test":
        looks = max(len(run.test_looks()) for run in missing)
        before = (
            f"The test films were looked at {plural(looks, 'time')}, and the result is gone."
            if looks
            else "Nobody has looked at the test films with this model yet."
        )
        st.info(f"{before} {explain('test')} Each look is counted.", icon=":material/visibility_off:")
    else:
        st.info(
            f"{plural(len(missing), 'run')} of this model left no predictions on its validation films.", icon=":material/info:"
        )
    label = "Look at the test films" if on == "test" else "Evaluate on the validation films"
    if st.button(label, type="primary", icon=":material/fact_check:"):
        enqueue(workspace, "evaluate", {"runs": [run.id for run in missing], "on": on}, f"Evaluate {model.name} on {on}")
        st.rerun()


def show(model: ShelfRow, runs: list[RunDir], on: str) -> None:
    """Choose the unit of analysis and a view; only that view is computed."""
    missing = results_of(workspace, runs, on, "film").missing_levels()
    levels = {level: word for level, word in LEVELS.items() if level not in missing}
    with unit_place:
        level = choose("For each", levels, "evaluate_level")
    results = results_of(workspace, runs, on, level)
    headline(results)
    facts_notice(results)
    view = choose("View", {key: title for key, (title, _) in VIEWS.items()}, "evaluate_view")
    VIEWS[view][1](model, results)


page_title("Evaluate", "How good is it, and for whom?")
cards = pickable_cards(workspace, "evaluate_model")
if not any(card.state == "finished" for card in cards):
    nothing_yet(
        "No training has finished yet; its validation and test results appear here.", "pages/train.py", "Start a training"
    )
else:
    model = pick_model("Model", cards, "evaluate_model")
    with st.container(horizontal=True):
        on = choose("Films", PARTS, "evaluate_on")
        unit_place = st.container(width="content")
    if model is not None:
        with errors_in_words():
            runs = runs_of(workspace, model.runs)
            missing = missing_on(runs, on)
            if missing:
                offer_evaluation(model, missing, on)
            else:
                show(model, runs, on)
