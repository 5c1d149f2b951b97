"""The intrinsic dimension of a set of points, by two estimators of scikit-dimension."""

import numpy as np
from skdim.id import MLE, TwoNN

NEIGHBOURS = 20  # of the maximum likelihood estimate


def intrinsic_dimensions(points: np.ndarray) -> dict[str, float]:
    """Return `twonn` and `mle`, the intrinsic dimension of points n × d by two estimators.

    TwoNN (Facco et al., arXiv:1803.06992) rests on the two nearest neighbours of each point, the
    maximum likelihood estimate (Levina & Bickel, NIPS 2004, with MacKay & Ghahramani's mean) on
    NEIGHBOURS of them. Both fall short in many dimensions. Of equal points one is kept. nan with
    fewer than NEIGHBOURS + 2 different points.
    """
    points = np.unique(np.asarray(points, dtype=np.float64), axis=0)
    if len(points) < NEIGHBOURS + 2:
        return {"twonn": float("nan"), "mle": float("nan")}
    if points.shape[1] == 1:  # the library refuses a single column
        points = np.pad(points, ((0, 0), (0, 1)))
    return {
        "twonn": float(TwoNN().fit_transform(points)),
        "mle": float(MLE().fit_transform(points, n_neighbors=NEIGHBOURS)),
    }
