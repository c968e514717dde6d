"""Phantom films: what their docstrings promise, checked on small films (200 pixels high) where size does not matter."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.spatial import ConvexHull
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mammo_core.data.phantom import SHARES, PhantomFilm, make_patient, write_phantoms
from mammo_core.data.phantom.markers import text_bitmap
from mammo_core.data.phantom.patient import draw_patient
from mammo_core.data.phantom.texture import enlarge, power_law_field
from mammo_core.errors import ConfigError, DataError

SMALL = 200
COLUMNS = ["file", "patient_id", "exam_id", "laterality", "view", "center", "vendor", "density", "lesion", "mask"]


@pytest.fixture(scope="module")
def patients() -> list[list[PhantomFilm]]:
    return [make_patient(5, index, SMALL) for index in range(60)]


@pytest.fixture(scope="module")
def films(patients: list[list[PhantomFilm]]) -> list[PhantomFilm]:
    return [film for patient in patients for film in patient]


def test_patient_has_both_views_of_both_breasts(patients: list[list[PhantomFilm]]) -> None:
    for patient in patients:
        assert [(film.laterality, film.view) for film in patient] == [("L", "CC"), ("L", "MLO"), ("R", "CC"), ("R", "MLO")]
        assert len({(film.patient_id, film.exam_id, film.center, film.vendor, film.density) for film in patient}) == 1
    assert len({patient[0].patient_id for patient in patients}) == len(patients)


def test_film_is_16_bit_with_masks_of_its_shape(films: list[PhantomFilm]) -> None:
    for film in films:
        assert film.pixels.dtype == np.uint16
        assert film.pixels.shape == film.breast_mask.shape == film.lesion_mask.shape == (SMALL, SMALL * 4 // 5)
        assert film.breast_mask.dtype == film.lesion_mask.dtype == np.bool_
        assert np.unique(film.pixels).size > 1000


def test_patient_depends_on_seed_and_index_alone() -> None:
    again = make_patient(5, 7, SMALL)
    for other, is_same in (
        (make_patient(5, 7, SMALL), True),
        (make_patient(6, 7, SMALL), False),
        (make_patient(5, 8, SMALL), False),
    ):
        assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(again, other, strict=True)) is is_same


def test_films_of_one_patient_are_different_projections(patients: list[list[PhantomFilm]]) -> None:
    left, right = patients[0][0].pixels, patients[0][2].pixels
    assert not np.array_equal(left, right[:, ::-1])


@pytest.mark.parametrize("exponent", [2.0, 3.0, 3.6])
def test_power_spectrum_falls_with_the_exponent_asked_for(exponent: float) -> None:
    field = power_law_field(np.random.default_rng(0), (256, 192), exponent)
    assert abs(_spectral_slope(field) - exponent) < 0.15
    assert field.mean() == pytest.approx(0, abs=1e-5)
    assert field.std() == pytest.approx(1, abs=1e-4)


def test_power_spectrum_inside_the_breast_falls_about_as_in_a_mammogram() -> None:
    slopes = []
    for film in (make_patient(5, index)[0] for index in range(3)):
        column = int(0.45 * film.breast_mask.any(axis=0).sum())
        row = int(np.flatnonzero(film.breast_mask[:, column]).mean())
        window = film.pixels[row - 48 : row + 48, column - 48 : column + 48].astype(np.float64)
        taper = np.outer(np.hanning(96), np.hanning(96))
        slopes.append(_spectral_slope((window - window.mean()) * taper, highest=0.16))
    assert 2.5 < np.mean(slopes) < 4.0


def _spectral_slope(field: np.ndarray, highest: float = 0.4) -> float:
    """Exponent of the radially averaged power spectrum, straight from the full FFT."""
    power = np.abs(np.fft.fft2(field)) ** 2
    frequency = np.hypot(np.fft.fftfreq(field.shape[0])[:, None], np.fft.fftfreq(field.shape[1])[None, :])
    edges = np.geomspace(0.025, highest, 12)
    averages = [power[(frequency >= low) & (frequency < high)].mean() for low, high in zip(edges[:-1], edges[1:], strict=True)]
    return float(-np.polyfit(np.log(np.sqrt(edges[:-1] * edges[1:])), np.log(averages), 1)[0])


def test_enlarging_keeps_a_ramp_a_ramp() -> None:
    ramp = np.tile(np.arange(8, dtype=np.float32), (4, 1))
    large = enlarge(ramp)
    assert large.shape == (8, 16)
    assert np.allclose(np.diff(large[:, 1:-1], axis=1), 0.5)


def test_density_is_the_glandular_share(films: list[PhantomFilm]) -> None:
    assert all(high < low for (_, high), (low, _) in zip(list(SHARES.values())[:-1], list(SHARES.values())[1:], strict=True))
    for film in films:
        low, high = SHARES[film.density]
        assert low - 0.01 <= film.glandular_share <= high + 0.01


def test_all_views_of_a_patient_have_about_the_same_share(patients: list[list[PhantomFilm]]) -> None:
    for patient in patients:
        shares = np.array([film.glandular_share for film in patient])
        assert np.ptp(shares) < 0.25 * shares.mean() + 0.01


def test_grey_levels_alone_tell_little_about_density(films: list[PhantomFilm]) -> None:
    labels = np.array([film.density for film in films])
    groups = np.array([film.patient_id for film in films])
    for features in (_grey_levels(films, scaled=True), _grey_levels(films, scaled=False)):
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        folds = StratifiedGroupKFold(4, shuffle=True, random_state=0)
        probabilities = cross_val_predict(model, features, labels, groups=groups, cv=folds, method="predict_proba")
        assert roc_auc_score(labels, probabilities, multi_class="ovr") < 0.80


def _grey_levels(films: list[PhantomFilm], scaled: bool) -> np.ndarray:
    """Mean, SD, 10th and 90th percentile of the breast's pixels, (n, 4)."""
    rows = []
    for film in films:
        inside = film.pixels[film.breast_mask].astype(np.float64)
        low, high = np.percentile(inside, (0.5, 99.5)) if scaled else (0.0, 65535.0)
        inside = np.clip((inside - low) / (high - low), 0, 1)
        rows.append([inside.mean(), inside.std(), *np.percentile(inside, (10, 90))])
    return np.array(rows)


