"""How long a training takes is measured in a child process, kept, and added up."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from typer.testing import CliRunner

from demo_data import demo_workspace
from mammo_core.cli import app
from mammo_core.config import TrainConfig
from mammo_core.errors import ConfigError, MammoError, OutOfMemory
from mammo_core.settings import PROJECT_ROOT, Workspace
from mammo_core.storage import lock_of
from mammo_core.training import engine
from mammo_core.training.batches import batch_slices, full_shares
from mammo_core.training.ranks import ALONE
from mammo_core.workflows import estimate as estimates
from mammo_core.workflows.estimate import (
    FINISH_SECONDS,
    Workload,
    about,
    epoch_seconds,
    estimate,
    estimate_notes,
    estimate_words,
    films_to_read,
    question_of,
    trainings_ahead,
    workloads,
)
from mammo_core.workflows.films import prepare_rows
from mammo_core.workflows.launch import LaunchPlan, PlannedRun, plan_runs
from mammo_core.workflows.probe import (
    Probe,
    Question,
    is_probing,
    keep_probe,
    kept_probe,
    probe,
    probe_problem,
    start_probe,
)

TINY = {
    "arch": "test_resnet",
    "weights": "none",
    "image_size": 48,
    "epochs": 2,
    "warmup_epochs": 0,
    "batch_size": 4,
    "threads": 1,
}
PATIENCE_SECONDS = 120
NOON = 1_800_000_000.0
ENOUGH_FOR_RESNET = 40 * 2**30
"""Bytes beyond which a film of 4096 x 4096 pixels may fit through a ResNet-50."""


def made(**changes: Any) -> Probe:
    """What a probe of 16 films a step could have found."""
    facts = {"step_seconds": 2.0, "evaluation_seconds": 1.5, "checkpoint_seconds": 0.25, "start_seconds": 10.0}
    where = {"memory_bytes": 2 * 10**9, "batch_size": 16, "micro_batch": 16, "precision": "float32", "graphs": "off"}
    return Probe.model_validate({**facts, **where, "threads": 2, "device": "cpu", "steps": 5, **changes})


def config(**changes: Any) -> TrainConfig:
    return TrainConfig.from_dict({**TINY, "class_names": ["A", "B"], **changes})


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with a small phantom data set and its split."""
    return demo_workspace(tmp_path_factory, "probe")


def planned(home: Workspace, seeds: Sequence[int] = (1, 2), **settings: Any) -> list[PlannedRun]:
    plan = LaunchPlan(dataset="demo", splits=["demo"], experiment="try", settings={**TINY, **settings}, seeds=seeds)
    return plan_runs(home, plan)


# ---- adding up --------------------------------------------------------------------------------------------------------


def test_an_epoch_is_its_steps_the_evaluations_and_a_checkpoint() -> None:
    # 160 films: 10 steps; 32 + 32 films evaluated in batches of 32.
    assert epoch_seconds(made(), Workload(160, 32, 20)) == pytest.approx(10 * 2.0 + 2 * 1.5 + 0.25)


@pytest.mark.parametrize("films", [16, 17, 100, 240])
def test_on_a_processor_a_part_of_a_batch_takes_a_part_of_the_time(films: int) -> None:
    parts = sum((part.stop - part.start) / 16 for part in batch_slices(films, 16))
    only_steps = made(evaluation_seconds=1e-12, checkpoint_seconds=0.0)
    assert epoch_seconds(only_steps, Workload(films, 1, 1)) == pytest.approx(2.0 * parts)


@pytest.mark.parametrize("films", [16, 17, 100, 240])
def test_on_a_graphics_card_every_batch_is_whole(films: int) -> None:
    batches = len(full_shares(np.arange(films), 16, ALONE))
    only_steps = made(evaluation_seconds=1e-12, checkpoint_seconds=0.0, device="NVIDIA H100")
    assert epoch_seconds(only_steps, Workload(films, 1, 1)) == pytest.approx(2.0 * batches)


def test_no_more_training_films_are_evaluated_than_there_are_validation_films() -> None:
    few, many = (epoch_seconds(made(), Workload(160, films, 1)) for films in (32, 320))
    assert many - few == pytest.approx((320 + 160 - 64) / 32 * 1.5)


def test_evaluation_batches_are_those_of_the_engine() -> None:
    assert estimates.EVAL_BATCH_FACTOR == engine.EVAL_BATCH_FACTOR


