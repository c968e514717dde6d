"""Packs of runs that another tool trained: what its files say, and nothing that only this app's defaults say."""

from __future__ import annotations

import json
import re

import pandas as pd
import pytest

from make_runs import write_experiment
from mammo_core.report.pack_figures import train_figure_of
from mammo_core.report.pack_plan import endings, plan_pack
from mammo_core.report.pack_words import interval_words
from mammo_core.report.report_pack import PackOptions, write_pack
from mammo_core.report.run_facts import RunFacts
from mammo_core.runs.importers import import_history
from mammo_core.runs.schema import MetricValue
from mammo_core.settings import Workspace

INVENTED = ("seed 42", "seed42", "augmentation", "training films", "nats", "weights: none", "augment: none", "class-weighted")
WILSON = "95 % interval: Wilson, n = 6 patients and not 8 films"
BOOTSTRAP = "95 % interval: bootstrap of patients, 2000 replicates, BCa"
ROWS = [(0.9, 0.8, 0.5), (0.7, 0.6, 0.6), (0.5, 0.7, 0.7)]
LOG = "epoch,loss,val_loss,val_accuracy\n" + "".join(f"{e},{a},{b},{c}\n" for e, (a, b, c) in enumerate(ROWS))


@pytest.fixture
def imported(workspace: Workspace, tmp_path):
    """A Keras log that counts from 0 and says nothing else."""
    (tmp_path / "log.csv").write_text(LOG)
    return import_history(workspace, tmp_path / "log.csv", "keras")[0]


def texts(result) -> dict[str, str]:
    folder = result.zip.parent
    found = [path for path in result.files if path.suffix not in (".png", ".pdf")]
    return {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in found}


def test_no_file_of_an_imported_run_tells_what_its_files_do_not_say(imported, tmp_path):
    result = write_pack([imported], tmp_path / "out", PackOptions(("svg",)))
    told = texts(result)
    for name, text in told.items():
        for words in INVENTED:
            assert words not in text and words not in name, (name, words)
    caption = told["captions.md"]
    assert "seed not recorded" in caption
    assert "how many were planned: not recorded" in caption
    assert "of 3 planned" not in caption
    assert f"imported_train_{imported.name}.svg" in told
    assert "not recorded" in told["seed_table.md"]
    assert pd.read_csv(tmp_path / "out" / "seed_table.csv")["seed"].isna().all()
    assert "Seed: not recorded" in told[f"imported_model_card_{imported.name}.md"]


def test_the_bundle_of_an_imported_run_holds_its_import_record_and_no_config(imported, tmp_path):
    told = texts(write_pack([imported], tmp_path / "out", PackOptions(("svg",))))
    bundle = {name for name in told if name.startswith(f"reproduce/{imported.id}/")}
    assert bundle == {f"reproduce/{imported.id}/import.json"}
    record = json.loads(told[bundle.pop()])
    assert record["source"] == "Keras CSVLogger"
    assert record["known"]["seed"] is None
    assert "config.yaml" not in told["reproduce/hashes.csv"]
    assert "train --dataset" not in told["reproduce/README.md"]
    assert "imported from log.csv (Keras CSVLogger)" in told["reproduce/README.md"]


def test_what_the_other_tool_does_say_is_told(workspace, tmp_path):
    history = {"loss": [0.9, 0.7], "val_loss": [0.8, 0.6], "val_accuracy": [0.5, 0.6]}
    document = {"history": history, "config": {"seed": 7, "epochs": 30, "patience": 5}}
    (tmp_path / "history.json").write_text(json.dumps(document))
    run = import_history(workspace, tmp_path / "history.json", "other")[0]
    facts = RunFacts(run)
    assert (facts.seed, facts.planned_epochs) == (7, 30)
    caption = train_figure_of(facts).caption
    assert "seed 7" in caption
    assert "2 of 30 planned epochs" in caption


def test_the_best_epoch_is_named_as_the_file_counts(imported, tmp_path):
    told = texts(write_pack([imported], tmp_path / "out", PackOptions(("svg",))))
    assert "best epoch 1 (row 2) by validation loss" in told["captions.md"]
    assert "1 (row 2)" in told["seed_table.md"]
    assert "1 (row 2)" in told[f"imported_model_card_{imported.name}.md"]


def test_an_imported_run_beside_own_ones_is_not_compared_and_not_called_unlike(imported, tmp_path):
    own = write_experiment(tmp_path / "x" / "e", seeds=(1, 2), epochs=2, replicates=5)
    plan = plan_pack([*own, imported])
    assert any("the classes of keras are not recorded" in problem for problem in plan.problems)
    assert not any("different classes" in problem for problem in plan.problems)
    assert endings([*own, imported]) == ["seed1", "seed2", imported.name]


def test_how_intervals_were_made_is_told_by_column_where_columns_differ():
    wilson = MetricValue(
        value=0.5, ci_low=0.4, ci_high=0.6, method="4 of 8; 95 % interval: Wilson, n = 6 patients and not 8 films"
    )
    boot = MetricValue(
        value=0.5, ci_low=0.4, ci_high=0.6, method="95 % interval: bootstrap of patients, 2000 replicates, BCa; 3 left"
    )
    assert interval_words({"AUC": [boot, boot]}) == "95 % intervals: bootstrap of patients, 2000 replicates, BCa."
    told = interval_words({"Sensitivity": [wilson], "PPV": [wilson, None], "AUC": [boot, 3]})
    assert told == "95 % intervals: Wilson, n = patients (Sensitivity, PPV); bootstrap of patients, 2000 replicates, BCa (AUC)."
    assert interval_words({"AUC": [MetricValue(value=0.5)]}) == ""


def test_a_figure_of_another_measure_draws_that_measure(workspace, tmp_path):
    (tmp_path / "log.csv").write_text("epoch,train_loss,val_loss,val_dice\n1,0.9,0.8,0.4\n2,0.7,0.6,0.5\n")
    run = import_history(workspace, tmp_path / "log.csv", "unet", {"val_score": "val_dice"})[0]
    figure = train_figure_of(RunFacts(run))
    assert "val_score" in figure.data.columns
    assert not re.search(r"nats|Accuracy", json.dumps(figure.build(200).spec))
