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

    squared_error = D
    relative      = D / (σ² + ε)
    information   = ½ log2((D + ε) / (σ² + ε)), positive where the model is worse than the mean
    variance      = -½ log2(σ² + ε)

`variance` is a control without any reconstruction. Dividing by σ² can by itself tell classes apart,
where abnormal images are smoother, whatever the model does; only what a score tells beyond the
control is due to the model.

A score has a name: `squared_error` and `relative` compare whole images, `information` and
`variance` windows of 9 × 9 pixels; `_w17` after it means windows of 17 × 17, and `_x10` at the end
sets ε to ten times the floor, which is the model's mean error on normal training images, or with
`_held_out` at the very end on those that were held out. Images and
reconstructions are N × C × H × W on the [-1, 1] scale; errors and variances are averaged over
channels, each about its channel's own mean.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd

from medae.base.errors import InputError

PLAIN_SCORE = "squared_error"
"""In tables of metrics also what a method with an anomaly map of its own scores by that map."""
INFORMATION = "information"
INFORMED = "_information"
"""Ending of a method's key in tables and figures that show it with this score too."""
NO_RECONSTRUCTION = "image"
"""In tables of metrics the score of a baseline that is a number or a map of the image itself."""
CONTROL = "variance"
"""The kind that does not use the reconstruction."""

BLOCK = 128  # images that are scored at once
_NAME = re.compile(r"([a-z_]+?)(?:_w([1-9]\d*))?(?:_x(\d+(?:\.\d+)?))?(_held_out)?")


class Kind(NamedTuple):
    """What a score computes."""

    display_name: str
    formula: Callable[[np.ndarray, np.ndarray, float], np.ndarray]
    """Of D, σ² and ε (squared intensity units)."""


KINDS = {
    "squared_error": Kind("squared error", lambda d, _v, _e: d),
    "relative": Kind("relative error", lambda d, v, e: d / (v + e)),
    "information": Kind("information", lambda d, v, e: np.log2((d + e) / (v + e)) / 2),
    "variance": Kind("low variance, no reconstruction", lambda _d, v, e: -np.log2(v + e) / 2),
}


WINDOWS = {INFORMATION: 9, CONTROL: 9}
"""Sides in pixels where a name states none; other kinds compare whole images then."""


class Score(NamedTuple):
    """What a name of a score stands for."""

    kind: str
    """Key of KINDS."""
    window: int | None
    """Side in pixels, odd; None for the whole image."""
    multiple: float
    """Of the floor: ε = multiple · floor."""
    held_out: bool = False
    """Whether the floor is that of normal images that the model was not trained on."""


def parse_score(name: str) -> Score:
    """Return the score that `name` stands for; InputError when it stands for none."""
    match = _NAME.fullmatch(name)
    kind, window, multiple, held_out = match.groups() if match else ("", None, None, None)
    side = WINDOWS.get(kind) if window is None else int(window)
    fault = None
    if kind not in KINDS:
        fault = f"it does not begin with one of {', '.join(KINDS)}, or does not go on as these do"
    elif side is not None and (side % 2 == 0 or side < 3):
        fault = "the side of a window is an odd number of pixels, at least 3"
    elif (multiple or held_out) and kind == PLAIN_SCORE:
        fault = "the squared error has no noise floor"
    elif multiple is not None and float(multiple) in (0, 1):
        fault = "the multiple of the noise floor is positive, and 1 is left out"
    if fault:
        raise InputError(
            f"'{name}' is no score: {fault}. Names are like information, relative_w9 or "
            "information_w17_x10; change it in the configuration."
        )
    return Score(kind, side, 1.0 if multiple is None else float(multiple), held_out is not None)


def display_name(name: str) -> str:
    """Return what tables and legends call a score, e.g. "information, 17 × 17, 10 ε".

    A window that the name leaves out is left out.
    """
    score = parse_score(name)
    parts = [KINDS[score.kind].display_name]
    if "_w" in name:
        parts.append(f"{score.window} × {score.window}")
    if score.multiple != 1:
        parts.append(f"{score.multiple:g} ε")
    if score.held_out:
        parts.append("ε of held-out images")
    return ", ".join(parts)


def window_mean(values: np.ndarray, window: int) -> np.ndarray:
    """Return the mean of the window × window pixels around each pixel of … × H × W.

    `window` is odd. At the border it is the mean of the pixels that are inside the image.
    """
    # Imported here: the Snakefile needs the names alone.
    from scipy.ndimage import uniform_filter

    inside = uniform_filter(np.ones(values.shape[-2:]), size=window, mode="constant")
    return uniform_filter(values, size=window, mode="constant", axes=(-2, -1)) / inside


def local_variance(images: np.ndarray, window: int) -> np.ndarray:
    """Return the variance of the window around each pixel of N × C × H × W, N × H × W, float64.

    Averaged over channels, each about its own mean; `window` as for `window_mean`.
    """
    # About the image's own mean first: rounding would else leave a bright, flat image a variance
    # of the size of its square.
    centred = images - images.mean(axis=(-2, -1), keepdims=True, dtype=np.float64)
    means = [window_mean(values, window) for values in (np.square(centred), centred)]
    return np.maximum(means[0] - np.square(means[1]), 0).mean(axis=1)


def noise_floor(table: pd.DataFrame, *, what: str) -> float:
    """Return the mean error of the training images in a table of scores; `what` names it.

    Raises InputError unless it is finite and positive.
    """
    floor = float(table.loc[table["split"] == "train", "reconstruction_error"].mean())
    if not (np.isfinite(floor) and floor > 0):
        raise InputError(
            f"The mean reconstruction error of the training images in {what} is {floor:g}, so it "
            "is no noise floor. Delete this model and its scores, and train it again."
        )
    return floor


def score_reconstructions(
    name: str, *, images: np.ndarray, reconstructions: np.ndarray, floor: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return scores (N,) and anomaly maps N × H × W, float64, higher for the more abnormal.

    `floor` is the noise floor in squared intensity units. In windows the map is the score of the
    window around each pixel, and the image's score is the mean of its map. Without, the score is
    that of the image, and in the map each pixel's own squared error stands in for the mean.
    """
    score = parse_score(name)
    blocks = [slice(start, start + BLOCK) for start in range(0, max(1, len(images)), BLOCK)]
    parts = [_score_block(score, images[rows], reconstructions[rows], floor) for rows in blocks]
    values, maps = (np.concatenate(each) for each in zip(*parts, strict=True))
    return values, maps


def _score_block(
    score: Score, images: np.ndarray, reconstructions: np.ndarray, floor: float
) -> tuple[np.ndarray, np.ndarray]:
    images = images.astype(np.float64)
    errors = np.square(images - reconstructions).mean(axis=1)
    formula, epsilon = KINDS[score.kind].formula, score.multiple * floor
    if score.window is not None:
        error = np.maximum(window_mean(errors, score.window), 0)
        maps = formula(error, local_variance(images, score.window), epsilon)
        return maps.mean(axis=(1, 2)), maps
    variance = images.var(axis=(2, 3)).mean(axis=1)[:, None, None]
    values = formula(errors.mean(axis=(1, 2), keepdims=True), variance, epsilon)
    return values[:, 0, 0], np.broadcast_to(formula(errors, variance, epsilon), errors.shape)
