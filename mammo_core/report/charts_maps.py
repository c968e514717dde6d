"""The checks of a run's maps as figures: points with their 95 % intervals, one row for each thing compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mammo_core.report.map_tables import ALL_SIZES, MEASURES, groups_of, map_name, percent, two_digits
from mammo_core.report.panels import value_range
from mammo_core.report.spec import Chart, Spec, at, by_series, category, layered, number, records, tooltip
from mammo_core.report.theme import GOLD, NEUTRAL, PINK, SHAPES, TRAINING, VALIDATION
from mammo_core.runs.map_checks import LocalisationRecord, Test, films_of_patients
from mammo_core.runs.schema import MetricValue

ROW, GAP = 15, 11
"""Height of one point's row and of the space between groups of rows."""
COLOURS = (TRAINING, VALIDATION, GOLD, PINK, NEUTRAL)
SAME, OTHER = "Same film, another seed", "Different films"
SSIM, RANKS = "Similarity of the pictures (SSIM)", "Agreement of the order (rank correlation)"
LABEL_WIDTH = 190
BREAK = " · "
"""Where the name of a row goes on in a second line."""


@dataclass(frozen=True)
class Point:
    """One value with its interval."""

    row: str
    series: str
    metric: MetricValue


@dataclass(frozen=True, kw_only=True)
class Forest:
    """How points are laid out."""

    title: str
    """Of the x axis."""
    width: int
    text_format: str = ".2f"
    guide: float | None = None
    """A dashed line through all rows."""
    guide_words: str = ""
    band: tuple[float, float] | None = None
    """Interval of the guide."""
    domain: tuple[float, float] | None = None
    """Of the x axis; what the values need where ``None``."""


def cascade_chart(test: Test, width: int = 320) -> Chart:
    """Randomisation: how alike the maps are to the true ones after each part of the model was made random.

    The dashed line with its band is how alike the maps of different films are: what has been reached when a map no longer
    depends on the weights.
    """
    points = [
        Point(f"{place}. {stage.stage}", series, metric)
        for place, stage in enumerate(test.stages, start=1)
        for series, metric in ((SSIM, stage.ssim), (RANKS, stage.spearman))
    ]
    base = test.different_films
    band = (base.ci_low, base.ci_high) if base and base.ci_low is not None and base.ci_high is not None else None
    look = Forest(
        title="Likeness to the maps of the trained model (1 is the same)",
        width=width,
        guide=base.value if base else None,
        guide_words="SSIM of different films",
        band=band,
    )
    return Chart(_forest(points, look, cascade_finding(test)))


def cascade_finding(test: Test) -> str:
    if not test.stages:
        return "No part of the model was made random."
    first, last = test.stages[0], test.stages[-1]
    return (
        f"After the first of {len(test.stages)} parts was made random the maps have a similarity (SSIM) of "
        f"{two_digits(first.ssim)} to those of the trained model, after all of them {two_digits(last.ssim)}; maps of different "
        f"films have {two_digits(test.different_films)}."
    )


def repeatability_chart(test: Test, width: int = 320) -> Chart:
    """How alike the maps of one film by runs of other seeds are, beside maps of different films."""
    pairs = ((SAME, test.ssim), (OTHER, test.different_films))
    points = [Point(name, SSIM, metric) for name, metric in pairs if metric is not None]
    words = "; ".join(f"{point.row.lower()} {two_digits(point.metric)}" for point in points)
    look = Forest(title=f"{SSIM}, 1 is the same", width=width)
    return Chart(_forest(points, look, f"Similarity of maps (SSIM): {words}."))


def road_chart(test: Test, titles: Mapping[str, str], width: int = 320) -> Chart:
    """Faithfulness: the ROAD score of the model's map beside those of maps that need no model; 0 is chance."""
    points = [Point(titles.get(who, who), "ROAD", metric) for who, metric in test.scores.items()]
    words = "; ".join(f"{point.row} {two_digits(point.metric)}" for point in points)
    look = Forest(title="ROAD score (higher: removes what matters first)", width=width, guide=0.0, guide_words="chance")
    return Chart(_forest(points, look, f"ROAD, where 0 is chance: {words}."))


