"""Lesion outlines in the ways that data sets write them: the same lesion each time."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from make_films import write_dicom
from mammo_core.data.masks import LesionMask, read_mask
from mammo_core.data.sandbox import DecodePool, Job
from mammo_core.errors import FilmUnreadable

LESION = np.zeros((40, 30), np.bool_)
LESION[10:16, 8:13] = True


def with_palette(colours, indices=LESION):
    picture = Image.fromarray(indices.astype(np.uint8))
    picture.putpalette([value for colour in colours for value in colour])
    return picture


def coloured(background, lesion):
    values = np.empty((*LESION.shape, len(background)), np.uint8)
    values[:], values[LESION] = background, lesion
    return Image.fromarray(values)


PICTURES = {
    "one bit": lambda: Image.fromarray(LESION),
    "0 and 1": lambda: Image.fromarray(LESION.astype(np.uint8)),
    "0 and 255": lambda: Image.fromarray(LESION.astype(np.uint8) * 255),
    "16 bits": lambda: Image.fromarray(LESION.astype(np.uint16) * 65535),
    "16 bits, faint": lambda: Image.fromarray(LESION.astype(np.uint16)),
    "palette": lambda: with_palette([(0, 0, 0), (255, 255, 255)]),
    "palette, turned over": lambda: with_palette([(255, 255, 255), (0, 0, 0)], ~LESION),
    "palette of labels without black": lambda: with_palette([(68, 1, 84), (253, 231, 37)]),
    "palette without colours": lambda: with_palette([(0, 0, 0), (0, 0, 0)]),
    "colour": lambda: coloured((0, 0, 0), (255, 0, 0)),
    "drawn on glass": lambda: coloured((255, 255, 255, 0), (255, 255, 255, 255)),
}


@pytest.mark.parametrize("name", PICTURES)
def test_every_way_to_write_an_outline_gives_the_same_lesion(tmp_path, name):
    PICTURES[name]().save(tmp_path / "mask.png")
    found = read_mask(tmp_path / "mask.png").pixels
    assert found.dtype == np.bool_
    np.testing.assert_array_equal(found, LESION)


def test_a_one_bit_and_an_indexed_png_are_stored_as_such(tmp_path):
    for name, mode in (("one bit", "1"), ("palette", "P"), ("16 bits", "I;16")):
        PICTURES[name]().save(tmp_path / "mask.png")
        with Image.open(tmp_path / "mask.png") as stored:
            assert stored.mode == mode


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_indexed_png_of_few_bits_are_read(tmp_path, bits):
    with_palette([(0, 0, 0), (255, 255, 255)]).save(tmp_path / "mask.png", bits=bits)
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png").pixels, LESION)


@pytest.mark.parametrize("values", [LESION.astype(np.uint8), LESION.astype(np.uint16) * 4095, LESION.astype(np.float32)])
def test_tiff_outlines_are_read(tmp_path, values):
    Image.fromarray(values).save(tmp_path / "mask.tif")
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.tif").pixels, LESION)


def test_a_graymap_is_read_by_its_values(tmp_path):
    (tmp_path / "mask.pgm").write_bytes(b"P5 30 40 1\n" + LESION.astype(np.uint8).tobytes())
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.pgm").pixels, LESION)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_dicom_outlines_are_read_by_their_stored_values(tmp_path, photometric):
    write_dicom(tmp_path / "mask.dcm", LESION.astype(np.uint16), PhotometricInterpretation=photometric)
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.dcm").pixels, LESION)


def test_faint_values_of_a_lossy_outline_are_background(tmp_path):
    large = np.kron(LESION, np.ones((7, 7))).astype(np.uint8) * 255
    Image.fromarray(large).save(tmp_path / "mask.jpg", quality=60)
    with Image.open(tmp_path / "mask.jpg") as stored:
        assert ((np.asarray(stored) > 0) != (large > 0)).sum() > 100
    found = read_mask(tmp_path / "mask.jpg").pixels
    assert (found != (large > 0)).sum() <= 5


def test_nothing_is_turned_over_and_an_empty_outline_is_empty(tmp_path):
    Image.fromarray((~LESION).astype(np.uint8) * 255).save(tmp_path / "bright.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "bright.png").pixels, ~LESION)
    for empty in (Image.new("1", (30, 40)), Image.new("L", (30, 40)), Image.new("P", (30, 40))):
        empty.save(tmp_path / "empty.png")
        assert not read_mask(tmp_path / "empty.png").pixels.any()


def test_what_is_no_outline_is_refused_in_words(tmp_path):
    (tmp_path / "text.png").write_bytes(b"no picture")
    with pytest.raises(FilmUnreadable, match=r"text.png cannot be used as a lesion outline: it is of an unknown kind"):
        read_mask(tmp_path / "text.png")
    (tmp_path / "empty.png").write_bytes(b"")
    with pytest.raises(FilmUnreadable, match="it is empty; expected an outline as PNG"):
        read_mask(tmp_path / "empty.png")
    with pytest.raises(FilmUnreadable, match="gone.png cannot be opened"):
        read_mask(tmp_path / "gone.png")
    with pytest.raises(FilmUnreadable, match="no ordinary file"):
        read_mask(tmp_path)
    frames = [Image.fromarray(LESION.astype(np.uint8)) for _ in range(2)]
    frames[0].save(tmp_path / "two.tif", save_all=True, append_images=frames[1:])
    with pytest.raises(FilmUnreadable, match="it holds 2 pictures"):
        read_mask(tmp_path / "two.tif")
    whole = tmp_path / "whole.png"
    Image.fromarray(LESION.astype(np.uint8)).save(whole)
    (tmp_path / "cut.png").write_bytes(whole.read_bytes()[:60])
    with pytest.raises(FilmUnreadable, match="damaged"):
        read_mask(tmp_path / "cut.png")


def test_an_outline_that_states_too_many_pixels_is_refused_before_it_is_decoded(tmp_path):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 12_000, 12_000, 1, 0, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")
    (tmp_path / "bomb.png").write_bytes(bomb)
    with pytest.raises(FilmUnreadable, match="12000 x 12000 pixels; expected at most 100 million"):
        read_mask(tmp_path / "bomb.png")


def test_outlines_are_read_in_a_child_process_as_they_are_here(tmp_path):
    PICTURES["one bit"]().save(tmp_path / "mask.png")
    (tmp_path / "text.png").write_bytes(b"no picture")
    with DecodePool(1) as pool:
        read = dict(
            (job.tag, result) for job, result in pool.map(Job("mask", tmp_path / f"{n}.png", tag=n) for n in ("mask", "text"))
        )
    assert isinstance(read["mask"], LesionMask)
    np.testing.assert_array_equal(read["mask"].pixels, LESION)
    assert str(read["text"]).startswith("text.png cannot be used as a lesion outline")
