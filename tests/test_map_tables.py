"""Tables, CSV and figures of the checks of maps."""

import pytest

from make_map_checks import localisation_record, metric, repeated, sanity_record
from mammo_core.report.charts_maps import cascade_chart, localisation_chart, repeatability_chart, road_chart
from mammo_core.report.figures import draw_figure
from mammo_core.report.map_tables import (
    MEASURE_MEANINGS,
    MEASURES,
    gain_rows,
    gallery_counts,
    gallery_rows,
    localisation_numbers,
    localised_rows,
    outcome_rows,
    percent,
    road_rows,
    sanity_numbers,
    score_rows,
    size_rows,
    two_digits,
    verdict_of,
)
from mammo_core.report.tables import safe_csv
from mammo_core.runs.map_checks import LocalisationRecord, SanityRecord, Test
from mammo_core.runs.schema import MetricValue

RECORD = LocalisationRecord.model_validate(localisation_record())
CHECK = SanityRecord.model_validate(sanity_record())


def with_tests(**passed: bool | None) -> SanityRecord:
    tests = {**sanity_record()["tests"], "repeatability": repeated()}
    for name, outcome in passed.items():
        tests[name] = {**tests[name], "passed": outcome}
    return SanityRecord.model_validate(sanity_record(tests=tests))


@pytest.mark.parametrize(
    ("value", "half", "signed", "text"),
    [
        (0.634, 0.1, False, "63 % (53 to 73)"),
        (0.034, 0.01, False, "3.4 % (2.4 to 4.4)"),
        (0.5, None, False, "50 %"),
        (-0.12, 0.15, True, "-12 % (-27 to +3)"),
        (None, None, False, "undefined"),
    ],
)
def test_shares_are_written_in_percent_with_their_interval(value, half, signed, text):
    assert percent(MetricValue(**metric(value, half)), signed) == text


def test_scores_have_two_digits():
    assert two_digits(MetricValue(**metric(0.634))) == "0.63 (0.53 to 0.73)"
    assert two_digits(MetricValue(**metric(0.634, None))) == "0.63"
    assert two_digits(None) == "undefined"


def test_every_measure_is_named_and_explained():
    assert set(MEASURES) == set(MEASURE_MEANINGS)


def test_measures_stand_beside_each_map_that_needs_no_model():
    table = score_rows(RECORD)
    assert table.columns.tolist() == ["Measure", "Grad-CAM", "Whole breast", "Centre point", "Blur round the centre"]
    assert table["Measure"].tolist() == list(MEASURES.values())
    assert table.loc[0, "Grad-CAM"] == "60 % (50 to 70)"
    assert table.loc[0, "Whole breast"] == "25 % (15 to 35)"
    assert gain_rows(RECORD).loc[0, "Centre point"] == "+35 % (+25 to +45)"


def test_sizes_have_their_limits_and_counts():
    table = size_rows(RECORD, "pointing")
    assert table["Lesions"].tolist() == ["All lesions", "Small, up to 30 mm²", "Medium, to 60 mm²", "Large, above 60 mm²"]
    assert table["Films"].tolist() == [9, 3, 3, 3]
    assert table["Patients"].tolist() == [4, 1, 1, 1]
    assert table["Grad-CAM"].tolist() == ["60 % (50 to 70)", "30 % (20 to 40)", "60 % (50 to 70)", "90 % (80 to 100)"]


def test_films_are_sorted_by_where_their_map_points():
    worst, best = localised_rows(RECORD), localised_rows(RECORD, best_first=True)
    assert worst["image_id"].tolist() == ["i1", "i4", "i3", "i2"]
    assert best["image_id"].tolist() == ["i2", "i3", "i4", "i1"]
    assert worst["points"].tolist() == ["✕ no", "– map is empty", "◐ 50% of its highest points", "✓ yes"]
    assert worst["area"].tolist() == [10.0, 40.0, 30.0, 20.0]


def test_areas_are_in_pixels_where_a_film_states_no_spacing():
    sizes = {**localisation_record()["sizes"], "unit": "pixels"}
    record = LocalisationRecord.model_validate(localisation_record(sizes=sizes))
    assert localised_rows(record)["area"].tolist() == [100.0, 400.0, 300.0, 200.0]
    assert "pixels" in size_rows(record, "energy").loc[1, "Lesions"]


def test_the_csv_of_localisation_holds_every_number():
    table = localisation_numbers(RECORD)
    assert len(table) == 4 * len(MEASURES) * (4 + 3)
    row = table[(table["lesions"] == "All lesions") & (table["measure"] == "energy") & (table["what"] == "gain of the map")]
    assert row["value"].tolist() == pytest.approx([0.35] * 3)
    assert safe_csv(table).startswith(b"lesions,films,patients,map,measure,what,value,ci_low,ci_high,method")


def test_the_verdict_tells_whether_to_look_at_such_maps():
    assert verdict_of(with_tests(randomisation=False)).startswith("Do not rely on these maps")
    assert verdict_of(CHECK) == "Read these maps with reserve: they failed faithfulness."
    assert "passed all three tests" in verdict_of(with_tests(faithfulness=True))
    assert "does not make what they show a lesion" in verdict_of(with_tests(faithfulness=True))
    assert "passed randomisation and repeatability" in verdict_of(with_tests(faithfulness=None))
    nothing = with_tests(randomisation=None, repeatability=None, faithfulness=None)
    assert verdict_of(nothing) == "Nothing is decided yet about these maps."


def test_outcomes_stand_with_the_number_of_films():
    table = outcome_rows(CHECK)
    assert table["Outcome"].tolist() == ["passed", "not tested", "failed"]
    assert table["Films"].isna().tolist() == [False, True, False]


