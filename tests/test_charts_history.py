"""The history figure: its axis, gaps, smoothing, events and crosshair, and several runs in one figure."""

from __future__ import annotations

import itertools
import math
from typing import Any

import altair as alt
import jsonschema
import numpy as np
import pandas as pd
import pytest

from mammo_core.report import theme
from mammo_core.report.charts_history import PAGE_HEIGHT, PANELS, HistoryView, history_chart
from mammo_core.report.charts_runs import MOST_RUNS, RunsView, metrics_of, runs_chart, runs_without_time, short_names, why_rows
from mammo_core.report.event_names import ROW_HEIGHT, Band, Event, joined_events, rows_without_overlap
from mammo_core.report.figures import FigureSize, draw_figure, export
from mammo_core.report.history_events import ending_events, rate_events
from mammo_core.report.panels import Panel, log_ticks
from mammo_core.report.smoothing import smoothed
from mammo_core.report.x_axis import epoch_seconds, history_axis, why_no_time
from mammo_core.runs.history import history_frame
from mammo_core.runs.schema import EpochRecord

N = math.nan


def history(losses: list[float | None], **columns: list[Any]) -> pd.DataFrame:
    """A history table with one row for each validation loss; the training loss is twice that."""
    records = []
    for index, loss in enumerate(losses):
        extra = {name: values[index] for name, values in columns.items()}
        records.append(EpochRecord(epoch=index + 1, **{"val_loss": loss, "train_loss": loss and 2 * loss, **extra}))
    return history_frame(records)


def falling(epochs: int, **columns: list[Any]) -> pd.DataFrame:
    return history([1 / epoch for epoch in range(1, epochs + 1)], **columns)


def parts(spec: Any) -> list[dict[str, Any]]:
    """Every layer of a specification."""
    found = [spec] if isinstance(spec, dict) and "mark" in spec else []
    for group in ("vconcat", "layer"):
        found += itertools.chain.from_iterable(map(parts, spec.get(group, ())))
    return found


