"""Three numbers of an image that need no model: brightness, contrast and total variation."""

import numpy as np


def brightness(images: np.ndarray) -> np.ndarray:
    """Return the mean intensity of uint8 images N × C × H × W, shape (N,), 0–255."""
    return images.mean(axis=(1, 2, 3), dtype=np.float64)


def contrast(images: np.ndarray) -> np.ndarray:
    """Return the variance of the intensities of uint8 images N × C × H × W, shape (N,)."""
    return images.var(axis=(1, 2, 3), dtype=np.float64)


def total_variation(images: np.ndarray) -> np.ndarray:
    """Return the anisotropic total variation per pixel of uint8 images N × C × H × W, shape (N,).

    The mean absolute difference of vertical neighbours plus that of horizontal ones, 0–510.
    """
    values = images.astype(np.int16)
    return sum(
        np.abs(np.diff(values, axis=axis)).mean(axis=(1, 2, 3), dtype=np.float64) for axis in (2, 3)
    )
