"""Entropy of latents: known answers, what must change nothing, and levels by hand."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from medae.base.errors import InputError
from medae.theory.entropy import (
    Channel,
    direction_bits,
    estimate_dimension,
    first_of_groups,
    gaussian_bits,
    knn_bits,
    knn_entropy,
    level_for_rise,
    participation_ratio,
)

GAINS = np.array([4.0, 1.0, 0.25])


def white(n, d, seed=0):
    """Return points whose sample covariance is exactly the identity, skewed so signs are clear."""
    points = np.random.default_rng(seed).exponential(size=(n, d))
    points -= points.mean(axis=0)
    return np.linalg.qr(points)[0] * np.sqrt(n)


def mixing(d, seed):
    """Return a random matrix of condition at most 9 and its scale."""
    random = np.random.default_rng(seed)
    left, right = (np.linalg.qr(random.standard_normal((d, d)))[0] for _ in range(2))
    return left @ np.diag(random.uniform(1 / 3, 3, d)) @ right * 10.0 ** random.integers(-3, 4)


def mixed(u, gains, seed=1):
    """Return latents u · A and the metric that gives each column of u its gain."""
    matrix = mixing(u.shape[1], seed)
    inverse = np.linalg.inv(matrix)
    return u @ matrix, inverse @ np.diag(gains) @ inverse.T


def measured(latents, metric, level=0.1):
    channel = Channel.fit(latents, metric)
    return np.array(
        [
            gaussian_bits(channel.gains, level),
            knn_bits(channel, latents, level=level),
            participation_ratio(channel.gains),
            np.count_nonzero(direction_bits(channel.gains, level) >= 0.1),
        ]
    )


def test_the_basis():
    u = white(100, 3)
    latents, metric = mixed(u, GAINS)
    channel = Channel.fit(latents + 5, metric)
    assert channel.gains == pytest.approx(GAINS)
    whitened = channel.whiten(latents + 5)
    assert whitened == pytest.approx(u * np.where(u.max(axis=0) > -u.min(axis=0), 1, -1), abs=1e-8)
    assert channel.mean + whitened @ channel.basis == pytest.approx(latents + 5)
    assert channel.basis @ metric @ channel.basis.T == pytest.approx(np.diag(GAINS), abs=1e-9)


def test_what_is_received():
    u = white(50, 3)
    channel = Channel.fit(u, np.diag(GAINS))
    noise = np.random.default_rng(1).standard_normal(u.shape)
    assert channel.transmit(u, level=1e-20, noise=noise) == pytest.approx(u)
    assert channel.transmit(u, level=np.inf, noise=noise) == pytest.approx(np.zeros(u.shape))
    # The first direction: gain 4 at level 1, so y = 2 u + noise, shrunk by 4/5, back by 1/2.
    expected = 0.4 * (2 * channel.whiten(u)[:, 0] + noise[:, 0])
    received = channel.whiten(channel.transmit(u, level=1.0, noise=noise))
    assert received[:, 0] == pytest.approx(expected)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 6), st.integers(0, 10**6))
def test_nothing_depends_on_the_latents_scale_or_mixture(d, seed):
    u = white(60, d, seed)
    gains = np.geomspace(3.0, 0.01, d)
    before = measured(u, np.diag(gains))
    latents, metric = mixed(u, gains, seed + 1)
    assert measured(latents, metric) == pytest.approx(before, rel=1e-6)


@pytest.mark.parametrize("unused", ["constant", "copy", "ignored"])
def test_an_unused_latent_changes_nothing(unused):
    latents, metric = mixed(white(80, 3), GAINS)
    column = {
        "constant": np.full(80, 7.0),
        "copy": latents[:, 0],
        "ignored": 100 * white(80, 1, seed=9)[:, 0],
    }[unused]
    wider = np.pad(metric, ((0, 1), (0, 1)))
    after = measured(np.column_stack([latents, column]), wider)
    assert after == pytest.approx(measured(latents, metric), rel=1e-6)


@pytest.mark.parametrize(("n", "d"), [(2, 5), (10, 30), (5, 1)])
def test_few_images(n, d):
    random = np.random.default_rng(0)
    latents = random.standard_normal((n, d)).astype(np.float32)
    channel = Channel.fit(latents, np.eye(d))
    assert len(channel.gains) == min(n - 1, d)
    assert channel.gains.sum() == pytest.approx(latents.var(axis=0).sum(), rel=1e-5)
    bits = knn_bits(channel, latents, level=1e-3)
    assert np.isnan(bits) == (n < min(n - 1, d) + 4)


def test_latents_that_do_not_vary():
    latents = np.ones((30, 4), np.float32)
    channel = Channel.fit(latents, np.eye(4))
    assert channel.gains.shape == (0,)
    assert channel.transmit(latents, level=1.0, noise=np.zeros((30, 0))) == pytest.approx(latents)
    assert measured(latents, np.eye(4)).tolist() == [0.0] * 4


@pytest.mark.parametrize(
    ("latents", "metric"),
    [
        (np.ones((1, 2)), np.eye(2)),
        (np.full((5, 2), np.nan), np.eye(2)),
        (np.eye(2), np.eye(2) / 0),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero|invalid value")
def test_what_cannot_be_measured_is_refused(latents, metric):
    with pytest.raises(InputError, match="cannot be measured"):
        Channel.fit(latents, metric)


def test_bits_and_participation_ratio_by_hand():
    assert gaussian_bits(np.array([3.0, 15.0, 0.0]), 1.0) == pytest.approx(1 + 2)
    assert gaussian_bits(np.array([3.0, 15.0]), np.inf) == 0
    assert direction_bits(np.array([3.0]), 0.2).tolist() == [2.0]
    assert participation_ratio(np.array([3.0, 1.0, 0.0])) == pytest.approx(16 / 10)
    assert participation_ratio(np.zeros(3)) == participation_ratio(np.zeros(0)) == 0


def test_knn_entropy_equals_brute_force():
    # Distances to the second neighbour: 3, 2, 3, 6, so with ψ(4) − ψ(2) = 1/2 + 1/3:
    points = np.array([[0.0], [1.0], [3.0], [7.0]])
    expected = 1 / 2 + 1 / 3 + np.log(2) + np.log([3.0, 2.0, 3.0, 6.0]).mean()
    assert knn_entropy(points, neighbours=2) == pytest.approx(expected / np.log(2))


def mean_errors(case, d, *, truth=None, n=1000):
    """Return the errors of the two estimates in bits, mean over three draws.

    The gains of the latents, mixed at random, fall from 100 to 1 times the level 1.
    """
    gains = np.geomspace(100, 1, d)
    truth = gaussian_bits(gains, 1.0) if truth is None else truth
    errors = []
    for draw in range(3):
        random = np.random.default_rng((draw, d))
        u = random.standard_normal((n, d))
        if case == "clusters":  # in each direction two, at ±√0.9 with variance 0.1
            u = np.sqrt(0.9) * random.choice([-1.0, 1.0], u.shape) + np.sqrt(0.1) * u
        elif case == "duplicates":  # every image three times
            u = u[np.arange(n) // 3]
        latents, metric = mixed(u, gains, seed=draw)
        channel = Channel.fit(latents, metric)
        found = gaussian_bits(channel.gains, 1.0), knn_bits(channel, latents, level=1.0, seed=draw)
        errors.append(np.array(found) - truth)
    return np.mean(errors, axis=0)


# What docs/theory.md says of the estimators, of 1000 images.
@pytest.mark.parametrize("d", [1, 4, 16, 64, 128])
def test_both_estimates_are_within_2_percent_on_gaussians(d):
    truth = gaussian_bits(np.geomspace(100, 1, d), 1.0)
    assert np.abs(mean_errors("gaussian", d)).max() < 0.02 * truth


@pytest.mark.parametrize("d", [1, 4, 16])
def test_neighbours_see_clusters_in_few_dimensions_only(d):
    truth = sum(clustered_bits(gain) for gain in np.geomspace(100, 1, d))
    gaussian, neighbours = mean_errors("clusters", d, truth=truth)
    assert gaussian > 0.15 * truth  # an upper bound
    assert abs(neighbours) < 0.1 if d < 16 else neighbours > 0.9 * gaussian


def clustered_bits(gain):
    """The information of one direction with two clusters at level 1, by integration."""
    middle, width = np.sqrt(0.9 * gain), np.sqrt(0.1 * gain + 1)

    def integrand(y):
        density = (norm.pdf(y, middle, width) + norm.pdf(y, -middle, width)) / 2
        return -density * np.log2(density)

    entropy, _ = quad(integrand, -middle - 9 * width, middle + 9 * width, limit=200)
    return entropy - 0.5 * np.log2(2 * np.pi * np.e)


@pytest.mark.parametrize(("d", "least"), [(16, 1.5), (64, 4)])
def test_duplicates_lower_the_bits_of_neighbours(d, least):
    assert mean_errors("duplicates", d)[1] < -least


def test_one_image_of_each_copy_group():
    audit = {"split": ["train"] * 5 + ["test"], "copy_group": [3, 1, 3, 2, 1, 0]}
    assert first_of_groups(pd.DataFrame(audit)).tolist() == [1, 3, 0]


def test_levels_by_hand():
    levels = np.array([1.0, 4.0, 16.0, np.inf])
    find = level_for_rise
    # The excess is 1, 4, 10, 12 hundredths: a line at first, 12 − 32 / level in the end.
    errors = 1 + np.array([0.01, 0.04, 0.10, 0.12])
    assert find(levels, errors, error=1.0, rise=0.02) == pytest.approx(2)
    assert find(levels, errors, error=1.0, rise=0.11) == pytest.approx(32)
    assert find(levels, errors, error=1.0, rise=0.1201) == np.inf
    assert find(levels, errors, error=1.0, rise=0.5) == np.inf
    # An excess below zero counts as a thousandth of the one that is wanted.
    lower = find(levels, errors - 0.02, error=1.0, rise=0.01)
    assert lower == pytest.approx(4 ** (np.log(1000) / np.log(2000)))
    with pytest.raises(InputError, match="not enclosed"):
        find(levels, errors, error=1.0, rise=0.001)


@pytest.mark.parametrize("dimension", [1, 2, 4])
def test_intrinsic_dimension_of_a_curved_surface(dimension):
    random = np.random.default_rng(0)
    factors = random.random((1000, dimension))
    points = np.sin(factors @ random.standard_normal((dimension, 32)))
    found = estimate_dimension(points)
    assert found == pytest.approx(dimension, rel=0.15)
    again = estimate_dimension(np.concatenate([points, points[:500]])[::-1])
    assert again == pytest.approx(found)  # equal points count once, in any order
    assert np.isnan(estimate_dimension(points[:21]))
