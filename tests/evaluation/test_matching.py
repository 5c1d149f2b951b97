"""AUC among images of like variance."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medae.evaluation.matching import STRATA, matched_auc, variance_strata
from medae.evaluation.metrics import image_metrics


def draw(seed, count=60):
    random = np.random.default_rng(seed)
    labels = np.append([0, 1], random.integers(0, 2, count - 2))
    return labels, random.integers(0, 8, count) / 8, random.uniform(0, 1, count)


def by_pairs(labels, scores, strata, times):
    right = pairs = 0.0
    for a in np.flatnonzero(labels == 1):
        for n in np.flatnonzero(labels == 0):
            if strata[a] == strata[n]:
                weight = times[a] * times[n]
                pairs += weight
                right += weight * (scores[a] > scores[n]) + weight * (scores[a] == scores[n]) / 2
    return right / pairs if pairs else np.nan


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_it_is_the_share_of_right_pairs(seed):
    labels, scores, variances = draw(seed)
    strata = variance_strata(variances)
    weights = np.random.default_rng(seed).integers(0, 3, (4, len(labels))).astype(np.float32)
    found = matched_auc(labels=labels, scores=scores, strata=strata, weights=weights)
    expected = [by_pairs(labels, scores, strata, row) for row in weights]
    np.testing.assert_allclose(found, expected)


def test_one_stratum_is_the_plain_auc():
    labels, scores, _ = draw(0)
    strata = variance_strata(np.full(len(labels), 0.5))
    assert len(set(strata)) == 1
    plain = image_metrics(labels=labels, scores=scores, what="")["auc"]
    assert matched_auc(labels=labels, scores=scores, strata=strata) == pytest.approx([plain])


def test_the_variance_itself_tells_nothing():
    labels = np.tile([0, 1, 1, 0], 25)
    variances = np.repeat(np.arange(10.0), 10)
    strata = variance_strata(variances)
    assert matched_auc(labels=labels, scores=variances, strata=strata) == [0.5]


def test_strata_are_alike_in_number_and_do_not_part_equals():
    variances = np.random.default_rng(0).permutation(200).astype(float)
    strata = variance_strata(variances)
    assert np.bincount(strata).tolist() == [20] * STRATA
    assert (np.diff(strata[np.argsort(variances)]) >= 0).all()
    twice = variance_strata(np.repeat(variances[:33], 2))
    np.testing.assert_array_equal(twice[::2], twice[1::2])


def test_strata_of_one_class_have_no_pairs():
    strata = np.array([0, 0, 1, 1])
    right = {"scores": np.array([0.1, 0.9, 0.5, 0.4]), "strata": strata}
    assert matched_auc(labels=np.array([0, 1, 1, 1]), **right) == [1]
    assert np.isnan(matched_auc(labels=np.array([0, 0, 1, 1]), **right)).all()
