"""What backs a score: temperature and thresholds from validation films, joined over runs, and quoted in words."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize_scalar
from sklearn.metrics import roc_curve

from mammo_core.analysis.backing import DEFAULT_RULE, Backing, judge, no_backing, score_text, threshold_facts
from mammo_core.analysis.backing_fit import backing_of, join_validation, question_that_matters
from mammo_core.analysis.operating_points import RULES
from mammo_core.errors import DataError

DENSITY = ("A", "B", "C", "D")
LESION = ("Normal", "Benign", "Malignant")


def table_of(n=160, names=DENSITY, seed=0, sharpness=2.5, start=0):
    """Films of patients with two films each; the probabilities carry signal and are over-confident."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, len(names), n)
    logits = sharpness * (np.eye(len(names))[labels] + rng.normal(0, 1, (n, len(names))))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    table = pd.DataFrame({f"prob_{name}": probabilities[:, k] for k, name in enumerate(names)})
    table.insert(0, "image_id", [f"i{start + k}" for k in range(n)])
    table.insert(1, "patient_id", [f"p{(start + k) // 2}" for k in range(n)])
    table["center"] = "1"
    table["y_true"] = [names[k] for k in labels]
    table["y_pred"] = [names[k] for k in probabilities.argmax(axis=1)]
    return table


def test_the_temperature_is_the_one_with_the_least_log_loss_on_the_validation_films():
    table = table_of()
    backing = backing_of([table], DENSITY, ordinal=True)
    p = table[[f"prob_{name}" for name in DENSITY]].to_numpy()
    truth = np.array([DENSITY.index(name) for name in table["y_true"]])

    def loss(temperature):
        scaled = p ** (1 / temperature)
        scaled /= scaled.sum(axis=1, keepdims=True)
        return -np.log(scaled[np.arange(len(truth)), truth]).mean()

    best = minimize_scalar(loss, bounds=(0.1, 10), method="bounded")
    assert backing.temperature == pytest.approx(best.x, rel=1e-3)
    assert backing.temperature > 1
    assert backing.scaling.log_loss_after == pytest.approx(best.fun, abs=1e-6)
    assert backing.scaling.log_loss_after < backing.scaling.log_loss_before


def test_scaling_changes_how_sure_and_never_the_call():
    backing = backing_of([table_of()], DENSITY, ordinal=True)
    raw = {"A": 0.1, "B": 0.2, "C": 0.6, "D": 0.1}
    scaled = backing.scaled(raw)
    assert sum(scaled.values()) == pytest.approx(1)
    assert max(scaled, key=scaled.get) == "C"
    assert scaled["C"] < 0.6  # the model was too sure
    expected = np.array(list(raw.values())) ** (1 / backing.temperature)
    np.testing.assert_allclose(list(scaled.values()), expected / expected.sum())


def test_sensitivity_and_specificity_at_the_threshold_are_those_of_the_unscaled_validation_scores_as_on_evaluate():
    table = table_of()
    backing = backing_of([table], DENSITY, ordinal=True)
    assert backing.temperature != 1
    scores = (table["prob_C"] + table["prob_D"]).to_numpy()
    dense = table["y_true"].isin(["C", "D"]).to_numpy()
    level = backing.level("film")
    assert (level.cases, level.patients, level.positives) == (160, 80, int(dense.sum()))
    for rule in RULES:
        point = level.point(rule)
        called = scores >= point.threshold
        assert point.sensitivity.value == pytest.approx(called[dense].mean())
        assert point.specificity.value == pytest.approx((~called[~dense]).mean())
    fpr, tpr, _ = roc_curve(dense, scores)
    youden = level.point("youden")
    assert youden.sensitivity.value + youden.specificity.value - 1 == pytest.approx((tpr - fpr).max())
    assert level.point("sensitivity_90").sensitivity.value >= 0.9


def test_runs_on_the_same_films_are_averaged_film_by_film():
    one, other = table_of(), table_of()
    other.loc[:, [f"prob_{n}" for n in DENSITY]] = 0.25
    joined, words, are_folds = join_validation([one, other])
    np.testing.assert_allclose(joined["prob_A"], one["prob_A"] / 2 + 0.125)
    assert "the mean of 2 runs on the same validation films" in words
    assert not are_folds
    shuffled, _, _ = join_validation([one, other.sample(frac=1, random_state=1)])
    pd.testing.assert_frame_equal(joined, shuffled)


