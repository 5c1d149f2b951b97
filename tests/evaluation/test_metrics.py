"""Metrics against hand-computed values, a brute force, and scikit-learn."""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from medae.base.errors import InputError
from medae.evaluation.metrics import (
    auc,
    average_precision,
    dice_max,
    image_metrics,
    mean_reconstruction_errors,
    pixel_metrics,
    ranking_curve,
)

EXACT = 1e-12


def curve_of(labels, scores):
    return ranking_curve(labels=np.asarray(labels), scores=np.asarray(scores), what="cases")


@st.composite
def cases(draw, max_size=40):
    """Labels of both classes and float32 scores from few values, so that most are tied."""
    values = st.one_of(
        st.integers(-2, 2).map(float), st.floats(width=32, allow_nan=False, allow_infinity=False)
    )
    pool = draw(st.lists(values, min_size=1, max_size=6))
    size = draw(st.integers(2, max_size))
    scores = draw(st.lists(st.sampled_from(pool), min_size=size, max_size=size))
    labels = draw(st.lists(st.integers(0, 1), min_size=size, max_size=size))
    labels[0], labels[1] = 0, 1
    order = draw(st.permutations(range(size)))
    return np.array(labels, dtype=np.uint8)[order], np.array(scores, dtype=np.float32)[order]


def brute_force(labels, scores):
    """All metrics from their definitions: every pair, every threshold."""
    good, bad = scores[labels == 0], scores[labels == 1]
    pairs = [1.0 if b > g else 0.5 if b == g else 0.0 for b in bad for g in good]
    area, precision_sum, recall_before, best, best_threshold = np.mean(pairs), 0.0, 0.0, -1.0, None
    for threshold in sorted(set(scores.tolist()), reverse=True):
        called = scores >= threshold
        hits = int(np.sum(called & (labels == 1)))
        recall = hits / len(bad)
        precision_sum += (recall - recall_before) * hits / int(np.sum(called))
        recall_before = recall
        dice = 2 * hits / (int(np.sum(called)) + len(bad))
        if dice > best:
            best, best_threshold = dice, threshold
    return area, precision_sum, best, best_threshold


