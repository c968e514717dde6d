"""The grey-value baseline: against the same model written out, and its guards."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from mammo_core.analysis.intensity_baseline import intensity_baseline, intensity_features
from mammo_core.errors import DataError, SplitError, UndefinedMetric


def made_films(n: int = 120, signal: float = 1.5):
    generator = np.random.default_rng(0)
    labels = np.arange(n) % 3
    features = generator.normal(size=(n, 4)) + signal * np.eye(3, 4)[labels]
    split = np.where(np.arange(n) < n // 2, "train", "test").tolist()
    return features, labels, [f"p{i}" for i in range(n)], split


def test_the_baseline_equals_the_model_written_out():
    features, labels, patients, split = made_films()
    train = np.array(split) == "train"
    mean, sd = features[train].mean(axis=0), features[train].std(axis=0)
    model = LogisticRegression(max_iter=1000).fit((features[train] - mean) / sd, labels[train])
    expected = roc_auc_score(labels[~train], model.predict_proba((features[~train] - mean) / sd), multi_class="ovr")
    assert intensity_baseline(features, labels, patients, split) == pytest.approx(expected)


def test_features_without_a_signal_are_near_chance():
    features, labels, patients, split = made_films(n=600, signal=0.0)
    assert abs(intensity_baseline(features, labels, patients, split) - 0.5) < 0.08


def test_features_are_mean_sd_and_the_tails():
    assert intensity_features(np.arange(101)) == pytest.approx([50, np.std(np.arange(101)), 10, 90])


def test_a_patient_on_both_sides_is_refused():
    features, labels, patients, split = made_films()
    with pytest.raises(SplitError, match="1 patient"):
        intensity_baseline(features, labels, [*patients[:-1], patients[0]], split)


def test_one_class_or_unequal_lengths_cannot_be_judged():
    features, labels, patients, split = made_films()
    with pytest.raises(UndefinedMetric):
        intensity_baseline(features, np.zeros_like(labels), patients, split)
    with pytest.raises(DataError):
        intensity_baseline(features, labels[:-1], patients, split)
