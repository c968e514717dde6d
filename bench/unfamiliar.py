"""How well pictures that are no film of the training domain are told from test films, kind by kind, by three rules.

    python -m bench.unfamiliar [--workspace FOLDER] [--run EXPERIMENT/RUN ...] [--altered 20]

Without a workspace the fast demo is trained first (some minutes) and its first run is judged. Goal: AUROC at least 0.95 between
films of the domain that no guard has seen (the run's test films) and pictures that are no mammogram. Ours is the guard that the
app uses; beside it stand the plain Euclidean distance to the nearest neighbours and the Mahalanobis distance (covariance after
Ledoit and Wolf), on the same features, each with its limit found in the same way.

Every picture goes through the app's own reader first. What the reader refuses never reaches a model: it is counted apart, and
has no part in the AUROC. Intervals: patients of the films and distinct pictures of the strangers drawn with replacement; where
all pictures are farther away than all films, which no resampling can move, the score interval of Newcombe for that many
patients and pictures.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import brentq
from sklearn.covariance import ledoit_wolf_shrinkage

from bench.strangers import DICOM_PICTURES, PATTERNS, PHOTOGRAPHS, package_files, picture_groups, write_altered, write_patterns
from mammo_core.analysis.formulas import wilson_interval
from mammo_core.data.film import Film
from mammo_core.data.manifest import load_dataset
from mammo_core.data.preprocess import prepare
from mammo_core.data.sandbox import DecodePool, Job
from mammo_core.predict.members import Member, load_member
from mammo_core.predict.unfamiliar import MIN_FILMS, NEIGHBOURS, QUANTILE, FeatureGuard
from mammo_core.runs.run_dir import RunDir, find_run
from mammo_core.settings import Workspace, open_workspace
from mammo_core.terminal import ProgressBar, say
from mammo_core.training.models import features_and_logits, normalise, to_float
from mammo_core.workflows.demo import run_demo
from mammo_core.workflows.inference import run_rows

Features = npt.NDArray[np.float32]
Scores = npt.NDArray[np.float64]
Rule = Callable[[Features], Scores]

GOAL = 0.95
REPLICATES = 2000
BATCH = 16
NOT_MAMMOGRAMS = (PHOTOGRAPHS, DICOM_PICTURES, PATTERNS)
"""Together they are what the goal speaks of; films of patients and altered films stand apart."""


@dataclass(frozen=True, eq=False)
class Kind:
    """The pictures of one kind: those that could be read, and why the others were not."""

    name: str
    films: list[Film]
    refusals: Counter[str]

    @property
    def files(self) -> int:
        return len(self.films) + self.refusals.total()


# ---- the three rules --------------------------------------------------------------------------------------------------------


def ours(features: Features, patients: npt.NDArray[np.str_]) -> tuple[Rule, float]:
    guard = FeatureGuard.fit(features, patients)
    if guard is None:
        raise SystemExit(f"the run has too few validation films for a guard; expected at least {MIN_FILMS} of two patients")
    return guard.score, guard.threshold


def euclidean(features: Features, patients: npt.NDArray[np.str_]) -> tuple[Rule, float]:
    """Mean Euclidean distance to the nearest validation films."""

    def distances(rows: Features) -> Scores:
        return np.linalg.norm(rows[:, None].astype(np.float64) - features[None], axis=2)

    def nearest(table: Scores) -> Scores:
        return np.sort(table, axis=1)[:, :NEIGHBOURS].mean(axis=1)

    own = distances(features)
    own[patients[:, None] == patients[None, :]] = np.inf
    return (lambda rows: nearest(distances(rows))), _limit(nearest(own))


def mahalanobis(features: Features, patients: npt.NDArray[np.str_]) -> tuple[Rule, float]:
    """Distance from the mean of the validation films; the limit comes from fits without each patient in turn."""

    def fit(rows: Features) -> Rule:
        values = rows.astype(np.float64)
        middle, shrinkage = values.mean(axis=0), float(ledoit_wolf_shrinkage(values))
        # The covariance is (1 - a) S + a m I: known along the films' own directions, and a m across all others.
        _, sizes, directions = np.linalg.svd(values - middle, full_matrices=False)
        across = shrinkage * float(np.sum(sizes**2)) / len(values) / values.shape[1]
        along = (1 - shrinkage) * sizes**2 / len(values) + across

        def distances(others: Features) -> Scores:
            gaps = others.astype(np.float64) - middle
            inside = gaps @ directions.T
            rest = np.maximum(np.sum(gaps**2, axis=1) - np.sum(inside**2, axis=1), 0)
            return np.sqrt(np.sum(inside**2 / along, axis=1) + rest / across)

        return distances

    own = np.zeros(len(features))
    for patient in np.unique(patients):
        mine = patients == patient
        own[mine] = fit(features[~mine])(features[mine])
    return fit(features), _limit(own)


def _limit(own: Scores) -> float:
    return float(np.quantile(own, QUANTILE, method="higher"))


RULES = {"k-NN, ours": ours, "Euclidean k-NN": euclidean, "Mahalanobis": mahalanobis}


# ---- figures ----------------------------------------------------------------------------------------------------------------


def auroc(films: Scores, patients: npt.NDArray[Any], strangers: Scores, groups: npt.NDArray[Any]) -> tuple[float, float, float]:
    """Share of pairs in which the stranger is farther away than the film, with its 95 % interval."""
    wins = (strangers[None, :] > films[:, None]) + 0.5 * (strangers[None, :] == films[:, None])
    value = float(wins.mean())
    if value in (0.0, 1.0):
        return value, *newcombe(value, len(np.unique(patients)), len(np.unique(groups)))
    rng = np.random.default_rng(0)
    film_weights, stranger_weights = _drawn(rng, patients), _drawn(rng, groups)
    top = np.einsum("rf,fs,rs->r", film_weights, wins, stranger_weights, optimize=True)
    low, high = np.quantile(top / (film_weights.sum(axis=1) * stranger_weights.sum(axis=1)), (0.025, 0.975))
    return value, float(low), float(high)


def _drawn(rng: np.random.Generator, groups: npt.NDArray[Any]) -> Scores:
    """How often each item is drawn in each replicate, when whole groups are drawn; ``(REPLICATES, n)``."""
    _, number = np.unique(groups, return_inverse=True)
    count = int(number.max()) + 1
    times = rng.multinomial(count, np.full(count, 1 / count), size=REPLICATES)
    return times[:, number].astype(np.float64)


def newcombe(value: float, n_films: int, n_strangers: int) -> tuple[float, float]:
    """Score interval of an AUROC, usable at 0 and 1 (Newcombe 2006, doi:10.1002/sim.2324, method 5)."""
    middle = (n_films + n_strangers) / 2 - 1

    def gap(theta: float) -> float:
        spread = 1 + middle * ((1 - theta) / (2 - theta) + theta / (1 + theta))
        return abs(value - theta) - 1.959964 * np.sqrt(theta * (1 - theta) * spread / (n_films * n_strangers))

    low = brentq(gap, 1e-9, value - 1e-9) if value > 0 else 0.0
    high = brentq(gap, value + 1e-9, 1 - 1e-9) if value < 1 else 1.0
    return float(low), float(high)


def share(count: int, of: int) -> str:
    """``12/60 (20 %, 12 to 32)`` with the Wilson interval as if all were independent."""
    if of == 0:
        return "none"
    low, high = wilson_interval(count, of) or (float("nan"), float("nan"))
    return f"{count}/{of} ({count / of:.0%}, {low:.0%} to {high:.0%})"


# ---- films and features -----------------------------------------------------------------------------------------------------


def read_all(name: str, paths: Sequence[Path]) -> Kind:
    films, refusals = [], Counter[str]()
    with DecodePool(2) as pool:
        for _, result in pool.map(Job("film", path) for path in paths):
            if isinstance(result, Film):
                films.append(result)
            else:
                refusals[_shortened(str(result))] += 1
    return Kind(name, films, refusals)


def _shortened(sentence: str) -> str:
    reason = sentence.split("cannot be used: ")[-1].split("cannot be opened ")[-1]
    for word in ("colour picture", "multi-frame", "holds no picture", "FOR PROCESSING", "of an unknown kind", "DICOMDIR", "GIF"):
        if word in reason:
            return word
    for word, told in {"bits a pixel": "bits no film has", "header states": "impossible size", "damaged": "damaged"}.items():
        if word in reason:
            return told
    return reason[:40]


def features_of(member: Member, films: Sequence[Film]) -> Features:
    """Pooled features ``(n, F)`` of films, prepared as for a prediction."""
    config, found = member.checkpoint.config, []
    for first in range(0, len(films), BATCH):
        pixels = np.stack([prepare(film, config.image_size).pixels for film in films[first : first + BATCH]])
        batch = to_float(torch.from_numpy(pixels[:, None]), torch.device("cpu"))
        with torch.inference_mode():
            found.append(features_and_logits(member.model, normalise(batch, member.checkpoint.normalisation))[0].numpy())
    return np.concatenate(found)


def collect(folder: Path) -> list[Kind]:
    """The strangers that are the same for every run: those from packages, and patterns."""
    groups = package_files() | {PATTERNS: write_patterns(folder)}
    return [read_all(name, paths) for name, paths in groups.items()]


def collect_altered(folder: Path, films: Sequence[Film]) -> list[Kind]:
    return [read_all(name, paths) for name, paths in write_altered(folder, films).items()]


# ---- report -----------------------------------------------------------------------------------------------------------------


def judge(workspace: Workspace, run: RunDir, strangers: Sequence[Kind], altered: int) -> None:
    member = load_member(run, torch.device("cpu"))
    table = run.predictions("val")
    if table is None:
        raise SystemExit(f"{run.id} keeps no validation predictions; train it to the end first")
    val, patients = np.load(run.embeddings), table["patient_id"].to_numpy(dtype=np.str_)
    rows = run_rows(workspace, run, "test")
    paths = load_dataset(workspace, run.config().dataset).film_paths()
    test = read_all("test films", [paths[image_id] for image_id in rows["image_id"]])
    test_patients = rows["patient_id"].to_numpy(dtype=np.str_)
    kinds = list(strangers)
    if altered:
        with tempfile.TemporaryDirectory() as name:
            kinds += collect_altered(Path(name), test.films[:: max(1, len(test.films) // altered)][:altered])
    known = features_of(member, test.films)
    features = {kind.name: features_of(member, kind.films) for kind in kinds if kind.films}
    print(f"\n{run.id}: {len(val)} validation films of {len(np.unique(patients))} patients set the limit; "
          f"{len(known)} test films of {len(np.unique(test_patients))} patients")  # fmt: skip
    for title, rule in RULES.items():
        score, limit = rule(val.astype(np.float32), patients)
        report(title, (score, limit), kinds, features, (score(known), test_patients))


def report(
    title: str, rule: tuple[Rule, float], kinds: list[Kind], features: dict[str, Features], films: tuple[Scores, npt.NDArray[Any]]
) -> None:
    score, limit = rule
    known, patients = films
    alarms = share(int((known > limit).sum()), len(known))
    print(f"\n{title}: limit {limit:.4f}; false alarms among test films {alarms}")
    print(
        f"  {'kind':40s} {'files':>5s} {'refused':>7s} {'read':>4s} {'distinct':>8s}  {'AUROC (95 %)':30s} flagged of those read"
    )
    joint = [kind for kind in kinds if kind.name in NOT_MAMMOGRAMS]
    pooled = Kind("all that are no mammogram", [film for kind in joint for film in kind.films],
                  sum((kind.refusals for kind in joint), Counter[str]()))  # fmt: skip
    for kind in [*joint, pooled, *(kind for kind in kinds if kind not in joint)]:
        begin = f"  {kind.name:40s} {kind.files:5d} {kind.refusals.total():7d} {len(kind.films):4d}"
        if not kind.films:
            print(f"{begin}           all refused by the reader")
            continue
        rows = np.concatenate([features[k.name] for k in joint if k.films]) if kind is pooled else features[kind.name]
        strange, groups = score(rows), picture_groups(kind.films)
        value, low, high = auroc(known, patients, strange, groups)
        goal = ("reached" if value >= GOAL else "MISSED") if kind is pooled or kind in joint else ""
        flagged = share(int((~(strange <= limit)).sum()), len(strange))
        print(f"{begin} {groups.max() + 1:8d}  {value:.3f} ({low:.3f} to {high:.3f}) {goal:8s}{flagged}")


def report_refusals(kinds: Sequence[Kind]) -> None:
    print("\nWhat the reader refuses, so that no model sees it:")
    for kind in kinds:
        if kind.refusals:
            print(f"  {kind.name}: " + ", ".join(f"{count} {reason}" for reason, count in kind.refusals.most_common()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, help="a workspace with finished runs; without it the fast demo is trained")
    parser.add_argument("--run", action="append", help="EXPERIMENT/RUN; may be given several times; default demo/seed_42")
    parser.add_argument("--altered", type=int, default=20, help="test films of which altered copies are made; 0 for none")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        workspace = open_workspace(chosen.workspace or temporary)
        if chosen.workspace is None:
            run_demo(workspace, fast=True, say=say, progress=ProgressBar)
        strangers = collect(Path(temporary))
        report_refusals(strangers)
        for run_id in chosen.run or ["demo/seed_42"]:
            judge(workspace, find_run(workspace, run_id), strangers, chosen.altered)


if __name__ == "__main__":
    main()
