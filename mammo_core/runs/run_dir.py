"""One run as it lies on disk: where each file is, how to read it, and what state it is really in.

The run directory is the interface: whatever trains writes these files, whatever shows reads only these files. Only this
module and the writer in ``workflows/training_job`` know their names.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
import pydantic

from mammo_core.config import TrainConfig, load_config
from mammo_core.errors import CorruptRunFile, MammoError, RunNotFound
from mammo_core.reading import read_json, read_json_bytes, read_text_table
from mammo_core.runs.liveness import heartbeat_is_old
from mammo_core.runs.schema import LIVE_STATES, EpochRecord, MetricsFile, Notes, State, Status, Summary
from mammo_core.settings import Workspace
from mammo_core.storage import check_name, is_allowed_name, is_locked, lock_of, write_json, writing

EPOCH_RECORDS = pydantic.TypeAdapter(list[EpochRecord])

Model = TypeVar("Model", bound=pydantic.BaseModel)


@dataclass(frozen=True)
class RunDir:
    """The files of one run. Asking for a path creates nothing."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def experiment(self) -> str:
        return self.path.parent.name

    @property
    def id(self) -> str:
        """``<experiment>/<run>``: how pages, links and commands name a run."""
        return f"{self.experiment}/{self.name}"

    @property
    def config_file(self) -> Path:
        return self.path / "config.yaml"

    @property
    def environment_file(self) -> Path:
        return self.path / "environment.json"

    @property
    def split_table(self) -> Path:
        return self.path / "split.csv"

    @property
    def split_record(self) -> Path:
        return self.path / "split.json"

    @property
    def status_file(self) -> Path:
        return self.path / "status.json"

    @property
    def history_file(self) -> Path:
        return self.path / "train_history.json"

    @property
    def history_pickle(self) -> Path:
        return self.path / "train_history.pkl"

    @property
    def training_log(self) -> Path:
        return self.path / "training_log.csv"

    @property
    def best_model(self) -> Path:
        return self.path / "best_model.pth"

    @property
    def final_model(self) -> Path:
        return self.path / "final_model.pth"

    @property
    def resume_file(self) -> Path:
        return self.path / "resume.pt"

    @property
    def summary_file(self) -> Path:
        return self.path / "summary.json"

    @property
    def embeddings_file(self) -> Path:
        """Which embeddings the run joins to its features; only there where it does."""
        return self.path / "embeddings.json"

    @property
    def embeddings(self) -> Path:
        return self.path / "embeddings_val.npy"

    @property
    def loss_curve(self) -> Path:
        return self.path / "loss_curve.png"

    @property
    def recall_curve(self) -> Path:
        return self.path / "recall_curve.png"

    @property
    def log_file(self) -> Path:
        return self.path / "run.log"

    @property
    def stop_file(self) -> Path:
        return self.path / "STOP"

    @property
    def notes_file(self) -> Path:
        return self.path / "notes.json"

    @property
    def import_file(self) -> Path:
        """Stands only in runs that another tool trained: source, repairs, and what its files say of the run."""
        return self.path / "import.json"

    def import_record(self) -> dict[str, Any]:
        """``import.json``; empty for a run of this app, and where it is damaged: then only less is known."""
        try:
            record = read_json(self.import_file)
        except (FileNotFoundError, CorruptRunFile):
            return {}
        return record if isinstance(record, dict) else {}

    @property
    def lock_file(self) -> Path:
        return self.path / ".run.lock"

    @property
    def test_looks_file(self) -> Path:
        """How often, when and by which command the test split was looked at."""
        return self.path / "metrics" / "test_looks.json"

    def metrics_file(self, on: str) -> Path:
        return self.path / "metrics" / f"{on}_metrics.json"

    def predictions_file(self, on: str) -> Path:
        return self.path / f"{on}_predictions.csv"

    # ---- reading: a missing file is None or empty, a broken one a CorruptRunFile ----------------------------------------

    def config(self) -> TrainConfig:
        try:
            return load_config(self.config_file)
        except FileNotFoundError as error:
            raise CorruptRunFile(
                f"{self.id} has no config.yaml, which every run holds from its first second. Restore it or delete the run."
            ) from error

    def status(self) -> Status | None:
        return _read(self.status_file, Status)

    def state(self, now: float | None = None) -> State:
        """The true state: ``running`` on disk is ``interrupted`` once the lock is free and the heartbeat is old.

        A live run is never called dead: laptops sleep and disks stall, so a held lock always counts as life.
        """
        status = self.status()
        if status is None:
            return "interrupted" if self.config_file.exists() and not is_locked(self.lock_file) else "queued"
        if status.state in LIVE_STATES and self._looks_dead(status, time.time() if now is None else now):
            return "interrupted"
        if status.state == "running" and self.stop_file.exists():
            return "stopping"
        return status.state

    def _looks_dead(self, status: Status, now: float) -> bool:
        return heartbeat_is_old(status, now) and not is_locked(self.lock_file)

    def history(self) -> list[EpochRecord]:
        """Epoch records, oldest first; empty before the first epoch ended.

        Raises
        ------
        CorruptRunFile
            The file is not a list of epoch records.
        """
        try:
            return EPOCH_RECORDS.validate_json(read_json_bytes(self.history_file))
        except FileNotFoundError:
            return []
        except pydantic.ValidationError as error:
            read_json(self.history_file)  # says it better where the file is no JSON at all
            raise CorruptRunFile(
                f"{self.id}/{self.history_file.name} is not a list of epoch records ({_first_problem(error)}). "
                "The checkpoints beside it are unaffected; resume the run to write it anew, or delete it."
            ) from error

    def summary(self) -> Summary | None:
        return _read(self.summary_file, Summary)

    def metrics(self, on: str) -> MetricsFile | None:
        return _read(self.metrics_file(on), MetricsFile)

    def predictions(self, on: str) -> pd.DataFrame | None:
        """``image_id, patient_id, center, y_true, y_pred, prob_<class>...``; text, but for the float64 probabilities."""
        try:
            table = read_text_table(self.predictions_file(on))
            missing = {"image_id", "patient_id", "y_true", "y_pred"} - set(table.columns)
            if missing:
                raise CorruptRunFile(f"{self.id}: {on} predictions lack {', '.join(sorted(missing))}; evaluate the run again.")
            probabilities = [column for column in table.columns if column.startswith("prob_")]
            return table.astype(dict.fromkeys(probabilities, float))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise CorruptRunFile(
                f"{self.id}: {on} predictions hold a probability that is no number; evaluate the run again."
            ) from error

    def split_info(self) -> dict[str, Any]:
        """The run's own ``split.json``; empty where it is missing."""
        try:
            raw = read_json(self.split_record)
        except FileNotFoundError:
            return {}
        return raw if isinstance(raw, dict) else {}

    def notes(self) -> Notes:
        return _read(self.notes_file, Notes) or Notes()

    def test_looks(self) -> list[dict[str, Any]]:
        try:
            looks = read_json(self.test_looks_file)
        except FileNotFoundError:
            return []
        return looks if isinstance(looks, list) else []

    def log_tail(self, lines: int = 40) -> list[str]:
        """The last lines of ``run.log``, at most 64 kB of them."""
        try:
            with self.log_file.open("rb") as file:
                file.seek(0, os.SEEK_END)
                file.seek(max(0, file.tell() - 65536))
                return file.read().decode("utf-8", errors="replace").splitlines()[-lines:]
        except FileNotFoundError:
            return []

    def count_test_look(self, films: int) -> None:
        """Write down that the test part is looked at now; two programs that look at once are both counted."""
        with writing(self.test_looks_file.name):
            self.test_looks_file.parent.mkdir(exist_ok=True)
            lock = lock_of(self.test_looks_file.with_name(".test_looks.lock"))
            lock.acquire()
        try:
            write_json(self.test_looks_file, [*self.test_looks(), {"at": time.time(), "films": films}])
        finally:
            lock.release()

    # ---- what a page may write ----------------------------------------------------------------------------------------

    def ask_to_stop(self) -> None:
        """Leave the STOP file; the training process finishes its batch, writes a checkpoint and ends."""
        with writing(self.stop_file.name):
            self.stop_file.touch()

    def write_notes(self, notes: Notes) -> None:
        write_json(self.notes_file, notes.to_json())