def test_shares_of_the_classes_are_exact_in_every_block_of_twenty() -> None:
    for start in (0, 20, 400):
        block = [draw_patient(3, index) for index in range(start, start + 20)]
        assert Counter(patient.density for patient in block) == {"A": 4, "B": 6, "C": 6, "D": 4}
        assert Counter(patient.lesion_class for patient in block) == {"Normal": 9, "Benign": 6, "Malignant": 5}
        assert Counter(patient.center.name for patient in block) == {"1": 10, "2": 6, "3": 4}


@pytest.mark.parametrize("pair", [("center", "density"), ("center", "lesion"), ("density", "lesion")])
def test_centre_density_and_lesion_are_independent(pair: tuple[str, str]) -> None:
    patients = [draw_patient(9, index) for index in range(2000)]
    table = pd.DataFrame(
        {
            "center": [patient.center.name for patient in patients],
            "density": [patient.density for patient in patients],
            "lesion": [patient.lesion_class for patient in patients],
        }
    )
    observed = pd.crosstab(table[pair[0]], table[pair[1]]).to_numpy()
    expected = observed.sum(axis=1, keepdims=True) * observed.sum(axis=0, keepdims=True) / observed.sum()
    cramers_v = np.sqrt(((observed - expected) ** 2 / expected).sum() / observed.sum() / (min(observed.shape) - 1))
    assert cramers_v < 0.06


def test_breast_is_convex_and_touches_the_chest_wall_of_its_side(films: list[PhantomFilm]) -> None:
    for film in films:
        rows, columns = np.nonzero(film.breast_mask)
        hull = ConvexHull(np.stack((rows, columns), axis=1))
        # The hull of pixel centres lacks half a pixel all around; the nipple is the one bulge.
        assert film.breast_mask.sum() / (hull.volume + hull.area / 2) > 0.97
        wall, far = (0, -1) if film.laterality == "L" else (-1, 0)
        assert film.breast_mask[:, wall].sum() > 0.3 * SMALL
        assert not film.breast_mask[:, far].any()
        assert 0.1 < film.breast_mask.mean() < 0.8


def test_air_is_near_black_and_darker_than_the_breast(films: list[PhantomFilm]) -> None:
    for film in films:
        air = film.pixels[~film.breast_mask]
        assert np.median(air) < 0.04 * 65535
        assert np.median(air) < np.percentile(film.pixels[film.breast_mask], 5)


