"""Records of the checks of a run's maps, as the two workflows write them, with numbers that are easy to recognise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mammo_core.report.map_tables import MEASURES
from mammo_core.runs.run_dir import RunDir
from mammo_core.settings import RESEARCH_ONLY, Workspace
from mammo_core.storage import write_json
from mammo_core.workflows.map_records import localisation_file, sanity_file

MAPS = {
    "map": "Grad-CAM",
    "breast": "The whole breast, evenly",
    "centre": "Centre of the breast (a point)",
    "gaussian": "Gaussian",
}


def metric(value: float | None, half: float | None = 0.1) -> dict[str, Any]:
    ends = (None, None) if value is None or half is None else (value - half, value + half)
    return {"value": value, "ci_low": ends[0], "ci_high": ends[1], "method": "mean over films"}


def group(n: int, map_value: float, other: float = 0.25) -> dict[str, Any]:
    scores = {who: {m: metric(map_value if who == "map" else other) for m in MEASURES} for who in MAPS}
    gains = {who: {m: metric(map_value - other) for m in MEASURES} for who in MAPS if who != "map"}
    return {"n": n, "patients": n // 2, "empty": 1, "scores": scores, "gains": gains}


def measured_film(number: int, hit: float, empty: bool = False) -> dict[str, Any]:
    scores = {who: dict.fromkeys(MEASURES, hit) for who in MAPS}
    return {
        "image_id": f"i{number}",
        "patient_id": f"p{number}",
        "class_name": "C",
        "area_pixels": 100 * number,
        "area_mm2": 10.0 * number,
        "empty": empty,
        "breast_found": True,
        "scores": scores,
    }


def localisation_record(run: str = "lesion/seed_42", **changes: Any) -> dict[str, Any]:
    groups = {"small": group(3, 0.3), "medium": group(3, 0.6), "large": group(3, 0.9)}
    record = {
        "schema_version": 1,
        "run": run,
        "on": "val",
        "method": "gradcam",
        "epoch": 3,
        "n": 9,
        "patients": 4,
        "without_outline": {"A": 5},
        "failures": [{"image": "i99", "error": "The outline is gone."}],
        "all": group(9, 0.6),
        "sizes": {"unit": "mm2", "limits": [30.0, 60.0], "groups": groups},
        "words": ["The map points at the lesion in 60% of 9 films.", "It is better."],
        "titles": {"maps": MAPS, "measures": {}},
        "films": [measured_film(1, 0.0), measured_film(2, 1.0), measured_film(3, 0.5), measured_film(4, 0.0, empty=True)],
        "disclaimer": RESEARCH_ONLY,
    }
    return record | changes


def sanity_record(run: str = "density/seed_42", **changes: Any) -> dict[str, Any]:
    stages = [
        {"stage": f"blocks.{index}", "ssim": metric(0.5 - 0.1 * index), "spearman": metric(0.1), "empty": 0} for index in range(3)
    ]
    counted = {"n": 30, "patients": 15}
    tests = {
        "randomisation": {"passed": True, "words": "Passed: lost.", "stages": stages, "left_out": 2, **counted}
        | {"different_films": metric(0.45), "difference": metric(0.15)},
        "repeatability": {"passed": None, "words": "Not tested. No other run."},
        "faithfulness": {"passed": False, "words": "Failed: not better.", "empty": 0, **counted}
        | {"scores": {who: metric(0.1 * place) for place, who in enumerate(("map", "random", "edges", "brightness"))}}
        | {"gains": {who: metric(-0.1 * place) for place, who in enumerate(("random", "edges", "brightness"), start=1)}},
    }
    record = {
        "schema_version": 1,
        "run": run,
        "on": "val",
        "epoch": 3,
        "plan": {"method": "gradcam", "films": 30, "road_films": 50, "seed": 0},
        "tests": tests,
        "failures": [],
        "unusable_runs": [{"run": "density/seed_43", "error": "It is broken."}],
        "titles": {
            "tests": {},
            "maps": {"map": "Grad-CAM", "random": "Random cells", "edges": "Edges", "brightness": "Brightness"},
        },
        "disclaimer": RESEARCH_ONLY,
    }
    return record | changes


def repeated(passed: bool | None = True) -> dict[str, Any]:
    """A repeatability test that was made."""
    return {
        "passed": passed,
        "words": "Maps of one film by 2 runs are alike.",
        "n": 30,
        "patients": 15,
        "runs": ["density/seed_42", "density/seed_43"],
        "ssim": metric(0.6),
        "spearman": metric(0.5),
        "different_films": metric(0.2),
        "difference": metric(0.4),
    }


def write_localisation(workspace: Workspace, run: RunDir, on: str = "val", **changes: Any) -> Path:
    return _write(localisation_file(workspace, run, on, "gradcam"), localisation_record(run.id, on=on, **changes))


def write_sanity(workspace: Workspace, run: RunDir, on: str = "val", **changes: Any) -> Path:
    return _write(sanity_file(workspace, run, on, "gradcam"), sanity_record(run.id, on=on, **changes))


def _write(path: Path, record: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, record)
    return path
