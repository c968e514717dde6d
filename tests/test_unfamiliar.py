from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import skimage
import sklearn.datasets
import torch
from pydicom.data import get_testdata_file
from sklearn.metrics import roc_auc_score

from make_films import RAMP, drawn_film, write_dicom
from make_models import write_model_run
from mammo_core.data.film import Film, FilmFacts
from mammo_core.data.phantom import make_patient
from mammo_core.data.preprocess import prepare
from mammo_core.data.reader import read_film
from mammo_core.errors import CorruptRunFile, FilmUnreadable
from mammo_core.predict.ensemble import combine_unfamiliar
from mammo_core.predict.unfamiliar import FeatureGuard, Unfamiliar, load_guard
from mammo_core.storage import write_table
from mammo_core.training.models import build_model, features_and_logits, normalisation_of, normalise, to_float
from mammo_core.training.weights import find_weights, load_into

RNG = np.random.default_rng(0)
FEATURES = RNG.random((40, 16)).astype(np.float32)
PATIENTS = np.repeat([f"p{number}" for number in range(20)], 2)


def cosine_distance(a, b):
    a, b = np.sqrt(a.astype(float)), np.sqrt(b.astype(float))
    return 1 - (a @ b) / (np.linalg.norm(a) * np.linalg.norm(b))


def test_score_and_limit_equal_a_plain_loop():
    guard = FeatureGuard.fit(FEATURES, PATIENTS)
    own = []
    for row, patient in zip(FEATURES, PATIENTS, strict=True):
        others = [cosine_distance(row, other) for other, p in zip(FEATURES, PATIENTS, strict=True) if p != patient]
        own.append(np.mean(sorted(others)[:5]))
    assert guard.threshold == pytest.approx(max(own))  # the 99th percentile of 40 is the largest
    film = RNG.random(16).astype(np.float32)
    expected = np.mean(sorted(cosine_distance(film, other) for other in FEATURES)[:5])
    assert guard.judge(film).score == pytest.approx(expected)


def test_other_films_of_the_same_patient_do_not_make_the_limit_small():
    twins = np.repeat(FEATURES[:20], 2, axis=0) + RNG.normal(0, 1e-3, (40, 16)).astype(np.float32) ** 2
    knowing, ignorant = FeatureGuard.fit(twins, PATIENTS), FeatureGuard.fit(twins)
    assert knowing.threshold > ignorant.threshold


def test_a_film_among_the_others_passes_and_one_of_another_kind_is_flagged():
    narrow = (np.ones(16) + RNG.normal(0, 0.1, (60, 16))).astype(np.float32)
    guard = FeatureGuard.fit(narrow)
    inside, outside = guard.judge(np.ones(16, np.float32)), guard.judge(np.eye(16, dtype=np.float32)[0])
    assert (inside.flagged, outside.flagged) == (False, True)
    assert inside.score < guard.threshold < outside.score
    assert "farther" in outside.reason


def test_features_that_are_no_numbers_are_flagged():
    assert FeatureGuard.fit(FEATURES).judge(np.full(16, np.nan, np.float32)).flagged is True


@pytest.mark.parametrize("features, patients", [(FEATURES[:7], None), (FEATURES, np.repeat("p", 40))])
def test_too_few_films_or_patients_give_no_limit(features, patients):
    assert FeatureGuard.fit(features, patients) is None


def test_a_run_without_features_says_why_nothing_is_judged(workspace):
    run = write_model_run(workspace)
    assert "keeps no features" in load_guard(run)
    np.save(run.embeddings, FEATURES[:3])
    assert "too few" in load_guard(run)


def test_the_guard_of_a_run_knows_which_films_share_a_patient(workspace):
    run = write_model_run(workspace)
    np.save(run.embeddings, FEATURES)
    table = pd.DataFrame({"image_id": [f"i{n}" for n in range(40)], "patient_id": PATIENTS, "y_true": "A", "y_pred": "A"})
    write_table(run.predictions_file("val"), table)
    assert load_guard(run).threshold == pytest.approx(FeatureGuard.fit(FEATURES, PATIENTS).threshold)


@pytest.mark.parametrize("content", [b"no array", None])
def test_a_broken_feature_file_is_an_error_and_not_a_pass(workspace, content):
    run = write_model_run(workspace)
    if content is None:
        np.save(run.embeddings, np.full((20, 4), np.nan, np.float32))
    else:
        run.embeddings.write_bytes(content)
    with pytest.raises(CorruptRunFile, match="embeddings_val.npy"):
        load_guard(run)


def test_several_runs_are_joined_on_the_scale_of_their_own_limits():
    verdicts = {"a": Unfamiliar(False, 0.1, 0.2, "near"), "b": Unfamiliar(True, 9.0, 3.0, "far")}
    joint = combine_unfamiliar(verdicts)
    assert (joint.score, joint.threshold, joint.flagged) == (pytest.approx(1.75), 1.0, True)
    assert "1 of 2 runs" in joint.reason
    alone = combine_unfamiliar({"a": verdicts["a"], "c": "keeps no features"})
    assert alone == verdicts["a"]
    assert combine_unfamiliar({"c": "keeps no features"}).flagged is None


