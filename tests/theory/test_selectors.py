"""Choices on curves made by hand: flat, falling, rising, with one candidate."""

import numpy as np
import pytest

from medae.theory.selectors import (
    intrinsic_dimension,
    knee,
    mean_errors,
    one_standard_error,
    synthetic_auc,
)

ALONE = np.arange(40)


def errors_of(means, *, spread=0.0, own=0.0, seed=0):
    """Errors of 40 images: the image's own level, shared by candidates, and noise of each."""
    random = np.random.default_rng(seed)
    shared = random.standard_normal((40, 1)) * own
    return np.array(means) + shared + random.standard_normal((40, len(means))) * spread


def test_standard_error_of_groups_by_hand():
    errors = np.array([[1.0], [3.0], [5.0], [7.0]])  # mean 4; sums -4 and 1 + 3
    mean, spread = mean_errors(errors, np.array([7, 7, 2, 2]))
    assert mean == pytest.approx([4])
    assert spread == pytest.approx([np.sqrt(2 / 1 * (16 + 16)) / 4])


def test_the_smallest_within_one_standard_error():
    # The difference of the last two is 0.001 ± 0.003, of the second and the last 0.1 ± 0.003.
    errors = errors_of([0.5, 0.2, 0.101, 0.1], spread=0.014)
    assert one_standard_error(errors, ALONE).position == 2
    # What images have in common is not the candidates' spread.
    errors = errors_of([0.5, 0.2, 0.101, 0.1], spread=1e-4, own=10.0)
    assert one_standard_error(errors, ALONE).position == 3


def test_groups_widen_the_spread():
    groups = np.repeat(np.arange(4), 10)
    errors = errors_of([0.0, 0.0])
    errors[:, 0] += np.array([0.3, 0.3, -0.2, -0.2])[groups]  # 0.05, ± 0.04 or by group ± 0.14
    assert one_standard_error(errors, ALONE).position == 1
    assert one_standard_error(errors, groups).position == 0


def test_knee_of_a_corner():
    sizes = np.array([1, 2, 4, 8, 16, 32, 64])
    errors = np.array([10, 6, 2, 1.8, 1.6, 1.4, 1.2])
    assert knee(errors, sizes).position == knee(5 * errors + 3, 3 * sizes).position == 2


@pytest.mark.parametrize("errors", [[1, 1, 1, 1, 1], [5, 4, 3, 2, 1], [1, 2, 3, 4, 5], [2, 1], [2]])
def test_curves_without_a_knee(errors):
    choice = knee(np.array(errors, dtype=float), 2 ** np.arange(len(errors)))
    assert choice.position is None
    assert "no knee" in choice.criterion


@pytest.mark.parametrize(
    "estimate, expected", [(0.5, 0), (3.9, 2), (4, 2), (4.1, 3), (16.1, None), (np.nan, None)]
)
def test_the_smallest_at_least_the_dimension(estimate, expected):
    assert intrinsic_dimension([1, 2, 4, 16], estimate).position == expected


@pytest.mark.parametrize(
    "values, errors, expected",
    [
        ([0.7, 0.7, 0.7], [0, 0, 0], 0),
        ([0.6, 0.7, 0.8], [1, 1, 0.09], 2),
        ([0.6, 0.7, 0.8], [0, 0, 0.11], 1),  # the error is that of the best
        ([0.7], [0.1], 0),
    ],
)
def test_synthetic_auc(values, errors, expected):
    assert synthetic_auc(np.array(values), np.array(errors)).position == expected
