"""Runs as tasks of a Slurm array: what is asked of Slurm, and that a task which is put back goes on to the same result."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest
import torch

import slurm_cluster
from command_line import one_line, run_command
from demo_data import demo_workspace
from make_runs import write_run
from mammo_core.errors import ConfigError, MammoError
from mammo_core.reading import read_json
from mammo_core.runs.liveness import this_process
from mammo_core.runs.run_dir import RunDir, experiment_runs
from mammo_core.settings import PROJECT_ROOT, Workspace
from mammo_core.storage import is_locked, lock_of, write_json
from mammo_core.workflows.slurm import (
    MAX_IDLE_STARTS,
    SlurmOptions,
    TrainTask,
    gigabytes_of,
    job_of,
    minutes_of,
    submit,
    unfinished_runs,
)

PATIENCE_SECONDS = 300
TINY = "arch=resnet10t weights=none image_size=[48,48] warmup_epochs=0 batch_size=8 early_stopping_patience=null threads=1"
SMALL_JOB = "--gpus 0 --cpus 1 --memory 1G --time 10 --parallel 2"


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Workspace:
    return demo_workspace(tmp_path_factory, "slurm")


def _train(home: Workspace, experiment: str, *more: str, epochs: int = 3):
    settings = [part for setting in (*TINY.split(), f"epochs={epochs}") for part in ("--set", setting)]
    return run_command(
        home.home,
        "train",
        "--dataset",
        "demo",
        "--split",
        "demo",
        "--experiment",
        experiment,
        "--seeds",
        "42,43",
        *settings,
        *more,
    )


@pytest.fixture(scope="module")
def whole(home) -> RunDir:
    """The run of seed 42, trained without a break."""
    done = _train(home, "whole", "--seeds", "42")
    assert done.returncode == 0, done.stderr
    return experiment_runs(home, "whole")[0]


def _comparable(run: RunDir) -> list[dict]:
    return [record.model_dump(exclude={"seconds", "images_per_second", "resumed"}) for record in run.history()]


def _wait_for(what, seconds: float = PATIENCE_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _is_halfway(run: RunDir) -> bool:
    return run.state() == "running" and len(run.history()) >= 1


def _is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def _was_resumed(run: RunDir) -> bool:
    return any(record.resumed for record in run.history())


# ---- what is asked of Slurm: a batch program on the path that only keeps what it is given ---------------------------------


@pytest.fixture
def batch(tmp_path, monkeypatch) -> Path:
    """A folder with ``sbatch``, ``srun`` and ``squeue``; ``script.sh`` there is what was submitted, ``jobs`` what is waiting."""
    programs = {
        "sbatch": f'cp "$1" {tmp_path}/script.sh\necho "Submitted batch job 4711"',
        "srun": "exit 1",
        "squeue": f"cat {tmp_path}/jobs",
    }
    for name, text in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "jobs").write_text("")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path


def test_seeds_become_one_array_that_asks_for_what_the_user_gave(home, batch):
    options = "--partition gpu --time 2-12:00:00 --gpus 2 --cpus 6 --memory 48G --parallel 1"
    done = _train(home, "asked", "--launcher", "slurm", *options.split())
    assert done.returncode == 0, done.stderr
    script = (batch / "script.sh").read_text()
    wanted = "array=0-1%1 partition=gpu time=3600 gpus-per-node=2 ntasks-per-node=2 cpus-per-task=6 mem=48GB job-name=asked"
    assert {line for line in wanted.split() if f"#SBATCH --{line}\n" not in script} == set()
    assert "#SBATCH --requeue\n" in script
    runs = experiment_runs(home, "asked")
    assert [run.state() for run in runs] == ["queued", "queued"]
    assert [job_of(run) for run in runs] == ["4711_0", "4711_1"]
    assert "2 run(s) of asked submitted as Slurm job 4711" in done.stderr
    assert "scancel 4711" in done.stderr
    assert "resume asked --launcher slurm" in done.stderr


def test_every_fold_of_every_split_is_a_task(home, batch):
    done = _train(home, "folds", "--cv-folds", "2", "--launcher", "slurm", *SMALL_JOB.split())
    assert done.returncode == 0, done.stderr
    assert "#SBATCH --array=0-5%2\n" in (batch / "script.sh").read_text()
    assert {job_of(run) for name in ("folds_demo", "folds_folds_2folds") for run in experiment_runs(home, name)} == {
        f"4711_{task}" for task in range(6)
    }


def test_only_runs_that_no_job_holds_are_submitted_again(home, batch, tmp_path):
    for seed, state in enumerate(("queued", "stopped", "failed", "interrupted", "finished")):
        run = write_run(home.experiments / "again" / f"seed_{seed}", state=state, seed=seed, replicates=2)
        write_json(run.path / "slurm.json", {"job_id": f"12_{seed}"})
    (tmp_path / "jobs").write_text("12_0\n13\n")
    assert [run.name for run in unfinished_runs(home, ["again"])] == ["seed_1", "seed_2", "seed_3"]
    done = run_command(home.home, "resume", "again", "--launcher", "slurm")
    assert done.returncode == 0, done.stderr
    assert [job_of(run) for run in experiment_runs(home, "again")] == ["12_0", "4711_0", "4711_1", "4711_2", "12_4"]
    (tmp_path / "jobs").write_text("12_0\n4711_0\n4711_1\n4711_2\n")
    refused = run_command(home.home, "resume", "again", "--launcher", "slurm")
    assert refused.returncode == 2
    assert "None of 5 run(s) can be submitted: 4 of them wait(s)" in one_line(refused.stderr)


def test_what_slurm_refuses_is_said_in_its_words_and_the_runs_are_kept(home, batch):
    (batch / "sbatch").write_text("#!/bin/sh\necho 'sbatch: error: invalid partition specified: nowhere' >&2\nexit 1\n")
    done = _train(home, "refused", "--launcher", "slurm", "--partition", "nowhere")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "(invalid partition specified: nowhere). The runs are kept" in one_line(done.stderr)
    assert [run.state() for run in experiment_runs(home, "refused")] == ["queued", "queued"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--launcher lsf", "expected local or slurm"),
        ("--partition gpu", "add --launcher slurm"),
        ("--launcher slurm --time soon", "--time is 'soon'"),
        ("--launcher slurm --memory 16", "--memory is '16'"),
        ("--launcher slurm --gpus -1", "gpus is -1"),
        ("--launcher slurm --parallel 0", "parallel is 0"),
    ],
)
def test_a_wrong_option_is_one_sentence_and_makes_no_run(home, batch, options, words):
    done = _train(home, "never", *options.split())
    assert done.returncode == 2
    assert words in one_line(done.stderr)
    assert not (home.experiments / "never").exists()


def test_a_machine_without_slurm_is_told_so_before_anything_is_made(home, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    done = _train(home, "never", "--launcher", "slurm")
    assert done.returncode == 2
    assert "no sbatch and srun" in one_line(done.stderr)
    assert not (home.experiments / "never").exists()


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("90", 90), ("90:01", 91), ("12:00:00", 720), ("2-0", 2880), ("2-12", 3600), ("1-00:30", 1470), ("1-0:0:1", 1441)],
)
def test_time_limits_mean_what_they_mean_to_sbatch(text, minutes):
    assert minutes_of(text) == minutes


@pytest.mark.parametrize("text", ["", "0", "12h", "-5", "1:2:3:4", "0-0"])
def test_other_time_limits_are_refused(text):
    with pytest.raises(ConfigError, match="--time is"):
        minutes_of(text)


def test_memory_needs_its_unit():
    assert (gigabytes_of("16G"), gigabytes_of("1.5tb"), gigabytes_of("512M")) == (16, 1536, 0.5)
    with pytest.raises(ConfigError, match="with its unit"):
        gigabytes_of("16000")


# ---- being put back -------------------------------------------------------------------------------------------------------


def _running_here(folder: Path, epoch: int) -> RunDir:
    run = write_run(folder, state="running", epochs_run=epoch, with_predictions=False, replicates=2)
    status = run.status()
    write_json(run.status_file, status.model_copy(update=this_process()).to_json())
    return run


def test_a_task_that_is_put_back_waits_again_and_asks_for_the_same_run(workspace):
    run = _running_here(workspace.experiments / "e" / "seed_1", epoch=2)
    task = TrainTask(workspace.home)
    again = task.checkpoint(run.id)
    assert (again.function, again.args) == (task, (run.id, 2, 0))
    assert (run.state(), run.status().epoch, run.status().pid) == ("queued", 2, None)


def test_the_state_of_a_run_that_another_process_trains_or_that_is_finished_is_left_alone(workspace):
    task = TrainTask(workspace.home)
    other = write_run(workspace.experiments / "e" / "other", state="running", epochs_run=2, with_predictions=False, replicates=2)
    finished = write_run(workspace.experiments / "e" / "finished", replicates=2)
    for run in (other, finished):
        before = run.status_file.read_bytes()
        task.checkpoint(run.id)
        assert run.status_file.read_bytes() == before


def test_a_task_gives_up_after_some_starts_without_a_whole_epoch(workspace):
    run = _running_here(workspace.experiments / "e" / "seed_1", epoch=1)
    arguments = TrainTask(workspace.home).checkpoint(run.id).args
    for start in range(1, MAX_IDLE_STARTS):
        arguments = TrainTask(workspace.home).checkpoint(*arguments).args
        assert arguments == (run.id, 1, start)
    with pytest.raises(MammoError, match="5 times in a row before one epoch was whole"):
        TrainTask(workspace.home).checkpoint(*arguments)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:subprocess:ResourceWarning")  # the tasks outlive what submitted them, as on a cluster
def test_a_task_that_gets_the_warning_signal_is_put_back_and_goes_on_to_the_same_bits(home, whole, monkeypatch, batch):
    monkeypatch.setenv("PYTHONPATH", str(PROJECT_ROOT))
    assert _train(home, "local", "--launcher", "slurm").returncode == 0
    run = experiment_runs(home, "local")[0]
    with lock_of(home.slot_lock).acquire():  # each task has its own slot
        jobs = submit(home, [run], SlurmOptions(gpus=0), cluster="local")
        assert [job_of(run)] == jobs
        _wait_for(lambda: _is_halfway(run))
        os.kill(run.status().pid, signal.SIGUSR2)
        _wait_for(lambda: run.state() == "queued")
        _wait_for(lambda: run.state() == "finished" and not is_locked(run.lock_file))
    _wait_for(lambda: _is_gone(int(jobs[0])))  # submitit's own job id is its process
    assert _was_resumed(run)
    assert _comparable(run) == _comparable(whole)
    first, second = (torch.load(r.final_model, weights_only=True)["model_state"] for r in (run, whole))
    assert all(torch.equal(first[key], second[key]) for key in second)
    assert "epoch 3/3" in (home.home / read_json(run.path / "slurm.json")["log"]).read_text()


# ---- a real Slurm ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    reason = slurm_cluster.why_not()
    if reason:
        pytest.skip(reason)
    with pytest.MonkeyPatch.context() as patch, slurm_cluster.slurm(tmp_path_factory.mktemp("cluster")) as configuration:
        patch.setenv("SLURM_CONF", str(configuration))
        yield


def _slurm(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def _ended(run: RunDir) -> bool:
    return job_of(run) not in _slurm("squeue", "--noheader", "--array", "--format=%i").split()


@pytest.mark.slow
@pytest.mark.parametrize("way", ["requeue", "signal"])
def test_slurm_trains_an_array_and_a_task_that_it_puts_back_goes_on_to_the_same_bits(cluster, home, whole, way):
    experiment = f"array_{way}"
    done = _train(home, experiment, "--launcher", "slurm", *SMALL_JOB.split())
    assert done.returncode == 0, done.stderr
    runs = experiment_runs(home, experiment)
    _wait_for(lambda: _is_halfway(runs[0]))
    if way == "requeue":
        _slurm("scontrol", "requeue", job_of(runs[0]))
    else:
        _slurm("scancel", "--signal=USR2", job_of(runs[0]))  # as Slurm itself does some time before the limit
        _wait_for(lambda: runs[0].state() == "queued")
    _wait_for(lambda: {run.state() for run in runs} == {"finished"})
    assert _was_resumed(runs[0])
    assert not _was_resumed(runs[1])
    assert _comparable(runs[0]) == _comparable(whole)
    _wait_for(lambda: all(_ended(run) for run in runs))


@pytest.mark.slow
def test_a_cancelled_task_is_submitted_again_and_ends_with_the_same_bits(cluster, home, whole):
    assert _train(home, "cancelled", "--launcher", "slurm", *SMALL_JOB.split()).returncode == 0
    runs = experiment_runs(home, "cancelled")
    _wait_for(lambda: _is_halfway(runs[0]))
    _slurm("scancel", job_of(runs[0]).split("_")[0])
    _wait_for(lambda: all(_ended(run) for run in runs))
    assert runs[0].state() == "stopped"
    again = run_command(home.home, "resume", "cancelled", "--launcher", "slurm", *SMALL_JOB.split())
    assert again.returncode == 0, again.stderr
    _wait_for(lambda: {run.state() for run in runs} == {"finished"})
    assert _was_resumed(runs[0])
    assert _comparable(runs[0]) == _comparable(whole)
    _wait_for(lambda: all(_ended(run) for run in runs))


@pytest.mark.slow
def test_a_task_with_two_gpus_trains_with_two_processes(cluster, home):
    options = [*SMALL_JOB.split(), "--gpus", "2", "--set", "device=cpu"]
    assert _train(home, "both", "--launcher", "slurm", *options, epochs=2).returncode == 0
    run = experiment_runs(home, "both")[0]
    _wait_for(lambda: run.state() == "finished")
    assert read_json(run.environment_file)["processes"] == 2
    _wait_for(lambda: _ended(run))


def test_slurms_own_refusal_of_a_partition_is_one_sentence(cluster, home):
    done = _train(home, "partition", "--launcher", "slurm", "--partition", "nowhere", *SMALL_JOB.split())
    assert done.returncode == 1
    assert "invalid partition specified: nowhere" in one_line(done.stderr)
