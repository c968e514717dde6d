"""How quickly runs are listed, judged, charted, resampled and exported, each against the plain way in the same call.

    python -m bench.analysis [--runs 1000] [--polls 1000]

Goals: 1,000 runs of 100 epochs listed cold in at most 1.0 s and warm in 0.1 s; a 1,000-epoch history read, judged and charted
in at most 100 ms; 2,000 bootstrap replicates of 3 seeds x 808 films with all headline metrics in at most 3 s; a figure exported
in at most 1 s after the first; memory flat over 1,000 polls of a growing history.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import psutil
import yaml

from mammo_core.analysis.diagnosis import context_of_run, diagnose
from mammo_core.analysis.groups import Repetition
from mammo_core.analysis.predictions import cases_of
from mammo_core.analysis.resampling import REPLICATES, resample_passes
from mammo_core.report.charts import HistoryView, history_chart
from mammo_core.report.figures import draw_figure
from mammo_core.runs.history import history_frame
from mammo_core.runs.run_dir import RunDir
from mammo_core.settings import Workspace
from mammo_core.storage import write_json
from tests.make_runs import DENSITY, write_run

ROOT = Path(__file__).resolve().parent.parent


def seconds(work: Callable[[], object], times: int = 5) -> float:
    """Median wall time."""
    found = []
    for _ in range(times):
        gc.collect()
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return statistics.median(found)


def say(what: str, ours: float, goal: float, plain: float | None = None, how: str = "") -> None:
    """One line of the report: our time, the goal, and the plain way's time as a ratio."""
    verdict = "reached" if ours <= goal else "MISSED"
    ratio = "" if plain is None else f"   plain {plain:8.3f} s   ratio {plain / ours:6.1f}   ({how})"
    print(f"{what:58s} {ours:8.3f} s   goal {goal:g} s {verdict}{ratio}", flush=True)


# ---- listing ----------------------------------------------------------------------------------------------------------------


def make_runs(home: Path, count: int) -> Workspace:
    """``count`` runs of 100 epochs in experiments of ten, copies of one."""
    workspace = Workspace(home)
    first = write_run(workspace.experiments / "e000" / "seed_0", seed=0, epochs=100, replicates=10)
    for number in range(1, count):
        folder = workspace.experiments / f"e{number // 10:03d}" / f"seed_{number % 10}"
        shutil.copytree(first.path, folder)
    return workspace


def plain_listing(workspace: Workspace) -> list[dict[str, object]]:
    """What a script would do: every file of every run, parsed."""
    rows = []
    for config in sorted(workspace.experiments.glob("*/*/config.yaml")):
        settings = yaml.safe_load(config.read_text())
        summary = json.loads((config.parent / "summary.json").read_text())
        status = json.loads((config.parent / "status.json").read_text())
        history = pd.read_json(config.parent / "train_history.json")
        rows.append({"seed": settings["seed"], "state": status["state"], "auc": summary["metrics"], "epochs": len(history)})
    return rows


COLD = """
import sys, time
from pathlib import Path
from mammo_core.runs.listing import list_cards
from mammo_core.settings import Workspace
workspace = Workspace(Path(sys.argv[1]))
start = time.perf_counter()
cards = list_cards(workspace)
middle = time.perf_counter()
list_cards(workspace)
print(len(cards), middle - start, time.perf_counter() - middle)
"""


