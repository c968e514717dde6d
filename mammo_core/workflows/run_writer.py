"""The one writer of a run directory while it trains: status, history and checkpoints, each replaced in one step.

Order within an epoch: ``resume.pt`` (the truth from which a run goes on), then the best checkpoint and its predictions (which a
resume makes again from it), then the history files that pages read. A kill between any two leaves a run that resumes to the same
bytes.
"""

from __future__ import annotations

import contextlib
import logging
import pickle
import statistics
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from mammo_core.config import TrainConfig
from mammo_core.runs.history import history_frame
from mammo_core.runs.liveness import this_process
from mammo_core.runs.run_dir import RunDir
from mammo_core.runs.schema import EpochRecord, Status
from mammo_core.storage import leftovers, sync_folder, write_atomic, write_json, write_table

log = logging.getLogger("mammo_core.run")

STATUS_SECONDS = 2.0
"""Least time between two writings of status.json inside an epoch; also the heartbeat."""

ALARM_EPOCHS = 2

PARENTS = 3
"""Folders above a run that a launch may have made: its experiment, ``experiments`` and the workspace."""

ETA_AFTER_EPOCHS = 2
"""Before that the epoch time has not settled (caches fill, kernels are chosen) and no time to go is shown."""


class RunLog(logging.FileHandler):
    """``run.log``. A line that the disk refuses is lost; no training ends for it, and nothing is printed about it."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Let the line go."""

    def close(self) -> None:
        with contextlib.suppress(OSError):
            super().close()


class RunWriter:
    """Writes the files of one run; to be used only while its lock is held."""

    def __init__(self, run: RunDir, config: TrainConfig) -> None:
        self.run = run
        self._config = config
        now = time.time()
        before = run.status()
        self._status = Status(
            state="running",
            epoch=before.epoch if before else 0,
            epochs=config.epochs,
            created_at=before.created_at if before else now,
            started_at=(before.started_at if before else None) or now,
            **this_process(),
        )
        self._epoch_seconds: list[float] = []
        self._written_at = 0.0
        self._wrong = 0
        _make_ready(run)
        self.write_status()

    def write_status(self, **changes: Any) -> None:
        """Change fields of ``status.json``; also the heartbeat."""
        self._written_at = time.monotonic()
        self._status = self._status.model_copy(update={**changes, "heartbeat_at": time.time()})
        write_json(self.run.status_file, self._status.to_json())

    def preparing(self, done: int, total: int, message: str = "Preparing films") -> None:
        if time.monotonic() - self._written_at >= STATUS_SECONDS:
            self.write_status(message=f"{message}: {done} of {total}")

    def step(self, step: int, steps: int) -> None:
        """Note the progress inside an epoch, at most every two seconds."""
        if time.monotonic() - self._written_at >= STATUS_SECONDS:
            self.write_status(step=step, steps=steps, eta_seconds=self._eta(self._status.epoch + step / steps))

    def _eta(self, epochs_done: float) -> float | None:
        if len(self._epoch_seconds) < ETA_AFTER_EPOCHS:
            return None
        return max(0.0, (self._config.epochs - epochs_done) * statistics.median(self._epoch_seconds))

    def write_history(self, records: Sequence[EpochRecord]) -> None:
        """Write the three forms of the history and the epoch count."""
        frame = history_frame(records)
        write_json(self.run.history_file, [record.to_json() for record in records])
        write_table(self.run.training_log, frame)
        arrays = {
            "epochs": frame["epoch"].to_numpy(np.int64),
            "train_losses": _column(frame, "train_loss"),
            "val_losses": _column(frame, "val_loss"),
            "train_accs": _column(frame, "train_acc"),
            "val_accs": _column(frame, "val_acc"),
            "lrs": _column(frame, "lr"),
        }
        write_atomic(self.run.history_pickle, lambda file: pickle.dump(arrays, file, protocol=4))

    def epoch_done(self, records: Sequence[EpochRecord]) -> None:
        self.write_history(records)
        last = records[-1]
        self._epoch_seconds.append(last.seconds or 0.0)
        self.write_status(epoch=last.epoch, step=0, message="", eta_seconds=self._eta(last.epoch))
        log.info("epoch %d/%d  %s", last.epoch, self._config.epochs, _line(last))

    def watch(self, sentence: str) -> None:
        """Take in what this epoch looks like; the same wrong two epochs in a row is an alarm, since a first epoch may stumble.

        Parameters
        ----------
        sentence : what is wrong and what to do; empty where nothing is
        """
        self._wrong = self._wrong + 1 if sentence else 0
        alarm = sentence if self._wrong >= ALARM_EPOCHS else ""
        if alarm and not self._status.alarm:
            log.warning("Alarm: %s", alarm)
        elif self._status.alarm and not alarm:
            log.info("The alarm is over.")
        if alarm != self._status.alarm:
            self.write_status(alarm=alarm)


def _make_ready(run: RunDir) -> None:
    """Remove what a killed writer left, whose room this one may need, and let the run's folder outlive a power cut.

    The files named here have one writer, the holder of the run's lock. Of others (test predictions, notes) only what is old goes.
    """
    own = (
        *(run.status_file, run.history_file, run.history_pickle, run.training_log, run.resume_file, run.best_model),
        *(run.final_model, run.embeddings, run.summary_file, run.loss_curve, run.recall_curve, run.environment_file),
        *(run.predictions_file("val"), run.metrics_file("val")),
    )
    fronts = tuple(f".{path.name}." for path in own)
    folders = (run.path, run.metrics_file("val").parent)
    found = [path for folder in folders for path in leftovers(folder, 0.0) if path.name.startswith(fronts)]
    for path in {*found, *(path for folder in folders for path in leftovers(folder))}:
        with contextlib.suppress(OSError):
            path.unlink()
    for folder in run.path.parents[:PARENTS]:
        with contextlib.suppress(OSError):  # outside a workspace a parent may not be ours to open
            sync_folder(folder)


def _column(frame: pd.DataFrame, name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    return frame[name].to_numpy(np.float64)


def _line(record: EpochRecord) -> str:
    def show(value: float | None) -> str:
        return "undefined" if value is None else f"{value:.4f}"

    best = "  (best so far)" if record.is_best else ""
    return (
        f"train loss {show(record.train_loss)}  val loss {show(record.val_loss)}  val acc {show(record.val_acc)}  "
        f"lr {record.lr if record.lr is not None else 0:.2e}  {record.seconds or 0:.1f} s{best}"
    )
