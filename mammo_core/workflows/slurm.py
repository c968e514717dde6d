"""Training on a cluster: many runs as one Slurm job array, each task the same idempotent ``train`` as everywhere.

The workspace lies on a file system that every node sees. A task that Slurm puts back into its queue (pre-emption, time limit,
``scontrol requeue``) goes on from the run's last whole epoch when it starts again. ``submitit`` writes the batch script.
"""

from __future__ import annotations

import contextlib
import getpass
import io
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mammo_core.errors import ConfigError, MammoError
from mammo_core.reading import read_json
from mammo_core.runs.run_dir import RunDir, find_run
from mammo_core.runs.schema import LIVE_STATES, RESUMABLE_STATES
from mammo_core.settings import PROJECT_ROOT, Workspace
from mammo_core.storage import write_json
from mammo_core.terminal import log_to_stderr
from mammo_core.workflows.commands import groups_of

if TYPE_CHECKING:
    from submitit.core.utils import DelayedSubmission

RECORD = "slurm.json"
"""Beside a run's other files: the job that trains it."""

FOLDER = "slurm"
"""In the workspace: batch scripts, and what each task says."""

MAX_TIMEOUTS = 1000
"""How often ``submitit`` may put a task back; a task that gets nowhere gives up by :data:`MAX_IDLE_STARTS` long before."""

MAX_IDLE_STARTS = 5
"""Starts in a row without one whole epoch after which a task gives up: the next would not get further."""

QUERY_SECONDS = 60

MEMORY_UNITS = {"M": 1 / 1024, "G": 1.0, "T": 1024.0}


