"""The results of many films as tables: one of films, one of breasts and exams, with the model and the notice in every row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from mammo_core.predict.exam_films import view_label
from mammo_core.predict.model_record import REFERENCE_PREFIX
from mammo_core.predict.unfamiliar import FAMILIARITY
from mammo_core.settings import RESEARCH_ONLY

JUDGED = ("question", "score", "threshold", "rule", "called", "threshold_reason")
"""Columns that hold a case against a threshold; the score is that before any temperature."""


def model_names(asked: Sequence[str], runs: Sequence[str]) -> str:
    """A model as the user named it: ``klesion (kept model)`` for ``model:klesion``, else its runs."""
    kept = [f"{name.removeprefix(REFERENCE_PREFIX)} (kept model)" for name in asked if name.startswith(REFERENCE_PREFIX)]
    return ", ".join(kept or runs)


def film_table(rows: Sequence[dict[str, Any]], facts: Mapping[str, Any]) -> pd.DataFrame:
    """One row a film, failures too, with the model and the notice in each."""
    columns = ["film", "film_id", "exam", "side", "view", "left_out", "predicted"]
    columns += [f"prob_{name}" for name in facts["class_names"]]
    columns += [*JUDGED, "spread", "familiarity", "warnings", "error", "map", "map_note"]
    made = []
    for row in rows:
        answered = row["predicted"] is not None
        made.append(
            {
                **{key: row.get(key) for key in ("film", "film_id", "exam", "side", "view", "left_out", "predicted")},
                **{f"prob_{name}": value for name, value in row["probabilities"].items()},
                **_judged_cells(row),
                "spread": row["spread"],
                "familiarity": FAMILIARITY[row["unfamiliar"]["flagged"]] if answered else None,
                "warnings": " ".join(row["warnings"]),
                "error": row["error"],
                "map": row.get("gradcam"),
                "map_note": row.get("map_note"),
            }
        )
    return pd.DataFrame(made, columns=columns).assign(**_model_cells(facts))


def exam_table(exams: Sequence[dict[str, Any]], facts: Mapping[str, Any]) -> pd.DataFrame:
    """One row an exam and one each of its breasts, with the model and the notice in each; see :func:`shown_groups`.

    Parameters
    ----------
    exams : as :func:`mammo_core.predict.exam_rows.exam_row` gives them
    facts : ``class_names, model, model_id, temperature, runs, models, made_at``
    """
    columns = ["exam", "level", "side", "basis", "films", "views", "film_ids", "predicted"]
    columns += [f"prob_{name}" for name in facts["class_names"]]
    columns += [*JUDGED, "spread", "view_min", "view_max", "disagreement", "familiarity", "left_out", "warnings"]
    made: list[dict[str, Any]] = []
    for exam in exams:
        own = {"exam": exam["exam"], "basis": exam["basis"], "level": "exam", "films": 0, "warnings": " ".join(exam["warnings"])}
        own["left_out"] = " ".join(f"Film {film['film']} ({film['name']}): {film['reason']}." for film in exam["left_out"])
        if exam["whole"] is None:
            made.append(own)
            continue
        whole = _group_cells(exam["whole"])
        parts = (whole["disagreement"], exam["breasts_differ"])
        whole["disagreement"] = " ".join(filter(None, parts))
        made.append({**own, **whole, "warnings": " ".join(filter(None, (own["warnings"], whole["warnings"])))})
        breasts = shown_groups(exam)[1:]
        made += [{"exam": exam["exam"], "basis": exam["basis"], **_group_cells(breast)} for breast in breasts]
    return pd.DataFrame(made, columns=columns).assign(**_model_cells(facts))


def shown_groups(exam: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The exam's mean and those of its breasts; of one film the first alone, and none where no film counts."""
    whole = exam.get("whole")
    if whole is None:
        return []
    return [whole] if len(whole["views"]) == 1 else [whole, *exam["breasts"]]


def views_text(group: Mapping[str, Any]) -> str:
    """``film 1: L CC, film 2: L MLO``."""
    return ", ".join(view_label(view["film"] - 1, view["name"]) for view in group["views"])


def _judged_cells(row: Mapping[str, Any]) -> dict[str, Any]:
    judged = row["threshold"] or {}
    return {**{key: judged.get(key) for key in JUDGED[:-1]}, "threshold_reason": row["threshold_reason"]}


def _group_cells(group: Mapping[str, Any]) -> dict[str, Any]:
    low, high = group["view_range"] or (None, None)
    return {
        **{key: group[key] for key in ("level", "side", "predicted", "spread", "disagreement")},
        **{f"prob_{name}": value for name, value in group["probabilities"].items()},
        "films": len(group["views"]),
        **_judged_cells(group),
        "views": views_text(group),
        "film_ids": ", ".join(view["film_id"] for view in group["views"]),
        "view_min": low,
        "view_max": high,
        "familiarity": FAMILIARITY[group["unfamiliar"]],
        "warnings": " ".join(group["warnings"]),
    }


def _model_cells(facts: Mapping[str, Any]) -> dict[str, Any]:
    splits = dict.fromkeys(str(model.get("split_sha256") or "unknown") for model in facts["models"])
    return {
        **{key: facts[key] for key in ("model", "model_id", "temperature")},
        "runs": ", ".join(facts["runs"]),
        "split_sha256": ", ".join(splits),
        "made_at": facts["made_at"],
        "notice": RESEARCH_ONLY,
    }
