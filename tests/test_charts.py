"""Charts as specifications: what is drawn, where, in which colour, and that nothing overlaps."""

from __future__ import annotations

import itertools
from typing import Any

import altair as alt
import jsonschema
import numpy as np
import pandas as pd
import pytest

from make_runs import DENSITY, write_run
from mammo_core.errors import UndefinedMetric
from mammo_core.report import theme
from mammo_core.report.charts import (
    Band,
    CurveView,
    Event,
    HistoryView,
    class_center_chart,
    confusion_chart,
    counts_chart,
    group_curves,
    history_chart,
    loss_chart,
    metric_dots,
    recall_chart,
    roc_chart,
    seed_curves,
    train_figure,
)
from mammo_core.report.charts_compare import difference_chart
from mammo_core.report.figures import FigureSize, draw_figure
from mammo_core.report.panels import spread_apart
from mammo_core.report.spec import Chart
from mammo_core.runs.history import history_frame
from mammo_core.runs.schema import EpochRecord


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("experiments") / "e" / "seed_42", epochs=8)


@pytest.fixture(scope="module")
def frame(run):
    return history_frame(run.history())


def spec_of(chart: Chart) -> dict[str, Any]:
    return chart.to_dict()


def parts(spec: Any) -> list[dict[str, Any]]:
    """Every dict of a specification, at any depth."""
    if isinstance(spec, dict):
        return [spec, *itertools.chain.from_iterable(parts(value) for value in spec.values())]
    if isinstance(spec, list):
        return list(itertools.chain.from_iterable(parts(value) for value in spec))
    return []


def scales(spec: Any, channel: str) -> list[dict[str, Any]]:
    return [part[channel]["scale"] for part in parts(spec) if isinstance(part.get(channel), dict) and part[channel].get("scale")]