def localisation_chart(record: LocalisationRecord, measure: str, width: int = 320) -> Chart:
    """One measure of the model's map and of the maps that need no model, for all lesions and by their size."""
    points = [
        Point(f"{name}{BREAK}n = {films_of_patients(group.n, group.patients)}", map_name(record, who), values[measure])
        for name, group in groups_of(record)
        for who, values in group.scores.items()
        if measure in values
    ]
    words = "; ".join(f"{map_name(record, who)} {percent(values.get(measure))}" for who, values in record.all.scores.items())
    title = MEASURES.get(measure, measure)
    look = Forest(title=f"{title}, share", width=width, text_format=".0%", domain=(0.0, 1.0))
    return Chart(_forest(points, look, f"{title}, {ALL_SIZES.lower()}: {words}."))


# ---- drawing -----------------------------------------------------------------------------------------------------------------


def _forest(points: Sequence[Point], look: Forest, description: str) -> Spec:
    rows, series = _unique(point.row for point in points), _unique(point.series for point in points)
    data = [_datum(point) for point in points if point.metric.value is not None]
    place = _place(rows, series, look, data)
    height = max(1, len(rows)) * (len(series) * ROW + GAP)
    lines = tooltip(("row", "Row", ""), ("series", "What", ""), ("value", "Mean", look.text_format)) + tooltip(
        ("low", "95 % from", look.text_format), ("high", "to", look.text_format)
    )
    dot = {"type": "point", "style": "mean-dot", "filled": True}
    dots: Spec = {**place, "tooltip": lines}
    if len(series) > 1:
        dots["shape"] = by_series(series, SHAPES[: len(series)], legend=_legend())
    parts = [
        *_guide(look, place["x"]["scale"]["domain"]),
        {
            "data": records(row for row in data if row["low"] is not None),
            "mark": {"type": "rule", "style": "interval"},
            "encoding": {**place, "x": {**place["x"], "field": "low"}, "x2": {"field": "high"}},
        },
        {"data": records(data), "mark": dot, "encoding": dots},
    ]
    return layered(parts, look.width, height, description=description)


def _unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _datum(point: Point) -> dict[str, str | float | None]:
    metric = point.metric
    return {"row": point.row, "series": point.series, "value": metric.value, "low": metric.ci_low, "high": metric.ci_high}


def _place(rows: Sequence[str], series: Sequence[str], look: Forest, data: Sequence[Mapping[str, str | float | None]]) -> Spec:
    ends = [end for row in data for key in ("value", "low", "high") if isinstance(end := row[key], float)]
    ends += [end for end in (look.guide, *(look.band or ())) if end is not None]
    domain = look.domain or value_range(ends, least_span=0.1)
    x_axis = {"grid": True, "tickCount": max(3, look.width // 60), "labelOverlap": "greedy"}
    x_axis |= {"format": look.text_format} if look.text_format.endswith("%") else {}
    quiet: Spec = {"ticks": False, "domain": False, "minExtent": 0, "maxExtent": LABEL_WIDTH, "labelLimit": LABEL_WIDTH - 5}
    if any(BREAK in row for row in rows):
        quiet |= {"labelExpr": f"split(datum.label, '{BREAK}')"}
    place: Spec = {
        "x": number("value", title=look.title, scale={"domain": list(domain), "nice": False, "zero": False}, axis=x_axis),
        "y": category("row", sort=list(rows), title=None, axis=quiet),
        "color": by_series(series, COLOURS[: len(series)], legend=_legend() if len(series) > 1 else None),
    }
    if len(series) > 1:
        place["yOffset"] = category("series", sort=list(series))
    return place


def _legend() -> Spec:
    return {"title": None, "orient": "top", "columns": 1, "labelLimit": 300}


def _guide(look: Forest, domain: Sequence[float]) -> list[Spec]:
    if look.guide is None:
        return []
    is_right = look.guide > (domain[0] + domain[1]) / 2  # its words would leave the plot
    data, x = records([{"value": look.guide, "words": look.guide_words}]), number("value")
    parts: list[Spec] = []
    if look.band is not None:
        ends = records([{"low": look.band[0], "high": look.band[1]}])
        area = {"type": "rect", "color": NEUTRAL, "opacity": 0.18}
        parts.append({"data": ends, "mark": area, "encoding": {"x": number("low"), "x2": {"field": "high"}}})
    line = {"type": "rule", "style": "guide", "color": NEUTRAL, "strokeDash": [4, 3]}
    words = {"type": "text", "style": "note", "align": "right" if is_right else "left", "baseline": "bottom", "dy": -2}
    parts.append({"data": data, "mark": line, "encoding": {"x": x}})
    parts.append({"data": data, "mark": words, "encoding": {"x": x, "y": at(0), "text": category("words")}})
    return parts
