"""Which training images a model is trained on: all, or those that the audit leaves.

`without_twins` leaves out the copy groups that have a test image.
`without_random`, its control, leaves out as many images at random, other ones for each seed: a
model with fewer images is worse, and the control tells how much of a loss is due to that. Copy
groups are never cut.
"""

from pathlib import Path

import numpy as np

from medae.base.errors import InputError
from medae.base.files import read_table
from medae.data.packed import PackedDataset

TRAINING_SETS = ["all", "without_twins", "without_random"]


def in_other_split(groups: np.ndarray, *, n_train: int) -> np.ndarray:
    """Return whether each image has one of its group in the other split; the training comes first.

    `groups` has shape (n_images,), of any numbering.
    """
    train, test = groups[:n_train], groups[n_train:]
    return np.concatenate([np.isin(train, test), np.isin(test, train)])


def draw_training_rows(
    groups: np.ndarray, *, n_train: int, training_set: str, seed: int
) -> np.ndarray:
    """Return which training images are used in `without_twins` or `without_random`; bool.

    `groups` are the copy groups of the training and then the test images. The control leaves out
    groups in random order, each that still fits, so that the numbers are equal whenever the sizes
    of the groups allow it.
    """
    seen = in_other_split(groups, n_train=n_train)[:n_train]
    if training_set == "without_twins":
        return ~seen
    if training_set != "without_random":
        raise ValueError(f"no training set to draw: {training_set!r}")
    left = seen.sum()
    names, sizes = np.unique(groups[:n_train], return_counts=True)
    left_out = []
    for place in np.random.default_rng(seed).permutation(len(names)):
        if sizes[place] <= left:
            left -= sizes[place]
            left_out.append(names[place])
    return ~np.isin(groups[:n_train], left_out)


def read_training_rows(
    path: Path | None, data: PackedDataset, *, training_set: str, seed: int
) -> np.ndarray:
    """Return which training images of `data` are used with `seed`; bool.

    `path` is the table of the training set (id, and a column seed<seed> of 0 and 1 per seed); None
    stands for all images. Raises InputError for another table, and when fewer than two images are
    left.
    """
    if path is None:
        return np.ones(len(data.train_ids), dtype=bool)
    table = read_table(path)
    if f"seed{seed}" not in table or list(table["id"].astype(str)) != data.train_ids:
        raise InputError(
            f"{path} is not the training set of this packed dataset '{data.attributes['dataset']}' "
            f"with seed {seed}. Delete it and run the workflow again."
        )
    rows = table[f"seed{seed}"].to_numpy() == 1
    if rows.sum() < 2:
        raise InputError(
            f"Of the {len(rows)} training images of '{data.attributes['dataset']}' {rows.sum()} "
            f"are left for the training set {training_set}: nearly all have copies in the test "
            "set. Leave this training set out of the grid and of baselines.training_sets."
        )
    return rows