def rows(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """Every row of inline data."""
    return list(itertools.chain.from_iterable(part["data"]["values"] for part in parts(spec) if "mark" in part))


def test_training_is_blue_and_validation_orange_with_dash_and_marker_of_their_own(frame):
    spec = spec_of(train_figure(frame))
    colour = scales(spec, "color")[0]
    assert dict(zip(colour["domain"], colour["range"], strict=True)) == {"training": "#0072B2", "validation": "#D55E00"}
    for channel in ("strokeDash", "shape"):
        assert len({str(value) for value in scales(spec, channel)[0]["range"]}) == 2


def test_the_training_figure_has_the_loss_above_the_accuracy(frame):
    panels = spec_of(train_figure(frame))["vconcat"]
    titles = [
        {part["y"]["title"] for part in parts(panel) if isinstance(part.get("y"), dict) and "title" in part["y"]}
        for panel in panels
    ]
    assert titles == [{"Loss (nats)"}, {"Accuracy"}]


def test_the_epoch_axis_is_constant_from_one_to_the_planned_epochs(frame):
    for epochs_there in (1, 3, 8):
        spec = spec_of(history_chart(frame.iloc[:epochs_there], HistoryView(epochs_planned=20, class_names=DENSITY)))
        assert {tuple(scale["domain"]) for scale in scales(spec, "x")} == {(0.5, 20.5)}


def test_the_history_has_a_panel_for_loss_accuracy_rate_and_recall(frame):
    assert len(spec_of(history_chart(frame, HistoryView(class_names=DENSITY)))["vconcat"]) == 5
    assert len(spec_of(history_chart(frame))["vconcat"]) == 4, "no recall panel without class names"


def test_a_live_chart_has_one_zoom_over_all_panels_and_a_still_one_none(frame):
    spec = spec_of(history_chart(frame, HistoryView(live=True, class_names=DENSITY)))
    zoom, crosshair = spec["params"]
    assert (zoom["name"], zoom["bind"], zoom["select"]["encodings"]) == ("zoom", "scales", ["x"])
    names = [part["name"] for part in parts(spec["vconcat"]) if "mark" in part and "name" in part]
    assert set(zoom["views"]) <= set(names)
    assert len(zoom["views"]) == 5
    assert set(crosshair["views"]) <= set(names)
    assert "params" not in spec_of(history_chart(frame))


def test_the_best_epoch_phases_and_events_are_drawn_and_named_once(frame):
    view = HistoryView(best_epoch=5, bands=(Band(1, 2, "warm-up"), Band(3, 8, "refinement")), events=(Event(3, "unfrozen"),))
    found = [row.get("name") for row in rows(spec_of(history_chart(frame, view)))]
    assert {"best epoch 5", "warm-up", "refinement", "unfrozen"} <= set(found)


def test_a_resumed_epoch_is_marked():
    records = [EpochRecord(epoch=e, train_loss=1 / e, val_loss=1 / e, resumed=e == 3) for e in range(1, 5)]
    spec = spec_of(loss_chart(history_frame(records)))
    assert {"epoch": 3, "name": "resumed"} in rows(spec)


def hover_of(spec: dict[str, Any]) -> dict[str, Any]:
    return next(part for part in parts(spec) if str(part.get("name", "")).startswith("hover") and "mark" in part)


def test_hovering_shows_every_value_of_the_epoch(frame):
    hover = hover_of(spec_of(loss_chart(frame)))
    assert [field["title"] for field in hover["encoding"]["tooltip"]] == ["Epoch", "training", "validation"]
    assert [row["v1"] for row in hover["data"]["values"]] == frame["val_loss"].tolist()


@pytest.mark.parametrize(
    "records",
    [
        [],
        [EpochRecord(epoch=1)],
        [EpochRecord(epoch=1, train_loss=0.5, val_loss=0.4, val_recall={"A": None})],
        [EpochRecord(epoch=1, train_loss=0.5, non_finite=True), EpochRecord(epoch=2, val_loss=0.5)],
        [EpochRecord(epoch=7, train_loss=0.0, val_loss=0.0, val_acc=0.0, lr=0.0, val_recall={"A": 0.0})],
    ],
)
def test_a_history_with_little_or_nothing_in_it_can_still_be_drawn(records):
    from mammo_core.report.figures import export

    frame = history_frame(records)
    for chart in (history_chart(frame, HistoryView(class_names=("A",))), recall_chart(frame, ("A",)), train_figure(frame)):
        assert export(chart, "svg").startswith(b"<svg")


@pytest.mark.parametrize("name", ["BI-RADS 4.a", "x[0]", "a:b", 'he said "no"', "back\\slash", "日本"])
def test_a_class_name_of_any_signs_is_drawn_as_it_stands(name):
    from xml.sax.saxutils import escape

    from mammo_core.report.figures import export

    frame = history_frame([EpochRecord(epoch=e, val_loss=1.0, val_recall={name: 0.5, "other": 0.25}) for e in (1, 2)])
    assert escape(name).encode() in export(recall_chart(frame, (name, "other")), "svg")
    spec = spec_of(recall_chart(frame, (name, "other")))
    assert {row["value"] for row in rows(spec) if row.get("series") == name} == {0.5}
    assert name in [line["title"] for line in hover_of(spec)["encoding"]["tooltip"]]


def test_every_chart_tells_its_finding_in_words(run, frame):
    metrics = run.metrics("val")
    table = run.predictions("val")
    charts = [
        (history_chart(frame, HistoryView(epochs_planned=8)), "Validation loss was lowest"),
        (train_figure(frame), "Training loss went from"),
        (loss_chart(frame), "8 epochs"),
        (recall_chart(frame, DENSITY), "Recall on the validation films"),
        (seed_curves({"e/seed_42": frame}, "val_loss", CurveView(title="Validation loss")), "n = 1"),
        (confusion_chart(metrics.confusion_matrix, metrics.class_names), "classified correctly"),
        (roc_chart(table, DENSITY), "AUC of each class"),
        (counts_chart(run.summary().counts), "class A: train"),
        (class_center_chart(table.rename(columns={"y_true": "label"}), DENSITY), "centre 1: A"),
    ]
    for chart, words in charts:
        assert words in chart.description
        assert spec_of(chart)["description"] == chart.description


# ---- names at the lines' ends ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_names_keep_their_order_and_distance_and_stay_inside(seed):
    wanted = np.random.default_rng(seed).uniform(0, 150, size=5).tolist()
    places = spread_apart(wanted, 13, 150)
    ordered = [places[i] for i in np.argsort(wanted)]
    assert all(later - earlier >= 13 - 1e-9 for earlier, later in itertools.pairwise(ordered))
    assert min(places) >= -1e-9
    assert max(places) <= 150 + 1e-9


def test_names_that_do_not_overlap_stay_where_they_are():
    assert spread_apart([100, 20, 60], 13, 150) == [100, 20, 60]


def test_two_names_on_one_spot_share_the_shift():
    assert spread_apart([50, 50], 10, 100) == [45, 55]


# ---- comparing ------------------------------------------------------------------------------------------------------------


def curve(values: list[float]) -> pd.DataFrame:
    return pd.DataFrame({"epoch": range(1, len(values) + 1), "val_loss": values})


def test_the_band_is_drawn_only_where_two_runs_have_the_epoch():
    spec = spec_of(seed_curves({"a": curve([3, 2, 1]), "b": curve([5, 4])}, "val_loss", CurveView(title="Validation loss")))
    band = {row["epoch"]: (row["value"], row["high"]) for row in rows(spec) if "high" in row}
    sd = np.sqrt(2)
    assert set(band) == {1, 2}
    assert band[1] == pytest.approx((4 - sd, 4 + sd))


def test_every_member_is_drawn_beside_its_mean_and_n_is_said():
    frames = {"a": curve([3, 2, 1]), "b": curve([5, 4])}
    spec = spec_of(seed_curves(frames, "val_loss", CurveView(title="Validation loss")))
    lines = [part for part in spec["layer"] if part["mark"]["type"] == "line"]
    assert [line["mark"]["style"] for line in lines] == ["member", "member", "mean"]
    assert any("(n = 1 to 2)" in str(row.get("name")) for row in rows(spec))


def test_one_run_has_no_band_and_groups_have_colours_of_their_own():
    groups = {"one": {"a": curve([3, 2, 1])}, "two": {"b": curve([2, 1, 1]), "c": curve([1, 1, 1])}}
    spec = spec_of(group_curves(groups, "val_loss", CurveView(title="Validation loss")))
    means = [part["mark"] for part in spec["layer"] if part["mark"].get("style") == "mean"]
    assert len({mark["color"] for mark in means}) == 2
    assert len({tuple(mark["strokeDash"]) for mark in means}) == 2
    assert sum(part["mark"]["type"] == "area" for part in spec["layer"]) == 1


def test_undefined_numbers_are_null_in_the_data_and_break_the_line():
    frame = history_frame([EpochRecord(epoch=1, val_loss=1.0), EpochRecord(epoch=2), EpochRecord(epoch=3, val_loss=0.5)])
    values = [row["value"] for row in rows(spec_of(loss_chart(frame))) if row.get("series") == "validation"]
    assert values == [1.0, None, 0.5] * 2, "line and markers"


def test_in_a_single_column_the_plot_keeps_its_width_under_long_names(frame):
    groups = {f"a_rather_long_experiment_name_{letter}": {"x": frame, "y": frame} for letter in "ab"}
    cell = {"values": [0.7, 0.8], "mean": 0.75, "ci_low": 0.6, "ci_high": 0.9}
    entries = [{"name": name, "metrics": {"accuracy": cell}} for name in groups]
    test = {"a": "a", "b": "b", "metric": "accuracy", "difference": 0.1, "ci_low": 0.0, "ci_high": 0.2}
    widths: dict[str, list[int]] = {}
    for name, build in {
        "curves": lambda width: group_curves(groups, "val_loss", CurveView(title="Loss", width=width)),
        "dots": lambda width: metric_dots(entries, ["accuracy"], width),
        "differences": lambda width: difference_chart([test], width),
    }.items():
        widths[name] = []

        def noted(width, name=name, build=build):
            widths[name].append(width)
            return build(width)

        draw_figure(noted, ("svg",), FigureSize("single"))
    assert all(drawn[-1] > 150 for drawn in widths.values()), widths  # of 241 points


def test_curves_without_values_say_so_instead_of_failing():
    chart = seed_curves({"a": curve([1.0])}, "val_auc_ovr", CurveView(title="AUC"))
    assert spec_of(chart)["description"] == "AUC: no values."


def test_dots_show_every_run_its_mean_and_its_interval():
    cell = {"mean": 0.7, "sd": 0.1, "ci_low": 0.45, "ci_high": 0.95, "values": [0.6, 0.7, 0.8]}
    alone = {"mean": 0.5, "sd": None, "ci_low": None, "ci_high": None, "values": [0.5, None]}
    groups = [{"name": "a", "metrics": {"accuracy": cell}}, {"name": "b", "metrics": {"accuracy": alone}}]
    spec = spec_of(metric_dots(groups))
    found = rows(spec)
    assert sorted(row["value"] for row in found if set(row) == {"group", "value"}) == [0.5, 0.6, 0.7, 0.8]
    assert {row["text"] for row in found if "text" in row} >= {"0.700 ± 0.100 (n = 3, SD n-1)", "0.500 (n = 1, no SD)"}
    interval = next(part for part in parts(spec) if "mark" in part and part["mark"].get("style") == "interval")
    assert [(row["low"], row["high"]) for row in interval["data"]["values"]] == [(0.45, 0.95)], "none for a single run"


# ---- evaluation -----------------------------------------------------------------------------------------------------------


def test_the_confusion_matrix_shows_counts_and_row_shares_also_of_an_empty_class():
    spec = spec_of(confusion_chart([[3, 1], [0, 0]], ["N", "M"]))
    cells = {(row["true"], row["predicted"]): (row["films"], row["percent"]) for row in rows(spec)}
    assert cells[("N", "N")] == (3, "75%")
    assert cells[("M", "M")] == (0, "no films")


def contrast(first: str, second: str) -> float:
    """WCAG contrast ratio of two colours, 1 to 21."""

    def luminance(colour: str) -> float:
        channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))

    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def shade(share: float) -> str:
    """The fill of a confusion cell as the linear scale gives it."""
    stops = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in theme.SEQUENTIAL], dtype=float)
    place = share * (len(stops) - 1)
    below = min(int(place), len(stops) - 2)
    mixed = stops[below] + (place - below) * (stops[below + 1] - stops[below])
    return "#" + "".join(f"{round(channel):02X}" for channel in mixed)


