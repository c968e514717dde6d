"""Everything that model card, checklists and tables say about a run, read from its files once and worked out once."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pandas as pd

from mammo_core.analysis.binary_metrics import RATE_OF, RULE_OF
from mammo_core.analysis.calibration import Calibration, apply_temperature, calibration_of
from mammo_core.analysis.diagnosis import context_of_run, diagnose
from mammo_core.analysis.operating_points import FIXED, RULES, YOUDEN, OperatingPoint, apply_threshold, threshold_of
from mammo_core.analysis.predictions import cases_of
from mammo_core.analysis.questions import Answers, Question, answers_of, questions_of
from mammo_core.analysis.subgroups import Subgroup, subgroup_metrics, subgroups_of
from mammo_core.analysis.temperature import Temperature, fit_temperature
from mammo_core.config import TrainConfig
from mammo_core.errors import CorruptRunFile
from mammo_core.reading import read_json
from mammo_core.runs.run_dir import RunDir
from mammo_core.runs.schema import MetricsFile, MetricValue, Summary

NOT_RECORDED = "not recorded"
PARTS = {"val": "validation", "test": "test"}
SHOWN_RULES = (FIXED, YOUDEN, "sensitivity_90")
"""Thresholds that reports show; the Evaluate page has more."""


@dataclass(frozen=True)
class Known:
    """What is known of a run beside its own files; what is left out is reported as not recorded."""

    dataset: Mapping[str, Any] = field(default_factory=dict)
    """The content of the data set's ``dataset.json``."""
    preprocessing_version: int | None = None
    parameters: int | None = None
    """Numbers that training can change, of the whole network."""


Ask = Callable[[RunDir], Known]


@dataclass(frozen=True)
class Threshold:
    """One rule: the threshold it chose on the validation cases, and what it does there and on the test cases."""

    rule: str
    value: float | None
    """``None`` where the validation cases cannot choose one."""
    points: Mapping[str, OperatingPoint]
    """``val`` and, where there are test predictions, ``test``."""

    @property
    def text(self) -> str:
        if self.value is None:
            return "undefined"
        return f"{self.value:.3f}" if math.isfinite(self.value) else "above 1 (no film is called positive)"


