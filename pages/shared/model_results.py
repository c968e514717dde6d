"""What a model (one run, or the mean of several) says on a part of its split, at a unit of analysis: read and computed once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import pandas as pd
import streamlit as st

from mammo_core.analysis.calibration import Calibration, calibration_of
from mammo_core.analysis.levels import LevelTable, at_level, missing_levels, with_facts
from mammo_core.analysis.metrics import ensemble_predictions, evaluate_predictions
from mammo_core.analysis.operating_points import kappas
from mammo_core.analysis.predictions import cases_of
from mammo_core.analysis.questions import Question, answers_of
from mammo_core.analysis.subgroups import Subgroup, subgroup_metrics, subgroups_of
from mammo_core.analysis.temperature import Temperature, apply_temperature, fit_temperature
from mammo_core.analysis.thresholds import RankingCurve, ranking_of
from mammo_core.data.manifest import MANIFEST_FILE, RECORD_FILE, load_dataset
from mammo_core.errors import MammoError
from mammo_core.runs.run_dir import RunDir, find_run
from mammo_core.runs.schema import MetricsFile, MetricValue
from mammo_core.settings import Workspace, open_workspace
from pages.shared.run_files import Stamp, stamp

Version = tuple[Stamp, ...]
Made = TypeVar("Made")


def runs_of(workspace: Workspace, run_ids: tuple[str, ...]) -> list[RunDir]:
    return [find_run(workspace, run_id) for run_id in run_ids]


def missing_on(runs: list[RunDir], on: str) -> list[RunDir]:
    """The runs that have not been evaluated on that part yet, or whose files of it are broken."""
    return [run for run in runs if not _is_there(run, on)]


def _is_there(run: RunDir, on: str) -> bool:
    try:
        return run.metrics(on) is not None and run.predictions_file(on).exists()
    except MammoError:
        return False


@dataclass(frozen=True, eq=False)
class Results:
    """A model's predictions on one part, with what the data set says of each film, and everything made from them."""

    workspace: Workspace
    runs: tuple[RunDir, ...]
    on: str
    level: str
    class_names: tuple[str, ...]
    ordinal: bool
    dataset: str
    version: Version

    @property
    def key(self) -> tuple[object, ...]:
        """What tells these results from any other."""
        return tuple(str(run.path) for run in self.runs), self.on, self.level, self.version

    def films(self) -> pd.DataFrame:
        """Predictions film by film with the manifest's columns; raises as :func:`predictions`."""
        return _once("films", (*self.key[:2], self.version), lambda: self._films(self.on))

    def _films(self, on: str) -> pd.DataFrame:
        manifest, _ = _manifest(str(self.workspace.home), self.dataset, _dataset_version(self.workspace, self.dataset))
        return with_facts(predictions(self.runs, on), manifest)

    def facts_problem(self) -> str:
        """Why nothing but the predictions is known of the films; empty where their data set is there."""
        return _manifest(str(self.workspace.home), self.dataset, _dataset_version(self.workspace, self.dataset))[1]

    def missing_levels(self) -> dict[str, str]:
        """Units of analysis that cannot be had, with the reason."""
        return missing_levels(self.films())

    def units(self) -> LevelTable:
        """Predictions at the unit of analysis."""
        return _once("units", self.key, lambda: at_level(self.films(), self.level, self.class_names, self.ordinal))

    def validation(self) -> pd.DataFrame | None:
        """Predictions on validation films at the same unit; ``None`` where there are none."""
        if self.on == "val":
            return self.units().table
        if missing_on(list(self.runs), "val"):
            return None
        return _once(
            "validation", self.key, lambda: at_level(self._films("val"), self.level, self.class_names, self.ordinal).table
        )

    def metrics(self) -> MetricsFile:
        """All metrics, made from the predictions as every other view makes them, so that one number has one interval."""
        return _once("metrics", self.key, self._metrics)

    def _metrics(self) -> MetricsFile:
        recorded = self.runs[0].metrics(self.on)
        made = evaluate_predictions(
            self.units().table,
            self.class_names,
            self.ordinal,
            epoch=recorded.epoch if recorded is not None and len(self.runs) == 1 else 0,
            split_sha256=recorded.split_sha256 if recorded is not None else None,
            validation=None if self.on == "val" else self.validation(),
            on=self.on,
        )
        return made.model_copy(update={"level": "image" if self.level == "film" else self.level})

    def ranking(self, keys: tuple[str, ...] | None = None) -> tuple[RankingCurve, ...]:
        """ROC and precision-recall curves of all questions, or of those named."""
        return _once("ranking", (self.key, keys), lambda: ranking_of(self.units().table, self.class_names, self.ordinal, keys))

    def kappas(self, question: Question, thresholds: tuple[float, ...]) -> list[MetricValue]:
        """Kappa of the calls at each threshold, with intervals."""

        def make() -> list[MetricValue]:
            return kappas(answers_of(cases_of(self.units().table, self.class_names, self.ordinal), question), thresholds)

        return _once("kappas", (self.key, question.key, thresholds), make)

    def calibration(self) -> Calibration:
        return _once("calibration", self.key, lambda: calibration_of(self.units().table, self.class_names, self.ordinal))

    def temperature(self) -> Temperature | None:
        """Fitted on validation films; ``None`` where there are none."""
        return _once("temperature", self.key, self._temperature)

    def _temperature(self) -> Temperature | None:
        validation = self.validation()
        return None if validation is None else fit_temperature(validation, self.class_names)

    def calibration_after(self, temperature: Temperature) -> Calibration:
        """The calibration of the same units once their probabilities are scaled."""

        def make() -> Calibration:
            scaled = apply_temperature(self.units().table, self.class_names, temperature.value)
            return calibration_of(scaled, self.class_names, self.ordinal)

        return _once("after", self.key, make)

    def subgroups(self, column: str, metric: str) -> list[Subgroup]:
        """One metric for each group of a column of the manifest."""

        def make() -> list[Subgroup]:
            chosen = subgroup_metrics(self.class_names, self.ordinal)[metric]
            return subgroups_of(self.units().table, column, chosen, self.class_names, self.ordinal)

        return _once("subgroups", (self.key, column, metric), make)


