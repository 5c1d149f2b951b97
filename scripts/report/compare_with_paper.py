"""Compare our metrics with the paper's tables, cell by cell, the misses included.

Compared are models of all training images on the published test set, which is what the paper has. A
cell is "within" when |difference| <= 2 · sqrt(paper_std² + our_std²), with our std over seeds at
ddof 1; otherwise "outside". One seed has no spread, so there is no verdict ("one seed").
"""

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from medae.base.files import read_table, write_table
from medae.evaluation.splits import PUBLISHED_SPLIT
from medae.evaluation.summary import TABLE_METRICS, display_name, sort_rows, summarise
from medae.report.tables import Section, format_percent, format_points, write_sections

logger = logging.getLogger(__name__)

KEY = ["dataset", "method", "latent_dim", "metric"]
HEADER = ["Table", "Dataset", "Method", "d", "Metric", "Paper", "Ours", "Seeds", "Difference"]
HEADER += ["Verdict"]
ALIGN = "lllrlcccrl"
TOLERANCE_SDS = 2.0
"""Tolerance in standard deviations of a difference of two runs."""


def compare_with_paper(
    *,
    metrics: Path,
    paper: Path,
    names: Mapping[str, str],
    methods: Mapping[str, str],
    table: Path,
    markdown: Path,
    html: Path,
) -> None:
    """Write a row per cell that both have; a difference is ours minus theirs.

    Without a common cell the table is empty, and its text says so. Raises InputError when a dataset
    has no display name.
    """
    ours, published = read_table(metrics), read_table(paper)
    compared = compare(metrics=ours, paper=published, names=names)
    text = describe(compared, n_paper=len(published))
    logger.info(text)
    write_table(compared, table)
    rows = [
        [
            cell.table.removeprefix("table"),
            display_name(cell.dataset, names),
            methods[cell.method],
            str(cell.latent_dim),
            TABLE_METRICS[cell.metric].label,
            format_percent(cell.paper_mean, cell.paper_std),
            format_percent(cell.our_mean, cell.our_std),
            str(cell.n_seeds),
            format_points(cell.difference),
            cell.verdict,
        ]
        for cell in compared.itertuples()
    ]
    section = Section(text=text, header=HEADER, rows=rows, align=ALIGN)
    write_sections("Ours beside the paper", [section], markdown=markdown, html=html)


def compare(
    *, metrics: pd.DataFrame, paper: pd.DataFrame, names: Mapping[str, str]
) -> pd.DataFrame:
    """Return the common cells, one per row, in percent or percentage points.

    Columns: table, dataset, method, latent_dim, metric, paper_mean, paper_std, our_mean, our_std,
    n_seeds, n_normal and n_abnormal (our test images), difference, tolerance, verdict; our_std and
    tolerance are nan with one seed. Rows are sorted by the paper's table, dataset (in the order of
    `names`), method, latent dimension (descending) and metric.
    """
    like_theirs = (metrics["split"] == PUBLISHED_SPLIT) & (metrics["training_set"] == "all")
    ours = summarise(metrics[like_theirs])
    ours[["our_mean", "our_std"]] = 100 * ours[["mean", "std"]]
    ours = ours[[*KEY, "our_mean", "our_std", "n_seeds", "n_normal", "n_abnormal"]]
    theirs = paper.rename(columns={"mean": "paper_mean", "std": "paper_std"})
    cells = theirs.merge(ours, on=KEY)
    cells["difference"] = cells["our_mean"] - cells["paper_mean"]
    cells["tolerance"] = TOLERANCE_SDS * np.hypot(cells["paper_std"], cells["our_std"])
    # The paper's numbers have one decimal: a billionth of a point only absorbs binary rounding.
    within = cells["difference"].abs() <= cells["tolerance"] + 1e-9
    cells["verdict"] = np.where(within, "within", "outside")
    cells.loc[cells["n_seeds"] < 2, "verdict"] = "one seed"
    return sort_rows(cells, by=["table", *KEY], names=names)


def describe(compared: pd.DataFrame, *, n_paper: int) -> str:
    """Return the summary in a sentence or two; `n_paper` is the number of the paper's cells."""
    if compared.empty:
        return (
            f"None of the paper's {n_paper} numbers has a counterpart in this run, which shares no "
            "dataset, method and latent dimension with the paper, so there is nothing to compare."
        )
    counts = compared["verdict"].value_counts()
    return (
        f"Of the paper's {n_paper} numbers this run has {len(compared)}: "
        f"{counts.get('within', 0)} within tolerance, {counts.get('outside', 0)} outside, and "
        f"{counts.get('one seed', 0)} without a verdict because they come from one seed. "
        "All are of all training images and the published test set, as the paper's. "
        "Numbers are percentages, mean ± standard deviation over seeds; a difference is ours minus "
        "the paper's, in percentage points, and is within tolerance when it is at most "
        f"{TOLERANCE_SDS:g} √(s_paper² + s_ours²)."
    )


if __name__ == "__main__":
    from medae.base.scripts import run_script

    run_script(compare_with_paper, snakemake)
