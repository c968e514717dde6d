"""Splits: who is in training, and who in the test?"""

import streamlit as st

from mammo_core.data.exclusions import EXCLUSIONS_FILE
from mammo_core.data.manifest import Dataset, list_datasets, load_dataset
from mammo_core.data.near_pairs import NEAR_FILE
from mammo_core.data.splits import changes_since, list_splits, load_split
from mammo_core.settings import open_workspace
from pages.shared.frame import current_workspace, errors_in_words, page_title, plain
from pages.shared.run_files import Stamp, stamp
from pages.shared.run_picker import nothing_yet, pick_one
from pages.shared.split_maker import draw_maker
from pages.shared.split_view import override_line, proof_line, split_sentence

workspace = current_workspace()


@st.cache_data(max_entries=64, show_spinner=False)
def changes(home: str, name: str, dataset: str, version: tuple[Stamp, ...]) -> list[str]:
    """What has become known since the split was saved."""
    there = open_workspace(home)
    return changes_since(load_split(there, name), load_dataset(there, dataset))


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
                override_line(record)
                files = [
                    workspace.split(record.name) / "split.json",
                    *(dataset.directory / n for n in (EXCLUSIONS_FILE, NEAR_FILE)),
                ]
                told = changes(str(workspace.home), record.name, dataset.name, tuple(map(stamp, files)))
                if told:
                    st.warning(plain(" ".join(told)), icon=":material/update:")
            if st.button("Train on this split", icon=":material/model_training:", key=f"splits_train_{record.name}"):
                st.switch_page("pages/train.py", query_params={"train_data": dataset.name, "train_split": record.name})


page_title("Splits", "Who is in training, and who in the test?")
datasets, _ = list_datasets(workspace)
if not datasets:
    nothing_yet("A split deals out the patients of a data set. There is none yet.", "pages/films.py", "Bring films")
else:
    chosen = pick_one("Data set", [dataset.name for dataset in datasets], "splits_data")
    for dataset in datasets:
        if dataset.name == chosen:
            with errors_in_words():
                draw_maker(workspace, dataset)
            draw_saved(dataset)