def results_of(workspace: Workspace, runs: list[RunDir], on: str, level: str) -> Results:
    """The results of these runs; nothing is read but their configuration. Raises ``MammoError`` where it is broken."""
    config = runs[0].config()
    parts = ("val",) if on == "val" else (on, "val")
    files = [run.config_file for run in runs]
    files += [path for run in runs for part in parts for path in (run.predictions_file(part), run.metrics_file(part))]
    version = (*(stamp(path) for path in files), *_dataset_version(workspace, config.dataset))
    return Results(workspace, tuple(runs), on, level, config.class_names, config.ordinal, config.dataset, version)


def predictions(runs: tuple[RunDir, ...], on: str) -> pd.DataFrame:
    """The predictions of one run as it left them, or the mean of several runs' probabilities.

    Raises
    ------
    MammoError
        A file is broken or missing, or the runs were evaluated on different films.
    """
    tables = [table for run in runs if (table := run.predictions(on)) is not None]
    if len(tables) < len(runs):
        raise MammoError(
            f"{len(runs) - len(tables)} run(s) have no predictions on the {on} films; expected all. Evaluate them first."
        )
    return tables[0] if len(runs) == 1 else ensemble_predictions(tables)


@st.cache_data(max_entries=96, show_spinner="Computing numbers and their intervals ...")
def _once(what: str, key: object, _make: Callable[[], Made]) -> Made:
    """``_make()``, kept under ``what`` and ``key``."""
    return _make()


def _dataset_version(workspace: Workspace, name: str) -> Version:
    folder = workspace.datasets / name
    return stamp(folder / MANIFEST_FILE), stamp(folder / RECORD_FILE)


@st.cache_data(max_entries=4, show_spinner=False)
def _manifest(home: str, name: str, version: Version) -> tuple[pd.DataFrame | None, str]:
    """The manifest, or the sentence that says why there is none."""
    try:
        return load_dataset(open_workspace(home), name).manifest(), ""
    except MammoError as error:
        return None, str(error)