def test_the_text_of_every_confusion_cell_can_be_read():
    from mammo_core.report.charts_evaluation import DARK_CELL

    for share in np.linspace(0, 1, 101):
        assert contrast(shade(share), "#FFFFFF" if share >= DARK_CELL else "#000000") >= 4.4


def test_the_roc_chart_names_each_class_with_its_auc(run):
    table = run.predictions("val")
    names = scales(spec_of(roc_chart(table, DENSITY)), "color")[0]["domain"]
    aucs = [run.metrics("val").per_class[name]["auc"].value for name in DENSITY]
    assert names == [f"{name}  {auc:.3f}" for name, auc in zip(DENSITY, aucs, strict=True)]


def test_a_roc_chart_of_one_class_is_refused_in_words(run):
    table = run.predictions("val")
    with pytest.raises(UndefinedMetric, match="one class"):
        roc_chart(table[table["y_true"] == "A"], DENSITY)


def test_bars_carry_their_numbers_in_the_order_of_the_splits():
    spec = spec_of(counts_chart({"test": {"A": 3, "B": 0}, "train": {"A": 1200, "B": 5}, "val": {"A": 40, "B": 1}}))
    texts = {row["bar"]: row["text"] for row in rows(spec) if "text" in row}
    assert texts == {"A": "1,200 / 40 / 3", "B": "5 / 1 / 0"}


