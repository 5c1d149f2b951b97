"""All metrics, from one exact ranking curve.

The unit that is ranked (an image or a pixel) is called a case; label 1 is abnormal, 0 normal, and
the higher the score, the more abnormal. Cases with equal scores are never told apart: they cross
a threshold together.
"""

from dataclasses import dataclass

import numpy as np

from medae.base.errors import InputError

METRIC_COLUMNS = [
    "dataset",
    "training_set",
    "method",
    "latent_dim",
    "seed",
    "split",
    "metric",
    "value",
    "n_train",
    "n_normal",
    "n_abnormal",
]
"""Columns of the tables of metrics: latent_dim is 0 for a method without one, n_train counts the
training images that were used, n_normal and n_abnormal test images."""


@dataclass(frozen=True)
class RankingCurve:
    """Counts of the cases with `score >= threshold`, for each distinct score.

    All arrays have shape (n_thresholds,); the last entries hold all cases.
    """

    thresholds: np.ndarray
    """Distinct scores, descending."""
    true_positives: np.ndarray
    """Abnormal cases at or above each threshold; whole numbers as float64."""
    false_positives: np.ndarray
    """Normal cases at or above each threshold; whole numbers as float64."""

    @property
    def n_abnormal(self) -> float:
        """Number of abnormal cases, at least 1."""
        return self.true_positives[-1]

    @property
    def n_normal(self) -> float:
        """Number of normal cases, at least 1."""
        return self.false_positives[-1]


def ranking_curve(*, labels: np.ndarray, scores: np.ndarray, what: str) -> RankingCurve:
    """Rank cases by score, once, for all the metrics below.

    `labels` (0 or 1) and `scores` (any finite real numbers) have the same shape and are flattened;
    `what` names the cases in errors, e.g. "test images of scores.tsv".

    Raises InputError when there is no case, only one class, or a score that is not finite.
    """
    labels, scores = np.asarray(labels), np.asarray(scores)
    if labels.shape != scores.shape:
        raise ValueError(f"labels have shape {labels.shape}, but scores {scores.shape}")
    labels, scores = labels.reshape(-1), scores.reshape(-1)
    _check_cases(labels=labels, scores=scores, what=what)
    # Here, since it takes 0.6 s, which tables and figures that only name metrics need not wait for.
    from sklearn.metrics import confusion_matrix_at_thresholds

    _, false_positives, _, true_positives, thresholds = confusion_matrix_at_thresholds(
        y_true=labels, y_score=scores, pos_label=1
    )
    return RankingCurve(
        thresholds=thresholds, true_positives=true_positives, false_positives=false_positives
    )


def _check_cases(*, labels: np.ndarray, scores: np.ndarray, what: str) -> None:
    if labels.size == 0:
        raise InputError(
            f"There are no {what}, so nothing can be ranked. Check that the dataset has a test "
            "split, and run the workflow again."
        )
    n_abnormal = np.count_nonzero(labels == 1)
    n_normal = np.count_nonzero(labels == 0)
    if n_abnormal + n_normal != labels.size:
        raise InputError(
            f"{labels.size - n_abnormal - n_normal} of the {labels.size} {what} have a label that "
            "is neither 0 (normal) nor 1 (abnormal). Delete the file and run the workflow again."
        )
    if n_abnormal == 0 or n_normal == 0:
        only = "normal (label 0)" if n_abnormal == 0 else "abnormal (label 1)"
        raise InputError(
            f"All {labels.size} {what} are {only}, and a ranking needs both classes. Check the "
            "labels (for pixels, the masks) of the dataset's test split, then prepare it again."
        )
    n_bad = scores.size - np.count_nonzero(np.isfinite(scores))
    if n_bad:
        raise InputError(
            f"{n_bad} of the {scores.size} scores of {what} are not finite, so they have no rank. "
            "The network has overflowed: delete its checkpoint and train it again, with another "
            "seed or a lower learning rate if it recurs."
        )


