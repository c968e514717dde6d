"""What reporting checklists ask for and files can answer: CLAIM 2024, TRIPOD+AI and STARD-AI, filled from the runs' own files.

Items are named in words, not by number, and grouped as in the sources: their numbering was not checked against the published
tables. Nothing is answered that the files do not say; that is marked "not recorded" and left to the author.

Source
------
Tejani et al. (2024) CLAIM 2024 update, Radiology: Artificial Intelligence, doi:10.1148/ryai.240300; Collins et al. (2024)
TRIPOD+AI, BMJ, doi:10.1136/bmj-2023-078378; Sounderajah et al. (2025) STARD-AI, Nature Medicine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd

from mammo_core.report import checklist_answers as say
from mammo_core.report import checklist_results as results
from mammo_core.report.privacy import without_places
from mammo_core.report.run_facts import NOT_RECORDED, RunFacts
from mammo_core.report.tables import to_markdown
from mammo_core.settings import RESEARCH_ONLY

Answer = Callable[[Sequence[RunFacts]], str]
NAMES = {"claim_2024": "CLAIM (2024 update)", "tripod_ai": "TRIPOD+AI (2024)", "stard_ai": "STARD-AI (2025)"}

KNOWN_OF_IMPORTED = (say.convergence, say.seeds, results.performance)
"""What the history of another tool can answer."""


@dataclass(frozen=True)
class Item:
    """One item group in words."""

    group: str
    answer: Answer | None
    """What the files say; ``None`` where only a person can know."""
    source: str
    author: str
    """What the author must write or confirm."""


def _nothing(group: str, author: str) -> Item:
    return Item(group, None, "", author)


_DATA = (
    Item("Data sources and counts", say.data_source, "dataset.json, summary.json", "Where and when the films were made; consent"),
    Item(
        "Films left out, and why", say.left_out, "dataset.json, split.json, summary.json", "Eligibility; flow before the import"
    ),
    Item("De-identification", say.deidentification, "the import's rules", "What was done before the import"),
    Item("Preprocessing of films", say.preprocessing, "config.yaml, checkpoint", "Any step before the import"),
)
_PARTITION = (
    Item("How data were partitioned, and at which level", say.partition, "split.json", "Why these shares; sample size reasoning"),
    Item("Separation of the partitions", say.proof, "split.json (proof)", "Overlap with pretraining data"),
    Item("Classes in each partition", say.classes, "summary.json, split.json", "Demographics by partition"),
    Item("Centres in each partition", say.centres_counted, "split.json", "Description of the centres and devices"),
)
_MODEL = (
    Item("Model and its first weights", say.model, "config.yaml, checkpoint", "Why this architecture"),
    Item("Training settings", say.settings, "config.yaml", "How the settings were chosen, and on which data"),
    Item("Random seeds", say.seeds, "config.yaml of each run", "Whether further runs were made and not reported"),
    Item("Selection of the final model", say.selection, "config.yaml, summary.json", "Confirm"),
    Item("Convergence of the training", say.convergence, "summary.json, train_history.json", "Comment on each warning"),
    Item("Software", say.software, "environment.json", "Where code and weights can be had"),
    Item("Hardware", say.hardware, "environment.json", "Training time and cost, if wanted"),
)
_RESULTS = (
    Item(
        "Performance with intervals", results.performance, "metrics/*_metrics.json", "Which metric was the primary one, set when"
    ),
    Item("Calibration and temperature", results.calibration, "*_predictions.csv", "Whether a calibrated score was used"),
    Item("Thresholds", results.thresholds, "*_predictions.csv", "Which operating point is meant for use, and why"),
    Item("Subgroups: centres", results.subgroups, "*_predictions.csv", "Age, device, density; fairness discussion"),
    Item("Robustness: seeds, folds, centres", results.robustness, "summary.json of each run", "Further sensitivity analyses"),
    Item("How often the test films were looked at", results.looks, "metrics/test_looks.json", "Confirm"),
    Item("Failure analysis", results.failures, "*_predictions.csv", "What the worst errors have in common"),
    Item("Explainability", results.explainability, "report pack", "What readers may and may not conclude from the maps"),
)
_AUTHOR = (
    _nothing("Title, abstract and aim", "Study question, clinical role and setting"),
    _nothing("Reference standard", "Who read the films, how many, with which experience and agreement"),
    _nothing("Ethics, funding, interests, registration", "Approval, sponsors, commercial interests, protocol"),
)

CHECKLISTS: dict[str, tuple[Item, ...]] = {
    "claim_2024": (*_DATA, *_PARTITION, *_MODEL, *_RESULTS, *_AUTHOR),
    "tripod_ai": (
        *_DATA[:2],
        Item("Outcome and its coding", say.outcome, "config.yaml", "How and by whom the outcome was determined"),
        Item("Missing data", say.missing, "dataset.json, split.json", "Missing values before the import"),
        Item("Class imbalance", say.imbalance, "config.yaml, summary.json", "Why handled so"),
        *_PARTITION,
        *_MODEL[:4],
        Item("Full specification and availability of the model", say.availability, "hashes.csv", "Where weights can be had"),
        *_RESULTS[:6],
        *_AUTHOR,
        _nothing("Patient and public involvement", "Whether and how"),
        _nothing("Fairness", "For whom the model may work worse, and what follows"),
    ),
    "stard_ai": (
        Item("Index test: the model and its version", say.version, "config.yaml, hashes.csv", "Intended use and role"),
        Item("Settings at test time", say.settings_at_test_time, "config.yaml, checkpoint", "Confirm"),
        _DATA[0],
        Item("Flow of films, and unreadable films", say.left_out, "dataset.json, split.json, summary.json", "Flow diagram"),
        *_PARTITION,
        Item("Two-by-two tables at fixed thresholds", results.two_by_two, "*_predictions.csv", "Which one is primary"),
        Item("Indeterminate results", results.indeterminate, "the app's rules", "How indeterminate references were handled"),
        *_RESULTS[:5],
        *_AUTHOR,
    ),
}


def checklist_rows(name: str, study: Sequence[RunFacts]) -> pd.DataFrame:
    """One row an item group: ``Item group, What the files say, From, For the author``."""
    return pd.DataFrame(
        [
            {
                "Item group": item.group,
                "What the files say": without_places(_answered(item, study)),
                "From": item.source,
                "For the author": item.author,
            }
            for item in CHECKLISTS[name]
        ]
    )


def _answered(item: Item, study: Sequence[RunFacts]) -> str:
    if item.answer is None:
        return ""
    if any(facts.is_imported for facts in study) and item.answer not in KNOWN_OF_IMPORTED:
        return NOT_RECORDED  # its config holds this app's defaults where the other tool's file says nothing
    return item.answer(study)


def checklist_document(name: str, rows: pd.DataFrame, study: Sequence[RunFacts]) -> str:
    """One checklist as Markdown."""
    runs = ", ".join(facts.run.id for facts in study)
    table = to_markdown(rows, words=list(rows.columns))
    return (
        f"# {NAMES[name]}: what the files can answer\n\n**{RESEARCH_ONLY}**\n\nRuns: {runs}.\n\n"
        "An aid for the author, no completed checklist. Item groups are named in words; take numbers and exact wording from the "
        'published table. What the files do not hold is marked "not recorded"; an empty second column is the author\'s alone. '
        f"Confirm every line before you submit.\n\n{_warning(study)}{table}"
    )


def _warning(study: Sequence[RunFacts]) -> str:
    if any(facts.synthetic for facts in study):
        return "**The films are synthetic (made by a program): no number here says anything about patients.**\n\n"
    return ""
