"""Yes-or-no questions, ranking curves and operating points, against scikit-learn and by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from mammo_core.analysis.operating_points import (
    RULES,
    apply_threshold,
    edge_words,
    kappas,
    predictive_values,
    rule_words,
    threshold_of,
)
from mammo_core.analysis.predictions import cases_of
from mammo_core.analysis.questions import Answers, answers_of, questions_of
from mammo_core.analysis.thresholds import curve_of, ranking_of
from test_metrics import DENSITY, LESION, draw, table_of


def random_answers(seed: int = 0, n: int = 150, ties: bool = False) -> Answers:
    generator = np.random.default_rng(seed)
    positive = generator.random(n) < 0.3
    scores = np.clip(0.4 * positive + generator.random(n) * 0.6, 0, 1)
    return Answers(np.round(scores, 1) if ties else scores, positive, tuple(f"p{i // 2}" for i in range(n)))


# ---- questions ------------------------------------------------------------------------------------------------------------


def test_an_ordered_scale_asks_for_dense_first_then_every_cut_then_every_class():
    asked = {question.key: question.positive for question in questions_of(DENSITY, ordinal=True)}
    assert list(asked) == ["dense", "from:B", "from:D", "class:A", "class:B", "class:C"], "D against the rest is the cut at D"
    assert asked["dense"] == ("C", "D")
    assert asked["from:B"] == ("B", "C", "D")


def test_lesions_ask_for_malignant_abnormal_and_malignant_among_lesions():
    asked = {question.key: (question.positive, question.negative) for question in questions_of(LESION, ordinal=False)}
    assert asked["malignant"] == (("Malignant",), ("Normal", "Benign"))
    assert asked["abnormal"] == (("Benign", "Malignant"), ("Normal",))
    assert asked["malignant_vs_benign"] == (("Malignant",), ("Benign",))


def test_other_classes_are_each_asked_against_the_rest_and_one_class_allows_no_question():
    assert [q.key for q in questions_of(("cat", "dog"), ordinal=False)] == ["class:cat", "class:dog"]
    assert questions_of(("cat",), ordinal=False) == () == questions_of(("A",), ordinal=True)


def test_among_lesions_normal_films_are_left_out_and_the_score_is_conditional():
    labels, probabilities = draw(0, k=3)
    cases = cases_of(table_of(labels, probabilities, LESION), LESION, ordinal=False)
    question = next(q for q in questions_of(LESION, False) if q.key == "malignant_vs_benign")
    answers = answers_of(cases, question)
    kept = labels > 0
    assert answers.scores == pytest.approx(probabilities[kept, 2] / probabilities[kept, 1:].sum(axis=1))
    assert (answers.positive == (labels[kept] == 2)).all()


# ---- curves ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ties", [False, True])
def test_curves_equal_those_of_scikit_learn_point_by_point(ties):
    answers = random_answers(1, ties=ties)
    curve = curve_of(questions_of(("a", "b"), False)[0], answers, bootstrap=0)
    false_rate, true_rate, thresholds = sk.roc_curve(answers.positive, answers.scores, drop_intermediate=False)
    assert curve.false_positive_rate == pytest.approx(false_rate)
    assert curve.true_positive_rate == pytest.approx(true_rate)
    assert curve.thresholds[1:] == pytest.approx(thresholds[1:])
    precision, recall, falling = sk.precision_recall_curve(answers.positive, answers.scores)
    assert curve.precision[::-1] == pytest.approx(precision[:-1])
    assert curve.recall[::-1] == pytest.approx(recall[:-1])
    assert curve.thresholds[1:][::-1] == pytest.approx(falling)
    assert curve.auc.value == pytest.approx(sk.roc_auc_score(answers.positive, answers.scores))
    assert curve.average_precision.value == pytest.approx(sk.average_precision_score(answers.positive, answers.scores))


def test_intervals_resample_patients_and_the_band_holds_the_curve():
    labels, probabilities = draw(2, n=60)
    once = ranking_of(table_of(labels, probabilities, DENSITY), DENSITY, True, ["dense"], bootstrap=300)[0]
    repeated = table_of(np.repeat(labels, 5), np.repeat(probabilities, 5, axis=0), DENSITY, films_each=5)
    five = ranking_of(repeated, DENSITY, True, ["dense"], bootstrap=300)[0]
    assert (five.auc.ci_low, five.auc.ci_high) == pytest.approx((once.auc.ci_low, once.auc.ci_high))
    assert five.average_precision.ci_low == pytest.approx(once.average_precision.ci_low)
    middle = np.interp(once.band_rates, once.false_positive_rate, once.true_positive_rate)
    inside = (once.band_low - 1e-9 <= middle) & (middle <= once.band_high + 1e-9)
    assert inside[1:].mean() > 0.95
    assert (five.patients, five.films) == (60, 300)


def test_a_question_with_one_kind_of_answer_has_no_curve_but_a_reason():
    labels, probabilities = draw(3, n=20, k=3)
    curve = ranking_of(table_of(np.zeros_like(labels), probabilities, LESION), LESION, False, ["malignant"], bootstrap=20)[0]
    assert curve.undefined == "no cases of Malignant"
    assert curve.auc.value is None
    assert curve.auc.method == "undefined: no cases of Malignant"


def test_among_lesions_without_a_lesion_there_is_no_curve_and_no_crash():
    labels, probabilities = draw(3, n=20, k=3)
    table = table_of(np.zeros_like(labels), probabilities, LESION)
    curve = ranking_of(table, LESION, False, ["malignant_vs_benign"], bootstrap=20)[0]
    assert (curve.films, curve.undefined) == (0, "no cases of Malignant")


# ---- operating points -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("ties", [False, True])
def test_rules_keep_what_they_promise_on_the_films_that_choose_and_give_nothing_away(seed, ties):
    answers = random_answers(seed, ties=ties)
    for rule in ("sensitivity_90", "sensitivity_80", "specificity_90", "specificity_80"):
        chosen = threshold_of(rule, answers)
        kind, least = rule.split("_")
        point = apply_threshold(answers, chosen)
        kept, other = (point.sensitivity, point.specificity) if kind == "sensitivity" else (point.specificity, point.sensitivity)
        assert kept.value >= int(least) / 100 - 1e-9
        for score in np.unique(answers.scores):
            rival = apply_threshold(answers, float(score))
            a, b = (rival.sensitivity, rival.specificity) if kind == "sensitivity" else (rival.specificity, rival.sensitivity)
            assert a.value < int(least) / 100 - 1e-9 or b.value <= other.value + 1e-9


def test_the_best_sum_is_youdens():
    answers = random_answers(5)
    false_rate, true_rate, thresholds = sk.roc_curve(answers.positive, answers.scores, drop_intermediate=False)
    assert threshold_of("youden", answers) == thresholds[np.argmax(true_rate - false_rate)]


def test_films_of_one_kind_choose_no_threshold_but_one_half_is_always_there():
    answers = Answers(np.array([0.2, 0.8]), np.array([True, True]), ("a", "b"))
    assert {rule: threshold_of(rule, answers) for rule in RULES} == dict.fromkeys(RULES) | {"fixed_50": 0.5}


def test_only_rules_that_choose_a_threshold_name_the_films_it_was_chosen_on():
    assert rule_words("fixed_50") == "0.5, not chosen"
    assert rule_words("youden") == "largest sensitivity + specificity on validation films"
    assert {rule for rule in RULES if rule_words(rule) == f"{RULES[rule]} on validation films"} == set(RULES) - {"fixed_50"}


def test_a_threshold_gives_the_counts_and_rates_of_scikit_learn():
    answers = random_answers(6)
    point = apply_threshold(answers, 0.5)
    called = answers.scores >= 0.5
    (cleared, alarms), (missed, hits) = sk.confusion_matrix(answers.positive, called)
    counts = (point.true_negatives, point.false_positives, point.false_negatives, point.true_positives)
    assert counts == (cleared, alarms, missed, hits)
    assert point.sensitivity.value == pytest.approx(sk.recall_score(answers.positive, called))
    assert point.kappa.value == pytest.approx(sk.cohen_kappa_score(answers.positive, called))
    assert point.ppv.value == pytest.approx(sk.precision_score(answers.positive, called)), "at the films' own prevalence"
    assert point.npv.value == pytest.approx(sk.precision_score(~answers.positive, ~called))


def test_predictive_values_follow_the_stated_prevalence():
    ppv, npv = predictive_values((90, 100, 100), (80, 100, 100), 0.01)
    assert ppv.value == pytest.approx(0.9 * 0.01 / (0.9 * 0.01 + 0.2 * 0.99))
    assert npv.value == pytest.approx(0.8 * 0.99 / (0.8 * 0.99 + 0.1 * 0.01))
    assert "1.0%" in ppv.method


@pytest.mark.parametrize(
    ("se", "sp", "n_yes", "n_no", "prevalence"),
    [
        (0.85, 0.8, 120, 120, 0.006),
        (0.85, 0.8, 120, 120, 0.1),
        (0.85, 0.8, 120, 120, 0.5),
        (0.85, 0.9, 30, 300, 0.006),
        (0.6, 0.99, 20, 100, 0.1),  # few false alarms: drawing the specificity towards one half covers 0.64
    ],
)
def test_the_interval_of_a_predictive_value_covers_it_as_often_as_it_should(se, sp, n_yes, n_no, prevalence):
    generator = np.random.default_rng(0)
    ppv = se * prevalence / (se * prevalence + (1 - sp) * (1 - prevalence))
    npv = sp * (1 - prevalence) / (sp * (1 - prevalence) + (1 - se) * prevalence)
    covered = np.zeros(2)
    for _ in range(1500):
        hits, cleared = generator.binomial(n_yes, se), generator.binomial(n_no, sp)
        found = predictive_values((hits, n_yes, n_yes), (cleared, n_no, n_no), prevalence)
        covered += [value.ci_low <= truth <= value.ci_high for value, truth in zip(found, (ppv, npv), strict=True)]
    assert covered / 1500 == pytest.approx(0.955, abs=0.022)


def test_without_a_false_alarm_the_predictive_value_is_one_and_still_has_an_interval():
    ppv, _ = predictive_values((10, 20, 20), (50, 50, 50), 0.1)
    assert ppv.value == 1.0
    assert ppv.ci_low < 0.9
    assert ppv.ci_high == 1.0


def test_a_predictive_value_of_one_is_said_to_rest_on_its_interval():
    answers = Answers(np.array([0.9, 0.8, 0.1, 0.2, 0.3]), np.array([True, True, False, False, False]), tuple("abcde"))
    point = apply_threshold(answers, 0.85, prevalence=0.006)
    assert point.ppv.value == 1.0
    assert edge_words(point, "films") == "PPV 1.000: no false positive among 3 films, so this rests on the interval."
    assert edge_words(apply_threshold(answers, 0.25), "films").startswith("NPV 1.000: no positive missed among 2 films")


def test_where_nothing_is_called_positive_the_predictive_value_is_undefined_with_the_reason():
    point = apply_threshold(random_answers(7), np.inf)
    assert point.ppv.value is None
    assert "nothing is called positive" in point.ppv.method
    assert (point.sensitivity.value, point.specificity.value, point.precision) == (0.0, 1.0, None)


# ---- in the metrics file --------------------------------------------------------------------------------------------------


def test_the_known_density_matrix_gives_the_known_dense_values():
    from mammo_core.analysis.metrics import evaluate_predictions
    from test_metrics import KNOWN

    pairs = [(i, j) for i in range(4) for j in range(4) for _ in range(int(KNOWN[i, j]))]
    probabilities = np.eye(4)[[j for _, j in pairs]]
    table = table_of([i for i, _ in pairs], probabilities, DENSITY)
    found = evaluate_predictions(table, DENSITY, True, epoch=1, split_sha256=None, bootstrap=0).metrics
    assert found["dense_sensitivity"].value == pytest.approx(0.8186, abs=5e-5)
    assert found["dense_specificity"].value == pytest.approx(0.8642, abs=5e-5)
    assert found["dense_kappa"].value == pytest.approx(0.6042, abs=5e-5)
    assert found["within_one"].value == pytest.approx(0.9969, abs=5e-5)


def test_lesion_metrics_take_their_thresholds_from_validation_films():
    from mammo_core.analysis.metrics import TITLES, evaluate_predictions

    (val_labels, val_probs), (labels, probs) = draw(8, k=3), draw(9, k=3)
    validation, table = table_of(val_labels, val_probs, LESION), table_of(labels, probs, LESION)
    both = evaluate_predictions(table, LESION, False, epoch=1, split_sha256=None, bootstrap=20, validation=validation).metrics
    false_rate, true_rate, thresholds = sk.roc_curve(val_labels == 2, val_probs[:, 2], drop_intermediate=False)
    threshold = thresholds[np.flatnonzero(1 - false_rate >= 0.9 - 1e-9)[-1]]
    expected = (probs[labels == 2, 2] >= threshold).mean()
    assert both["malignant_sensitivity_at_specificity_90"].value == pytest.approx(expected)
    assert "validation films" in both["malignant_sensitivity_at_specificity_90"].method
    assert both["malignant_ap"].value == pytest.approx(sk.average_precision_score(labels == 2, probs[:, 2]))
    assert both["abnormal_auc"].value == pytest.approx(sk.roc_auc_score(labels > 0, probs[:, 1:].sum(axis=1)))
    lesions = labels > 0
    ratio = probs[lesions, 2] / probs[lesions, 1:].sum(axis=1)
    assert both["malignant_vs_benign_auc"].value == pytest.approx(sk.roc_auc_score(labels[lesions] == 2, ratio))
    own = evaluate_predictions(table, LESION, False, epoch=1, split_sha256=None, bootstrap=0).metrics
    assert "optimistic" in own["malignant_sensitivity_at_specificity_90"].method
    assert set(own) <= set(TITLES)


def test_cuts_of_a_scale_and_skills_equal_their_definitions():
    from mammo_core.analysis.metrics import TITLES, evaluate_predictions

    labels, probs = draw(10)
    found = evaluate_predictions(table_of(labels, probs, DENSITY), DENSITY, True, epoch=1, split_sha256=None, bootstrap=0).metrics
    for place in (1, 2, 3):
        expected = sk.roc_auc_score(labels >= place, probs[:, place:].sum(axis=1))
        assert found[f"auc_cut_{place}"].value == pytest.approx(expected)
    shares = np.tile(np.bincount(labels, minlength=4) / len(labels), (len(labels), 1))
    assert found["log_loss_skill"].value == pytest.approx(1 - sk.log_loss(labels, probs) / sk.log_loss(labels, shares))
    brier = [sk.brier_score_loss(labels, p, scale_by_half=False) for p in (probs, shares)]
    assert found["brier_skill"].value == pytest.approx(1 - brier[0] / brier[1])
    assert set(found) <= set(TITLES)


def test_validation_films_of_one_kind_leave_threshold_metrics_undefined_with_the_reason():
    from mammo_core.analysis.metrics import evaluate_predictions

    labels, probs = draw(11, k=3)
    validation = table_of(np.zeros(10, dtype=int), probs[:10], LESION)
    table = table_of(labels, probs, LESION)
    found = evaluate_predictions(table, LESION, False, epoch=1, split_sha256=None, bootstrap=5, validation=validation).metrics
    assert found["malignant_specificity_at_sensitivity_90"].value is None
    assert "where the threshold was chosen" in found["malignant_specificity_at_sensitivity_90"].method
    assert isinstance(table, pd.DataFrame)


# ---- one number, one interval ---------------------------------------------------------------------------------------------


def ends(value):
    return value.value, value.ci_low, value.ci_high


@pytest.mark.parametrize(("names", "ordinal"), [(DENSITY, True), (LESION, False)], ids=["density", "lesion"])
def test_an_auc_has_the_same_interval_in_the_metrics_file_the_ranking_and_the_subgroups(names, ordinal):
    from mammo_core.analysis.metrics import evaluate_predictions
    from mammo_core.analysis.subgroups import subgroup_metrics, subgroups_of

    labels, probs = draw(12, k=len(names))
    table = table_of(labels, probs, names, films_each=2).assign(center=["1", "2"] * (len(labels) // 2))
    file = evaluate_predictions(table, names, ordinal, epoch=1, split_sha256=None, bootstrap=200)
    in_file = {f"class:{name}": file.per_class[name]["auc"] for name in names}
    in_file |= {key: file.metrics[f"{key}_auc"] for key in ("dense", "malignant", "abnormal", "malignant_vs_benign")
                if f"{key}_auc" in file.metrics}  # fmt: skip
    curves = ranking_of(table, names, ordinal, bootstrap=200)
    compared = [curve for curve in curves if curve.question.key in in_file]
    assert len(compared) >= 4
    for curve in compared:
        key = curve.question.key
        everybody = subgroups_of(table, "center", subgroup_metrics(names, ordinal)[key], names, ordinal, bootstrap=200)[0]
        assert ends(curve.auc) == pytest.approx(ends(in_file[key]), abs=1e-9), key
        assert ends(everybody.value) == pytest.approx(ends(in_file[key]), abs=1e-9), key


@pytest.mark.parametrize("perfect", [False, True])
def test_rates_of_a_fixed_threshold_have_the_same_interval_in_the_metrics_file_and_at_the_threshold(perfect):
    from mammo_core.analysis.metrics import evaluate_predictions

    labels, probs = draw(13)
    probs = np.eye(4)[labels] * 0.9 + 0.025 if perfect else probs
    table = table_of(labels, probs, DENSITY, films_each=2)
    file = evaluate_predictions(table, DENSITY, True, epoch=1, split_sha256=None, bootstrap=200).metrics
    answers = answers_of(cases_of(table, DENSITY, True), questions_of(DENSITY, True)[0])
    point, (kappa,) = apply_threshold(answers, 0.5), kappas(answers, [0.5], bootstrap=200)
    assert ends(file["dense_sensitivity"]) == ends(point.sensitivity)
    assert ends(file["dense_specificity"]) == ends(point.specificity)
    assert ends(file["dense_kappa"]) == ends(kappa)
    assert point.specificity.ci_low is not None
    assert not perfect or (point.specificity.value == 1.0 and point.specificity.ci_low < 1)


def test_test_films_never_choose_a_threshold_themselves():
    from mammo_core.analysis.metrics import evaluate_predictions

    labels, probs = draw(14)
    table = table_of(labels, probs, DENSITY)
    alone = evaluate_predictions(table, DENSITY, True, epoch=1, split_sha256=None, bootstrap=20, on="test").metrics
    for name in ("dense_sensitivity_youden", "dense_specificity_youden", "dense_kappa_youden"):
        assert alone[name].value is None
        assert alone[name].method == "undefined: no validation films chose the threshold"
    assert alone["dense_sensitivity"].value is not None, "0.5 is chosen by nobody"
    itself = evaluate_predictions(table, DENSITY, True, epoch=1, split_sha256=None, bootstrap=20).metrics
    assert "chosen on these films, so optimistic" in itself["dense_kappa_youden"].method
