"""One ranking curve, and the metrics that are read from it.

What is ranked (an image or a pixel) is called a case; label 1 is abnormal, 0 normal, and the higher
the score, the more abnormal. Cases with equal scores cross a threshold together. Cases can have
weights: how often a replicate of the bootstrap draws each, or what share a class is given.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from medae.base.errors import InputError
from medae.data.known import have_masks

STRATA = 10  # of images of like variance


@dataclass(frozen=True)
class RankingCurve:
    """How many cases have `score >= threshold`, for each distinct score.

    The last entries count all cases. With rows of weights, counts have a row for each, and so have
    the metrics below.
    """

    thresholds: np.ndarray
    """Distinct scores, descending, shape (n_thresholds,)."""
    true_positives: np.ndarray
    """Abnormal cases, or the sum of their weights, shape (…, n_thresholds), float64."""
    false_positives: np.ndarray
    """The same of normal cases."""


def rank(
    *, labels: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None
) -> RankingCurve:
    """Rank cases by score.

    `labels` (0 or 1) and `scores` (any finite real numbers) have the same shape and are flattened.
    `weights`, shape (…, n_cases), say how much each case counts; without them each counts once.
    """
    if labels.shape != scores.shape:
        raise ValueError(f"labels have shape {labels.shape}, but scores {scores.shape}")
    labels, scores = labels.reshape(-1), scores.reshape(-1)
    if weights is None:
        weights = np.ones(len(scores), dtype=np.float32)
    order = np.argsort(scores, kind="stable")[::-1]
    ranked, abnormal, weights = scores[order], labels[order] == 1, weights[..., order]
    ends = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)
    # Sums of whole numbers are exact in float64 up to 2^53.
    true_positives, false_positives = (
        np.cumsum(weights * own, axis=-1, dtype=np.float64)[..., ends]
        for own in (abnormal, ~abnormal)
    )
    return RankingCurve(ranked[ends], true_positives, false_positives)


def check_cases(*, labels: np.ndarray, scores: np.ndarray, what: str) -> None:
    """Raise InputError for a class without cases or a score that is not finite, of `what`."""
    n_abnormal = np.count_nonzero(labels == 1)
    for kind, count in (("normal", labels.size - n_abnormal), ("abnormal", n_abnormal)):
        if count == 0:
            raise InputError(
                f"None of the {labels.size} {what} is {kind}, and a ranking needs both classes. "
                "Check the labels (for pixels, the masks) of the dataset's test split, then "
                "pack it again."
            )
    n_bad = scores.size - np.count_nonzero(np.isfinite(scores))
    if n_bad:
        raise InputError(
            f"{n_bad} of the {scores.size} scores of {what} are not finite, so they have no rank. "
            "The network has overflowed: delete its checkpoint and train it again, with another "
            "seed or a lower learning rate if it recurs."
        )


def count_pairs(curve: RankingCurve) -> tuple[np.ndarray, np.ndarray]:
    """Return how many pairs of a normal and an abnormal case are ordered rightly, and all pairs.

    Tied pairs count one half. Exact for whole weights, so that AUC is rounded once.
    """
    gained = np.diff(curve.true_positives, axis=-1, prepend=0.0)
    alarms = np.diff(curve.false_positives, axis=-1, prepend=0.0)
    right = np.sum(alarms * (2 * curve.true_positives - gained), axis=-1) / 2
    return right, curve.true_positives[..., -1] * curve.false_positives[..., -1]


def auc(curve: RankingCurve) -> np.ndarray:
    """Return the area under the ROC curve, 0–1; ties count one half."""
    right, pairs = count_pairs(curve)
    return right / pairs


def average_precision(curve: RankingCurve) -> np.ndarray:
    """Return average precision, 0–1: Σ (recall_n - recall_{n-1}) · precision_n.

    Without interpolation, the definition of scikit-learn's `average_precision_score`.
    """
    hits = curve.true_positives
    called = hits + curve.false_positives
    # Thresholds above all cases with a weight call nothing.
    precision = np.divide(hits, called, out=np.zeros_like(hits), where=called > 0)
    return np.sum(np.diff(hits, axis=-1, prepend=0.0) * precision, axis=-1) / hits[..., -1]


def dice_max(curve: RankingCurve) -> tuple[np.ndarray, np.ndarray]:
    """Return ⌈Dice⌉, the best Dice over all thresholds (0–1), and the threshold that gives it.

    The threshold is chosen on the test set with its masks (an oracle), so the value is an upper
    bound and not what a user of the method would get. One threshold serves the whole test set: a
    pixel with `score >= threshold` is called abnormal, and the pixels of all images are counted
    together. Every distinct score is tried; the paper's reference tries 200 thresholds, so its
    number can only be a little lower. Of equally good thresholds the highest is returned.
    """
    hits = curve.true_positives
    called = hits + curve.false_positives
    dice = 2.0 * hits / (called + hits[..., -1:])
    return dice.max(axis=-1), curve.thresholds[dice.argmax(axis=-1)]


class Metric(NamedTuple):
    """A metric as metrics.tsv, tables, figures and the bootstrap know it."""

    label: str
    """In Markdown and HTML."""
    latex: str
    axis: str
    """In figures, which read mathtext."""
    value: Callable[[RankingCurve], np.ndarray]
    """A fraction."""
    note: str = ""
    """A sentence below tables that have it."""
    chance: Callable[[float], float] | None = None
    """What a random score has, from the share of abnormal images; None where that is not drawn."""


IMAGE_METRICS = {
    "auc": Metric("AUC", "AUC", "AUC", auc, chance=lambda share: 0.5),
    "ap": Metric("AP", "AP", "AP", average_precision, chance=lambda share: share),
}
AT_SHARE = "ap_share"
"""AP at a share of abnormal images that is not that of the test set: see `class_weights`."""
SHARE_METRIC = IMAGE_METRICS["ap"]._replace(
    label="AP*",
    latex=r"AP$^\dagger$",
    note="AP*: at the share of abnormal images of the full test set (of the paper's, where "
    "that is rebuilt), by weights on the classes.",
    chance=None,
)
PIXEL_METRICS = {
    "ap_pix": Metric("AP_pix", r"AP\textsubscript{pix}", r"AP$_{\mathrm{pix}}$", average_precision),
    "dice_max": Metric(
        "⌈Dice⌉",
        r"$\lceil$Dice$\rceil$",
        "⌈Dice⌉",
        lambda curve: dice_max(curve)[0],
        note="⌈Dice⌉: best Dice over all thresholds, chosen on the test set.",
    ),
}


def class_weights(labels: np.ndarray, share: float, weights: np.ndarray) -> np.ndarray:
    """Return `weights`, shape (…, n_cases), with those of normal cases scaled.

    So that the abnormal cases (label 1) are `share` of all: of 1000 normal and 463 abnormal ones at
    a share of one half, a normal one weighs 463/1000.
    """
    abnormal, weights = labels == 1, weights.astype(np.float64)
    scale = weights[..., abnormal].sum(axis=-1) / weights[..., ~abnormal].sum(axis=-1)
    scale *= (1 - share) / share
    return np.where(abnormal, weights, weights * scale[..., None])


def image_metrics(
    *,
    labels: np.ndarray,
    scores: np.ndarray,
    what: str,
    share: float | None = None,
    strata: Mapping[str, np.ndarray] | None = None,
) -> dict[str, float]:
    """Return IMAGE_METRICS of labels and scores of shape (n_images,); raises like `check_cases`.

    With `share`, the AP at that share of abnormal images too, AT_SHARE; with `strata`, by metric
    the stratum of each image, the `stratified_auc` of those that have pairs.
    """
    labels, scores = np.asarray(labels), np.asarray(scores)
    check_cases(labels=labels, scores=scores, what=what)
    curve = rank(labels=labels, scores=scores)
    values = {key: float(metric.value(curve)) for key, metric in IMAGE_METRICS.items()}
    if share is not None:
        weights = class_weights(labels, share, np.ones(len(labels)))
        curve = rank(labels=labels, scores=scores, weights=weights)
        values[AT_SHARE] = float(average_precision(curve))
    for name, own in (strata or {}).items():
        within = float(stratified_auc(labels=labels, scores=scores, strata=own))
        values |= {} if math.isnan(within) else {name: within}
    return values


def pixel_metrics(*, masks: np.ndarray, maps: np.ndarray, what: str) -> dict[str, float]:
    """Return auc_pix, PIXEL_METRICS and dice_max_threshold over all pixels of all images.

    `masks` (0 or 1) and `maps` (anomaly maps) have shape (n_images, height, width); images whose
    mask is not known are left out. Raises like `check_cases`.
    """
    known = have_masks(masks)
    masks, maps = masks[known], maps[known]
    check_cases(labels=masks, scores=maps, what=what)
    curve = rank(labels=masks, scores=maps)
    values = {key: float(metric.value(curve)) for key, metric in PIXEL_METRICS.items()}
    threshold = float(dice_max(curve)[1])
    return {"auc_pix": float(auc(curve)), **values, "dice_max_threshold": threshold}


# AUC among images of like variance: what a score tells beyond the contrast of the image. Where
# abnormal images have more contrast than normal ones, or less, every score that grows with the
# image's variance separates them. Within a stratum of like variance it hardly can.


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
    alike, or as the product of their `weights`, those of `rank`. The others have shape (n_images,).
    nan without a pair.
    """
    weights = np.ones(len(labels)) if weights is None else weights
    parts = [strata == stratum for stratum in np.unique(strata)]
    found = [
        count_pairs(rank(labels=labels[own], scores=scores[own], weights=weights[..., own]))
        for own in parts
    ]
    right, pairs = np.sum(found, axis=0)
    return np.divide(right, pairs, out=np.full_like(pairs, np.nan), where=pairs > 0)[()]
