"""Choosing a latent dimension d without labels: pure functions over candidates, by rising d.

Every selector has the form of the paper's aim: the smallest d with which something is still as good
as it gets, where "as good" means within one standard error of the best candidate (Breiman et al.
1984, Classification and Regression Trees).

    one_standard_error  the reconstruction error of held-out normal images; by the standard error of
                        the difference image by image, as images differ more than candidates do
    knee                no such test: the point where that error stops falling fast, by Satopää et
                        al. (2011), Kneedle, doi:10.1109/ICDCSW.2011.20, against log2 d
    intrinsic_dimension the smallest d that is not below the estimated dimension of the images
    synthetic_auc       the AUC against synthetic anomalies in held-out images, mean over kinds; by
                        the standard error of the best AUC, from a bootstrap over these images
"""

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from kneed import KneeLocator

SELECTORS = {
    "one_standard_error": "held-out error, one standard error",
    "knee": "knee of the held-out error",
    "intrinsic_dimension": "intrinsic dimension of the images",
    "synthetic_auc": "synthetic anomalies",
}
"""The names of the selectors, as tables print them."""

LEAST_FOR_KNEE = 3  # candidates; two points are a straight line


class Choice(NamedTuple):
    """The position of the chosen candidate, or None, and the reason in words."""

    position: int | None
    criterion: str


def mean_errors(errors: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean over images and its standard error over groups, each of shape (columns,).

    `errors` has shape (images, columns), `groups` (numbers) shape (images,). Images of one group
    are not independent, so the error is that of a mean of clusters of unequal sizes (Cochran 1977,
    Sampling Techniques, eq. 2.39, as a ratio); with groups of one image it is std / √n. nan with a
    single group.
    """
    members = np.unique(groups, return_inverse=True)[1]
    count = members.max() + 1
    mean = errors.mean(axis=0)
    sums = np.zeros((count, errors.shape[1]))
    np.add.at(sums, members, errors - mean)
    if count < 2:
        return mean, np.full(errors.shape[1], np.nan)
    return mean, np.sqrt(count / (count - 1) * np.sum(sums**2, axis=0)) / len(errors)


def one_standard_error(errors: np.ndarray, groups: np.ndarray) -> Choice:
    """Choose by the errors of held-out normal images, shape (images, candidates), lower is better.

    `groups` has shape (images,). The difference to the best candidate is taken image by image.
    """
    best = int(np.argmin(errors.mean(axis=0)))
    difference, spread = mean_errors(errors - errors[:, [best]], groups)
    if np.isnan(spread).any():
        return Choice(None, "the held-out images are of a single group, so there is no spread")
    position = int(np.argmax(difference <= spread))
    if position == best:
        return Choice(position, "the lowest held-out error, none smaller within one standard error")
    return Choice(
        position,
        f"held-out error above the lowest by {difference[position]:.2g} ± {spread[position]:.2g}",
    )


def knee(errors: np.ndarray, dims: Sequence[int]) -> Choice:
    """Choose the knee of the mean errors (candidates,) against log2 of the latent dimensions.

    There may be no knee: a curve that rises or is straight has none, and the ends of a curve are
    no knees.
    """
    if len(errors) < LEAST_FOR_KNEE or np.ptp(errors) == 0:
        return Choice(None, f"no knee: fewer than {LEAST_FOR_KNEE} candidates, or equal errors")
    sizes = np.log2(dims)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "No knee/elbow found", which is said below
        found = KneeLocator(sizes, errors, curve="convex", direction="decreasing").knee
    position = 0 if found is None else int(np.argmin(np.abs(sizes - found)))
    if position in (0, len(errors) - 1):
        return Choice(None, "no knee: the error does not fall fast and then slowly")
    return Choice(position, f"held-out error {errors[position]:.3g}")


def intrinsic_dimension(dims: Sequence[int], estimate: float) -> Choice:
    """Choose the smallest of the latent dimensions that is at least the estimate."""
    if np.isnan(estimate):
        return Choice(None, "too few images to estimate their intrinsic dimension")
    position = int(np.searchsorted(dims, estimate))
    if position == len(dims):
        return Choice(None, f"all candidates are below the intrinsic dimension {estimate:.1f}")
    return Choice(position, f"intrinsic dimension {estimate:.1f}")


def synthetic_auc(aucs: np.ndarray, errors: np.ndarray) -> Choice:
    """Choose the smallest d within one standard error of the best AUC.

    `aucs` (0–1) and their standard `errors` have shape (candidates,).
    """
    best = int(np.argmax(aucs))
    position = int(np.argmax(aucs >= aucs[best] - errors[best]))
    text = f"synthetic AUC {aucs[position]:.3f}, best {aucs[best]:.3f} ± {errors[best]:.3f}"
    return Choice(position, text)
