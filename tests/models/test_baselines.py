"""The baselines: nearest training image, principal components, and numbers of an image."""

import logging

import numpy as np
import pytest
from sklearn.decomposition import PCA

from medae.models import baselines
from medae.models.baselines import BASELINES, STATISTICS, fit, statistic_scores


def floats(count, side=8, *, channels=1, seed=0):
    shape = (count, channels, side, side)
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("block", [1, 7, 100])
def test_nearest_equals_brute_force(channels, block, monkeypatch):
    monkeypatch.setattr(baselines, "BLOCK", block)
    train, test = floats(30, channels=channels), floats(20, channels=channels, seed=1)
    test[3] = train[17] * 0.9
    distances = np.square(test[:, None] - train[None]).sum(axis=(2, 3, 4))
    found = fit("nearest", train, latent_dim=0).reconstruct(test)
    np.testing.assert_array_equal(found, train[distances.argmin(axis=1)])
    np.testing.assert_array_equal(found[3], train[17])


def test_a_training_image_is_its_own_nearest():
    train = floats(50)
    again = fit("nearest", train, latent_dim=0).reconstruct(train)
    assert np.square(train - again).max() == 0


@pytest.mark.parametrize(("count", "side"), [(20, 8), (100, 4)])  # fewer and more than pixels
@pytest.mark.parametrize("latent_dim", [1, 3, 10])
def test_components_equal_sklearn(count, side, latent_dim):
    train, test = floats(count, side), floats(9, side, seed=1)
    theirs = PCA(latent_dim, svd_solver="full").fit(train.reshape(count, -1))
    expected = theirs.inverse_transform(theirs.transform(test.reshape(9, -1)))
    # Fitted for more components than are used, as the script does.
    found = fit("pca", train, latent_dim=12).reconstruct(test, latent_dim=latent_dim)
    assert found.shape == test.shape
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.reshape(9, -1), expected, atol=1e-5)


def test_colour_images_have_common_components():
    train, test = floats(40, 4, channels=3), floats(5, 4, channels=3, seed=1)
    theirs = PCA(6, svd_solver="full").fit(train.reshape(40, -1))
    expected = theirs.inverse_transform(theirs.transform(test.reshape(5, -1)))
    found = fit("pca", train, latent_dim=6).reconstruct(test, latent_dim=6)
    np.testing.assert_allclose(found.reshape(5, -1), expected, atol=1e-5)


def test_more_components_than_the_images_have(caplog):
    train, test = floats(6), floats(4, seed=1)
    model = fit("pca", train, latent_dim=50)
    with caplog.at_level(logging.WARNING):
        found = model.reconstruct(test, latent_dim=50)
    assert "d = 50, but the training images have 5 components" in caplog.text
    np.testing.assert_allclose(model.reconstruct(train, latent_dim=50), train, atol=1e-5)
    np.testing.assert_allclose(found, model.reconstruct(test, latent_dim=5), atol=1e-6)


def test_images_that_are_all_alike_have_no_component():
    train = np.repeat(floats(1), 5, axis=0)
    found = fit("pca", train, latent_dim=3).reconstruct(floats(2, seed=1), latent_dim=3)
    np.testing.assert_allclose(found, train[:2], atol=1e-6)


def test_repeated_images_add_no_component():
    train, test = floats(7), floats(3, seed=1)
    once = fit("pca", train, latent_dim=64).reconstruct(test, latent_dim=64)
    repeated = np.concatenate([train, train, train])
    often = fit("pca", repeated, latent_dim=64).reconstruct(test, latent_dim=64)
    np.testing.assert_allclose(once, often, atol=1e-5)


@pytest.mark.parametrize("method", list(STATISTICS))
def test_the_lower_a_number_the_more_abnormal(method):
    dull = np.full((1, 1, 4, 4), 10, np.uint8)
    dull[0, 0, 0, 0] = 12
    bright = np.full((1, 1, 4, 4), 10, np.uint8)
    bright[0, 0, ::2] = 250
    scores = statistic_scores(method, np.concatenate([dull, bright]))
    assert scores[0] > scores[1]
    assert scores.dtype == np.float64


def test_every_baseline_is_one_of_three_kinds():
    assert {key for key, known in BASELINES.items() if known.learns} == {"nearest", "pca"}
    assert {key for key, known in BASELINES.items() if not known.scores_images} == {"intensity"}
    assert set(BASELINES) == {"nearest", "pca", "intensity", *STATISTICS}
