"""One training run from its directory to its results: the job that every launcher calls.

``train(run)`` is idempotent: it takes the run's lock and the machine's training slot, starts or goes on where the run stood,
and returns an exit code. The app's supervisor, the command line and a cluster array all call just that.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from mammo_core.analysis.experiment_summary import summarise_where_possible
from mammo_core.errors import MammoError, NonFiniteLoss, RunBusy, WriteFailed
from mammo_core.runs.run_dir import RunDir
from mammo_core.runs.schema import StopReason
from mammo_core.settings import Workspace
from mammo_core.storage import held, writing
from mammo_core.training.ranks import ALONE, Ranks, is_launched, join_ranks
from mammo_core.workflows.exit_codes import BUSY, DISK_FULL, DONE, FAILED, STOPPED
from mammo_core.workflows.run_writer import RunLog, RunWriter
from mammo_core.workflows.slots import LOCK_SECONDS, slots_of
from mammo_core.workflows.training_job import Training

log = logging.getLogger("mammo_core.run")


def train(workspace: Workspace, run: RunDir, ranks: Ranks | None = None, slot: Path | None = None) -> int:
    """Start or continue one run; returns an exit code of the job contract (0 done, 1, 3, 75, 130).

    Everything that goes wrong is recorded in ``status.json`` and ``run.log``; nothing is raised but ``KeyboardInterrupt``. Under
    ``torchrun`` or ``accelerate launch`` every process calls this: the first one holds the locks and writes, the others follow.

    Parameters
    ----------
    ranks : Ranks
        This process among those that train; ``None`` meets the others of a launch here, for this one run.
    slot : Path
        Lock of the training slot; ``None`` takes a free one of the machine's. A cluster, where each training has its own cores,
        names another.
    """
    if ranks is None:
        with join_ranks(run.config().device) if is_launched() else contextlib.nullcontext(ALONE) as joined:
            return train(workspace, run, joined, slot)
    if not ranks.first:
        return _follow(workspace, run, ranks)
    try:
        with (
            _hold(run.lock_file, f"{run.id} is already being trained by another process."),
            _hold(slot, f"{run.id}'s own slot is taken.") if slot else slots_of(workspace).take(every=ranks.count > 1),
            _log_to(run.log_file),
        ):
            code = ranks.tell(DONE if _is_finished(run) else None)  # the others may begin, or need not
            if code is None:
                code = _train_locked(workspace, run, ranks)
            if code in (DONE, STOPPED):
                summarise_where_possible(workspace, run.experiment)
            return code
    except RunBusy as error:
        ranks.tell(BUSY)
        log.warning("%s", error)
        return BUSY
    except WriteFailed as error:  # not even the locks or the log can be written
        ranks.tell(DISK_FULL)
        log.error("%s", error)
        return DISK_FULL


def _is_finished(run: RunDir) -> bool:
    try:
        finished = run.state() == "finished"
    except (MammoError, OSError):  # its state cannot be read: training tells that where it is looked for
        return False
    if finished:
        log.info("%s is finished; nothing is left to do.", run.id)
    return finished


def _follow(workspace: Workspace, run: RunDir, ranks: Ranks) -> int:
    """What the other processes of a launch do: train the same model and write nothing."""
    code = ranks.tell(None)
    if code is not None:
        return int(code)
    try:
        reason = Training(workspace, run, run.config(), None, ranks).go()
    except MammoError as error:  # the first process meets and records the same, or sees that this one is gone
        log.error("Process %d of %d: %s", ranks.rank, ranks.count, error)
        return FAILED
    return STOPPED if reason == "user" else DONE


def _hold(path: Path, busy: str) -> AbstractContextManager[object]:
    return held(path, LOCK_SECONDS, path.name, RunBusy(f"{busy} Wait for it to end, or stop it on the Queue page."))


@contextlib.contextmanager
def _log_to(path: Path) -> Iterator[None]:
    with writing(path.name):
        handler = RunLog(path, encoding="utf-8")
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
        reason = Training(workspace, run, config, writer, ranks).go()
        state = "stopped" if reason == "user" else "finished"
        run.stop_file.unlink(missing_ok=True)
        writer.write_status(
            state=state, stop_reason=reason, eta_seconds=None, finished_at=time.time(), message=_END_WORDS[reason]
        )
        return STOPPED if reason == "user" else DONE
    except WriteFailed as error:
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
        _note_failure(writer, "error", f"Training failed unexpectedly ({type(error).__name__}). The log has the details.")
    return FAILED


_END_WORDS: dict[StopReason, str] = {
    "max_epochs": "All planned epochs are done.",
    "early_stopping": "Stopped early: the validation loss no longer fell.",
    "user": "Stopped on request; Resume goes on from the last whole epoch.",
}


def _note_failure(writer: RunWriter | None, reason: StopReason, message: str) -> None:
    if writer is None:
        return
    with contextlib.suppress(WriteFailed):  # the state then stays "running" and is recognised as interrupted
        writer.write_status(state="failed", stop_reason=reason, message=message, eta_seconds=None, finished_at=time.time())
