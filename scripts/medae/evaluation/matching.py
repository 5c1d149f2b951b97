"""AUC among images of like variance: what a score tells beyond the contrast of the image.

Where abnormal images have more contrast than normal ones, or less, every score that grows with the
image's variance separates them. Within a stratum of like variance it cannot.
"""

import numpy as np

STRATA = 10


def variance_strata(variances: np.ndarray) -> np.ndarray:
    """Return the stratum of each image, 0 to STRATA - 1, by quantiles of `variances` (n_images,).

    Strata have like numbers of images, but equal variances are never parted.
    """
    edges = np.quantile(variances, np.arange(1, STRATA) / STRATA, method="inverted_cdf")
    return np.searchsorted(edges, variances, side="left")


def matched_auc(
    *,
    labels: np.ndarray,
    scores: np.ndarray,
    strata: np.ndarray,
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """Return the share of pairs of a stratum that the score orders rightly; ties count one half.

    A pair is a normal and an abnormal image (`labels` 0 and 1) of one stratum; all pairs count
    alike, and a stratum of one class has none. `labels`, `scores` and `strata` have shape
    (n_images,); `weights`, (replicates, n_images), say how often each image is drawn, without them
    each is once. Returns shape (replicates,), nan without a pair.
    """
    if weights is None:
        weights = np.ones((1, len(labels)))
    right, pairs = np.zeros((2, len(weights)))
    for stratum in np.unique(strata):
        abnormal = np.flatnonzero((strata == stratum) & (labels == 1))
        normal = np.flatnonzero((strata == stratum) & (labels == 0))
        difference = np.sign(scores[abnormal, None] - scores[normal])
        drawn = weights[:, abnormal], weights[:, normal]
        right += np.sum(drawn[0] @ ((1 + difference) / 2) * drawn[1], axis=1)
        pairs += drawn[0].sum(axis=1) * drawn[1].sum(axis=1)
    return np.divide(right, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)
