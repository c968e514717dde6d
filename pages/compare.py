"""Compare: is the difference between groups of runs real, or chance?"""

import streamlit as st

from mammo_core.runs.listing import list_cards
from pages.shared.choice import choose
from pages.shared.comparison import PARTS, Groups, choose_groups, comparison
from pages.shared.comparison_view import centres, curves, differences, numbers, one_run_against_the_rest, sources
from pages.shared.frame import current_workspace, errors_in_words, page_title, plain
from pages.shared.run_picker import nothing_yet

workspace = current_workspace()


def show(groups: Groups, on: str) -> None:
    result = comparison(workspace, groups, on)
    st.markdown(f"### {plain(result['answer'])}")
    if result["warnings"]:
        listed = "\n".join(f"- {plain(warning)}" for warning in result["warnings"])
        st.warning(listed, title="Before you trust it", icon=":material/warning:")
    numbers(result)
    differences(result)
    curves(groups, result)
    centres(result)
    one_run_against_the_rest(result)
    sources(result)


page_title("Compare", "Is the difference real, or chance?")
cards = list_cards(workspace)
if not cards:
    nothing_yet(
        "There is no run yet; the seeds of one experiment, or two experiments, are compared here.", "pages/train.py", "Train"
    )
else:
    with errors_in_words():
        groups = choose_groups(cards)
        on = choose("Films", PARTS, "compare_on")
        if any(groups.values()):
            show(groups, on)
        else:
            st.info("Choose one experiment to see how much its seeds differ, or two to compare them.", icon=":material/info:")
