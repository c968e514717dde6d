import io

import imagehash
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage

from make_films import drawn_film
from mammo_core.data.decode_worker import thumbnail
from mammo_core.data.duplicates import (
    MAX_DISTANCE,
    ROUGH_SIDE,
    SAME_CORRELATION,
    candidate_pairs,
    correlation,
    fine_copy,
    look_at,
    rough_correlations,
    side_by_side,
)


def distance(one, other):
    return (one ^ other).bit_count()


def shown(pixels):
    return thumbnail(np.ascontiguousarray(pixels, dtype=np.float32))


def film(seed=7, **drawing):
    """Coarse structure as in dense tissue, not only the fine grain of ``drawn_film``."""
    base = drawn_film((640, 512), seed=seed, **drawing)
    rng = np.random.default_rng(seed)
    tissue = ndimage.gaussian_filter(rng.normal(size=base.shape), 40)
    tissue /= np.abs(tissue).max()
    return np.where((base > 0.05) & (base < 0.94), np.clip(base + 0.3 * tissue, 0.1, 0.9), base).astype(np.float32)


# ---- candidates -----------------------------------------------------------------------------------------------------------


def naive(hashes, limit):
    n = len(hashes)
    pairs = ((i, j) for i in range(n) for j in range(i + 1, n))
    return {(i, j): distance(hashes[i], hashes[j]) for i, j in pairs if distance(hashes[i], hashes[j]) <= limit}


@given(
    st.lists(st.integers(0, 2**64 - 1), max_size=25),
    st.lists(st.tuples(st.integers(0, 24), st.sets(st.integers(0, 63), max_size=8)), max_size=15),
    st.integers(0, 7),
)
@settings(max_examples=80, deadline=None)
def test_candidates_are_exactly_the_pairs_that_differ_in_few_bits(bases, changes, limit):
    hashes = list(bases)
    for index, bits in changes:
        if bases:
            hashes.append(bases[index % len(bases)] ^ sum(1 << bit for bit in bits))
    pairs, distances = candidate_pairs(np.array(hashes, dtype=np.uint64), limit)
    found = {(int(i), int(j)): int(d) for (i, j), d in zip(pairs, distances, strict=True)}
    assert found == naive(hashes, limit)


def test_a_thousand_equal_hashes_are_all_pairs_and_few_hashes_are_none():
    pairs, distances = candidate_pairs(np.full(1000, 5, dtype=np.uint64))
    assert len(pairs) == 1000 * 999 // 2
    assert not distances.any()
    for few in ([], [3]):
        assert len(candidate_pairs(np.array(few, dtype=np.uint64))[0]) == 0


def test_many_hashes_give_the_planted_pairs():
    rng = np.random.default_rng(3)
    hashes = rng.integers(0, 2**63, 20000).astype(np.uint64)
    planted = {(i, 10000 + i) for i in range(0, 9000, 900)}
    for i, j in planted:
        hashes[j] = hashes[i] ^ np.uint64(0b111 << (i % 50))
    pairs, _ = candidate_pairs(hashes)
    assert {tuple(pair) for pair in pairs.tolist()} == planted


# ---- looking ----------------------------------------------------------------------------------------------------------------


def test_the_hash_is_that_of_imagehash_on_the_cropped_breast():
    picture = shown(film())
    rough = look_at(picture)
    assert 0 <= rough.hash < 2**64
    assert rough.rough.shape == (ROUGH_SIDE, ROUGH_SIDE)
    assert rough.breast.problem is None
    # The margin beside the breast is cut away, so a wider film gives the same hash.
    wider = np.concatenate([film(), np.full((640, 90), 0.01, np.float32)], axis=1)
    assert distance(look_at(shown(wider)).hash, rough.hash) <= MAX_DISTANCE
    assert imagehash.phash(Image.fromarray(picture)).hash.size == 64


def jpeg(pixels):
    buffer = io.BytesIO()
    Image.fromarray(np.rint(pixels * 255).astype(np.uint8)).save(buffer, "JPEG", quality=60)
    return np.asarray(Image.open(buffer), dtype=np.float32) / 255