def auc(curve: RankingCurve) -> float:
    """Area under the ROC curve, 0–1; ties count one half."""
    before = curve.true_positives - np.diff(curve.true_positives, prepend=0.0)
    # Twice the area in whole cases: exact in float64 up to 2^53, so the only rounding is the last
    # division.
    twice = np.sum(np.diff(curve.false_positives, prepend=0.0) * (before + curve.true_positives))
    return float(twice / (2.0 * curve.n_abnormal * curve.n_normal))


def average_precision(curve: RankingCurve) -> float:
    """Average precision, 0–1: Σ (recall_n - recall_{n-1}) · precision_n, without interpolation.

    The definition of scikit-learn's `average_precision_score`.
    """
    precision = curve.true_positives / (curve.true_positives + curve.false_positives)
    gained = np.diff(curve.true_positives, prepend=0.0)
    return float(np.sum(gained * precision) / curve.n_abnormal)


def dice_max(curve: RankingCurve) -> tuple[float, float]:
    """⌈Dice⌉, the best Dice over all thresholds (0–1), and the threshold that gives it.

    The threshold is chosen on the test set with its masks (an oracle), so the value is an upper
    bound and not what a user of the method would get. One threshold serves the whole test set: a
    pixel with `score >= threshold` is called abnormal, and the pixels of all images are counted
    together. Every distinct score is tried; the paper's reference tries 200 thresholds, so its
    number can only be a little lower. Of equally good thresholds the highest is returned.
    """
    called = curve.true_positives + curve.false_positives
    dice = 2.0 * curve.true_positives / (called + curve.n_abnormal)
    best = int(np.argmax(dice))
    return float(dice[best]), float(curve.thresholds[best])


def image_metrics(*, labels: np.ndarray, scores: np.ndarray, what: str) -> dict[str, float]:
    """Metrics over images (auc, ap) from labels and scores of shape (n_images,)."""
    curve = ranking_curve(labels=labels, scores=scores, what=what)
    return {"auc": auc(curve), "ap": average_precision(curve)}


def pixel_metrics(*, masks: np.ndarray, maps: np.ndarray, what: str) -> dict[str, float]:
    """Metrics over all pixels of all images: auc_pix, ap_pix, dice_max, dice_max_threshold.

    `masks` (0 or 1) and `maps` (anomaly maps) have shape (n_images, height, width).
    """
    curve = ranking_curve(labels=masks, scores=maps, what=what)
    dice, threshold = dice_max(curve)
    return {
        "auc_pix": auc(curve),
        "ap_pix": average_precision(curve),
        "dice_max": dice,
        "dice_max_threshold": threshold,
    }


def mean_reconstruction_errors(
    *, split: np.ndarray, labels: np.ndarray, errors: np.ndarray
) -> dict[str, float]:
    """Mean reconstruction error of normal training, normal test and abnormal test images.

    `split` ("train" or "test"), `labels` (0 or 1) and `errors` (squared [-1, 1] intensity units,
    mean over the pixels of an image) have shape (n_images,). Returns error_train_normal,
    error_test_normal and error_test_abnormal, each in the unit of `errors`.

    Raises InputError when one of the three groups is empty or an error is not finite.
    """
    split, labels = np.asarray(split), np.asarray(labels)
    errors = np.asarray(errors, dtype=np.float64)
    means = {}
    groups = (("train", 0, "normal"), ("test", 0, "normal"), ("test", 1, "abnormal"))
    for part, label, group in groups:
        chosen = errors[(split == part) & (labels == label)]
        if chosen.size == 0 or not np.isfinite(chosen).all():
            fault = "there are none" if chosen.size == 0 else "some are not finite"
            raise InputError(
                f"No mean of the reconstruction errors of {group} {part} images: {fault}. Delete "
                "the table of scores, check the dataset's images, and run the workflow again."
            )
        means[f"error_{part}_{group}"] = float(chosen.mean())
    return means
