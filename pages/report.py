"""Report: choose runs, see what the pack will hold and how a figure will look, make it, take the zip."""

import dataclasses

import streamlit as st

from mammo_core.report.figures import FORMATS, FigureSize, Format, draw_figure
from mammo_core.runs.listing import RunCard, list_cards
from mammo_core.runs.queue import enqueue, list_requests
from mammo_core.runs.run_dir import find_run
from mammo_core.runs.schema import Request
from mammo_core.settings import open_workspace
from mammo_core.workflows.made_packs import PackOnDisk, list_packs, planned_content, planned_figures
from mammo_core.workflows.overview import plural
from pages.shared.figures import choose_size
from pages.shared.frame import ago, current_workspace, errors_in_words, page_title, plain, research_only, size_text
from pages.shared.job_progress import OPEN_STATES, follow_job
from pages.shared.run_files import Stamp, stamp
from pages.shared.run_picker import nothing_yet, pick_names

SHOWN_PACKS = 20
PREVIEW_PPI, SCREEN_PPI = 192, 96
"""A preview is drawn twice as sharp as a plain screen and shown in its true size where it fits."""
LIST_HEIGHT = 260

workspace = current_workspace()
Ids = tuple[str, ...]


def choose(cards: list[RunCard]) -> list[RunCard]:
    """Runs; at first the finished ones of the newest experiment."""
    finished = [card for card in cards if card.state == "finished"]
    newest = [card.id for card in finished if card.run.experiment == finished[0].run.experiment]
    by_id = {card.id: card for card in cards}
    return [by_id[name] for name in pick_names("Runs", list(by_id), "report_run", newest)]


def choose_formats() -> list[Format]:
    return st.pills(
        "Figures as", list(FORMATS), selection_mode="multi", default=list(FORMATS), format_func=str.upper,
        key="report_format", bind="query-params",
    )  # fmt: skip


def stamps(runs: list[RunCard]) -> tuple[Stamp, ...]:
    """What tells one state of the runs' files from the next."""
    paths = []
    for run in (card.run for card in runs):
        paths += [run.config_file, run.import_file, run.status_file, run.summary_file, run.history_file, run.best_model]
        paths += [path for on in ("val", "test") for path in (run.metrics_file(on), run.predictions_file(on))]
    return tuple(map(stamp, paths))


@st.cache_data(max_entries=32, show_spinner=False)
def _planned(home: str, ids: Ids, formats: tuple[Format, ...], version: tuple[Stamp, ...]) -> tuple[list[str], list[str]]:
    runs = [find_run(open_workspace(home), name) for name in ids]
    return planned_content(runs, formats), list(planned_figures(runs))


@st.cache_data(max_entries=32, show_spinner="Drawing ...")
def _preview(home: str, ids: Ids, title: str, size: FigureSize, version: tuple[Stamp, ...]) -> tuple[bytes, str]:
    figure = planned_figures([find_run(open_workspace(home), name) for name in ids])[title].prepare()
    return draw_figure(figure.build, ("png",), size, figure.note)["png"], figure.caption


def order_and_look(runs: list[RunCard]) -> None:
    """Left what to make and what it will hold, right one of its figures as it will be printed."""
    ids, version = tuple(card.id for card in runs), stamps(runs)
    left, right = st.columns(2)
    with left:
        formats, size = choose_formats(), choose_size("report")
        make(runs, formats, size)
        names, titles = _planned(str(workspace.home), ids, tuple(formats), version)
        st.markdown(f"**What the pack will hold: {plural(len(names), 'file')}**")
        st.code("\n".join(names), language=None, height=LIST_HEIGHT)
        st.caption("Made anew from the files of the runs. It holds no folder, user or machine name and no table of patients.")
    with right:
        title = st.selectbox("Figure to look at", titles, key="report_figure") if titles else None
        if title:
            with errors_in_words():
                shown = dataclasses.replace(size, ppi=PREVIEW_PPI)
                picture, caption = _preview(str(workspace.home), ids, title, shown, version)
                with st.container(border=True):
                    st.image(picture, width=round(size.width_mm / 25.4 * SCREEN_PPI))
                st.caption(plain(caption))  # below the box, in full: inside a box of fixed height it would be cut


def last_request() -> Request | None:
    mine = [request for request in list_requests(workspace) if request.kind == "report"]
    return max(mine, key=lambda request: request.created_at, default=None)


def make(runs: list[RunCard], formats: list[Format], size: FigureSize) -> None:
    """The button, how far the work is, and what could not be drawn."""
    request = last_request()
    if request is not None and request.state in OPEN_STATES:
        follow_job(request, "The report pack is being made. You can leave this page.")
        return
    if st.button("Make report pack", type="primary", icon=":material/summarize:", disabled=not (runs and formats)):
        arguments = {"runs": [card.id for card in runs], "formats": list(formats), "size": dataclasses.asdict(size)}
        enqueue(workspace, "report", arguments, f"Report pack of {plural(len(runs), 'run')}")
        st.rerun()
    if request is not None and request.state == "failed":
        st.error(plain(request.message), icon=":material/error:")
    problems = request.result.get("problems", []) if request is not None and request.state == "done" else []
    if problems:
        listed = "\n".join(f"- {plain(problem)}" for problem in problems)
        st.warning(listed, title="What the last pack lacks, and remarks", icon=":material/warning:")


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
    runs = choose(cards)
    if runs:
        with errors_in_words():
            order_and_look(runs)
    else:
        st.info("Choose one or more runs above.", icon=":material/info:")
    packs(list_packs(workspace))
