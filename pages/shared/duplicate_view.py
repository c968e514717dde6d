"""Films that are or look the same: each pair side by side, and what to do about it."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from mammo_core.data.exclusions import EXCLUSIONS_FILE
from mammo_core.data.flagged import flagged_pairs
from mammo_core.data.manifest import MANIFEST_FILE, Dataset, load_dataset
from mammo_core.data.near_pairs import NEAR_FILE, decide
from mammo_core.settings import Workspace, open_workspace
from mammo_core.workflows.overview import plural
from pages.shared.audit_job import audit_button
from pages.shared.exclusion_view import ask_reason, exclude_button, show_exclusions
from pages.shared.frame import errors_in_words, plain
from pages.shared.glossary import explain
from pages.shared.models_in_use import film_of
from pages.shared.run_files import Stamp, stamp
from pages.shared.viewer import Side, pair_viewer

LIST_HEIGHT = 250
KIND_WORDS = {
    "same pixels": "The same pixels, in two files.",
    "same picture": "The same picture: reduced, the two films correlate by {:.3f}.",
    "alike": "Alike ({:.3f}), below the limit of 0.98: nothing follows from it unless you say so.",
}
DECIDED = {"": "", "same": "you: same", "different": "you: different"}


def show_duplicates(workspace: Workspace, dataset: Dataset) -> None:
    """What was found, the list of pairs, and the chosen pair at full resolution."""
    searched = (dataset.directory / NEAR_FILE).is_file()
    files = (MANIFEST_FILE, NEAR_FILE, EXCLUSIONS_FILE)
    pairs = _pairs(str(workspace.home), dataset.name, tuple(stamp(dataset.directory / name) for name in files))
    if not searched:
        st.info(
            "Films with the same pixels are known from the import. Copies at another size, window or compression have to be "
            "searched for: every film is looked at once.",
            icon=":material/search:",
        )
        audit_button(workspace, dataset, "Search for films that look identical", primary=True)
    if pairs.empty:
        if searched:
            st.success("No two films have the same pixels or look identical.", icon=":material/check_circle:")
    else:
        dealt = int((pairs["excluded"] > 0).sum())
        told = f" {dealt} of them dealt with by leaving a film out." if dealt else ""
        found = f"**{plural(len(pairs), 'pair')} to look at**, those with different labels or patients first.{told}"
        st.markdown(found, help=explain("near duplicate"))
        with errors_in_words():
            _show_pair(workspace, dataset, _choose(pairs))
    show_exclusions(dataset)


@st.cache_data(max_entries=4, show_spinner="Listing pairs")
def _pairs(home: str, name: str, version: tuple[Stamp, ...]) -> pd.DataFrame:
    return flagged_pairs(load_dataset(open_workspace(home), name))


def _choose(pairs: pd.DataFrame) -> pd.Series:
    """The pairs as a table; the selected one, else the first."""
    shown = pd.DataFrame(
        {
            "Found": pairs["kind"],
            "Correlation": pairs["correlation"],
            "Patients": ["one" if same else "two" for same in pairs["same_patient"]],
            "Labels": [
                one if same else f"{one} / {other}"
                for one, other, same in zip(pairs["label"], pairs["other_label"], pairs["same_label"], strict=True)
            ],
            "Decision": [
                "left out" if out else DECIDED[decision]
                for out, decision in zip(pairs["excluded"], pairs["decision"], strict=True)
            ],
            "Left film": pairs["image_id"],
            "Right film": pairs["other_id"],
        }
    )
    chosen = st.dataframe(
        shown, hide_index=True, height=LIST_HEIGHT if len(pairs) > 6 else "content", on_select="rerun",
        selection_mode="single-row", key="films_pairs",
        column_config={"Correlation": st.column_config.NumberColumn(format="%.3f")},
        alt=f"{len(pairs)} pairs of films that are or look the same",
    )  # fmt: skip
    picked = [row for row in chosen.selection.rows if row < len(pairs)]
    return pairs.iloc[picked[0] if picked else 0]


def _show_pair(workspace: Workspace, dataset: Dataset, pair: pd.Series) -> None:
    one, other = str(pair["image_id"]), str(pair["other_id"])
    patients = "one patient" if pair["same_patient"] else "two different patients"
    labels = f"both {pair['label']}" if pair["same_label"] else f"labels {pair['label']} and {pair['other_label']}"
    words = KIND_WORDS[pair["kind"]].format(pair["correlation"])
    sentence = plain(f"{words} Of {patients}, {labels}.")
    if pair["same_label"] and pair["same_patient"]:
        st.markdown(sentence)
    else:
        st.warning(sentence, icon=":material/warning:")
    with errors_in_words():
        left, right = (Side(film_of(workspace, dataset.name, image), f"{image}, {label}") for image, label in _named(pair))
        pair_viewer(left, right, "films_pair_viewer", height=420)
    columns = st.columns(3, vertical_alignment="bottom")
    with columns[1]:
        reason = ask_reason("films_pair_reason")
    with columns[0]:
        exclude_button(dataset, one, reason, "Leave the left film out", f"films_leave_{one}")
    with columns[2]:
        exclude_button(dataset, other, reason, "Leave the right film out", f"films_leave_{other}")
    if pair["kind"] != "same pixels":
        _ask_decision(dataset, pair)


def _named(pair: pd.Series) -> tuple[tuple[str, str], tuple[str, str]]:
    return (pair["image_id"], pair["label"]), (pair["other_id"], pair["other_label"])


def _ask_decision(dataset: Dataset, pair: pd.Series) -> None:
    """Whether the pair counts as the same picture: splits then keep both patients in one part."""
    words = {"": "As the correlation says", "same": "Same picture", "different": "Different films"}
    key = f"films_decision_{pair['image_id']}_{pair['other_id']}"
    chosen = st.segmented_control(
        "What do you see?", list(words), default=pair["decision"], format_func=words.__getitem__, required=True, key=key,
        help="Splits keep films of the same picture, and their patients, in one part. Splits that are saved do not change.",
    )  # fmt: skip
    if chosen != pair["decision"]:
        decide(dataset, str(pair["image_id"]), str(pair["other_id"]), str(chosen))
        st.rerun()