def test_road_is_shown_beside_maps_that_need_no_model():
    table = road_rows(CHECK)
    assert table["Map"].tolist() == ["Grad-CAM", "Random cells", "Edges", "Brightness"]
    assert table["The model's map is higher by"].tolist()[:2] == ["", "-0.10 (-0.20 to 0.00)"]


def test_the_csv_of_a_sanity_check_holds_every_number_and_what_was_not_tested():
    table = sanity_numbers(CHECK)
    assert (table["test"] == "randomisation").sum() == 2 * 3 + 2
    assert (table["test"] == "faithfulness").sum() == 4 + 3
    assert table.loc[table["test"] == "repeatability", "what"].tolist() == ["Not tested. No other run."]


def test_the_films_of_a_gallery_are_named_by_what_they_are_and_what_they_were_called():
    items = [
        {"image": "i1", "class": "A", "kind": "right", "listed_under": "A", "true": "A", "predicted": "A", "score": 0.9}
        | {"map": {"alarms": ["Outside.", "Border."]}, "error": None},
        {"image": "i2", "class": "B", "kind": "missed", "listed_under": "A", "map": None, "error": "Gone."},
        {"image": "i3", "class": "A", "kind": "wrongly called", "listed_under": "A", "error": None},
    ]
    table = gallery_rows(items)
    assert table["What"].tolist() == [
        "Truly A, called A (true positive for A)",
        "Truly A, called something else (false negative for A)",
        "Called A, truly something else (false positive for A)",
    ]
    assert table["Alarms"].tolist() == ["Outside. Border.", "", ""]
    assert table["Not made because"].tolist() == ["", "Gone.", ""]


def test_the_films_of_a_gallery_are_counted_once_however_many_maps_and_rows_they_have():
    def item(image, kind, listed_under, class_name, alarms=(), error=None):
        facts = {"map": None if error else {"alarms": list(alarms)}, "error": error}
        return {"image": image, "kind": kind, "listed_under": listed_under, "class": class_name} | facts

    items = [
        item("i1", "right", "A", "A"),
        item("i2", "missed", "A", "A", ["Outside."]),
        item("i2", "missed", "A", "B", ["Outside."]),
        item("i2", "wrongly called", "B", "B", ["Outside."]),
        item("i3", "missed", "B", "B"),
        item("i3", "missed", "B", "C"),
        item("i4", "right", "C", "C", error="Gone."),
    ]
    assert gallery_counts(items) == (
        "3 films, 1 with an alarm: 1 called rightly, 2 wrongly. Of those called wrongly, 1 stand under the class that they are "
        "(false negatives for it), 0 under the class that they were called (false positives for it), 1 under both."
    )
    assert gallery_counts(items[:1]) == "1 film, 0 with an alarm: 1 called rightly, 0 wrongly."


# ---- figures -----------------------------------------------------------------------------------------------------------------


def values(chart):
    """The rows behind the points, which are the last layer."""
    return chart.spec["layer"][-1]["data"]["values"]


def test_the_cascade_shows_both_likenesses_at_each_stage_against_different_films():
    chart = cascade_chart(CHECK.tests["randomisation"])
    rows = values(chart)
    assert [row["row"] for row in rows[::2]] == ["1. blocks.0", "2. blocks.1", "3. blocks.2"]
    assert [row["value"] for row in rows[::2]] == pytest.approx([0.5, 0.4, 0.3])
    assert {row["low"] for row in rows[1::2]} == {0.0}
    band, line = chart.spec["layer"][0]["data"]["values"][0], chart.spec["layer"][1]["data"]["values"][0]
    assert (band["low"], band["high"], line["value"]) == pytest.approx((0.35, 0.55, 0.45))
    assert "after all of them 0.30 (0.20 to 0.40); maps of different films have 0.45" in chart.description


def test_a_test_without_numbers_draws_nothing_that_is_not_there():
    empty = cascade_chart(Test(passed=None, words="Not tested."))
    assert values(empty) == []
    assert "No part" in empty.description


def test_repeatability_and_road_are_points_with_intervals():
    rows = values(repeatability_chart(Test.model_validate(repeated())))
    assert [(row["row"], row["value"]) for row in rows] == [("Same film, another seed", 0.6), ("Different films", 0.2)]
    chart = road_chart(CHECK.tests["faithfulness"], CHECK.titles.maps)
    assert [row["row"] for row in values(chart)] == ["Grad-CAM", "Random cells", "Edges", "Brightness"]
    assert "Brightness 0.30" in chart.description


def test_localisation_is_drawn_for_each_size_and_map():
    chart = localisation_chart(RECORD, "energy")
    rows = values(chart)
    assert len(rows) == 4 * 4
    assert rows[4]["row"] == "Small, up to 30 mm² · n = 3 films of 1 patient"
    assert chart.description.startswith("Share of the map inside, all lesions: Grad-CAM 60 %")


def test_series_differ_in_shape_as_well_as_in_colour():
    encoding = localisation_chart(RECORD, "energy").spec["layer"][-1]["encoding"]
    assert len(set(encoding["shape"]["scale"]["range"])) == len(set(encoding["color"]["scale"]["range"])) == 4


@pytest.mark.parametrize(
    "build",
    [
        lambda width: cascade_chart(CHECK.tests["randomisation"], width),
        lambda width: localisation_chart(RECORD, "pointing", width),
    ],
)
def test_the_figures_can_be_exported(build):
    assert draw_figure(build, ("svg",))["svg"].startswith(b"<svg")
