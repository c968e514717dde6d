"""Figure files: their format, size, sharpness, sameness, and what stands inside them."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
from PIL import Image, ImageFont
from vl_convert import svg_to_png

from make_runs import write_run
from mammo_core.errors import MammoError
from mammo_core.report.charts import CurveView, HistoryView, confusion_chart, loss_chart, seed_curves, train_figure
from mammo_core.report.embedded_font import fonts_of_pdf
from mammo_core.report.figures import (
    PRESETS,
    FigureSize,
    draw_figure,
    export,
    export_all,
    specification,
)
from mammo_core.report.pdf_bytes import canonical, read_objects
from mammo_core.report.svg_layers import without_needless_layers
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


def history_builder(frame):
    return lambda width: train_figure(frame, HistoryView(width=width, best_epoch=3))


def confusion_builder(width):
    return confusion_chart([[5, 1, 0], [2, 4, 1], [0, 3, 9]], ["Normal", "Benign", "Malignant"], width)


@pytest.mark.parametrize("preset", list(PRESETS))
@pytest.mark.parametrize("which", ["history", "confusion"])
def test_a_figure_file_is_exactly_as_wide_as_its_preset(frame, preset, which):
    build = history_builder(frame) if which == "history" else confusion_builder
    size = FigureSize(preset, ppi=300 if preset == "single" else 150)
    files = draw_figure(build, ("png", "svg", "pdf"), size)
    picture = Image.open(io.BytesIO(files["png"]))
    assert abs(picture.width - size.width_mm / 25.4 * size.ppi) <= 1
    assert picture.info["dpi"] == pytest.approx((size.ppi, size.ppi), abs=0.1)
    assert f'width="{size.width_mm:g}mm"' in files["svg"].decode().split(">")[0]
    box = re.search(rb"/MediaBox \[0 0 ([\d.]+)", files["pdf"])
    assert float(box[1]) * 25.4 / 72 == pytest.approx(size.width_mm, abs=0.01)


@pytest.mark.parametrize(("preset", "points"), [("single", 7), ("single", 10), ("double", 7), ("double", 10)])
def test_nothing_of_a_printed_figure_is_cut_and_no_letter_is_smaller_than_asked(frame, preset, points):
    for build in (history_builder(frame), confusion_builder):
        files = draw_figure(build, ("png", "svg"), FigureSize(preset, points, 100))
        pixels = np.asarray(Image.open(io.BytesIO(files["png"])).convert("L"))
        for edge in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]):
            assert (edge > 250).all()
        assert min(float(size) for size in re.findall(r'font-size="([\d.]+)px"', files["svg"].decode())) >= points


def test_600_ppi_doubles_the_pixels_and_not_the_size():
    small, large = (draw_figure(confusion_builder, ("png",), FigureSize(ppi=ppi))["png"] for ppi in (300, 600))
    assert Image.open(io.BytesIO(large)).width == pytest.approx(2 * Image.open(io.BytesIO(small)).width, abs=1)


@pytest.mark.parametrize("wrong", [{"preset": "poster"}, {"font_size": 1}, {"ppi": 10}])
def test_sizes_that_cannot_be_are_refused_in_words(wrong):
    with pytest.raises(MammoError, match="expected"):
        FigureSize(**wrong)


def test_a_figure_with_two_fonts_is_the_same_file_each_time():
    files = [draw_figure(confusion_builder, ("svg", "pdf")) for _ in range(8)]
    assert all(other == files[0] for other in files)


def test_the_svg_carries_every_letter_that_it_shows(frame):
    files = draw_figure(confusion_builder, ("svg", "pdf"))
    assert {font.weight for font in fonts_of_pdf(files["pdf"])} == {"normal", "bold"}
    svg = files["svg"].decode()
    assert svg.count("@font-face") == 2
    assert "Malignant</text>" in svg
    for font in fonts_of_pdf(files["pdf"]):
        shape = ImageFont.truetype(io.BytesIO(font.data), 40)
        assert shape.getname()[0] == "Liberation Sans"
        letters = "9" if font.weight == "bold" else "Malignt"
        assert all(shape.getmask(letter).getbbox() for letter in letters)
        # the widths by which the figure was laid out
        assert shape.getlength("0") == pytest.approx(40 * 0.556, abs=1)


def test_a_pdf_says_what_it_shows_and_names_no_program_date_or_machine(chart):
    pdf = export(chart, "pdf", note="run e/seed_42 ±")
    assert b"CreationDate" not in pdf
    assert b"feff" + "run e/seed_42 ±".encode("utf-16-be").hex().encode() in pdf
    offsets = [int(found) for found in re.findall(rb"(\d{10}) 00000 n", pdf)]
    assert all(re.match(rb"\d+ 0 obj", pdf[offset : offset + 12]) for offset in offsets)
    assert canonical(pdf, "a", "b") == canonical(canonical(pdf, "a", "b"), "a", "b")
    assert len(read_objects(pdf)) == len(offsets)


def test_a_pdf_of_another_program_is_left_alone():
    assert canonical(b"%PDF-1.4 something else") == b"%PDF-1.4 something else"
    assert fonts_of_pdf(b"%PDF-1.4 something else") == []


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
    assert b"@font-face" in files["svg"]
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
    lines = re.findall(rb' d="(M[^"]+)"', export(loss_chart(history_frame(records)), "svg"))
    assert max(line.count(b"L") for line in lines) == 2999


# ---- layers ---------------------------------------------------------------------------------------------------------------

CLIPPED = (
    '<defs><clipPath id="clip0"><rect x="0" y="0" width="100" height="50"/></clipPath></defs>'
    '<g class="mark-line role-mark" clip-path="url(#clip0)"><path d="{shape}" stroke="#000" opacity="0.6"/></g>'
)


def test_lines_inside_their_rectangle_need_no_clip_and_no_layer_of_their_own():
    svg = without_needless_layers(CLIPPED.format(shape="M0,0L100,50Z"))
    assert "url(#clip0)" not in svg
    assert 'stroke-opacity="0.6"' in svg


@pytest.mark.parametrize("shape", ["M0,0L101,50", "M0,-1L5,5", "M0,0h5v5Z", "M0,0C1,1,2,2,300,3"])
def test_lines_that_leave_it_or_may_do_so_stay_clipped(shape):
    assert "url(#clip0)" in without_needless_layers(CLIPPED.format(shape=shape))


@pytest.mark.parametrize("look", ['stroke="#fff"', 'fill-opacity="0.7"'])
def test_a_path_that_is_more_than_filled_keeps_its_opacity(look):
    path = f'<path d="M0,0" fill="#000" {look} opacity="0.5"/>'
    assert without_needless_layers(path) == path


def test_fewer_layers_give_the_same_picture(tmp_path):
    frames = {
        str(seed): history_frame(write_run(tmp_path / "e" / f"seed_{seed}", seed=seed, replicates=2).history()) for seed in (1, 2)
    }
    chart = seed_curves(frames, "val_loss", CurveView(title="Loss", width=300, height=150))
    svg = export(chart, "svg").decode()
    assert 'clip-path="url(#' not in svg
    again = svg.replace("stroke-opacity", "opacity").replace("fill-opacity", "opacity")
    pictures = [np.asarray(Image.open(io.BytesIO(svg_to_png(text, ppi=72))).convert("L"), dtype=int) for text in (svg, again)]
    assert (abs(pictures[0] - pictures[1]) > 12).sum() == 0