@dataclass(frozen=True, eq=False)
class RunFacts:
    """One run. Asking for something that its files do not hold gives ``None`` or nothing, never an error, but for the config."""

    run: RunDir
    known: Known = field(default_factory=Known)

    @cached_property
    def config(self) -> TrainConfig:
        return self.run.config()

    @cached_property
    def summary(self) -> Summary | None:
        return self.run.summary()

    @cached_property
    def environment(self) -> dict[str, Any]:
        return read_mapping(self.run, self.run.environment_file)

    @cached_property
    def first_weights(self) -> str:
        """What the model started from, and which frozen network's features it joins to its own."""
        record = read_mapping(self.run, self.run.embeddings_file)
        start = str(self.config.init_from or self.config.weights)
        if not self.config.embeddings:
            return start
        return f"{start}; joined with {record.get('features', '?')} features of a frozen {record.get('arch', 'network')}"

    @cached_property
    def split(self) -> dict[str, Any]:
        return self.run.split_info()

    @cached_property
    def commit(self) -> str:
        found = (self.summary.git_commit if self.summary else None) or self.environment.get("git_commit")
        return f"{found or NOT_RECORDED}" + (" with local changes" if self.environment.get("git_dirty") else "")

    @cached_property
    def synthetic(self) -> bool | None:
        """Whether the films were made by a program; ``None`` where nothing says so."""
        found = self.known.dataset.get("synthetic", self.split.get("synthetic"))
        return found if isinstance(found, bool) else None

    @cached_property
    def diagnosis(self) -> Mapping[str, Any] | None:
        """The verdict that the run carries, else the one of today's rules; ``None`` without a history."""
        if self.summary and self.summary.diagnosis:
            return self.summary.diagnosis
        history = self.run.history()
        return diagnose(history, context_of_run(self.run)).to_json() if history else None

    @cached_property
    def _metrics(self) -> Mapping[str, MetricsFile | None]:
        return {on: self.run.metrics(on) for on in PARTS}

    def metrics(self, on: str) -> MetricsFile | None:
        """Of ``val`` or ``test``; read once, for every table and checklist."""
        return self._metrics[on]

    @cached_property
    def predictions(self) -> Mapping[str, pd.DataFrame]:
        """Tables of predictions by part, as far as there are any."""
        tables = {on: self.run.predictions(on) for on in PARTS}
        return {on: table for on, table in tables.items() if table is not None and len(table)}

    # ---- worked out from the predictions -------------------------------------------------------------------------------

    @cached_property
    def question(self) -> Question | None:
        """The yes-or-no question that matters most for these classes."""
        return next(iter(questions_of(self.config.class_names, self.config.ordinal)), None)

    @cached_property
    def temperature(self) -> Temperature | None:
        """Fitted on the validation predictions."""
        table = self.predictions.get("val")
        return None if table is None else fit_temperature(table, self.config.class_names)

    @cached_property
    def calibration(self) -> Mapping[str, Calibration]:
        """By part, of the probabilities as they are."""
        return {on: self._calibrated(table) for on, table in self.predictions.items()}

    @cached_property
    def scaled_calibration(self) -> Calibration | None:
        """Of the test probabilities after the temperature of the validation cases."""
        table = self.predictions.get("test")
        if table is None or self.temperature is None:
            return None
        return self._calibrated(apply_temperature(table, self.config.class_names, self.temperature.value))

    def _calibrated(self, table: pd.DataFrame) -> Calibration:
        return calibration_of(table, self.config.class_names, self.config.ordinal)

    @cached_property
    def thresholds(self) -> Sequence[Threshold]:
        """Chosen on the validation cases, then applied unchanged."""
        answers = {on: found for on in self.predictions if (found := self._answers(on)) is not None}
        if "val" not in answers:
            return []
        chosen = {rule: threshold_of(rule, answers["val"]) for rule in SHOWN_RULES}
        return [
            Threshold(
                RULES[rule], value, {} if value is None else {on: apply_threshold(found, value) for on, found in answers.items()}
            )
            for rule, value in chosen.items()
        ]

    def _answers(self, on: str) -> Answers | None:
        if self.question is None:
            return None
        return answers_of(cases_of(self.predictions[on], self.config.class_names, self.config.ordinal), self.question)

    @cached_property
    def centres(self) -> Mapping[str, Sequence[Subgroup]]:
        """By part, the metric of :attr:`centre_metric` for all cases and for each centre; parts of one centre are left out."""
        if self.question is None:
            return {}
        metric = subgroup_metrics(self.config.class_names, self.config.ordinal)[self.question.key]
        found = {
            on: subgroups_of(table, "center", metric, self.config.class_names, self.config.ordinal)
            for on, table in self.predictions.items()
            if "center" in table.columns and table["center"].nunique() > 1
        }
        return {
            on: [dataclasses.replace(all_cases, value=self.recorded_auc(on, self.question, all_cases.value)), *groups]
            for on, (all_cases, *groups) in found.items()
        }

    @property
    def centre_metric(self) -> str:
        return f"AUC, {self.question.title}" if self.question else ""

    # ---- one number, one interval --------------------------------------------------------------------------------------

    def recorded_auc(self, on: str, question: Question, computed: MetricValue) -> MetricValue:
        """The AUC of a question with the interval that the metrics file gives it, so that all of a pack says the same."""
        metrics, names = self.metrics(on), self.config.class_names
        if metrics is None:
            return computed
        if len(question.positive) == 1 and len(question.negative) == len(names) - 1:
            return _same_number(metrics.per_class.get(question.positive[0], {}).get("auc"), computed)
        key = f"auc_cut_{names.index(question.positive[0])}" if question.key.startswith("from:") else f"{question.key}_auc"
        return _same_number(metrics.metrics.get(key), computed)

    def metric_values(self, on: str) -> dict[str, MetricValue]:
        """The metrics file's metrics; rates at a threshold that is listed too get the interval that stands there."""
        metrics = self.metrics(on)
        found = dict(metrics.metrics) if metrics else {}
        points = {threshold.rule: threshold.points.get(on) for threshold in self.thresholds}
        for name, rule in RULE_OF.items():
            point = points.get(RULES[rule])
            is_listed = point is not None and self.question is not None and name.split("_")[0] == self.question.key
            if name in found and point is not None and is_listed and RATE_OF[name] in ("sensitivity", "specificity"):
                found[name] = _with_interval_of(getattr(point, RATE_OF[name]), found[name])
        return found

    # ---- runs that another tool trained --------------------------------------------------------------------------------

    @cached_property
    def is_imported(self) -> bool:
        """Whether this is a history of another tool; its config then holds this app's defaults, which say nothing of it."""
        return self.run.import_file.exists() or self.config.task == "imported"

    @cached_property
    def import_record(self) -> dict[str, Any]:
        """``import.json``: source, repairs, and what the other tool's files say; empty for a run of this app."""
        return self.run.import_record()

    @cached_property
    def stated(self) -> dict[str, Any]:
        """What the other tool's files say of the run beside its curves; ``None`` or empty values where they say nothing."""
        found = self.import_record.get("known")
        return found if isinstance(found, dict) else {}

    @property
    def seed(self) -> int | None:
        """``None`` where not recorded."""
        return _whole(self.stated.get("seed")) if self.is_imported else self.config.seed

    @property
    def planned_epochs(self) -> int | None:
        """``None`` where not recorded."""
        return _whole(self.stated.get("planned_epochs")) if self.is_imported else self.config.epochs

    @property
    def seed_words(self) -> str:
        """``seed 42, fold 1`` or ``seed not recorded``."""
        seed = "not recorded" if self.seed is None else str(self.seed)
        return f"seed {seed}" + (f", fold {self.config.fold}" if self.config.fold is not None else "")

    @property
    def is_held_out(self) -> bool:
        """Whether the test films come from centres that training never saw."""
        return self.split.get("scheme") == "center-holdout"


