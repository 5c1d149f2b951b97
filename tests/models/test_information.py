"""Scores: by hand, against loops over windows, and their names."""

import numpy as np
import pytest

from medae.base.errors import InputError
from medae.models.information import (
    BLOCK,
    KINDS,
    display_name,
    parse_score,
    score_reconstructions,
)

FLOOR = 0.01


def draw(count=4, channels=1, side=12, seed=0):
    """Smooth-ish images in [-1, 1] and their noisy reconstructions."""
    random = np.random.default_rng(seed)
    images = random.uniform(-1, 1, (count, channels, side, side)).astype(np.float32)
    noise = random.normal(0, 0.2, images.shape).astype(np.float32)
    return images, 0.6 * images + noise


def score(kind, images, reconstructions, *, window=None, floor=FLOOR):
    name = f"{kind}_w{window}" if window else kind
    return score_reconstructions(name, images=images, reconstructions=reconstructions, floor=floor)


def by_definition(kind, x, r, epsilon):
    """The score of one window's pixels, C × n, from the formulas of the module."""
    x, r = x.astype(np.float64), r.astype(np.float64)
    error = np.mean((x - r) ** 2)
    variance = np.mean([np.var(channel) for channel in x])
    return {
        "squared_error": error,
        "relative": error / (variance + epsilon),
        "information": 0.5 * np.log2((error + epsilon) / (variance + epsilon)),
        "variance": -0.5 * np.log2(variance + epsilon),
    }[kind]


@pytest.mark.parametrize(
    ("name", "expected", "corner"),
    [
        ("squared_error", 1 / 16, 1 / 8),
        ("relative", 1 / 12, 1 / 6),
        ("relative_x3", 1 / 28, 1 / 14),
        ("information", 0.5 * np.log2(3 / 4), 0.5 * np.log2(3 / 4)),
        ("variance", 0.5 * np.log2(4 / 3), 0.5 * np.log2(4 / 3)),
    ],
)
def test_by_hand(name, expected, corner):
    """Channels [1, 0; 0, -1], reconstructed as its half, and 1; σ² = 1/4, D = 1/16, floor 1/2."""
    image = np.array([[[[1, 0], [0, -1]], [[1, 1], [1, 1]]]], dtype=np.float32)
    again = image * np.array([0.5, 1], np.float32)[:, None, None]
    values, maps = score_reconstructions(name, images=image, reconstructions=again, floor=0.5)
    assert values == pytest.approx([expected])
    assert maps.shape == (1, 2, 2)
    assert maps[0, 0, 0] == pytest.approx(corner)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("window", [3, 5, 31])
@pytest.mark.parametrize("channels", [1, 3])
def test_windows_are_those_of_a_loop(kind, window, channels):
    images, again = draw(2, channels, side=7)
    values, maps = score(kind, images, again, window=window)
    half = window // 2
    for i, row, column in np.ndindex(maps.shape):
        part = (
            slice(None),
            slice(max(0, row - half), row + half + 1),
            slice(max(0, column - half), column + half + 1),
        )
        x, r = (v[i][part].reshape(channels, -1) for v in (images, again))
        assert maps[i, row, column] == pytest.approx(by_definition(kind, x, r, FLOOR))
    np.testing.assert_allclose(values, maps.mean(axis=(1, 2)))


def test_a_grey_image_has_no_variance_left_by_rounding():
    images = np.full((1, 1, 9, 9), 0.987654, dtype=np.float32)
    _, maps = score("variance", images, images, window=5, floor=1e-20)
    assert maps == pytest.approx(-0.5 * np.log2(1e-20), abs=1e-3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("window", [None, 5])
def test_an_image_is_scored_by_itself(kind, window):
    """In another order, in other company, and over the border of a block."""
    images, again = draw(BLOCK + 3, side=6)
    values, maps = score(kind, images, again, window=window)
    turned = score(kind, images[::-1], again[::-1], window=window)
    np.testing.assert_array_equal(turned[0][::-1], values)
    np.testing.assert_array_equal(turned[1][::-1], maps)
    without = score(kind, images, -again, window=window)[0]
    assert np.array_equal(without, values) == (kind == "variance")  # the control


@pytest.mark.parametrize(
    ("name", "parts", "shown"),
    [
        ("squared_error", ("squared_error", None, 1, False), "squared error"),
        ("squared_error_w9", ("squared_error", 9, 1, False), "squared error, 9 × 9"),
        ("relative_x10", ("relative", None, 10, False), "relative error, 10 ε"),
        ("information", ("information", 9, 1, False), "information"),
        ("information_w17_x0.5", ("information", 17, 0.5, False), "information, 17 × 17, 0.5 ε"),
        ("information_held_out", ("information", 9, 1, True), "information, ε of held-out images"),
    ],
)
def test_names(name, parts, shown):
    assert parse_score(name) == parts
    assert display_name(name) == shown


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ssim", "does not begin"),
        ("relative_x10_w9", "does not begin"),
        ("relative_w09", "does not begin"),
        ("relative_w8", "odd number"),
        ("relative_w1", "at least 3"),
        ("squared_error_x10", "no noise floor"),
        ("squared_error_w9_held_out", "no noise floor"),
        ("relative_x0", "positive"),
        ("relative_x1", "1 is left out"),
    ],
)
def test_other_names_are_refused(name, message):
    with pytest.raises(InputError, match=message):
        parse_score(name)
