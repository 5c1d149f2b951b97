"""Small tables of metrics, written row by row, and figures of them."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from medae.base.files import write_table
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
    score="squared_error",
):
    """Rows of one setting and metric, one per value; seeds count from 0.

    Of `scans` 20 of 30 normal test images have a twin, of any other dataset none of 5 + 6.
    """
    images = COUNTS.get((dataset, split), (5, 6))
    return [
        (dataset, training, method, dim, score, seed, split, metric, value, n_train, *images)
        for seed, value in enumerate(values)
    ]


def metric_table(*groups):
    return pd.DataFrame([row for group in groups for row in group], columns=METRIC_COLUMNS)


def table_lines(markdown):
    """The lines of tables and headings, without the captions."""
    return [line for line in markdown.splitlines() if line.startswith(("|", "#"))]


def drawn(plot, tables, **options):
    """The figure that a script draws of tables, which are written to files; lists of them too."""
    with TemporaryDirectory() as folder:
        paths = {}
        for name, found in tables.items():
            several = found if isinstance(found, list) else [found]
            written = [Path(folder, f"{name}{i}.tsv") for i in range(len(several))]
            for table, path in zip(several, written, strict=True):
                write_table(table, path)
            paths[name] = written if isinstance(found, list) else written[0]
        return plot(**paths, **options)
