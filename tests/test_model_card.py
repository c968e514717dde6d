"""The model card: what the files say, what they do not say, and nothing else."""

from __future__ import annotations

import pytest

from make_runs import write_experiment, write_run
from mammo_core.analysis.experiment_summary import summarise_experiment
from mammo_core.reading import read_json
from mammo_core.report.model_card import model_card, model_card_of
from mammo_core.report.run_facts import Known, RunFacts
from mammo_core.settings import RESEARCH_ONLY
from mammo_core.storage import sha256_of, write_json, write_yaml


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return write_experiment(tmp_path_factory.mktemp("experiments") / "e", seeds=(42, 43), replicates=50)


@pytest.fixture(scope="module")
def tested(tmp_path_factory):
    run = write_run(tmp_path_factory.mktemp("experiments") / "e" / "seed_42", with_test=True, patients=200, replicates=20)
    run.best_model.write_bytes(b"weights")
    write_json(run.test_looks_file, [{"at": 1.0, "films": 80}] * 2)
    return run


def test_the_model_card_holds_what_the_files_say(runs):
    run = runs[0]
    card = model_card(run)
    accuracy = run.summary().metrics["accuracy"]
    assert card.startswith(f"# Model card: e/seed_42\n\n**{RESEARCH_ONLY}**")
    assert f"| Accuracy | {accuracy.value:.3f} | {accuracy.ci_low:.3f} to {accuracy.ci_high:.3f} |" in card
    assert "patients shared: 0" in card
    assert "There is no result on untouched test films." in card
    assert str(run.path) not in card


def test_the_model_card_says_whether_films_are_synthetic(runs):
    assert "do not say whether the films are synthetic" in model_card(runs[0])
    assert "The films are synthetic" in model_card(runs[0], {"synthetic": True})
    assert "not marked as synthetic" in model_card(runs[0], {"synthetic": False})


def test_the_model_card_of_a_running_run_says_what_is_not_known(tmp_path):
    run = write_run(tmp_path / "e" / "seed_42", state="running", epochs_run=1, with_predictions=False)
    run.split_record.unlink()
    card = model_card(run)
    for words in ("State: running", "not finished", "No metrics yet", "not proven in the run's files"):
        assert words in card


def test_the_model_card_shows_the_spread_over_the_seeds_beside_it(runs):
    summary = summarise_experiment(runs)
    write_json(runs[0].path.parent / "seeds_summary.json", summary)
    assert "(n = 2, SD n-1)" in model_card(runs[0])
    (runs[0].path.parent / "seeds_summary.json").unlink()


def test_calibration_thresholds_centres_and_verdict_stand_in_it(tested):
    facts = RunFacts(tested, Known({"synthetic": False, "unreadable": 1}, 7, 3_412_344))
    card = model_card_of(facts)
    assert f"Temperature {facts.temperature.value:.2f}, fitted on {facts.temperature.films} validation films" in card
    assert "test films, after temperature scaling" in card
    for threshold in facts.thresholds:
        assert f"| {threshold.rule} | {threshold.text} | test |" in card
    for group in facts.centres["val"]:
        assert f"| {group.films} | {group.patients} |" in card
    assert f"Verdict: **{facts.diagnosis['verdict']}**" in card
    assert f"`{sha256_of(tested.best_model)}`" in card
    for words in (
        "3,412,344",
        "Preprocessing version 7",
        "Test films looked at 2 times.",
        "## How to cite",
        "unreadable films: 1",
    ):
        assert words in card


def test_synthetic_films_are_said_before_anything_else(tested):
    card = model_card(tested, {"synthetic": True})
    assert card.split("\n\n")[2].startswith("**The films are synthetic")


def test_thresholds_come_from_validation_films_only(tested):
    facts = RunFacts(tested)
    before = [threshold.value for threshold in facts.thresholds]
    table = tested.predictions("test")
    other = RunFacts(tested)
    other.__dict__["predictions"] = {"val": facts.predictions["val"], "test": table.iloc[: len(table) // 2]}
    assert [threshold.value for threshold in other.thresholds] == before


def test_a_history_of_another_tool_claims_nothing_about_its_model(tmp_path):
    run = write_run(tmp_path / "imported" / "r", with_predictions=False)
    write_yaml(run.config_file, {"task": "imported", "epochs": 5, "warmup_epochs": 0, "weights": "none"})
    card = model_card(run)
    assert "imported from another tool" in card
    for claim in ("efficientnet", "adamw", "crop to the breast", "lowest validation loss)"):
        assert claim not in card


def test_names_of_classes_and_centres_cannot_become_pictures_or_links(tmp_path):
    picture = "![A](http://evil.example/a.png)"
    run = write_run(tmp_path / "e" / "seed_42", class_names=(picture, "B", "<b>C</b>"), with_test=True, patients=60, replicates=5)
    split = read_json(run.split_record)
    write_json(run.split_record, split | {"warnings": [picture], "center_counts": {"val": {picture: 3}}, "scheme": picture})
    card = model_card(run)
    assert "evil.example/a.png" in card
    for alive, escaped in (("![", "\\!["), ("](", "\\](")):
        assert alive not in card.replace(escaped, "")
    assert "http://evil" not in card and "<b>" not in card
