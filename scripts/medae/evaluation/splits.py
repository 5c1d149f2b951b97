"""The test splits: published, and leak-free, its images without a duplicate in training."""

import logging

import numpy as np
import pandas as pd

from medae.data.groups import image_groups
from medae.data.packed import PackedDataset

logger = logging.getLogger(__name__)

PUBLISHED_SPLIT = "published"
"""Value of column `split` for metrics on the test images that the dataset's authors chose."""

LEAK_FREE_SPLIT = "leak_free"
"""Value of column `split` for metrics on those of them that have no twin in training."""


def groups_to_draw(
    audited: pd.DataFrame, truth: PackedDataset, *, pattern: str | None
) -> np.ndarray:
    """Return the group of each test image: its patient by `pattern`, or without one its copies.

    `audited` is the audit's table of images.
    """
    if pattern is not None:
        return image_groups(truth.test_ids, pattern=pattern)
    return audited.loc[audited["split"] == "test", "copy_group"].to_numpy()


def split_images(truth: PackedDataset, free: np.ndarray) -> dict[str, np.ndarray]:
    """Return which test images are in each split; `free` says which have no twin in training.

    The leak-free one is left out where it is the published one, and where it cannot be ranked.
    """
    splits = {PUBLISHED_SPLIT: np.ones(len(free), dtype=bool)}
    labels, masks = truth.test_labels[free], truth.test_masks
    if len(set(labels)) < 2 or (masks is not None and not masks[free].any()):
        logger.warning("No leak-free metrics: a class has no test image without a twin.")
    elif not free.all():
        splits[LEAK_FREE_SPLIT] = free
    return splits
