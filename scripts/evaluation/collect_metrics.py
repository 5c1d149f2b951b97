"""Collect the metrics of all settings in one table.

Inputs: the tables of metrics, one per dataset, method and latent dimension.
Output: the same rows in one table with the same columns, sorted by dataset, method, latent_dim,
seed, split and metric, whatever the order of the inputs.
Fails when a table has other columns, or when two rows are about the same thing.
"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from medae.base.errors import InputError
from medae.base.files import read_table, write_table
from medae.evaluation.metrics import METRIC_COLUMNS

KEY = ["dataset", "training_set", "method", "latent_dim", "seed", "split", "metric"]


def collect_metrics(*, metrics: Sequence[Path], output: Path) -> None:
    """Write the rows of all tables in `metrics`, sorted."""
    tables = []
    for path in metrics:
        table = read_table(path)
        if list(table.columns) != METRIC_COLUMNS:
            raise InputError(
                f"{path} has the columns {list(table.columns)} instead of {METRIC_COLUMNS}. "
                "Delete it and run the workflow again."
            )
        tables.append(table)
    collected = pd.concat(tables, ignore_index=True).sort_values(KEY, ignore_index=True)
    repeated = collected[collected.duplicated(KEY)]
    if len(repeated):
        first = ", ".join(f"{key} {repeated.iloc[0][key]}" for key in KEY)
        raise InputError(
            f"The tables of metrics have two rows for {first}. Delete the tables of this setting "
            "and run the workflow again."
        )
    write_table(collected, output)


if __name__ == "__main__":
    from medae.base.logs import script_logging

    with script_logging(snakemake.log[0]):
        collect_metrics(
            metrics=[Path(path) for path in snakemake.input.metrics],
            output=Path(snakemake.output.metrics),
        )
