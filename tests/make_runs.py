"""Writes complete run directories without training: the films, predictions and curves are drawn from a small model of readers.

The numbers agree with each other: every validation metric of every epoch is computed from that epoch's predictions.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mammo_core.analysis.metrics import epoch_metrics, evaluate_predictions, losses
from mammo_core.analysis.predictions import PROBABILITY_PREFIX
from mammo_core.config import TrainConfig
from mammo_core.runs.history import best_epoch, history_frame
from mammo_core.runs.run_dir import RunDir
from mammo_core.runs.schema import EpochRecord, State, Status, Summary
from mammo_core.storage import sha256_of, write_json, write_table, write_text, write_yaml

Floats = npt.NDArray[np.float64]

DENSITY = ("A", "B", "C", "D")
LESION = ("Normal", "Benign", "Malignant")
CLASS_SHARES = {4: (0.1, 0.3, 0.4, 0.2), 3: (0.5, 0.35, 0.15)}
LEARNING_EPOCHS = 4.0


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What kind of run to write."""

    epochs: int = 5
    """Planned epochs."""
    epochs_run: int | None = None
    """Epochs in the history; all of them where ``None``."""
    seed: int = 42
    fold: int | None = None
    """1-based fold of three."""
    class_names: tuple[str, ...] = DENSITY
    state: State = "finished"
    with_predictions: bool = True
    with_test: bool = False
    skill: float = 1.0
    """How well the network learns; 0 never learns."""
    patients: int = 60
    films_per_patient: int = 2
    holdout: tuple[str, ...] = ()
    """Centres (of 1, 2, 3) that are held out as the test set; none for a split that mixes the centres."""
    split_seed: int = 0
    """Draws patients, labels and the split; runs with the same one share their films."""
    replicates: int = 200
    config: Mapping[str, Any] = field(default_factory=dict)
    """Further settings of ``TrainConfig``."""

    @property
    def ordinal(self) -> bool:
        return self.class_names == DENSITY


def write_run(folder: Path, **options: Any) -> RunDir:
    """Write one run directory at ``folder`` (``.../experiments/<experiment>/<run>``); ``options`` as in :class:`RunOptions`."""
    choice = RunOptions(**options)
    run = RunDir(folder)
    folder.mkdir(parents=True)
    key = repr((run.experiment, run.name, choice))
    if key not in _written:
        _write(run, choice)
        _written[key] = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    else:
        for name, content in _written[key].items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(content)
        _write_status(run, len(run.history()), choice)
    return run


_written: dict[str, dict[Path, bytes]] = {}
"""What this process wrote before: most tests ask for the same few runs, and to draw one anew takes a fifth of a second."""


def _write(run: RunDir, choice: RunOptions) -> None:
    config = _config(run, choice)
    write_yaml(run.config_file, config.to_dict())
    write_json(
        run.environment_file, {"packages": {"torch": "2.15.0"}, "device": "cpu", "git_commit": "0" * 40, "git_dirty": False}
    )
    films = _films(choice)
    _write_split(run, films, choice)
    val = films[films["split"] == "val"]
    history, best = _history(val, config, choice)
    if history:
        write_json(run.history_file, [record.to_json() for record in history])
        write_table(run.training_log, history_frame(history))
    _write_status(run, len(history), choice)
    write_text(run.log_file, "".join(f"epoch {record.epoch}/{choice.epochs}\n" for record in history))
    if history and choice.with_predictions:
        _write_predictions(run, "val", _table(val, best, choice.class_names), choice)
        if choice.with_test:
            test = films[films["split"] == "test"]
            epoch = next(record.epoch for record in history if record.is_best)
            _write_predictions(run, "test", _table(test, _probabilities(test, epoch, choice), choice.class_names), choice)
    if choice.state == "finished" and history:
        _write_summary(run, films, config, choice)


def write_experiment(experiment: Path, seeds: tuple[int, ...] = (42, 43, 44), **options: Any) -> list[RunDir]:
    """One run a seed below ``experiment``."""
    return [write_run(experiment / f"seed_{seed}", seed=seed, **options) for seed in seeds]