def read_mapping(run: RunDir, path: Any) -> dict[str, Any]:
    """A JSON file of a run that may be missing or broken; nothing then."""
    try:
        value = read_json(path)
    except (FileNotFoundError, CorruptRunFile):
        return {}
    return value if isinstance(value, dict) else {}


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


SAME = 1e-9
"""Two numbers that differ by less are one number, read from a file and worked out again."""


def _same_number(recorded: MetricValue | int | None, computed: MetricValue) -> MetricValue:
    """What the metrics file says where it speaks of the same number; files of other films or older rules do not."""
    if not isinstance(recorded, MetricValue) or recorded.value is None or computed.value is None:
        return computed
    return recorded if abs(recorded.value - computed.value) < SAME else computed


def _with_interval_of(listed: MetricValue, recorded: MetricValue) -> MetricValue:
    """The recorded number with the interval of the listed one, where they are one number."""
    if _same_number(recorded, listed) is listed:
        return recorded
    meaning = [part for part in recorded.method.split("; ") if "interval" not in part and "of them without" not in part]
    return listed.model_copy(update={"method": "; ".join([*meaning, listed.method])})


# ---- words ----------------------------------------------------------------------------------------------------------------


def value_text(metric: MetricValue | int | None) -> str:
    """``0.712 (95 % interval 0.65 to 0.77)``; ``undefined`` or ``not recorded``."""
    if not isinstance(metric, MetricValue):
        return NOT_RECORDED
    if metric.value is None:
        return "undefined" if not metric.method.startswith("hidden") else metric.method
    interval = interval_text(metric)
    return f"{metric.value:.3f}" + (f" ({interval})" if interval else "")


def interval_text(metric: MetricValue) -> str:
    return "" if metric.ci_low is None or metric.ci_high is None else f"{metric.ci_low:.3f} to {metric.ci_high:.3f}"
