"""The display pipeline of DICOM, branch by branch, against films made by hand and values worked out by hand.

``seen_by`` is a second, slow reading of the standard, one pixel at a time; nothing in it comes from the library.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from make_films import lut, write_dicom
from mammo_core.data.reader import Film, read_film
from mammo_core.errors import FilmUnreadable

EXACT = {"WindowCenter": 4, "WindowWidth": 8, "VOILUTFunction": "LINEAR_EXACT"}
"""Stored 0 to 8 become 0, 1/8, ... 1."""
ROW = range(9)

Reader = Callable[..., Film]


@pytest.fixture
def shown(tmp_path: Path) -> Callable[..., list[float]]:
    """Write a film whose every row holds these stored values, and give one row of what is shown."""

    def read(stored: Any, kind: type = np.uint16, **tags: Any) -> list[float]:
        film = read_film(write_dicom(tmp_path / "film.dcm", np.tile(np.array(stored, dtype=kind), (12, 1)), **tags))
        assert (film.pixels == film.pixels[0]).all()
        return [round(float(value), 5) for value in film.pixels[0]]

    return read


@pytest.fixture
def told(tmp_path: Path) -> Callable[..., str]:
    """All warnings and steps of a film, as one text."""

    def read(stored: Any = ROW, kind: type = np.uint16, **tags: Any) -> str:
        facts = read_film(write_dicom(tmp_path / "film.dcm", np.tile(np.array(stored, dtype=kind), (12, 1)), **tags)).facts
        return " ".join((*facts.warnings, *facts.steps))

    return read


def modality_lut(first: int, entries: list[int], bits: int) -> dict[str, Sequence]:
    item = lut(first, np.array(entries), bits)
    item.ModalityLUTType = "OD"
    return {"ModalityLUTSequence": Sequence([item])}


def voi_luts(*tables: tuple[int, list[int], int]) -> dict[str, Sequence]:
    return {"VOILUTSequence": Sequence([lut(first, np.array(entries), bits) for first, entries, bits in tables])}


# Modality LUT


def test_slope_and_intercept_come_before_the_window(shown):
    # 0, 1, 2, 3, 4 become -4, -2, 0, 2, 4; a window of 8 around 0 then gives (x + 4) / 8.
    window = {"WindowCenter": 0, "WindowWidth": 8, "VOILUTFunction": "LINEAR_EXACT"}
    assert shown([0, 1, 2, 3, 4], RescaleSlope=2, RescaleIntercept=-4, **window) == [0, 0.25, 0.5, 0.75, 1]


def test_a_modality_table_comes_before_the_window_and_its_ends_hold_beyond_it(shown, told):
    table = modality_lut(2, [100, 300, 200, 50], 12)
    window = {"WindowCenter": 150, "WindowWidth": 200, "VOILUTFunction": "LINEAR_EXACT"}
    # 0, 1, 2 -> 100 -> 0.25; 3 -> 300 -> 1.25, clipped; 4 -> 200 -> 0.75; 5 and above -> 50 -> 0
    assert shown(range(8), **table, **window) == [0.25, 0.25, 0.25, 1, 0.75, 0, 0, 0]
    assert "The modality LUT of the file was applied." in told(**table, **window)


def test_a_modality_table_of_signed_values_begins_below_zero(shown):
    table = modality_lut(-2, [8, 6, 4, 2, 0], 4)
    assert shown([-9, -2, -1, 0, 1, 2, 9], np.int16, **table, **EXACT) == [1, 1, 0.75, 0.5, 0.25, 0, 0]


def test_a_modality_table_feeds_the_voi_table(shown):
    assert shown([0, 1, 2], **modality_lut(0, [2, 0, 1], 2), **voi_luts((0, [0, 51, 255], 8))) == [1, 0, 0.2]


# VOI LUT and windows


def test_a_voi_table_takes_rescaled_values_and_goes_before_the_window(shown):
    table = voi_luts((-2, [0, 51, 102, 204, 255], 8))
    rescale = {"RescaleSlope": 1, "RescaleIntercept": -3}
    # 0 -> -3, below the table; 1 -> -2 -> 0; 2 -> -1 -> 51 / 255; ... 5 -> 2 -> 255 / 255; 6 -> 3, beyond it
    assert shown(range(7), **table, **rescale, **EXACT) == [0, 0, 0.2, 0.4, 0.8, 1, 1]


def test_a_voi_table_is_scaled_by_what_it_may_hold_and_not_by_what_it_holds(shown):
    assert shown([0, 1, 2], **voi_luts((0, [0, 51, 204], 8))) == [0, 0.2, 0.8]


def test_of_several_voi_tables_the_first_is_taken_and_told(shown, told):
    tables = voi_luts((0, [0, 255, 51], 8), (0, [255, 0, 0], 8))
    assert shown([0, 1, 2], **tables) == [0, 1, 0.2]
    assert "VOI LUT applied (the first of 2)." in told([0, 1, 2], **tables)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        # (x - 3.5) / 7 + 0.5: one value narrower than the exact one, so that 0 is black and 7 white
        ("LINEAR", [0, 0.14286, 0.28571, 0.42857, 0.57143, 0.71429, 0.85714, 1, 1]),
        ("LINEAR_EXACT", [0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1]),
        # 1 / (1 + exp((4 - x) / 2)), by a table of exp
        ("SIGMOID", [0.1192, 0.18243, 0.26894, 0.37754, 0.5, 0.62246, 0.73106, 0.81757, 0.8808]),
    ],
)
def test_each_window_function_gives_the_values_of_its_formula(shown, function, expected):
    window = {"WindowCenter": 4, "WindowWidth": 8, "VOILUTFunction": function}
    assert shown(ROW, **window) == expected
    # White for low values: the same picture turned over, once, and after the window.
    turned = shown(ROW, **window, PhotometricInterpretation="MONOCHROME1", PresentationLUTShape="INVERSE")
    assert turned == [round(1 - value, 5) for value in expected]


def test_a_window_without_a_function_is_linear(shown):
    window = {"WindowCenter": 4, "WindowWidth": 8}
    assert shown(ROW, **window) == shown(ROW, **window, VOILUTFunction="LINEAR")


def test_of_several_windows_the_first_is_taken_and_told(shown, told):
    windows = {
        "WindowCenter": [4, 1, 2], "WindowWidth": [8, 2, 2], "VOILUTFunction": "LINEAR_EXACT",
        "WindowCenterWidthExplanation": ["NORMAL", "HARDER", "SOFTER"],
    }  # fmt: skip
    assert shown(ROW, **windows) == [value / 8 for value in ROW]
    assert "Window applied (the first of 3): centre 4, width 8, LINEAR_EXACT." in told(**windows)


def test_without_window_and_table_the_film_is_stretched_as_a_whole_and_says_so(shown, told):
    # No breast is found in a ramp, so the 0.5 and 99.5 percentiles of all its values are the ends.
    ramp = np.arange(1001)
    low, high = np.percentile(ramp, [0.5, 99.5])
    expected = np.clip((ramp - low) / (high - low), 0, 1)
    np.testing.assert_allclose(shown(ramp), expected, atol=2e-5)
    np.testing.assert_allclose(shown(ramp, PhotometricInterpretation="MONOCHROME1"), 1 - expected, atol=2e-5)
    assert "The file holds no window: the 0.5 and 99.5 percentiles" in told(ramp)


# Polarity and presentation LUT


@pytest.mark.parametrize(
    ("photometric", "shape", "turned", "contradicts"),
    [
        ("MONOCHROME2", None, False, False),
        ("MONOCHROME2", "IDENTITY", False, False),
        ("MONOCHROME2", "INVERSE", False, True),
        ("MONOCHROME1", None, True, False),
        ("MONOCHROME1", "INVERSE", True, False),  # turned over once, not twice
        ("MONOCHROME1", "IDENTITY", True, True),
        (None, "INVERSE", True, False),
        (None, "IDENTITY", False, False),
    ],
)
def test_low_values_are_white_by_photometric_interpretation_or_else_by_the_lut_shape(
    shown, told, photometric, shape, turned, contradicts
):
    tags = {"PhotometricInterpretation": photometric, "PresentationLUTShape": shape, **EXACT}
    assert shown(ROW, **tags) == [1 - value / 8 if turned else value / 8 for value in ROW]
    assert ("contradicts" in told(**tags)) == contradicts


def test_inversion_comes_after_a_voi_table_and_against_its_range(shown):
    # Against the largest value shown it would give 0.4, 0.2 and 0; before the table 0.4, 0 and 0.2.
    table = voi_luts((0, [153, 204, 255], 8))
    assert shown([0, 1, 1], **table, PhotometricInterpretation="MONOCHROME1") == [0.4, 0.2, 0.2]


def test_a_negative_slope_and_low_values_for_white_are_two_turns(shown):
    tags = {"RescaleSlope": -1, "RescaleIntercept": 8, **EXACT}
    assert shown(ROW, **tags) == [1 - value / 8 for value in ROW]
    assert shown(ROW, **tags, PhotometricInterpretation="MONOCHROME1") == [value / 8 for value in ROW]


def test_a_presentation_table_is_told_and_left_out(shown, told):
    # No film has one: it belongs to a presentation state, and of a film only its shape (PS3.3 C.8.11.3).
    tags = {"PresentationLUTSequence": Sequence([lut(0, np.arange(256)[::-1], 8)]), **EXACT}
    assert shown(ROW, **tags) == [value / 8 for value in ROW]
    assert "presentation LUT table, which is not applied" in told(**tags)


# Padding


@pytest.mark.parametrize(("photometric", "turned"), [("MONOCHROME2", False), ("MONOCHROME1", True)])
def test_padding_is_found_by_stored_values_and_becomes_black(shown, photometric, turned):
    # Rescaled, 3 becomes the 5 of the padding: only the stored 5 is padding.
    tags = {"PixelPaddingValue": 5, "RescaleSlope": 1, "RescaleIntercept": 2, **EXACT, "PhotometricInterpretation": photometric}
    values = [(value + 2) / 8 for value in (0, 3, 6)]
    assert shown([0, 3, 5, 6], **tags) == [1 - values[0] if turned else values[0], 1 - values[1] if turned else values[1], 0,
                                           1 - values[2] if turned else values[2]]  # fmt: skip


@pytest.mark.parametrize(("value", "limit"), [(-2000, -1990), (-1990, -2000)])
def test_a_range_of_padding_may_be_stated_from_either_end(shown, value, limit):
    tags = {"PixelPaddingValue": value, "PixelPaddingRangeLimit": limit, **EXACT}
    assert shown([-2001, -2000, -1995, -1990, 4, 8], np.int16, **tags) == [0, 0, 0, 0, 0.5, 1]


# Depth and sign


@pytest.mark.parametrize("bits", range(8, 17))
@pytest.mark.parametrize("signed", [False, True])
def test_every_value_of_every_depth_is_told_apart(tmp_path, bits, signed):
    low = -(2 ** (bits - 1)) if signed else 0
    values = np.arange(low, low + 2**bits)
    kind = np.dtype(f"{'i' if signed else 'u'}{1 if bits == 8 else 2}")
    tags = {"BitsStored": bits, "HighBit": bits - 1, "WindowCenter": low + 2 ** (bits - 1), "WindowWidth": 2**bits}
    film = read_film(write_dicom(tmp_path / "film.dcm", values.astype(kind).reshape(16, -1), **tags))
    np.testing.assert_allclose(film.pixels.ravel(), (values - low) / (2**bits - 1), atol=2e-7)
    assert len(np.unique(film.pixels)) == 2**bits
    assert film.facts.bits == bits


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", [10, 12, 14])
def test_values_in_the_upper_bits_are_shifted_down_where_the_high_bit_says_so(tmp_path, bits, signed):
    low = -(2 ** (bits - 1)) if signed else 0
    values = np.arange(low, low + 2**bits).reshape(16, -1)
    kind = np.int16 if signed else np.uint16
    tags = {"BitsStored": bits, "WindowCenter": low + 2 ** (bits - 1), "WindowWidth": 2**bits}
    above = write_dicom(tmp_path / "above.dcm", (values << (16 - bits)).astype(kind), HighBit=15, **tags)
    np.testing.assert_allclose(read_film(above).pixels, (values - low) / (2**bits - 1), atol=2e-7)
    assert any("shifted down" in step for step in read_film(above).facts.steps)
    # A writer that states the High Bit wrongly is found out by its values.
    below = write_dicom(tmp_path / "below.dcm", values.astype(kind), HighBit=15, **tags)
    np.testing.assert_allclose(read_film(below).pixels, (values - low) / (2**bits - 1), atol=2e-7)
    assert not any("shifted down" in step for step in read_film(below).facts.steps)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_a_16_bit_picture_keeps_its_depth(tmp_path, suffix):
    # 40,000 values one apart, which 8 bits would merge to 157.
    values = np.arange(12_000, 52_000, dtype=np.uint16).reshape(200, 200)
    Image.fromarray(values).save(tmp_path / f"film.{suffix}")
    film = read_film(tmp_path / f"film.{suffix}")
    inner = (film.pixels > 0) & (film.pixels < 1)  # the percentiles of its breast are black and white
    assert film.facts.bits == 16
    assert inner.sum() == len(np.unique(film.pixels[inner])) > 25_000
    slope, intercept = np.polyfit(values[inner].astype(float), film.pixels[inner].astype(float), 1)
    np.testing.assert_allclose(film.pixels, np.clip(values * slope + intercept, 0, 1), atol=1e-6)


# What is refused, and the whole of it at once


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.2.1", "PresentationIntentType": None}, "FOR PROCESSING: raw detector values"),
        ({"PresentationIntentType": "FOR PROCESSING"}, "FOR PROCESSING: raw detector values"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.13.1.3", "NumberOfFrames": 1}, "tomosynthesis"),
        ({"NumberOfFrames": 3}, r"multi-frame \(3 frames; tomosynthesis"),
    ],
)
def test_raw_values_and_tomosynthesis_are_refused_with_the_reason(tmp_path, tags, reason):
    with pytest.raises(FilmUnreadable, match=rf"film.dcm cannot be used: .*{reason}.* Export"):
        read_film(write_dicom(tmp_path / "film.dcm", np.zeros((12, 9), np.uint16), **tags))


def seen_by(stored: int, tags: dict[str, Any]) -> float:
    """What the standard shows for one stored value, from 0 (black) to 1."""
    if "PixelPaddingValue" in tags and tags["PixelPaddingValue"] <= stored <= tags.get("PixelPaddingRangeLimit", -math.inf):
        return 0.0
    value = float(stored)
    if "ModalityLUTSequence" in tags:
        value = float(looked_up(value, tags["ModalityLUTSequence"][0]))
    elif "RescaleSlope" in tags:
        value = tags["RescaleSlope"] * value + tags["RescaleIntercept"]
    if "VOILUTSequence" in tags:
        item = tags["VOILUTSequence"][0]
        value = looked_up(value, item) / (2 ** item.LUTDescriptor[2] - 1)
    else:
        value = windowed(value, tags["WindowCenter"], tags["WindowWidth"], tags["VOILUTFunction"])
    return 1 - value if tags["PhotometricInterpretation"] == "MONOCHROME1" else value


def looked_up(value: float, item: Dataset) -> int:
    count, first, _ = item.LUTDescriptor
    place = min(max(int(value) - first, 0), count - 1)
    return int.from_bytes(item.LUTData[2 * place : 2 * place + 2], "little")


def windowed(x: float, c: float, w: float, function: str) -> float:
    """PS3.3 C.11.2.1.2.1, C.11.2.1.3.1 and C.11.2.1.3.2, with 0 and 1 as the ends of the output."""
    if function == "SIGMOID":
        return (1 + math.tanh(2 * (x - c) / w)) / 2  # is 1 / (1 + exp(-4 (x - c) / w)), and cannot overflow
    if function == "LINEAR":
        if x <= c - 0.5 - (w - 1) / 2:
            return 0.0
        return 1.0 if x > c - 0.5 + (w - 1) / 2 else (x - (c - 0.5)) / (w - 1) + 0.5
    if x <= c - w / 2:
        return 0.0
    return 1.0 if x > c + w / 2 else (x - c) / w + 0.5


@st.composite
def films(draw: st.DrawFn) -> tuple[np.ndarray, dict[str, Any]]:
    """A small film and any legal mixture of the tags that change what is shown."""
    bits, signed = draw(st.sampled_from([8, 10, 12, 16])), draw(st.booleans())
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    kind = np.dtype(f"{'i' if signed else 'u'}{1 if bits == 8 else 2}")
    stored = np.random.default_rng(draw(st.integers(0, 999))).integers(low, high, (12, 10), endpoint=True)
    tags: dict[str, Any] = {"BitsStored": bits, "HighBit": bits - 1}
    tags["PhotometricInterpretation"] = draw(st.sampled_from(["MONOCHROME1", "MONOCHROME2"]))
    first, entries = draw(st.integers(-30, 30)), draw(st.lists(st.integers(0, 4095), min_size=2, max_size=40))
    modality = draw(st.sampled_from(["none", "rescale", "table"]))
    if modality == "rescale":
        tags |= {"RescaleSlope": draw(st.sampled_from([-3, -1, 1, 2])), "RescaleIntercept": draw(st.integers(-5000, 5000))}
    elif modality == "table":
        tags |= modality_lut(first if signed else abs(first), entries, 12)
    function = draw(st.sampled_from(["TABLE", "LINEAR", "LINEAR_EXACT", "SIGMOID"]))
    if function == "TABLE":
        tags |= voi_luts((first, [*entries, 4095], 12))
    else:
        tags |= {
            "VOILUTFunction": function,
            "WindowCenter": draw(st.integers(low, high)),
            "WindowWidth": draw(st.integers(2, 9000)),
        }
    if draw(st.booleans()):
        value = draw(st.integers(low, high))
        tags |= {"PixelPaddingValue": value, "PixelPaddingRangeLimit": min(high, value + draw(st.integers(0, 500)))}
    return stored.astype(kind), tags


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(film=films())
def test_any_mixture_of_branches_shows_what_the_standard_says_pixel_by_pixel(tmp_path, film):
    stored, tags = film
    path = write_dicom(tmp_path / "film.dcm", stored, **tags)
    expected = [[seen_by(int(value), tags) for value in row] for row in stored]
    np.testing.assert_allclose(read_film(path).pixels, expected, atol=2e-6)
