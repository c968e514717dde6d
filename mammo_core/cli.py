"""The command line: ``python -m mammo_core COMMAND`` or, once installed, ``mammography COMMAND``.

What a command is asked for goes to stdout, everything else to stderr; ``--json`` prints one JSON document. Exit codes: 0 done, 1
the work or any one item failed, 2 wrong usage; ``train`` and ``resume`` also 75 busy, 3 disk full, 130 stopped. Heavy modules are
imported by the command that needs them.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mammo_core import cli_data, cli_doctor, cli_embed, cli_estimate, cli_import, cli_results
from mammo_core.cli_app import Json, app, open_home
from mammo_core.config import DEFAULT_SEEDS
from mammo_core.errors import ConfigError, MammoError, NameNotAllowed, RunBusy, RunNotFound, WriteFailed
from mammo_core.terminal import ProgressBar, answer, log_to_stderr, print_json, say, table_text

if TYPE_CHECKING:
    from mammo_core.runs.run_dir import RunDir
    from mammo_core.settings import Workspace
    from mammo_core.workflows.slurm import SlurmOptions

__all__ = ["app", "cli_data", "cli_doctor", "cli_embed", "cli_estimate", "cli_import", "cli_results", "main"]
"""The ``cli_`` modules register their commands when they are imported."""


def main() -> None:
    """Run the command line; errors made for the user become one line on stderr and an exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal that has no sign for "at least" shall not end the command
    try:
        app()
    except (ConfigError, NameNotAllowed, RunNotFound) as error:
        _fail(error, 2)
    except RunBusy as error:
        _fail(error, 75)
    except WriteFailed as error:
        _fail(error, 3)
    except MammoError as error:
        _fail(error, 1)


def _fail(error: MammoError, code: int) -> None:
    say(f"Error: {error}")
    sys.exit(code)


# ---- the app and the demo -------------------------------------------------------------------------------------------------


@app.command("app")
def start_app(
    port: int = 8501,
    browser: Annotated[bool, typer.Option(help="Open a browser window.")] = True,
    lab_server: Annotated[
        Path | None, typer.Option(help="Settings file of a server for several people (docs/lab_server.md); off without it.")
    ] = None,
) -> None:
    """Start the app on this machine and open it in the browser."""
    from mammo_core.workflows.server import serve

    raise typer.Exit(serve(open_home(), port, open_browser=browser and lab_server is None, lab_server=lab_server))


@app.command()
def demo(
    fast: Annotated[bool, typer.Option("--fast", help="Fewer films and epochs: about four minutes on two cores.")] = False,
    json: Json = False,
) -> None:
    """The whole path on built-in phantom films: data, split, three seeds, comparison, report pack."""
    from mammo_core.workflows.demo import run_demo

    log_to_stderr()
    result = run_demo(open_home(), fast=fast, say=say, progress=ProgressBar)
    if json:
        print_json(result)


@app.command()
def phantom(
    out: Annotated[Path, typer.Option(help="New folder for the films.")],
    images: int = 400,
    seed: int = 1,
    format: Annotated[str, typer.Option(help="dicom or png")] = "dicom",
) -> None:
    """Write synthetic films with true lesion masks."""
    from mammo_core.data.phantom import write_phantoms

    if format not in ("dicom", "png"):
        raise ConfigError(f"--format is {format!r}; expected dicom or png.")
    made = write_phantoms(out, images, seed, format, ProgressBar("Making films"))  # type: ignore[arg-type]
    say(f"{made} synthetic films in {out}; import them with: import {out} --task density --name NAME")


@app.command("fetch-weights")
def fetch_weights(arch: str) -> None:
    """Download ImageNet weights of a timm architecture, once, where the network allows it."""
    from mammo_core.training.weights import fetch

    say(fetch(arch))


# ---- training -------------------------------------------------------------------------------------------------------------

Launcher = Annotated[str, typer.Option(help="local: here, one run after another; slurm: all runs as one job array.")]
Partition = Annotated[str | None, typer.Option(help="Slurm: partition (default: the cluster's).")]
TimeLimit = Annotated[str | None, typer.Option("--time", help="Slurm: limit of one start, as sbatch takes it (12:00:00).")]
Gpus = Annotated[int | None, typer.Option(help="Slurm: GPUs for a run, with a process each (1); 0 trains on the CPU.")]
Cpus = Annotated[int | None, typer.Option(help="Slurm: processor cores for each process (4).")]
Memory = Annotated[str | None, typer.Option(help="Slurm: memory for a run, with its unit (16G).")]
Parallel = Annotated[int | None, typer.Option(help="Slurm: runs that may train at once (8).")]


