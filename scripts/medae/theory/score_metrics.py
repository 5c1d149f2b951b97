"""The tables of metrics by score, and which score of a dataset was chosen without labels."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from medae.base.errors import InputError
from medae.base.files import read_table
from medae.evaluation.splits import LEAK_FREE_SPLIT
from medae.models.baselines import BASELINES, can

SCORE_METRIC_COLUMNS = [
    "dataset",
    "method",
    "latent_dim",
    "seed",
    "score",
    "split",
    "metric",
    "value",
    "low",
    "high",
    "n_normal",
    "n_abnormal",
]
"""Columns of measure_scores.py's table; low and high are empty without an interval."""

SETTING = ["dataset", "method", "latent_dim", "score", "split", "metric"]
PLAIN_SCORE = "mse"


def read_score_metrics(paths: Sequence[Path]) -> pd.DataFrame:
    """Read tables of measure_scores.py as one, with the mean over seeds.

    Returns the columns SETTING, value, low, high, n_normal and n_abnormal, in the files' order.
    Raises InputError for a table of another kind.
    """
    tables = []
    for path in paths:
        table = read_table(path)
        if list(table.columns) != SCORE_METRIC_COLUMNS:
            raise InputError(
                f"{path} has the columns {list(table.columns)} instead of {SCORE_METRIC_COLUMNS}. "
                "Delete it and run the workflow again; it will be made again."
            )
        tables.append(table)
    groups = pd.concat(tables, ignore_index=True).groupby(SETTING, sort=False)
    means = groups.agg(
        value=("value", "mean"),
        low=("low", "first"),  # of the mean over seeds already
        high=("high", "first"),
        n_normal=("n_normal", "first"),
        n_abnormal=("n_abnormal", "first"),
    )
    return means.reset_index()


def chosen_scores(paths: Sequence[Path]) -> dict[str, str]:
    """Return by dataset the score that select_settings.py chose, from its tables.

    They have rows for the squared error and, where another score was chosen, for that. Raises
    InputError for a table of another kind, or with more than one other score.
    """
    found = {}
    for path in paths:
        table = read_table(path)
        if not {"dataset", "score"} <= set(table.columns):
            raise InputError(
                f"{path} is no table of choices: it has the columns {list(table.columns)}. Delete "
                "it and run the workflow again; it will be made again."
            )
        for dataset, rows in table.groupby("dataset"):
            others = sorted(set(rows["score"]) - {PLAIN_SCORE})
            if len(others) > 1:
                raise InputError(
                    f"{path} has more than one chosen score of {dataset}: {', '.join(others)}. "
                    "Delete it and run the workflow again; it will be made again."
                )
            found[str(dataset)] = others[0] if others else PLAIN_SCORE
    return found


def best_baseline(baselines: pd.DataFrame) -> tuple[str, dict[str, float]] | None:
    """Return the baseline with the highest AUC, and its AUC by split; None without any.

    `baselines` are rows of one dataset (method, split, metric, value; one per method and split),
    of baselines or of other methods, which are left out. The leak-free AUC decides, the published
    one only where there is no other.
    """
    usable = [key for key in BASELINES if can(key, "scores_images")]
    rows = baselines[baselines["method"].isin(usable) & (baselines["metric"] == "auc")]
    if rows.empty:
        return None
    values = rows.pivot(index="method", columns="split", values="value")
    judged = values[LEAK_FREE_SPLIT] if LEAK_FREE_SPLIT in values else values.iloc[:, 0]
    best = judged.idxmax()
    return str(best), values.loc[best].to_dict()
