"""Collect the metrics of all settings in one table, sorted whatever the order of the inputs.

Fails when a table has other columns, or when two rows are about the same thing.
"""

from collections.abc import Sequence
from pathlib import Path

from medae.base.files import write_table
from medae.evaluation.metrics import METRIC_COLUMNS
from medae.evaluation.summary import check_unique, read_tables


def collect_metrics(*, metrics: Sequence[Path], collected: Path) -> None:
    """Write the rows of all tables in `metrics`, sorted by what they are about."""
    table = read_tables(metrics, METRIC_COLUMNS)
    check_unique(table)
    write_table(table.sort_values(METRIC_COLUMNS[:8]), collected)


if __name__ == "__main__":
    from medae.base.scripts import run_script

    run_script(collect_metrics, snakemake)