def listing_seconds(folder: Path, count: int, times: int = 3) -> tuple[float, float]:
    """How long ``count`` runs take to be listed in a new process, and there once more; medians."""
    workspace = make_runs(folder / "many", count)
    found = []
    for _ in range(times):
        out = subprocess.run(
            [sys.executable, "-c", COLD, str(workspace.home)], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.split()
        assert int(out[0]) == count
        found.append((float(out[1]), float(out[2])))
    return statistics.median(cold for cold, _ in found), statistics.median(warm for _, warm in found)


def bench_listing(folder: Path, count: int) -> None:
    cold, warm = listing_seconds(folder, count)
    plain = seconds(lambda: plain_listing(Workspace(folder / "many")), times=1)
    say(f"{count} runs listed, cold (new process)", cold, 1.0, plain, "every file parsed")
    say(f"{count} runs listed, warm", warm, 0.1)


# ---- one long history ---------------------------------------------------------------------------------------------------------


def bench_history(folder: Path) -> RunDir:
    run = write_run(folder / "experiments" / "long" / "seed_1", seed=1, epochs=1000, replicates=10)

    def judged_and_charted() -> str:
        records = run.history()
        diagnose(records, context_of_run(run))
        view = HistoryView(title="", epochs_planned=1000, class_names=DENSITY, width=560)
        return json.dumps(history_chart(history_frame(records), view).to_dict())

    def plain() -> None:
        matplotlib.use("Agg")
        import matplotlib.pyplot as plt

        frame = pd.read_json(run.history_file)
        figure, axes = plt.subplots(2, 1)
        for name in ("train_loss", "val_loss"):
            axes[0].plot(frame["epoch"], frame[name])
        for name in ("train_acc", "val_acc"):
            axes[1].plot(frame["epoch"], frame[name])
        figure.savefig(folder / "plain.png")
        plt.close(figure)

    judged_and_charted()
    plain()
    how = "pandas and a two-panel matplotlib figure, no verdict"
    say("1,000-epoch history read, judged and charted", seconds(judged_and_charted), 0.1, seconds(plain), how)
    records = run.history()
    say("   of this reading", seconds(run.history), 0.1)
    say("   of this judging", seconds(lambda: diagnose(records, context_of_run(run))), 0.1)
    return run


# ---- bootstrap ----------------------------------------------------------------------------------------------------------------


def made_tables(seeds: int = 3, films: int = 808) -> list[pd.DataFrame]:
    """Predictions of several seeds on 808 films of 202 patients."""
    generator = np.random.default_rng(0)
    truth = np.repeat(generator.integers(0, 4, films // 4), 4)
    tables = []
    for _ in range(seeds):
        logits = generator.normal(size=(films, 4)) + 2 * np.eye(4)[truth]
        probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        table = pd.DataFrame(probabilities, columns=[f"prob_{name}" for name in DENSITY])
        table.insert(0, "image_id", [f"f{index}" for index in range(films)])
        table.insert(1, "patient_id", [f"p{index // 4}" for index in range(films)])
        table.insert(2, "y_true", np.array(DENSITY)[truth])
        table.insert(3, "y_pred", np.array(DENSITY)[probabilities.argmax(axis=1)])
        tables.append(table)
    return tables


def scikit_learn_replicate(cases: list[object], patients: np.ndarray, generator: np.random.Generator) -> None:
    from sklearn.metrics import accuracy_score, balanced_accuracy_score, cohen_kappa_score, f1_score, roc_auc_score

    names = np.unique(patients)
    rows = np.concatenate([np.flatnonzero(patients == name) for name in generator.choice(names, len(names))])
    for one in cases:
        truth, predicted, probabilities = one.labels[rows], one.predicted[rows], one.probabilities[rows]  # type: ignore[attr-defined]
        accuracy_score(truth, predicted)
        balanced_accuracy_score(truth, predicted)
        cohen_kappa_score(truth, predicted, weights="quadratic")
        f1_score(truth, predicted, average="macro")
        roc_auc_score(truth, probabilities, multi_class="ovr")


def bench_bootstrap() -> None:
    tables = made_tables()
    passes = [Repetition(seed, None, (table,)) for seed, table in enumerate(tables)]
    ours = seconds(lambda: resample_passes(passes, DENSITY), times=3)
    cases = [cases_of(table, DENSITY, True) for table in tables]
    patients, generator = np.array(cases[0].patients), np.random.default_rng(0)
    few = 10
    plain = seconds(lambda: [scikit_learn_replicate(cases, patients, generator) for _ in range(few)], times=1)
    how = f"a scikit-learn loop; {few} replicates measured, times {REPLICATES // few}"
    say(f"{REPLICATES} replicates, 3 seeds x 808 films, headline metrics", ours, 3.0, plain * REPLICATES / few, how)


# ---- figures ------------------------------------------------------------------------------------------------------------------


def bench_export(folder: Path) -> None:
    run = write_run(folder / "experiments" / "short" / "seed_1", seed=1, epochs=50, replicates=10)
    frame = history_frame(run.history())

    def export(kinds: tuple[str, ...]) -> None:
        draw_figure(lambda width: history_chart(frame, HistoryView(epochs_planned=50, class_names=DENSITY, width=width)), kinds)

    start = time.perf_counter()
    export(("png",))
    print(f"{'first figure of the process (PNG, 300 ppi)':58s} {time.perf_counter() - start:8.3f} s", flush=True)
    for kinds in (("png",), ("svg",), ("pdf",), ("png", "svg", "pdf")):
        say(f"a further figure as {', '.join(kinds)}", seconds(lambda kinds=kinds: export(kinds)), 1.0)  # type: ignore[misc]


# ---- memory -------------------------------------------------------------------------------------------------------------------


def bench_memory(folder: Path, polls: int) -> None:
    """The History page run again and again while its history grows by an epoch each time, as a live page is."""
    from streamlit.testing.v1 import AppTest

    workspace = Workspace(folder / "polled")
    run = write_run(workspace.experiments / "live" / "seed_1", seed=1, epochs=100, replicates=10)
    records = [record.to_json() for record in run.history()]
    os.environ["MAMMOTRACE_HOME"] = str(workspace.home)
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    app.switch_page("pages/history.py").run()
    process, sizes = psutil.Process(), []
    for poll in range(polls):
        write_json(run.history_file, records[: 2 + poll % 98])
        app.run()
        if (poll + 1) % max(1, polls // 20) == 0:
            gc.collect()
            sizes.append(process.memory_info().rss / 2**20)
    half = len(sizes) // 2
    first, second = statistics.mean(sizes[half // 2 : half]), statistics.mean(sizes[-max(1, half // 2) :])
    print(f"memory after {polls} polls: {sizes[0]:.0f} MiB at first, {first:.0f} MiB by the middle, {second:.0f} MiB at the end")
    print("   every twentieth part: " + " ".join(f"{size:.0f}" for size in sizes))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--polls", type=int, default=1000, help="0 leaves the memory out")
    choice = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bench_listing(folder, choice.runs)
        bench_history(folder)
        bench_bootstrap()
        bench_export(folder)
        if choice.polls:
            bench_memory(folder, choice.polls)


if __name__ == "__main__":
    main()
