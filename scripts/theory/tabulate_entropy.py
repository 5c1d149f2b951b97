"""Tabulate the entropy of the latent vectors beside reconstruction errors and AUC.

Inputs: the tables of entropy, of code lengths and of the images' dimensions, and the collected
table of metrics, of which the rows with all training images are used.
Parameters: `names` and `methods`, the display names of datasets and methods, in table order.
Outputs: a table per dataset as Markdown and as an HTML page, with a row per method and latent
dimension, and all as a TSV with mean and standard deviation over seeds, unrounded: bits per image,
numbers of dimensions, errors in squared [-1, 1] intensity units, AUC as a fraction.
Fails when a table is not what it should be, or a dataset or a method has no display name.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from medae.base.errors import InputError
from medae.base.files import read_table, write_table, write_text
from medae.evaluation.splits import LEAK_FREE_SPLIT, PUBLISHED_SPLIT
from medae.evaluation.summary import display_name
from medae.report.tables import MISSING, Section, html_page, html_sections, markdown_sections
from medae.theory.entropy_tables import IMAGES, by_model, read_entropy

TITLE = "Entropy of the latent vector"
MODEL = ["dataset", "method", "latent_dim"]
COLUMNS = {  # column: (heading, factor, decimals)
    "gaussian_bits": ("H(Z) Gaussian", 1, 1),
    "knn_bits": ("H(Z) kNN", 1, 1),
    "rate_bits": ("Rate", 1, 1),
    "rate_test_bits": ("Rate, test", 1, 1),
    "stream_bits": ("Stream, test", 1, 1),
    "effective_rank": ("Effective rank", 1, 1),
    "participation_ratio": ("Participation ratio", 1, 1),
    "dims_in_use": ("Dimensions in use", 1, 0),
    "twonn": ("TwoNN", 1, 1),
    "mle": ("MLE", 1, 1),
    "error_test_normal": ("Error, normal", 1e4, 0),
    "error_test_abnormal": ("Error, abnormal", 1e4, 0),
    "auc_leak_free": ("AUC leak-free", 100, 1),
    "auc_published": ("AUC published", 100, 1),
}
METRICS = {  # column: (metric, split)
    "error_test_normal": ("error_test_normal", PUBLISHED_SPLIT),
    "error_test_abnormal": ("error_test_abnormal", PUBLISHED_SPLIT),
    "auc_leak_free": ("auc", LEAK_FREE_SPLIT),
    "auc_published": ("auc", PUBLISHED_SPLIT),
}
EXPLANATION = (
    "H(Z), rates and streams are in bits per image. H(Z) is the information that the latent of a "
    "normal training image carries at the precision that its reconstruction needs: Gaussian, from "
    "the latents' covariance, an upper bound; kNN, from distances to nearest neighbours. Rate: "
    "code length under the method's own prior, mean over normal training images, or over all test "
    "images. Stream: length of a real code of the test images' latents, which was decoded again, "
    "with its header. Effective rank, participation ratio and dimensions in use (0.1 bit or more) "
    "count directions of the latent space; TwoNN and MLE estimate the latents' intrinsic "
    "dimension. Errors are mean squared errors of test images, in units of 0.0001 on the [-1, 1] "
    "scale; AUC is in percent, of the squared error as the score."
)


def tabulate_entropy(
    *,
    entropy: Sequence[Path],
    metrics: Path,
    names: Mapping[str, str],
    methods: Mapping[str, str],
    markdown: Path,
    html: Path,
    table: Path,
) -> None:
    """Write the three forms of the table."""
    rows = read_entropy(entropy)
    models = by_model(rows).merge(model_metrics(read_table(metrics)), how="left")
    summary = order_rows(summarise_seeds(models), names=names, methods=methods)
    text = f"{EXPLANATION} {describe_seeds(summary)}"
    sections = [
        Section(
            names[dataset],
            describe_images(rows[(rows["method"] == IMAGES) & (rows["dataset"] == dataset)]),
            *printed_table(part, methods=methods),
        )
        for dataset, part in summary.groupby("dataset", sort=False)
    ]
    write_text(f"{text}\n\n{markdown_sections(sections)}", markdown)
    write_text(html_page(TITLE, text, html_sections(sections)), html)
    write_table(summary, table)


def model_metrics(metrics: pd.DataFrame) -> pd.DataFrame:
    """Return METRICS of each model of all training images: MODEL, seed, and a column for each."""
    metrics = metrics[metrics["training_set"] == "all"]
    parts = [
        metrics[(metrics["metric"] == metric) & (metrics["split"] == split)].assign(column=column)
        for column, (metric, split) in METRICS.items()
    ]
    wide = pd.concat(parts).pivot(index=[*MODEL, "seed"], columns="column", values="value")
    return wide.reindex(columns=list(METRICS)).rename_axis(columns=None).reset_index()


def summarise_seeds(models: pd.DataFrame) -> pd.DataFrame:
    """Return a row per dataset, method and latent dimension: n_seeds, then COLUMNS and their std.

    The std of a single seed is nan, as is what a method has not.
    """
    groups = models.reindex(columns=[*MODEL, "seed", *COLUMNS]).groupby(MODEL, sort=False)
    mean = groups[list(COLUMNS)].mean()
    std = groups[list(COLUMNS)].std().add_suffix("_std")
    sizes = groups.size().rename("n_seeds")
    return pd.concat([sizes, mean, std], axis=1).reset_index()


def order_rows(
    summary: pd.DataFrame, *, names: Mapping[str, str], methods: Mapping[str, str]
) -> pd.DataFrame:
    """Return the rows in the order of `names` and `methods`, latent dimensions descending.

    Raises InputError for a dataset or a method without a display name.
    """
    for dataset in summary["dataset"].unique():
        display_name(dataset, names)
    if unknown := set(summary["method"]) - set(methods):
        raise InputError(
            f"The method {min(unknown)} has entropies but no display name. Delete the tables of "
            "entropy of methods that the configuration has no more, and run the workflow again."
        )
    places = {"dataset": list(names), "method": list(methods)}

    def sort_key(column: pd.Series) -> pd.Series:
        return -column if column.name == "latent_dim" else column.map(places[column.name].index)

    return summary.sort_values(MODEL, key=sort_key, ignore_index=True)


def printed_table(
    summary: pd.DataFrame, *, methods: Mapping[str, str]
) -> tuple[list[str], list[list[str]], str]:
    """Return header, rows and alignment of one dataset; without columns that no row has."""
    shown = [column for column in COLUMNS if summary[column].notna().any()]
    header = ["Method", "d", *(COLUMNS[column][0] for column in shown)]
    rows = [
        [methods[row["method"]], str(row["latent_dim"])]
        + [format_value(column, row[column], row[f"{column}_std"]) for column in shown]
        for _, row in summary.iterrows()
    ]
    return header, rows, "lr" + "r" * len(shown)


def format_value(column: str, mean: float, std: float) -> str:
    """Return "121.3 ± 0.4" in the units of the column, without ± for a single seed."""
    if np.isnan(mean):
        return MISSING
    _, factor, decimals = COLUMNS[column]
    text = f"{factor * mean:.{decimals}f}"
    return text if np.isnan(std) else f"{text} ± {factor * std:.{decimals}f}"


def describe_seeds(summary: pd.DataFrame) -> str:
    """Return the sentence about the seeds."""
    seeds = sorted(set(summary["n_seeds"]))
    if seeds == [1]:
        return "One seed."
    among = str(seeds[0]) if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    return f"Mean ± standard deviation over {among} seeds."


def describe_images(rows: pd.DataFrame) -> str:
    """Return the sentence about the images of one dataset; empty where nothing was measured."""
    found = rows.set_index("quantity")["value"]
    if found.empty:
        return ""
    return (
        f"Intrinsic dimension of its {found['n_images']:.0f} normal training images, one of each "
        f"group of copies, as vectors of pixels: TwoNN {found['twonn']:.1f}, "
        f"MLE {found['mle']:.1f}."
    )


if __name__ == "__main__":
    from medae.base.logs import script_logging

    with script_logging(snakemake.log[0]):
        tabulate_entropy(
            entropy=[Path(path) for path in snakemake.input.entropy],
            metrics=Path(snakemake.input.metrics),
            names=snakemake.params.names,
            methods=snakemake.params.methods,
            markdown=Path(snakemake.output.markdown),
            html=Path(snakemake.output.html),
            table=Path(snakemake.output.table),
        )
