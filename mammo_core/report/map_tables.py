"""The checks of a run's maps as tables: in plain words for the screen, as bare numbers for CSV."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from mammo_core.runs.map_checks import MAP, SHORT_MAPS, TESTS, Group, LocalisationRecord, Outcome, SanityRecord, Scores
from mammo_core.runs.schema import MetricValue

MEASURES = {
    "pointing": "Points at the lesion",
    "energy": "Share of the map inside",
    "iou_matched": "Overlap, equal areas",
    "iou_half": "Overlap, strong part",
    "auprc": "Pixel ranking",
}
MEASURE_MEANINGS = {
    "pointing": "Whether the highest point of the map lies in the lesion or within one cell of the map beside it, on average "
    "over the films; a maximum that several points share counts in part.",
    "energy": "How much of the whole map lies inside the lesion's outline.",
    "iou_matched": "The highest pixels of the map, as many as the lesion has, against the lesion: what both share, of what "
    "either covers (IoU).",
    "iou_half": "The same for the pixels from half of the map's maximum on.",
    "auprc": "How well the map ranks the lesion's pixels above the others (area under the precision-recall curve).",
}
"""0 % is worst and 100 % best in all of them."""

KIND_TITLES = {
    "right": "Truly {name}, called {name} (true positive for {name})",
    "missed": "Truly {name}, called something else (false negative for {name})",
    "wrongly called": "Called {name}, truly something else (false positive for {name})",
}
"""Of the films of a gallery; ``name`` is the class under which they are listed."""

TEST_NAMES = {"randomisation": "Randomisation", "repeatability": "Repeatability", "faithfulness": "Faithfulness"}
TEST_QUESTIONS = {
    "randomisation": "Do the maps depend on what the model has learnt?",
    "repeatability": "Does the same training with another seed give the same maps?",
    "faithfulness": "Do the maps mark the pixels that matter to the score?",
}
TEST_MEANINGS = {
    "randomisation": "What the model has learnt is replaced by random numbers, part by part. A map that stays the same all the "
    "while shows the film and not the model.",
    "repeatability": "Runs that differ by their seed alone make a map of the same film. Where these differ as much as maps of "
    "different films do, a single map says little.",
    "faithfulness": "Pixels are removed from the film in the order of the map. If the map is right, that changes the score more "
    "than removing them at random, along edges or by brightness.",
}
SIZE_WORDS = {"small": "Small", "medium": "Medium", "large": "Large"}
ALL_SIZES = "All lesions"
TENTH = 0.1
"""Shares below it have a decimal."""
UNITS = {"mm2": "mm²", "pixels": "pixels"}


def percent(metric: MetricValue | None, signed: bool = False) -> str:
    """``63 % (51 to 74)``, with its sign for a difference; ``undefined`` without a value."""
    if metric is None or metric.value is None:
        return "undefined"
    digits = 0 if abs(metric.value) >= TENTH else 1
    form = f"{'+' if signed else ''}.{digits}f"
    text = f"{100 * metric.value:{form}} %"
    if metric.ci_low is None or metric.ci_high is None:
        return text
    return f"{text} ({100 * metric.ci_low:{form}} to {100 * metric.ci_high:{form}})"


def two_digits(metric: MetricValue | None) -> str:
    """``0.63 (0.51 to 0.74)``; ``undefined`` without a value."""
    if metric is None or metric.value is None:
        return "undefined"
    if metric.ci_low is None or metric.ci_high is None:
        return f"{metric.value:.2f}"
    return f"{metric.value:.2f} ({metric.ci_low:.2f} to {metric.ci_high:.2f})"


# ---- gallery ---------------------------------------------------------------------------------------------------------------


def gallery_rows(items: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """One row a map of a gallery, in the order of the sheet; ``items`` is that of ``gallery.json``."""
    return pd.DataFrame(
        {
            "Class": item.get("listed_under"),
            "What": KIND_TITLES.get(str(item.get("kind")), str(item.get("kind"))).format(name=item.get("listed_under")),
            "Film": item.get("image"),
            "True": item.get("true"),
            "Called": item.get("predicted"),
            "Confidence": item.get("score"),
            "Map for": item.get("class"),
            "Alarms": " ".join((item.get("map") or {}).get("alarms") or ()),
            "Not made because": item.get("error") or "",
        }
        for item in items
    )


def gallery_counts(items: Sequence[Mapping[str, Any]]) -> str:
    """The films of a gallery that have a map, each counted once: how many with an alarm, called rightly and called wrongly."""
    made = [item for item in items if not item.get("error")]
    films = {item.get("image") for item in made}
    alarming = {item.get("image") for item in made if (item.get("map") or {}).get("alarms")}
    right, missed, called = ({item.get("image") for item in made if item.get("kind") == kind} for kind in KIND_TITLES)
    wrong = missed | called
    shown = f"{len(films)} film{'' if len(films) == 1 else 's'}"
    told = f"{shown}, {len(alarming)} with an alarm: {len(right)} called rightly, {len(wrong)} wrongly."
    if wrong:
        told += (
            f" Of those called wrongly, {len(missed - called)} stand under the class that they are (false negatives for it), "
            f"{len(called - missed)} under the class that they were called (false positives for it), {len(missed & called)} "
            "under both."
        )
    return told


# ---- localisation ------------------------------------------------------------------------------------------------------------


def map_name(record: LocalisationRecord, who: str) -> str:
    """What a map is called in tables and charts."""
    return SHORT_MAPS.get(who) or record.titles.maps.get(who, who)


def score_rows(record: LocalisationRecord) -> pd.DataFrame:
    """One row a measure: the model's map, then each map that needs no model, with 95 % intervals."""
    return _by_measure(record, record.all.scores, signed=False)


