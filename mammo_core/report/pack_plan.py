"""What a report pack will hold, decided from the files of the runs before anything is drawn.

The page lists this plan and the pack is made by following it, so that what is promised and what is written cannot part ways.
"""

from __future__ import annotations

import functools
import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from mammo_core.analysis.experiment_summary import summarise_experiment
from mammo_core.analysis.finished import finished_runs
from mammo_core.errors import MammoError
from mammo_core.report import pack_figures as figures
from mammo_core.report import reproduce
from mammo_core.report.captions import gradcam_caption
from mammo_core.report.checklists import CHECKLISTS, NAMES, checklist_document, checklist_rows
from mammo_core.report.figures import FORMATS, FigureSize, Format
from mammo_core.report.model_card import model_card_of
from mammo_core.report.pack_figures import Figure
from mammo_core.report.pack_tables import class_tables, comparison_tables, seed_tables
from mammo_core.report.run_facts import Ask, Known, RunFacts
from mammo_core.report.tables import safe_csv
from mammo_core.runs.run_dir import RunDir

GradCam = Callable[[RunDir], bytes | None]
"""Draws the Grad-CAM figure of a run as PNG, or ``None`` where it cannot; comes from the caller, since torch stays outside."""

LAST_FILES = ("captions.md", "README.md", reproduce.MANIFEST_NAME)
"""Written when everything else is, in this order."""


@dataclass(frozen=True)
class PackOptions:
    """How a pack is made."""

    formats: Sequence[Format] = ("png",)
    size: FigureSize = field(default_factory=FigureSize)
    gradcam: GradCam | None = None
    ask: Ask | None = None
    """What is known of a run beside its own files."""


@dataclass(frozen=True)
class FigureItem:
    """A figure in every format, with the numbers behind it."""

    stem: str
    """Path inside the pack, without its ending."""
    title: str
    """For a reader who chooses one."""
    prepare: Callable[[], Figure]

    def names(self, formats: Sequence[Format]) -> list[str]:
        folder, _, name = self.stem.rpartition("/")
        return [*(f"{self.stem}.{kind}" for kind in formats), "/".join(part for part in (folder, "data", f"{name}.csv") if part)]


@dataclass(frozen=True)
class FileItem:
    """Any other files that are made together."""

    files: tuple[str, ...]
    make: Callable[[], Sequence[bytes]]
    """One content for each of ``files``."""
    caption: Callable[[], str] | None = None


@dataclass
class PackPlan:
    """Everything that is to be made, and what already is known to be missing."""

    runs: Sequence[RunDir]
    options: PackOptions
    items: list[FigureItem | FileItem] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    counted: list[RunDir] = field(default_factory=list)
    """Runs that stand in tables and figures over runs."""
    missing: Counter[str] = field(default_factory=Counter)
    """``figure``, ``file`` or ``run`` -> how many of them should be there and cannot be made."""

    def lacks(self, problem: str, figures: int = 0, runs: int = 0) -> None:
        """Note in a sentence what cannot be made."""
        self.problems.append(problem)
        self.missing.update(figure=figures, run=runs)

    @property
    def names(self) -> list[str]:
        """The paths of all files inside the pack, sorted."""
        if not self.runs:
            return []
        made = [item.names(self.options.formats) if isinstance(item, FigureItem) else item.files for item in self.items]
        return sorted([name for names in made for name in names] + list(LAST_FILES))

    @property
    def figures(self) -> list[FigureItem]:
        return [item for item in self.items if isinstance(item, FigureItem)]


def plan_pack(runs: Sequence[RunDir], options: PackOptions | None = None) -> PackPlan:
    """The plan for some runs; only small files are read.

    Raises
    ------
    MammoError
        An unknown format.
    """
    options = options or PackOptions()
    unknown = [kind for kind in options.formats if kind not in FORMATS]
    if unknown:
        raise MammoError(f"{unknown[0]!r} is no figure format; expected some of {', '.join(FORMATS)}.")
    plan = PackPlan(runs, options)
    experiments = list(dict.fromkeys(run.experiment for run in runs))
    groups = {name: [run for run in runs if run.experiment == name] for name in experiments}
    everything: list[RunFacts] = []
    for name, members in groups.items():
        everything += _plan_experiment(plan, members, f"{name}/" if len(groups) > 1 else "")
    if len(groups) > 1:
        _plan_comparison(plan, groups)
    if everything:
        _plan_bundle(plan, everything)
    return plan


