"""Metrics against scikit-learn, statsmodels and hand-computed cases."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from sklearn import metrics as sk
from statsmodels.stats.proportion import proportion_confint

from mammo_core.analysis import formulas
from mammo_core.analysis.metrics import ensemble_predictions, epoch_metrics, evaluate_predictions
from mammo_core.errors import DataError, UndefinedMetric
from mammo_core.runs.schema import MetricsFile, MetricValue

DENSITY = ("A", "B", "C", "D")
LESION = ("Normal", "Benign", "Malignant")

# Counts of domain notes on density, n = 318, with the values computed there from scikit-learn
KNOWN = np.array([[2, 6, 0, 0], [4, 58, 11, 0], [0, 42, 98, 30], [0, 1, 9, 57]], dtype=float)


def draw(seed: int, n: int = 200, k: int = 4) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]:
    """Labels and softmax outputs that have something to do with each other."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, k, n)
    scores = np.exp(generator.normal(size=(n, k)) + 1.5 * np.eye(k)[labels])
    return labels, scores / scores.sum(axis=1, keepdims=True)


def table_of(labels: npt.ArrayLike, probabilities: npt.ArrayLike, names: tuple[str, ...], films_each: int = 1) -> pd.DataFrame:
    truth, scores = np.asarray(labels), np.asarray(probabilities)
    frame = pd.DataFrame({"image_id": [f"f{i}" for i in range(len(truth))]})
    frame["patient_id"] = [f"p{i // films_each}" for i in range(len(truth))]
    frame["center"] = "1"
    frame["y_true"] = [names[k] for k in truth]
    frame["y_pred"] = [names[k] for k in scores.argmax(axis=1)]
    return frame.assign(**{f"prob_{name}": scores[:, k] for k, name in enumerate(names)})


def evaluate(table: pd.DataFrame, names: tuple[str, ...] = DENSITY, ordinal: bool = True, bootstrap: int = 50) -> MetricsFile:
    return evaluate_predictions(table, names, ordinal, epoch=3, split_sha256="ab", bootstrap=bootstrap)


def value(metrics: MetricsFile, name: str) -> float | None:
    return metrics.metrics[name].value


@pytest.mark.parametrize("seed", range(5))
def test_metrics_equal_those_of_scikit_learn(seed):
    labels, probabilities = draw(seed)
    predicted = probabilities.argmax(axis=1)
    found = evaluate(table_of(labels, probabilities, DENSITY), bootstrap=0)
    expected = {
        "accuracy": sk.accuracy_score(labels, predicted),
        "balanced_accuracy": sk.balanced_accuracy_score(labels, predicted),
        "kappa_quadratic": sk.cohen_kappa_score(labels, predicted, weights="quadratic", labels=range(4)),
        "kappa_linear": sk.cohen_kappa_score(labels, predicted, weights="linear", labels=range(4)),
        "kappa_unweighted": sk.cohen_kappa_score(labels, predicted, labels=range(4)),
        "macro_f1": sk.f1_score(labels, predicted, average="macro"),
        "auc_ovr_macro": sk.roc_auc_score(labels, probabilities, multi_class="ovr", average="macro"),
        "log_loss": sk.log_loss(labels, probabilities),
        "brier": sk.brier_score_loss(labels, probabilities, scale_by_half=False),
        "within_one": float((np.abs(labels - predicted) <= 1).mean()),
        "mae_classes": sk.mean_absolute_error(labels, predicted),
        "dense_auc": sk.roc_auc_score(labels >= 2, probabilities[:, 2:].sum(axis=1)),
    }
    assert {name: value(found, name) for name in expected} == pytest.approx(expected)
    assert found.confusion_matrix == sk.confusion_matrix(labels, predicted, labels=range(4)).tolist()


