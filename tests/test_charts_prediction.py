"""The figure of one film's probabilities."""

from __future__ import annotations

import json

from mammo_core.report.charts_prediction import probability_chart, probability_finding
from mammo_core.report.figures import export

MEAN = {"Normal": 0.2, "it's [odd].": 0.8}
RUNS = {"x/seed_1": {"Normal": 0.3, "it's [odd].": 0.7}, "x/seed_2": {"Normal": 0.1, "it's [odd].": 0.9}}


def test_the_finding_tells_the_mean_and_how_far_the_runs_are_apart() -> None:
    assert probability_finding(MEAN, RUNS) == (
        "Mean scores over 2 runs: Normal 0.20, it's [odd]. 0.80. Between the runs: Normal 0.10 to 0.30, it's [odd]. 0.70 to 0.90."
    )
    assert probability_finding({"A": 0.999, "B": 0.001}, {"x": {"A": 0.999, "B": 0.001}}) == "Scores: A > 0.99, B < 0.01."


def test_runs_that_are_shown_before_the_scaling_of_their_mean_are_said_to_be() -> None:
    scaled = {"Normal": 0.3, "it's [odd].": 0.7}
    assert "Between the runs, before temperature scaling: Normal 0.10 to 0.30" in probability_finding(scaled, RUNS)


def test_the_axis_and_the_dots_tell_of_scores_and_not_of_probabilities() -> None:
    text = json.dumps(probability_chart(MEAN, RUNS).to_dict())
    assert '"title": "Score"' in text
    assert "robabilit" not in text


def test_one_run_has_no_dots() -> None:
    one = probability_chart(MEAN, {"x/seed_1": MEAN}).to_dict()
    several = probability_chart(MEAN, RUNS).to_dict()
    assert len(one["layer"]) + 1 == len(several["layer"])


def test_it_can_be_exported_whatever_the_classes_are_called() -> None:
    assert export(probability_chart(MEAN, RUNS), "svg").startswith(b"<svg")
