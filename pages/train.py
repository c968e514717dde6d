"""Train: start, with settings I understand."""

import streamlit as st

from mammo_core.config import TrainConfig
from mammo_core.data.embeddings import list_embeddings
from mammo_core.data.manifest import Dataset, list_datasets
from mammo_core.data.splits import list_splits
from mammo_core.errors import ConfigError, MammoError
from mammo_core.presets import Preset, list_presets
from mammo_core.runs.listing import list_cards
from mammo_core.workflows.launch import LaunchPlan, launch
from mammo_core.workflows.launch_preview import parse_seeds, preview_launch
from mammo_core.workflows.overview import plural
from pages.shared.embed_form import embed_form
from pages.shared.frame import current_workspace, page_title, plain
from pages.shared.glossary import explain
from pages.shared.launch_outlook import draw_counts, draw_estimate, draw_runs, draw_weights
from pages.shared.name_field import ask_name
from pages.shared.run_picker import nothing_yet, pick_one
from pages.shared.settings_form import settings_form
from pages.shared.split_view import proof_line

MAX_SPLITS = 2
workspace = current_workspace()


def ask_splits(dataset: Dataset) -> list[str]:
    records, problems = list_splits(workspace, dataset.name)
    by_name = {record.name: record for record in records}
    for name, problem in problems.items():
        st.error(f"**{plain(name)}**: {plain(problem)}", icon=":material/error:")
    if not by_name:
        st.info("These films have no split yet.", icon=":material/info:")
        if st.button("Make a split", type="primary", icon=":material/call_split:"):
            st.switch_page("pages/splits.py", query_params={"splits_data": dataset.name})
        return []
    newest = max(records, key=lambda record: record.created_at).name
    held = st.session_state.get("train_split")
    if held is None and not any(name in by_name for name in st.query_params.get_all("train_split")):
        st.session_state["train_split"] = [newest]
    elif held is not None and any(name not in by_name for name in held):  # the data set was changed
        st.session_state["train_split"] = [name for name in held if name in by_name] or [newest]
    chosen = st.multiselect(
        "Split", list(by_name), key="train_split", bind="query-params", max_selections=MAX_SPLITS,
        help=f"{explain('split')} Two splits start as a pair, for example patients at random and a held-out centre.",
    )  # fmt: skip
    for name in chosen:
        proof_line(by_name[name], large=False)
    return [name for name in chosen if name in by_name]


def ask_preset(dataset: Dataset) -> Preset:
    presets = list_presets()
    fitting = {preset.name: preset for preset in presets if preset.settings.get("task") in (None, dataset.task)}
    others = [preset.title for preset in presets if preset.name not in fitting]
    if not fitting:
        raise ConfigError(f"No preset in configs/ fits the task {dataset.task!r}; expected at least one without a task.")
    name = st.radio(
        "Preset", list(fitting), key="train_preset", bind="query-params", format_func=lambda name: fitting[name].title,
        captions=[fitting[name].summary for name in fitting], help=explain("preset"),
    )  # fmt: skip
    if others:
        words = f"These films are labelled for {dataset.task}, so presets for another task are left out: {', '.join(others)}."
        st.caption(plain(words))
    return fitting[name or next(iter(fitting))]


def ask_plan(dataset: Dataset, splits: list[str]) -> tuple[LaunchPlan | None, str]:
    """The plan as typed, and what is wrong with it."""
    preset = ask_preset(dataset)
    left, right = st.columns(2)
    with right:
        base = f"{dataset.name}_{preset.name}"
        name = ask_name("Name", base, workspace.experiment, key="train_name", help_text=explain("experiment"))
    typed = left.text_input("Seeds", "42, 43, 44", key="train_seeds", help=explain("seed"))
    try:
        seeds = parse_seeds(typed)
    except ConfigError as error:
        left.error(plain(str(error)), icon=":material/error:")
        return None, str(error)
    with st.expander("Settings", icon=":material/tune:"):
        finished = [card.id for card in list_cards(workspace) if card.state == "finished"]
        offered = {"init_from": finished, "embeddings": list_embeddings(workspace, dataset.name)}
        settings, problem = settings_form(preset, offered)
    if not problem:
        with st.expander("Embeddings of these films", icon=":material/grain:"):
            embed_form(workspace, dataset, TrainConfig.from_dict(settings).image_size)
    if name is None:
        return None, "The name cannot be used."
    return LaunchPlan(dataset=dataset.name, splits=splits, experiment=name, settings=settings, seeds=seeds), problem


def draw_outlook(plan: LaunchPlan) -> None:
    """What will happen, and the one button."""
    try:
        outlook = preview_launch(workspace, plan)
    except MammoError as error:
        st.error(plain(str(error)), icon=":material/error:")
        return
    draw_runs(outlook)
    fits = draw_estimate(plan)
    draw_counts(outlook)
    found = draw_weights(plan.settings)
    more = " more" if st.session_state.get("train_started") else ""
    label = f"Start {len(outlook.runs)}{more} {'run' if len(outlook.runs) == 1 else 'runs'}"
    if st.button(label, type="secondary" if more else "primary", icon=":material/play_arrow:", disabled=not (found and fits)):
        st.session_state["train_started"] = [run.id for run in launch(workspace, plan)]
        st.rerun()


def draw_started(run_ids: list[str]) -> None:
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        runs = plural(len(run_ids), "run")
        st.markdown(f":material/check_circle: **{runs} queued.** You can close this page.", width="stretch")
        if st.button("Watch in History", type="primary", icon=":material/show_chart:"):
            st.switch_page("pages/history.py", query_params={"run": run_ids[0]})
        st.page_link("pages/queue.py", label="See the queue", icon=":material/pending_actions:")


page_title("Train", "Start, with settings I understand.")
datasets, _ = list_datasets(workspace)
if st.session_state.get("train_started"):
    draw_started(st.session_state["train_started"])
if not datasets:
    nothing_yet("Training needs films and a split. There are no films yet.", "pages/films.py", "Bring films")
else:
    left, right = st.columns([3, 2], gap="large")
    with left:
        data = pick_one("Data set", [dataset.name for dataset in datasets], "train_data")
        dataset = next((item for item in datasets if item.name == data), None)
        splits = ask_splits(dataset) if dataset else []
        plan, problem = (None, "")
        if dataset and splits:
            try:
                plan, problem = ask_plan(dataset, splits)
            except ConfigError as error:
                st.error(plain(str(error)), icon=":material/error:")
    with right:
        st.subheader("What will happen")
        if plan is None or problem:
            st.caption(f"Not yet: {plain(problem)}" if problem else "Choose films, a split and settings on the left.")
        else:
            draw_outlook(plan)
