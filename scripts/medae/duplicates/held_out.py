"""A held-out part of the training images: for a decision's threshold, or to choose d.

Images that belong together, duplicates or images of one patient, are on one side: else a model
would be judged by what it remembers. Two images belong together when a chain of copy groups and
patients connects them. The table of a training set has held-out images in the column held_out, and
their components in the column group.
"""

import math
from pathlib import Path

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from medae.base.errors import InputError
from medae.base.files import read_table
from medae.data.packed import PackedDataset

LEAST = 2  # images on either side


def image_components(copy_groups: np.ndarray, patients: np.ndarray) -> np.ndarray:
    """Return the number of each image's component, from 0 by first appearance; (n_images,).

    `copy_groups` and `patients` (numbers of any kind) have shape (n_images,).
    """
    count = len(copy_groups)
    firsts = []  # each image is linked with the first of its copy group and of its patient
    for groups in (copy_groups, patients):
        _, first, place = np.unique(groups, return_index=True, return_inverse=True)
        firsts.append(first[place])
    links = (np.tile(np.arange(count), 2), np.concatenate(firsts))
    graph = coo_matrix((np.ones(2 * count, dtype=bool), links), shape=(count, count))
    return connected_components(graph, directed=False)[1]


def hold_out(
    copy_groups: np.ndarray, patients: np.ndarray, *, share: float, seed: int
) -> np.ndarray:
    """Return which training images are held out; bool, shape (n_images,).

    Whole components of `image_components`, in random order, each that brings the number of images
    nearer to `share` of all, but to LEAST at least; the same for any numbering of the groups.

    Raises InputError when fewer than LEAST images would be on a side.
    """
    components = image_components(copy_groups, patients)
    sizes = np.bincount(components)
    wanted = max(LEAST, share * len(components))
    held, chosen = 0, []
    for place in np.random.default_rng(seed).permutation(len(sizes)):
        if abs(held + sizes[place] - wanted) < abs(held - wanted):
            held += int(sizes[place])
            chosen.append(place)
    if held < LEAST or len(components) - held < LEAST:
        raise InputError(
            f"No {share:.0%} of the {len(components)} training images can be held out: "
            f"duplicates and patients tie them to {len(sizes)} group(s), which cannot be "
            f"split, and {LEAST} images are needed on either side. Add training images, or hold "
            "none of this dataset out."
        )
    return np.isin(components, chosen)


def check_enough(found: int, count: int, *, rate: float) -> None:
    """Raise InputError unless `found` held-out images of `count` give a threshold at this rate.

    ⌈(1 - rate) / rate⌉ are needed: a new image is then as likely as any of them to be the highest.
    """
    least = math.ceil(round((1 - rate) / rate, 9))
    if found < least:
        raise InputError(
            f"{found} of {count} training images are held out, but a threshold at this "
            f"false-positive rate needs {least}. Raise decision.held_out or "
            "decision.false_positive_rate in the configuration, or add normal training images."
        )


def read_held_out(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return which training images the table `path` holds out, bool, and the groups of these."""
    table = read_table(path)
    if not {"held_out", "group"} <= set(table):
        raise InputError(f"{path} holds no images out. Delete it and run the workflow again.")
    held = table["held_out"].to_numpy() == 1
    return held, table["group"].to_numpy()[held]


def not_held_out(path: Path | None, data: PackedDataset) -> np.ndarray:
    """Return which training images the table `path` doesn't hold out, bool; all without a table."""
    if path is None or "held_out" not in read_table(path):
        return np.ones(len(data.train_ids), dtype=bool)
    return ~read_held_out(path)[0]
