"""The metrics of one set of scores, on both test splits: the rows of metrics.tsv."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from medae.base.errors import InputError
from medae.data.packed import PackedDataset, as_floats
from medae.evaluation.ranking import image_metrics, pixel_metrics, variance_strata
from medae.evaluation.splits import LEAK_FREE_SPLIT, has_both, split_images
from medae.models.baselines import low_variance

METRIC_COLUMNS = [
    "dataset",
    "training_set",
    "method",
    "latent_dim",
    "score",
    "seed",
    "split",
    "metric",
    "value",
    "n_train",
    "n_normal",
    "n_abnormal",
]
"""Columns of the tables of metrics: latent_dim is 0 for a method without one, score a name of
medae.models.information, n_train counts the training images that were used, n_normal and n_abnormal
test images, with or without a mask."""

FLAGGED_METRICS = ("false_positive_rate", "sensitivity")  # by label


def measure(
    table: pd.DataFrame,
    *,
    truth: PackedDataset,
    leak_free: np.ndarray,
    trained_on: np.ndarray,
    scores_images: bool,
    maps: np.ndarray | None,
    share: float | None,
    matched: Mapping[str, np.ndarray],
    what: str,
    threshold: float | None = None,
) -> pd.DataFrame:
    """Return rows of split, metric, value, n_train, n_normal and n_abnormal.

    `table` is that of `read_scores`; `leak_free` says which test images have no near-duplicate and
    no image of their patient in training, and `trained_on` which training images were used (bool);
    `maps` are anomaly maps N × H × W, of which pixel metrics are made. Image metrics are left out
    without `scores_images` and where the test set lacks a class, and the means of reconstruction
    errors where `table` has none. `split_images` says when the leak-free split is left out. AP is
    also given at the `share` of abnormal images, by default that of the full test set, and AUC also
    among images that are alike by the numbers `matched` of test images (`matched_by`), where there
    are any of both classes. With a `threshold` there is the share of each class above it. `what`
    names the scores in errors.
    """
    rows: list[dict] = []
    share = share or float(np.mean(truth.test_labels == 1)) if len(truth.test_labels) else None
    scores_images = scores_images and has_both(truth.test_labels)
    for split, chosen in split_images(truth, leak_free).items():
        labels = truth.test_labels[chosen]
        values: dict[str, float] = {}
        kept = table[np.concatenate([trained_on, chosen])]
        if scores_images:
            scores = kept.loc[kept["split"] == "test", "score"].to_numpy()
            where = f"{split} test images in {what}"
            strata = strata_of(matched, chosen)
            values |= image_metrics(
                labels=labels, scores=scores, what=where, share=share, strata=strata
            )
        if threshold is not None:
            test = kept[kept["split"] == "test"]
            shares = (test["score"] > threshold).groupby(test["label"]).mean()
            values |= {FLAGGED_METRICS[label]: float(share) for label, share in shares.items()}
        if table["reconstruction_error"].notna().any():
            values |= mean_reconstruction_errors(kept)
        if maps is not None:
            values |= pixel_metrics(
                masks=truth.test_masks[chosen],
                maps=maps[chosen],
                what=f"pixels of the {split} test images in {what}",
            )
        counts = {
            "n_train": int(trained_on.sum()),
            "n_normal": int((labels == 0).sum()),
            "n_abnormal": int((labels == 1).sum()),
        }
        rows += [
            {"split": split, "metric": name, "value": value} | counts
            for name, value in values.items()
        ]
    if leak_free.all():  # the same images
        rows += [row | {"split": LEAK_FREE_SPLIT} for row in rows]
    return pd.DataFrame(rows, columns=[*METRIC_COLUMNS[6:]])


def matched_by(images: np.ndarray) -> dict[str, np.ndarray]:
    """Return by metric the numbers (N,) of uint8 images in whose strata AUC is taken.

    auc_matched: the variance of the image; auc_matched_local: that of its windows, by the formula
    of the baseline local_variance, low for a smooth image.
    """
    if not len(images):
        return {}
    floats = as_floats(images)
    return {
        "auc_matched": floats.var(axis=(2, 3), dtype=np.float64).mean(axis=1),
        "auc_matched_local": -low_variance(floats, floats, share=0.1).mean(axis=(1, 2)),
    }


def strata_of(matched: Mapping[str, np.ndarray], chosen: np.ndarray) -> dict[str, np.ndarray]:
    """Return by metric the strata of the `chosen` images by the numbers of `matched_by`."""
    return {name: variance_strata(numbers[chosen]) for name, numbers in matched.items()}


def mean_reconstruction_errors(table: pd.DataFrame) -> dict[str, float]:
    """Return error_train_normal, error_test_normal and error_test_abnormal where there are images.

    `table` has the columns split, label (0 or 1) and reconstruction_error (squared [-1, 1]
    intensity units, mean over the pixels of an image). Raises InputError when a mean is not finite.
    """
    means = {}
    for split, group in (("train", "normal"), ("test", "normal"), ("test", "abnormal")):
        chosen = (table["split"] == split) & (table["label"] == (group == "abnormal"))
        if not chosen.any():
            continue
        mean = float(table.loc[chosen, "reconstruction_error"].to_numpy(dtype=np.float64).mean())
        if not np.isfinite(mean):
            raise InputError(
                f"The reconstruction errors of {group} {split} images are not finite. Delete the "
                "table of scores, check the dataset's images, and run the workflow again."
            )
        means[f"error_{split}_{group}"] = mean
    return means
