"""Tabulate the retraining control: what models lose without leaked and without random images.

A table for either test set; where training sets leave out (nearly) no images, a sentence.
"""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from medae.base.files import read_table, write_table
from medae.duplicates.training_sets import TRAINING_SETS
from medae.evaluation.summary import TABLE_METRICS, sort_rows, summarise
from medae.report.grids import describe_test_sets
from medae.report.rows import SPLIT_NAMES, TRAINING_SET_NAMES, retrained_rows, training_sizes
from medae.report.tables import (
    MISSING,
    Section,
    format_percent,
    format_points,
    or_sentence,
    write_sections,
)

TITLE = "Retraining without copies of test images"
KEY = ["dataset", "method", "latent_dim", "split", "metric"]
DIFFERENCES = {  # name: (of which training set, less which one)
    "loss_by_twins": ("all", "without_twins"),
    "loss_by_fewer": ("all", "without_random"),
    "twins_beyond_fewer": ("without_random", "without_twins"),
}
HEADER = ["Dataset", "Metric", "Method", "d"]
HEADER += ["All", "Without leaked images", "Without random images"]
HEADER += ["Loss without leaked", "Loss without random", "Difference of the losses"]
ALIGN = "lllr" + "c" * 3 + "r" * 3
EXPLANATION = (
    "Percent, mean ± standard deviation over seeds where there are several. Without leaked images: "
    "without the training images in a copy group with a test image. Without random images, the "
    "control: without as many, drawn at random for each seed, and never a part of a copy group; it "
    "keeps its share of the leaked ones. Losses: all − without leaked images, all − without random "
    "images. Both and their difference are in percentage points."
)


def tabulate_training_sets(
    *,
    metrics: Path,
    names: Mapping[str, str],
    methods: Mapping[str, str],
    markdown: Path,
    html: Path,
    table: Path,
) -> None:
    """Write the tables; the TSV has a row per dataset, method, d, split and metric."""
    rows = retrained_rows(read_table(metrics))
    losses = measure_losses(rows)
    text = [EXPLANATION, describe_sizes(rows, names), *describe_test_sets(rows, names)]
    sections = [Section(text=" ".join(text))]
    ordered = losses.astype({"method": pd.CategoricalDtype(list(methods))})
    ordered = sort_rows(ordered, by=["dataset", "metric", "method", "latent_dim"], names=names)
    for split, title in SPLIT_NAMES.items():
        lines = printed_rows(ordered[ordered["split"] == split], names=names, methods=methods)
        if lines:
            sections.append(Section(title.capitalize(), header=HEADER, rows=lines, align=ALIGN))
    write_sections(TITLE, sections, markdown=markdown, html=html)
    write_table(losses, table)


def measure_losses(rows: pd.DataFrame) -> pd.DataFrame:
    """Return a row per model, split and metric: results by training set, and their differences.

    `rows` come from `retrained_rows`. Columns: KEY; of each training set mean_<name>, std_<name>
    (percent), n_seeds_<name> and n_train_<name> (of the first seed); DIFFERENCES (points);
    n_normal and n_abnormal. Empty where a training set was not used.
    """
    summary = summarise(rows)
    summary[["mean", "std"]] *= 100
    table = summary.drop_duplicates(KEY)[[*KEY, "n_normal", "n_abnormal"]]
    for name in TRAINING_SETS:
        part = summary[summary["training_set"] == name].set_index(KEY)
        part = part[["mean", "std", "n_seeds", "n_train"]].add_suffix(f"_{name}")
        table = table.merge(part, left_on=KEY, right_index=True, how="left")
    for name, (more, less) in DIFFERENCES.items():
        table[name] = table[f"mean_{more}"] - table[f"mean_{less}"]
    return table


def describe_sizes(rows: pd.DataFrame, names: Mapping[str, str]) -> str:
    """Return the sentence with the numbers of training images."""
    parts = []
    for dataset in names:
        sizes = training_sizes(rows[rows["dataset"] == dataset])
        if sizes:
            counts = ", ".join(f"{TRAINING_SET_NAMES[key]} {size}" for key, size in sizes.items())
            parts.append(f"{names[dataset]}: {counts}")
    return f"Training images: {'; '.join(parts)}."


def printed_rows(
    losses: pd.DataFrame, *, names: Mapping[str, str], methods: Mapping[str, str]
) -> list[list[str]]:
    """Return the cells of each row in the order of HEADER."""
    return [
        [
            names[row["dataset"]],
            TABLE_METRICS[row["metric"]].label,
            methods[row["method"]],
            str(row["latent_dim"]) if row["latent_dim"] else MISSING,
            *(format_percent(row[f"mean_{key}"], row[f"std_{key}"]) for key in TRAINING_SETS),
            *(format_points(row[key]) for key in DIFFERENCES),
        ]
        for row in losses.to_dict("records")
    ]


if __name__ == "__main__":
    from medae.base.scripts import run_script

    run_script(or_sentence(tabulate_training_sets), snakemake)
