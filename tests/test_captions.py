"""Captions: run ids, n, what SD means, and that nothing was smoothed."""

from __future__ import annotations

import pytest

from make_runs import write_run
from mammo_core.report.captions import comparison_caption, curves_caption, dots_caption, figure_caption, train_caption
from mammo_core.report.pack_figures import calibration_figure, confusion_figure, roc_figure
from mammo_core.report.run_facts import RunFacts
from mammo_core.runs.history import history_frame
from mammo_core.settings import RESEARCH_ONLY


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("experiments") / "e" / "seed_42", with_test=True, replicates=20)


def test_a_downloaded_caption_says_finding_source_smoothing_and_notice_once():
    text = figure_caption("Loss fell.", "Runs e/seed_1, n = 2")
    assert text == f"Loss fell. Runs e/seed_1, n = 2. Smoothing: none. {RESEARCH_ONLY}.\n"
    assert figure_caption("Loss fell.", "Run e; not smoothed").count("mooth") == 1


def test_the_training_caption_warns_of_reading_the_gap(run):
    text = train_caption(RunFacts(run), history_frame(run.history()))
    for words in (
        "e/seed_42",
        "seed 42",
        "n = 1 run, so no SD",
        "Smoothing: none.",
        "no measure of overfitting",
        "class-weighted",
    ):
        assert words in text


def test_captions_over_runs_state_n_and_the_sd(run):
    for text in (curves_caption("Validation loss", [run, run]), dots_caption([run, run])):
        assert "e/seed_42, e/seed_42" in text
        assert "SD (n-1): sample standard deviation over the runs, n = 2." in text


def test_a_comparison_caption_lists_every_run_with_its_n(run):
    assert "first: seed_42 (n = 1); second: seed_42, seed_42 (n = 2)" in comparison_caption(
        {"first": [run], "second": [run, run]}
    )


@pytest.mark.parametrize("draw", [confusion_figure, roc_figure, calibration_figure])
def test_captions_of_results_state_films_patients_and_whether_the_films_chose_the_epoch(run, draw):
    for on, words in (("val", "validation"), ("test", "test")):
        metrics = run.metrics(on)
        text = draw(RunFacts(run), on).caption
        assert f"{metrics.n} {words} films of {metrics.patients} patients" in text
        assert ("chosen on these films" in text) == (on == "val")


def test_the_numbers_behind_figures_name_no_film_and_no_patient(run):
    table = run.predictions("val")
    for draw in (confusion_figure, roc_figure, calibration_figure):
        data = draw(RunFacts(run), "val").data.to_csv()
        assert not any(name in data for column in ("image_id", "patient_id") for name in table[column])