def film_of(pixels):
    height, width = pixels.shape
    facts = FilmFacts(kind="PNG", height=height, width=width, bits=8, window="as stored", inverted=False, decoder="none")
    return Film(np.ascontiguousarray(pixels, np.float32), facts)


@pytest.fixture(scope="module")
def phantom_features():
    """A way to pooled features of films, and those of 36 phantoms of nine patients, with ImageNet's weights."""
    model = build_model("tf_efficientnet_lite0", 2).eval()
    load_into(model, "tf_efficientnet_lite0", find_weights("tf_efficientnet_lite0", "imagenet"))

    def features(films):
        pixels = torch.from_numpy(np.stack([prepare(film, (96, 96)).pixels for film in films])[:, None])
        with torch.inference_mode():
            batch = normalise(to_float(pixels, torch.device("cpu")), normalisation_of(model))
            return features_and_logits(model, batch)[0].numpy()

    phantoms = [film_of(film.pixels / np.float32(65535)) for index in range(9) for film in make_patient(11, index, height=200)]
    return features, features(phantoms)


def patterns():
    rows, columns = np.mgrid[:160, :128]
    waves = [0.5 + 0.5 * np.sin((rows * a + columns * b) / 6) for a, b in ((1, 0), (0, 1), (1, 1), (1, -1))]
    return [film_of(pixels) for pixels in [*(RNG.random((160, 128)) for _ in range(4)), *waves]]


def photographs():
    folders = [Path(skimage.__file__).parent / "data", Path(sklearn.datasets.__file__).parent / "images"]
    names = ("astronaut.png", "brick.png", "camera.png", "chelsea.png", "coffee.png", "coins.png", "page.png", "moon.png")
    return [
        read_film(path) for name in (*names, "china.jpg", "flower.jpg") for folder in folders if (path := folder / name).exists()
    ]


def other_dicom():
    names = ("CT_small.dcm", "MR_small.dcm", "examples_overlay.dcm", "JPEG2000.dcm", "explicit_VR-UN.dcm", "RG1_UNCI.dcm")
    found = [path for name in names if (path := get_testdata_file(name, download=False))]
    return [read_film(Path(path)) for path in found]


@pytest.mark.parametrize("make, count", [(patterns, 8), (photographs, 10), (other_dicom, 5)])
def test_what_is_no_mammogram_stands_out_from_phantom_films(phantom_features, make, count):
    features, phantoms = phantom_features
    guard = FeatureGuard.fit(phantoms[:24], np.repeat(np.arange(6).astype(str), 4))
    strangers = make()
    assert len(strangers) >= count
    known, strange = guard.score(phantoms[24:]), guard.score(features(strangers))
    assert roc_auc_score([0] * len(known) + [1] * len(strange), np.concatenate([known, strange])) >= 0.95
    assert (strange > guard.threshold).mean() > 0.9
    assert (known > guard.threshold).mean() < 0.2
    drawn = guard.score(features([film_of(drawn_film((160, 128)))]))
    assert drawn[0] > np.median(known)  # a cartoon of a breast is farther away than a phantom


def test_a_mirrored_film_is_as_familiar_as_the_film_itself(phantom_features):
    features, phantoms = phantom_features
    guard = FeatureGuard.fit(phantoms[:24], np.repeat(np.arange(6).astype(str), 4))
    film = make_patient(11, 8, height=200)[0].pixels / np.float32(65535)
    there, mirrored = guard.score(features([film_of(film), film_of(film[:, ::-1])]))
    assert mirrored == pytest.approx(there, rel=0.15)


def test_a_colour_photograph_is_said_to_be_none():
    path = Path(skimage.__file__).parent / "data" / "astronaut.png"
    assert any("which no mammogram is" in warning for warning in read_film(path).facts.warnings)


@pytest.mark.parametrize(
    "name, reason",
    [
        ("SC_rgb.dcm", "colour picture"),
        ("DICOMDIR", "DICOMDIR index"),
        ("emri_small.dcm", "multi-frame"),
        ("rtplan.dcm", "holds no picture"),
    ],
)
def test_what_is_surely_no_film_never_reaches_a_model(name, reason):
    with pytest.raises(FilmUnreadable, match=reason):
        read_film(Path(get_testdata_file(name, download=False)))


def test_raw_detector_values_never_reach_a_model(tmp_path):
    path = write_dicom(tmp_path / "raw.dcm", RAMP, PresentationIntentType="FOR PROCESSING")
    with pytest.raises(FilmUnreadable, match="FOR PROCESSING"):
        read_film(path)