def gain_rows(record: LocalisationRecord) -> pd.DataFrame:
    """One row a measure: by how much the model's map is better than each map that needs no model, in percentage points."""
    return _by_measure(record, record.all.gains, signed=True)


def _by_measure(record: LocalisationRecord, table: Scores, signed: bool) -> pd.DataFrame:
    return pd.DataFrame(
        {"Measure": title, **{map_name(record, who): percent(values.get(measure), signed) for who, values in table.items()}}
        for measure, title in MEASURES.items()
    )


def groups_of(record: LocalisationRecord) -> Iterator[tuple[str, Group]]:
    """All lesions, then each size with its limits, under the names that tables and charts use."""
    yield ALL_SIZES, record.all
    low, high = (f"{limit:,.0f}" for limit in record.sizes.limits)
    unit = UNITS[record.sizes.unit]
    limits = {"small": f"up to {low} {unit}", "medium": f"to {high} {unit}", "large": f"above {high} {unit}"}
    for size, group in record.sizes.groups.items():
        yield f"{SIZE_WORDS.get(size, size)}, {limits.get(size, '')}", group


def size_rows(record: LocalisationRecord, measure: str) -> pd.DataFrame:
    """One row a size of lesion: films, patients, and one measure of each map."""
    return pd.DataFrame(
        {
            "Lesions": name,
            "Films": group.n,
            "Patients": group.patients,
            **{map_name(record, who): percent(group.scores[who].get(measure)) for who in group.scores},
        }
        for name, group in groups_of(record)
    )


def localised_rows(record: LocalisationRecord, best_first: bool = False) -> pd.DataFrame:
    """The films, by where their map points, then by the share of the map inside the lesion.

    Returns
    -------
    DataFrame
        ``image_id, class_name, area, points`` (sign and word), ``energy, iou_matched`` (0 to 1).
    """
    ordered = sorted(
        record.films,
        key=lambda film: (film.scores[MAP]["pointing"], film.scores[MAP]["energy"], film.image_id),
        reverse=best_first,
    )
    in_mm2 = record.sizes.unit == "mm2"
    return pd.DataFrame(
        {
            "image_id": [film.image_id for film in ordered],
            "class_name": [film.class_name for film in ordered],
            "area": [film.area_mm2 if in_mm2 else float(film.area_pixels) for film in ordered],
            "points": [_pointing_word(film.scores[MAP]["pointing"], film.empty) for film in ordered],
            "energy": [film.scores[MAP]["energy"] for film in ordered],
            "iou_matched": [film.scores[MAP]["iou_matched"] for film in ordered],
        }
    )


