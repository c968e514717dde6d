"""The figure of one film's probabilities."""

from __future__ import annotations

from mammo_core.report.charts_prediction import probability_chart, probability_finding
from mammo_core.report.figures import export

MEAN = {"Normal": 0.2, "it's [odd].": 0.8}
RUNS = {"x/seed_1": {"Normal": 0.3, "it's [odd].": 0.7}, "x/seed_2": {"Normal": 0.1, "it's [odd].": 0.9}}


def test_the_finding_tells_the_mean_and_how_far_the_runs_are_apart() -> None:
    assert probability_finding(MEAN, RUNS) == (
        "Mean probabilities over 2 runs: Normal 0.20, it's [odd]. 0.80. "
        "Between the runs: Normal 0.10 to 0.30, it's [odd]. 0.70 to 0.90."
    )


def test_one_run_has_no_dots() -> None:
    one = probability_chart(MEAN, {"x/seed_1": MEAN}).to_dict()
    several = probability_chart(MEAN, RUNS).to_dict()
    assert len(one["layer"]) + 1 == len(several["layer"])


def test_it_can_be_exported_whatever_the_classes_are_called() -> None:
    assert export(probability_chart(MEAN, RUNS), "svg").startswith(b"<svg")
