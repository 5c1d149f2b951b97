"""Small tables of metrics, written row by row, and what scripts make of them."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from medae.base.files import read_table, write_table
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


def paper_table(*rows):
    columns = ["table", "dataset", "method", "latent_dim", "metric", "mean", "std"]
    return pd.DataFrame(rows, columns=columns)


def written(folder, tables):
    """Write tables, and lists of them, to files; return these by the tables' names."""
    paths = {}
    for name, found in tables.items():
        several = found if isinstance(found, list) else [found]
        files = [Path(folder, f"{name}{i}.tsv") for i in range(len(several))]
        for table, path in zip(several, files, strict=True):
            write_table(table, path)
        paths[name] = files if isinstance(found, list) else files[0]
    return paths


def drawn(plot, tables, **options):
    """The figure that a script draws of tables."""
    with TemporaryDirectory() as folder:
        return plot(**written(folder, tables), **options)


def tabulated(tabulate, tables, *forms, **options):
    """The texts that a script makes of tables, by form, and the rows of its TSV."""
    with TemporaryDirectory() as folder:
        outputs = {form: Path(folder, form) for form in (*forms, "table")}
        tabulate(**written(folder, tables), **options, **outputs)
        texts = {form: outputs[form].read_text(encoding="utf-8") for form in forms}
        return texts | {"rows": read_table(outputs["table"])}


def panel(figure, label):
    (found,) = [axes for axes in figure.axes if axes.get_label() == label]
    return found
