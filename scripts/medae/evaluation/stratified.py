"""AUC within strata of like variance: what a score tells beyond the contrast of the image.

Where abnormal images have more contrast than normal ones, or less, every score that grows with the
image's variance separates them. Within a stratum of like variance it cannot.
"""

import numpy as np

from medae.evaluation.ranking import count_pairs, rank

STRATA = 10


def variance_strata(variances: np.ndarray) -> np.ndarray:
    """Return the stratum of each image, 0 to STRATA - 1, by quantiles of `variances` (n_images,).

    Strata have like numbers of images, but equal variances are never parted.
    """
    edges = np.quantile(variances, np.arange(1, STRATA) / STRATA, method="inverted_cdf")
    return np.searchsorted(edges, variances, side="left")


def stratified_auc(
    *,
    labels: np.ndarray,
    scores: np.ndarray,
    strata: np.ndarray,
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """Return the share of pairs within strata that the score orders rightly; ties count one half.

    A pair is a normal and an abnormal image (`labels` 0 and 1) of one stratum; all pairs count
    alike. `labels`, `scores` and `strata` have shape (n_images,); `weights`, (replicates,
    n_images), say how often each image is drawn, without them each is once. Returns shape
    (replicates,), nan without a pair.
    """
    if weights is None:
        weights = np.ones((1, len(labels)))
    right, pairs = np.zeros((2, len(weights)))
    for stratum in np.unique(strata):
        own = strata == stratum
        curve = rank(labels=labels[own], scores=scores[own], weights=weights[:, own])
        found = count_pairs(curve)
        right += found[0]
        pairs += found[1]
    return np.divide(right, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)
