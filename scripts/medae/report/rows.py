"""Which rows of the metrics a table or figure shows, and under which names."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from medae.base.errors import InputError
from medae.base.files import read_table
from medae.duplicates.training_sets import TRAINING_SETS
from medae.evaluation.bootstrap import INTERVAL_COLUMNS, holm
from medae.evaluation.metrics import METRIC_COLUMNS
from medae.evaluation.splits import LEAK_FREE_SPLIT, PUBLISHED_SPLIT
from medae.evaluation.summary import CELL, TABLE_METRICS, distinct_splits
from medae.models.baselines import BASELINES

AUTOENCODER = "ae"
ORACLE = "ae_d_optimal"
"""The autoencoder with the d that is best by test AUC, as in the paper's Table 2: an upper bound,
not what a user would get, since the test labels choose it."""
SELECTED = "ae_d_auto"
"""The autoencoder with the d that was chosen without labels, where a run does that."""

SPLIT_NAMES = {PUBLISHED_SPLIT: "published test set", LEAK_FREE_SPLIT: "leak-free test set"}
TRAINING_SET_NAMES = {
    "all": "all",
    "without_twins": "without leaked images",
    "without_random": "without random images",
}
TEST_COLUMNS = ["difference", "difference_low", "difference_high", "p_value"]


def read_metrics(path: Path, *, leak_free: bool = False) -> pd.DataFrame:
    """Read `metrics.tsv`: the rows with all training images on the published test set.

    With `leak_free` also those on the leak-free test set, where it is another one. Raises
    InputError when the file is no table of metrics, or has no published rows.
    """
    metrics = distinct_splits(read_table(path, METRIC_COLUMNS).query("training_set == 'all'"))
    published = metrics[metrics["split"] == PUBLISHED_SPLIT]
    if published.empty:
        raise InputError(
            f"The table {path} has no metrics of the split '{PUBLISHED_SPLIT}' with all training "
            "images, so nothing can be drawn. Delete it and run the workflow again."
        )
    return metrics if leak_free else published


def read_intervals(paths: Sequence[Path]) -> pd.DataFrame:
    """Read tables of intervals, one per dataset, as one; InputError for a table of another kind."""
    return pd.concat([read_table(path, INTERVAL_COLUMNS) for path in paths], ignore_index=True)


def dataset_order(metrics: pd.DataFrame, names: Mapping[str, str]) -> list[str]:
    """Return the datasets of `metrics` in the order of `names` (dataset key -> display name)."""
    return sorted(metrics["dataset"].unique(), key=list(names).index)


def swept_methods(metrics: pd.DataFrame) -> list[str]:
    """Return the networks with at least two latent dimensions, or all without any, then PCA."""
    with_size = metrics[metrics["latent_dim"] > 0]
    sizes = with_size.groupby("method", sort=False)["latent_dim"].nunique()
    baseline = sizes.index.isin(list(BASELINES))
    swept = ~baseline & (sizes > 1)
    return [*sizes.index[swept if swept.any() else ~baseline], *sizes.index[baseline]]


# Table and figure of methods: networks and PCA at one d, baselines without d, and autoencoders with
# a chosen d, whose rows have ORACLE or SELECTED in place of the method.


def oracle_dimensions(summary: pd.DataFrame) -> dict[str, int]:
    """Return each dataset's d with the highest mean test AUC of the autoencoder; of ties the least.

    `summary` has the columns dataset, method, latent_dim, metric and mean, which are those of
    `summarise` (give its rows of one split) and of the paper's values. Datasets with fewer than two
    d, where nothing was chosen, are left out.
    """
    chosen = summary[(summary["method"] == AUTOENCODER) & (summary["metric"] == "auc")]
    chosen = chosen.sort_values(["mean", "latent_dim"], ascending=[False, True])
    best = chosen.groupby("dataset")["latent_dim"].agg(["first", "size"])
    return best.loc[best["size"] > 1, "first"].to_dict()


def selected_dimensions(paths: Sequence[Path], *, selector: str) -> dict[str, int]:
    """Return each dataset's d of the autoencoder that `selector` chose for the squared error.

    `paths` are tables of choices (dataset, family, selector, score, latent_dim), if there are any.
    Datasets where it chose nothing are left out.
    """
    found: dict[str, int] = {}
    for path in paths:
        chosen = read_table(path).query(
            "family == @AUTOENCODER and selector == @selector and score == 'mse' and latent_dim > 0"
        )
        found |= dict(zip(chosen["dataset"], chosen["latent_dim"].astype(int), strict=True))
    return found


def compared_rows(
    table: pd.DataFrame, *, latent_dim: int, picked: Mapping[str, Mapping[str, int]]
) -> pd.DataFrame:
    """Return the rows of `table` at `latent_dim` or without d, then autoencoders with a chosen d.

    `table` has the columns dataset, method and latent_dim; `picked` has each dataset's d by the key
    that these rows get as their method: ORACLE, as `oracle_dimensions` gives it, and SELECTED.
    """
    parts = [table[table["latent_dim"].isin([latent_dim, 0])]]
    for key, sizes in picked.items():
        chosen = table["latent_dim"] == table["dataset"].map(sizes)
        chosen &= table["method"] == AUTOENCODER
        parts.append(table[chosen].assign(method=key))
    return pd.concat(parts, ignore_index=True)


def row_labels(methods: Mapping[str, str], *, picked: Mapping[str, str]) -> dict[str, str]:
    """Return the rows' display names: networks, then `picked` (ORACLE, …), then baselines."""
    networks = {key: name for key, name in methods.items() if key not in BASELINES}
    return {**networks, **picked, **methods}


