"""What tables and figures are made of: metrics as mean and standard deviation over seeds.

A metric has two columns: on the full test set, and on the leak-free one, the test images without a
near-duplicate or another image of their patient in training. Where the two sets are nearly the same
there is one column.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from medae.base.errors import InputError
from medae.base.files import read_table
from medae.evaluation.ranking import AT_SHARE, IMAGE_METRICS, PIXEL_METRICS, SHARE_METRIC
from medae.evaluation.splits import LEAK_FREE_SPLIT, PUBLISHED_SPLIT

TABLE_METRICS = IMAGE_METRICS | {AT_SHARE: SHARE_METRIC} | PIXEL_METRICS
"""The metrics of the paper's tables, in its order; AT_SHARE stands in for AP (`one_precision`)."""

LEFT_OUT = 0.01
"""Share of the number of test images; leaving out fewer images changes next to nothing."""

CELL = ["dataset", "training_set", "method", "latent_dim", "score", "split", "metric"]


def check_unique(metrics: pd.DataFrame) -> None:
    """Raise InputError when a table of metrics has two rows for one setting, seed and metric."""
    keys = [*CELL, "seed"]
    repeated = metrics.loc[metrics.duplicated(keys), keys].to_dict("records")
    if repeated:
        row = ", ".join(f"{key} {value}" for key, value in repeated[0].items())
        raise InputError(
            f"The tables of metrics have two rows for {row}. Delete the tables of this setting and "
            "run the workflow again."
        )


def summarise(metrics: pd.DataFrame) -> pd.DataFrame:
    """Reduce a table of metrics (one row per seed) to one row per setting, split and metric.

    Returns the columns CELL, mean, std (over seeds, ddof 1; nan with one seed), n_seeds, n_train
    (of the first seed), n_normal, n_abnormal; mean and std in the unit of `value`.

    Raises InputError like `check_unique` and `count_test_images`.
    """
    check_unique(metrics)
    count_test_images(metrics)
    first = {column: (column, "first") for column in ("n_train", "n_normal", "n_abnormal")}
    return metrics.groupby(CELL, as_index=False).agg(
        mean=("value", "mean"), std=("value", "std"), n_seeds=("seed", "size"), **first
    )


def count_test_images(rows: pd.DataFrame) -> dict[str, dict[str, tuple[int, int]]]:
    """Return the numbers of normal and abnormal test images by dataset and split.

    `rows` have the columns dataset, split, n_normal and n_abnormal. Raises InputError when those
    of one dataset and split rest on different numbers.
    """
    counts = rows[["dataset", "split", "n_normal", "n_abnormal"]].drop_duplicates()
    found: dict[str, dict[str, tuple[int, int]]] = {}
    for dataset, split, n_normal, n_abnormal in counts.itertuples(index=False):
        if split in found.setdefault(dataset, {}):
            raise InputError(
                f"The settings of dataset {dataset} were scored on different numbers of test "
                "images, so they are not comparable. Delete its scores and metrics and run the "
                "workflow again."
            )
        found[dataset][split] = int(n_normal), int(n_abnormal)
    return found


def distinct_splits(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of both splits, the leak-free ones only where `same_images` is false."""
    images = count_test_images(rows)
    same = [key for key, sets in images.items() if same_images(sets)]
    leak_free = (rows["split"] == LEAK_FREE_SPLIT) & ~rows["dataset"].isin(same)
    return rows[(rows["split"] == PUBLISHED_SPLIT) | leak_free]


def one_precision(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows of metrics with one AP per dataset and split, that at the published share.

    AT_SHARE goes where it says the same as AP, and AP goes elsewhere. `rows` have the columns
    dataset, split, metric and value, and an index without repeats.
    """
    kept = rows["metric"] != AT_SHARE
    for _, part in rows.groupby(["dataset", "split"]):
        shared, plain = (part[part["metric"] == key] for key in (AT_SHARE, "ap"))
        if len(shared) and abs(shared["value"].mean() - plain["value"].mean()) > 1e-6:
            kept[shared.index], kept[plain.index] = True, False
    return rows[kept]


def same_images(sets: Mapping[str, tuple[int, int]]) -> bool:
    """Whether the leak-free test set lacks nothing, or less than LEFT_OUT of either class.

    `sets` has the numbers of normal and abnormal images of each split; without a leak-free one it
    is not.
    """
    published, leak_free = sets[PUBLISHED_SPLIT], sets.get(LEAK_FREE_SPLIT, (0, 0))
    pairs = zip(published, leak_free, strict=True)
    return all(kept == count or count - kept < LEFT_OUT * count for count, kept in pairs)


def stacked(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return tables as one; an empty one would make numbers objects, written with all digits."""
    return pd.concat([one for one in tables if len(one)] or tables[:1], ignore_index=True)


def read_tables(paths: Sequence[Path], columns: Sequence[str]) -> pd.DataFrame:
    """Return the rows of all tables, in the order of `paths`; InputError for other columns."""
    tables = [read_table(path, columns) for path in paths]
    return stacked([pd.DataFrame(columns=list(columns)), *tables])


def sort_rows(frame: pd.DataFrame, *, by: Sequence[str], names: Mapping[str, str]) -> pd.DataFrame:
    """Return the rows sorted by the columns `by`, in the order in which tables show them.

    Datasets come in the order of `names`, metrics in that of TABLE_METRICS, the published split
    first, latent dimensions descending, all else ascending. Stable.
    """
    places = {
        "split": {PUBLISHED_SPLIT: 0, LEAK_FREE_SPLIT: 1},
        "dataset": {key: place for place, key in enumerate(names)},
        "metric": {key: place for place, key in enumerate(TABLE_METRICS)},
    }

    def sort_key(column: pd.Series) -> pd.Series:
        if column.name == "latent_dim":
            return -column
        return column.map(places[column.name]) if column.name in places else column

    return frame.sort_values(list(by), key=sort_key, ignore_index=True, kind="stable")
