import io

import matplotlib
import numpy as np
import pytest
from PIL import Image

from mammo_core.errors import ConfigError
from mammo_core.explain.methods import MEANING
from mammo_core.explain.rendering import (
    CONTOUR_COLOUR,
    OverlayStyle,
    Panel,
    coloured,
    contact_sheet,
    grey,
    overlay,
    png_bytes,
    side_by_side,
)
from mammo_core.settings import RESEARCH_ONLY

RNG = np.random.default_rng(2)
FILM = RNG.random((120, 90)).astype(np.float32)
MAP = np.zeros((120, 90), np.float32)
MAP[30:60, 20:50] = 1.0


def test_pixels_without_influence_are_those_of_the_film():
    drawn = overlay(FILM, MAP)
    np.testing.assert_array_equal(drawn[MAP == 0], grey(FILM)[MAP == 0])


def test_where_the_map_is_full_the_colour_has_the_stated_opacity():
    drawn = overlay(FILM, MAP, OverlayStyle(alpha=0.4))
    top = np.array(matplotlib.colormaps["inferno"](1.0)[:3]) * 255
    expected = 0.6 * grey(FILM)[MAP == 1] + 0.4 * top
    assert np.abs(drawn[MAP == 1] - expected).max() <= 1.5  # 8-bit rounding


def test_no_opacity_leaves_the_film_and_full_opacity_leaves_the_colours():
    np.testing.assert_array_equal(overlay(FILM, MAP, OverlayStyle(alpha=0.0)), grey(FILM))
    drawn = overlay(FILM, MAP, OverlayStyle(alpha=1.0))
    np.testing.assert_array_equal(drawn[MAP == 1], coloured(MAP)[MAP == 1])


def test_brightness_does_not_depend_on_the_maximum_of_the_film():
    half = overlay(FILM / 2, np.zeros_like(FILM))
    np.testing.assert_array_equal(half, grey(FILM / 2))


def test_the_colours_get_brighter_with_the_map():
    ramp = coloured(np.linspace(0, 1, 256, dtype=np.float32)[None])[0].astype(float)
    assert (np.diff(ramp @ [0.299, 0.587, 0.114]) > -0.5).all()


@pytest.mark.parametrize("style", [{"colour_map": "jet"}, {"alpha": 1.2}, {"alpha": -0.1}])
def test_a_style_that_misleads_or_cannot_be_is_refused(style):
    with pytest.raises(ConfigError):
        OverlayStyle(**style)


def test_contours_surround_the_high_part_and_leave_the_rest_grey():
    smooth = np.clip(1 - np.hypot(*np.mgrid[-60:60, -45:45]) / 40, 0, 1).astype(np.float32)
    drawn = overlay(FILM, smooth, OverlayStyle(contours=True))
    lines = (drawn == CONTOUR_COLOUR).all(axis=2)
    assert lines.any()
    np.testing.assert_array_equal(drawn[~lines], grey(FILM)[~lines])
    levels = smooth[lines]
    nearest = np.abs(levels[:, None] - np.array([0.25, 0.5, 0.75])).min(axis=1)
    assert nearest.max() < 0.05


def test_the_plain_film_stands_beside_the_overlay_at_the_same_scale():
    drawn = side_by_side(Panel(FILM, MAP))
    np.testing.assert_array_equal(drawn[:120, :90], grey(FILM))
    np.testing.assert_array_equal(drawn[:120, 98:188], overlay(FILM, MAP))


def test_a_large_film_is_reduced_only_where_asked_and_both_halves_alike():
    drawn = side_by_side(Panel(FILM, np.zeros_like(FILM)), max_height=60)
    np.testing.assert_array_equal(drawn[:60, :45], drawn[:60, 53:98])
    assert side_by_side(Panel(FILM, MAP)).shape[1] > drawn.shape[1]


def test_a_png_says_that_it_is_for_research_only():
    with Image.open(io.BytesIO(png_bytes(overlay(FILM, MAP), "Map for C."))) as image:
        assert image.text["Disclaimer"] == RESEARCH_ONLY
        assert image.text["Description"].startswith("Map for C.")
        np.testing.assert_array_equal(np.asarray(image), overlay(FILM, MAP))


def test_the_words_claim_influence_and_no_finding():
    assert "influenced the score" in MEANING
    assert "found" not in MEANING


def test_a_sheet_holds_every_film_and_refuses_to_be_empty():
    one = contact_sheet([("Class A", [Panel(FILM, MAP, ["Called A (0.90), right."])]), ("Class B", [])], "title", 120)
    two = contact_sheet([("Class A", [Panel(FILM, MAP)] * 2)], "title", 120)
    assert two.shape[1] >= 4 * 90
    assert one.shape[1] >= 2 * 90
    with pytest.raises(ConfigError, match="no map"):
        contact_sheet([("Class A", [])], "title")