def test_folds_judge_each_film_only_by_the_run_that_did_not_learn_from_it():
    folds = [table_of(40, start=0), table_of(60, seed=1, start=40)]
    joined, words, are_folds = join_validation(folds)
    assert len(joined) == 100
    np.testing.assert_allclose(joined["prob_B"], pd.concat(folds)["prob_B"])
    assert "did not learn from it" in words
    assert are_folds


def test_folds_together_have_no_temperature_and_no_threshold_and_say_why():
    backing = backing_of([table_of(160), table_of(160, seed=1, start=160)], DENSITY, ordinal=True)
    assert backing.temperature == 1
    assert "folds" in judge(backing, "film", DEFAULT_RULE, dict.fromkeys(DENSITY, 0.25))
    assert "folds" in backing.scaling_words


def test_scores_that_need_no_temperature_are_left_alone_and_the_reason_is_told():
    rng = np.random.default_rng(5)
    table = table_of(200)
    p = rng.dirichlet(np.ones(4), 200)  # labels drawn from the stated probabilities: perfectly calibrated
    labels = [rng.choice(4, p=row) for row in p]
    table[[f"prob_{n}" for n in DENSITY]] = p
    table["y_true"] = [DENSITY[k] for k in labels]
    table["y_pred"] = [DENSITY[k] for k in p.argmax(axis=1)]
    backing = backing_of([table], DENSITY, ordinal=True)
    assert backing.scaling is None
    assert "no gain is shown" in backing.scaling_words


def test_the_gain_of_scaling_is_measured_on_patients_left_out_of_the_fit():
    backing = backing_of([table_of(400)], DENSITY, ordinal=True)
    scaling = backing.scaling
    assert scaling.gain.ci_low > 0
    assert scaling.gain.value <= scaling.log_loss_before - scaling.log_loss_after + 1e-9, "no more than on the films of the fit"


def test_the_call_of_a_joined_film_comes_from_the_mean():
    one, other = table_of(1), table_of(1)
    one.loc[0, [f"prob_{n}" for n in DENSITY]] = [0.6, 0.4, 0, 0]
    other.loc[0, [f"prob_{n}" for n in DENSITY]] = [0.0, 0.5, 0.5, 0]
    joined, _, _ = join_validation([one, other])
    assert joined.loc[0, "y_pred"] == "B"


@pytest.mark.parametrize("broken", ["classes", "truth", "none"])
def test_tables_that_do_not_belong_together_are_refused(broken):
    one, other = table_of(40), table_of(40)
    if broken == "classes":
        other = other.rename(columns={"prob_D": "prob_E"})
    if broken == "truth":
        other["y_true"] = "A"
    with pytest.raises(DataError):
        join_validation([] if broken == "none" else [one, other])


def test_too_few_films_give_no_temperature_and_too_few_of_a_kind_no_threshold():
    backing = backing_of([table_of(18)], DENSITY, ordinal=True)
    assert backing.temperature == 1
    assert "18 validation films of 9 patients are too few" in backing.scaling_words
    assert backing.scaled({"A": 0.3, "B": 0.7}) == {"A": 0.3, "B": 0.7}
    assert "too few" in backing.level("film").problem
    assert "too few" in judge(backing, "film", DEFAULT_RULE, dict.fromkeys(DENSITY, 0.25))


def test_perfectly_separated_films_do_not_determine_a_temperature():
    table = table_of()
    table[[f"prob_{n}" for n in DENSITY]] = np.where(np.array([[t == n for n in DENSITY] for t in table["y_true"]]), 0.7, 0.1)
    backing = backing_of([table], DENSITY, ordinal=True)
    assert backing.scaling is None
    assert "do not determine it" in backing.scaling_words


def test_breasts_and_exams_need_what_the_manifest_says():
    table = table_of()
    without = backing_of([table], DENSITY, ordinal=True)
    assert without.level("patient").points
    assert not without.level("breast").points
    assert "side" in without.level("breast").problem
    manifest = pd.DataFrame({"image_id": table["image_id"], "exam_id": table["patient_id"], "laterality": "L", "view": "CC"})
    breasts = backing_of([table], DENSITY, ordinal=True, manifest=manifest).level("breast")
    assert breasts.cases == 80
    assert breasts.usual_films == 2


def test_a_single_film_is_judged_as_a_film_and_a_breast_only_with_as_many_films_as_on_validation():
    table = table_of()
    manifest = pd.DataFrame({"image_id": table["image_id"], "exam_id": table["patient_id"], "laterality": "L", "view": "CC"})
    backing = backing_of([table], DENSITY, ordinal=True, manifest=manifest)
    scores = {"A": 0.1, "B": 0.3, "C": 0.4, "D": 0.2}
    assert judge(backing, "breast", DEFAULT_RULE, scores, films=1) == judge(backing, "film", DEFAULT_RULE, scores)
    assert judge(backing, "breast", DEFAULT_RULE, scores, films=2).level.level == "breast"
    assert "of 3 films" in judge(backing, "breast", DEFAULT_RULE, scores, films=3)


