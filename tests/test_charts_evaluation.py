"""ROC, precision-recall, reliability and subgroup charts: what is drawn, and what their descriptions say."""

from __future__ import annotations

import altair as alt
import jsonschema
import numpy as np
import pytest

from mammo_core.analysis.calibration import calibration_of
from mammo_core.analysis.subgroups import subgroup_metrics, subgroups_of
from mammo_core.analysis.temperature import apply_temperature
from mammo_core.analysis.thresholds import ranking_of
from mammo_core.errors import UndefinedMetric
from mammo_core.report.charts_calibration import ReliabilityView, reliability_chart
from mammo_core.report.charts_ranking import MOST_POINTS, Mark, RankingView, precision_recall_chart, roc_chart
from mammo_core.report.charts_subgroups import subgroup_chart
from mammo_core.report.figures import draw_figure, export
from test_charts import parts, rows, scales, spec_of
from test_metrics import DENSITY, LESION, draw, table_of


@pytest.fixture(scope="module")
def table():
    labels, probabilities = draw(0, n=300)
    return table_of(labels, probabilities, DENSITY, films_each=2).assign(center=np.repeat(["1", "2", "3"], 100))


@pytest.fixture(scope="module")
def curves(table):
    return ranking_of(table, DENSITY, True, bootstrap=40)


@pytest.fixture(scope="module")
def charts(table, curves):
    found = calibration_of(table, DENSITY, True, replicates=20)
    after = calibration_of(apply_temperature(table, DENSITY, 2.0), DENSITY, True, replicates=20)
    metric = subgroup_metrics(DENSITY, True)["dense"]
    groups = subgroups_of(table.assign(center=["1"] * 295 + ["2"] * 5), "center", metric, DENSITY, True, bootstrap=20)
    mark = RankingView(marks=(Mark("threshold 0.50", 0.8, 0.7, 0.6),))
    return {
        "roc": lambda width: roc_chart(curves, RankingView(width=width)),
        "roc of one": lambda width: roc_chart(curves[:1], RankingView(width=width, marks=mark.marks)),
        "precision and recall": lambda width: precision_recall_chart(curves, RankingView(width=width, marks=mark.marks)),
        "reliability": lambda width: reliability_chart(found.called, ReliabilityView(width=width)),
        "reliability after": lambda width: reliability_chart(found.called, ReliabilityView(width=width, after=after.called)),
        "subgroups": lambda width: subgroup_chart(groups, "AUC", width),
    }


NAMES = ("roc", "roc of one", "precision and recall", "reliability", "reliability after", "subgroups")


@pytest.mark.parametrize("name", NAMES)
def test_every_chart_is_valid_vega_lite_with_a_finding_and_can_be_exported(charts, name):
    chart = charts[name](200)
    jsonschema.Draft7Validator(alt.load_schema()).validate(spec_of(chart))
    assert len(chart.description) > 30
    assert export(chart, "svg").startswith(b"<svg")


@pytest.mark.parametrize("name", NAMES)
def test_every_chart_fits_one_column_of_a_journal_with_room_for_its_plot(charts, name):
    asked = []

    def build(width):
        asked.append(width)
        return charts[name](width)

    head = draw_figure(build, ("svg",))["svg"][:400].decode()
    assert 'width="85mm"' in head
    assert min(asked) > 80, "what stands around the plot leaves it too little room"


def test_a_single_roc_curve_has_its_band_and_several_have_none(curves):
    def bands(chart):
        return [part for part in parts(spec_of(chart)) if isinstance(part.get("mark"), dict) and part["mark"]["type"] == "area"]

    assert len(bands(roc_chart(curves[:1]))) == 1
    assert not bands(roc_chart(curves))
    assert not bands(roc_chart(curves[:1], RankingView(band=False)))