@dataclass(frozen=True, kw_only=True)
class SlurmOptions:
    """What each task of the array asks Slurm for."""

    partition: str | None = None
    """``None`` takes the cluster's default."""
    minutes: int = 12 * 60
    """Time limit of one start; a task that needs longer is put back and goes on."""
    gpus: int = 1
    """One training process for each; 0 trains on the CPU in one process."""
    cpus: int = 4
    """For each process."""
    memory_gb: float = 16.0
    parallel: int = 8
    """Tasks of the array that may run at once."""

    def __post_init__(self) -> None:
        for name, least in (("minutes", 1), ("gpus", 0), ("cpus", 1), ("parallel", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"The Slurm option {name} is {getattr(self, name)}; expected a whole number from {least}.")
        if self.memory_gb <= 0:
            raise ConfigError(f"The memory of a Slurm task is {self.memory_gb:g} GB; expected more than 0.")

    def for_submitit(self, name: str) -> dict[str, Any]:
        """The same in the words of ``submitit.AutoExecutor.update_parameters``."""
        return {
            "name": name,
            "timeout_min": self.minutes,
            "mem_gb": self.memory_gb,
            "nodes": 1,
            "cpus_per_task": self.cpus,
            "tasks_per_node": max(1, self.gpus),
            "gpus_per_node": self.gpus or None,
            "slurm_partition": self.partition,
            "slurm_array_parallelism": self.parallel,
            "slurm_additional_parameters": {"requeue": True},
            "slurm_srun_args": [f"--cpus-per-task={self.cpus}"],  # since Slurm 22.05 srun no longer takes it from sbatch
            "slurm_setup": [f"export PYTHONPATH={shlex.quote(str(PROJECT_ROOT))}${{PYTHONPATH:+:$PYTHONPATH}}"],
        }


def minutes_of(text: str) -> int:
    """Whole minutes, rounded up, of a time limit as ``sbatch --time`` takes it.

    Raises
    ------
    ConfigError
        It is none of ``90``, ``90:00``, ``12:00:00``, ``2-0``, ``2-12:00``, ``2-12:00:00``, or no time at all.
    """
    found = re.fullmatch(r"(?:(\d+)-)?(\d+(?::\d+){0,2})", text.strip())
    seconds = 0.0
    if found:
        parts = [int(part) for part in found[2].split(":")]
        units = (3600, 60, 1) if found[1] or len(parts) == 3 else (60, 1)
        seconds = int(found[1] or 0) * 86400 + sum(part * unit for part, unit in zip(parts, units, strict=False))
    if seconds <= 0:
        raise ConfigError(f"--time is {text!r}; expected minutes, HH:MM:SS or D-HH:MM:SS as sbatch takes it, such as 12:00:00.")
    return -int(-seconds // 60)


def gigabytes_of(text: str) -> float:
    """Gigabytes of ``16G``, ``900M`` or ``1.5T``; a bare number is refused, since Slurm itself reads it as megabytes."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([MGT])B?", text.strip().upper())
    if not found:
        raise ConfigError(f"--memory is {text!r}; expected a number with its unit, such as 16G or 900M.")
    return float(found[1]) * MEMORY_UNITS[found[2]]


def check_slurm_here() -> None:
    """Raise :class:`ConfigError` on a machine from which nothing can be submitted."""
    if not (shutil.which("sbatch") and shutil.which("srun")):
        raise ConfigError(
            "This machine has no sbatch and srun, with which jobs are submitted to Slurm. Run the command on a login node of "
            "the cluster, or use --launcher local."
        )


# ---- what is submitted ----------------------------------------------------------------------------------------------------


def unfinished_runs(workspace: Workspace, names: Sequence[str]) -> list[RunDir]:
    """The runs among experiments and single runs that wait, were interrupted or stopped, or failed, and are in no Slurm job.

    Raises
    ------
    ConfigError
        There is none.
    """
    runs = [run for group in groups_of(workspace, names).values() for run in group]
    wanted = [run for run in runs if run.state() in RESUMABLE_STATES | {"queued"}]
    jobs = _jobs_of_user() if wanted else frozenset()
    free = [run for run in wanted if job_of(run) not in jobs]
    if not free:
        raise ConfigError(
            f"None of {len(runs)} run(s) can be submitted: {len(wanted)} of them wait(s) in a Slurm job, the others run or are "
            "finished; expected one that waits in no job, was interrupted or stopped, or failed."
        )
    return free


def job_of(run: RunDir) -> str | None:
    """The Slurm job id under which the run was last submitted, such as ``4711_3``."""
    try:
        record = read_json(run.path / RECORD)
    except FileNotFoundError:
        return None
    return str(record["job_id"]) if isinstance(record, dict) and "job_id" in record else None


def _jobs_of_user() -> frozenset[str]:
    """The user's jobs and array tasks that wait or run."""
    command = ["squeue", "--noheader", "--array", "--format=%i", f"--user={getpass.getuser()}"]
    return frozenset(_answer(command).split())


def _answer(command: Sequence[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=QUERY_SECONDS).stdout
    except FileNotFoundError as error:
        raise ConfigError(f"This machine has no {command[0]}; expected one on which Slurm is installed.") from error
    except subprocess.TimeoutExpired as error:
        raise MammoError(f"Slurm did not answer {command[0]} within {QUERY_SECONDS} s; try again later.") from error
    except subprocess.CalledProcessError as error:
        raise MammoError(f"Slurm refused {command[0]} ({_reason(error.stderr)}); try again later.") from error


# ---- submitting -----------------------------------------------------------------------------------------------------------


def submit(workspace: Workspace, runs: Sequence[RunDir], options: SlurmOptions, cluster: str = "slurm") -> list[str]:
    """Submit runs as one job array, or as one job where there is one run; returns the job id of each.

    The runs stay ``queued`` until their task starts; ``slurm.json`` beside each says where it is.

    Parameters
    ----------
    cluster : ``slurm``, or ``local`` and ``debug``, with which ``submitit`` starts the same tasks on this machine

    Raises
    ------
    MammoError
        Slurm did not accept the job; the runs are kept.
    """
    import submitit
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    folder = workspace.home / FOLDER
    executor = submitit.AutoExecutor(folder, cluster=cluster, slurm_max_num_timeout=MAX_TIMEOUTS)
    executor.update_parameters(**options.for_submitit(runs[0].experiment))
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # where submitit prints what the error says as well
            jobs = executor.map_array(TrainTask(workspace.home), [run.id for run in runs])
    except (FailedJobError, FailedSubmissionError) as error:
        raise MammoError(
            f"Slurm did not accept the job ({_reason(str(error))}). The runs are kept as waiting: submit them with other "
            f"options by 'resume {runs[0].experiment} --launcher slurm'."
        ) from error
    for run, job in zip(runs, jobs, strict=True):
        log = f"{FOLDER}/{Path(job.paths.stderr).name}"
        record = {"job_id": job.job_id, "cluster": cluster, "partition": options.partition, "log": log}
        write_json(run.path / RECORD, {**record, "submitted_at": time.time()})
    return [str(job.job_id) for job in jobs]


def _reason(said: str | None) -> str:
    """What a program of Slurm said on an error, in one line."""
    lines = [re.sub(r"^\w+: (error: )?", "", line.strip()).rstrip(".") for line in (said or "").splitlines() if line.strip()]
    return "; ".join(lines) or "it gave no reason"


@dataclass(frozen=True)
class TrainTask:
    """What one task of the array calls; ``submitit`` keeps it in a file from which each start reads it."""

    home: Path

    def __call__(self, run_id: str, epoch: int = 0, idle_starts: int = 0) -> int:
        """Start the run or go on with it.

        Parameters
        ----------
        run_id : ``<experiment>/<run>``
        epoch : whole epochs when the task was last put back
        idle_starts : starts in a row, up to then, that brought no whole epoch

        Raises
        ------
        SystemExit
            With the exit code of the job contract where that is not 0, so that Slurm lists the task as failed.
        """
        import submitit

        from mammo_core.workflows.train_run import train

        log_to_stderr()
        workspace = Workspace(self.home)
        run = find_run(workspace, run_id)
        if run.state() == "finished":  # by an earlier start, or by another launcher
            return 0
        job = submitit.JobEnvironment()
        if job.num_tasks > 1:
            submitit.helpers.TorchDistributedEnvironment().export(set_cuda_visible_devices=False, overwrite=True)
        slot = workspace.home / FOLDER / f"{job.job_id}.slot.lock"
        try:
            code = train(workspace, run, slot=slot)
        finally:
            if job.global_rank == 0:
                slot.unlink(missing_ok=True)
        if code:
            sys.exit(code)
        return code

    def checkpoint(self, run_id: str, epoch: int = 0, idle_starts: int = 0) -> DelayedSubmission:
        """The call with which the task goes on after Slurm put it back; ``submitit`` asks when the warning signal comes.

        All that the run needs is on disk already, so nothing is saved: only its state is set to ``queued``.

        Raises
        ------
        MammoError
            No whole epoch came of several starts in a row; inside ``train`` this ends the run as failed.
        """
        from submitit.core.utils import DelayedSubmission

        run = find_run(Workspace(self.home), run_id)
        status = run.status()
        done = status.epoch if status else 0
        idle_starts = 0 if done > epoch else idle_starts + 1
        if idle_starts >= MAX_IDLE_STARTS:
            raise MammoError(
                f"{run.id} was put back by Slurm {idle_starts} times in a row before one epoch was whole. "
                "Give it a longer --time, or a partition that is pre-empted less."
            )
        if status and status.state in LIVE_STATES and (status.pid, status.host) == (os.getpid(), socket.gethostname()):
            waiting = {"state": "queued", "pid": None, "eta_seconds": None, "message": "Put back by Slurm; goes on where it was"}
            write_json(run.status_file, status.model_copy(update=waiting).to_json())
        return DelayedSubmission(self, run_id, done, idle_starts)