def test_runs_follow_one_another_and_the_longest_is_named() -> None:
    works = [Workload(160, 32, 20), Workload(320, 32, 20)]
    total = estimate(made(), works, (512, 512), early_stopping=False)
    each = [20 * epoch_seconds(made(), work) + 10.0 + FINISH_SECONDS for work in works]
    assert total.run_seconds == pytest.approx(max(each))
    assert total.total_seconds == pytest.approx(sum(each))


def test_on_several_cards_each_run_begins_where_the_first_card_is_free() -> None:
    works = [Workload(160, 32, epochs) for epochs in (30, 10, 10, 40)]
    each = [work.epochs * epoch_seconds(made(), work) + 10.0 + FINISH_SECONDS for work in works]
    total = estimate(made(), works, (512, 512), early_stopping=False, at_once=2)
    assert total.total_seconds == pytest.approx(max(each[0], each[1] + each[2] + each[3]))
    assert estimate(made(), works, (512, 512), False, at_once=9).total_seconds == pytest.approx(each[3])


def test_films_that_stay_on_the_graphics_card_are_added_to_its_memory() -> None:
    total = estimate(made(gpu_bytes=10**9, device="NVIDIA H100"), [Workload(160, 32, 20)], (512, 512), early_stopping=False)
    assert total.gpu_bytes == 10**9 + (160 + 32 + 32) * 512 * 512


# ---- words ------------------------------------------------------------------------------------------------------------


def test_the_words_name_time_end_and_memory() -> None:
    total = estimate(made(), [Workload(160, 32, 100)] * 3, (512, 512), early_stopping=False)
    end = time.strftime("%H:%M", time.localtime(NOON + total.total_seconds))
    assert estimate_words(total, False, NOON) == f"about 39 min each, finished around {end}; 2.2 GB memory"
    assert "after those in the queue" in estimate_words(total, True, NOON)


def test_early_stopping_makes_it_an_upper_limit() -> None:
    total = estimate(made(), [Workload(160, 32, 20)], (512, 512), early_stopping=True)
    assert "at most" in estimate_words(total, False, NOON)
    assert "Early stopping may end a run sooner." in estimate_notes(total, 0)


def test_what_spoils_the_figures_is_said() -> None:
    total = estimate(made(rough=True, beside=True, busy=True), [Workload(160, 32, 20)], (512, 512), early_stopping=False)
    assert estimate_words(total, False, NOON).startswith("roughly")
    notes = " ".join(estimate_notes(total, 120, free=10**9))
    for words in ("only one was measured", "beside a running training", "Other programs", "reads 120 films", "are free now"):
        assert words in notes


@pytest.mark.parametrize(
    ("seconds", "words"), [(1, "5 s"), (44, "45 s"), (89, "90 s"), (130, "2 min"), (7300, "2 h"), (2e5, "2.3 days")]
)
def test_lengths_of_time_have_few_digits(seconds: float, words: str) -> None:
    assert about(seconds) == words


# ---- what it depends on -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [{"arch": "test_vit"}, {"image_size": 64}, {"batch_size": 8}, {"micro_batch": 2}, {"threads": 2}, {"augment": "none"}]
    + [{"mixup": 0.2}, {"ema_decay": 0.99}, {"precision": "bfloat16"}, {"optimizer": "adam"}, {"class_names": ["A", "B", "C"]}],
    ids=lambda change: next(iter(change)),
)
def test_what_changes_a_step_is_measured_anew(change: dict[str, Any]) -> None:
    assert Question(config(**change), 100).key != Question(config(), 100).key


def test_seed_data_rate_and_paths_are_not_measured_anew() -> None:
    changed = config(seed=7, dataset="other", split="other", experiment="x", fold=2, lr=1e-2, init_from="a/b", weight_decay=0.1)
    assert Question(changed, 100).key == Question(config(), 100).key


def test_no_batch_is_larger_than_all_films() -> None:
    assert Question(config(batch_size=64), 10).effective.batch_size == 10
    assert Question(config(batch_size=64), 10).key == Question(config(batch_size=32), 10).key


