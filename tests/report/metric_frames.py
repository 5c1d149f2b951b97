"""Small tables of metrics, written row by row."""

import pandas as pd

from medae.evaluation.metrics import METRIC_COLUMNS

COUNTS = {("scans", "published"): (30, 40), ("scans", "leak_free"): (10, 40)}


def metric_rows(
    values,
    dataset="xray",
    method="ae",
    dim=4,
    metric="auc",
    split="published",
    training="all",
    n_train=100,
):
    """Rows of one setting and metric, one per value; seeds count from 0.

    Of `scans` 20 of 30 normal test images have a twin, of any other dataset none of 5 + 6.
    """
    images = COUNTS.get((dataset, split), (5, 6))
    return [
        (dataset, training, method, dim, seed, split, metric, value, n_train, *images)
        for seed, value in enumerate(values)
    ]


def metric_table(*groups):
    return pd.DataFrame([row for group in groups for row in group], columns=METRIC_COLUMNS)