def test_curves_carry_their_number_and_differ_by_colour_and_dash(curves):
    spec = spec_of(roc_chart(curves))
    names = next(scale for scale in scales(spec, "color"))["domain"]
    assert names[0] == f"C or D against the rest  {curves[0].auc.value:.3f}"
    for channel in ("color", "strokeDash"):
        shown = next(scale for scale in scales(spec, channel))["range"]
        assert len({str(value) for value in shown}) == len(curves)


def test_long_curves_are_thinned_for_drawing_and_keep_their_ends():
    labels, probabilities = draw(1, n=3000)
    (curve,) = ranking_of(table_of(labels, probabilities, DENSITY), DENSITY, True, ["dense"], bootstrap=0)
    points = [row for row in rows(spec_of(roc_chart([curve]))) if "rank" in row]
    assert len(curve.thresholds) == 3001
    assert len(points) == MOST_POINTS
    assert (points[0]["x"], points[0]["y"]) == (0, 0)
    assert (points[-1]["x"], points[-1]["y"]) == (1, 1)


def test_the_mark_of_a_threshold_lies_where_its_rates_say(curves):
    spec = spec_of(roc_chart(curves[:1], RankingView(marks=(Mark("threshold 0.42", 0.8, 0.7),))))
    (mark, *_) = [row for row in rows(spec) if row.get("name") == "threshold 0.42"]
    assert (mark["x"], mark["y"]) == pytest.approx((0.3, 0.8))


def test_precision_recall_shows_what_guessing_gives(curves):
    spec = spec_of(precision_recall_chart(curves[:1]))
    flat = [row["y"] for row in rows(spec) if "curve" not in row]
    assert flat == [pytest.approx(curves[0].prevalence)] * 2


def test_no_curve_at_all_is_refused_with_the_reason():
    labels, probabilities = draw(2, n=12, k=3)
    nothing = ranking_of(table_of(np.zeros_like(labels), probabilities, LESION), LESION, False, ["malignant"], bootstrap=0)
    for chart in (roc_chart, precision_recall_chart):
        with pytest.raises(UndefinedMetric, match="no cases of Malignant"):
            chart(nothing)


def test_the_finding_tells_intervals_and_what_is_undefined(curves):
    labels, probabilities = draw(2, n=12, k=3)
    nothing = ranking_of(table_of(np.zeros_like(labels), probabilities, LESION), LESION, False, ["malignant"], bootstrap=0)
    words = roc_chart([*curves[:1], *nothing]).description
    assert f"({curves[0].auc.ci_low:.3f} to {curves[0].auc.ci_high:.3f})" in words
    assert "undefined, no cases of Malignant" in words


def test_the_reliability_diagram_has_counts_below_and_says_whether_chance_explains_it(table):
    found = calibration_of(table, DENSITY, True, replicates=50)
    spec = spec_of(reliability_chart(found.called))
    assert len(spec["vconcat"]) == 2
    counted = [row for row in rows(spec["vconcat"][1])]
    assert sum(row["y"] for row in counted) == len(table)
    words = reliability_chart(found.called).description
    assert ("no larger than chance" in words) != found.called.above_null


def test_a_hidden_group_is_named_and_has_no_point(charts):
    spec = spec_of(charts["subgroups"](300))
    hidden = [row for row in rows(spec) if row.get("group") == "2"]
    assert {row["value"] for row in hidden} == {None}
    assert {row["why"] for row in hidden} == {"hidden: too few"}
    assert "Hidden for 1 group(s)" in spec["description"]


def test_thin_bars_of_the_reliability_diagram_stand_out_from_both_backgrounds():
    from mammo_core.report import theme
    from mammo_core.report.charts_calibration import LOOKS
    from test_charts import contrast

    for colour, _ in LOOKS.values():
        for style in ("light", "dark"):
            assert contrast(colour, theme.STYLES[style].background) >= 3.0
    first = next(iter(LOOKS.values()))[0]
    assert min(contrast(first, theme.STYLES[style].background) for style in ("light", "dark")) >= 3.5, "of thin bars"
