"""Making a split: the form on the left, the live preview with its proof on the right, and saving it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import streamlit as st

from mammo_core.data.exclusions import EXCLUSIONS_FILE, read_exclusions
from mammo_core.data.film_facts import FACTS_FILE
from mammo_core.data.manifest import MANIFEST_FILE, Dataset, load_dataset
from mammo_core.data.near_pairs import NEAR_FILE
from mammo_core.data.split_import import read_split_table
from mammo_core.data.splits import (
    Split,
    SplitPlan,
    import_split,
    leave_one_center_out,
    save_split,
    split_dataset,
    splittable_films,
)
from mammo_core.settings import Workspace, open_workspace
from mammo_core.workflows.center_splits import center_split_names, save_center_splits
from mammo_core.workflows.overview import plural
from pages.shared.frame import errors_in_words, plain
from pages.shared.name_field import ask_name
from pages.shared.run_files import Stamp, stamp
from pages.shared.split_form import ask_plan, ask_scheme
from pages.shared.split_view import EACH_CENTER, IMPORTED, leaks, proof_line, split_bars

Version = tuple[Stamp, ...]
Place = st.delta_generator.DeltaGenerator
LEAST_REASON = 10
"""Characters of a reason that can be one."""


def _version_of(dataset: Dataset) -> Version:
    """What changes with anything that a split of these films depends on."""
    return tuple(stamp(dataset.directory / name) for name in (MANIFEST_FILE, EXCLUSIONS_FILE, NEAR_FILE, FACTS_FILE))


@st.cache_data(max_entries=4, show_spinner=False)
def _films(home: str, name: str, version: Version) -> pd.DataFrame:
    return splittable_films(load_dataset(open_workspace(home), name))


@st.cache_data(max_entries=16, show_spinner="Placing patients")
def _preview(home: str, name: str, version: Version, plan: SplitPlan) -> Split:
    """The split that ``plan`` gives, made in memory; ``version`` changes with the data set."""
    return split_dataset(load_dataset(open_workspace(home), name), plan)


@st.cache_data(max_entries=4, show_spinner="Placing patients")
def _preview_each(home: str, name: str, version: Version, plan: SplitPlan) -> dict[str, Split]:
    return leave_one_center_out(load_dataset(open_workspace(home), name), plan)


@st.cache_data(max_entries=4, show_spinner="Checking patients")
def _preview_import(home: str, name: str, version: Version, content: bytes) -> Split:
    return import_split(read_split_table(content), load_dataset(open_workspace(home), name))


def _ask_to_save(workspace: Workspace, dataset: Dataset, wish: object, split: Split) -> None:
    scheme = split.record.scheme.replace("center-holdout", "holdout")
    base = f"{dataset.name}_{scheme}_{split.record.seed}" if scheme != IMPORTED else f"{dataset.name}_{IMPORTED}"
    name = ask_name("Name of the split", base, workspace.split, key="splits_name")
    reason = _ask_override() if leaks(split.record) else ""
    allowed = name is not None and (bool(reason) or not leaks(split.record))
    is_saved = _saved_as(workspace, wish) is not None
    if (
        st.button("Save split", type="secondary" if is_saved else "primary", icon=":material/save:", disabled=not allowed)
        and name
    ):
        save_split(workspace, name, split, reason or None)
        st.session_state["splits_saved"] = (name, wish)
        st.rerun()


def _ask_override() -> str:
    """The reason for saving a split that leaks; empty until one is typed."""
    told = f"At least {LEAST_REASON} characters, no names. Every run, model card and report made with this split repeats it."
    reason = st.text_input(
        "A split that leaks is saved only with a reason", key="splits_override", max_chars=200, help=told
    ).strip()
    return reason if len(reason) >= LEAST_REASON else ""


def _ask_to_save_each(workspace: Workspace, dataset: Dataset, plan: SplitPlan, splits: dict[str, Split]) -> None:
    def folder(name: str) -> Path:
        return workspace.split(next(iter(center_split_names(workspace, name, list(splits), check=False).values())))

    name = ask_name("Name of the splits", f"{dataset.name}_each", folder, key="splits_name_each")
    if st.button(f"Save {len(splits)} splits", type="primary", icon=":material/save:", disabled=name is None) and name:
        made = save_center_splits(workspace, dataset, name, plan)
        st.toast(plain(f"{len(made)} splits are saved, from {made[0].name} on."), icon=":material/check_circle:")
        st.rerun()


def _saved_as(workspace: Workspace, wish: object) -> str | None:
    """The name under which this session has just saved this very split."""
    name, saved = st.session_state.get("splits_saved", (None, None))
    return name if name and saved == wish and workspace.split(name).is_dir() else None


def draw_maker(workspace: Workspace, dataset: Dataset) -> None:
    """Form and preview; what cannot work is one sentence where the preview would be."""
    version, home = _version_of(dataset), str(workspace.home)
    left, right = st.columns([2, 3], gap="large")
    with left, errors_in_words():
        manifest = _films(home, dataset.name, version)
        _tell_what_is_out(dataset)
        scheme = ask_scheme(manifest)
        if scheme == IMPORTED:
            wish: object = _ask_table()
        else:
            wish = ask_plan(scheme, dataset, manifest)
        if name := _saved_as(workspace, wish):
            st.success(f"The split **{plain(name)}** is saved.", icon=":material/check_circle:")
            if st.button("Train on this split", type="primary", icon=":material/model_training:", key="splits_train_saved"):
                st.switch_page("pages/train.py", query_params={"train_data": dataset.name, "train_split": name})
        with right, errors_in_words():
            if isinstance(wish, SplitPlan) and scheme == EACH_CENTER:
                _draw_each(workspace, dataset, wish, _preview_each(home, dataset.name, version, wish), left)
            elif isinstance(wish, SplitPlan):
                _draw_preview(workspace, dataset, wish, _preview(home, dataset.name, version, wish), left)
            elif isinstance(wish, bytes):
                _draw_preview(workspace, dataset, wish, _preview_import(home, dataset.name, version, wish), left)


def _tell_what_is_out(dataset: Dataset) -> None:
    out = len(read_exclusions(dataset))
    if out:
        st.caption(f":material/do_not_disturb_on: {plural(out, 'film')} left out, see Films, Duplicates.")
    if not (dataset.directory / NEAR_FILE).is_file():
        st.caption(":material/info: Nobody has searched these films for copies that look identical: Films, Duplicates.")


def _ask_table() -> bytes | None:
    given = st.file_uploader(
        "Table", ["csv", "tsv", "txt"], key="splits_table",
        help="Columns image_id and split (train, val, test), perhaps fold and label. image_id may be the name of a film's file.",
    )  # fmt: skip
    return None if given is None else given.getvalue()


def _draw_preview(workspace: Workspace, dataset: Dataset, wish: object, split: Split, left: Place) -> None:
    proof_line(split.record)
    since = f" The test holds the films from {split.record.after} on." if split.record.after else ""
    st.caption(plain(f"{split.record.patient_statement}{since}"))
    if split.record.warnings:
        st.warning("  \n".join(map(plain, split.record.warnings)), icon=":material/warning:")
    unit = st.segmented_control("Count", ["patients", "films"], default="patients", required=True, key="splits_unit")
    split_bars(split.record, unit)
    with left:
        _ask_to_save(workspace, dataset, wish, split)


def _draw_each(workspace: Workspace, dataset: Dataset, plan: SplitPlan, splits: dict[str, Split], left: Place) -> None:
    proof_line(max((split.record for split in splits.values()), key=lambda record: len(record.proof_text)))
    parts = ("train", "val", "test")
    rows = [
        {"Test centre": center, **{part: split.record.counts.get(part, {}).get("patients", 0) for part in parts},
         "Notes": " ".join(split.record.warnings)}
        for center, split in splits.items()
    ]  # fmt: skip
    st.markdown("**Patients in each split**")
    st.dataframe(pd.DataFrame(rows), hide_index=True, alt=f"{len(rows)} splits, one a centre, with their patients")
    with left:
        _ask_to_save_each(workspace, dataset, plan, splits)
