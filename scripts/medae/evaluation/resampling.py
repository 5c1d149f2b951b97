"""Which test images a bootstrap draws together, on the published and on the leak-free test set."""

import logging
from typing import NamedTuple

import numpy as np
import pandas as pd

from medae.data.groups import image_groups
from medae.data.packed import PackedDataset
from medae.evaluation import intervals
from medae.evaluation.metrics import LEAK_FREE_SPLIT, PUBLISHED_SPLIT

logger = logging.getLogger(__name__)


class Resampling(NamedTuple):
    """The test images of one split, and how often each of their groups is drawn."""

    split: str
    chosen: np.ndarray
    """Which of the dataset's test images these are; bool."""
    groups: np.ndarray
    """The group of each chosen image, numbered from 0."""
    weights: np.ndarray
    """Shape (replicates, groups)."""


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


def resample(
    split: str,
    chosen: np.ndarray,
    *,
    truth: PackedDataset,
    groups: np.ndarray,
    replicates: int,
    seed: int,
) -> Resampling:
    """Draw the groups of the `chosen` test images; `groups` are those of all, of any numbering."""
    groups = np.unique(groups[chosen], return_inverse=True)[1]
    masks = truth.test_masks
    weights = intervals.draw_weights(
        labels=truth.test_labels[chosen],
        groups=groups,
        replicates=replicates,
        seed=seed,
        masked=None if masks is None else masks[chosen].any(axis=(1, 2)),
    )
    logger.info("%s: %d test images in %d groups", split, len(groups), weights.shape[1])
    return Resampling(split, chosen, groups, weights)
