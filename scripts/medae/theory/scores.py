"""Scores of an image and its reconstruction: squared error, and what it leaves of information.

Squared error has the unit of the image's own variance: it ranks dark and smooth images low whatever
is in them. Information has none. Let the pixels of a window be a Gaussian source of variance σ²,
of which a reconstruction with mean squared error D is known. No description in fewer than

    R(D) = ½ log2(σ² / D) bits per pixel, for D ≤ σ²

gives so small an error (Shannon 1959; Cover and Thomas, Elements of Information Theory, theorem
10.3.2), so these bits are what the model explains of the window; the window's mean, D = σ²,
explains none. Neither an image nor a model resolves everything: with independent noise of
variance ε on the image, the variance is σ² + ε and the error D + ε. The score is the negative of
the bits, since higher means more abnormal:

    mse         = D
    relative    = D / (σ² + ε)
    information = ½ log2((D + ε) / (σ² + ε)), positive where the model is worse than the mean
    variance    = -½ log2(σ² + ε)

`variance` is a control without any reconstruction. Dividing by σ² can by itself tell classes apart,
where abnormal images are smoother, whatever the model does; only what a score tells beyond the
control is due to the model.

A score has a name: `mse` and `information` compare whole images; `_w9` after it means windows of
9 × 9 pixels, and `_x10` at the end sets ε to ten times the floor, which is the model's mean error
on normal training images. Images and reconstructions are N × C × H × W on the [-1, 1] scale; errors
and variances are averaged over channels, each about its channel's own mean.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from medae.base.errors import InputError

PLAIN_SCORE = "mse"
CONTROL = "variance"
"""The kind that does not use the reconstruction."""

BLOCK = 128  # images whose windows are averaged at once
_NAME = re.compile(r"([a-z]+)(?:_w([1-9]\d*))?(?:_x(\d+(?:\.\d+)?))?")


class Moments(NamedTuple):
    """Means over windows, float64: N × H × W, a window around each pixel, or N × 1 × 1 without."""

    error: np.ndarray
    """Mean squared error, D."""
    variance: np.ndarray
    """Variance of the image, σ²."""


class Kind(NamedTuple):
    """What a score computes."""

    display_name: str
    formula: Callable[[Moments, float], np.ndarray]
    """Of moments and ε (squared intensity units)."""


KINDS = {
    "mse": Kind("squared error", lambda found, _: found.error),
    "relative": Kind("relative error", lambda found, e: found.error / (found.variance + e)),
    "information": Kind(
        "information", lambda found, e: np.log2((found.error + e) / (found.variance + e)) / 2
    ),
    "variance": Kind(
        "low variance, no reconstruction", lambda found, e: -np.log2(found.variance + e) / 2
    ),
}


class Score(NamedTuple):
    """What a name of a score stands for."""

    kind: str
    """Key of KINDS."""
    window: int | None
    """Side in pixels, odd; None for the whole image."""
    multiple: float
    """Of the floor: ε = multiple · floor."""


def parse_score(name: str) -> Score:
    """Return the score that `name` stands for; InputError when it stands for none."""
    match = _NAME.fullmatch(name)
    kind, window, multiple = match.groups() if match else ("", None, None)
    side = None if window is None else int(window)
    fault = None
    if kind not in KINDS:
        fault = f"it does not begin with one of {', '.join(KINDS)}, or does not go on as these do"
    elif side is not None and (side % 2 == 0 or side < 3):
        fault = "the side of a window is an odd number of pixels, at least 3"
    elif multiple is not None and kind == "mse":
        fault = "the squared error has no noise floor"
    elif multiple is not None and float(multiple) in (0, 1):
        fault = "the multiple of the noise floor is positive, and 1 is left out"
    if fault:
        raise InputError(
            f"'{name}' is no score: {fault}. Names are like mse, relative_w9 or "
            "information_w17_x10; change it in the configuration."
        )
    return Score(kind, side, 1.0 if multiple is None else float(multiple))


def display_name(name: str) -> str:
    """Return what tables and legends call a score, e.g. "information, 17 × 17, 10 ε"."""
    score = parse_score(name)
    parts = [KINDS[score.kind].display_name]
    if score.window is not None:
        parts.append(f"{score.window} × {score.window}")
    if score.multiple != 1:
        parts.append(f"{score.multiple:g} ε")
    return ", ".join(parts)


def window_mean(values: np.ndarray, window: int) -> np.ndarray:
    """Return the mean of the window × window pixels around each pixel of … × H × W.

    `window` is odd. At the border it is the mean of the pixels that are inside the image.
    """
    # Imported here: the Snakefile needs the names alone.
    from scipy.ndimage import uniform_filter

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
    found = Moments(np.empty(shape), np.empty(shape))
    for start in range(0, len(images), BLOCK):
        rows = slice(start, start + BLOCK)
        parts = _moments(images[rows].astype(np.float64), reconstructions[rows], window)
        for whole, part in zip(found, parts, strict=True):
            whole[rows] = part.mean(axis=1)
    return found


def _moments(images: np.ndarray, reconstructions: np.ndarray, window: int | None) -> Moments:
    def mean(values: np.ndarray) -> np.ndarray:
        if window is None:
            return values.mean(axis=(-2, -1), keepdims=True)
        return window_mean(values, window)

    # About the image's own mean first: rounding would else leave a bright, flat image a variance
    # of the size of its square.
    centred = images - images.mean(axis=(-2, -1), keepdims=True)
    return Moments(
        error=np.maximum(mean(np.square(images - reconstructions)), 0),
        variance=np.maximum(mean(np.square(centred)) - np.square(mean(centred)), 0),
    )


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
    and in the map each pixel's own squared error stands in for the mean; the control's map is flat.
    """
    formula = KINDS[kind].formula
    score = formula(moments, epsilon)
    if score.shape[1:] == images.shape[2:]:
        return score.mean(axis=(1, 2)), score
    pixels = np.square(images.astype(np.float64) - reconstructions).mean(axis=1)
    maps = formula(moments._replace(error=pixels), epsilon)
    return score[:, 0, 0], np.broadcast_to(maps, pixels.shape)
