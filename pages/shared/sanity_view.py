"""Grad-CAM, view Sanity check: can the maps be believed? Three tests, made by a job and shown from its record."""

from __future__ import annotations

import streamlit as st

from mammo_core.report.charts_maps import cascade_chart, repeatability_chart, road_chart
from mammo_core.report.map_tables import (
    TEST_MEANINGS,
    TEST_NAMES,
    TEST_QUESTIONS,
    road_rows,
    sanity_numbers,
    two_digits,
    verdict_of,
)
from mammo_core.report.spec import Chart
from mammo_core.runs.map_checks import Outcome, SanityRecord, Test
from mammo_core.runs.run_dir import RunDir
from mammo_core.settings import Workspace
from mammo_core.workflows.map_records import part_title, sanity_file, sanity_seconds
from mammo_core.workflows.overview import plural
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

PLOT_WIDTH = 330
ICONS: dict[Outcome, str] = {
    "passed": ":material/check_circle:",
    "failed": ":material/cancel:",
    "not decided": ":material/help:",
    "not tested": ":material/remove_circle:",
}
FILMS, ROAD_FILMS = (2, 50, 30), (0, 500, 50)
"""Least, most and first choice."""


def show_sanity(workspace: Workspace, run: RunDir, on: str) -> None:
    """The check that there is, and the button that makes one."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        asked = Asked(workspace, run, on, choose_method(run), "sanity")
        films = st.number_input("Films", *FILMS, key="sanity_films", width=120, help=explain("sanity films"))
        road = st.number_input("Films for faithfulness", *ROAD_FILMS, key="sanity_road", width=170, help=explain("road films"))
        has_predictions = run.predictions_file(on).exists()
        if st.button(
            "Check the maps",
            type="primary",
            icon=":material/fact_check:",
            disabled=not has_predictions or is_under_way(asked),
        ):
            asked.enqueue("Sanity check", {"films": int(films), "road_films": int(road), "seed": 0})
            st.rerun()
    seconds = duration(sanity_seconds(int(films), int(road), run.config().image_size))
    if not has_predictions:
        st.info(
            f"There are no predictions on the {part_title(on).lower()} yet: evaluate the run there first.", icon=":material/info:"
        )
        return
    follow(asked, "The maps are being checked.")
    record = record_at(sanity_file(workspace, run, on, asked.method), SanityRecord)
    if record is None:
        st.info(
            "The sanity check asks whether maps of this run mean anything at all: whether they depend on what the model has "
            f"learnt, come out alike with another seed, and mark what matters to the score. It takes {seconds} or more on two "
            "processor cores, most of it for faithfulness.",
            icon=":material/info:",
        )
        return
    note_if_outdated(record, run)
    _show(record)


# ---- what was found ----------------------------------------------------------------------------------------------------------


def _show(record: SanityRecord) -> None:
    stem = f"{record.run}_{record.on}_{record.plan.get('method', '')}_sanity".replace("/", "_")
    st.markdown(f"**{plain(verdict_of(record))}**")
    for name, draw in (("randomisation", _randomisation), ("repeatability", _repeatability), ("faithfulness", _faithfulness)):
        test = record.tests[name]
        with st.container(border=True):
            st.subheader(f"{ICONS[test.outcome]} {TEST_NAMES[name]}: {test.outcome}", help=explain(name))
            st.markdown(f"**{TEST_QUESTIONS[name]}** {TEST_MEANINGS[name]}")
            st.markdown(plain(test.words))
            if test.n is not None:
                draw(record, test, stem)
    show_failures(record.failures, "could not be read and is missing from the tests.")
    for item in record.unusable_runs:
        st.caption(plain(f"Left out of repeatability: {item.get('run', '')}: {item.get('error', '')}"))
    download_table(sanity_numbers(record), stem, "sanity_numbers", "All numbers (CSV)")
    st.caption(plain(f"{record.disclaimer}."))


def _randomisation(record: SanityRecord, test: Test, stem: str) -> None:
    def build(width: int) -> Chart:
        return cascade_chart(test, width)

    show_chart(build(PLOT_WIDTH), "sanity_cascade")
    st.caption(
        "From top to bottom, from the answer to the film, one part of the model more is made random. The grey band is how alike "
        "maps of different films are: points left of it mean that the map is lost, as it should be. "
        f"n = {plural(test.n or 0, 'film')} of {plural(test.patients or 0, 'patient')}; lines are 95 % intervals.",
        help=explain("ssim"),
    )
    _empty_and_left_out(test)
    download_figure(build, f"{stem}_randomisation", sanity_numbers(record), _note(record), "sanity_cascade_file")


def _repeatability(record: SanityRecord, test: Test, stem: str) -> None:
    def build(width: int) -> Chart:
        return repeatability_chart(test, width)

    show_chart(build(PLOT_WIDTH), "sanity_repeatability")
    st.caption(
        f"Runs compared: {plain(', '.join(test.runs))}. Agreement of the order of the cells (rank correlation): "
        f"{two_digits(test.spearman)}. n = {plural(test.n or 0, 'film')} of {plural(test.patients or 0, 'patient')}.",
        help=explain("rank correlation"),
    )
    _empty_and_left_out(test)
    download_figure(build, f"{stem}_repeatability", sanity_numbers(record), _note(record), "sanity_repeatability_file")


def _faithfulness(record: SanityRecord, test: Test, stem: str) -> None:
    def build(width: int) -> Chart:
        return road_chart(test, record.titles.maps, width)

    show_chart(build(PLOT_WIDTH), "sanity_road_chart")
    st.dataframe(road_rows(record), hide_index=True, alt="ROAD score of the map and of maps that need no model")
    st.caption(
        f"n = {plural(test.n or 0, 'film')} of {plural(test.patients or 0, 'patient')}. The map is better than another only "
        "where the whole interval of the difference is above 0.",
        help=explain("road"),
    )
    _empty_and_left_out(test)
    download_figure(build, f"{stem}_faithfulness", road_rows(record), _note(record), "sanity_road_file")


def _empty_and_left_out(test: Test) -> None:
    if test.left_out:
        st.caption(f"{plural(test.left_out, 'film')} left out: the map shows nothing there.")


def _note(record: SanityRecord) -> str:
    plan = record.plan
    return f"Run {record.run}; {part_title(record.on).lower()}; {record.titles.maps.get('map', '')}; seed {plan.get('seed', 0)}"