def test_hand_computed_without_ties():
    curve = curve_of([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    assert curve.thresholds.tolist() == [0.8, 0.4, 0.35, 0.1]
    assert curve.true_positives.tolist() == [1, 1, 2, 2]
    assert curve.false_positives.tolist() == [0, 1, 1, 2]
    assert auc(curve) == 3 / 4  # 0.35 loses against 0.4
    assert average_precision(curve) == pytest.approx(1 / 2 + 1 / 2 * 2 / 3, abs=EXACT)
    assert dice_max(curve) == (pytest.approx(4 / 5, abs=EXACT), 0.35)


def test_hand_computed_with_ties():
    curve = curve_of([1, 0, 1, 0, 0], [2.0, 1.0, 1.0, 1.0, 0.0])
    assert curve.thresholds.tolist() == [2.0, 1.0, 0.0]
    # pairs: 2 beats all three; 1 ties with two and beats one
    assert auc(curve) == pytest.approx((3 + 0.5 + 0.5 + 1) / 6, abs=EXACT)
    assert average_precision(curve) == pytest.approx(0.5 * 1 + 0.5 * 2 / 4, abs=EXACT)
    # thresholds 2, 1, 0: 2/3, 4/6, 4/7; of the two equal ones the highest
    assert dice_max(curve) == (pytest.approx(2 / 3, abs=EXACT), 2.0)


def test_perfect_reversed_and_constant_scores():
    labels = [0, 0, 0, 1]
    assert image_metrics(labels=labels, scores=[1, 2, 3, 4], what="x") == {"auc": 1.0, "ap": 1.0}
    assert image_metrics(labels=labels, scores=[4, 3, 2, 1], what="x") == {"auc": 0.0, "ap": 0.25}
    assert image_metrics(labels=labels, scores=[7, 7, 7, 7], what="x") == {"auc": 0.5, "ap": 0.25}
    assert dice_max(curve_of(labels, [7, 7, 7, 7])) == (pytest.approx(2 / 5), 7.0)


@given(cases())
def test_equals_brute_force_and_sklearn(case):
    labels, scores = case
    curve = curve_of(labels, scores)
    area, precision, dice, threshold = brute_force(labels, scores)
    assert auc(curve) == pytest.approx(area, abs=EXACT)
    assert auc(curve) == pytest.approx(roc_auc_score(labels, scores), abs=EXACT)
    assert average_precision(curve) == pytest.approx(precision, abs=EXACT)
    assert average_precision(curve) == pytest.approx(
        average_precision_score(labels, scores), abs=EXACT
    )
    assert dice_max(curve) == (pytest.approx(dice, abs=EXACT), threshold)


def test_equals_sklearn_on_many_cases():
    rng = np.random.default_rng(0)
    labels = (rng.random(200_000) < 0.02).astype(np.uint8)
    scores = np.round(rng.standard_normal(200_000) + labels, 3).astype(np.float32)
    curve = curve_of(labels, scores)
    assert auc(curve) == pytest.approx(roc_auc_score(labels, scores), abs=EXACT)
    assert average_precision(curve) == pytest.approx(
        average_precision_score(labels, scores), abs=EXACT
    )


@given(cases(), st.randoms(use_true_random=False))
def test_order_of_cases_does_not_matter(case, random):
    labels, scores = case
    order = list(range(len(labels)))
    random.shuffle(order)
    one, other = curve_of(labels, scores), curve_of(labels[order], scores[order])
    assert np.array_equal(one.thresholds, other.thresholds)
    assert np.array_equal(one.true_positives, other.true_positives)
    assert np.array_equal(one.false_positives, other.false_positives)


@given(cases())
def test_only_the_order_of_scores_matters(case):
    labels, scores = case
    ranks = np.unique(scores, return_inverse=True)[1]
    curve, other = curve_of(labels, scores), curve_of(labels, np.exp(ranks / 10.0))
    assert auc(curve) == auc(other)
    assert average_precision(curve) == average_precision(other)
    assert dice_max(curve)[0] == dice_max(other)[0]


@given(cases())
def test_swapping_classes_and_sign_keeps_auc(case):
    labels, scores = case
    assert auc(curve_of(labels, scores)) == auc(curve_of(1 - labels, -scores))


def test_exact_dice_is_at_least_that_of_200_thresholds():
    rng = np.random.default_rng(1)
    masks = (rng.random(5000) < 0.1).astype(np.uint8)
    maps = (rng.standard_normal(5000) + 1.5 * masks).astype(np.float32) ** 2
    tried = []
    for threshold in np.linspace(maps.min(), maps.max(), 200):
        called = maps >= threshold
        tried.append(2 * np.sum(called & (masks == 1)) / (called.sum() + masks.sum()))
    exact = dice_max(curve_of(masks, maps))[0]
    assert max(tried) <= exact <= max(tried) + 0.01


def test_pixel_metrics_pool_the_pixels_of_all_images():
    masks = np.zeros((2, 2, 2), dtype=np.uint8)
    masks[1, 0] = 1
    maps = np.array([[[0.1, 0.2], [0.3, 0.6]], [[0.9, 0.5], [0.2, 0.1]]], dtype=np.float32)
    values = pixel_metrics(masks=masks, maps=maps, what="pixels")
    assert list(values) == ["auc_pix", "ap_pix", "dice_max", "dice_max_threshold"]
    assert values["auc_pix"] == pytest.approx(11 / 12, abs=EXACT)
    assert values["ap_pix"] == pytest.approx(0.5 + 0.5 * 2 / 3, abs=EXACT)
    assert values["dice_max"] == pytest.approx(0.8, abs=EXACT)
    assert values["dice_max_threshold"] == 0.5


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        ([], [], "There are no cases.*Check"),
        ([0, 0], [1.0, 2.0], r"All 2 cases are normal \(label 0\).*Check"),
        ([1, 1, 1], [1.0, 2.0, 3.0], r"All 3 cases are abnormal \(label 1\).*Check"),
        ([0, 1, 2], [1.0, 2.0, 3.0], "1 of the 3 cases have a label.*Delete"),
        ([0, 1], [np.nan, 2.0], "1 of the 2 scores of cases are not finite.*train it again"),
        ([0, 1], [-np.inf, np.inf], "2 of the 2 scores of cases are not finite"),
    ],
)
def test_what_cannot_be_ranked_is_an_input_error(labels, scores, message):
    with pytest.raises(InputError, match=message):
        curve_of(labels, scores)


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="shape"):
        curve_of([0, 1, 1], [1.0, 2.0])


def test_mean_reconstruction_errors():
    split = ["train", "train", "test", "test", "test"]
    means = mean_reconstruction_errors(
        split=split, labels=[0, 0, 0, 1, 1], errors=[1.0, 2.0, 4.0, 8.0, 16.0]
    )
    assert means == {
        "error_train_normal": 1.5,
        "error_test_normal": 4.0,
        "error_test_abnormal": 12.0,
    }


@pytest.mark.parametrize(
    ("labels", "errors", "message"),
    [
        ([0, 0, 0], [1.0, 1.0, 1.0], "abnormal test images: there are none"),
        ([0, 0, 1], [1.0, np.inf, 1.0], "normal test images: some are not finite"),
    ],
)
def test_mean_reconstruction_errors_need_all_groups(labels, errors, message):
    with pytest.raises(InputError, match=message):
        mean_reconstruction_errors(split=["train", "test", "test"], labels=labels, errors=errors)


def test_memory_on_a_whole_test_set():
    """The pixels of the largest masked test set (2,776 maps of 64 × 64) need less than 2 GB."""
    pytest.importorskip("resource", reason="peak memory is measured on Unix")
    program = """
import resource, sys
import numpy as np
from medae.evaluation.metrics import pixel_metrics
rng = np.random.default_rng(0)
masks = (rng.random((2776, 64, 64), dtype=np.float32) < 0.03).astype(np.uint8)
maps = rng.standard_normal(masks.shape, dtype=np.float32) ** 2 * (1 + masks)
values = pixel_metrics(masks=masks, maps=maps.astype(np.float32), what="pixels")
assert 0.5 < values["auc_pix"] < 1
unit = 1 if sys.platform == "darwin" else 1024
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)
"""
    run = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(run.stdout) < 2e9


def test_metrics_and_tables_start_without_torch():
    program = (
        "import sys, medae.evaluation.metrics, medae.report.tables, collect_metrics,"
        " compute_metrics, compare_with_paper, tabulate_latent_dimension; assert 'torch' not in sys.modules"
    )
    subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        check=True,
    )
