import numpy as np
import pytest
import torch

from mammo_core.errors import ConfigError
from mammo_core.explain.targets import class_target, find_target, targets_of

DENSITY, LESION = "ABCD", ("Normal", "Benign", "Malignant")
LOGITS = torch.tensor([0.3, -1.2, 2.1, 0.8])


def value_and_gradient(target, logits):
    logits = logits.clone().requires_grad_()
    value = target(logits)
    value.backward()
    return float(value.detach()), logits.grad.numpy()


def probabilities(logits):
    exact = np.exp(logits.double().numpy())
    return exact / exact.sum()


def test_a_class_is_its_logit_alone():
    value, gradient = value_and_gradient(class_target(2, "C"), LOGITS)
    assert value == pytest.approx(2.1)
    np.testing.assert_array_equal(gradient, [0, 0, 1, 0])


def test_a_question_is_the_logit_of_its_yes():
    """d/dz of log(P(C) + P(D)) - log(P(A) + P(B)) is each class's share of its own side, with the side's sign."""
    value, gradient = value_and_gradient(find_target("dense", DENSITY, True), LOGITS)
    p = probabilities(LOGITS)
    assert value == pytest.approx(np.log((p[2] + p[3]) / (p[0] + p[1])), rel=1e-6)
    expected = np.concatenate([-p[:2] / p[:2].sum(), p[2:] / p[2:].sum()])
    np.testing.assert_allclose(gradient, expected, rtol=1e-5)


def test_a_question_among_some_classes_leaves_the_others_out():
    value, gradient = value_and_gradient(find_target("malignant_vs_benign", LESION, False), LOGITS[:3])
    assert value == pytest.approx(2.1 + 1.2)
    np.testing.assert_allclose(gradient, [0, -1, 1])


def test_malignant_against_the_rest_is_the_logit_of_its_probability():
    value, gradient = value_and_gradient(find_target("Malignant against the rest", LESION, False), LOGITS[:3])
    p = probabilities(LOGITS[:3])
    assert value == pytest.approx(np.log(p[2] / (1 - p[2])), rel=1e-6)
    np.testing.assert_allclose(gradient, [-p[0] / (p[0] + p[1]), -p[1] / (p[0] + p[1]), 1], rtol=1e-5)


def test_the_expected_category_is_the_mean_of_the_scale():
    """d/dz_k of sum_k k p_k is p_k (k - mean)."""
    value, gradient = value_and_gradient(find_target("expected", DENSITY, True), LOGITS)
    p = probabilities(LOGITS)
    mean = (np.arange(4) * p).sum()
    assert value == pytest.approx(mean, rel=1e-6)
    np.testing.assert_allclose(gradient, p * (np.arange(4) - mean), rtol=1e-5)


def test_a_very_sure_model_still_has_a_gradient_for_each_target():
    sure = torch.tensor([0.0, 0.0, 60.0, 0.0])
    for target in targets_of(DENSITY, True):
        value, gradient = value_and_gradient(target, sure)
        assert np.isfinite(value)
        assert np.isfinite(gradient).all() and gradient.any()
    _, gradient = value_and_gradient(find_target("expected", DENSITY, True), sure)
    # By hand: p of the others is exp(-60) and the mean is 2.
    np.testing.assert_allclose(gradient[[0, 1, 3]], np.exp(-60.0) * np.array([-2, -1, 1]), rtol=1e-5)


def test_classes_come_first_then_what_the_task_is_about():
    assert [target.name for target in targets_of(DENSITY, True)] == [
        "A", "B", "C", "D", "C or D against A or B", "Expected category (A to D)",
    ]  # fmt: skip
    assert [(target.key, target.name) for target in targets_of(LESION, False)][3:] == [
        ("malignant", "Malignant against the rest"),
        ("abnormal", "Benign or Malignant against Normal"),
        ("malignant_vs_benign", "Malignant against Benign, among lesions"),
    ]
    assert [target.name for target in targets_of(("cat", "dog"), False)] == ["cat", "dog"]
    assert [target.key for target in targets_of(("low", "high"), True)] == ["class:low", "class:high", "dense"]


def test_a_class_goes_before_a_key_and_a_name_that_read_alike():
    target = find_target("dense", ("fatty", "dense", "very dense"), True)
    assert (target.key, target.positive, target.negative) == ("class:dense", (1,), ())
    names = [target.name for target in targets_of(("A", "B", "B against A"), True)]
    assert len(set(names)) == len(names)


def test_what_there_is_not_is_refused_with_what_there_is():
    with pytest.raises(ConfigError, match=r"knows no class 'Z'.*C or D against A or B"):
        find_target("Z", DENSITY, True)


def test_the_words_speak_of_influence_on_a_score():
    subjects = [target.subject for target in targets_of(DENSITY, True)]
    assert subjects[4:] == ["the score for C or D against A or B", "the expected category on the scale from A to D"]
    assert all("found" not in subject for subject in subjects)
