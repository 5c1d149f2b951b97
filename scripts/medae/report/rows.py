"""Which rows of the metrics a table or figure shows, and under which names."""

from collections.abc import Mapping, Sequence, Sized
from pathlib import Path

import pandas as pd

from medae.base.files import read_table
from medae.duplicates.training_sets import TRAINING_SETS
from medae.evaluation.bootstrap import INTERVAL_COLUMNS, holm
from medae.evaluation.metrics import METRIC_COLUMNS
from medae.evaluation.ranking import AT_SHARE
from medae.evaluation.splits import LEAK_FREE_SPLIT, PUBLISHED_SPLIT
from medae.evaluation.summary import (
    CELL,
    LEFT_OUT,
    TABLE_METRICS,
    distinct_splits,
    one_precision,
    read_tables,
)
from medae.models.baselines import BASELINES
from medae.models.information import INFORMATION, INFORMED, NO_RECONSTRUCTION, PLAIN_SCORE

AUTOENCODER = "ae"
ORACLE = "ae_d_optimal"
"""The autoencoder with the d that is best by test AUC, as in the paper's Table 2: an upper bound,
not what a user would get, since the test labels choose it."""
SELECTED = "ae_d_auto"
"""The autoencoder with the d that was chosen without labels, where a run does that."""

SPLIT_NAMES = {PUBLISHED_SPLIT: "full test set", LEAK_FREE_SPLIT: "leak-free test set"}
TRAINING_SET_NAMES = {
    "all": "all",
    "without_twins": "without leaked images",
    "without_random": "without random images",
}
INFORMATION_NOTE = (
    "Information: the same models, scored by ½ log2((D + ε) / (σ² + ε)) over 9 × 9 windows in "
    "place of the squared error."
)
TESTED = ["difference", "difference_low", "difference_high", "p_value"]


class NothingToShowError(Exception):
    """A table or figure has nothing to show, as the user meant it; the text says why."""


def check_ranked(metrics: pd.DataFrame) -> None:
    """Raise NothingToShowError when no dataset has a metric that ranks normal and abnormal."""
    if not metrics["metric"].isin(list(TABLE_METRICS)).any():
        raise NothingToShowError(
            "Nothing to show: no dataset of this run has both normal and abnormal test images."
        )


def check_test_images(images: Sized) -> None:
    """Raise NothingToShowError when there are no test `images`."""
    if not len(images):
        raise NothingToShowError("Nothing to show: the dataset has no test images.")


def by_score(rows: pd.DataFrame, *, information: bool = False) -> pd.DataFrame:
    """Return rows of the models' own scores and of baselines; with `information` also by that.

    The method of the latter gets the ending INFORMED: a model with another score is a method of its
    own to tables and figures.
    """
    other = rows["score"] == INFORMATION
    kept = rows["score"].isin([PLAIN_SCORE, NO_RECONSTRUCTION])
    kept |= other & information
    return rows.assign(method=rows["method"].where(~other, rows["method"] + INFORMED))[kept]


def read_metrics(path: Path, *, information: bool = False) -> pd.DataFrame:
    """Read `metrics.tsv` for a figure: rows with all training images.

    Those on the leak-free test set only where it is another one; `information` is that of
    `by_score`, and `at_one_share` says what AP is. Raises InputError when the file is no table of
    metrics.
    """
    metrics = read_table(path, METRIC_COLUMNS).query("training_set == 'all'")
    return at_one_share(distinct_splits(by_score(metrics, information=information)))


def at_one_share(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows whose AP is that of `one_precision`; the bool column at_share marks it.

    For figures, in which both test sets and the paper's numbers share a panel.
    """
    rows = one_precision(rows)
    rows = rows.assign(at_share=rows["metric"] == AT_SHARE)
    return rows.assign(metric=rows["metric"].replace(AT_SHARE, "ap"))


def read_intervals(paths: Sequence[Path]) -> pd.DataFrame:
    """Read tables of intervals, one per dataset, as one; InputError for a table of another kind.

    Of the scores that tables of methods show, as methods of their own (`by_score`).
    """
    return by_score(read_tables(paths, INTERVAL_COLUMNS), information=True)


def read_paper(path: Path, papers: Mapping[str, str]) -> pd.DataFrame:
    """Read the paper's values for the datasets of a run; `papers` has the paper's key of each."""
    table = read_table(path)
    parts = dict(list(table.groupby("dataset")))
    found = [parts[key].assign(dataset=own) for own, key in papers.items() if key in parts]
    return pd.concat([table.iloc[:0], *found], ignore_index=True)


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
            "family == @AUTOENCODER and selector == @selector and score == @PLAIN_SCORE "
            "and latent_dim > 0"
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
    networks = {
        key: name for key, name in methods.items() if key.removesuffix(INFORMED) not in BASELINES
    }
    return {**networks, **picked, **methods}


def add_statistics(summary: pd.DataFrame, drawn: pd.DataFrame, **options: object) -> pd.DataFrame:
    """Return the `compared_rows` with intervals, differences to the reference, p_value, p_holm.

    `summary` comes from `summarise`, `drawn` are the tables of intervals, and `options` those of
    `compared_rows`. The oracle is not tested. A family of Holm's correction is all tests of one
    dataset, split and metric.
    """
    cells, drawn = (compared_rows(table, **options) for table in (summary, drawn))
    joined = cells.merge(drawn.drop(columns="value"), on=CELL, how="left", validate="1:1")
    joined.loc[joined["method"] == ORACLE, TESTED] = float("nan")
    joined["p_holm"] = float("nan")
    for _, family in joined[joined["p_value"].notna()].groupby(["dataset", "split", "metric"]):
        joined.loc[family.index, "p_holm"] = holm(family["p_value"])
    return joined


# The retraining control: models that were trained on several training sets.


def retrained_rows(metrics: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `metrics` that compare training sets.

    Those of TABLE_METRICS, of models with at least two training sets, on datasets in which a
    training set leaves out at least LEFT_OUT times as many images as the test set has. Raises
    NothingToShowError where there are none.
    """
    rows = one_precision(by_score(metrics))
    rows = rows[rows["metric"].isin(list(TABLE_METRICS))]
    models = rows.groupby(["dataset", "method", "latent_dim"])
    several = models["training_set"].transform("nunique") > 1
    sizes = rows.groupby("dataset")["n_train"]
    tested = (rows["n_normal"] + rows["n_abnormal"]).groupby(rows["dataset"]).transform("max")
    differ = sizes.transform("max") - sizes.transform("min") >= LEFT_OUT * tested
    if not (several & differ).any():
        raise NothingToShowError(
            "No model was trained on training sets that differ: too few training images have a "
            "copy in test, or the configuration has one training set only."
        )
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
