"""The retraining control: metrics of models that were trained on several training sets.

`medae.duplicates.training_sets` says what the training sets are.
"""

import pandas as pd

from medae.duplicates.training_sets import TRAINING_SETS
from medae.evaluation.summary import TABLE_METRICS

MODEL = ["dataset", "method", "latent_dim"]
TRAINING_SET_NAMES = {
    "all": "all",
    "without_twins": "without twins",
    "without_random": "without random images",
}


def retrained_rows(metrics: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `metrics` that compare training sets.

    Those of TABLE_METRICS, of models with at least two training sets, on datasets in which a
    training set leaves out images.
    """
    rows = metrics[metrics["metric"].isin(list(TABLE_METRICS))]
    several = rows.groupby(MODEL)["training_set"].transform("nunique") > 1
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
