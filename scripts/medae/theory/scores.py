"""Scores of an image and its reconstruction: squared error, and what it leaves of information.

Squared error has the unit of the image's own variance: it ranks dark and smooth images low whatever
is in them. Information has none. Let the pixels of a window be a Gaussian source of variance σ²,
of which a reconstruction with mean squared error D is known. No description in fewer than

    R(D) = ½ log2(σ² / D) bits per pixel, for D ≤ σ²

gives so small an error (Shannon 1959; Cover and Thomas, Elements of Information Theory, theorem
10.3.2), so these bits are what the model explains of the window; the window's mean, D = σ²,
explains none. Neither an image nor a model resolves everything: with independent noise of
variance ε on the image, the variance is σ² + ε and the error D + ε, and the bits are
½ log2((σ² + ε) / (D + ε)). The score is their negative, as the higher is the more abnormal:

    information = ½ log2((D + ε) / (σ² + ε)), positive where the model is worse than the mean.

Its relatives are

    relative = D / (σ² + ε)
    ncc      = 1 − (c + ε) / √((σ² + ε)(σ_r² + ε)), from 0 to 2,

with the covariance c of image and reconstruction, and the reconstruction's variance σ_r². There the
noise is on both alike, as in the structure term of SSIM (Wang et al. 2004, doi
10.1109/TIP.2003.819861), so an exact reconstruction has 0, and so has black background. For small ε
it does not change with brightness and contrast of either.

Dividing by σ² can by itself tell classes apart, when abnormal images are smoother, whatever the
model does. What it tells alone is the control

    variance = -½ log2(σ² + ε),

with the same sign as in information: only what a score tells beyond it is due to the model.

Without a window all is over the whole image. Images and reconstructions are N × C × H × W, on the
[-1, 1] scale; errors, variances and covariances are averaged over channels, each about its
channel's own mean. ε has the unit of squared intensities; with ε = 0, windows of one grey value
have no finite score.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.ndimage import uniform_filter

BLOCK = 128  # images whose windows are averaged at once


class Moments(NamedTuple):
    """Means over windows, float64: N × H × W, a window around each pixel, or N × 1 × 1 without."""

    error: np.ndarray
    """Mean squared error, D."""
    variance: np.ndarray
    """Variance of the image, σ²."""
    reconstruction_variance: np.ndarray
    covariance: np.ndarray


def window_mean(values: np.ndarray, window: int) -> np.ndarray:
    """Return the mean of the window × window pixels around each pixel of … × H × W.

    `window` is odd. At the border it is the mean of the pixels that are inside the image.
    """
    look = {"size": window, "mode": "constant", "axes": (-2, -1)}
    inside = uniform_filter(np.ones(values.shape[-2:]), size=window, mode="constant")
    return uniform_filter(values, **look) / inside


def measure_moments(
    images: np.ndarray, reconstructions: np.ndarray, *, window: int | None
) -> Moments:
    """Return the moments of images and reconstructions, N × C × H × W, in windows of odd side.

    `window` is in pixels; None stands for the whole image.
    """
    if images.shape != reconstructions.shape:
        raise ValueError(f"images {images.shape}, but reconstructions {reconstructions.shape}")
    shape = (len(images), *(images.shape[2:] if window else (1, 1)))
    found = Moments(*(np.empty(shape) for _ in Moments._fields))
    for start in range(0, len(images), BLOCK):
        rows = slice(start, start + BLOCK)
        parts = _moments(images[rows].astype(np.float64), reconstructions[rows], window)
        for whole, part in zip(found, parts, strict=True):
            whole[rows] = part.mean(axis=1)
    return found


def _moments(x: np.ndarray, r: np.ndarray, window: int | None) -> Moments:
    def mean(values: np.ndarray) -> np.ndarray:
        if window is None:
            return values.mean(axis=(-2, -1), keepdims=True)
        return window_mean(values, window)

    # About the image's own means first: else rounding would leave of a bright, flat image a
    # variance of its square's size.
    x_centred = x - x.mean(axis=(-2, -1), keepdims=True)
    r_centred = r - r.mean(axis=(-2, -1), keepdims=True, dtype=np.float64)
    x_mean, r_mean = mean(x_centred), mean(r_centred)
    return Moments(
        error=np.maximum(mean(np.square(x - r)), 0),
        variance=np.maximum(mean(np.square(x_centred)) - np.square(x_mean), 0),
        reconstruction_variance=np.maximum(mean(np.square(r_centred)) - np.square(r_mean), 0),
        covariance=mean(x_centred * r_centred) - x_mean * r_mean,
    )


def mse(moments: Moments, epsilon: float) -> np.ndarray:
    """Return the mean squared error; `epsilon` is not used."""
    return moments.error


def relative(moments: Moments, epsilon: float) -> np.ndarray:
    """Return the share of the variance that the reconstruction leaves; see the module."""
    return moments.error / (moments.variance + epsilon)


def information(moments: Moments, epsilon: float) -> np.ndarray:
    """Return the negative of the explained information in bits per pixel; see the module."""
    return np.log2((moments.error + epsilon) / (moments.variance + epsilon)) / 2


def ncc(moments: Moments, epsilon: float) -> np.ndarray:
    """Return one minus the normalised cross-correlation; see the module."""
    _, x, r, covariance = moments
    return 1 - (covariance + epsilon) / np.sqrt((x + epsilon) * (r + epsilon))


def variance(moments: Moments, epsilon: float) -> np.ndarray:
    """Return the control that knows no reconstruction; see the module."""
    return -np.log2(moments.variance + epsilon) / 2


SCORES: dict[str, Callable[[Moments, float], np.ndarray]] = {
    "mse": mse,
    "relative": relative,
    "information": information,
    "ncc": ncc,
    "variance": variance,
}
"""By kind, what it makes of moments and ε; the kinds of `medae.theory.score_names`."""


def score_images(
    kind: str,
    *,
    images: np.ndarray,
    reconstructions: np.ndarray,
    moments: Moments,
    epsilon: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Return scores (N,) and anomaly maps N × H × W, float64, higher for the more abnormal.

    `moments` come from `measure_moments`. In windows the map is the score of the window around each
    pixel, and the image's score is the mean of its map. Without, the score is that of the image,
    and in the map each pixel's own squared error stands in for the mean: the mean of the map is the
    score again, but not for information, the logarithm of a mean. The map of ncc is half the
    squared difference of the image and the reconstruction, both standardised by √(variance + ε);
    that of the control is flat.
    """
    score = SCORES[kind](moments, epsilon)
    if score.shape[1:] == images.shape[2:]:
        return score.mean(axis=(1, 2)), score
    if kind == "ncc":
        maps = _standardised_difference(images, reconstructions, moments, epsilon)
    else:
        pixels = np.square(images.astype(np.float64) - reconstructions).mean(axis=1)
        own = moments._replace(error=pixels)
        maps = np.broadcast_to(SCORES[kind](own, epsilon), pixels.shape)
    return score[:, 0, 0], maps


def _standardised_difference(
    images: np.ndarray, reconstructions: np.ndarray, moments: Moments, epsilon: float
) -> np.ndarray:
    scales = []
    parts = []
    for values, variance in (
        (images, moments.variance),
        (reconstructions, moments.reconstruction_variance),
    ):
        scale = 1 / np.sqrt(variance + epsilon)
        centred = values - values.mean(axis=(2, 3), keepdims=True, dtype=np.float64)
        parts.append(centred * scale[:, None])
        scales.append(scale)
    difference = np.square(parts[0] - parts[1]).mean(axis=1)
    # The noise, which both have, is scaled differently too; it makes the map's mean the score.
    return (difference + epsilon * np.square(scales[0] - scales[1])) / 2
