"""Correlations of all pairs of images over the eight symmetries, against a plain brute force."""

import numpy as np
import pytest

from medae.duplicates import similarity
from medae.duplicates.similarity import INVERSE, SYMMETRIES, comparable, move, similarities

# Each symmetry in numpy's own words, by its name.
WAYS = {
    "unmoved": lambda image: image,
    "mirrored left-right": np.fliplr,
    "mirrored top-bottom": np.flipud,
    "rotated by 180°": lambda image: np.rot90(image, 2),
    "transposed": np.transpose,
    "rotated by 90°": lambda image: np.rot90(image, -1),
    "rotated by 270°": lambda image: np.rot90(image, 1),
    "transposed the other way": lambda image: np.rot90(image, 2).T,
}


def random_images(count, side, *, channels=1, seed=0):
    """Smooth random images, so that correlations are spread, some copied and moved."""
    random = np.random.default_rng(seed)
    small = random.integers(0, 256, (count, channels, 4, 4), dtype=np.uint8)
    images = np.repeat(np.repeat(small, side // 4, axis=2), side // 4, axis=3)
    noise = random.integers(0, 40, images.shape, dtype=np.uint8)
    images = images // 2 + noise
    for target in range(1, count, 5):
        images[target] = move(images[target - 1], target % 8)
    return images


def as_grey(images):
    grey = images.astype(np.float64).mean(axis=1)
    if grey.shape[-1] <= 64:
        return grey
    step = grey.shape[-1] // 64
    return grey.reshape(len(grey), 64, step, 64, step).mean(axis=(2, 4))


def brute_force(images):
    """Return the eight correlations of each pair, shape (8, images, images): rows are moved."""
    grey = as_grey(images)
    found = []
    for way in WAYS.values():
        moved = [way(image).reshape(-1) for image in grey]
        still = [image.reshape(-1) for image in grey]
        found.append(np.corrcoef(moved, still)[: len(grey), len(grey) :])
    return np.array(found)


def full(images, **options):
    """Return best, symmetry and unmoved of all pairs as square arrays, filled by the blocks."""
    count = len(images)
    squares = [np.full((count, count), np.nan) for _ in range(3)]
    for block in similarities(comparable(images), **options):
        for square, part in zip(squares, (block.best, block.symmetry, block.unmoved), strict=True):
            assert np.isnan(square[block.rows, block.rows.start :]).all()
            square[block.rows, block.rows.start :] = part
    return squares


def upper(square):
    return square[np.triu_indices(len(square))]


# --- symmetries ---


@pytest.mark.parametrize("number", range(8))
def test_a_symmetry_does_what_its_name_says(number):
    images = np.random.default_rng(0).integers(0, 256, (3, 2, 5, 5))
    expected = [[WAYS[SYMMETRIES[number]](channel) for channel in image] for image in images]
    np.testing.assert_array_equal(move(images, number), expected)
    np.testing.assert_array_equal(move(move(images, number), INVERSE[number]), images)


# --- comparable ---


@pytest.mark.parametrize("side", [16, 48, 64, 96])
def test_images_of_one_value_correlate_with_none(side):
    # Of three channels, so that means are no whole numbers and every rounding is met.
    levels = np.arange(0, 766, 7 if side > 64 else 1)
    parts = np.stack([levels // 3, (levels + 1) // 3, (levels + 2) // 3], axis=1)
    images = np.broadcast_to(parts[..., None, None], (*parts.shape, side, side)).astype(np.uint8)
    assert not comparable(images).any()


def test_one_pixel_is_enough_to_correlate():
    images = np.full((1, 3, 64, 64), 227, np.uint8)
    images[0, 0, 5, 6] += 1
    assert np.linalg.norm(comparable(images)) == pytest.approx(1)


# --- similarities ---


@pytest.mark.parametrize(
    ("side", "channels", "count", "block"),
    [(16, 1, 23, 5), (16, 3, 20, 23), (48, 1, 11, 4), (64, 1, 9, 1), (128, 3, 7, 3)],
)
def test_similarities_equal_brute_force(side, channels, count, block, monkeypatch):
    monkeypatch.setattr(similarity, "BLOCK", block)  # with odd remainders
    images = random_images(count, side, channels=channels, seed=side)
    expected = brute_force(images)
    best, symmetry, unmoved = full(images)
    np.testing.assert_allclose(upper(best), upper(expected.max(axis=0)), atol=2e-6)
    np.testing.assert_allclose(upper(unmoved), upper(expected[0]), atol=2e-6)
    rows, columns = np.triu_indices(count)
    by_symmetry = expected[upper(symmetry).astype(int), rows, columns]
    np.testing.assert_allclose(by_symmetry, upper(best), atol=2e-6)  # and so the direction
    assert len(set(upper(symmetry))) == 8
    best, symmetry, unmoved = full(images, moved=False)
    np.testing.assert_allclose(upper(best), upper(expected[0]), atol=2e-6)
    np.testing.assert_array_equal(upper(best), upper(unmoved))
    assert not upper(symmetry).any()


def test_no_similarity_is_above_1():
    best, _, unmoved = full(np.repeat(random_images(4, 64), 5, axis=0))
    assert max(np.nanmax(best), np.nanmax(unmoved)) <= 1
