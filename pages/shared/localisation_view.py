"""Grad-CAM, view Localisation: do the maps point at the lesions? Made by a job, shown from its record."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from mammo_core.data.manifest import PATHS_FILE
from mammo_core.errors import MammoError
from mammo_core.report.charts_maps import localisation_chart
from mammo_core.report.map_tables import (
    MEASURE_MEANINGS,
    MEASURES,
    UNITS,
    gain_rows,
    localisation_numbers,
    localised_rows,
    score_rows,
    size_rows,
)
from mammo_core.report.spec import Chart
from mammo_core.runs.map_checks import LocalisationRecord
from mammo_core.runs.run_dir import RunDir
from mammo_core.settings import Workspace, open_workspace
from mammo_core.workflows.map_records import (
    NO_LESIONS,
    dataset_of,
    films_with_outline,
    localisation_file,
    localisation_seconds,
    part_title,
)
from mammo_core.workflows.overview import plural
from pages.shared.choice import choose
from pages.shared.figures import download_figure, download_table, show_chart
from pages.shared.frame import duration, plain
from pages.shared.glossary import explain
from pages.shared.map_checks import (
    Asked,
    choose_method,
    follow,
    is_under_way,
    note_if_outdated,
    record_at,
    show_failures,
)
from pages.shared.run_files import Stamp, stamp

PLOT_WIDTH = 330
LIST_HEIGHT = 320
ORDERS = {"worst": "Worst first", "best": "Best first"}


def show_localisation(workspace: Workspace, run: RunDir, on: str) -> None:
    """The measurement that there is, and the button that makes one."""
    if run.config().task == NO_LESIONS:
        st.info(
            "This run judges breast density. Lesion outlines say nothing about where such a score should come from, so its maps "
            "are not measured against them; the sanity check is there for every run.",
            icon=":material/info:",
        )
        return
    try:
        outlined, films, problem = *_outlined(workspace, run, on), ""
    except MammoError as error:
        outlined, films, problem = 0, 0, str(error)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        asked = Asked(workspace, run, on, choose_method(run), "localisation")
        unable = not outlined or is_under_way(asked)
        if st.button("Measure the maps", type="primary", icon=":material/my_location:", disabled=unable):
            asked.enqueue("Localisation", {})
            st.rerun()
    if problem:
        st.error(plain(problem), icon=":material/error:")
    follow(asked, "The maps are being measured.")
    record = record_at(localisation_file(workspace, run, on, asked.method), LocalisationRecord)
    if record is not None:
        note_if_outdated(record, run)
        _show(record)
    elif not problem:
        st.info(_nothing_yet(run, on, outlined, films), icon=":material/info:")


def _outlined(workspace: Workspace, run: RunDir, on: str) -> tuple[int, int]:
    """``films_with_outline``, counted again only when the predictions or the data set's table changed."""
    table = dataset_of(workspace, run, on).directory / PATHS_FILE
    return _counted(str(workspace.home), str(run.path), on, (stamp(run.predictions_file(on)), stamp(table)))


@st.cache_data(max_entries=32, show_spinner=False)
def _counted(home: str, run: str, on: str, version: tuple[Stamp, ...]) -> tuple[int, int]:
    return films_with_outline(open_workspace(home), RunDir(Path(run)), on)


def _nothing_yet(run: RunDir, on: str, outlined: int, films: int) -> str:
    """What the check is, or why it cannot be made here."""
    if not films:
        return f"There are no predictions on the {part_title(on).lower()} yet: evaluate the run there first."
    if not outlined:
        return (
            f"None of these {films} films has a lesion outline, so there is nothing to measure maps against. Import the data set "
            "with a column that names a mask file for each film with a lesion."
        )
    seconds = duration(localisation_seconds(outlined, run.config().image_size))
    return (
        f"Localisation measures whether the maps point at the lesions: {plural(outlined, 'film')} of {films} here have a lesion "
        f"outline, and the map of each is compared with it, beside maps that need no model. It takes {seconds} or more on two "
        "processor cores."
    )


# ---- what was found ----------------------------------------------------------------------------------------------------------


