"""From a path to its verdict: run directories as this app writes them, running, damaged, and files with several models."""

from __future__ import annotations

import json
import math

from mammo_core.analysis.diagnosis import context_of_run
from mammo_core.config import TrainConfig
from mammo_core.runs.run_dir import RunDir
from mammo_core.runs.schema import EpochRecord, Status
from mammo_core.storage import write_json, write_yaml
from mammo_core.workflows.diagnose import diagnose_path, diagnose_run, is_run

KEYS = {"path", "verdict", "confidence", "best_epoch", "best_row", "phases", "findings", "error"}


def own_run(tmp_path, epochs=20, state="finished", **config):
    run = RunDir(tmp_path / "experiment" / "seed_42")
    run.path.mkdir(parents=True)
    settings = TrainConfig(class_names=("A", "B", "C", "D"), experiment="experiment", epochs=20, warmup_epochs=2, **config)
    write_yaml(run.config_file, settings.to_dict())
    counts = {name: {"films": films, "patients": films // 4} for name, films in zip("ABCD", (40, 200, 400, 160), strict=True)}
    write_json(run.split_record, {"counts": {"val": {"films": 800}}, "class_counts": {"val": counts}})
    write_json(run.status_file, Status(state=state, epoch=epochs, epochs=20, heartbeat_at=4e9).to_json())
    records = []
    for e in range(1, epochs + 1):
        rate = 3e-4 * e / 2 if e <= 2 else 3e-4 * 0.5 * (1 + math.cos(math.pi * (e - 2) / 18))
        fall = math.exp(-(e - 1) / 3)
        record = EpochRecord(
            epoch=e,
            train_loss=0.6 + 0.8 * fall,
            val_loss=0.6 + 0.7 * fall,
            train_acc=0.74 - 0.3 * fall,
            val_acc=0.7 - 0.3 * fall,
            lr=rate,
        )
        records.append(record.to_json())
    write_json(run.history_file, records)
    return run


def test_the_context_of_a_run_comes_from_its_config_and_split(tmp_path):
    context = context_of_run(own_run(tmp_path))
    assert context.own_run and context.finished
    assert (context.k, context.n, context.max_epochs, context.patience) == (4, 800, 20, 7)
    assert context.val_counts["C"] == 400
    assert context.comparable is False  # class weights are on unless they are switched off


def test_plain_losses_are_comparable(tmp_path):
    assert context_of_run(own_run(tmp_path, class_weights="none")).comparable is True


def test_an_own_run_is_judged_with_the_promised_keys(tmp_path):
    run = own_run(tmp_path)
    element = diagnose_path(run.path)
    assert element.keys() >= KEYS
    assert (element["verdict"], element["error"], element["best_row"], element["best_epoch"]) == ("HEALTHY", None, 20, 20)
    assert not [finding for finding in element["findings"] if finding["id"].startswith("LR_")]
    assert diagnose_run(run).to_json()["verdict"] == "HEALTHY"
    json.dumps(element, allow_nan=False)


def test_a_running_run_is_marked_provisional(tmp_path):
    element = diagnose_path(own_run(tmp_path, epochs=4, state="running").path)
    assert element["provisional"] is True
    assert element["headline"].startswith("So far:")


def test_a_run_without_an_epoch_and_a_damaged_history_are_told_in_words(tmp_path):
    run = own_run(tmp_path, epochs=0)
    assert "no finished epoch yet" in diagnose_path(run.path)["error"]
    run.history_file.write_text("[{]")
    element = diagnose_path(run.path)
    assert element["verdict"] is None and "not readable as JSON" in element["error"]
    assert str(tmp_path) not in element["error"]


def test_a_damaged_split_record_only_means_that_less_is_known(tmp_path):
    run = own_run(tmp_path)
    run.split_record.write_text("{")
    assert context_of_run(run).n is None
    assert diagnose_path(run.path)["verdict"] == "HEALTHY"


def test_a_results_folder_with_a_foreign_config_is_no_run_of_this_app(tmp_path):
    (tmp_path / "config.yaml").write_text("lr: 0.001\nepochs: 5\n")
    (tmp_path / "train_history.json").write_text(
        json.dumps([{"epoch": e, "train_loss": 2 - e / 5, "val_loss": 2 - e / 6} for e in range(6)])
    )
    assert not is_run(tmp_path)
    assert diagnose_path(tmp_path)["verdict"] == "TOO_FEW_EPOCHS"


def test_a_file_with_several_models_names_the_verdict_of_each(tmp_path):
    rows = ["model,epoch,train_loss,val_loss"]
    for e in range(20):
        rows.append(f"good,{e},{0.4 + math.exp(-e / 3)},{0.5 + math.exp(-e / 3)}")
    for e in range(20):
        rows.append(f"bad,{e},{1.2 * 0.8**e},{0.6 + math.exp(-e) + 0.06 * max(0, e - 4)}")
    path = tmp_path / "all.csv"
    path.write_text("\n".join(rows))
    element = diagnose_path(path)
    assert element["label"] == "good"
    assert [(entry["label"], entry["verdict"]) for entry in element["histories"]] == [
        ("good", "HEALTHY"),
        ("bad", "OVERFIT_SEVERE"),
    ]