@pytest.mark.parametrize("seed", range(3))
def test_class_metrics_equal_those_of_scikit_learn_and_statsmodels(seed):
    labels, probabilities = draw(seed, k=3)
    predicted = probabilities.argmax(axis=1)
    found = evaluate(table_of(labels, probabilities, LESION), LESION, ordinal=False, bootstrap=0)
    for k, name in enumerate(LESION):
        of_class = found.per_class[name]
        assert of_class["n"] == (labels == k).sum()
        assert number(of_class["sensitivity"]) == pytest.approx(sk.recall_score(labels == k, predicted == k))
        assert number(of_class["specificity"]) == pytest.approx(sk.recall_score(labels != k, predicted != k))
        assert number(of_class["ppv"]) == pytest.approx(sk.precision_score(labels == k, predicted == k))
        assert number(of_class["f1"]) == pytest.approx(sk.f1_score(labels == k, predicted == k))
        assert number(of_class["auc"]) == pytest.approx(sk.roc_auc_score(labels == k, probabilities[:, k]))
        hits, n = int(((labels == k) & (predicted == k)).sum()), int((labels == k).sum())
        assert ends(of_class["sensitivity"]) == pytest.approx(proportion_confint(hits, n, method="wilson"))
    assert value(found, "malignant_auc") == pytest.approx(sk.roc_auc_score(labels == 2, probabilities[:, 2]))


def number(found: MetricValue | int) -> float | None:
    assert isinstance(found, MetricValue)
    return found.value


def ends(found: MetricValue | int) -> tuple[float | None, float | None]:
    assert isinstance(found, MetricValue)
    return found.ci_low, found.ci_high


def test_the_known_density_matrix_gives_the_known_values():
    occurring = np.ones(4, dtype=bool)
    assert formulas.accuracy(KNOWN) == pytest.approx(0.6761, abs=5e-5)
    assert formulas.quadratic_weighted_kappa(KNOWN) == pytest.approx(0.7251, abs=5e-5)
    assert formulas.weighted_kappa(KNOWN, "linear") == pytest.approx(0.6112, abs=5e-5)
    assert formulas.macro_f1(KNOWN, occurring) == pytest.approx(0.5877, abs=5e-5)
    assert formulas.balanced_accuracy(KNOWN, occurring) == pytest.approx(0.6179, abs=5e-5)


def test_kappa_keeps_the_scale_when_a_class_is_absent():
    truth, predicted = np.array([0, 1, 3, 3, 0, 1, 3, 1]), np.array([0, 3, 3, 1, 0, 1, 3, 1])  # nobody is class 2
    confusion = formulas.confusion_matrix(truth, predicted, 4)
    assert formulas.quadratic_weighted_kappa(confusion) == pytest.approx(2 / 3)


def test_kappa_without_any_disagreement_to_expect_is_undefined_and_not_zero():
    with pytest.raises(UndefinedMetric, match="all of them in one class"):
        formulas.quadratic_weighted_kappa(np.diag([0.0, 5, 0, 0]))


def test_a_constant_prediction_has_kappa_zero():
    confusion = np.zeros((4, 4))
    confusion[:, 2] = [8, 73, 170, 67]
    assert formulas.quadratic_weighted_kappa(confusion) == pytest.approx(0.0)


@pytest.mark.parametrize(("hits", "n"), [(0, 10), (10, 10), (34, 51), (1, 1)])
def test_the_wilson_interval_equals_that_of_statsmodels(hits, n):
    assert formulas.wilson_interval(hits, n) == pytest.approx(proportion_confint(hits, n, method="wilson"))


# ---- what is undefined, and whose films they are ----------------------------------------------------------------------------


def test_an_absent_class_is_left_out_of_the_means_and_named():
    labels, probabilities = draw(1)
    kept = labels != 0
    found = evaluate(table_of(labels[kept], probabilities[kept], DENSITY))
    aucs = [sk.roc_auc_score(labels[kept] == k, probabilities[kept, k]) for k in (1, 2, 3)]
    assert value(found, "auc_ovr_macro") == pytest.approx(np.mean(aucs))
    assert "no films of A" in found.metrics["auc_ovr_macro"].method
    assert number(found.per_class["A"]["sensitivity"]) is None
    assert number(found.per_class["A"]["auc"]) is None


def test_films_of_one_class_leave_ranking_and_kappa_undefined_with_the_reason():
    table = table_of([1] * 6, np.tile([0.1, 0.7, 0.1, 0.1], (6, 1)), DENSITY)
    found = evaluate(table)
    for name in ("auc_ovr_macro", "kappa_quadratic", "dense_auc"):
        assert found.metrics[name].value is None
        assert found.metrics[name].method.startswith("undefined")
    assert value(found, "accuracy") == 1.0
    assert found.metrics["accuracy"].ci_low == pytest.approx(0.61, abs=0.005), "resampling six right films shows nothing"
    assert found.metrics["accuracy"].method.endswith("Wilson, n = 6 patients")
    assert found.metrics["accuracy"].model_dump()["wilson_low"] == pytest.approx(0.61, abs=0.005)


