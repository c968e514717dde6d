"""Films as PNG, JPEG, TIFF and PGM: depth, polarity, colour, budgets, and content against suffix."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from make_films import drawn_film, write_dicom
from mammo_core.data.foreign_file import kind_of
from mammo_core.data.reader import read_film
from mammo_core.errors import FilmUnreadable

FILM = drawn_film()
FILM_8 = (FILM * 255).round().astype(np.uint8)
FILM_12 = (FILM * 4095).round().astype(np.uint16)


def refusal(path: Path) -> str:
    with pytest.raises(FilmUnreadable) as caught:
        read_film(path)
    return str(caught.value)


def save(path: Path, pixels: np.ndarray, **options: object) -> Path:
    Image.fromarray(pixels).save(path, **options)
    return path


@pytest.mark.parametrize(("suffix", "kind"), [("png", "PNG"), ("tif", "TIFF"), ("pgm", "PGM")])
def test_an_8_bit_film_is_shown_as_stored(tmp_path, suffix, kind):
    film = read_film(save(tmp_path / f"film.{suffix}", FILM_8))
    np.testing.assert_allclose(film.pixels, FILM_8 / 255, atol=1e-6)
    assert film.pixels.dtype == np.float32
    assert (film.facts.kind, film.facts.bits, film.facts.window, film.facts.inverted) == (kind, 8, "as stored", False)
    assert film.facts.warnings == ()


def test_a_jpeg_film_is_near_to_what_was_saved(tmp_path):
    film = read_film(save(tmp_path / "film.jpg", FILM_8, quality=95))
    assert film.facts.kind == "JPEG"
    assert np.abs(film.pixels - FILM_8 / 255).mean() < 0.01


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_a_deep_film_keeps_its_depth_and_is_stretched_to_its_breast(tmp_path, suffix):
    film = read_film(save(tmp_path / f"film.{suffix}", FILM_12))
    assert len(np.unique(film.pixels)) > 1000  # 8 bits would leave 256
    assert (film.facts.bits, film.facts.window) == (16, "0.5-99.5 percentile")
    inner = (film.pixels > 0) & (film.pixels < 1)
    assert np.corrcoef(film.pixels[inner], FILM_12[inner])[0, 1] > 0.999999
    assert film.pixels[FILM > 0.3].mean() > 0.4  # 12 bits in 16 would else be all but black


def test_the_same_film_as_png_tiff_and_dicom_shows_the_same(tmp_path):
    paths = [save(tmp_path / "film.png", FILM_12), save(tmp_path / "film.tif", FILM_12), write_dicom(tmp_path / "f.dcm", FILM_12)]
    first, *others = (read_film(path).pixels for path in paths)
    for other in others:
        np.testing.assert_allclose(other, first, atol=1e-5)


# PGM


def test_comments_in_a_graymap_header_are_skipped(tmp_path):
    header = b"P5\n# CREATOR: GIMP PNM Filter Version 1.1\n256 # width\n#another\r\n320\n255\n"
    (tmp_path / "mdb001.pgm").write_bytes(header + FILM_8.tobytes())
    np.testing.assert_allclose(read_film(tmp_path / "mdb001.pgm").pixels, FILM_8 / 255, atol=1e-6)


@pytest.mark.parametrize(("magic", "largest"), [("P2", 255), ("P2", 4095), ("P5", 200), ("P5", 4095), ("P5", 65535)])
def test_graymaps_of_any_depth_equal_those_of_pillow(tmp_path, magic, largest):
    values = (FILM * largest).round().astype(np.uint16)
    body = (
        values.astype(">u2" if largest > 255 else np.uint8).tobytes()
        if magic == "P5"
        else " ".join(map(str, values.ravel())).encode()
    )
    path = tmp_path / "film.pgm"
    path.write_bytes(f"{magic}\n256 320\n{largest}\n".encode() + body)
    film = read_film(path)
    with Image.open(path) as image:
        pillow = np.asarray(image).astype(float)
    if largest <= 255:
        np.testing.assert_allclose(film.pixels, pillow / 255, atol=0.5 / 255)
    else:
        inner = (film.pixels > 0) & (film.pixels < 1)
        slope, intercept = np.polyfit(pillow[inner], film.pixels[inner], 1)
        np.testing.assert_allclose(film.pixels, np.clip(pillow * slope + intercept, 0, 1), atol=1e-4)
    assert film.facts.bits == largest.bit_length()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"P5\n256 320\n255\n" + bytes(100), "cut short: 100 of 81920"),
        (b"P2\n2 2\n255\n1 2 3", "cut short: 3 of 4"),
        (b"P2\n2 2\n255\n1 2 x 4", "not whole numbers|cut short"),
        (b"P5\n999999 999999\n255\n", "999999 x 999999 pixels"),
        (b"P5\n2 2\n0\n1234", "up to 0"),
        (b"P5\n2\n", "header is damaged"),
    ],
)
def test_damaged_graymaps_are_refused_with_a_sentence(tmp_path, content, reason):
    (tmp_path / "film.pgm").write_bytes(content)
    with pytest.raises(FilmUnreadable, match=f"film.pgm cannot be used: .*({reason})"):
        read_film(tmp_path / "film.pgm")


# Colour


def test_grey_stored_as_colour_loses_nothing(tmp_path):
    film = read_film(save(tmp_path / "film.png", np.repeat(FILM_8[:, :, None], 3, axis=2)))
    np.testing.assert_allclose(film.pixels, FILM_8 / 255, atol=1e-6)
    assert film.facts.warnings == ()


def test_colour_becomes_luminance_and_is_told(tmp_path):
    colour = np.stack([FILM_8, FILM_8 // 2, FILM_8 // 3], axis=2)
    film = read_film(save(tmp_path / "film.png", colour))
    luminance = colour @ np.array([299, 587, 114]) / 1000 / 255
    np.testing.assert_allclose(film.pixels, luminance, atol=1.01 / 255)
    assert "luminance" in film.facts.warnings[0]


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_transparency_is_dropped(tmp_path, mode):
    image = Image.fromarray(FILM_8).convert(mode)
    image.putalpha(Image.fromarray(255 - FILM_8))
    image.save(tmp_path / "film.png")
    film = read_film(tmp_path / "film.png")
    np.testing.assert_allclose(film.pixels, FILM_8 / 255, atol=1e-6)
    assert "Transparency was dropped." in film.facts.steps


def test_a_grey_palette_is_read(tmp_path):
    Image.fromarray(FILM_8).convert("P").save(tmp_path / "film.png")
    np.testing.assert_allclose(read_film(tmp_path / "film.png").pixels, FILM_8 / 255, atol=1e-6)


# Polarity and orientation


def test_a_film_with_a_bright_background_is_turned_over_with_a_warning(tmp_path):
    film = read_film(save(tmp_path / "film.png", 255 - FILM_8))
    np.testing.assert_allclose(film.pixels, FILM_8 / 255, atol=1e-6)
    assert film.facts.inverted
    assert "background was bright" in film.facts.warnings[0]


def test_dense_tissue_that_fills_most_of_a_film_is_not_turned_over(tmp_path):
    rows, columns = np.mgrid[:200, :150]
    dense = np.where(((rows - 100) / 110) ** 2 + (columns / 145) ** 2 < 1, 230, 5).astype(np.uint8)
    assert (dense > 128).mean() > 0.75
    assert not read_film(save(tmp_path / "film.png", dense)).facts.inverted
    assert read_film(save(tmp_path / "film.png", 255 - FILM_8)).facts.inverted


@pytest.mark.parametrize("bits", [8, 16])
def test_a_tiff_that_says_white_is_zero_is_turned_over_by_that_alone(tmp_path, bits):
    values = (1 - FILM) * (2**bits - 1)
    path = tmp_path / "film.tif"
    write_tiff(path, values.round().astype(f"<u{bits // 8}"), photometric=0)
    film = read_film(path)
    inner = (film.pixels > 0) & (film.pixels < 1)
    assert np.corrcoef(film.pixels[inner], FILM[inner])[0, 1] > 0.999
    assert film.facts.photometric == "WhiteIsZero"
    assert film.facts.warnings == ()


def write_tiff(path: Path, values: np.ndarray, photometric: int) -> None:
    """One strip, no compression: Pillow cannot write this photometric interpretation itself."""
    height, width = values.shape
    entries = [
        (256, 4, width), (257, 4, height), (258, 3, values.itemsize * 8), (259, 3, 1), (262, 3, photometric),
        (273, 4, 8 + 2 + 12 * 9 + 4), (277, 3, 1), (278, 4, height), (279, 4, values.nbytes),
    ]  # fmt: skip
    directory = struct.pack("<H", len(entries)) + b"".join(
        struct.pack("<HHLL", tag, kind, 1, value) for tag, kind, value in entries
    )
    path.write_bytes(b"II*\0" + struct.pack("<L", 8) + directory + b"\0\0\0\0" + values.tobytes())


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_an_orientation_mark_is_followed_and_told(tmp_path, suffix):
    exif = Image.Exif()
    exif[274] = 6  # to be turned by 90 degrees clockwise
    film = read_film(save(tmp_path / f"film.{suffix}", FILM_8, exif=exif, quality=95))
    assert film.pixels.shape == (256, 320)
    assert np.abs(film.pixels - np.rot90(FILM_8, -1) / 255).mean() < 0.01
    assert (film.facts.height, film.facts.width) == (256, 320)
    assert any("orientation mark" in step for step in film.facts.steps)


# What is refused


def test_the_content_counts_and_not_the_suffix(tmp_path):
    assert read_film(save(tmp_path / "film.dcm", FILM_8, format="PNG")).facts.kind == "PNG"
    write_dicom(tmp_path / "film.png", FILM_12)
    assert read_film(tmp_path / "film.png").facts.kind == "DICOM"


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "empty"),
        (b"this is a letter to the clinic" * 20, "of an unknown kind"),
        (b"%PDF-1.7 rest", "a PDF document"),
        (b"PK\x03\x04rest", "a ZIP archive"),
        (b"GIF89a rest", "a GIF picture"),
        (b"<!doctype html>", "a text in HTML or XML"),
        (bytes(range(256)) * 8, "of an unknown kind"),
    ],
)
def test_a_stranger_renamed_to_dcm_is_named_for_what_it_is(tmp_path, content, what):
    (tmp_path / "film.dcm").write_bytes(content)
    assert (
        refusal(tmp_path / "film.dcm")
        == f"film.dcm cannot be used: it is {what}; expected a film as DICOM, PNG, JPEG, TIFF or PGM."
    )


def test_a_missing_file_and_a_folder_are_told_without_their_path(tmp_path):
    assert refusal(tmp_path / "gone.png").startswith("gone.png cannot be opened (No such file")
    assert "folder or no ordinary file" in refusal(tmp_path)
    assert str(tmp_path) not in refusal(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "film.dcm")
    assert "no ordinary file" in refusal(tmp_path / "film.dcm")


def png_header(width: int, height: int, depth: int, colour: int) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">L", len(data)) + name + data + struct.pack(">L", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">LLBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("size", "colour", "reason"),
    [
        ((9000, 8000), 2, "8000 x 9000 pixels; expected at most 64 million"),
        ((11000, 10000), 0, "10000 x 11000 pixels; expected at most 100 million"),
        ((20000, 20000), 0, "damaged or of an unusual kind"),
    ],
)
def test_a_header_beyond_the_budget_is_refused_before_decoding(tmp_path, size, colour, reason):
    (tmp_path / "film.png").write_bytes(png_header(*size, 8, colour))
    assert reason in refusal(tmp_path / "film.png")


def test_a_truncated_picture_is_refused(tmp_path):
    for suffix in ("png", "jpg", "tif"):
        path = save(tmp_path / f"film.{suffix}", FILM_8)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        assert "damaged" in refusal(path)


def test_a_mask_and_a_file_of_several_pictures_are_refused(tmp_path):
    Image.fromarray(FILM_8 > 100).save(tmp_path / "mask.png")
    assert "one bit a pixel" in refusal(tmp_path / "mask.png")
    pages = [Image.fromarray(FILM_8)] * 3
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    assert "holds 3 pictures" in refusal(tmp_path / "pages.tif")


def test_numbers_that_are_not_finite_are_refused(tmp_path):
    values = FILM.copy()
    values[3, 3] = np.nan
    assert "not finite" in refusal(save(tmp_path / "film.tif", values))


def test_a_blank_film_is_read_and_told(tmp_path):
    assert any(
        "same value" in warning for warning in read_film(save(tmp_path / "f.png", np.zeros((40, 30), np.uint8))).facts.warnings
    )


def test_kinds_are_told_by_the_first_bytes():
    assert kind_of(b"\xff\xd8\xff\xe0") == "JPEG"
    assert kind_of(b"MM\x00*") == kind_of(b"II+\x00") == "TIFF"
    assert kind_of(b"P6\n") is None
    assert kind_of(bytes(128) + b"DICM") == "DICOM"
    assert kind_of(b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100") == "DICOM"
