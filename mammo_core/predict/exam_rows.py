"""What is said of films, breasts and exams as JSON-able values; nothing in it names a file, a study or a patient."""

from __future__ import annotations

from typing import Any

from mammo_core.analysis.backing import DEFAULT_RULE, Backing, threshold_facts
from mammo_core.predict.exams import ExamOpinion, GroupOpinion


def exam_row(exam: ExamOpinion, rule: str = DEFAULT_RULE) -> dict[str, Any]:
    """One exam with its breasts, each held against the threshold of a rule of ``operating_points.RULES``."""
    backing = exam.judged_by.backing
    return {
        "exam": exam.title,
        "basis": exam.basis,
        "films": [index + 1 for index in exam.indices],
        "whole": None if exam.whole is None else group_row(exam.whole, backing, rule),
        "breasts": [group_row(breast, backing, rule) for breast in exam.breasts],
        "breasts_differ": exam.differing,
        "left_out": [
            {"film": film.index + 1, "film_id": film.film_id, "name": film.name, "reason": film.reason} for film in exam.left_out
        ],
        "warnings": list(exam.warnings),
    }


def group_row(opinion: GroupOpinion, backing: Backing, rule: str) -> dict[str, Any]:
    """One breast's or exam's mean."""
    return {
        "level": opinion.level,
        "exam": opinion.exam,
        "side": opinion.side,
        "predicted": opinion.predicted,
        "probabilities": opinion.probabilities,
        "raw_probabilities": opinion.raw_probabilities,
        **threshold_facts(backing, opinion.level, rule, opinion.raw_probabilities, len(opinion.views)),
        "per_run": opinion.per_run,
        "spread": opinion.spread,
        "agreement": opinion.agreement,
        "view_range": None if opinion.view_range is None else list(opinion.view_range),
        "disagreement": opinion.disagreement,
        "unfamiliar": opinion.unfamiliar,
        "views": [
            {
                "film": view.index + 1,
                "film_id": view.film_id,
                "name": view.name,
                "predicted": view.predicted,
                "score": view.score,
                "unfamiliar": view.unfamiliar,
            }
            for view in opinion.views
        ],
        "warnings": list(opinion.warnings),
        "words": opinion.words,
    }