def train(
    dataset: str | None = None,
    split: Annotated[list[str] | None, typer.Option(help="May be given twice to train on both.")] = None,
    config: Annotated[str, typer.Option(help="A preset's name or a YAML file.")] = "demo",
    experiment: str | None = None,
    seeds: Annotated[str, typer.Option(help="With commas.")] = ",".join(map(str, DEFAULT_SEEDS)),
    cv_folds: Annotated[int | None, typer.Option(help="Make a k-fold split of the data set and train every fold.")] = None,
    set: Annotated[list[str] | None, typer.Option(help="key=value, overrides the preset; may be repeated.")] = None,
    override_leak: Annotated[str | None, typer.Option(help="Reason for training on a split that leaks.")] = None,
    run_dir: Annotated[Path | None, typer.Option(help="Start or continue this one run (the job contract).")] = None,
    launcher: Launcher = "local",
    partition: Partition = None,
    time: TimeLimit = None,
    gpus: Gpus = None,
    cpus: Cpus = None,
    memory: Memory = None,
    parallel: Parallel = None,
) -> None:
    """Train every run, each a complete run directory: in the foreground, or as a job array of a Slurm cluster."""
    from mammo_core.presets import load_preset, parse_overrides
    from mammo_core.workflows.commands import create_runs, train_dir, train_experiment
    from mammo_core.workflows.launch import LaunchPlan

    log_to_stderr()
    workspace = open_home()
    slurm = _slurm_options(launcher, partition=partition, time=time, gpus=gpus, cpus=cpus, memory=memory, parallel=parallel)
    if run_dir is not None and slurm is not None:
        raise ConfigError("--run-dir trains here; to submit a run that exists use: resume RUN --launcher slurm.")
    if run_dir is not None:
        raise typer.Exit(train_dir(workspace, run_dir))
    if not dataset or not (split or cv_folds):
        raise ConfigError("train needs --dataset and --split (or --cv-folds), or --run-dir; see train --help.")
    preset = load_preset(config)
    plan = LaunchPlan(
        dataset=dataset,
        splits=split or [],
        experiment=experiment or f"{dataset}_{preset.name}",
        settings={**preset.settings, **parse_overrides(set or [])},
        seeds=_seeds(seeds),
        override_reason=override_leak,
    )
    if slurm is None:
        raise typer.Exit(train_experiment(workspace, plan, cv_folds))
    _submit(workspace, create_runs(workspace, plan, cv_folds), slurm)


app.command("train")(train)
app.command("train-density")(train)


def _seeds(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.replace(",", " ").split())
    except ValueError as error:
        raise ConfigError(f"--seeds is {text!r}; expected whole numbers with commas, such as 42,43,44.") from error


def _slurm_options(launcher: str, **given: Any) -> SlurmOptions | None:
    """The options of ``--launcher slurm``; ``None`` for the local launcher, which takes none of them."""
    if launcher not in ("local", "slurm"):
        raise ConfigError(f"--launcher is {launcher!r}; expected local or slurm.")
    given = {name: value for name, value in given.items() if value is not None}
    if launcher == "local":
        if given:
            raise ConfigError(f"--{' and --'.join(given)} ask(s) something of a cluster; add --launcher slurm, or leave it out.")
        return None
    from mammo_core.workflows.slurm import SlurmOptions, check_slurm_here, gigabytes_of, minutes_of

    if "time" in given:
        given["minutes"] = minutes_of(given.pop("time"))
    if "memory" in given:
        given["memory_gb"] = gigabytes_of(given.pop("memory"))
    options = SlurmOptions(**given)
    check_slurm_here()
    return options


def _submit(workspace: Workspace, runs: list[RunDir], options: SlurmOptions) -> None:
    from mammo_core.workflows.slurm import FOLDER, submit

    experiments = " ".join(dict.fromkeys(run.experiment for run in runs))
    job = submit(workspace, runs, options)[0].split("_")[0]
    say(f"{len(runs)} run(s) of {experiments} submitted as Slurm job {job}.")
    say(f"Follow it with 'squeue --job {job}' and 'status'; its tasks write {FOLDER}/{job}_*.err. End it with 'scancel {job}'.")
    say(f"What ends unfinished goes on with: resume {experiments} --launcher slurm")


@app.command()
def resume(
    runs: Annotated[list[str], typer.Argument(help="Runs or, with --launcher slurm, also experiments.", metavar="RUN...")],
    launcher: Launcher = "local",
    partition: Partition = None,
    time: TimeLimit = None,
    gpus: Gpus = None,
    cpus: Cpus = None,
    memory: Memory = None,
    parallel: Parallel = None,
) -> None:
    """Continue interrupted, stopped or failed runs exactly where their last whole epoch ended."""
    from mammo_core.runs.run_dir import find_run
    from mammo_core.workflows.commands import train_in_turn
    from mammo_core.workflows.launch import check_resumable

    log_to_stderr()
    workspace = open_home()
    slurm = _slurm_options(launcher, partition=partition, time=time, gpus=gpus, cpus=cpus, memory=memory, parallel=parallel)
    if slurm is not None:
        from mammo_core.workflows.slurm import unfinished_runs

        _submit(workspace, unfinished_runs(workspace, runs), slurm)
        return
    found = [find_run(workspace, run) for run in runs]
    for run in found:
        check_resumable(run)
    raise typer.Exit(train_in_turn(workspace, found))


@app.command()
def stop(run: str) -> None:
    """Ask a run to stop: it finishes its batch and keeps the last whole epoch."""
    from mammo_core.runs.run_dir import find_run

    found = find_run(open_home(), run)
    state = found.state()
    if state not in ("running", "stopping"):
        raise MammoError(f"{found.id} is {state}; only a running run can be stopped.")
    found.ask_to_stop()
    say(f"{found.id} will stop after its current batch.")


@app.command()
def status(run: Annotated[str | None, typer.Argument()] = None, json: Json = False) -> None:
    """How far runs are."""
    from mammo_core.runs.listing import list_cards
    from mammo_core.runs.run_dir import find_run

    workspace = open_home()
    cards = list_cards(workspace, archived=True)
    if run is not None:
        wanted = find_run(workspace, run).path
        cards = [card for card in cards if card.run.path == wanted]
    if json:
        print_json([{"run": card.id, **(card.status.to_json() if card.status else {}), "state": card.state} for card in cards])
        return
    rows = [
        (card.id, card.state, f"{card.status.epoch}/{card.status.epochs}" if card.status else "", card.problem or "")
        for card in cards
    ]
    answer(table_text(rows, ("run", "state", "epoch", "")))


@app.command(hidden=True)
def job(request: str = typer.Option()) -> None:
    """Do the work of one queued request; started by the app."""
    from mammo_core.workflows.jobs import run_job

    raise typer.Exit(run_job(open_home(), request))
