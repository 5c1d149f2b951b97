"""The metrics of one set of scores, on both test splits: the rows of metrics.tsv."""

import numpy as np
import pandas as pd

from medae.base.errors import InputError
from medae.data.packed import PackedDataset
from medae.evaluation.ranking import image_metrics, pixel_metrics
from medae.evaluation.splits import LEAK_FREE_SPLIT, split_images

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


def measure(
    table: pd.DataFrame,
    *,
    truth: PackedDataset,
    leak_free: np.ndarray,
    trained_on: np.ndarray,
    scores_images: bool,
    maps: np.ndarray | None,
    what: str,
) -> pd.DataFrame:
    """Return rows of split, metric, value, n_train, n_normal and n_abnormal.

    `table` is that of `read_scores`; `leak_free` says which test images have no near-duplicate in
    training and `trained_on` which training images were used (bool); `maps` are anomaly maps
    N × H × W, of which pixel metrics are made. Image metrics are left out without `scores_images`,
    and the means of reconstruction errors where `table` has none. `split_images` says when the
    leak-free split is left out. `what` names the scores in errors.
    """
    rows: list[dict] = []
    for split, chosen in split_images(truth, leak_free).items():
        labels = truth.test_labels[chosen]
        n_abnormal = int(np.count_nonzero(labels))
        counts = {
            "n_train": int(np.count_nonzero(trained_on)),
            "n_normal": len(labels) - n_abnormal,
            "n_abnormal": n_abnormal,
        }
        kept = table[np.concatenate([trained_on, chosen])]
        values: dict[str, float] = {}
        if scores_images:
            scores = kept.loc[kept["split"] == "test", "score"].to_numpy()
            values |= image_metrics(
                labels=labels, scores=scores, what=f"{split} test images in {what}"
            )
        if table["reconstruction_error"].notna().any():
            values |= mean_reconstruction_errors(kept)
        if maps is not None:
            values |= pixel_metrics(
                masks=truth.test_masks[chosen],
                maps=maps[chosen],
                what=f"pixels of the {split} test images in {what}",
            )
        rows += [
            {"split": split, "metric": name, "value": value} | counts
            for name, value in values.items()
        ]
    if leak_free.all():  # the same images
        rows += [row | {"split": LEAK_FREE_SPLIT} for row in rows]
    return pd.DataFrame(rows)


def mean_reconstruction_errors(table: pd.DataFrame) -> dict[str, float]:
    """Return mean reconstruction errors of normal training, normal test and abnormal test images.

    `table` has the columns split ("train" or "test"), label (0 or 1) and reconstruction_error
    (squared [-1, 1] intensity units, mean over the pixels of an image). Returns error_train_normal,
    error_test_normal and error_test_abnormal in that unit.

    Raises InputError when one of the three groups is empty or an error is not finite.
    """
    means = {}
    for split, label, group in (
        ("train", 0, "normal"),
        ("test", 0, "normal"),
        ("test", 1, "abnormal"),
    ):
        chosen = (table["split"] == split) & (table["label"] == label)
        errors = table.loc[chosen, "reconstruction_error"].to_numpy(dtype=np.float64)
        if errors.size == 0 or not np.isfinite(errors).all():
            fault = "there are none" if errors.size == 0 else "some are not finite"
            raise InputError(
                f"No mean of the reconstruction errors of {group} {split} images: {fault}. Delete "
                "the table of scores, check the dataset's images, and run the workflow again."
            )
        means[f"error_{split}_{group}"] = float(errors.mean())
    return means
