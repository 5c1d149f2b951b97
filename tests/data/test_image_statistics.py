"""Brightness, contrast and total variation of images, by hand and by brute force."""

import numpy as np

from medae.data.statistics import brightness, contrast, total_variation


def test_statistics_equal_brute_force_in_colour():
    images = np.random.default_rng(0).integers(0, 256, (4, 3, 6, 6), dtype=np.uint8)
    values = images.astype(float)
    for i, image in enumerate(values):
        down = [abs(a - b) for c in image for a, b in zip(c[:-1].flat, c[1:].flat, strict=True)]
        right = [abs(row[k] - row[k + 1]) for c in image for row in c for k in range(5)]
        assert np.isclose(total_variation(images)[i], np.mean(down) + np.mean(right))
        assert np.isclose(brightness(images)[i], np.mean(image))
        assert np.isclose(contrast(images)[i], np.mean((image - image.mean()) ** 2))
