"""Small packed datasets, and the files about them that other stages leave."""

from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from medae.base.files import write_table
from medae.data.packed import ATTRIBUTES, packed_writer
from medae.duplicates.audit import IMAGE_COLUMNS


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
    frame = pd.DataFrame(
        {
            "split": ["train"] * len(train_ids) + ["test"] * len(test_ids),
            "id": [*train_ids, *test_ids],
            "label": [0] * len(train_ids) + list(labels),
            "score": [*train_scores, *test_scores],
        }
    )
    write_table(frame.assign(reconstruction_error=2 * frame["score"]), path)


def write_maps(path: Path, maps: np.ndarray, ids) -> None:
    """Write maps.h5."""
    with h5py.File(path, "w") as file:
        file["maps"] = maps
        file.create_dataset("ids", data=ids, dtype=h5py.string_dtype())
