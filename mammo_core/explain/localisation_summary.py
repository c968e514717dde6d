"""What the measures of many films come to: means, gains over the maps that need no model, the same by size, and in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mammo_core.analysis.formulas import Floats
from mammo_core.errors import DataError
from mammo_core.explain.localisation import BASELINES, LEAST_PATIENTS, MAP, MEASURES, LocalisedFilm, mean_estimates
from mammo_core.runs.map_checks import SHORT_MAPS, films_of_patients

SIZES = ("small", "medium", "large")
EASY = 0.9
"""Share of films from which pointing at the lesion is no achievement where a map that needs no model does it."""
BETTER, WORSE = "better than", "worse than"
LEAST_FOR_SIZES = 9
"""Films below which thirds by size would hold fewer than three films each."""


def summarise(films: Sequence[LocalisedFilm]) -> dict[str, Any]:
    """Means over films with intervals, gains over the baselines, the same by lesion size, and what it says in words.

    Returns
    -------
    dict
        ``all`` and ``sizes["groups"]`` hold ``n, patients, empty, scores {map|baseline: {measure: metric}}, gains {baseline:
        {measure: metric}}`` (map minus baseline, paired); ``sizes`` also ``unit`` (``mm2``, or ``pixels`` where a film states no
        spacing) and ``limits`` (the upper ends of small and medium); ``words`` is a list of sentences.

    Raises
    ------
    DataError
        There is no film.
    """
    if not films:
        raise DataError("There is no film with a lesion outline to measure maps against; expected at least one.")
    whole = _group(films)
    sizes, words = _by_size(films), _words(whole)
    if any(group["patients"] < LEAST_PATIENTS for group in sizes["groups"].values()):
        words.append(f"A size with lesions of fewer than {LEAST_PATIENTS} patients has no interval.")
    return {"all": whole, "sizes": sizes, "words": words}


def _group(films: Sequence[LocalisedFilm]) -> dict[str, Any]:
    def column(who: str, measure: str) -> Floats:
        return np.array([getattr(film.scores[who], measure) for film in films], dtype=np.float64)

    names = [(who, measure) for who in (MAP, *BASELINES) for measure in MEASURES]
    columns = {f"{who} {measure}": column(who, measure) for who, measure in names}
    for who, measure in names[len(MEASURES) :]:
        columns[f"gain {who} {measure}"] = column(MAP, measure) - column(who, measure)
    found = mean_estimates([film.patient_id for film in films], columns)
    return {
        "n": len(films),
        "patients": len({film.patient_id for film in films}),
        "empty": sum(film.empty for film in films),
        "scores": {who: {m: found[f"{who} {m}"].model_dump() for m in MEASURES} for who in (MAP, *BASELINES)},
        "gains": {who: {m: found[f"gain {who} {m}"].model_dump() for m in MEASURES} for who in BASELINES},
    }


def _by_size(films: Sequence[LocalisedFilm]) -> dict[str, Any]:
    in_mm2 = all(film.area_mm2 is not None for film in films)
    areas = np.array([film.area_mm2 if in_mm2 else film.area_pixels for film in films], dtype=np.float64)
    limits = np.quantile(areas, [1 / 3, 2 / 3])
    found: dict[str, Any] = {"unit": "mm2" if in_mm2 else "pixels", "limits": limits.tolist(), "groups": {}}
    if len(films) >= LEAST_FOR_SIZES:
        third = np.searchsorted(limits, areas, side="left")
        for number, name in enumerate(SIZES):
            group = [film for film, which in zip(films, third, strict=True) if which == number]
            if group:
                found["groups"][name] = _group(group)
    return found


def _words(whole: Mapping[str, Any]) -> list[str]:
    hit = whole["scores"][MAP]["pointing"]
    best = max(BASELINES, key=lambda name: whole["scores"][name]["pointing"]["value"])
    words = [
        "The highest point of the map lies in the lesion or within one cell of it: on average over "
        f"{films_of_patients(whole['n'], whole['patients'])}, {100 * hit['value']:.0f} % (a shared maximum counts in part"
        f"{_range(hit)}). Of the maps that need no model the best one, {BASELINES[best].lower()}, reaches "
        f"{100 * whole['scores'][best]['pointing']['value']:.0f} %."
    ]
    if whole["scores"][best]["pointing"]["value"] >= EASY:
        words.append(
            "A map that knows nothing of the film's content points at the lesion that often because one cell of the map is large "
            "beside the breast: on these films pointing says little, and the shares and overlaps below say more."
        )
    for measure, what in (("pointing", "By where it points"), ("iou_matched", "By its overlap at the lesion's area")):
        words.append(f"{what}, {_beside_baselines({name: whole['gains'][name][measure] for name in BASELINES})}.")
    if whole["empty"]:
        one, many = (
            "1 map shows no positive evidence; it counts as a miss.",
            "maps show no positive evidence; they count as misses.",
        )
        words.append(one if whole["empty"] == 1 else f"{whole['empty']} {many}")
    return words


def _beside_baselines(gains: Mapping[str, Mapping[str, Any]]) -> str:
    """What the intervals of the gains say: better, worse, or neither."""
    found: dict[str, list[str]] = {}
    for name, gain in gains.items():
        found.setdefault(_verdict(gain), []).append(f"the {SHORT_MAPS[name].lower()}")
    if len(found) == 1:
        (verdict,) = found
        which = "each" if verdict in (BETTER, WORSE) else "any"
        return f"the map is {verdict} {which} of the maps that need no model"
    return "the map is " + "; ".join(f"{verdict} {' and '.join(names)}" for verdict, names in found.items())


def _verdict(gain: Mapping[str, Any]) -> str:
    if gain["ci_low"] is None:
        return f"not compared ({gain['method'].rpartition('; ')[2]}) with"
    if gain["ci_low"] > 0:
        return BETTER
    return WORSE if gain["ci_high"] < 0 else "not shown to be better than"


def _range(metric: Mapping[str, Any]) -> str:
    if metric["ci_low"] is None:
        return ""
    return f"; 95 % interval {100 * metric['ci_low']:.0f} % to {100 * metric['ci_high']:.0f} %"
