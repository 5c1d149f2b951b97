"""The held-out part of the training images that stands in for a test set while d is chosen.

Images that belong together, duplicates or images of one patient, are on one side: else a model
would be chosen for what it remembers. Two images belong together when a chain of copy groups and
patients connects them. The anomalies of this test set are those of `medae.theory.synthetic`.
"""

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from medae.base.errors import InputError

PREFIX = "synthetic"
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
            f"No {share:.0%} of the {len(components)} training images can be held out to choose "
            f"models: duplicates and patients tie them to {len(sizes)} group(s), which cannot be "
            f"split, and {LEAST} images are needed on either side. Add training images, or leave "
            "this dataset out of the choice without labels."
        )
    return np.isin(components, chosen)


def synthetic_id(kind: str, name: str) -> str:
    """Return the id of the synthetic anomaly of one kind in the image `name`."""
    return f"{PREFIX}/{kind}/{name}"


def split_id(name: str) -> tuple[str, str]:
    """Return the kind and the original's id of a synthetic anomaly by its own id."""
    _, kind, original = name.split("/", 2)
    return kind, original
