"""Small packed datasets and audits of them, for the tests of theory."""

import numpy as np
import pandas as pd

from medae.base.files import write_table
from medae.data.packed import packed_writer, read_packed
from medae.duplicates.audit import IMAGE_COLUMNS

TEXTS = ("dataset", "modality", "layout", "source", "source_sha256", "resize_filter")


def write_packed(path, *, train, test, labels, train_ids=None, test_ids=None, masks=None, **texts):
    """Write images (uint8, N × 1 × side × side) as a packed dataset and return it."""
    train_ids = train_ids or [f"train/{row:03}.png" for row in range(len(train))]
    test_ids = test_ids or [f"test/{row:03}.png" for row in range(len(test))]
    ids = {"train_ids": train_ids, "test_ids": test_ids, "test_labels": labels}
    size = {"channels": 1, "image_size": train.shape[-1]}
    with packed_writer(path, **size, **ids, masks=masks is not None) as writer:
        writer.append("train", train)
        writer.append("test", test, masks)
        writer.attributes |= dict.fromkeys(TEXTS, "toy") | {"intensity_range": "null"}
        writer.attributes |= {"identical_train_test": 0} | texts
    return read_packed(path)


def write_audit(path, data, *, copy_groups=None, twins=()):
    """Write the audit of a packed dataset; `twins` are rows of the test split."""
    n_train, n_test = len(data.train_ids), len(data.test_ids)
    audit = pd.DataFrame("", index=range(n_train + n_test), columns=IMAGE_COLUMNS)
    audit["split"] = ["train"] * n_train + ["test"] * n_test
    audit["id"] = [*data.train_ids, *data.test_ids]
    audit["copy_group"] = np.arange(n_train + n_test) if copy_groups is None else copy_groups
    audit["twin"] = [int(row - n_train in twins) for row in range(n_train + n_test)]
    write_table(audit, path)
