"""The files that scoring leaves per model; reading checks them against the packed dataset."""

from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from medae.base.errors import InputError
from medae.base.files import atomic_path, read_table
from medae.base.hdf5 import new_hdf5
from medae.data.packed import PackedDataset, as_floats
from medae.models.information import noise_floor, parse_score, score_reconstructions

SCORE_COLUMNS = ["split", "id", "label", "score", "reconstruction_error"]


def score_table(
    data: PackedDataset, *, scores: np.ndarray, errors: np.ndarray | None
) -> pd.DataFrame:
    """Return the table of scores of the training images, then the test images, of `data`.

    `scores` and `errors` (reconstruction errors, or None where nothing is reconstructed) have
    shape (images of both splits,).
    """
    n_train, n_test = len(data.train_ids), len(data.test_ids)
    return pd.DataFrame(
        {
            "split": np.repeat(["train", "test"], [n_train, n_test]),
            "id": [*data.train_ids, *data.test_ids],
            "label": np.concatenate([np.zeros(n_train, dtype=int), data.test_labels]),
            "score": scores,
            "reconstruction_error": errors,
        },
        columns=SCORE_COLUMNS,
    )


def write_maps(
    path: Path, data: PackedDataset, *, maps: np.ndarray, reconstructions: np.ndarray | None
) -> None:
    """Write anomaly maps N × H × W and reconstructions N × C × H × W of the test images."""
    with atomic_path(path) as temporary, new_hdf5(temporary) as file:
        file.create_dataset("ids", data=data.test_ids, dtype=h5py.string_dtype())
        file["maps"] = maps.astype(np.float32)
        if reconstructions is not None:
            file["reconstructions"] = reconstructions.astype(np.float32)


def read_scores(path: Path, truth: PackedDataset) -> pd.DataFrame:
    """Return the table of scores in `path`: the training images, then the test images of `truth`.

    Raises InputError when it has other columns, images or test labels.
    """
    table = read_table(path, SCORE_COLUMNS)
    train, test = table[table["split"] == "train"], table[table["split"] == "test"]
    _check_ids(train["id"], truth.train_ids, what=f"The training part of {path}")
    _check_ids(test["id"], truth.test_ids, what=f"The test part of {path}")
    if not np.array_equal(test["label"], truth.test_labels):
        raise InputError(
            f"The test labels in {path} are not those of the packed dataset. Delete the scores "
            "of this setting and run the workflow again."
        )
    return table


def read_maps(
    path: Path, truth: PackedDataset, *, name: str = "maps", rows: Sequence[int] | None = None
) -> np.ndarray:
    """Return the array `name` (maps N × H × W or reconstructions N × C × H × W) of the test images.

    `rows` picks images; without it all are read. Raises InputError when the file is damaged, or is
    about other images or images of another size.
    """
    try:
        with h5py.File(path, "r") as file:
            ids = file["ids"].asstr()[:]
            array = file[name]
            if len(array) != len(ids) or array.shape[-2:] != truth.test_images.shape[-2:]:
                raise ValueError(f"its {name} have shape {array.shape}, not the images'")
            values = array[:] if rows is None else np.stack([array[row] for row in rows])
    except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"Cannot read the anomaly maps {path}: {error}. Delete the file and run the workflow "
            "again."
        ) from error
    _check_ids(ids, truth.test_ids, what=str(path))
    return values


def rescore(
    name: str,
    *,
    table: pd.DataFrame,
    trained_on: np.ndarray,
    held_out: np.ndarray,
    maps: Path,
    truth: PackedDataset,
    what: str,
) -> tuple[np.ndarray, np.ndarray]:
    """Return another score of the test images (N,) and its maps N × H × W, float32.

    `name` is one of medae.models.information; `table` is that of `read_scores`, whose training
    images `trained_on` (bool), or those `held_out` (bool) where the name says so, give the noise
    floor, and `maps` the file with the model's reconstructions. `what` names the table in errors.
    Raises InputError like `read_maps` and `noise_floor`.
    """
    chosen = held_out if parse_score(name).held_out else trained_on
    floor = noise_floor(table[: len(chosen)][chosen], what=what)
    values, found = score_reconstructions(
        name,
        images=as_floats(truth.test_images),
        reconstructions=read_maps(maps, truth, name="reconstructions"),
        floor=floor,
    )
    return values, found.astype(np.float32)


def read_other_scores(path: Path, truth: PackedDataset) -> pd.DataFrame:
    """Return the scores of the test images beside the squared error, a column for each.

    Raises InputError when the table is about other images.
    """
    table = read_table(path)
    if "id" not in table:
        raise InputError(f"{path} is no table of scores. Delete it and run the workflow again.")
    _check_ids(table["id"], truth.test_ids, what=str(path))
    return table.drop(columns=["id", "label"])


def _check_ids(found: Sequence[str], expected: Sequence[str], *, what: str) -> None:
    found, expected = [str(name) for name in found], [str(name) for name in expected]
    if found == expected:
        return
    lone = sorted(set(found) ^ set(expected))
    fault = f"only one of them has {lone[0]}" if lone else "their order or repeats differ"
    raise InputError(
        f"{what} lists {len(found)} images and the packed dataset {len(expected)}, and they are "
        f"not the same: {fault}. One file is stale: delete the scores of this setting and run the "
        "workflow again."
    )
