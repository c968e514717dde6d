"""R12: several processes against one, at odd numbers of films, and after a kill of all of them.

``tests/test_ranks.py`` and ``tests/test_train_ranks.py`` prove it for two processes; here four do the same work, and a run that
was killed goes on to the bits of one that was not.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import test_ranks
import test_train_ranks
from make_engines import engine
from mammo_core.analysis.metrics import epoch_metrics
from mammo_core.presets import load_preset
from mammo_core.runs.run_dir import RunDir
from mammo_core.settings import HOME_VARIABLE, Workspace, open_workspace
from mammo_core.training.ranks import ALONE, Ranks, join_ranks
from mammo_core.workflows.demo_data import make_demo_data
from mammo_core.workflows.launch import LaunchPlan, create_run, plan_runs
from reliability.findings import Finding
from several_processes import Started, give_command, start_all, wait_all

SAME_WEIGHTS = 1e-9
"""How far metrics of the same weights may lie apart."""
SAME_LOSS = 1e-8
"""And the mean loss, nats: a batch cut otherwise has its float32 sums added in another order, which no metric of calls sees."""
SAME_TRAINING = 1e-4
"""How far probabilities may lie apart after a training whose sums were added in another order."""
PATIENCE_SECONDS = 300.0


def check(full: bool, seed: int, folder: Path) -> list[Finding]:
    """Two processes at two sizes, or four at all sizes and through a kill."""
    count, sizes = (4, test_ranks.SIZES) if full else (2, (1, 7))
    folder.mkdir(parents=True, exist_ok=True)
    ended = wait_all(start_all(count, folder, _work, folder, sizes, seed))
    problems = [f"a process ended with {code}: {said[-300:]}" for code, said in ended if code]
    if problems:
        return [Finding("R12", f"{count} processes against one", "they did not end well", False, tuple(problems))]
    told = [json.loads((folder / f"{rank}.json").read_text()) for rank in range(count)]
    found = [_trained(told, sizes), _judged(told[0]["judged"], sizes, seed)]
    return [*found, *(_resumed(count, folder / "resume") if full else [])]


def _work(folder: Path, sizes: tuple[int, ...], seed: int) -> None:
    """What each of the processes does: train at every size, and judge films with weights that nobody trained."""
    torch.set_num_threads(1)
    with join_ranks("cpu") as ranks:
        test_ranks.SIZES = sizes
        told = {"trained": test_ranks._train_all(ranks), "judged": _judge(ranks, sizes, seed)}
        (folder / f"{ranks.rank}.json").write_text(json.dumps(told))


def _judge(ranks: Ranks, sizes: tuple[int, ...], seed: int) -> dict[str, Any]:
    """Probabilities and metrics of one and the same model on each number of films."""
    found = {}
    for size in sizes:
        torch.manual_seed(seed)
        made = engine((11, size), ranks=ranks, **test_ranks.RECIPE)
        answers = made.infer(made.val_loader)
        metrics = epoch_metrics(made.validation.labels, answers.probabilities, made.config.class_names)
        numbers = {name: value for name, value in metrics.items() if isinstance(value, float)}
        found[str(size)] = {"films": len(answers.probabilities), "metrics": {**numbers, "val_loss": answers.loss}}
    return found


def _trained(told: list[dict[str, Any]], sizes: tuple[int, ...]) -> Finding:
    """Whether all processes hold one model, saw every film once, and agree with a training in one process."""
    problems = [f"process {rank} tells another history" for rank, one in enumerate(told) if one["trained"] != told[0]["trained"]]
    furthest = 0.0
    for size in sizes:
        found, alone = told[0]["trained"][str(size)], test_ranks._train_one(size)
        if found["films"] != size:
            problems.append(f"{found['films']} answers for {size} films")
            continue
        apart = float(np.abs(np.array(found["probabilities"]) - alone["probabilities"]).max())
        furthest = max(furthest, apart)
        if apart > SAME_TRAINING:
            problems.append(f"with {size} validation films the probabilities lie {apart:.1e} apart")
    what = f"{len(told)} processes train on {', '.join(map(str, sizes))} validation films, every film judged once"
    return Finding("R12", what, f"probabilities at most {furthest:.1e} from those of one process", not problems, tuple(problems))


def _judged(told: dict[str, Any], sizes: tuple[int, ...], seed: int) -> Finding:
    """Whether metrics of the same weights are those of one process."""
    alone, furthest, problems = _judge(ALONE, sizes, seed), {"metric": 0.0, "loss": 0.0}, []
    for size, here in alone.items():
        for name, value in here["metrics"].items():
            kind, limit = ("loss", SAME_LOSS) if name == "val_loss" else ("metric", SAME_WEIGHTS)
            apart = abs(value - told[size]["metrics"][name])
            furthest[kind] = max(furthest[kind], apart)
            if not apart <= limit:
                problems.append(f"{name} on {size} films lies {apart:.1e} apart")
    found = f"at most {furthest['metric']:.1e} apart, the mean loss {furthest['loss']:.1e}"
    return Finding("R12", "metrics of the same weights", found, not problems, tuple(problems))


# ---- killed, and resumed ------------------------------------------------------------------------------------------------------


def _resumed(count: int, folder: Path) -> list[Finding]:
    """A run of all processes that is killed after its first epoch and resumed, against one that was left in peace."""
    home = open_workspace(folder)
    make_demo_data(home, images=64, progress=lambda done, total, message="": None)
    whole, killed = (_new_run(home, name) for name in ("whole", "killed"))
    problems = [f"left in peace: {code} {said[-300:]}" for code, said in wait_all(_train(home, whole, count)) if code]
    started, until = _train(home, killed, count), time.monotonic() + PATIENCE_SECONDS
    while not killed.history() and time.monotonic() < until:
        time.sleep(0.02)
    for one in started:
        one.process.kill()
    wait_all(started)
    done = len(killed.history())
    problems += [f"resumed: {code} {said[-300:]}" for code, said in wait_all(_train(home, killed, count)) if code]
    if _numbers(whole) != _numbers(killed):
        problems.append("the histories differ")
    if whole.predictions_file("val").read_bytes() != killed.predictions_file("val").read_bytes():
        problems.append("the predictions differ")
    what = f"{count} processes killed after epoch {done} and resumed, against a run left in peace"
    return [Finding("R12", what, "equal to the bit" if not problems else "differs", not problems, tuple(problems))]


def _new_run(home: Workspace, experiment: str) -> RunDir:
    settings = {**load_preset("demo").settings, **test_train_ranks.SETTINGS, "epochs": 4}
    plan = LaunchPlan(dataset="demo", splits=["demo"], experiment=experiment, settings=settings, seeds=[1])
    return create_run(home, plan_runs(home, plan)[0])


def _train(home: Workspace, run: RunDir, count: int) -> list[Started]:
    command = ("train", "--run-dir", str(run.path))
    return start_all(count, home.home, give_command, *command, **{HOME_VARIABLE: str(home.home)})


def _numbers(run: RunDir) -> list[dict[str, object]]:
    return [record.model_dump(exclude={"seconds", "images_per_second", "resumed"}) for record in run.history()]