@pytest.mark.parametrize(
    ("names", "ordinal", "key"),
    [
        (DENSITY, True, "dense"),
        (LESION, False, "malignant"),
        (("no", "yes"), False, "class:yes"),
        (("x", "y", "z"), False, None),
    ],
)
def test_the_question_is_the_one_that_matters_for_the_task(names, ordinal, key):
    question = question_that_matters(names, ordinal)
    assert (question.key if question else None) == key


def test_a_judgement_says_score_threshold_call_and_what_the_threshold_gave():
    backing = backing_of([table_of()], DENSITY, ordinal=True)
    high = judge(backing, "film", DEFAULT_RULE, {"A": 0.0, "B": 0.05, "C": 0.15, "D": 0.8})
    low = judge(backing, "film", DEFAULT_RULE, {"A": 0.8, "B": 0.15, "C": 0.05, "D": 0.0})
    assert high.called and not low.called
    assert high.score == pytest.approx(0.95)
    assert "called C or D" in high.words and "called A or B" in low.words
    for part in ("sensitivity", "specificity", "160 validation films of 80 patients", f"{high.point.threshold:.3f}"):
        assert part in high.words
    assert high.to_json()["threshold"] == high.point.threshold


def test_what_is_kept_of_a_judgement_is_the_threshold_or_the_reason_why_there_is_none():
    scores = {"A": 0.1, "B": 0.3, "C": 0.4, "D": 0.2}
    backing = backing_of([table_of()], DENSITY, ordinal=True)
    judged = judge(backing, "film", DEFAULT_RULE, scores)
    assert threshold_facts(backing, "film", DEFAULT_RULE, scores) == {"threshold": judged.to_json(), "threshold_reason": None}
    nothing = threshold_facts(Backing(joined="", problem="Why not."), "film", DEFAULT_RULE, {"A": 1.0})
    assert nothing == {"threshold": None, "threshold_reason": "There is no threshold: Why not."}


def test_a_threshold_that_contradicts_the_most_probable_class_says_so():
    backing = backing_of([table_of()], DENSITY, ordinal=True)
    limit = backing.level("film").point(DEFAULT_RULE).threshold
    rest = (1 - limit) / 2
    just_above = judge(backing, "film", DEFAULT_RULE, {"A": rest, "B": rest, "C": limit / 2 + 1e-9, "D": limit / 2})
    spread_out = judge(backing, "film", DEFAULT_RULE, {"A": 1 - limit, "B": 0.0, "C": limit / 2 + 1e-9, "D": limit / 2})
    assert just_above.called and spread_out.called
    contrary = [case.most_probable in "AB" for case in (just_above, spread_out)]
    assert any(contrary)
    for case, is_contrary in zip((just_above, spread_out), contrary, strict=True):
        assert ("lies on the other side" in case.words) == is_contrary


def test_a_promise_that_no_score_can_keep_calls_nothing():
    table = table_of(80, names=("no", "yes"), seed=3)
    table[["prob_no", "prob_yes"]] = [0.0, 1.0]  # every film has the highest score there is
    backing = backing_of([table], ("no", "yes"), ordinal=False)
    judged = judge(backing, "film", "specificity_90", {"no": 0.0, "yes": 1.0})
    assert not judged.called
    assert judged.point.threshold is None
    assert "no score is high enough" in judged.words


def test_it_survives_the_way_through_json_unchanged():
    backing = backing_of([table_of()], DENSITY, ordinal=True)
    assert Backing.model_validate_json(backing.model_dump_json()) == backing
    assert not any(isinstance(v, float) and math.isnan(v) for v in backing.scaling.model_dump().values())


def test_a_model_of_whose_validation_nothing_is_known_says_why():
    backing = no_backing("its run keeps no predictions")
    assert "its run keeps no predictions" in backing.scaling_words
    assert "its run keeps no predictions" in judge(backing, "film", DEFAULT_RULE, {"A": 1.0})


@pytest.mark.parametrize(
    ("score", "text"), [(0.0, "< 0.01"), (0.009, "< 0.01"), (0.01, "0.01"), (0.5, "0.50"), (0.99, "0.99"), (0.9999, "> 0.99")]
)
def test_no_score_is_shown_as_a_certainty(score, text):
    assert score_text(score) == text
