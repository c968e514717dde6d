"""Figure files: their format, size, sharpness, sameness, and what stands inside them."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
from PIL import Image

from make_runs import write_run
from mammo_core.errors import MammoError
from mammo_core.report.charts import HistoryView, confusion_chart, loss_chart, train_figure
from mammo_core.report.figures import (
    DOUBLE_COLUMN,
    PAPER_WIDTHS,
    SINGLE_COLUMN,
    export,
    export_all,
    figure_data_csv,
    fit_width,
    specification,
    svg_size,
)
from mammo_core.report.theme import VALIDATION
from mammo_core.runs.history import history_frame
from mammo_core.runs.schema import EpochRecord


@pytest.fixture(scope="module")
def frame(tmp_path_factory):
    return history_frame(write_run(tmp_path_factory.mktemp("experiments") / "e" / "seed_42").history())


@pytest.fixture(scope="module")
def chart(frame):
    return train_figure(frame, HistoryView(width=180, best_epoch=3))


def test_each_format_begins_as_it_should(chart):
    files = export_all(chart, ("png", "svg", "pdf"))
    assert files["png"].startswith(b"\x89PNG\r\n")
    assert files["svg"].startswith(b"<svg")
    assert files["pdf"].startswith(b"%PDF-")


def test_an_unknown_format_is_refused_in_words(chart):
    with pytest.raises(MammoError, match="expected one of png, svg, pdf"):
        export(chart, "gif")


def test_the_same_chart_gives_the_same_bytes_even_after_other_charts(frame):
    view = HistoryView(width=180)
    first = export_all(train_figure(frame, view), ("png", "svg", "pdf"))
    export(loss_chart(frame), "svg")
    assert export_all(train_figure(frame, view), ("png", "svg", "pdf")) == first


def test_resolution_changes_sharpness_and_not_size(chart):
    sizes = {ppi: Image.open(io.BytesIO(export(chart, "png", ppi=ppi))) for ppi in (72, 300)}
    assert sizes[300].width == pytest.approx(sizes[72].width * 300 / 72, abs=3)
    assert sizes[300].info["dpi"] == pytest.approx((300, 300), abs=0.1)


@pytest.mark.parametrize("width", [SINGLE_COLUMN, DOUBLE_COLUMN])
def test_a_figure_for_paper_has_the_width_of_its_column(frame, width):
    fitted = fit_width(lambda plot: train_figure(frame, HistoryView(width=plot)), width)
    assert svg_size(fitted)[0] == pytest.approx(width, abs=1.5)


def test_the_column_widths_are_those_of_journals():
    assert {name: round(points * 25.4 / 72) for name, points in PAPER_WIDTHS.items()} == {
        "single column (85 mm)": 85,
        "double column (180 mm)": 180,
        "slide (254 mm)": 254,
    }


def test_paper_is_white_and_the_validation_line_is_orange_on_it(chart):
    pixels = np.asarray(Image.open(io.BytesIO(export(chart, "png", ppi=150))).convert("RGB"))
    orange = tuple(int(VALIDATION[i : i + 2], 16) for i in (1, 3, 5))
    assert (pixels[0, 0] == 255).all()
    assert (pixels[-1, -1] == 255).all()
    assert (pixels == orange).all(axis=2).sum() > 100


def test_nothing_is_cut_at_the_edge(chart):
    pixels = np.asarray(Image.open(io.BytesIO(export(chart, "png", ppi=150))).convert("L"))
    for edge in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]):
        assert (edge > 250).all()


def test_text_stays_text_in_svg_and_fonts_are_inside_the_pdf(chart):
    files = export_all(chart, ("svg", "pdf"))
    assert b">validation</text>" in files["svg"]
    assert b"Arial" in files["svg"]
    assert b"/FontFile" in files["pdf"]


def test_print_is_not_smaller_than_seven_points(chart):
    svg = export(chart, "svg").decode()
    sizes = [float(size) for size in re.findall(r'font-size="([\d.]+)px"', svg)]
    assert sizes
    assert min(sizes) >= 7


def test_the_note_can_be_read_from_png_and_svg(chart):
    note = "run e/seed_42, 0.696 ± 0.032 <not smoothed>"
    files = export_all(chart, ("png", "svg"), note=note)
    picture = Image.open(io.BytesIO(files["png"]))
    picture.load()
    assert picture.info["Description"] == note
    assert "<desc>run e/seed_42, 0.696 ± 0.032 &lt;not smoothed&gt;</desc>" in files["svg"].decode()


def test_the_finding_is_the_title_of_the_svg():
    svg = export(confusion_chart([[5, 1], [2, 4]], ["N", "M"]), "svg").decode()
    assert "<title>9 of 12 films are classified correctly (75.0%)." in svg


def test_invisible_layers_stay_on_the_screen(chart):
    assert "hover" in str(chart.to_dict())
    assert "hover" not in str(specification(chart))


def test_a_history_of_thousands_of_epochs_can_be_exported():
    records = [EpochRecord(epoch=e, train_loss=1 / e, val_loss=2 / e) for e in range(1, 3001)]
    assert export(loss_chart(history_frame(records)), "svg").count(b"training") > 3000


def test_data_behind_a_figure_is_csv(frame):
    text = figure_data_csv(frame).decode()
    assert text.splitlines()[0].startswith("epoch,train_loss,train_acc,val_loss")
    assert len(text.splitlines()) == len(frame) + 1