def _config(run: RunDir, choice: RunOptions) -> TrainConfig:
    task = "density" if choice.ordinal else "lesion"
    defaults: dict[str, Any] = {"dataset": "phantoms", "split": "by_patient", "arch": "tf_efficientnet_lite0", "warmup_epochs": 0}
    return TrainConfig(
        **(defaults | {"task": task} | dict(choice.config)),
        class_names=choice.class_names,
        ordinal=choice.ordinal,
        experiment=run.experiment,
        seed=choice.seed,
        fold=choice.fold,
        epochs=choice.epochs,
    )


def _films(choice: RunOptions) -> pd.DataFrame:
    """Patients with one class each; a fifth of them is the test set, a quarter of the rest (or the fold) validates."""
    generator = np.random.default_rng(choice.split_seed)
    k = len(choice.class_names)
    shares = CLASS_SHARES.get(k, (1 / k,) * k)
    rows = []
    for patient in range(choice.patients):
        label = patient if patient < k else int(generator.choice(k, p=shares))  # every class occurs
        if patient % 5 == 4:
            split = "test"
        elif choice.fold is None:
            split = "val" if patient % 4 == 0 or patient < k else "train"
        else:
            split = "val" if patient % 3 == choice.fold - 1 else "train"
        center = str(patient % 3 + 1)
        if choice.holdout:
            split = "test" if center in choice.holdout else "val" if patient % 4 == 0 or patient < k else "train"
        for film in range(choice.films_per_patient):
            name = f"{choice.split_seed}_{patient:04d}"  # another draw is about other people
            rows.append((f"f{name}_{film}", f"p{name}", center, choice.class_names[label], split))
    return pd.DataFrame(rows, columns=["image_id", "patient_id", "center", "label", "split"])


def _write_split(run: RunDir, films: pd.DataFrame, choice: RunOptions) -> None:
    table = films[["image_id", "patient_id", "split"]].assign(group_id=films["patient_id"], fold="")
    write_table(run.split_table, table[["image_id", "patient_id", "group_id", "split", "fold"]])
    write_json(
        run.split_record,
        {
            "scheme": "center-holdout" if choice.holdout else "stratified" if choice.fold is None else "kfold",
            "holdout": list(choice.holdout),
            "seed": choice.split_seed,
            "counts": _counts(films, choice.class_names),
            "proof": {"patients_shared": 0, "duplicates_shared": 0, "label_conflicts": 0},
            "sha256": sha256_of(run.split_table),
        },
    )


def _counts(films: pd.DataFrame, class_names: tuple[str, ...]) -> dict[str, dict[str, int]]:
    return {
        str(split): {name: int((part["label"] == name).sum()) for name in class_names} for split, part in films.groupby("split")
    }


def _probabilities(films: pd.DataFrame, epoch: int, choice: RunOptions) -> Floats:
    """Softmax of a score that grows with the epochs; difficulty belongs to the film, the rest to the run's seed."""
    k = len(choice.class_names)
    labels = _labels(films, choice.class_names)
    hard = np.random.default_rng(choice.split_seed + 1).normal(size=(len(films), k))
    own = np.random.default_rng([choice.seed, choice.fold or 0]).normal(size=(len(films), k))
    passing = np.random.default_rng([choice.seed, epoch]).normal(size=(len(films), k))
    learnt = 1 - np.exp(-epoch / LEARNING_EPOCHS)
    steps = np.abs(np.arange(k)[None, :] - labels[:, None])
    evidence = -1.1 * steps if choice.ordinal else 1.4 * (steps == 0)
    # late epochs only make the network more certain, so the loss turns while the accuracy stays
    certainty = 1 + 0.1 * max(0.0, epoch - 2 * LEARNING_EPOCHS)
    logits = certainty * (learnt * (choice.skill * evidence + 0.9 * hard + 0.5 * own) + 0.15 * passing)
    grown = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(grown / grown.sum(axis=1, keepdims=True))


def _labels(films: pd.DataFrame, class_names: tuple[str, ...]) -> npt.NDArray[np.intp]:
    return np.array([class_names.index(name) for name in films["label"]], dtype=np.intp)