def values_of(layer: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of a layer, whether they are written out or as a list a column."""
    data = layer["data"]["values"]
    flat = [step["flatten"] for step in layer.get("transform", []) if "flatten" in step]
    if not flat:
        return data
    ((columns,), (fields,)) = data, flat
    return [dict(zip(fields, row, strict=True)) for row in zip(*(columns[field] for field in fields), strict=True)]


def line_of(spec: dict[str, Any], name: str = "validation", panel: int = 0) -> list[tuple[float, float | None]]:
    """The points of one named line; of a long history, where lines have no names, of the line in that colour."""
    colour = {"training": theme.TRAINING, "validation": theme.VALIDATION}[name]
    for layer in parts(spec["vconcat"][panel]):
        if layer["mark"]["type"] != "line":
            continue
        x = layer["encoding"]["x"]["field"]
        rows = [row for row in values_of(layer) if row.get("series", name) == name]
        if "series" in (values_of(layer) or [{}])[0] or layer["mark"].get("color") == colour:
            return [(row[x], row["value"]) for row in rows]
    return []


def words(spec: dict[str, Any]) -> list[str]:
    return [row["name"] for layer in parts(spec) if layer["mark"]["type"] == "text" for row in values_of(layer)]


# ---- smoothing --------------------------------------------------------------------------------------------------------------


def test_smoothing_agrees_with_the_weighted_mean_of_pandas():
    values = np.random.default_rng(0).normal(size=50)
    expected = pd.Series(values).ewm(alpha=0.4, adjust=True).mean()
    assert smoothed(values.tolist(), 0.6) == pytest.approx(expected.tolist())


def test_a_constant_stays_as_it_is_and_a_gap_stays_a_gap():
    found = smoothed([3.0] * 5 + [N] + [3.0] * 5, 0.9)
    assert [value for value in found if not math.isnan(value)] == pytest.approx([3.0] * 10)
    assert math.isnan(found[5])


def test_fewer_than_eight_values_are_not_smoothed():
    assert all(map(math.isnan, smoothed([1.0, 2.0] * 3 + [N] * 5, 0.6)))
    assert "smoothed (0.6)" not in words(history_chart(falling(7), HistoryView(smoothing=0.6)).to_dict())


def test_the_raw_line_stays_under_the_smoothed_one_and_the_legend_names_both():
    frame = falling(12)
    spec = history_chart(frame, HistoryView(smoothing=0.6)).to_dict()
    assert line_of(spec) == list(zip(frame["epoch"], frame["val_loss"], strict=True))
    styles = [layer["mark"].get("style") for layer in parts(spec["vconcat"][0]) if layer["mark"]["type"] == "line"]
    assert styles == ["member", "mean", "mean"]
    assert {"raw", "smoothed (0.6)"} <= set(words(spec))
    assert "mean" not in str(history_chart(frame).to_dict()["vconcat"]), "off by default"


# ---- axis -------------------------------------------------------------------------------------------------------------------


def test_a_file_that_counts_from_zero_or_in_fractions_is_drawn_by_its_own_numbers():
    for own in ([0.0, 1.0, 2.0, 3.0], [0.25, 0.5, 0.75, 1.0]):
        frame = falling(4, source_epoch=own)
        spec = history_chart(frame, HistoryView(best_epoch=4)).to_dict()
        assert [x for x, _ in line_of(spec)] == own
        assert f"best epoch {own[-1]:g} (row 4)" in words(spec)


def test_a_file_whose_epochs_restart_is_drawn_by_rows_and_its_runs_are_not_joined():
    frame = falling(6, source_epoch=[1.0, 2.0, 3.0, 1.0, 2.0, 3.0], segment=[0, 0, 0, 1, 1, 1])
    spec = history_chart(frame, HistoryView(best_epoch=6)).to_dict()
    assert [value is None for _, value in line_of(spec)] == [False] * 3 + [True] + [False] * 3
    assert {"best row 6", "run 2 begins"} <= set(words(spec))
    (axis,) = {layer["encoding"]["x"]["title"] for layer in parts(spec) if layer["encoding"].get("x", {}).get("title")}
    assert axis == "Row of the file"


def test_elapsed_time_adds_up_the_seconds_and_reaches_to_the_planned_end():
    frame = falling(4, seconds=[60.0, 30.0, 30.0, 30.0])
    table, axis = history_axis(frame, "time", planned=None)
    assert (axis.title, table["time"].tolist()) == ("Elapsed time (minutes)", [1.0, 1.5, 2.0, 2.5])
    _, live = history_axis(frame, "time", planned=20)
    assert live.high >= (150 + 16 * 30) / 60


def test_seconds_since_the_start_are_taken_apart():
    assert epoch_seconds(falling(6, seconds=[10.0, 20.0, 31.0, 40.0, 50.0, 60.0])).tolist() == [10, 10, 11, 9, 10, 10]
    assert epoch_seconds(falling(6, seconds=[10.0, 10.1, 10.2, 10.3, 10.4, 10.5]))[-1] == 10.5


@pytest.mark.parametrize(("seconds", "reason"), [([None] * 4, "no time per epoch"), ([1.0, None, 1.0, 1.0], "1 of its 4 epochs")])
def test_without_all_times_the_epochs_are_drawn_and_the_reason_is_told(seconds, reason):
    frame = falling(4, seconds=seconds)
    assert reason in why_no_time(frame)
    assert history_axis(frame, "time", None)[1].field == "epoch"


def test_bands_and_events_move_with_the_axis():
    frame = falling(4, seconds=[60.0] * 4)
    view = HistoryView(axis="time", bands=(Band(2, 3, "refinement"),), events=(Event(4, "final checkpoint"),))
    spec = history_chart(frame, view).to_dict()
    (band,) = next(values_of(layer) for layer in parts(spec) if layer["mark"]["type"] == "rect")
    assert (band["from"], band["to"]) == (1.5, 3.5)
    places = {row["time"] for layer in parts(spec) for row in values_of(layer) if row.get("name") == "final checkpoint"}
    assert places == {4.0}


# ---- gaps and scales --------------------------------------------------------------------------------------------------------


def test_validation_every_third_epoch_is_one_line_and_a_missing_value_among_many_is_a_gap():
    sparse = history([1.0, None, None, 0.8, None, None, 0.7], train_loss=[1.0] * 7)
    assert line_of(history_chart(sparse).to_dict()) == [(1, 1.0), (4, 0.8), (7, 0.7)]
    dense = history([1.0, 0.9, None, 0.8, 0.7, 0.6, 0.5])
    assert (3, None) in line_of(history_chart(dense).to_dict())


def test_an_epoch_with_a_broken_loss_is_a_gap_even_among_sparse_ones_and_is_named():
    frame = history(
        [1.0, None, None, None, 0.8, None, None, 0.7], train_loss=[1.0] * 8, non_finite=[False, False, True] + [False] * 5
    )
    spec = history_chart(frame).to_dict()
    assert line_of(spec) == [(1, 1.0), (3, None), (5, 0.8), (8, 0.7)]
    assert "loss is no number" in words(spec)


def test_a_logarithmic_loss_axis_holds_all_positive_values_and_leaves_the_others_out():
    frame = history([10.0, 0.1, 0.0, 0.001])
    spec = history_chart(frame, HistoryView(log_loss=True)).to_dict()
    scale = next(layer["encoding"]["y"]["scale"] for layer in parts(spec) if layer["mark"]["type"] == "line")
    assert scale["type"] == "log"
    assert 0 < scale["domain"][0] <= 0.001
    assert scale["domain"][1] >= 20
    assert (3, None) in line_of(spec)
    negative = history_chart(history([-1.0, -2.0]), HistoryView(log_loss=True)).to_dict()
    assert "'log'" not in str(negative), "a loss below 0 has no logarithm"


def test_panels_can_be_chosen_and_those_without_values_are_left_out():
    frame = falling(4, lr=[1e-3] * 4)
    assert len(history_chart(frame).spec["vconcat"]) == 2
    assert len(history_chart(frame, HistoryView(panels=("rate",))).spec["vconcat"]) == 1
    assert set(PANELS) == set(HistoryView().panels)


def test_of_many_classes_the_lowest_recalls_are_shown():
    recall = [{f"class {k}": k / 40 for k in range(30)}] * 3
    frame = history([1.0, 0.9, 0.8], val_recall=recall)
    spec = history_chart(frame, HistoryView(class_names=tuple(recall[0]))).to_dict()
    assert "Recall by class (8 lowest of 30)" in str(spec)
    assert {row["series"] for layer in parts(spec) for row in values_of(layer) if "class" in row.get("series", "")} == {
        f"class {k}" for k in range(8)
    }


def test_no_value_of_a_long_history_is_dropped_on_screen_or_in_export():
    losses = (1 / np.arange(1, 1001)).tolist()
    spec = history_chart(history(losses), HistoryView(live=True)).to_dict()
    assert [value for _, value in line_of(spec)] == pytest.approx(losses, rel=1e-6)
    marks = sum(len(values_of(layer)) for layer in parts(spec) if layer["mark"]["type"] != "line")
    assert marks < 1500
    assert export(history_chart(history(losses)), "svg").startswith(b"<svg")


# ---- events and their names ---------------------------------------------------------------------------------------------------


def names_of(rates: list[float]) -> list[tuple[float, str]]:
    return [(event.epoch, event.name) for event in rate_events(falling(len(rates), lr=rates))]


def test_changes_of_the_learning_rate_are_found():
    assert names_of([0.1, 0.55, 1.0, 1.0, 1.0]) == [(3, "warm-up ends")]
    assert names_of([1.0] * 4 + [0.1] * 4 + [0.05] * 4) == [(5, "rate ÷ 10"), (9, "rate ÷ 2")]
    cosine = [0.5 * (1 + math.cos(math.pi * e / 10)) + 1e-3 for e in range(10)]
    assert names_of(cosine) == []
    assert names_of([*cosine, *cosine]) == [(11, "rate restarts")]
    assert names_of([*cosine, 1e-3, 1e-3, 1e-3, 1e-3]) == [(11, "lowest rate")]
    assert names_of([1e-3] * 8) == []
    assert names_of([1.0, 0.5]) == []


def test_the_end_of_a_run_is_marked_only_once_it_has_ended():
    frame = falling(3)
    assert ending_events(frame, "running", None) == ()
    assert [event.name for event in ending_events(frame, "finished", "early_stopping")] == ["early stop", "final checkpoint"]


def test_events_of_one_epoch_share_a_line():
    (event,) = joined_events([Event(5, "best epoch 5"), Event(5, "early stop"), Event(5, "final checkpoint")])
    assert event.name == "best epoch 5, early stop, final checkpoint"


@pytest.mark.parametrize("seed", range(20))
def test_stretches_in_one_row_never_overlap(seed):
    random = np.random.default_rng(seed)
    extents = [
        (left, left + length) for left, length in zip(random.uniform(0, 400, 12), random.uniform(20, 150, 12), strict=True)
    ]
    placed = list(zip(rows_without_overlap(extents), extents, strict=True))
    for (row, one), (other_row, other) in itertools.combinations(placed, 2):
        assert row != other_row or one[1] < other[0] or other[1] < one[0]


@pytest.mark.parametrize("seed", range(20))
def test_names_of_events_overlap_neither_each_other_nor_a_line(seed):
    random = np.random.default_rng(seed)
    epochs = sorted(random.choice(np.arange(1, 101), size=8, replace=False).tolist())
    events = tuple(Event(epoch, "x" * int(random.integers(4, 16))) for epoch in epochs)
    ground = Panel(name="p", title="", epochs=100, width=400, height=300, domain=(0, 1), events=events, name_events=True).ground
    rows = ground.event_rows
    for (row, event), (other_row, other) in itertools.permutations(zip(rows, events, strict=True), 2):
        left, right = ground._extent(event.epoch, event.name)
        start, end = ground._extent(other.epoch, other.name)
        assert row != other_row or right < start or end < left
        place = 400 * ground.axis.share(other.epoch)
        if left < place < right:
            for top, bottom in ground.stretches(other, other_row):
                assert bottom <= row * ROW_HEIGHT or top >= (row + 1) * ROW_HEIGHT


def test_many_names_stand_above_the_curves_and_take_no_height_from_them():
    events = tuple(Event(epoch, f"a rather long name {epoch}") for epoch in range(1, 7))
    frame = falling(8)
    plain, crowded = (history_chart(frame, HistoryView(events=some)).spec["vconcat"][0] for some in ((), events))
    assert crowded["height"] > plain["height"]
    panel = Panel(name="p", title="", epochs=8, width=400, height=200, domain=(0, 1), events=events, name_events=True)
    assert panel.y_pixel(1.0) >= panel.headroom - 1e-9


def _spans_on_top(spec: dict[str, Any], width: float) -> list[tuple[float, float, float]]:
    """(y, left, right) of every text of the first panel, letters taken as half as wide again as they are on paper."""
    found = []
    for layer in parts(spec["vconcat"][0]):
        if layer["mark"]["type"] != "text":
            continue
        (row,) = values_of(layer)
        x, length = layer["encoding"]["x"], 5.4 * len(row["name"])
        domain = x.get("scale", {}).get("domain")
        place = x["value"] if "value" in x else width * (row[x["field"]] - domain[0]) / (domain[1] - domain[0])
        place += layer["mark"].get("dx", 0)
        shift = {"left": 0.0, "center": 0.5, "right": 1.0}[layer["mark"].get("align", "center")]
        found.append((layer["encoding"]["y"]["value"], place - shift * length, place + (1 - shift) * length))
    return found


def _crowded(epochs: int = 20) -> tuple[pd.DataFrame, dict[str, Any]]:
    columns = {name: [0.5] * epochs for name in ("train_acc", "val_acc", "seconds", "train_loss_eval")}
    frame = falling(epochs, lr=[1e-3] * epochs, val_recall=[dict.fromkeys("ABCD", 0.5)] * epochs, **columns)
    bands = (Band(1, 10, "Rapid learning"), Band(11, 12, "Refinement"), Band(13, epochs, "After the best epoch"))
    return frame, {
        "best_epoch": 12, "bands": bands, "events": (Event(epochs, "final checkpoint"),), "class_names": tuple("ABCD"),
        "title": "a run",
    }  # fmt: skip


def test_in_a_narrow_plot_no_two_names_overlap_and_the_key_says_what_the_numbers_stand_for():
    frame, view = _crowded()
    spec = history_chart(frame, HistoryView(width=180, most_height=PAGE_HEIGHT, **view)).to_dict()
    spans = _spans_on_top(spec, 180)
    for one, other in itertools.combinations(spans, 2):
        assert abs(one[0] - other[0]) >= 10 or one[2] <= other[1] or other[2] <= one[1]
    assert all(left >= -40 and right <= 190 for _, left, right in spans)
    key = {"I Rapid learning", "II Refinement", "III After the best epoch", "1 best epoch 12", "2 final checkpoint"}
    assert key <= set(words(spec))
    wide = words(history_chart(frame, HistoryView(**view)).to_dict())
    assert {"Refinement", "best epoch 12", "final checkpoint"} <= set(wide)


def test_numbers_stand_over_the_lines_of_their_events():
    events = (Event(12, "best epoch 12"), Event(20, "final checkpoint"))
    panel = Panel(name="p", title="", epochs=20, width=190, height=100, domain=(0, 1), events=events, name_events=True)
    tags = panel.ground.tags
    assert {tag: name for tag, (_, name) in tags.items()} == {"1": "best epoch 12", "2": "final checkpoint"}
    assert [tags[tag][0] for tag in "12"] == pytest.approx([190 * (epoch - 0.5) / 20 for epoch in (12, 20)])


@pytest.mark.parametrize("points", [7, 10])
@pytest.mark.parametrize("preset", ["single", "double"])
def test_the_file_is_no_taller_than_200_mm_and_its_plot_no_less_than_two_thirds_of_a_column(preset, points):
    frame, view = _crowded()
    plots = []

    def build(width: int):
        plots.append(width)
        return history_chart(frame, HistoryView(width=width, most_height=PAGE_HEIGHT, **view))

    svg = draw_figure(build, ("svg",), FigureSize(preset, points))["svg"].decode()
    height = float(svg.partition('height="')[2].partition("mm")[0])
    assert height <= 200
    assert plots[-1] >= 0.65 * FigureSize(preset, points).width_mm * 72 / 25.4


@pytest.mark.parametrize("domain", [(0.3, 1.8), (0.95, 1.9), (0.9, 1.1), (1e-4, 20.0), (0.011, 0.012)])
def test_a_logarithmic_axis_has_numbers_over_all_of_its_range(domain):
    ticks = log_ticks(domain)
    assert 4 <= len(ticks) <= 16
    assert all(domain[0] <= tick <= domain[1] for tick in ticks)
    edges = np.log([domain[0], *ticks, domain[1]])
    assert np.diff(edges).max() <= 0.45 * (edges[-1] - edges[0])


def test_the_numbers_of_a_logarithmic_axis_are_in_the_drawing():
    frame = history([1.75, 0.9, 0.6, 0.4], train_loss=[1.8, 1.0, 0.5, 0.3])
    svg = export(history_chart(frame, HistoryView(log_loss=True, panels=("loss",))), "svg").decode()
    assert any(f">{number}</text>" in svg for number in ("1.5", "1.6", "1.8"))


def test_the_pointer_is_told_the_values_of_all_panels_and_marks_the_epoch_in_each():
    frame = falling(5, lr=[1e-3] * 5, val_acc=[0.5] * 5)
    spec = history_chart(frame, HistoryView(live=True)).to_dict()
    hovers = [layer for layer in parts(spec) if layer.get("name", "").startswith("hover_panel")]
    titles = ["Epoch", "Loss, training", "Loss, validation", "Accuracy, validation", "Learning rate"]
    assert [[line["title"] for line in layer["encoding"]["tooltip"]] for layer in hovers] == [titles] * 3
    assert sum(layer.get("name", "").startswith("hover_line") for layer in parts(spec)) == 3
    assert "crosshair" not in export(history_chart(frame, HistoryView()), "svg").decode()


# ---- several runs -------------------------------------------------------------------------------------------------------------


def test_runs_together_have_a_colour_each_solid_validation_and_dashed_training():
    frames = {"e/seed_1": falling(5), "e/seed_2": falling(8)}
    spec = runs_chart(frames, RunsView(planned={"e/seed_1": 20})).to_dict()
    lines = [layer["mark"] for layer in parts(spec) if layer["mark"]["type"] == "line"]
    colours = theme.run_colours(list(frames))
    assert [(mark["color"], mark["strokeDash"]) for mark in lines] == [
        (colours[run], dash) for run in frames for dash in ([4, 3], [1, 0])
    ]
    assert {"seed_1", "seed_2", "validation", "training"} <= set(words(spec))
    assert {
        tuple(layer["encoding"]["x"]["scale"]["domain"]) for layer in parts(spec) if "scale" in layer["encoding"].get("x", {})
    } == {(0.5, 20.5)}


def test_no_more_runs_are_drawn_than_colours_can_tell_apart():
    frames = {f"e/seed_{n}": falling(4) for n in range(12)}
    spec = runs_chart(frames, RunsView()).to_dict()
    assert len({layer["mark"]["color"] for layer in parts(spec) if layer["mark"]["type"] == "line"}) == MOST_RUNS


def test_runs_are_drawn_over_time_only_where_all_have_it():
    timed, untimed = falling(4, seconds=[60.0] * 4), falling(4)
    assert runs_without_time({"a/x": timed, "b/x": untimed}) == ["b/x"]
    for frames, field in (
        ({"a/x": timed, "b/x": untimed}, "epoch"),
        ({"a/x": timed, "b/x": falling(4, seconds=[7200.0] * 4)}, "time"),
    ):
        spec = runs_chart(frames, RunsView(axis="time")).to_dict()
        assert {layer["encoding"]["x"]["field"] for layer in parts(spec) if layer["mark"]["type"] == "line"} == {field}


def test_runs_that_count_from_0_and_from_1_are_drawn_over_rows_and_it_is_said():
    zero, one = falling(4, source_epoch=[0.0, 1.0, 2.0, 3.0]), falling(4)
    frames = {"a/x": zero, "b/x": one}
    spec = runs_chart(frames, RunsView()).to_dict()
    lines = [[row["epoch"] for row in values_of(layer)] for layer in parts(spec) if layer["mark"]["type"] == "line"]
    assert lines == [[1, 2, 3, 4]] * 4
    assert "Row of the history, from 1" in str(spec)
    assert why_rows(frames).endswith("a/x counts from 0; b/x counts from 1.")
    assert why_rows({"a/x": zero, "b/x": zero}) == ""
    alike = runs_chart({"a/x": zero, "b/x": zero}, RunsView()).to_dict()
    assert [row["epoch"] for row in values_of(next(iter(parts(alike))))] == [0, 1, 2, 3]


def test_in_a_narrow_plot_the_runs_are_named_above_it():
    frames = {f"e/seed_{n}": falling(5) for n in range(8)}
    spec = runs_chart(frames, RunsView(width=180)).to_dict()
    assert {f"seed_{n}" for n in range(8)} <= set(words(spec))
    assert all(right <= 195 for _, _, right in _spans_on_top(spec, 180))


def test_only_metrics_that_a_run_has_are_offered():
    assert metrics_of({"a/x": falling(4), "b/x": falling(4, lr=[1e-3] * 4)}) == ["loss", "rate"]
    assert metrics_of({"a/x": history([])}) == []


def test_names_of_runs_are_short_and_differ():
    assert short_names(["e/seed_1", "e/seed_2"]) == {"e/seed_1": "seed_1", "e/seed_2": "seed_2"}
    long = [f"one/a_very_long_model_name_of_many_words_{n}" for n in (1, 2)]
    assert len(set(short_names(long).values())) == 2
    assert all(len(name) <= 22 for name in short_names([*long, "two/another_very_long_run_name"]).values())


@pytest.mark.parametrize("axis", ["epoch", "time"])
def test_every_history_figure_is_valid_by_the_schema_of_vega_lite_and_can_be_drawn(axis):
    schema = alt.load_schema()
    judge = jsonschema.validators.validator_for(schema)(schema)
    frame = falling(70, seconds=[30.0] * 70, lr=[1e-3] * 30 + [1e-4] * 40, resumed=[e == 20 for e in range(70)])
    view = HistoryView(axis=axis, live=True, log_loss=True, smoothing=0.6, best_epoch=70, bands=(Band(1, 9, "rapid"),))
    for chart in (
        history_chart(frame, view),
        history_chart(history([]), view),
        runs_chart(
            {"a/x": frame, "b/y": falling(3, seconds=[1.0] * 3)}, RunsView(axis=axis, live=True, smoothing=0.6, log_loss=True)
        ),
        runs_chart({}, RunsView(axis=axis)),
        runs_chart({"a/x": history([None, None])}, RunsView(metric="kappa")),
    ):
        assert [error.message for error in judge.iter_errors(theme.themed(chart).to_dict())] == []
        assert export(chart, "svg").startswith(b"<svg")
