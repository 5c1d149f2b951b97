"""Compare our metrics with the paper's tables and with its reference code, the misses included.

Compared are models of all training images on the full test set by their own score, which is
what the paper has; AP at the paper's share of abnormal images. A cell is "within" when |difference|
<= 2 · sqrt(their_std² + our_std²), with stds over seeds at ddof 1; otherwise "outside". One seed
has no spread, so there is no verdict ("one seed").
"""

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from medae.base.files import read_table, write_table
from medae.evaluation.ranking import AT_SHARE
from medae.evaluation.splits import PUBLISHED_SPLIT
from medae.evaluation.summary import TABLE_METRICS, sort_rows, summarise
from medae.report.rows import at_one_share, by_score, read_paper
from medae.report.tables import MISSING, Section, format_percent, format_points, write_sections

logger = logging.getLogger(__name__)

KEY = ["dataset", "method", "latent_dim", "metric"]
HEADER = ["Table", "Dataset", "Method", "d", "Metric", "Ours", "Seeds", "Paper", "Difference"]
HEADER += ["Verdict", "Reference code", "Difference", "Verdict"]
ALIGN = "lllrlcrcrlcrl"
THEIRS = {"paper": "the paper", "code": "the reference code on the same images"}
TOLERANCE_SDS = 2.0
"""Tolerance in standard deviations of a difference of two runs."""


def compare_with_paper(
    *,
    metrics: Path,
    paper: Path,
    reference_code: Path,
    papers: Mapping[str, str],
    names: Mapping[str, str],
    methods: Mapping[str, str],
    table: Path,
    markdown: Path,
    html: Path,
) -> None:
    """Write a row per cell that we and the paper have; a difference is ours minus theirs.

    `reference_code` has runs of the paper's code, a row per seed, and `papers` the key of each
    dataset in the paper's tables. Without a common cell the table is empty, and its text says so.
    """
    ours = by_score(read_table(metrics))
    compared = compare(
        metrics=ours,
        paper=read_paper(paper, papers),
        reference_code=read_table(reference_code),
        names=names,
    )
    text = describe(compared, n_paper=len(read_table(paper)), names=names, methods=methods)
    logger.info(text)
    write_table(compared, table)
    rows = [
        [
            cell["table"].removeprefix("table"),
            names[cell["dataset"]],
            methods[cell["method"]],
            str(cell["latent_dim"]),
            TABLE_METRICS[AT_SHARE if cell["at_share"] else cell["metric"]].label,
            format_percent(cell["our_mean"], cell["our_std"]),
            str(cell["n_seeds"]),
            *(part for who in THEIRS for part in printed(cell, who)),
        ]
        for cell in compared.to_dict("records")
    ]
    section = Section(text=text, header=HEADER, rows=rows, align=ALIGN)
    write_sections("Ours beside the paper", [section], markdown=markdown, html=html)


def printed(cell: Mapping, who: str) -> list[str]:
    """Return the cells of one of THEIRS: the value, the difference and the verdict."""
    value = format_percent(cell[f"{who}_mean"], cell[f"{who}_std"])
    return [value, format_points(cell[f"{who}_difference"]), cell[f"{who}_verdict"] or MISSING]