def _history(val: pd.DataFrame, config: TrainConfig, choice: RunOptions) -> tuple[list[EpochRecord], Floats]:
    labels = _labels(val, choice.class_names)
    records, probabilities = [], {}
    for epoch in range(1, (choice.epochs if choice.epochs_run is None else choice.epochs_run) + 1):
        found = probabilities[epoch] = _probabilities(val, epoch, choice)
        wobble = float(np.random.default_rng([choice.seed, epoch]).normal(scale=0.02))
        progress = epoch / choice.epochs
        records.append(
            EpochRecord(
                epoch=epoch,
                train_loss=0.35 + 1.1 * float(np.exp(-epoch / LEARNING_EPOCHS)) + wobble,
                train_acc=min(0.99, 0.9 - 0.5 * float(np.exp(-epoch / LEARNING_EPOCHS)) - wobble),
                val_loss=float(losses(labels, found).mean()),
                val_acc=float((found.argmax(axis=1) == labels).mean()),
                lr=config.min_lr + (config.lr - config.min_lr) * 0.5 * (1 + float(np.cos(np.pi * (epoch - 0.5) / choice.epochs))),
                lr_next=config.min_lr + (config.lr - config.min_lr) * 0.5 * (1 + float(np.cos(np.pi * progress))),
                train_loss_eval=0.3 + 1.1 * float(np.exp(-epoch / LEARNING_EPOCHS)),
                seconds=12.5,
                images_per_second=40.0,
                **epoch_metrics(labels, found, choice.class_names),
            )
        )
    best = best_epoch(records)
    if best is None:
        return [], np.zeros((len(val), len(choice.class_names)))
    return [record.model_copy(update={"is_best": record is best}) for record in records], probabilities[best.epoch]


def _table(films: pd.DataFrame, probabilities: Floats, class_names: tuple[str, ...]) -> pd.DataFrame:
    table = films[["image_id", "patient_id", "center"]].assign(y_true=films["label"])
    table["y_pred"] = np.array(class_names)[probabilities.argmax(axis=1)]
    return table.assign(**{f"{PROBABILITY_PREFIX}{name}": probabilities[:, k] for k, name in enumerate(class_names)})


def _write_predictions(run: RunDir, on: str, table: pd.DataFrame, choice: RunOptions) -> None:
    write_table(run.predictions_file(on), table)
    best = best_epoch(run.history())
    metrics = evaluate_predictions(
        table,
        choice.class_names,
        choice.ordinal,
        epoch=best.epoch if best else 0,
        split_sha256=sha256_of(run.split_table),
        bootstrap=choice.replicates,
        validation=None if on == "val" else run.predictions("val"),
        on=on,
    )
    run.metrics_file(on).parent.mkdir(exist_ok=True)
    write_json(run.metrics_file(on), metrics.to_json())


def _write_status(run: RunDir, epochs_run: int, choice: RunOptions) -> None:
    now = time.time()
    reasons = {"finished": "max_epochs", "stopped": "user", "failed": "error"}
    status = Status(
        state=choice.state,
        stop_reason=reasons.get(choice.state),  # type: ignore[arg-type]
        epoch=epochs_run,
        epochs=choice.epochs,
        heartbeat_at=now,
        started_at=now - 60,
    )
    write_json(run.status_file, status.to_json())


def _write_summary(run: RunDir, films: pd.DataFrame, config: TrainConfig, choice: RunOptions) -> None:
    history = run.history()
    best, metrics = best_epoch(history), run.metrics("val")
    summary = Summary(
        experiment=run.experiment,
        run=run.name,
        seed=choice.seed,
        fold=choice.fold,
        git_commit="0" * 40,
        hyperparameters=config.to_dict(),
        counts=_counts(films, choice.class_names),
        best_epoch=best.epoch if best else 0,
        epochs_run=len(history),
        stop_reason="max_epochs",
        metrics=metrics.metrics if metrics else {},
        val_loss=best.val_loss if best else None,
        seconds=12.5 * len(history),
    )
    write_json(run.summary_file, summary.to_json())
