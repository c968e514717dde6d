"""Splits: who is in training, and who in the test?"""

import streamlit as st

from mammo_core.data.manifest import MANIFEST_FILE, Dataset, list_datasets, load_dataset
from mammo_core.data.splits import Split, SplitPlan, list_splits, save_split, split_dataset
from mammo_core.settings import open_workspace
from pages.shared.frame import current_workspace, errors_in_words, page_title, plain
from pages.shared.glossary import explain
from pages.shared.name_field import ask_name
from pages.shared.run_files import Stamp, stamp
from pages.shared.run_picker import nothing_yet, pick_one
from pages.shared.split_view import SCHEMES, leaks, proof_line, split_bars, split_sentence

CHOICES = ("stratified", "center-holdout", "kfold")
workspace = current_workspace()


@st.cache_data(max_entries=16, show_spinner="Placing patients")
def preview(home: str, name: str, version: Stamp, plan: SplitPlan) -> Split:
    """The split that ``plan`` gives, made in memory; ``version`` changes with the data set."""
    return split_dataset(load_dataset(open_workspace(home), name), plan)


def ask_scheme(dataset: Dataset) -> SplitPlan:
    scheme = st.radio(
        "How to split", CHOICES, format_func=lambda name: SCHEMES[name][0], captions=[SCHEMES[name][1] for name in CHOICES],
        key="splits_scheme", bind="query-params", help=explain("split"),
    )  # fmt: skip
    holdout: list[str] = []
    folds, val, test = 5, 15, 15
    if scheme == "center-holdout":
        centers = [name for name in dataset.record.counts.per_center if name != "unknown"]
        holdout = st.multiselect("Centres held out for the test", centers, default=centers[-1:], key=f"splits_out_{dataset.name}")
    if scheme == "kfold":
        folds = st.number_input("Folds", 2, 20, 5, key="splits_folds", help=explain("fold"))
    one, two = st.columns(2)
    if scheme != "kfold":
        val = one.number_input("Validation, %", 1, 90, 15, key="splits_val", help=explain("val"))
    if scheme != "center-holdout":
        test = two.number_input("Test, %", 0, 80, 15, key="splits_test", help=explain("test"))
    seed = (one if scheme == "kfold" else two if scheme == "center-holdout" else st).number_input(
        "Split seed", 0, 2**32 - 1, 42, key="splits_seed", help=explain("split seed")
    )
    if scheme == "center-holdout":
        ratios = (100.0 - val, float(val), 0.0)
    elif scheme == "kfold":
        ratios = ((100.0 - test) * (1 - 1 / folds), (100.0 - test) / folds, float(test))
    else:
        ratios = (100.0 - val - test, float(val), float(test))
        st.caption(f"Training gets the other {ratios[0]:.0f} % of the patients.")
    return SplitPlan(dataset=dataset.name, scheme=scheme, seed=seed, ratios=ratios, holdout=tuple(holdout), folds=folds)


def ask_to_save(dataset: Dataset, plan: SplitPlan, split: Split) -> None:
    base = f"{dataset.name}_{split.record.scheme.replace('center-holdout', 'holdout')}_{split.record.seed}"
    name = ask_name("Name of the split", base, workspace.split, key="splits_name")
    kind = "secondary" if saved_as(plan) else "primary"
    if leaks(split.record):
        st.caption("A split that leaks cannot be saved.")
    if st.button("Save split", type=kind, icon=":material/save:", disabled=name is None or leaks(split.record)) and name:
        save_split(workspace, name, split)
        st.session_state["splits_saved"] = (name, plan)
        st.rerun()


def saved_as(plan: SplitPlan) -> str | None:
    """The name under which this session has just saved this very split."""
    name, saved = st.session_state.get("splits_saved", (None, None))
    return name if saved == plan and workspace.split(name).is_dir() else None


def train_button(dataset: str, split: str, kind: str, key: str) -> None:
    if st.button("Train on this split", type=kind, icon=":material/model_training:", key=key):
        st.switch_page("pages/train.py", query_params={"train_data": dataset, "train_split": split})


def draw_maker(dataset: Dataset) -> None:
    left, right = st.columns([2, 3], gap="large")
    with left:
        plan = ask_scheme(dataset)
        if name := saved_as(plan):
            st.success(f"The split **{plain(name)}** is saved.", icon=":material/check_circle:")
            train_button(dataset.name, name, "primary", "splits_train_saved")
    version = stamp(dataset.directory / MANIFEST_FILE)
    with right, errors_in_words():
        split = preview(str(workspace.home), dataset.name, version, plan)
        proof_line(split.record)
        st.caption(plain(split.record.patient_statement))
        if split.record.warnings:
            st.warning("  \n".join(map(plain, split.record.warnings)), icon=":material/warning:")
        unit = st.segmented_control("Count", ["patients", "films"], default="patients", required=True, key="splits_unit")
        split_bars(split.record, unit)
        with left:
            ask_to_save(dataset, plan, split)


def draw_saved(dataset: Dataset) -> None:
    records, problems = list_splits(workspace, dataset.name)
    for name, problem in problems.items():
        st.error(f"**{plain(name)}**: {plain(problem)}", icon=":material/error:")
    if not records:
        return
    st.subheader("Saved splits of these films")
    for record in sorted(records, key=lambda record: record.created_at, reverse=True):
        with st.container(border=True, horizontal=True, vertical_alignment="center"):
            with st.container():
                st.markdown(f"**{plain(record.name)}** · {split_sentence(record)}")
                proof_line(record, large=False)
            train_button(dataset.name, record.name, "secondary", f"splits_train_{record.name}")


page_title("Splits", "Who is in training, and who in the test?")
datasets, _ = list_datasets(workspace)
if not datasets:
    nothing_yet("A split deals out the patients of a data set. There is none yet.", "pages/films.py", "Bring films")
else:
    chosen = pick_one("Data set", [dataset.name for dataset in datasets], "splits_data")
    for dataset in datasets:
        if dataset.name == chosen:
            draw_maker(dataset)
            draw_saved(dataset)
