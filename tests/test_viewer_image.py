"""What the browser draws from: every value of a film at its real depth, and a map on fewer cells."""

from __future__ import annotations

import hashlib
import struct

import numpy as np
import pytest
from PIL import Image

from mammo_core.errors import DataError
from mammo_core.explain.viewer_image import HEADER, MAGIC, MAP_SIDE, ViewerImage, decode, encode_film, encode_map


def _film_of(bits: int, shape: tuple[int, int] = (320, 250)) -> np.ndarray:
    top = 2**bits - 1
    stored = np.arange(shape[0] * shape[1]).reshape(shape) % (top + 1)
    return (stored / np.float32(top)).astype(np.float32)


@pytest.mark.parametrize(("bits", "size"), [(1, 1), (8, 1), (10, 2), (12, 2), (14, 2), (16, 2)])
def test_no_value_of_a_film_is_lost_whatever_its_depth(bits, size):
    film = _film_of(bits)
    image = encode_film(film)
    values = decode(image.payload)
    assert values.dtype.itemsize == size
    assert image.top == 2 ** (8 * size) - 1
    assert len(np.unique(values)) == len(np.unique(film))
    np.testing.assert_allclose(values / image.top, film, atol=0.51 / image.top)


def test_a_single_value_between_the_255ths_makes_a_film_two_bytes_deep():
    film = _film_of(8)
    film[201, 17] = 0.5
    assert decode(encode_film(film).payload).dtype == np.uint16


def test_one_byte_films_keep_their_stored_values():
    stored = np.random.default_rng(3).integers(0, 256, (97, 61), dtype=np.uint8)
    np.testing.assert_array_equal(decode(encode_film(stored / np.float32(255)).payload), stored)


def test_values_outside_the_display_range_are_cut_off_and_what_is_no_number_is_black():
    film = np.array([[-0.5, 0.0, 1.0, 1.5, np.nan, np.inf, -np.inf]], np.float32)
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(decode(encode_film(film).payload)[0] > 0, [False, False, True, True, False, True, False])


def test_the_header_tells_shape_depth_and_content_before_any_pixel():
    film = _film_of(12, (33, 21))
    image = encode_film(film)
    magic, height, width, size, digest = HEADER.unpack_from(image.payload)
    data = image.payload[64:]
    assert (HEADER.size, magic, height, width, size) == (64, MAGIC, 33, 21, 2)
    assert len(data) == 33 * 21 * 2
    assert digest.hex() == image.sha256 == hashlib.sha256(struct.pack("<III", 33, 21, 2) + data).hexdigest()


def test_films_that_differ_in_one_pixel_or_in_shape_have_different_names():
    film = _film_of(12)
    other = film.copy()
    other[100, 100] += np.float32(0.01)
    turned = film.reshape(film.shape[::-1])
    assert len({encode_film(each).sha256 for each in (film, other, turned)}) == 3


@pytest.mark.parametrize("shape", [(4700, 2600), (1500, 3000), (700, 400), (40, 30), (1, 1)])
def test_a_map_is_reduced_to_at_most_so_many_cells_and_keeps_its_form(shape):
    image = encode_map(np.ones(shape, np.float32))
    values = decode(image.payload)
    assert max(values.shape) == min(MAP_SIDE, max(shape))
    assert values.shape[0] / values.shape[1] == pytest.approx(shape[0] / shape[1], rel=0.01)
    assert (values == 255).all()


def test_a_map_enlarged_again_is_the_map_that_was_given():
    cells = np.random.default_rng(5).random((16, 9)).astype(np.float32)
    whole = np.asarray(Image.fromarray(cells).resize((1733, 3133), Image.Resampling.BILINEAR))
    reduced = decode(encode_map(whole).payload) / np.float32(255)
    again = np.asarray(Image.fromarray(reduced).resize((1733, 3133), Image.Resampling.BILINEAR))
    assert np.abs(again - whole).max() < 0.02


@pytest.mark.parametrize("shape", [(3,), (0, 4), (4, 4, 3)])
def test_what_has_not_two_axes_is_refused_in_words(shape):
    with pytest.raises(DataError, match="expected rows and columns"):
        encode_film(np.zeros(shape, np.float32))


@pytest.mark.parametrize("payload", [b"", b"PNG", b"x" * 100])
def test_other_bytes_are_not_taken_for_a_picture(payload):
    with pytest.raises(DataError, match="no valid header"):
        decode(payload)


def test_a_picture_can_be_held_weakly():
    import weakref

    image = encode_film(_film_of(8))
    assert weakref.ref(image)() is image and isinstance(image, ViewerImage)
