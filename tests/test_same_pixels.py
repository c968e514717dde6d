"""Ways that are quicker than the plain one give the very same values, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from mammo_core.data.breast import REDUCED_SIDE, reduced
from mammo_core.data.display import _look_up

RNG = np.random.default_rng(3)


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.uint16, np.int16, np.int32])
@pytest.mark.parametrize(
    "ends", [(0, 1), (0, 100), (7, 7), (60, 120), (-120, -60), (-90, 100), (5_000, 60_000), (-30_000, -29_990)]
)
def test_a_looked_up_film_equals_plain_indexing(kind, ends):
    low, high = ends
    if low < np.iinfo(kind).min or high > np.iinfo(kind).max:
        pytest.skip("this type holds no such values")
    for shape in ((1, 1), (3, 70_000), (700, 130)):
        stored = RNG.integers(low, high, shape, dtype=kind, endpoint=True)
        smallest = int(stored.min())
        table = RNG.random(int(stored.max()) - smallest + 1, dtype=np.float32)
        np.testing.assert_array_equal(_look_up(stored, table), table[stored.astype(np.int64) - smallest])
        np.testing.assert_array_equal(_look_up(stored[:, ::-1], table), table[stored[:, ::-1].astype(np.int64) - smallest])


@pytest.mark.parametrize("shape", [(256, 256), (257, 3), (4700, 2600), (2600, 4701), (1000, 40), (513, 9000), (300, 1)])
def test_a_film_reduced_in_strips_equals_one_reduced_at_once(shape):
    pixels = RNG.random(shape, dtype=np.float32)
    small, factor = reduced(pixels)
    assert max(small.shape) <= REDUCED_SIDE
    np.testing.assert_array_equal(small, np.asarray(Image.fromarray(pixels).reduce(factor)) if factor > 1 else pixels)
