"""The threshold at which images are flagged: by hand, and its interval over patients."""

import numpy as np
import pytest

from medae.models.decision import decide, threshold_at, threshold_interval


@pytest.mark.parametrize(
    ("count", "rate", "threshold"),
    [
        (19, 0.05, 19),  # ⌈0.95 · 20⌉ = 19: just enough images
        (39, 0.05, 38),
        (40, 0.05, 39),  # ⌈0.95 · 41⌉ = ⌈38.95⌉
        (9, 0.5, 5),
        (9, 0.1, 9),
    ],
)
def test_thresholds_by_hand(count, rate, threshold):
    scores = np.random.default_rng(0).permutation(np.arange(1.0, count + 1))
    assert threshold_at(scores, rate) == threshold


def test_the_interval_draws_patients_whole():
    # Two patients, all of whose images score alike: a quarter of the draws has only the first.
    scores, patients = np.repeat([1.0, 2.0], 20), np.repeat([7, 3], 20)
    assert threshold_interval(scores, patients, 0.05) == (1.0, 2.0)
    low, high = threshold_interval(scores, np.arange(40), 0.05)  # as if all were independent
    assert low == high == 2.0


def test_the_row_of_a_score():
    row = decide("information", np.arange(39.0), np.arange(39) // 3, rate=0.05, floor=0.25)
    assert row["threshold"] == 37
    assert row["low"] <= 37 <= row["high"]
    assert [row[key] for key in ("n_images", "n_groups", "noise_floor")] == [39, 13, 0.25]