def compare(
    *,
    metrics: pd.DataFrame,
    paper: pd.DataFrame,
    reference_code: pd.DataFrame,
    names: Mapping[str, str],
) -> pd.DataFrame:
    """Return the cells that we and the paper have, one per row, in percent or percentage points.

    Columns: table, KEY, at_share (AP is at the paper's share of abnormal images), our_mean,
    our_std, n_seeds, n_normal and n_abnormal (our test images), and of each of THEIRS mean, std,
    difference, tolerance and verdict ("" where they have no value); our_std and tolerances are nan
    with one seed. Rows are sorted by the paper's table, dataset (in the order of `names`), method,
    latent dimension (descending) and metric.
    """
    like_theirs = (metrics["split"] == PUBLISHED_SPLIT) & (metrics["training_set"] == "all")
    rows = at_one_share(metrics[like_theirs])
    ours = summarise(rows).merge(rows[[*KEY, "at_share"]].drop_duplicates(), on=KEY)
    ours[["our_mean", "our_std"]] = 100 * ours[["mean", "std"]]
    ours = ours[[*KEY, "at_share", "our_mean", "our_std", "n_seeds", "n_normal", "n_abnormal"]]
    code = reference_code.groupby(KEY, as_index=False)["value"].agg(["mean", "std"])
    theirs = {"paper": paper, "code": code}
    cells = ours
    for who, table in theirs.items():
        own = table.rename(columns={part: f"{who}_{part}" for part in ("mean", "std")})
        cells = cells.merge(own, on=KEY, how="inner" if who == "paper" else "left")
        cells[f"{who}_difference"] = difference = cells["our_mean"] - cells[f"{who}_mean"]
        tolerance = TOLERANCE_SDS * np.hypot(cells[f"{who}_std"], cells["our_std"])
        cells[f"{who}_tolerance"] = tolerance
        # The paper's numbers have one decimal: a billionth of a point only absorbs rounding.
        verdict = np.where(difference.abs() <= tolerance + 1e-9, "within", "outside")
        verdict = np.where(tolerance.isna(), "one seed", verdict)
        cells[f"{who}_verdict"] = np.where(difference.isna(), "", verdict)
    cells = cells[["table", *(column for column in cells if column != "table")]]
    return sort_rows(cells, by=["table", *KEY], names=names)


def describe(
    compared: pd.DataFrame, *, n_paper: int, names: Mapping[str, str], methods: Mapping[str, str]
) -> str:
    """Return the summary in sentences; `n_paper` is the number of the paper's cells."""
    if compared.empty:
        return (
            f"None of the paper's {n_paper} numbers has a counterpart in this run, which shares no "
            "dataset, method and latent dimension with the paper, so there is nothing to compare."
        )
    counts = compared["paper_verdict"].value_counts()
    sentences = [
        f"Of the paper's {n_paper} numbers this run has {len(compared)}: "
        f"{counts.get('within', 0)} within tolerance, {counts.get('outside', 0)} outside, and "
        f"{counts.get('one seed', 0)} without a verdict because they come from one seed.",
        *(
            sum_up(part, names[key], methods, who)
            for key, part in compared.groupby("dataset", sort=False)
            for who in THEIRS
            if part[f"{who}_mean"].notna().any()
        ),
        "All are of all training images and the full test set, as the paper's. Numbers are "
        "percentages, mean ± standard deviation over seeds; a difference is ours minus theirs, in "
        "percentage points, and is within tolerance when it is at most "
        f"{TOLERANCE_SDS:g} √(s_theirs² + s_ours²).",
    ]
    if compared["at_share"].any():
        sentences.append("AP* is AP at the paper's share of abnormal images, by class weights.")
    return " ".join(sentences)


def sum_up(cells: pd.DataFrame, name: str, methods: Mapping[str, str], who: str) -> str:
    """Return a sentence on one dataset's cells: verdicts, the mean and the largest difference."""
    cells = cells[cells[f"{who}_mean"].notna()]
    differences = cells[f"{who}_difference"]
    within = (cells[f"{who}_verdict"] == "within").sum()
    judged = (cells[f"{who}_verdict"] != "one seed").sum()
    verdicts = f"{within} of {judged} within tolerance, " if judged else ""
    worst = cells.loc[differences.abs().idxmax()]
    metric = TABLE_METRICS[worst["metric"]].label
    where = f"{methods[worst['method']]}, d = {worst['latent_dim']}, {metric}"
    return (
        f"{name} against {THEIRS[who]}: {verdicts}differences of "
        f"{format_points(differences.mean())} points on average, the largest "
        f"{format_points(differences[worst.name])} ({where})."
    )


if __name__ == "__main__":
    from medae.base.scripts import run_script

    run_script(compare_with_paper, snakemake)
