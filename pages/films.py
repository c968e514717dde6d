"""Films: what do I have, and can I trust it?"""

import streamlit as st

from mammo_core.data.manifest import list_datasets
from mammo_core.runs.queue import find_request, list_requests
from mammo_core.runs.schema import Request
from pages.shared.dataset_view import broken_datasets, show_dataset
from pages.shared.frame import current_workspace, errors_in_words, page_title, plain
from pages.shared.import_form import import_form
from pages.shared.job_progress import OPEN_STATES, follow_job
from pages.shared.run_picker import pick_one

workspace = current_workspace()
datasets, problems = list_datasets(workspace)
by_name = {dataset.name: dataset for dataset in datasets}


def running_import() -> Request | None:
    """The import that is at work, whoever asked for it."""
    requests = [request for request in list_requests(workspace) if request.kind in ("import", "demo", "fetch")]
    return next((request for request in requests if request.state in OPEN_STATES), None)


def tell_how_it_ended() -> None:
    """Once, after the import that this session started: select the new data set, or say what went wrong."""
    asked = st.session_state.get("films_job")
    request = find_request(workspace, asked) if asked else None
    if request is None or request.state in OPEN_STATES:
        return
    del st.session_state["films_job"]
    made = request.result.get("dataset")
    if request.state == "done" and request.kind == "fetch":
        st.session_state.update({"films_source": request.result["folder"], "films_importing": True})
        st.toast("The set is here. Look at what was understood, then import it.", icon=":material/check_circle:")
    elif request.state == "done" and made in by_name:
        st.session_state.update({"films_data": made, "films_importing": False})
        st.toast(f"{plain(str(made))} is imported.", icon=":material/check_circle:")
    elif request.state == "failed":
        st.session_state["films_failure"] = request.message


def draw_import() -> None:
    if datasets and st.button("Back to the data sets", icon=":material/arrow_back:"):
        st.session_state["films_importing"] = False
        st.rerun()
    failure = st.session_state.get("films_failure")
    if failure:
        st.error(f"It could not be finished: {plain(failure)}", icon=":material/error:")
    with st.container(border=True), errors_in_words():
        asked = import_form(workspace)
        if asked:
            st.session_state.pop("films_failure", None)
            st.session_state["films_job"] = asked
            st.rerun()


def draw_datasets() -> None:
    left, right = st.columns([3, 1], vertical_alignment="bottom")
    with left:
        chosen = pick_one("Data set", list(by_name), "films_data")
    if right.button("Import films", icon=":material/add:", width="stretch"):
        st.session_state["films_importing"] = True
        st.rerun()
    if chosen is None:
        return
    with errors_in_words():
        show_dataset(workspace, by_name[chosen])
    if st.button("Split these films", type="primary", icon=":material/call_split:"):
        st.switch_page("pages/splits.py", query_params={"splits_data": chosen})


page_title("Films", "What do I have, and can I trust it?")
broken_datasets(problems)
tell_how_it_ended()
work = running_import()
if work is not None:
    follow_job(work, f"{plain(work.title)}. You can leave this page.")
elif st.session_state.get("films_importing") or not datasets:
    if not datasets:
        st.info("No films yet. Name the folder that holds them, or try the demo films on the Home page.", icon=":material/info:")
    draw_import()
if datasets and not st.session_state.get("films_importing"):
    draw_datasets()
