"""The steps of one run, from its films to its last file. Who may train it, and what a failure means, is said by ``train_run``."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import FrameType
from typing import Any

import numpy as np
import torch

from mammo_core.config import TrainConfig
from mammo_core.data.embeddings import EmbeddingTable, find_embeddings, load_embeddings
from mammo_core.data.preprocess import PREPROCESSING_VERSION
from mammo_core.errors import CheckpointMismatch, ConfigError, DataError, MammoError, NonFiniteLoss, Stopped
from mammo_core.runs.history import best_epoch
from mammo_core.runs.run_dir import RunDir, find_run
from mammo_core.runs.schema import StopReason
from mammo_core.settings import Workspace, physical_cores
from mammo_core.storage import sha256_of, write_atomic, write_json
from mammo_core.training.batches import FilmSet, largest_share
from mammo_core.training.checkpoint import Checkpoint, cpu_copy, load_checkpoint, load_tensors, save_checkpoint
from mammo_core.training.engine import Engine, EpochOutcome
from mammo_core.training.fusion import EMBEDDER_PREFIX, EmbedderSpec, FusedClassifier, backbone_of
from mammo_core.training.inference import Inference
from mammo_core.training.models import Normalisation, choose_device, new_model, normalisation_of
from mammo_core.training.planning import only_deterministic, plan_steps
from mammo_core.training.ranks import ALONE, Ranks
from mammo_core.training.steps import StepPlan
from mammo_core.training.weights import find_weights, load_into
from mammo_core.workflows.diagnose import diagnose_run
from mammo_core.workflows.environment import describe_environment
from mammo_core.workflows.films import PreparedSplit, Progress, prepare_split
from mammo_core.workflows.predictions import add_intervals, forget_evaluations, prediction_table, write_evaluation
from mammo_core.workflows.results import write_figures, write_summary
from mammo_core.workflows.run_writer import RunWriter

log = logging.getLogger("mammo_core.run")

ASK_EVERY = 25
"""Steps between two questions whether to stop, where several processes have to hear the answer."""

KERNELS = "TORCHINDUCTOR_CACHE_DIR"
"""Where torch keeps what it compiles and later runs; its own choice is a folder that any account could have made first."""

ALARMS = ("COLLAPSE", "COLLAPSE_SUDDEN")
"""Findings on which a person may want to stop a training that runs."""

MACHINE_SETTINGS = ("num_workers", "threads", "micro_batch")
"""Settings that may differ on resume, because the result does not depend on them."""


@dataclass
class Training:
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
            only_deterministic()
        os.environ.setdefault(KERNELS, str(self.workspace.cache / "kernels"))
        if ranks.first:
            write_json(run.environment_file, {**describe_environment(str(device), threads), "processes": ranks.count})
        log.info("Training %s on %s with %d threads in %d process(es)", run.id, device, threads, ranks.count)
        with _stop_on_signal(run):
            try:
                films = self._prepare()
            except Stopped:
                return "user"
            state = self._kept_state()
            train, validation = films.part("train"), films.part("val")
            width = 0 if films.embeddings is None else films.embeddings.record.features
            model, normalisation = self._first_weights(train, width) if state is None else self._kept_model(state, train, width)
            plan = self._plan(model, device, len(train), threads) if state is None or not state.get("plan") else None
            engine = Engine(config, model, normalisation, train, validation, device, self._on_step, ranks, plan)
            fingerprint = _fingerprint(run, config, films)
            if state is not None:
                self._resume(engine, films, state, fingerprint)
            used = engine.plan_in_use
            log.info("Steps in %s, %d film(s) at once, CUDA graph: %s", used.precision, used.micro_batch, used.graphs)
            reason = self._fit(engine, films, fingerprint)
            engine.close()
        if ranks.first and engine.history and run.best_model.exists():
            state = self._kept_state() if reason == "user" else None
            if state is not None:
                engine.load_weights(state)  # a part of an epoch may have changed them since
            self._finish(engine, films, reason)
        return reason

    def _prepare(self) -> PreparedSplit:
        """The films of the split; the first process reads what the cache lacks, and the others then find it there."""
        if self.writer is None:
            failed = self.ranks.tell("")
            if failed:
                raise DataError(failed)
            return self._films(lambda done, total: None)
        try:
            films = self._films(self._on_film)
        except MammoError as error:
            self.ranks.tell(str(error))
            raise
        self.ranks.tell("")
        for image_id, sentence in films.left_out:
            log.warning("Left out film %s: %s", image_id, sentence)
        return films

    def _films(self, progress: Progress) -> PreparedSplit:
        films = prepare_split(self.workspace, self.run, self.config, progress)
        if self.config.embeddings is None:
            return films
        return replace(films, embeddings=load_embeddings(find_embeddings(self.workspace, self.config.embeddings)))

    def _first_weights(self, train: FilmSet, width: int) -> tuple[torch.nn.Module, Normalisation]:
        config = self.config
        model = new_model(config, width)
        normalisation = normalisation_of(model)
        if isinstance(model, FusedClassifier) and train.embeddings is not None:
            model.standardise(torch.from_numpy(train.embeddings))
        if config.init_from:
            earlier = load_checkpoint(find_run(self.workspace, config.init_from).best_model)
            width_before = earlier.embedder.width if earlier.embedder else 0
            if (earlier.config.arch, earlier.class_names, width_before) != (config.arch, config.class_names, width):
                raise CheckpointMismatch(
                    f"init_from {config.init_from} is a {_kind(earlier.config, width_before)}; expected "
                    f"{_kind(config, width)}. Choose a run of the same architecture, classes and embeddings."
                )
            model.load_state_dict(earlier.trained_weights)
            return model, earlier.normalisation
        source = find_weights(config.arch, config.weights)
        log.info("First weights: %s", source.text)
        load_into(backbone_of(model), config.arch, source)
        return model, normalisation

    def _plan(self, model: torch.nn.Module, device: torch.device, films: int, threads: int) -> StepPlan:
        """The first process measures and decides for all; a resume takes the plan out of its state instead."""
        share = largest_share(self.config.batch_size, self.ranks)
        decided = plan_steps(self.config, model, device, films, share, threads) if self.ranks.first else StepPlan()
        return self.ranks.tell(decided)

    def _on_film(self, done: int, total: int) -> None:
        """Reading thousands of new films takes an hour, which a wish to stop need not outwait; what was read is kept."""
        if self.ranks.count == 1 and self.run.stop_file.exists():
            raise Stopped
        if self.writer is not None:
            self.writer.preparing(done, total)

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

    def _kept_model(self, state: dict[str, Any], train: FilmSet, width: int) -> tuple[torch.nn.Module, Normalisation]:
        """The bare model for a resume: its weights come from the state, so those it once started from may be gone."""
        if "normalisation" not in state:  # left by an earlier version
            return self._first_weights(train, width)
        return new_model(self.config, width), Normalisation.from_dict(state["normalisation"])

    def _resume(self, engine: Engine, films: PreparedSplit, state: dict[str, Any], fingerprint: dict[str, str]) -> None:
        changed = [name for name, value in fingerprint.items() if state["fingerprint"].get(name) != value]
        if changed:
            raise ConfigError(
                f"{self.run.id} cannot be resumed: its {' and '.join(changed)} changed since it was started, so the result would "
                "be neither the old run's nor a new one's. Put them back, or start a new run."
            )
        engine.load_state(state)
        torch.set_num_threads(engine.plan_in_use.threads)  # with another number the last bits could differ
        last = engine.history[-1] if engine.history else None
        if last is not None and last.is_best:  # a kill may have come before its checkpoint and predictions were all written
            validation = engine.infer(engine.val_loader)
            if self.ranks.first:
                self._keep_best(engine, films, last.epoch, validation)
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
        state = {**engine.state(), "fingerprint": fingerprint, "normalisation": engine.normalisation.to_dict()}
        write_atomic(self.run.resume_file, lambda file: torch.save(state, file))
        if outcome.record.is_best:  # later than the state, from which a resume makes it again: never of an epoch that is lost
            self._keep_best(engine, films, outcome.record.epoch, outcome.validation)
        writer.epoch_done(engine.history)
        wrong = next((found for found in diagnose_run(self.run).findings if found.id in ALARMS), None)
        writer.watch(f"{wrong.text} {wrong.advice}" if wrong else "")

    def _keep_best(self, engine: Engine, films: PreparedSplit, epoch: int, validation: Inference) -> None:
        """The best checkpoint with the predictions and features that belong to it, and none that belong to an earlier one."""
        forget_evaluations(self.run, epoch)
        save_checkpoint(self.run.best_model, self._checkpoint(engine, films, epoch))
        table = prediction_table(films.rows("val"), validation.probabilities, self.config.class_names)
        write_evaluation(self.run, "val", table, epoch, bootstrap=0)  # the intervals wait for the end
        features = validation.features
        write_atomic(self.run.embeddings, lambda file: np.save(file, features, allow_pickle=False))

    def _checkpoint(self, engine: Engine, films: PreparedSplit, epoch: int) -> Checkpoint:
        record = engine.history[epoch - 1]
        return Checkpoint(
            weights=cpu_copy(engine.judged) | (_network(films.embeddings) if films.embeddings else {}),
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
            embedder=_spec(films.embeddings) if films.embeddings else None,
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


def _fingerprint(run: RunDir, config: TrainConfig, films: PreparedSplit) -> dict[str, str]:
    """What must be the same for a resume to be exact: settings, split and the films' decoded pixels."""
    settings = {key: value for key, value in config.to_dict().items() if key not in MACHINE_SETTINGS}
    return {
        "configuration": hashlib.sha256(repr(sorted(settings.items())).encode()).hexdigest(),
        "split": sha256_of(run.split_table),
        "films": films.content_sha256(),
        **({"embeddings": repr(sorted(films.embeddings.record.sha256.items()))} if films.embeddings else {}),
    }


def _kind(config: TrainConfig, width: int) -> str:
    joined = f" with {width} embedded features" if width else ""
    return f"{config.arch}{joined} for {', '.join(config.class_names)}"


def _spec(embeddings: EmbeddingTable) -> EmbedderSpec:
    record = embeddings.record
    return EmbedderSpec(record.arch, record.mean, record.std, record.features)


def _network(embeddings: EmbeddingTable) -> dict[str, torch.Tensor]:
    """The frozen network's tensors, named as a complete model names them."""
    return {EMBEDDER_PREFIX + name: value for name, value in load_tensors(embeddings.network).items()}


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