def _read(path: Path, model: type[Model]) -> Model | None:
    try:
        return model.model_validate_json(read_json_bytes(path))
    except FileNotFoundError:
        return None
    except pydantic.ValidationError as error:
        read_json(path)  # says it better where the file is no JSON at all
        raise CorruptRunFile(
            f"{path.parent.name}/{path.name} does not hold what it should ({_first_problem(error)}). "
            "The other files of the run are unaffected; restore or delete this one."
        ) from error


def _first_problem(error: pydantic.ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else str(first["msg"])


# ---- finding runs ---------------------------------------------------------------------------------------------------------


def find_run(workspace: Workspace, text: str) -> RunDir:
    """The run that ``text`` names: a run directory, or ``<experiment>/<run>``.

    Raises
    ------
    RunNotFound
        The text names the nearest thing that exists.
    """
    with contextlib.suppress(OSError, ValueError, RuntimeError):  # a text that can be no path: too long, or ``~nobody``
        folder = Path(text).expanduser()
        if folder.is_dir() and (folder / "config.yaml").exists():
            return RunDir(folder.resolve())
    parts = text.strip("/").split("/")
    if len(parts) == 2:
        for parent in (workspace.experiments, workspace.imported):
            run = RunDir(parent / check_name(parts[0], "experiment name") / check_name(parts[1], "run name"))
            if run.path.is_dir():
                return run
    known = ", ".join(run.id for run in list_runs(workspace)[:5]) or "none yet"
    raise RunNotFound(f"There is no run {text!r}; expected a run directory or <experiment>/<run>. Known runs: {known}.")


def experiment_runs(workspace: Workspace, experiment: str) -> list[RunDir]:
    """The runs of one experiment, imported ones too, in natural order of their names."""
    for folder in (workspace.experiment(experiment), workspace.imported / check_name(experiment, "experiment name")):
        if folder.is_dir():
            return _runs_in(folder)
    raise RunNotFound(f"There is no experiment {experiment!r}; the History page lists the ones there are.")


def list_runs(workspace: Workspace) -> list[RunDir]:
    """Every run of every experiment, imported ones too, newest experiment first, runs of an experiment in natural order.

    Folders whose name no experiment or run can have (a copy made by hand) are passed over: no page could link to them.
    """
    folders = [*_subfolders(workspace.experiments), *_subfolders(workspace.imported)]
    folders.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    return [run for folder in folders for run in _runs_in(folder)]


def _runs_in(folder: Path) -> list[RunDir]:
    runs = [RunDir(path) for path in _subfolders(folder) if (path / "config.yaml").exists()]
    return sorted(runs, key=lambda run: _natural(run.name))


def _subfolders(path: Path) -> list[Path]:
    if not path.is_dir():
        return []
    return [entry for entry in path.iterdir() if entry.is_dir() and is_allowed_name(entry.name)]


def _natural(name: str) -> list[tuple[int, str]]:
    parts = name.replace("-", "_").split("_")
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def is_readable(run: RunDir) -> bool:
    """Whether the run's configuration can be read; pages list the others with their error instead of their numbers."""
    try:
        run.config()
    except MammoError:
        return False
    return True
