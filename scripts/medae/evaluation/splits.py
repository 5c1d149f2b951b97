"""The two test splits: which test images count on which, and when one is left out."""

import logging

import numpy as np

from medae.data.packed import PackedDataset

logger = logging.getLogger(__name__)

PUBLISHED_SPLIT = "published"
"""Value of column `split` for metrics on the test images that the dataset's authors chose."""

LEAK_FREE_SPLIT = "leak_free"
"""Value of column `split` for metrics on its leak-free images, as the audit finds them."""


def has_both(labels: np.ndarray) -> bool:
    """Return whether `labels` (0 normal, 1 abnormal) have both classes and can be ranked."""
    return len(set(labels)) == 2


def split_images(truth: PackedDataset, leak_free: np.ndarray) -> dict[str, np.ndarray]:
    """Return by split which test images count on it; bool, as `leak_free`, shape (n_test,).

    The leak-free split is left out where it is the published one, and where it can't be ranked:
    without a normal or an abnormal image, or in a dataset with masks without an abnormal pixel.
    """
    splits = {PUBLISHED_SPLIT: np.ones(len(leak_free), dtype=bool)}
    if not has_both(truth.test_labels):
        logger.info("No metrics that need normal and abnormal test images: a class is missing.")
        return splits
    labels, masks = truth.test_labels[leak_free], truth.test_masks
    if not has_both(labels) or (masks is not None and not (masks[leak_free] == 1).any()):
        logger.warning("No leak-free metrics: without leaked images the test set lacks a class.")
    elif not leak_free.all():
        splits[LEAK_FREE_SPLIT] = leak_free
    return splits
