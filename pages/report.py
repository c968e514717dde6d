"""Report: choose runs, see what the pack will hold, make it, take the zip."""

import streamlit as st

from mammo_core.runs.listing import RunCard, list_cards
from mammo_core.runs.queue import enqueue, list_requests
from mammo_core.runs.schema import Request
from mammo_core.workflows.made_packs import PackOnDisk, list_packs, planned_content
from mammo_core.workflows.overview import plural
from pages.shared.frame import ago, current_workspace, page_title, plain, research_only, size_text
from pages.shared.job_progress import OPEN_STATES, follow_job
from pages.shared.run_picker import nothing_yet, pick_names

FORMATS = ["png", "svg", "pdf"]
SHOWN_PACKS = 20

workspace = current_workspace()


def choose(cards: list[RunCard]) -> tuple[list[RunCard], list[str]]:
    """Runs and formats; at first the finished runs of the newest experiment."""
    finished = [card for card in cards if card.state == "finished"]
    newest = [card.id for card in finished if card.run.experiment == finished[0].run.experiment]
    by_id = {card.id: card for card in cards}
    runs = [by_id[name] for name in pick_names("Runs", list(by_id), "report_run", newest)]
    formats = st.pills(
        "Figures as",
        FORMATS,
        selection_mode="multi",
        default=FORMATS,
        format_func=str.upper,
        key="report_format",
        bind="query-params",
    )
    return runs, formats


def content(runs: list[RunCard], formats: list[str]) -> None:
    names = planned_content([card.run for card in runs], formats)
    with st.expander(f"What the pack will hold: {plural(len(names), 'file')}", icon=":material/list:", expanded=True):
        st.code("\n".join(names), language=None, height=220)
        st.caption(
            "All drawn anew from the files of the runs, with captions, the seed table, a model card for each run, and a zip."
        )


def last_request() -> Request | None:
    mine = [request for request in list_requests(workspace) if request.kind == "report"]
    return max(mine, key=lambda request: request.created_at, default=None)


def make(runs: list[RunCard], formats: list[str]) -> None:
    """The button, how far the work is, and what could not be drawn."""
    request = last_request()
    if request is not None and request.state in OPEN_STATES:
        follow_job(request, "The report pack is being made. You can leave this page.")
        return
    if st.button("Make report pack", type="primary", icon=":material/summarize:", disabled=not (runs and formats)):
        arguments = {"runs": [card.id for card in runs], "formats": formats}
        enqueue(workspace, "report", arguments, f"Report pack of {plural(len(runs), 'run')}")
        st.rerun()
    if request is not None and request.state == "failed":
        st.error(plain(request.message), icon=":material/error:")
    problems = request.result.get("problems", []) if request is not None and request.state == "done" else []
    if problems:
        listed = "\n".join(f"- {plain(problem)}" for problem in problems)
        st.warning(listed, title="What the last pack lacks", icon=":material/warning:")


def packs(found: list[PackOnDisk]) -> None:
    st.subheader("Packs")
    if not found:
        st.caption("None has been made yet.")
    for pack in found[:SHOWN_PACKS]:
        with st.container(horizontal=True, vertical_alignment="center", border=True):
            st.markdown(
                f":material/folder_zip: **{plain(pack.name)}** · {plural(len(pack.files), 'file')}, {size_text(pack.size)} · "
                f"{ago(pack.made_at)}",
                width="stretch",
            )
            with st.popover("Content"):
                st.code("\n".join(pack.files), language=None)
            st.download_button(
                "Download zip", pack.zip_path.read_bytes, file_name=f"report_pack_{pack.name}.zip", mime="application/zip",
                key=f"report_zip_{pack.name}", icon=":material/download:", on_click="ignore",
            )  # fmt: skip


page_title("Report", "Which figures and tables go into the paper?")
research_only()
cards = list_cards(workspace)
if not any(card.state == "finished" for card in cards):
    nothing_yet(
        "No training has finished yet; figures, tables and model cards are made from finished runs.",
        "pages/train.py",
        "Start a training",
    )
else:
    runs, formats = choose(cards)
    content(runs, formats)
    make(runs, formats)
    packs(list_packs(workspace))
