"""The audit of a dataset: near-duplicates, and the test images that were seen in training.

Two images are near-duplicates, in short copies, when their similarity
(`medae.duplicates.similarity`) is at least a threshold. A twin of an image is a copy of it in the
other split, training or test. A copy group is a connected component of the graph of copies over
both splits; an image without copies is one by itself.

The threshold is calibrated where patients are known: normal images of different patients are no
copies, so it is the similarity that only a share `FALSE_POSITIVES` of them reach with any image of
another patient. Normal images only, since those of another class often come from another source
and are less alike. Pairs at or above the configured threshold are copies whatever their patients'
ids say, and are left out: else a few copies under two ids would lift the threshold above
themselves. Without patients the threshold is the configured one.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from medae.base.errors import InputError
from medae.base.files import read_table
from medae.data.packed import PackedDataset
from medae.duplicates.similarity import INVERSE, Block, similarities
from medae.duplicates.training_sets import in_other_split

FALSE_POSITIVES = 0.001
MAX_PAIRS = 20_000_000  # of 13 bytes each

IMAGE_COLUMNS = [
    "split",
    "id",
    "label",
    "brightness",
    "contrast",
    "total_variation",
    "nearest",
    "similarity",
    "symmetry",
    "unmoved_similarity",
    "identical",
    "patient_in_both",
    "other_patient_similarity",
    "twin",
    "copy_group",
]
"""Columns of images.tsv: a row per image, the training images and then the test images.

brightness, contrast and total_variation are those of `medae.data.statistics`; nearest is the id of
the most similar image of the other split, symmetry what moves the image to it, unmoved_similarity
the highest one without moving; identical, patient_in_both and twin are 0 or 1: the same pixels are,
an image of the same patient is (as far as patients are known), a copy is in the other split;
other_patient_similarity is the highest one between normal images of different patients, empty for
abnormal images and where no patients are known.
"""

PAIR_COLUMNS = ["split", "id", "other_split", "other_id", "similarity", "symmetry"]
"""Columns of pairs.tsv: pairs of copies, the most similar first; symmetry moves id to other_id."""


class Nearest:
    """Of each image the most similar other one among those allowed; -1 and -1.0 without one."""

    def __init__(self, count: int):
        self.position = np.full(count, -1)
        self.similarity = np.full(count, -1, dtype=np.float32)
        self.symmetry = np.zeros(count, dtype=np.uint8)

    def update(self, block: Block, values: np.ndarray, allowed: np.ndarray) -> None:
        """Take the pairs of `block` that are `allowed`, by `values`; both of the block's shape."""
        values = np.where(allowed, values, np.float32(-1))
        start = block.rows.start
        for place, part, symmetry in (
            (block.rows, values, block.symmetry),
            (slice(start, None), values.T, INVERSE[block.symmetry.T]),
        ):
            found = part.argmax(axis=1)
            pairs = np.arange(len(found)), found
            better = part[pairs] > self.similarity[place]
            self.similarity[place][better] = part[pairs][better]
            self.position[place][better] = found[better] + start
            self.symmetry[place][better] = symmetry[pairs][better]


def calibrate(
    images: np.ndarray,
    *,
    labels: np.ndarray,
    patients: np.ndarray,
    configured: float,
    moved: bool,
) -> tuple[np.ndarray, float | None]:
    """Return each image's highest similarity to another patient's, and the threshold from them.

    `images` are `comparable`; `labels` (0 normal) and `patients` (numbers) have shape (n_images,).
    Only normal images count; others have nan, as have images without another patient's. The
    threshold is None when there are none of two patients.
    """
    normal = np.flatnonzero(labels == 0)
    patients = patients[normal]
    nearest = Nearest(len(normal))
    for block in similarities(images[normal], moved=moved):
        others = patients[block.rows, None] != patients[None, block.rows.start :]
        nearest.update(block, block.best, others & (block.best < configured))
    known = nearest.position >= 0
    highest = np.full(len(images), np.nan)
    highest[normal[known]] = nearest.similarity[known]
    if not known.any():
        return highest, None
    level = np.quantile(nearest.similarity[known], 1 - FALSE_POSITIVES, method="higher")
    return highest, float(np.nextafter(level, np.float32(2)))  # reached by none of the rest