COPIES = {
    "compressed": jpeg,
    "half the size": lambda film: np.asarray(Image.fromarray(film).resize((256, 320), Image.Resampling.BICUBIC)).clip(0, 1),
    "mirrored": lambda film: film[:, ::-1],
    "another gamma": lambda film: film**0.8,
    "another window": lambda film: np.clip((film - 0.05) / 0.9, 0, 1),
    "noisy": lambda film: np.clip(film + np.random.default_rng(0).normal(0, 0.01, film.shape), 0, 1),
    "moved": lambda film: np.roll(film, 9, axis=0),
}


@pytest.mark.parametrize("change", COPIES.values(), ids=COPIES.keys())
def test_a_copy_is_found_and_confirmed(change):
    for seed in (1, 2, 3):
        original = film(seed)
        one, other = shown(original), shown(change(original))
        assert distance(look_at(one).hash, look_at(other).hash) <= MAX_DISTANCE
        assert correlation(fine_copy(one), fine_copy(other)) >= SAME_CORRELATION


def test_films_of_the_same_shape_are_not_the_same_picture():
    copies = [fine_copy(shown(film(seed))) for seed in range(8)]
    values = [correlation(one, other) for number, one in enumerate(copies) for other in copies[:number]]
    assert max(values) < 0.9


def test_correlation_is_symmetric_and_one_with_itself_and_zero_where_nothing_is():
    one, other = fine_copy(shown(film(1))), fine_copy(shown(film(2)))
    assert correlation(one, one) == pytest.approx(1)
    assert correlation(one, other) == pytest.approx(correlation(other, one))
    assert correlation(one, np.zeros_like(one)) == 0
    assert correlation(np.full_like(one, 0.5), one) == 0


def test_the_correlation_is_the_best_over_shifts_worked_out_one_by_one():
    rng = np.random.default_rng(4)
    smooth = [np.asarray(Image.fromarray(rng.random((20, 20)).astype(np.float32)).resize((128, 128))) for _ in range(6)]
    films = [
        np.where(np.hypot(*np.mgrid[-64:64, :128]) < 80 + 6 * number, film.clip(0.01, 1), 0) for number, film in enumerate(smooth)
    ]
    films.append(np.roll(films[0], (2, -1), axis=(0, 1)))
    for one in films:
        for other in films:
            assert correlation(one, other) == pytest.approx(_shift_by_shift(one, other), abs=1e-6)


def _shift_by_shift(one: np.ndarray, other: np.ndarray) -> float:
    found = []
    for down in range(-2, 3):
        for right in range(-2, 3):
            a = one[max(0, down) : 128 + min(0, down), max(0, right) : 128 + min(0, right)]
            b = other[max(0, -down) : 128 + min(0, -down), max(0, -right) : 128 + min(0, -right)]
            both = (a > 0) & (b > 0)
            if both.mean() >= 0.05 and both.sum() >= 0.6 * max((a > 0).sum(), (b > 0).sum()):
                found.append(float(np.corrcoef(a[both], b[both])[0, 1]))
    return max(found, default=0.0)


def test_rough_correlations_agree_with_numpy():
    rough = np.random.default_rng(0).integers(0, 255, (6, ROUGH_SIDE, ROUGH_SIDE)).astype(np.uint8)
    rough[5] = 9
    pairs = np.array([(0, 1), (2, 3), (4, 4), (0, 5)])
    found = rough_correlations(rough, pairs)
    expected = [np.corrcoef(rough[a].ravel(), rough[b].ravel())[0, 1] for a, b in pairs[:3]]
    assert found[:3] == pytest.approx(expected, abs=1e-5)
    assert found[3] == 0


def test_a_blank_film_does_not_stop_the_search():
    look = look_at(np.full((200, 150), 40, np.uint8))
    assert look.breast.problem is not None
    assert pd.isna(look.hash) is False


def test_pairs_of_films_that_hang_together_follow_each_other():
    pairs = np.array([(0, 5), (1, 4), (2, 3), (4, 6), (5, 7)])
    chosen = np.array([0, 1, 3, 4])
    found = side_by_side(pairs, chosen, 8)
    assert sorted(found.tolist()) == chosen.tolist()
    assert found.tolist() in ([0, 4, 1, 3], [1, 3, 0, 4])
    assert len(side_by_side(pairs, np.zeros(0, dtype=np.int64), 8)) == 0


def test_a_small_overlap_of_two_breasts_is_no_correlation():
    one = fine_copy(shown(film(1)))
    part = np.zeros_like(one)
    part[:40, :40] = one[:40, :40]
    assert correlation(one, part) == 0
