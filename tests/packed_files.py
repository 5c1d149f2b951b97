"""Small packed datasets, and the files about them that other stages leave."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
from audit_dataset import audit_dataset

from medae.base.files import read_table, write_table
from medae.data.packed import ATTRIBUTES, packed_writer
from medae.duplicates.audit import IMAGE_COLUMNS
from medae.models import score_files


def write_packed(
    path: Path, train, test, labels, *, masks=None, train_ids=None, test_ids=None, **attributes
) -> Path:
    """Write uint8 images N × C × H × W as a packed dataset; ids are train/0.png and so on."""
    with packed_writer(
        path,
        channels=train.shape[1],
        image_size=train.shape[-1],
        train_ids=train_ids or [f"train/{i}.png" for i in range(len(train))],
        test_ids=test_ids or [f"test/{i}.png" for i in range(len(test))],
        test_labels=labels,
        masks=masks is not None,
    ) as writer:
        writer.append("train", train)
        writer.append("test", test, masks)
        writer.attributes = {name: kind() for name, kind in ATTRIBUTES.items()}
        writer.attributes |= {"dataset": "toy", "intensity_range": "[0, 4095]"} | attributes
    return path


def audit(packed: Path, folder: Path, **options: object) -> list[pd.DataFrame]:
    """Write the audit's images.tsv, pairs.tsv and thresholds.tsv, and return them."""
    paths = {name: folder / f"{name}.tsv" for name in ("images", "pairs", "thresholds")}
    usual = {"group_pattern": None, "threshold": 0.99, "moved": True}
    usual |= {"thresholds": [0.98, 0.99, 0.999], "threshold_table": paths["thresholds"]}
    files = {"packed": packed, "images": paths["images"], "pairs": paths["pairs"]}
    audit_dataset(**files, **usual | options)
    return [read_table(path) for path in paths.values()]


def write_audit(path: Path, train_ids, test_ids, *, twin=None, copy_group=None) -> None:
    """Write images.tsv: no test image has a twin, and each image is a copy group of its own.

    `twin` has a number per test image, `copy_group` one per test image or per image.
    """
    n_train, n_test = len(train_ids), len(test_ids)
    table = pd.DataFrame(0, index=range(n_train + n_test), columns=IMAGE_COLUMNS)
    table["split"] = ["train"] * n_train + ["test"] * n_test
    table["id"] = [*train_ids, *test_ids]
    table["twin"] = [0] * n_train + list(twin or [0] * n_test)
    groups = list(copy_group or ())
    table["copy_group"] = [*range(-len(table), -len(groups)), *groups]
    write_table(table, path)


def write_scores(path: Path, train_ids, test_ids, labels, train_scores, test_scores) -> None:
    """Write scores.tsv, in which reconstruction errors are twice the scores."""
    data = SimpleNamespace(train_ids=train_ids, test_ids=test_ids, test_labels=labels)
    scores = np.concatenate([train_scores, test_scores])
    write_table(score_files.score_table(data, scores=scores, errors=2 * scores), path)


def write_maps(path: Path, maps: np.ndarray, ids) -> None:
    """Write maps.h5 without reconstructions."""
    score_files.write_maps(path, SimpleNamespace(test_ids=ids), maps=maps, reconstructions=None)