def _pointing_word(share: float, empty: bool) -> str:
    if empty:
        return "– map is empty"
    return "✓ yes" if share == 1 else "✕ no" if share == 0 else f"◐ {share:.0%} of its highest points"


def localisation_numbers(record: LocalisationRecord) -> pd.DataFrame:
    """Every number with its interval, one a row: for CSV."""
    rows = []
    for name, group in groups_of(record):
        for what, table in (("value", group.scores), ("gain of the map", group.gains)):
            for who, values in table.items():
                for measure, metric in values.items():
                    counted = {"lesions": name, "films": group.n, "patients": group.patients}
                    rows.append({**counted, "map": record.titles.maps.get(who, who), **_numbers(measure, what, metric)})
    return pd.DataFrame(rows)


def _numbers(measure: str, what: str, metric: MetricValue) -> dict[str, Any]:
    ends = {"value": metric.value, "ci_low": metric.ci_low, "ci_high": metric.ci_high}
    return {"measure": measure, "what": what, **ends, "method": metric.method}


# ---- sanity check ------------------------------------------------------------------------------------------------------------


def outcomes(record: SanityRecord) -> dict[str, Outcome]:
    return {name: record.tests[name].outcome for name in TESTS}


def verdict_of(record: SanityRecord) -> str:
    """One sentence for somebody who wants to know whether to look at such maps at all."""
    found = outcomes(record)
    if found["randomisation"] == "failed":
        return "Do not rely on these maps: they would look much the same if the model had learnt nothing."
    failed = [TEST_NAMES[name].lower() for name in TESTS if found[name] == "failed"]
    if failed:
        return f"Read these maps with reserve: they failed {' and '.join(failed)}."
    passed = [name for name in TESTS if found[name] == "passed"]
    if len(passed) == len(TESTS):
        return "These maps passed all three tests. That makes them worth looking at; it does not make what they show a lesion."
    if passed:
        names = " and ".join(TEST_NAMES[name].lower() for name in passed)
        return f"These maps passed {names}; what was not decided or not tested is still open."
    return "Nothing is decided yet about these maps."


def outcome_rows(record: SanityRecord) -> pd.DataFrame:
    """One row a test: its outcome, and on how many films."""
    tests = [record.tests[name] for name in TESTS]
    return pd.DataFrame(
        {
            "Test": [TEST_NAMES[name] for name in TESTS],
            "Outcome": [test.outcome for test in tests],
            "Films": [test.n for test in tests],
            "Patients": [test.patients for test in tests],
        }
    ).astype({"Films": "Int64", "Patients": "Int64"})


def road_rows(record: SanityRecord) -> pd.DataFrame:
    """One row a map: its ROAD score, and by how much the model's map is above it."""
    test = record.tests["faithfulness"]
    return pd.DataFrame(
        {
            "Map": [record.titles.maps.get(who, who) for who in test.scores],
            "ROAD (95 % interval)": [two_digits(metric) for metric in test.scores.values()],
            "The model's map is higher by": [two_digits(test.gains[who]) if who in test.gains else "" for who in test.scores],
        }
    )


def sanity_numbers(record: SanityRecord) -> pd.DataFrame:
    """Every number of the three tests with its interval, one a row: for CSV."""
    rows: list[dict[str, Any]] = []
    for name in TESTS:
        test = record.tests[name]
        counted = {"test": name, "outcome": test.outcome, "films": test.n, "patients": test.patients}
        for number, stage in enumerate(test.stages, start=1):
            place = f"{number} {stage.stage}"
            rows.append({**counted, "of": place, **_numbers("ssim", "randomised so far", stage.ssim)})
            rows.append({**counted, "of": place, **_numbers("spearman", "randomised so far", stage.spearman)})
        for measure in ("ssim", "spearman", "different_films", "difference"):
            metric = getattr(test, measure)
            if metric is not None:
                rows.append({**counted, "of": "", **_numbers(measure, "all films", metric)})
        for what, table in (("value", test.scores), ("gain of the map", test.gains)):
            for who, metric in table.items():
                rows.append({**counted, "of": record.titles.maps.get(who, who), **_numbers("road", what, metric)})
        if test.n is None:
            rows.append({**counted, "of": "", "measure": "", "what": test.words})
    return pd.DataFrame(rows)