def _show(record: LocalisationRecord) -> None:
    lead, *rest = record.words
    st.markdown(f"**{plain(lead)}**")
    for sentence in rest:
        st.markdown(plain(sentence))
    stem = f"{record.run}_{record.on}_{record.method}_localisation".replace("/", "_")
    _numbers(record, stem)
    _by_size(record, stem)
    show_failures(record.failures, "with an outline could not be measured and is missing from the numbers.")
    _films(record, stem)
    st.caption(plain(f"{record.disclaimer}."))


def _numbers(record: LocalisationRecord, stem: str) -> None:
    st.subheader("Beside maps that need no model", help=explain("baseline map"))
    st.dataframe(score_rows(record), hide_index=True, alt="Each measure of the map and of maps that need no model")
    st.markdown("**By how much the map is better** (percentage points on the same films)")
    st.dataframe(gain_rows(record), hide_index=True, alt="By how much the map is better than maps that need no model")
    films = f"{plural(record.n, 'film')} of {plural(record.patients, 'patient')}"
    st.caption(
        f"Means over {films} with 95 % intervals where at least 10 patients carry them; 100 % is best in every row. Better only "
        "where the whole interval is above 0.",
        help=explain("interval"),
    )
    with st.expander("What the measures mean"):
        st.markdown("\n".join(f"- **{title}**: {MEASURE_MEANINGS[name]}" for name, title in MEASURES.items()))
    download_table(localisation_numbers(record), stem, "localisation_numbers", "All numbers (CSV)")


def _by_size(record: LocalisationRecord, stem: str) -> None:
    st.subheader("By size of the lesion", help=explain("lesion size"))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        measure = st.selectbox(
            "Measure",
            list(MEASURES),
            format_func=MEASURES.__getitem__,
            key="localisation_measure",
            bind="query-params",
            width=260,
        )
    st.caption(MEASURE_MEANINGS[measure])

    def build(width: int) -> Chart:
        return localisation_chart(record, measure, width)

    show_chart(build(PLOT_WIDTH), "localisation_chart")
    table = size_rows(record, measure)
    note = f"Run {record.run}; {part_title(record.on).lower()}; n = {record.n} films of {record.patients} patients"
    download_figure(build, f"{stem}_{measure}", table, note, "localisation_figure")
    st.dataframe(table, hide_index=True, alt=f"{MEASURES[measure]} by size of the lesion")
    if not record.sizes.groups:
        st.caption("There are too few films to part them by the size of the lesion.")


def _films(record: LocalisationRecord, stem: str) -> None:
    st.subheader("The films")
    order = choose("Order", ORDERS, "localisation_order")
    rows = localised_rows(record, order == "best")
    area = f"Lesion ({UNITS[record.sizes.unit]})"
    titles = ["Film", "Class", area, "Points at it", "Share inside", "Overlap, equal areas"]
    share = st.column_config.ProgressColumn(format="percent", min_value=0, max_value=1)
    chosen = st.dataframe(
        rows.set_axis(titles, axis=1),
        hide_index=True,
        height=LIST_HEIGHT,
        column_config={titles[4]: share, titles[5]: share, area: st.column_config.NumberColumn(format="%.0f")},
        on_select="rerun",
        selection_mode="single-row",
        key=f"localisation_films_{order}",
        alt=f"{len(rows)} films, {ORDERS[order].lower()}, with where their map points",
    )
    picked = [row for row in chosen.selection.rows if row < len(rows)]
    with st.container(horizontal=True, vertical_alignment="center"):
        if picked:
            film = rows.iloc[picked[0]]
            st.button(
                f"Open {film['image_id']}",
                icon=":material/center_focus_strong:",
                on_click=open_film,
                args=(film["image_id"], film["class_name"], record.method),
            )
        else:
            st.caption("Select a film to open it with its map.", width="content")
        download_table(rows.set_axis(titles, axis=1), f"{stem}_films", "localisation_films_table")


def open_film(image_id: str, class_name: str, method: str) -> None:
    """Show a film in "One film" with the map that was measured: of its true class, by the same method."""
    st.session_state["gradcam_view"] = "One film"
    st.session_state["map_method"] = method
    st.query_params.pop("gradcam_called", None)  # a filter could hide the film
    st.query_params["gradcam_film"] = image_id
    st.query_params["gradcam_class"] = class_name