def add_statistics(summary: pd.DataFrame, drawn: pd.DataFrame, **options: object) -> pd.DataFrame:
    """Return the `compared_rows` with intervals, differences to the autoencoder, p_value, p_holm.

    `summary` comes from `summarise`, `drawn` are the tables of intervals, and `options` those of
    `compared_rows`. Tests are kept where the reference of the bootstrap, the setting without a
    difference, is the autoencoder of this table, and never for the oracle. A family of Holm's
    correction is all tests of one dataset, split and metric.
    """
    cells, drawn = (compared_rows(table, **options) for table in (summary, drawn))
    joined = cells.merge(drawn.drop(columns="value"), on=CELL, how="left", validate="1:1")
    reference = drawn[(drawn["method"] == AUTOENCODER) & drawn["difference"].isna()]
    tested = joined["dataset"].isin(reference["dataset"]) & (joined["method"] != ORACLE)
    joined.loc[~tested, TEST_COLUMNS] = float("nan")
    joined["p_holm"] = float("nan")
    for _, family in joined[joined["p_value"].notna()].groupby(["dataset", "split", "metric"]):
        joined.loc[family.index, "p_holm"] = holm(family["p_value"])
    return joined


# The retraining control: models that were trained on several training sets.


def retrained_rows(metrics: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `metrics` that compare training sets.

    Those of TABLE_METRICS, of models with at least two training sets, on datasets in which a
    training set leaves out images.
    """
    rows = metrics[metrics["metric"].isin(list(TABLE_METRICS))]
    models = rows.groupby(["dataset", "method", "latent_dim"])
    several = models["training_set"].transform("nunique") > 1
    differ = rows.groupby("dataset")["n_train"].transform("nunique") > 1
    return rows[several & differ]


def training_sizes(rows: pd.DataFrame) -> dict[str, str]:
    """Return the number of training images of each training set of one dataset.

    As text, a range where the copy groups leave random ones no equal numbers.
    """
    sizes = rows.groupby("training_set")["n_train"].agg(["min", "max"])
    return {
        key: "–".join(str(size) for size in sorted(set(sizes.loc[key])))
        for key in TRAINING_SETS
        if key in sizes.index
    }