def find_pairs(
    images: np.ndarray, *, n_train: int, floor: float, moved: bool
) -> tuple[pd.DataFrame, Nearest, np.ndarray]:
    """Return all pairs of at least `floor`, and each image's nearest one in the other split.

    `images` are `comparable`, the first `n_train` being the training images. Pairs have the columns
    first and second (positions, first < second), similarity, and symmetry (which moves the first
    one to the second). The third value is the highest similarity to an unmoved image of the other
    split. Raises InputError for more than MAX_PAIRS pairs.
    """
    test = np.arange(len(images)) >= n_train
    nearest, unmoved = Nearest(len(images)), Nearest(len(images))
    found = []
    for block in similarities(images, moved=moved):
        start = block.rows.start
        across = test[block.rows, None] != test[None, start:]
        nearest.update(block, block.best, across)
        unmoved.update(block, block.unmoved, across)
        first, second = np.nonzero(np.triu(block.best >= floor, k=1))
        columns = {
            "first": (first + start).astype("i4"),
            "second": (second + start).astype("i4"),
            "similarity": block.best[first, second],
            "symmetry": block.symmetry[first, second],
        }
        found.append(pd.DataFrame(columns))
        if sum(map(len, found)) > MAX_PAIRS:
            raise InputError(
                f"More than {MAX_PAIRS} pairs of images have a similarity of at least {floor:g}: "
                "the images are too much alike to tell copies at this threshold. Raise "
                "the lowest of audit.thresholds, audit.threshold and the dataset's copy_threshold."
            )
    return pd.concat(found, ignore_index=True), nearest, unmoved.similarity


def identical_groups(images: np.ndarray) -> np.ndarray:
    """Return for each image (uint8, N × C × H × W) the position of the first one equal to it."""
    first: dict[bytes, int] = {}
    return np.array([first.setdefault(one.tobytes(), i) for i, one in enumerate(images)])


def copy_groups(pairs: pd.DataFrame, *, same: np.ndarray) -> np.ndarray:
    """Return the number of each image's copy group, from 0 by first appearance.

    `same` is that of `identical_groups`; images of one grey value have no correlation and are
    copies only where they are equal.
    """
    count = len(same)
    first = np.concatenate([pairs["first"], np.arange(count)])
    second = np.concatenate([pairs["second"], same])
    graph = coo_matrix((np.ones(len(first), dtype=bool), (first, second)), shape=(count, count))
    return connected_components(graph, directed=False)[1]


def read_audit(path: Path, truth: PackedDataset) -> pd.DataFrame:
    """Return images.tsv of the audit of `truth`; InputError when it is about other images."""
    table = read_table(path, IMAGE_COLUMNS)
    if list(table["id"].astype(str)) != [*truth.train_ids, *truth.test_ids]:
        raise InputError(
            f"{path} is not the audit of this packed dataset '{truth.attributes['dataset']}'. "
            "Delete it and run the workflow again."
        )
    return table


def leak_free(audit: pd.DataFrame) -> np.ndarray:
    """Return which test images are leak-free, in their order; bool, shape (n_test,).

    They have no twin in training, and no image of their patient is there.
    """
    test = audit[audit["split"] == "test"]
    return ~(test[["twin", "patient_in_both"]] == 1).any(axis=1).to_numpy()


def threshold_counts(
    audit: pd.DataFrame, pairs: pd.DataFrame, *, thresholds: Sequence[float], same: np.ndarray
) -> pd.DataFrame:
    """Return how many images have twins at each threshold.

    Columns: threshold; test_normal, test_abnormal and train: images with a twin; the same with
    _unmoved: with one that was not mirrored or rotated; train_copies and test_copies: images with a
    copy in their own split; copy_groups: groups of two or more; train_in_groups: training images in
    a group that has a test image, which `without_twins` leaves out.
    """
    test = (audit["split"] == "test").to_numpy()
    abnormal = audit["label"].to_numpy() == 1
    identical = audit["identical"].to_numpy() == 1
    kinds = {"test_normal": test & ~abnormal, "test_abnormal": test & abnormal, "train": ~test}
    rows = []
    for threshold in thresholds:
        row: dict[str, float] = {"threshold": threshold}
        for column, ending in (("similarity", ""), ("unmoved_similarity", "_unmoved")):
            found = (audit[column].to_numpy() >= threshold) | identical
            row |= {f"{kind}{ending}": np.count_nonzero(found & at) for kind, at in kinds.items()}
        reached = pairs[pairs["similarity"] >= threshold]
        ends = reached[["first", "second"]].to_numpy()
        for name, part in (("train", ~test), ("test", test)):
            copied = ends[part[ends].all(axis=1)]
            repeated = np.flatnonzero(part)[pd.Series(same[part]).duplicated(keep=False)]
            row[f"{name}_copies"] = len(np.union1d(copied, repeated))
        groups = copy_groups(reached, same=same)
        row["copy_groups"] = np.count_nonzero(np.bincount(groups) > 1)
        shared = in_other_split(groups, n_train=np.count_nonzero(~test))
        row["train_in_groups"] = np.count_nonzero(shared & ~test)
        rows.append(row)
    return pd.DataFrame(rows)