def test_view_marker_lies_in_the_upper_corner_away_from_the_chest_wall(films: list[PhantomFilm]) -> None:
    for film in films:
        away = film.pixels if film.laterality == "L" else film.pixels[:, ::-1]
        corner = away[: SMALL // 8, -SMALL // 4 :]
        assert (corner > 0.6 * 65535).sum() > 40


def test_only_known_letters_can_be_stamped() -> None:
    assert text_bitmap("R-MLO", 2).shape == (14, 58)
    with pytest.raises(KeyError):
        text_bitmap("?")


def test_lesion_lies_in_one_breast_and_in_both_of_its_views(patients: list[list[PhantomFilm]]) -> None:
    for index, patient in enumerate(patients):
        expected = draw_patient(5, index).lesion_class
        sides = {film.laterality for film in patient if film.lesion_mask.any()}
        assert len(sides) == (expected != "Normal")
        for film in patient:
            assert film.lesion == (expected if film.laterality in sides else "Normal")
            assert film.lesion_mask.any() == (film.lesion != "Normal")
            assert not (film.lesion_mask & ~film.breast_mask).any()


def test_both_views_show_the_lesion_at_the_same_distance_from_the_nipple() -> None:
    seen = 0
    for index in range(12):
        fractions = [_nipple_distance(film) for film in make_patient(5, index, 400) if film.lesion_mask.any()]
        seen += len(fractions)
        if fractions:
            assert abs(fractions[0] - fractions[1]) < 0.12
    assert seen >= 8


def _nipple_distance(film: PhantomFilm) -> float:
    """Of the lesion's middle, as a fraction of the way from nipple to chest wall."""
    lesion, breast = film.lesion_mask, film.breast_mask
    if film.laterality == "R":
        lesion, breast = lesion[:, ::-1], breast[:, ::-1]
    nipple = np.flatnonzero(breast.any(axis=0))[-1]
    return float(1 - np.nonzero(lesion)[1].mean() / nipple)


def test_lesions_are_of_plausible_size_and_mostly_brighter_than_their_surroundings() -> None:
    brighter = []
    for film in (film for index in range(14) for film in make_patient(5, index, 400) if film.lesion_mask.any()):
        area_mm2 = film.lesion_mask.sum() * (256 / 400) ** 2
        assert 2 < area_mm2 < 900
        rows, columns = (np.nonzero(film.lesion_mask)[axis] for axis in (0, 1))
        around = np.zeros_like(film.breast_mask)
        around[max(0, rows.min() - 12) : rows.max() + 12, max(0, columns.min() - 12) : columns.max() + 12] = True
        around &= film.breast_mask & ~film.lesion_mask
        brighter.append(film.pixels[film.lesion_mask].mean() > film.pixels[around].mean())
    assert np.mean(brighter) > 0.85


def test_film_height_that_cannot_work_is_refused() -> None:
    for height in (100, 205):
        with pytest.raises(ConfigError, match="multiple of 10"):
            make_patient(0, 0, height)


def test_written_set_agrees_with_its_table(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    written = write_phantoms(tmp_path / "set", 10, 4, "png", lambda done, total: seen.append((done, total)))
    table = pd.read_csv(tmp_path / "set" / "phantom.csv", dtype=str, keep_default_na=False)
    assert written == len(table) == 10
    assert seen == [(number, 10) for number in range(1, 11)]
    assert list(table.columns) == COLUMNS
    truth = [film for index in range(3) for film in make_patient(4, index)][:10]
    for (_, row), film in zip(table.iterrows(), truth, strict=True):
        with Image.open(tmp_path / "set" / row["file"]) as image:
            assert image.mode.startswith("I;16")
            assert "synthetic" in image.info["Title"]
            assert np.array_equal(np.asarray(image), film.pixels)
        assert [row[column] for column in COLUMNS[1:-1]] == [getattr(film, column) for column in COLUMNS[1:-1]]
        assert (row["mask"] != "") == film.lesion_mask.any()
        if row["mask"]:
            with Image.open(tmp_path / "set" / row["mask"]) as mask:
                assert mask.mode == "L"
                assert np.array_equal(np.asarray(mask) == 255, film.lesion_mask)
    assert "SYNTHETIC" in (tmp_path / "set" / "README.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("format", ["png", "dicom"])
def test_same_seed_writes_the_same_bytes(tmp_path: Path, format: str) -> None:
    contents = []
    for name in ("one", "two"):
        write_phantoms(tmp_path / name, 5, 8, format)  # type: ignore[arg-type]
        files = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        contents.append({path.relative_to(tmp_path / name).as_posix(): path.read_bytes() for path in files})
    assert contents[0] == contents[1]


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "kept.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(DataError, match="nothing is overwritten"):
        write_phantoms(tmp_path, 4, 0, "png")
    with pytest.raises(DataError, match="nothing is overwritten"):
        write_phantoms(tmp_path / "kept.txt", 4, 0, "png")
    assert [path.name for path in tmp_path.iterdir()] == ["kept.txt"]


def test_unfinished_set_is_completed_by_the_same_request_only(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_phantoms(tmp_path / "set", 4, 0, "png", stop)
    assert not (tmp_path / "set" / "phantom.csv").exists()
    with pytest.raises(DataError, match="nothing is overwritten"):
        write_phantoms(tmp_path / "set", 4, 1, "png")
    assert write_phantoms(tmp_path / "set", 4, 0, "png") == 4
    with pytest.raises(DataError, match="nothing is overwritten"):
        write_phantoms(tmp_path / "set", 4, 0, "png")


def test_wrong_request_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    for images, seed, format in ((0, 1, "png"), (4, -1, "png"), (4, 1, "jpeg")):
        with pytest.raises(ConfigError, match="expected"):
            write_phantoms(tmp_path / "out", images, seed, format)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()