def test_intervals_are_about_patients_and_not_about_films():
    labels, probabilities = draw(2, n=60)
    repeated = table_of(np.repeat(labels, 8), np.repeat(probabilities, 8, axis=0), DENSITY, films_each=8)
    once = table_of(labels, probabilities, DENSITY)
    eight, one = evaluate(repeated, bootstrap=400), evaluate(once, bootstrap=400)
    assert ends(eight.metrics["accuracy"]) == pytest.approx(ends(one.metrics["accuracy"]))
    assert ends(eight.per_class["A"]["sensitivity"]) == pytest.approx(ends(one.per_class["A"]["sensitivity"]))
    assert (eight.n, eight.patients) == (480, 60)


def test_the_order_of_films_does_not_matter():
    labels, probabilities = draw(3)
    table = table_of(labels, probabilities, DENSITY, films_each=2)
    turned = table.iloc[::-1].reset_index(drop=True)
    assert evaluate(turned).metrics["kappa_quadratic"] == evaluate(table).metrics["kappa_quadratic"]


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda t: t.drop(columns="prob_B"), "lack the column"),
        (lambda t: t.iloc[:0], "no films"),
        (lambda t: pd.concat([t, t.iloc[:1]]), "more than once"),
        (lambda t: t.assign(y_true="E"), "'E'"),
        (lambda t: t.assign(prob_A=np.nan), "do not sum to 1"),
        (lambda t: t.assign(prob_A=t["prob_A"] + 0.2), "do not sum to 1"),
    ],
)
def test_a_table_that_cannot_be_judged_is_refused_in_words(spoil, says):
    labels, probabilities = draw(4, n=20)
    with pytest.raises(DataError, match=says):
        evaluate(spoil(table_of(labels, probabilities, DENSITY)))


# ---- one epoch, one ensemble -------------------------------------------------------------------------------------------------


def test_the_metrics_of_an_epoch_equal_those_of_the_metrics_file():
    labels, probabilities = draw(5)
    found = epoch_metrics(labels, probabilities, DENSITY)
    whole = evaluate(table_of(labels, probabilities, DENSITY), bootstrap=0)
    names = {
        "val_balanced_acc": "balanced_accuracy",
        "val_kappa_quadratic": "kappa_quadratic",
        "val_macro_f1": "macro_f1",
        "val_auc_ovr": "auc_ovr_macro",
    }
    assert {key: found[key] for key in names} == pytest.approx({key: value(whole, name) for key, name in names.items()})
    assert found["val_recall"] == pytest.approx({name: number(whole.per_class[name]["sensitivity"]) for name in DENSITY})
    assert sum(found["predicted_share"].values()) == pytest.approx(1)


def test_an_epoch_with_a_broken_network_has_no_metrics_instead_of_zeros():
    found = epoch_metrics([0, 1], np.full((2, 4), np.nan), DENSITY)
    assert found["val_auc_ovr"] is None
    assert set(found["val_recall"].values()) == {None}


def test_an_epoch_without_a_class_says_none_for_its_recall():
    found = epoch_metrics([0, 1], [[0.9, 0.1, 0.0], [0.2, 0.8, 0.0]], LESION)
    assert found["val_recall"] == {"Normal": 1.0, "Benign": 1.0, "Malignant": None}
    assert found["predicted_share"]["Malignant"] == 0.0


def test_an_ensemble_averages_film_by_film_whatever_the_order_of_rows():
    labels, first = draw(6, n=30)
    second = draw(7, n=30)[1]
    turned = table_of(labels, second, DENSITY).iloc[::-1].reset_index(drop=True)
    joined = ensemble_predictions([table_of(labels, first, DENSITY), turned])
    mean = (first + second) / 2
    assert joined[[f"prob_{name}" for name in DENSITY]].to_numpy() == pytest.approx(mean)
    assert list(joined["y_pred"]) == [DENSITY[k] for k in mean.argmax(axis=1)]


def test_an_ensemble_of_other_films_is_refused():
    labels, probabilities = draw(8, n=10)
    table = table_of(labels, probabilities, DENSITY)
    with pytest.raises(DataError, match="share only 9 films"):
        ensemble_predictions([table, table.assign(image_id=[*table["image_id"][:9], "other"])])
    with pytest.raises(DataError, match="other true classes"):
        ensemble_predictions([table, table.assign(y_true="A")])