def test_a_result_is_found_again_and_a_broken_one_is_not(workspace: Workspace) -> None:
    question = Question(config(), 100)
    assert kept_probe(workspace, question) is None
    keep_probe(workspace, question, made())
    assert kept_probe(workspace, question) == made()
    assert kept_probe(workspace, Question(config(arch="test_vit"), 100)) is None
    next((workspace.cache / "probes").glob("*.json")).write_text('{"step_seconds": -1}')
    assert kept_probe(workspace, question) is None


# ---- a real data set --------------------------------------------------------------------------------------------------


def test_films_and_epochs_are_those_of_the_split(home: Workspace) -> None:
    runs = planned(home)
    counts = runs[0].split.table["split"].value_counts()
    assert workloads(runs) == [Workload(counts["train"], counts["val"], 2)] * 2
    assert question_of(runs).films == counts["train"]


def test_films_that_the_cache_lacks_are_counted(home: Workspace) -> None:
    run = planned(home, image_size=64)[0]
    table = run.split.table[run.split.table["split"].isin(("train", "val"))]
    assert films_to_read(home, run) == len(table)
    dataset = estimates.load_dataset(home, "demo")
    prepare_rows(home, dataset, dataset.manifest().merge(table, on="image_id"), run.config, lambda done, total: None)
    assert films_to_read(home, run) == 0


def test_a_tiny_model_is_measured_in_a_child_and_kept(home: Workspace) -> None:
    arguments = ["--home", str(home.home), "estimate", "--dataset", "demo", "--split", "demo", "--seeds", "1, 2"]
    for key, value in TINY.items():
        arguments += ["--set", f"{key}={value}"]
    with lock_of(home.slot_lock):  # as a training holds it
        done = CliRunner().invoke(app, [*arguments, "--json"])
        assert trainings_ahead(home)
    assert done.exit_code == 0
    told = json.loads(done.stdout)
    measured = kept_probe(home, question_of(planned(home)))
    assert measured is not None and measured.model_dump(mode="json") == told["probe"]
    assert (measured.batch_size, measured.micro_batch, measured.threads) == (4, 4, 1)
    assert (measured.device, measured.precision, measured.rough) == ("cpu", "float32", False)
    assert measured.beside, "a training held the slot"
    assert 2**26 < measured.memory_bytes < 2**33
    assert not list((home.cache / "probes").glob("now_*")), "nothing but the result stays"
    again = CliRunner().invoke(app, arguments)
    assert again.exit_code == 0
    assert "2 runs, about" in again.stdout and "Measuring" not in again.stderr, "what was measured is not measured again"
    assert "beside a running training" in again.stdout


@pytest.mark.skipif(psutil.virtual_memory().total > ENOUGH_FOR_RESNET, reason="the films would fit into this memory")
def test_films_too_large_for_the_memory_are_refused(workspace: Workspace) -> None:
    with pytest.raises(OutOfMemory, match="Not even one film of 4096 x 4096 pixels fits"):
        probe(workspace, Question(config(arch="resnet50", image_size=4096), 100))


def test_a_probe_that_takes_too_long_is_ended(workspace: Workspace) -> None:
    before = set(psutil.Process().children())  # those from which other tests' processes branch off stay until the end
    with pytest.raises(MammoError, match=r"took more than 0 seconds"):
        probe(workspace, Question(config(), 100), timeout=0.01)
    assert set(psutil.Process().children()) <= before


def test_a_page_can_go_on_while_it_is_measured_and_a_setting_that_cannot_work_is_one_sentence(workspace: Workspace) -> None:
    question = Question(config(arch="test_maxvit"), 100)
    start_probe(workspace, question)
    start_probe(workspace, question)
    assert is_probing(workspace, question)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while is_probing(workspace, question) and time.monotonic() < deadline:
        time.sleep(0.1)
    problem = probe_problem(workspace, question)
    assert isinstance(problem, ConfigError) and "cannot be trained on films of 48 x 48" in str(problem)
    assert "\n" not in str(problem)
    assert str(workspace.home) not in str(problem)


def test_why_a_setting_cannot_work_names_no_place() -> None:
    from mammo_core.workflows.probe_child import _in_words

    told = _in_words(RuntimeError("cannot open '/data/Doe Jane 1961/x.pth'\nmore"), config())
    assert "cannot open 'x.pth'" in told and "Doe" not in told


def test_asking_needs_no_torch() -> None:
    code = "import sys, mammo_core.workflows.estimate, mammo_core.cli_estimate; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(PROJECT_ROOT), capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
