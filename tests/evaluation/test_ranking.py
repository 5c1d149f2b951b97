"""The ranking curve and its metrics: by hand, by a brute force, and against scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from medae.base.errors import InputError
from medae.evaluation.ranking import (
    STRATA,
    auc,
    average_precision,
    dice_max,
    image_metrics,
    rank,
    stratified_auc,
    variance_strata,
)

EXACT = 1e-12
WEIGHTS = [0, 0.463, 1, 2]


def curve_of(labels, scores, weights=None):
    return rank(labels=np.asarray(labels), scores=np.asarray(scores), weights=weights)


def weighted_cases(seed):
    """Labels of both classes, tied scores, and three rows of weights, the first one of ones."""
    random = np.random.default_rng(seed)
    count = int(random.integers(2, 40))
    labels = np.append([0, 1], random.integers(0, 2, count - 2)).astype(np.uint8)
    scores = random.choice(random.normal(size=6), count).astype(np.float32)
    weights = random.choice(WEIGHTS, (3, count))
    weights[0] = weights[:, :2] = 1
    order = random.permutation(count)
    return labels[order], scores[order], weights[:, order]


def brute_force(labels, scores, weights):
    """AUC, AP, best Dice and its threshold from their definitions: every pair, every threshold."""
    rows = list(zip(labels.tolist(), scores.tolist(), weights.tolist(), strict=True))
    good, bad = ([(score, w) for own, score, w in rows if own == label] for label in (0, 1))
    right = sum(w * v * ((b > g) + (b == g) / 2) for b, w in bad for g, v in good)
    total = sum(weight for _, weight in bad)
    area = right / (total * sum(weight for _, weight in good))
    precision_sum, recall_before, best, best_threshold = 0.0, 0.0, -1.0, None
    for threshold in sorted(set(scores.tolist()), reverse=True):
        hits = sum(weight for score, weight in bad if score >= threshold)
        called = hits + sum(weight for score, weight in good if score >= threshold)
        if called > 0:
            precision_sum += (hits / total - recall_before) * hits / called
        recall_before = hits / total
        dice = 2 * hits / (called + total)
        if dice > best + EXACT:
            best, best_threshold = dice, threshold
    return area, precision_sum, best, best_threshold


# --- by hand ---


def test_average_precision_at_another_share_of_abnormal_cases():
    """Normal cases of weight 1/2: at 0.8 all are abnormal, at 0.35 two of 2.5."""
    cases = {"labels": [0, 0, 1, 1], "scores": [0.1, 0.4, 0.35, 0.8], "what": "cases"}
    found = image_metrics(**cases, share=2 / 3)
    assert found["ap_share"] == pytest.approx(1 / 2 + 1 / 2 * 2 / 2.5, abs=EXACT)
    assert found["auc"] == 3 / 4


# --- by brute force ---


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_equals_brute_force_and_sklearn(seed):
    labels, scores, weights = weighted_cases(seed)
    curve, plain = curve_of(labels, scores, weights), curve_of(labels, scores)
    np.testing.assert_array_equal(curve.true_positives[0], plain.true_positives)
    np.testing.assert_array_equal(curve.false_positives[0], plain.false_positives)
    dices, thresholds = dice_max(curve)
    for i, row in enumerate(weights):
        area, precision = auc(curve)[i], average_precision(curve)[i]
        *expected, threshold = brute_force(labels, scores, row)
        assert [area, precision, dices[i]] == pytest.approx(expected, abs=EXACT)
        theirs = {"sample_weight": row}
        assert area == pytest.approx(roc_auc_score(labels, scores, **theirs), abs=EXACT)
        theirs = average_precision_score(labels, scores, **theirs)
        assert precision == pytest.approx(theirs, abs=EXACT)
        if (row == row.round()).all():  # rounding of fractions decides between equal Dices
            assert thresholds[i] == threshold


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        ([0, 0], [1.0, 2.0], "None of the 2 cases is abnormal.*Check"),
        ([1, 1, 1], [1.0, 2.0, 3.0], "None of the 3 cases is normal.*Check"),
        ([0, 1], [np.nan, 2.0], "1 of the 2 scores of cases are not finite.*train it again"),
        ([0, 1], [-np.inf, np.inf], "2 of the 2 scores of cases are not finite"),
    ],
)
def test_what_cannot_be_ranked_is_an_input_error(labels, scores, message):
    with pytest.raises(InputError, match=message):
        image_metrics(labels=labels, scores=scores, what="cases")


# --- strata of like variance ---


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_stratified_auc_is_the_share_of_right_pairs(seed):
    random = np.random.default_rng(seed)
    labels = np.append([0, 1], random.integers(0, 2, 58))
    scores, strata = random.integers(0, 8, 60) / 8, variance_strata(random.uniform(0, 1, 60))
    cases = {"labels": labels, "scores": scores, "strata": strata}
    pairs = [
        (scores[a] > scores[n]) + (scores[a] == scores[n]) / 2
        for a in np.flatnonzero(labels == 1)
        for n in np.flatnonzero((labels == 0) & (strata == strata[a]))
    ]
    expected = np.mean(pairs) if pairs else np.nan
    assert stratified_auc(**cases) == pytest.approx(expected, nan_ok=True)
    cases["strata"] = np.zeros(60)
    plain = image_metrics(labels=labels, scores=scores, what="")["auc"]
    assert stratified_auc(**cases) == pytest.approx(plain)


def test_the_variance_itself_tells_nothing():
    labels = np.tile([0, 1, 1, 0], 25)
    variances = np.repeat(np.arange(10.0), 10)
    strata = variance_strata(variances)
    assert stratified_auc(labels=labels, scores=variances, strata=strata) == 0.5


def test_strata_are_alike_in_number_and_do_not_part_equals():
    variances = np.random.default_rng(0).permutation(200).astype(float)
    strata = variance_strata(variances)
    assert np.bincount(strata).tolist() == [20] * STRATA
    assert (np.diff(strata[np.argsort(variances)]) >= 0).all()
    twice = variance_strata(np.repeat(variances[:33], 2))
    np.testing.assert_array_equal(twice[::2], twice[1::2])


def test_strata_of_one_class_have_no_pairs():
    cases = {"scores": np.array([0.1, 0.9, 0.5, 0.4]), "strata": np.array([0, 0, 1, 1])}
    assert stratified_auc(labels=np.array([0, 1, 1, 1]), **cases) == 1
    assert np.isnan(stratified_auc(labels=np.array([0, 0, 1, 1]), **cases))
