"""What a start would do: its runs by name, how long they take, the films they learn from, and where the weights come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from mammo_core.errors import ConfigError, MammoError, OutOfMemory
from mammo_core.workflows.estimate import (
    estimate_launch,
    estimate_notes,
    estimate_words,
    films_to_read,
    free_memory,
    question_of,
    training_now,
    trainings_ahead,
)
from mammo_core.workflows.launch import LaunchPlan, PlannedRun, plan_runs
from mammo_core.workflows.launch_preview import LaunchPreview
from mammo_core.workflows.overview import plural
from mammo_core.workflows.probe import Probe, Question, is_probing, kept_probe, probe_problem, start_probe
from mammo_core.workflows.slots import slots_of
from pages.shared.frame import current_workspace, device_name, plain
from pages.shared.glossary import explain
from pages.shared.split_view import place_name

NAMES_SHOWN = 6
PROBE_POLL_SECONDS = 1


@st.cache_data(ttl=120, show_spinner="Looking for the first weights")
def weights_words(arch: str, weights: str) -> str:
    """Where the first weights come from; raises where they are not on this machine. Loads torch, once a server."""
    from mammo_core.training.weights import find_weights

    return find_weights(arch, weights).text


def draw_runs(outlook: LaunchPreview) -> None:
    """How many runs of how many epochs, and their names."""
    runs, epochs = plural(len(outlook.runs), "run"), plural(outlook.epochs, "epoch")
    cards = slots_of(current_workspace()).count
    order = "" if len(outlook.runs) == 1 else ", one after another" if cards == 1 else f", {cards} at once"
    st.markdown(f"**{runs}** of {epochs}{order}, on {device_name()}:")
    names = "  \n".join(plain(name) for name in outlook.runs[:NAMES_SHOWN])
    more = f"  \nand {len(outlook.runs) - NAMES_SHOWN} more" if len(outlook.runs) > NAMES_SHOWN else ""
    st.caption(f"{names}{more}")


def draw_estimate(plan: LaunchPlan) -> bool:
    """Time and memory, or the button that measures them; ``False`` where measuring showed that these settings cannot work."""
    workspace = current_workspace()
    planned = plan_runs(workspace, plan)
    question = question_of(planned)
    if is_probing(workspace, question):
        _follow_probe(question)
        return True
    measured, problem = kept_probe(workspace, question), probe_problem(workspace, question)
    if measured is not None:
        _tell_estimate(measured, planned)
    elif problem is not None:
        st.error(plain(str(problem)), icon=":material/error:")
    _ask_probe(question, measured, problem)
    return measured is not None or not isinstance(problem, OutOfMemory | ConfigError)


def _follow_probe(question: Question) -> None:
    """Say that something is measured; run the page anew once that has ended."""

    def look() -> None:
        if not is_probing(current_workspace(), question):
            st.rerun()
        st.markdown(":material/timer: Measuring one step, for about ten seconds and the time to start. You can go on.")

    st.fragment(look, run_every=PROBE_POLL_SECONDS)()


def _tell_estimate(measured: Probe, planned: Sequence[PlannedRun]) -> None:
    made = estimate_launch(measured, planned, slots_of(current_workspace()).count)
    words = estimate_words(made, trainings_ahead(current_workspace()))
    st.markdown(f":material/timer: **{plain(words[0].upper() + words[1:])}**")
    config = planned[0].config
    lacking = _lacking_films(planned[0], (config.dataset, config.split, config.fold, config.image_size))
    st.caption(plain(" ".join(estimate_notes(made, lacking, free_memory()))))


@st.cache_data(ttl=60, show_spinner=False)
def _lacking_films(_planned: PlannedRun, place: tuple[Any, ...]) -> int:
    return films_to_read(current_workspace(), _planned)


def _ask_probe(question: Question, measured: Probe | None, problem: MammoError | None) -> None:
    """The button, where there is something to measure and nothing trains beside it."""
    if measured is not None and not measured.is_disturbed:
        return
    if training_now(current_workspace()):
        if measured is None:
            st.caption("Time and memory can be measured once the training that runs now has ended; beside it they are wrong.")
        return
    label = "Estimate time and memory" if measured is None and problem is None else "Measure again"
    hint = "Trains a few steps on made films, in a process of its own: about ten seconds and the time to start."
    if st.button(label, icon=":material/timer:", help=hint, key="train_probe"):
        start_probe(current_workspace(), question)
        st.rerun()


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