# ---- colours ----------------------------------------------------------------------------------------------------------------


def test_every_line_colour_keeps_three_to_one_against_light_and_dark():
    for colour in (*theme.RUN_COLOURS, *theme.CLASS_COLOURS):
        for style in ("light", "dark", "paper"):
            assert contrast(colour, theme.STYLES[style].background) >= 3.0


def test_words_keep_four_and_a_half_to_one():
    for style in theme.STYLES.values():
        assert contrast(style.ink, style.background) >= 4.5
        assert contrast(style.muted, style.background) >= 4.5


def test_a_run_keeps_its_colour_whatever_is_shown_beside_it():
    assert theme.run_colour("a/seed_1") == theme.run_colour("a/seed_1")
    assert theme.run_colours(["a/seed_1"])["a/seed_1"] == theme.run_colour("a/seed_1")


def test_runs_shown_together_differ_while_colours_last():
    names = [f"e/seed_{i}" for i in range(len(theme.RUN_COLOURS))]
    assert len(set(theme.run_colours(names).values())) == len(names)


def test_every_chart_and_look_is_valid_by_the_schema_of_vega_lite(run, frame):
    schema = alt.load_schema()
    judge = jsonschema.validators.validator_for(schema)(schema)
    view = HistoryView(live=True, best_epoch=2, class_names=DENSITY, bands=(Band(1, 2, "warm-up"),), title="run")
    cell = {"mean": 0.7, "sd": 0.1, "ci_low": 0.45, "ci_high": 0.95, "values": [0.6, 0.7, 0.8]}
    charts = [
        history_chart(frame.iloc[:2], view),
        group_curves({"a": {"x": frame, "y": frame}}, "val_loss", CurveView(title="Loss")),
        metric_dots([{"name": "a", "metrics": {"accuracy": cell}}], ["accuracy"]),
        confusion_chart([[3, 1], [0, 0]], ["N", "M"]),
        roc_chart(run.predictions("val"), DENSITY),
        counts_chart(run.summary().counts),
    ]
    for chart, style in zip(charts, itertools.cycle(theme.STYLES)):
        assert [error.message for error in judge.iter_errors(theme.themed(chart, style).to_dict())] == []


def test_the_background_of_a_look_can_be_changed_for_a_page(frame):
    chart = theme.themed(loss_chart(frame), "dark")
    chart.config.background = "transparent"
    assert chart.to_dict()["config"]["background"] == "transparent"
    assert theme.theme_config("dark")["background"] == "#0E1117"
