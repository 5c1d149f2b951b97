"""Audit a dataset: which test images were seen in training, and what the audit rests on.

images.tsv has a row per image, pairs.tsv the near-duplicates, at most the 100,000 most alike, and
thresholds.tsv a row per threshold, the one that is used marked, with its origin. Columns and
definitions: `medae.duplicates.audit`.
Fails on a damaged packed dataset, or when nearly all images are alike.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from medae.base.errors import InputError
from medae.base.files import write_table
from medae.data.groups import group_names, image_groups
from medae.data.packed import read_packed
from medae.data.statistics import brightness, contrast, total_variation
from medae.duplicates.audit import (
    IMAGE_COLUMNS,
    PAIR_COLUMNS,
    calibrate,
    copy_groups,
    find_pairs,
    identical_groups,
    threshold_counts,
)
from medae.duplicates.similarity import SYMMETRIES, comparable
from medae.duplicates.training_sets import in_other_split

logger = logging.getLogger(__name__)

LISTED_PAIRS = 100_000


def audit_dataset(
    *,
    packed: Path,
    group_pattern: str | None,
    threshold: float,
    thresholds: Sequence[float],
    moved: bool,
    images: Path,
    pairs: Path,
    threshold_table: Path,
) -> None:
    """Write the three tables of the audit.

    `group_pattern` finds an image's patient in its id; `threshold` is used without patients, and
    the highest that is calibrated with them; at all of `thresholds` copies are counted; `moved`
    says whether mirrored and rotated copies count.
    """
    data = read_packed(packed)
    n_train = len(data.train_ids)
    pixels = np.concatenate([data.train_images, data.test_images])
    names = [*data.train_ids, *data.test_ids]
    ids = np.array(names, dtype=object)
    split = np.repeat(["train", "test"], [n_train, len(data.test_ids)])
    labels = np.concatenate([np.zeros(n_train, dtype=np.uint8), data.test_labels])
    compared = comparable(pixels)
    highest, used, origin = np.full(len(ids), np.nan), threshold, "configured"
    in_both = np.zeros(len(ids), dtype=bool)
    if group_pattern is not None:
        patients = image_groups(names, pattern=group_pattern)
        in_both = in_other_split(patients, n_train=n_train)
        known = check_patients(names, split, group_pattern)
        highest, calibrated = calibrate(
            compared, labels=labels, patients=patients, configured=threshold, moved=moved
        )
        if calibrated is not None and known:
            used, origin = calibrated, "calibrated"
    floor = min(used, *thresholds)
    found, nearest, unmoved = find_pairs(compared, n_train=n_train, floor=floor, moved=moved)
    same = identical_groups(pixels)
    identical = in_other_split(same, n_train=n_train)
    copies = found[found["similarity"] >= used]
    table = pd.DataFrame(
        {
            "split": split,
            "id": ids,
            "label": labels,
            "brightness": brightness(pixels),
            "contrast": contrast(pixels),
            "total_variation": total_variation(pixels),
            "nearest": np.where(nearest.position >= 0, ids[nearest.position], ""),
            "similarity": nearest.similarity,
            "symmetry": np.array(SYMMETRIES)[nearest.symmetry],
            "unmoved_similarity": unmoved,
            "identical": identical.astype(int),
            "patient_in_both": in_both.astype(int),
            "other_patient_similarity": highest,
            "twin": ((nearest.similarity >= used) | identical).astype(int),
            "copy_group": copy_groups(copies, same=same),
        }
    )
    counts = threshold_counts(table, found, thresholds=sorted({*thresholds, used}), same=same)
    counts["used"] = (counts["threshold"] == used).astype(int)
    counts["origin"] = np.where(counts["used"] == 1, origin, "listed")
    listed = copies.sort_values("similarity", ascending=False, kind="stable")[:LISTED_PAIRS]
    listed = listed.assign(
        split=split[listed["first"]],
        id=ids[listed["first"]],
        other_split=split[listed["second"]],
        other_id=ids[listed["second"]],
        symmetry=np.array(SYMMETRIES)[listed["symmetry"]],
    )
    write_table(table[IMAGE_COLUMNS], images)
    write_table(listed[PAIR_COLUMNS], pairs)
    write_table(counts, threshold_table)
    warn_of_equal_pixels(ids, labels, same, n_train=n_train)
    if seen := in_both[n_train:].sum():
        logger.warning(
            "%d of %d test images are of patients who have images in training too; the leak-free "
            "test set is without them. Move all images of a patient to one side.",
            *(seen, len(data.test_ids)),
        )
    logger.info("threshold %.6f (%s): %d pairs of copies", used, origin, len(copies))
    for label, twin in table[split == "test"].groupby("label")["twin"]:
        kind = ("normal", "abnormal")[label]
        logger.info("%d of %d %s test images have a copy in training", twin.sum(), len(twin), kind)


def warn_of_equal_pixels(
    ids: np.ndarray, labels: np.ndarray, same: np.ndarray, *, n_train: int
) -> None:
    """Log test images with the pixels of a training image, or of an image of the other class."""
    tested = np.arange(len(same)) >= n_train
    for what, found in (
        ("a training image", tested & (same < n_train)),
        ("one of the other class, so one of the labels is wrong", labels != labels[same]),
    ):
        if found.any():
            one = np.argmax(found)
            text = "%d test images have the packed pixels of %s, such as %r those of %r"
            logger.warning(text, found.sum(), what, ids[one], ids[same[one]])


def check_patients(ids: Sequence[str], split: np.ndarray, pattern: str) -> bool:
    """Return whether `pattern` finds the patient of every image; log by split where it does not.

    Raises InputError when it finds none.
    """
    found = np.array([name is not None for name in group_names(ids, pattern=pattern)])
    if not found.any():
        raise InputError(
            f"group_pattern {pattern!r} finds no patient in any image's id, such as {ids[0]!r}. "
            "Correct it in the dataset's registry entry, or remove it."
        )
    if not found.all():
        lone = np.flatnonzero(~found)
        counts = [
            f"{(~found[split == s]).sum()} of {(split == s).sum()} {s}"
            for s in dict.fromkeys(split)
        ]
        logger.warning(
            "group_pattern finds no patient in %s images, such as %r; each counts as a patient of "
            "its own, and the threshold is not calibrated",
            " and ".join(counts),
            ids[lone[0]],
        )
    return bool(found.all())


if __name__ == "__main__":
    from medae.base.scripts import run_script

    run_script(
        audit_dataset,
        snakemake,
        **snakemake.params.audit,
        threshold_table=Path(snakemake.output.thresholds),
    )