def _plan_experiment(plan: PackPlan, members: Sequence[RunDir], folder: str) -> list[RunFacts]:
    study = []
    for run, ending in zip(members, endings(members), strict=True):
        try:
            facts = RunFacts(run, plan.options.ask(run) if plan.options.ask else Known())
            _plan_run(plan, facts, folder + file_word(facts.config.task), ending)
            study.append(facts)
        except MammoError as error:
            plan.lacks(f"{run.id}: {error}", runs=1)
    if not study:
        return []
    kept, left_out = finished_runs([facts.run for facts in study])
    plan.problems += [f"{entry['run']} counts in no mean or SD: {entry['reason'].rstrip('.')}." for entry in left_out]
    counted = [found.run for found in kept]
    plan.counted += counted
    if counted:
        names = tuple(f"{folder}seed_table.{kind}" for kind in ("csv", "md", "tex"))
        tables = functools.cache(functools.partial(seed_tables, counted))
        plan.items.append(FileItem(names, lambda: tables().contents, lambda: tables().caption))
    judged = [facts for facts in study if facts.run in counted and _has_metrics(facts.run)]
    if judged:
        names = tuple(f"{folder}class_table.{kind}" for kind in ("csv", "md", "tex"))
        by_class = functools.cache(functools.partial(class_tables, judged))
        plan.items.append(FileItem(names, lambda: by_class().contents, lambda: by_class().caption))
    if len(counted) > 1:
        _plan_seeds(plan, counted, f"{folder}{file_word(study[0].config.task)}_seeds")
    _plan_checklists(plan, study, folder)
    return study


def _has_metrics(run: RunDir) -> bool:
    return run.metrics_file("val").exists() or run.metrics_file("test").exists()


def _plan_run(plan: PackPlan, facts: RunFacts, task: str, ending: str) -> None:
    run, on_paper = facts.run, plan.items.append
    state = run.state()
    if state != "finished":
        plan.problems.append(f"{run.id} is {state}; its figures show the epochs there are.")
    if run.history_file.exists():
        on_paper(FigureItem(f"{task}_train_{ending}", f"{run.id}: training", functools.partial(figures.train_figure_of, facts)))
    else:
        plan.lacks(f"{run.id} has no history yet, so there is no training figure.", figures=1)
    if facts.is_imported:
        plan.problems.append(f"{run.id} was trained by another tool; there are its curves, and no predictions or checkpoint.")
    elif not run.metrics_file("val").exists():
        plan.lacks(f"{run.id} has no validation metrics, so there is no confusion matrix.", figures=1)
    for on, infix, words in (("val", "", "validation"), ("test", "_test", "test")):
        parts = [("confusion", run.metrics_file(on), figures.confusion_figure)]
        parts += [
            (name, run.predictions_file(on), draw)
            for name, draw in (("roc", figures.roc_figure), ("calibration", figures.calibration_figure))
        ]
        for name, needed, draw in parts:
            if needed.exists() and run.metrics_file(on).exists():
                title = f"{run.id}: {name}, {words} films"
                on_paper(FigureItem(f"{task}_{name}{infix}_{ending}", title, functools.partial(draw, facts, on)))
    if not facts.is_imported:
        _plan_gradcam(plan, run, f"{task}_gradcam_{ending}.png")
    on_paper(FileItem((f"{task}_model_card_{ending}.md",), lambda: [model_card_of(facts).encode()]))


def _plan_gradcam(plan: PackPlan, run: RunDir, name: str) -> None:
    draw = plan.options.gradcam
    if draw is None:
        return
    if not run.best_model.exists():
        plan.lacks(f"{run.id}: no Grad-CAM figure, since the run keeps no checkpoint.", figures=1)
        return

    def make() -> list[bytes]:
        try:
            picture = draw(run)
        except MammoError as error:
            raise MammoError(f"no Grad-CAM figure ({error}).") from error
        if picture is None:
            raise MammoError("no Grad-CAM figure, since none could be drawn from its checkpoint and films.")
        return [picture]

    plan.items.append(FileItem((name,), make, lambda: gradcam_caption(run)))


def _plan_seeds(plan: PackPlan, runs: Sequence[RunDir], stem: str) -> None:
    experiment = runs[0].experiment
    for column, title in figures.CURVES.items():
        draw = functools.partial(figures.seeds_curves_figure, runs, column)
        if not _recorded(runs, column):
            continue
        plan.items.append(FigureItem(f"{stem}_{column}", f"{experiment}: {title.lower()} of all runs", draw))

    def dots() -> Figure:
        return figures.seeds_dots_figure(runs, _values(runs))

    plan.items.append(FigureItem(f"{stem}_metrics", f"{experiment}: metrics of all runs", dots))


def _values(runs: Sequence[RunDir]) -> dict[str, list[float | None]]:
    summary = summarise_experiment(runs)
    return {name: [entry["metrics"][name] for entry in summary["runs"]] for name in summary["metrics"]}


