"""Evaluate: validation results at once, test results only when they are asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from make_runs import DENSITY, LESION, write_experiment, write_run
from mammo_core.data.manifest import DatasetRecord
from mammo_core.runs.queue import list_requests, update
from mammo_core.runs.run_dir import RunDir
from mammo_core.settings import Workspace
from mammo_core.storage import write_json, write_table

OpenPage = Callable[..., AppTest]
Read = Callable[[AppTest], str]
OPTIONS = {"epochs": 3, "replicates": 10}
TEST = {"evaluate_on": "Test films"}


def test_without_a_finished_run_it_leads_to_training(open_page: OpenPage, read: Read, workspace: Workspace) -> None:
    write_run(workspace.experiments / "density" / "seed_42", state="stopped", **OPTIONS)
    app = open_page("evaluate")
    assert not app.exception
    assert "No training has finished yet" in read(app)


def test_one_run_shows_its_own_metrics_with_intervals(open_page: OpenPage, read: Read, workspace: Workspace) -> None:
    run = write_run(workspace.experiments / "density" / "seed_42", **OPTIONS)
    app = open_page("evaluate")
    assert not app.exception
    metrics = run.metrics("val")
    assert app.selectbox(key="evaluate_model").value == run.id
    assert f"on {metrics.n} validation films of {metrics.patients} patients" in read(app)
    assert f"{metrics.metrics['kappa_quadratic'].value:.3f}" in read(app)
    classes = next(table.value for table in app.dataframe if "Sensitivity" in table.value.columns)
    assert classes["Class"].tolist() == list("ABCD")
    assert len(app.get("vega_lite_chart")) == 1, "the confusion matrix; other views are not computed"


def test_class_names_in_the_names_of_metrics_stay_words(
    open_page: OpenPage, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("A", "B", "![C](http://evil.example/c.png)", "D")
    monkeypatch.setattr("make_runs.DENSITY", names)  # their order then has a meaning
    write_run(workspace.experiments / "density" / "seed_42", class_names=names, **OPTIONS)
    app = open_page("evaluate")
    assert not app.exception
    (label,) = [metric.label for metric in app.metric if "evil" in metric.label]
    assert label.startswith("AUC, \\!\\[C\\]\\(")


def test_seeds_together_are_judged_by_their_mean_probabilities(open_page: OpenPage, read: Read, workspace: Workspace) -> None:
    write_experiment(workspace.experiments / "lesion", seeds=(42, 43), class_names=LESION, **OPTIONS)
    app = open_page("evaluate", {"evaluate_model": "lesion"})
    assert not app.exception
    assert "Mean of the probabilities of 2 runs" in read(app)
    assert "AUC (macro, one-vs-rest)" in read(app).replace("\\", "")


def test_the_test_films_are_looked_at_only_on_request(open_page: OpenPage, read: Read, workspace: Workspace) -> None:
    run = write_run(workspace.experiments / "density" / "seed_42", **OPTIONS)
    app = open_page("evaluate", TEST)
    assert "Nobody has looked at the test films" in read(app)
    assert not list_requests(workspace)
    next(item for item in app.button if item.label == "Look at the test films").click().run()
    (request,) = list_requests(workspace)
    assert (request.kind, request.arguments) == ("evaluate", {"runs": [run.id], "on": "test"})
    assert "is being evaluated" in read(app).replace("\\", "")


def test_looks_at_the_test_films_are_counted_and_said(open_page: OpenPage, read: Read, workspace: Workspace) -> None:
    run = write_run(workspace.experiments / "density" / "seed_42", with_test=True, **OPTIONS)
    write_json(run.test_looks_file, [{"at": 1.0, "films": 24}, {"at": 2.0, "films": 24}])
    app = open_page("evaluate", TEST)
    assert not app.exception
    assert "test films looked at 2 times" in read(app)


def test_looks_that_nobody_counted_are_not_called_none(open_page: OpenPage, read: Read, workspace: Workspace) -> None:
    write_run(workspace.experiments / "density" / "seed_42", with_test=True, **OPTIONS)
    app = open_page("evaluate", TEST)
    assert not app.exception
    assert "looks at the test films not recorded" in read(app)
    assert "0 times" not in read(app)


def test_a_link_to_a_run_without_results_says_so_and_opens_no_other(
    open_page: OpenPage, read: Read, workspace: Workspace
) -> None:
    write_run(workspace.experiments / "density" / "seed_42", **OPTIONS)
    write_run(workspace.experiments / "other" / "seed_1", state="stopped", epochs=6, epochs_run=3, replicates=10)
    for asked, said in (
        ("other/seed_1", "has no results yet (stopped at epoch 3 of 6)"),
        ("other", "none of its runs has finished"),
        ("gone/seed_9", "There is no model named gone/seed_9"),
    ):
        app = open_page("evaluate", {"evaluate_model": asked})
        assert not app.exception
        assert app.selectbox(key="evaluate_model").value == asked
        assert any(said in warning.value.replace("\\", "") for warning in app.warning)
        assert "Kappa" not in read(app)
        app.selectbox(key="evaluate_model").set_value("density/seed_42").run()
        assert "Kappa" in read(app)


def test_a_single_run_may_be_named_by_its_experiment(open_page: OpenPage, read: Read, workspace: Workspace) -> None:
    write_run(workspace.experiments / "a" / "seed_42", **OPTIONS)
    write_run(workspace.experiments / "density" / "seed_42", class_names=LESION, **OPTIONS)
    app = open_page("evaluate", {"evaluate_model": "a"})
    assert not app.exception
    assert app.selectbox(key="evaluate_model").value == "a"
    assert "one run" in read(app)


def test_an_evaluation_that_failed_says_why(open_page: OpenPage, workspace: Workspace) -> None:
    write_run(workspace.experiments / "density" / "seed_42", **OPTIONS)
    app = open_page("evaluate", TEST)
    next(item for item in app.button if item.label == "Look at the test films").click().run()
    (request,) = list_requests(workspace)
    update(workspace, request.id, state="failed", message="density/seed_42 has no test part.")
    app = open_page("evaluate", TEST)
    assert any("no test part" in error.value.replace("\\", "") for error in app.error)


def test_half_written_predictions_are_told_in_words(open_page: OpenPage, workspace: Workspace) -> None:
    run = write_run(workspace.experiments / "density" / "seed_42", **OPTIONS)
    run.predictions_file("val").write_text("image_id,patient_id\nf1")
    app = open_page("evaluate")
    assert not app.exception
    assert any("evaluate the run again" in error.value for error in app.error)


def test_metrics_that_are_gone_can_be_made_again(open_page: OpenPage, read: Read, workspace: Workspace) -> None:
    run = write_run(workspace.experiments / "density" / "seed_42", **OPTIONS)
    run.metrics_file("val").write_text('{"n": ')
    app = open_page("evaluate")
    assert not app.exception
    assert "Evaluate on the validation films" in read(app)


def test_seeds_of_different_splits_are_refused_in_words(open_page: OpenPage, workspace: Workspace) -> None:
    write_run(workspace.experiments / "density" / "seed_42", **OPTIONS)
    write_run(workspace.experiments / "density" / "seed_43", seed=43, split_seed=5, **OPTIONS)
    app = open_page("evaluate", {"evaluate_model": "density"})
    assert not app.exception
    assert any("expected the same films" in error.value for error in app.error)


# ---- views ----------------------------------------------------------------------------------------------------------------

VIEWS = ("Overview", "Ranking", "Calibration", "Threshold", "Subgroups", "Mistakes")
CHARTS = {"Overview": 1, "Ranking": 2, "Calibration": 1, "Threshold": 1, "Subgroups": 1, "Mistakes": 0}


def describe_films(workspace: Workspace, run: RunDir, **columns: Any) -> pd.DataFrame:
    """A data set that knows exam, side, view and age of the films of a run."""
    films = pd.concat([table for part in ("val", "test") if (table := run.predictions(part)) is not None], ignore_index=True)
    manifest = films[["image_id", "patient_id", "center"]].assign(
        exam_id="exam" + films["patient_id"],
        laterality=["L" if image.endswith("0") else "R" for image in films["image_id"]],
        view="CC",
        vendor="maker",
        label=films["y_true"],
        patient_age=[str(35 + index % 45) for index in range(len(films))],
        **columns,
    )
    folder, names = workspace.datasets / "phantoms", run.config().class_names
    folder.mkdir(parents=True)
    write_table(folder / "manifest.csv", manifest)
    record = DatasetRecord(
        name="phantoms", root="films", adapter="table", task="density", class_names=list(names), ordinal=run.config().ordinal
    )
    write_json(folder / "dataset.json", record.to_json())
    return manifest


@pytest.mark.parametrize("names", [DENSITY, LESION], ids=["density", "lesion"])
@pytest.mark.parametrize("view", VIEWS)
def test_every_view_draws_its_charts_on_test_films(
    open_page: OpenPage, workspace: Workspace, view: str, names: tuple[str, ...]
) -> None:
    write_run(workspace.experiments / "e" / "seed_42", with_test=True, class_names=names, patients=200, **OPTIONS)
    app = open_page("evaluate", TEST | {"evaluate_view": view})
    assert not app.exception
    assert not app.error
    assert len(app.get("vega_lite_chart")) == CHARTS[view]


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize(
    "spoil",
    [
        lambda table: table.head(1),
        lambda table: table.head(8),
        lambda table: table[table["y_true"] == "A"],
        lambda table: table[table["y_true"] != "D"],
        lambda table: table.assign(y_true=table["y_pred"]),
    ],
    ids=["one film", "eight films", "one class", "a class missing", "all right"],
)
def test_poor_predictions_are_shown_or_explained_in_every_view(
    open_page: OpenPage, workspace: Workspace, view: str, spoil: Callable[[pd.DataFrame], pd.DataFrame]
) -> None:
    run = write_run(workspace.experiments / "density" / "seed_42", with_test=True, **OPTIONS)
    table = run.predictions("test")
    write_table(run.predictions_file("test"), spoil(table))
    app = open_page("evaluate", TEST | {"evaluate_view": view})
    assert not app.exception
    assert not app.error


@pytest.mark.parametrize("view", VIEWS)
def test_predictions_that_are_no_numbers_are_told_in_words(open_page: OpenPage, workspace: Workspace, view: str) -> None:
    run = write_run(workspace.experiments / "density" / "seed_42", **OPTIONS)
    write_table(run.predictions_file("val"), run.predictions("val").assign(prob_A=float("nan")))
    app = open_page("evaluate", {"evaluate_view": view})
    assert not app.exception
    assert app.error or view == "Overview"


def test_patients_are_judged_by_the_mean_of_their_films(open_page: OpenPage, read: Read, workspace: Workspace) -> None:
    run = write_run(workspace.experiments / "density" / "seed_42", **OPTIONS)
    app = open_page("evaluate", {"evaluate_level": "Patient"})
    assert not app.exception
    patients = run.predictions("val")["patient_id"].nunique()
    assert f"on {patients} validation patients" in read(app)
    assert f"{patients} patients from {len(run.predictions('val'))} films" in read(app).replace("\\", "")


def test_without_its_data_set_films_and_patients_remain_and_it_is_said(
    open_page: OpenPage, read: Read, workspace: Workspace
) -> None:
    write_run(workspace.experiments / "density" / "seed_42", **OPTIONS)
    app = open_page("evaluate", {"evaluate_level": "Breast"})
    assert not app.exception
    assert "no results by breast or exam" in read(app)
    assert "validation films of" in read(app), "falls back to films"


def test_with_its_data_set_breasts_and_age_bands_are_there(open_page: OpenPage, read: Read, workspace: Workspace) -> None:
    run = write_run(workspace.experiments / "density" / "seed_42", patients=200, **OPTIONS)
    describe_films(workspace, run)
    app = open_page("evaluate", {"evaluate_level": "Breast", "evaluate_view": "Subgroups", "evaluate_by": "Patient age"})
    assert not app.exception
    assert "validation breasts of" in read(app)
    groups = next(table.value for table in app.dataframe if "Group" in table.value.columns)
    assert groups["Group"].tolist() == [
        "All", "below 40", "40 to below 50", "50 to below 60", "60 to below 70", "70 and above"
    ]  # fmt: skip
    assert "no p-values" in read(app)


def test_a_threshold_chosen_on_validation_films_is_applied_to_test_films(
    open_page: OpenPage, read: Read, workspace: Workspace
) -> None:
    run = write_run(workspace.experiments / "lesion" / "seed_42", with_test=True, class_names=LESION, patients=200, **OPTIONS)
    app = open_page("evaluate", TEST | {"evaluate_view": "Threshold", "evaluate_rule": "Specificity 90 %"})
    val, test = run.predictions("val"), run.predictions("test")
    scores, negative = val["prob_Malignant"].to_numpy(), (val["y_true"] != "Malignant").to_numpy()
    least = min(score for score in scores if (scores[negative] >= score).mean() <= 0.1)
    assert f"Threshold {least:.3f}" in read(app).replace("\\", "")
    called, truth = test["prob_Malignant"] >= least, test["y_true"] == "Malignant"
    sensitivity = next(metric.value for metric in app.metric if metric.label == "Sensitivity")
    assert sensitivity == f"{called[truth].mean():.3f}"


def test_predictive_values_follow_the_prevalence_that_is_typed(open_page: OpenPage, workspace: Workspace) -> None:
    write_run(workspace.experiments / "lesion" / "seed_42", with_test=True, class_names=LESION, patients=200, **OPTIONS)
    app = open_page("evaluate", TEST | {"evaluate_view": "Threshold"})

    def ppv() -> float:
        return float(next(metric.value for metric in app.metric if metric.label == "PPV"))

    before = ppv()
    app.number_input(key="evaluate_prevalence_malignant").set_value(0.6).run()
    assert not app.exception
    assert ppv() < before / 3


def test_the_threshold_can_be_moved_by_hand(open_page: OpenPage, workspace: Workspace) -> None:
    run = write_run(workspace.experiments / "density" / "seed_42", patients=200, **OPTIONS)
    app = open_page("evaluate", {"evaluate_view": "Threshold", "evaluate_rule": "By hand"})
    app.slider(key="evaluate_threshold").set_value(0.8).run()
    assert not app.exception
    table = run.predictions("val")
    dense = table["y_true"].isin(["C", "D"])
    called = table["prob_C"] + table["prob_D"] >= 0.8
    counts = next(table.value for table in app.dataframe if "Called positive" in table.value.columns)
    assert counts["Called positive"].tolist() == [(called & dense).sum(), (called & ~dense).sum()]


def test_the_surest_mistake_comes_first_with_a_link_to_its_map(open_page: OpenPage, read: Read, workspace: Workspace) -> None:
    run = write_run(workspace.experiments / "density" / "seed_42", patients=200, **OPTIONS)
    app = open_page("evaluate", {"evaluate_view": "Mistakes"})
    assert not app.exception
    table = run.predictions("val")
    wrong = table[table["y_true"] != table["y_pred"]]
    sure = wrong[[f"prob_{name}" for name in DENSITY]].max(axis=1).sort_values(ascending=False)
    first = next(caption.value for caption in app.caption if "for the call" in caption.value).replace("\\", "")
    assert first.startswith(wrong.loc[sure.index[0], "image_id"])
    assert f"{len(wrong)} films of {len(table)} called wrongly" in read(app)
    links = [element.proto for element in app.get("page_link")]
    assert any(f"gradcam_film={wrong.loc[sure.index[0], 'image_id']}" in str(link) for link in links)


def test_a_run_of_an_older_version_gets_the_newer_metrics_from_its_predictions(open_page: OpenPage, workspace: Workspace) -> None:
    run = write_run(workspace.experiments / "density" / "seed_42", **OPTIONS)
    content = run.metrics("val").to_json()
    content["metrics"] = {"accuracy": content["metrics"]["accuracy"], "kappa_quadratic": content["metrics"]["kappa_quadratic"]}
    write_json(run.metrics_file("val"), content)
    app = open_page("evaluate")
    assert not app.exception
    everything = next(table.value for table in app.dataframe if "Metric" in table.value.columns)
    assert "Kappa, upper half (0.5)" in everything["Metric"].tolist()
