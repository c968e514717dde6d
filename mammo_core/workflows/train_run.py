"""One training run from its directory to its results: the job that every launcher calls.

``train(run)`` is idempotent: it takes the run's lock and the machine's training slot, starts or goes on where the run stood,
and returns an exit code. The app's supervisor, the command line and a cluster array all call just that.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch

from mammo_core.analysis.variance import write_experiment_summary
from mammo_core.config import TrainConfig
from mammo_core.data.preprocess import PREPROCESSING_VERSION
from mammo_core.errors import CheckpointMismatch, ConfigError, DataError, DiskFull, MammoError, NonFiniteLoss, RunBusy
from mammo_core.runs.history import best_epoch
from mammo_core.runs.run_dir import RunDir, find_run
from mammo_core.runs.schema import StopReason
from mammo_core.settings import Workspace, physical_cores
from mammo_core.storage import lock_of, sha256_of, write_atomic, write_json
from mammo_core.training.batches import largest_share
from mammo_core.training.checkpoint import Checkpoint, cpu_copy, load_checkpoint, load_tensors, save_checkpoint
from mammo_core.training.engine import Engine, EpochOutcome, Stopped
from mammo_core.training.models import Normalisation, choose_device, new_model, normalisation_of
from mammo_core.training.planning import plan_steps
from mammo_core.training.ranks import ALONE, Ranks, is_launched, join_ranks
from mammo_core.training.steps import StepPlan
from mammo_core.training.weights import find_weights, load_into
from mammo_core.workflows.environment import describe_environment
from mammo_core.workflows.exit_codes import BUSY, DISK_FULL, DONE, FAILED, STOPPED
from mammo_core.workflows.films import PreparedSplit, prepare_split
from mammo_core.workflows.predictions import add_intervals, prediction_table, write_evaluation
from mammo_core.workflows.results import write_figures, write_summary
from mammo_core.workflows.run_writer import RunWriter

log = logging.getLogger("mammo_core.run")

LOCK_SECONDS = 2.0
"""A reader that probes a lock holds it for an instant; a trainer outwaits that, not another trainer."""

ASK_EVERY = 25
"""Steps between two questions whether to stop, where several processes have to hear the answer."""

MACHINE_SETTINGS = ("num_workers", "threads", "micro_batch")
"""Settings that may differ on resume, because the result does not depend on them."""


def train(workspace: Workspace, run: RunDir, ranks: Ranks | None = None, slot: Path | None = None) -> int:
    """Start or continue one run; returns an exit code of the job contract (0 done, 1, 3, 75, 130).

    Everything that goes wrong is recorded in ``status.json`` and ``run.log``; nothing is raised but ``KeyboardInterrupt``. Under
    ``torchrun`` or ``accelerate launch`` every process calls this: the first one holds the locks and writes, the others follow.

    Parameters
    ----------
    ranks : Ranks
        This process among those that train; ``None`` meets the others of a launch here, for this one run.
    slot : Path
        Lock of the training slot; ``None`` is the machine's. A cluster, where each training has its own cores, names another.
    """
    if ranks is None:
        with join_ranks(run.config().device) if is_launched() else contextlib.nullcontext(ALONE) as joined:
            return train(workspace, run, joined, slot)
    if not ranks.first:
        return _follow(workspace, run, ranks)
    try:
        with (
            _hold(run.lock_file, f"{run.id} is already being trained by another process."),
            _hold(slot or workspace.slot_lock, "Another training holds this machine's training slot."),
            _log_to(run.log_file),
        ):
            ranks.tell(None)  # the others may begin
            return _train_locked(workspace, run, ranks)
    except RunBusy as error:
        ranks.tell(BUSY)
        log.warning("%s", error)
        return BUSY


def _follow(workspace: Workspace, run: RunDir, ranks: Ranks) -> int:
    """What the other processes of a launch do: train the same model and write nothing."""
    code = ranks.tell(None)
    if code is not None:
        return int(code)
    try:
        reason = _Training(workspace, run, run.config(), None, ranks).go()
    except MammoError as error:  # the first process meets and records the same, or sees that this one is gone
        log.error("Process %d of %d: %s", ranks.rank, ranks.count, error)
        return FAILED
    return STOPPED if reason == "user" else DONE


@contextlib.contextmanager
def _hold(path: Path, busy: str) -> Iterator[None]:
    lock = lock_of(path)
    try:
        lock.acquire(timeout=LOCK_SECONDS)
    except TimeoutError as error:
        raise RunBusy(f"{busy} Wait for it to end, or stop it on the Queue page.") from error
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def _log_to(path: Path) -> Iterator[None]:
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    root = logging.getLogger("mammo_core")
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.close()


def _train_locked(workspace: Workspace, run: RunDir, ranks: Ranks) -> int:
    writer = None
    try:
        config = run.config()
        run.stop_file.unlink(missing_ok=True)  # an old wish to stop does not end the run that is started now
        writer = RunWriter(run, config)
        reason = _Training(workspace, run, config, writer, ranks).go()
        state = "stopped" if reason == "user" else "finished"
        run.stop_file.unlink(missing_ok=True)
        writer.write_status(
            state=state, stop_reason=reason, eta_seconds=None, finished_at=time.time(), message=_END_WORDS[reason]
        )
        write_experiment_summary(workspace, run.experiment)
        return STOPPED if reason == "user" else DONE
    except DiskFull as error:
        log.error("%s", error)
        _note_failure(writer, "error", str(error))
        return DISK_FULL
    except NonFiniteLoss as error:
        log.error("%s", error)
        _note_failure(writer, "non_finite", str(error))
    except MammoError as error:
        log.error("%s", error)
        _note_failure(writer, "error", str(error))
    except Exception as error:  # noqa: BLE001  the job's outermost frame: nobody above could report it
        log.exception("Training %s failed", run.id)
        _note_failure(
            writer, "error", f"Training failed unexpectedly ({type(error).__name__}: {error}). The log has the details."
        )
    return FAILED


_END_WORDS: dict[StopReason, str] = {
    "max_epochs": "All planned epochs are done.",
    "early_stopping": "Stopped early: the validation loss no longer fell.",
    "user": "Stopped on request; Resume goes on from the last whole epoch.",
}


def _note_failure(writer: RunWriter | None, reason: StopReason, message: str) -> None:
    if writer is None:
        return
    with contextlib.suppress(DiskFull):  # the state then stays "running" and is recognised as interrupted
        writer.write_status(state="failed", stop_reason=reason, message=message, eta_seconds=None, finished_at=time.time())


@dataclass
class _Training:
    """The steps of one run, in their order."""

    workspace: Workspace
    run: RunDir
    config: TrainConfig
    writer: RunWriter | None
    """``None`` in the processes that follow the first one."""
    ranks: Ranks = ALONE

    def go(self) -> StopReason:
        run, config, ranks = self.run, self.config, self.ranks
        threads = config.threads or max(1, physical_cores() // ranks.count)
        torch.set_num_threads(threads)
        device = choose_device(config.device)
        if config.deterministic:
            _only_deterministic()
        if ranks.first:
            write_json(run.environment_file, {**describe_environment(str(device), threads), "processes": ranks.count})
        log.info("Training %s on %s with %d threads in %d process(es)", run.id, device, threads, ranks.count)
        with _stop_on_signal(run):
            films = self._prepare()
            state = self._kept_state()
            model, normalisation = self._first_weights() if state is None else self._kept_model(state)
            train, validation = films.part("train"), films.part("val")
            plan = self._plan(model, device, len(train), threads) if state is None or not state.get("plan") else None
            engine = Engine(config, model, normalisation, train, validation, device, self._on_step, ranks, plan)
            fingerprint = _fingerprint(run, config, films)
            if state is not None:
                self._resume(engine, state, fingerprint)
            reason = self._fit(engine, films, fingerprint)
            engine.close()
        if ranks.first and run.best_model.exists():
            self._finish(engine, films, reason)
        return reason

    def _prepare(self) -> PreparedSplit:
        """The films of the split; the first process reads what the cache lacks, and the others then find it there."""
        if self.writer is None:
            failed = self.ranks.tell("")
            if failed:
                raise DataError(failed)
            return prepare_split(self.workspace, self.run, self.config, lambda done, total: None)
        try:
            films = prepare_split(self.workspace, self.run, self.config, self.writer.preparing)
        except MammoError as error:
            self.ranks.tell(str(error))
            raise
        self.ranks.tell("")
        for image_id, sentence in films.left_out:
            log.warning("Left out film %s: %s", image_id, sentence)
        return films

    def _first_weights(self) -> tuple[torch.nn.Module, Normalisation]:
        config = self.config
        model = new_model(config)
        normalisation = normalisation_of(model)
        if config.init_from:
            earlier = load_checkpoint(find_run(self.workspace, config.init_from).best_model)
            if (earlier.config.arch, earlier.class_names) != (config.arch, config.class_names):
                raise CheckpointMismatch(
                    f"init_from {config.init_from} is a {earlier.config.arch} for {', '.join(earlier.class_names)}; expected "
                    f"{config.arch} for {', '.join(config.class_names)}. Choose a run of the same architecture and classes."
                )
            model.load_state_dict(earlier.weights)
            return model, earlier.normalisation
        source = find_weights(config.arch, config.weights)
        log.info("First weights: %s", source.text)
        load_into(model, config.arch, source)
        return model, normalisation

    def _plan(self, model: torch.nn.Module, device: torch.device, films: int, threads: int) -> StepPlan:
        """The first process measures and decides for all; a resume takes the plan out of its state instead."""
        share = largest_share(self.config.batch_size, self.ranks)
        decided = plan_steps(self.config, model, device, films, share, threads) if self.ranks.first else StepPlan()
        return self.ranks.tell(decided)

    def _on_step(self, step: int, steps: int) -> None:
        if (self.ranks.count == 1 or step % ASK_EVERY == 0) and self._asked_to_stop():
            raise Stopped
        if self.writer is not None:
            self.writer.step(step, steps)

    def _asked_to_stop(self) -> bool:
        """The first process looks and tells: all have to stop after the same step."""
        return self.ranks.tell(self.run.stop_file.exists())

    def _kept_state(self) -> dict[str, Any] | None:
        """What the last whole epoch left behind; ``None`` in a run that never had one."""
        try:
            return load_tensors(self.run.resume_file)
        except FileNotFoundError:
            return None

    def _kept_model(self, state: dict[str, Any]) -> tuple[torch.nn.Module, Normalisation]:
        """The bare model for a resume: its weights come from the state, so those it once started from may be gone."""
        if "normalisation" not in state:  # left by an earlier version
            return self._first_weights()
        return new_model(self.config), Normalisation.from_dict(state["normalisation"])

    def _resume(self, engine: Engine, state: dict[str, Any], fingerprint: dict[str, str]) -> None:
        changed = [name for name, value in fingerprint.items() if state["fingerprint"].get(name) != value]
        if changed:
            raise ConfigError(
                f"{self.run.id} cannot be resumed: its {' and '.join(changed)} changed since it was started, so the result would "
                "be neither the old run's nor a new one's. Put them back, or start a new run."
            )
        engine.load_state(state)
        torch.set_num_threads(engine.plan_in_use.threads)  # with another number the last bits could differ
        if self.writer is not None:
            self.writer.write_history(engine.history)  # a kill may have left them one epoch behind
            self.writer.write_status(epoch=len(engine.history))
        log.info("Resumed after epoch %d", len(engine.history))

    def _fit(self, engine: Engine, films: PreparedSplit, fingerprint: dict[str, str]) -> StopReason:
        try:
            for outcome in engine.fit():
                if self.writer is not None:
                    self._keep_epoch(self.writer, engine, films, outcome, fingerprint)
                if self._asked_to_stop() and engine.stop_reason() is None:
                    raise Stopped
        except Stopped:
            return "user"
        except NonFiniteLoss:
            if self.writer is not None:
                self.writer.write_history(engine.history)
            raise
        return engine.stop_reason() or "max_epochs"

    def _keep_epoch(
        self, writer: RunWriter, engine: Engine, films: PreparedSplit, outcome: EpochOutcome, fingerprint: dict[str, str]
    ) -> None:
        if outcome.record.is_best:
            self._keep_best(engine, films, outcome)
        state = {**engine.state(), "fingerprint": fingerprint, "normalisation": engine.normalisation.to_dict()}
        write_atomic(self.run.resume_file, lambda file: torch.save(state, file))
        writer.epoch_done(engine.history)

    def _keep_best(self, engine: Engine, films: PreparedSplit, outcome: EpochOutcome) -> None:
        """The best checkpoint with the predictions and features that belong to it."""
        save_checkpoint(self.run.best_model, self._checkpoint(engine, films, outcome.record.epoch))
        table = prediction_table(films.rows("val"), outcome.validation.probabilities, self.config.class_names)
        write_evaluation(self.run, "val", table, outcome.record.epoch, bootstrap=0)  # the intervals wait for the end
        features = outcome.validation.features
        write_atomic(self.run.embeddings, lambda file: np.save(file, features, allow_pickle=False))

    def _checkpoint(self, engine: Engine, films: PreparedSplit, epoch: int) -> Checkpoint:
        record = engine.history[epoch - 1]
        return Checkpoint(
            weights=cpu_copy(engine.judged),
            config=self.config,
            normalisation=engine.normalisation,
            preprocessing_version=PREPROCESSING_VERSION,
            epoch=epoch,
            metrics={
                name: getattr(record, name) for name in ("val_loss", "val_acc", "val_balanced_acc", "val_macro_f1", "val_auc_ovr")
            },
            origin={
                "run": self.run.id,
                "dataset": self.config.dataset,
                "synthetic": films.synthetic,
                "split_sha256": sha256_of(self.run.split_table),
                "train_films": len(engine.train),
                "train_patients": int(films.rows("train")["patient_id"].nunique()),
                "created_at": time.strftime("%Y-%m-%d"),
            },
        )

    def _finish(self, engine: Engine, films: PreparedSplit, reason: StopReason) -> None:
        save_checkpoint(self.run.final_model, self._checkpoint(engine, films, len(engine.history)))
        best = best_epoch(engine.history)
        if best is None:
            return
        if self.writer is not None:
            self.writer.write_status(message="Writing metrics and figures")
        add_intervals(self.run, "val")
        write_summary(
            self.run, self.config, engine.history, films.class_counts(), {"stop_reason": reason, "left_out": len(films.left_out)}
        )
        write_figures(self.run, self.config, engine.history)


def _only_deterministic() -> None:
    """Let torch use nothing but algorithms that give the same result each time; what has none raises."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)


def _fingerprint(run: RunDir, config: TrainConfig, films: PreparedSplit) -> dict[str, str]:
    """What must be the same for a resume to be exact: settings, split and the films' decoded pixels."""
    settings = {key: value for key, value in config.to_dict().items() if key not in MACHINE_SETTINGS}
    return {
        "configuration": hashlib.sha256(repr(sorted(settings.items())).encode()).hexdigest(),
        "split": sha256_of(run.split_table),
        "films": films.content_sha256(),
    }


@contextlib.contextmanager
def _stop_on_signal(run: RunDir) -> Iterator[None]:
    """Treat SIGTERM and Ctrl-C as the STOP file: finish the batch, keep the last whole epoch."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(number: int, frame: FrameType | None) -> None:
        run.ask_to_stop()

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