def _plan_checklists(plan: PackPlan, study: Sequence[RunFacts], folder: str) -> None:
    for name in CHECKLISTS:
        files = (f"{folder}checklists/{name}.md", f"{folder}checklists/{name}.csv")

        def make(name: str = name) -> list[bytes]:
            table = checklist_rows(name, study).assign(checklist=NAMES[name])
            return [checklist_document(name, table.drop(columns="checklist"), study).encode(), safe_csv(table)]

        plan.items.append(FileItem(files, make))


def _plan_comparison(plan: PackPlan, groups: dict[str, list[RunDir]]) -> None:
    counted = {name: [found.run for found in finished_runs(runs)[0]] for name, runs in groups.items()}
    counted = {name: runs for name, runs in counted.items() if runs}
    if len(counted) < 2:
        return
    if unlike := _unlike(counted):
        plan.problems.append(f"There is no comparison of the experiments, since {unlike}.")
        return
    for column, title in figures.CURVES.items():
        if not _recorded([run for runs in counted.values() for run in runs], column):
            continue
        draw = functools.partial(figures.comparison_curves_figure, counted, column)
        plan.items.append(FigureItem(f"compare_{column}", f"All experiments: {title.lower()}", draw))

    def dots() -> Figure:
        return figures.comparison_dots_figure(counted, {name: _values(runs) for name, runs in counted.items()})

    plan.items.append(FigureItem("compare_metrics", "All experiments: metrics", dots))
    tables = functools.cache(functools.partial(comparison_tables, counted))
    names = tuple(f"compare_table.{kind}" for kind in ("csv", "md", "tex"))
    plan.items.append(FileItem(names, lambda: tables().contents, lambda: tables().caption))


def _unlike(groups: dict[str, list[RunDir]]) -> str:
    """Why the numbers of the experiments do not mean the same; nothing where they do."""
    unknown = [name for name, runs in groups.items() if RunFacts(runs[0]).is_imported and not runs[0].config().class_names]
    if unknown:
        return f"the classes of {', '.join(unknown)} are not recorded"
    own = {runs[0].config().task for runs in groups.values() if not RunFacts(runs[0]).is_imported}
    same = len(own) < 2 and len({runs[0].config().class_names for runs in groups.values()}) == 1
    return "" if same else "they tell different classes apart"


def _recorded(runs: Sequence[RunDir], column: str) -> bool:
    """Whether any run has values of a column: histories of other tools may lack it."""
    try:
        return any(getattr(record, column) is not None for run in runs for record in run.history())
    except MammoError:
        return True  # the figure itself then says what is wrong


def _plan_bundle(plan: PackPlan, study: Sequence[RunFacts]) -> None:
    for facts in study:
        folder = f"reproduce/{facts.run.id}"
        if facts.is_imported:
            plan.items.append(FileItem((f"{folder}/import.json",), functools.partial(_import_record, facts)))
            continue
        plan.items.append(FileItem((f"{folder}/config.yaml",), functools.partial(_config, facts)))
        plan.items.append(FileItem((f"{folder}/environment.json",), functools.partial(_environment, facts)))
        plan.items.append(FileItem((f"{folder}/split.json",), functools.partial(_split, facts)))
    plan.items.append(FileItem(("reproduce/hashes.csv",), lambda: [safe_csv(reproduce.hash_table(study))]))
    plan.items.append(FileItem(("reproduce/README.md",), lambda: [reproduce.guide(study).encode()]))


def _config(facts: RunFacts) -> list[bytes]:
    return [reproduce.config_text(facts).encode()]


def _import_record(facts: RunFacts) -> list[bytes]:
    return [_json(reproduce.import_record(facts))]


def _environment(facts: RunFacts) -> list[bytes]:
    return [_json(reproduce.environment_record(facts))]


def _split(facts: RunFacts) -> list[bytes]:
    return [_json(reproduce.split_record(facts))]


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()


def endings(runs: Sequence[RunDir]) -> list[str]:
    """``seed42`` or ``seed42_fold1`` for each run, with ``_2`` and so on behind where that would repeat; the run's name where
    another tool trained it, or its configuration cannot be read."""
    found: list[str] = []
    for run in runs:
        try:
            facts, config = RunFacts(run), run.config()
            base = f"seed{config.seed}" + (f"_fold{config.fold}" if config.fold is not None else "")
            base = file_word(run.name) if facts.is_imported else base
        except MammoError:
            base = run.name
        number = 1 + sum(other == base or other.startswith(f"{base}_again") for other in found)
        found.append(base if number == 1 else f"{base}_again{number}")
    return [re.sub(r"_again(\d+)$", r"_\1", ending) for ending in found]


def file_word(text: str) -> str:
    """Text as a part of a file name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text).strip("._") or "task"
