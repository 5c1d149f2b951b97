"""Bootstrap over test images: intervals of metrics, and paired tests of two settings.

Images of one group (a patient's, or near-duplicates) are not independent, so whole groups are
drawn, with replacement. A replicate is a vector of weights, how often each group was drawn, and is
used for all settings and seeds alike: that pairs them. The networks stay as they were trained, so
an interval tells what other test images would change, not what another training would.

No library does this: those of scipy, MLstatkit and confidenceinterval draw single images.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from medae.base.errors import InputError
from medae.evaluation.ranking import (
    AT_SHARE,
    IMAGE_METRICS,
    PIXEL_METRICS,
    RankingCurve,
    average_precision,
    class_weights,
    rank,
    stratified_auc,
)
from medae.evaluation.summary import CELL

INTERVAL_COLUMNS = [
    *CELL,
    "value",
    "low",
    "high",
    "difference",
    "difference_low",
    "difference_high",
    "p_value",
    "replicates",
    "n_groups",
]
"""Columns of the tables of intervals; difference to p_value are empty for the reference setting."""

TEST_COLUMNS = [*CELL, "against", "difference", "low", "high", "p_value", "p_holm"]
"""Columns of the tables of tests of other scores: against the squared error of the same models, the
best control, and PCA with the same d by the same score."""

CONFIDENCE = 0.95
BLOCK = 50  # replicates at a time; all at once are up to ten times slower
BINS = 2048  # of the pixels' scores, among all pixels and as many again among the abnormal ones


def draw_weights(
    *,
    labels: np.ndarray,
    groups: np.ndarray,
    replicates: int,
    seed: int,
    masked: np.ndarray | None = None,
) -> np.ndarray:
    """Draw groups with replacement; return how often, shape (replicates, n_groups), whole float32.

    `labels` (0 normal, 1 abnormal) and `groups` (numbers from 0) have shape (n_images,). When every
    group is of one class, the classes are drawn apart, since the sizes of the test set's classes
    were chosen, not sampled. Otherwise all groups are drawn together. A replicate without a normal
    or an abnormal image, or without one of the images `masked` (bool, those with abnormal pixels),
    has no metric and is drawn again.

    Raises InputError when the test set itself has no such image.
    """
    classes = {"normal": labels == 0, "abnormal": labels == 1, "marked by its mask": masked}
    counts = np.array([np.bincount(groups, kind) for kind in classes.values() if kind is not None])
    for name, total in zip(classes, counts.sum(axis=1), strict=False):
        if total == 0:
            raise InputError(
                f"None of the test images is {name}, so nothing can be ranked. Check the labels "
                "and masks of the dataset's test split, then pack it again."
            )
    normal, abnormal = counts[:2] > 0
    strata = [np.flatnonzero(normal), np.flatnonzero(abnormal)]
    if (normal & abnormal).any():
        strata = [np.arange(len(normal))]
    random = np.random.default_rng(seed)
    weights = np.empty((replicates, len(normal)), dtype=np.float32)
    for row in weights:
        complete = False
        while not complete:
            for stratum in strata:
                drawn = random.integers(len(stratum), size=len(stratum))
                row[stratum] = np.bincount(drawn, minlength=len(stratum))
            complete = (counts @ row).all()
    return weights


def replicate_images(
    *,
    labels: np.ndarray,
    scores: np.ndarray,
    groups: np.ndarray,
    weights: np.ndarray,
    share: float | None = None,
    strata: Mapping[str, np.ndarray] | None = None,
) -> dict[str, np.ndarray]:
    """Return IMAGE_METRICS in each replicate, shape (replicates,), exact with ties.

    `labels`, `scores` and `groups` have shape (n_images,), `weights` comes from `draw_weights`.
    With `share` and `strata` the other metrics of `image_metrics` too; strata stay those of the
    whole test set, and a replicate in which none has a pair is nan.
    """
    found = defaultdict(list)
    for block in np.array_split(weights, len(weights) // BLOCK + 1):
        of_images = block[:, groups]
        curve = rank(labels=labels, scores=scores, weights=of_images)
        for key, metric in IMAGE_METRICS.items():
            found[key].append(metric.value(curve))
        if share is not None:
            shared = class_weights(labels, share, of_images)
            curve = rank(labels=labels, scores=scores, weights=shared)
            found[AT_SHARE].append(average_precision(curve))
        for name, own in (strata or {}).items():
            cases = {"labels": labels, "scores": scores, "strata": own}
            found[name].append(stratified_auc(**cases, weights=of_images))
    return {key: np.concatenate(values) for key, values in found.items()}


def replicate_pixels(
    *, masks: np.ndarray, maps: np.ndarray, groups: np.ndarray, weights: np.ndarray
) -> dict[str, np.ndarray]:
    """Return PIXEL_METRICS in each replicate, shape (replicates,).

    `masks` (0 or 1) and `maps` (anomaly maps) have shape (n_images, height, width). The maps are
    cut into up to 2 · BINS bins with equal shares of all pixels, and of the abnormal pixels, which
    can be few; pixels of one bin count as tied, which changes a metric by less than 0.001. Then a
    replicate is a sum of the groups' histograms, and no pixel is sorted again. Each replicate has
    its own best threshold for ⌈Dice⌉.
    """
    edges = np.unique(np.concatenate([_quantiles(maps), _quantiles(maps[masks == 1])]))
    histograms = np.zeros((2, weights.shape[1], len(edges)), dtype=np.float32)
    for group, mask, values in zip(groups, masks, maps, strict=True):
        # An edge is the least value of its bin, as a threshold is; the bins descend as those do.
        bins = len(edges) - np.searchsorted(edges, values, side="right")
        for part, label in zip(histograms, (1, 0), strict=True):
            part[group] += np.bincount(bins[mask == label], minlength=len(edges))
    counts = (np.cumsum(weights @ part, axis=1, dtype=np.float64) for part in histograms)
    curve = RankingCurve(edges[::-1], *counts)
    return {key: metric.value(curve) for key, metric in PIXEL_METRICS.items()}


def _quantiles(values: np.ndarray) -> np.ndarray:
    ordered = np.sort(values, axis=None)
    return ordered[np.linspace(0, len(ordered) - 1, BINS).round().astype(int)]


def percentile_interval(values: np.ndarray) -> tuple[float, float]:
    """Return the percentile interval of the replicates `values` at the level CONFIDENCE."""
    low, high = np.quantile(values, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def paired_p_value(differences: np.ndarray) -> float:
    """Return the two-sided bootstrap p-value of "no difference" from the replicates' differences.

    Twice the share of replicates on the other side of zero, or on it; (1 + count) / (1 + n) keeps
    it from being zero, which n replicates cannot show.
    """
    count = min(np.count_nonzero(differences <= 0), np.count_nonzero(differences >= 0))
    return min(1.0, 2 * (1 + count) / (1 + len(differences)))


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Return the p-values of one family of tests, adjusted by Holm's step-down method.

    Holm (1979), Scandinavian Journal of Statistics 6:65-70.
    """
    ranked = pd.Series(np.asarray(p_values, dtype=float)).sort_values(kind="stable")
    stepped = ranked * np.arange(len(ranked), 0, -1)
    return stepped.cummax().clip(upper=1).sort_index().to_numpy()
