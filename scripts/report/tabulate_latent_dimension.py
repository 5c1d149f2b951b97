"""Tabulate metrics by latent dimension: the autoencoder, as Table 1 of the paper, then PCA.

Input: the collected table of metrics, of which the rows of `ae` and `pca` with all training images
are used. Parameters: `names` and `methods`, the display names of datasets and methods.
Outputs: the table as Markdown, as LaTeX (needs the package booktabs), as an HTML page, and as a TSV
with a row per method, latent dimension, dataset, metric and split, unrounded, in percent. The
leak-free split is left out where it is the published one. `medae.report.tables` says what the columns are.
Fails when there are no results of the autoencoder, or a dataset has no display name.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd

from medae.base.errors import InputError
from medae.base.files import read_table, write_table, write_text
from medae.evaluation.summary import TABLE_METRICS, distinct_splits, sort_rows, summarise
from medae.report.tables import make_grid, render_html, render_latex, render_markdown

METHOD, LINEAR = "ae", "pca"
CAPTION = "Anomaly detection by autoencoders with latent dimension d."
NOTE = "PCA is the linear autoencoder: d principal components of the training images."
LABEL = "tab:latent-dimension"


def tabulate_latent_dimension(
    *,
    metrics: Path,
    names: Mapping[str, str],
    methods: Mapping[str, str],
    markdown: Path,
    latex: Path,
    html: Path,
    table: Path,
) -> None:
    """Write the four forms of the table; `names` maps dataset keys to names, in table order."""
    rows = read_table(metrics)
    rows = rows[rows["method"].isin([METHOD, LINEAR]) & (rows["training_set"] == "all")]
    if METHOD not in set(rows["method"]):
        raise InputError(
            f"{metrics} has no results of the method {METHOD} with all training images to put in "
            "the table by latent dimension. Check the grid, and run the workflow again."
        )
    summary = summarise(rows)
    labels = summary["method"].map(methods) + ", d = " + summary["latent_dim"].astype(str)
    models = summary.assign(model=labels).sort_values("latent_dim", ascending=False)
    groups = {
        model: methods[key]
        for key in (METHOD, LINEAR)
        for model in models.loc[models["method"] == key, "model"]
    }
    grid = make_grid(
        models,
        row="model",
        row_title="Model",
        rows={model: model for model in groups},
        groups=groups,
        names=names,
    )
    if LINEAR in set(rows["method"]):
        grid = replace(grid, notes=(NOTE,))
    write_text(render_markdown(grid), markdown)
    write_text(render_latex(grid, caption=CAPTION, label=LABEL), latex)
    write_text(render_html(grid, title=CAPTION), html)
    write_table(percent_rows(summary, names=names), table)


def percent_rows(summary: pd.DataFrame, *, names: Mapping[str, str]) -> pd.DataFrame:
    """Return the summary's rows that the table shows, in its order, mean and std in percent."""
    shown = distinct_splits(summary[summary["metric"].isin(list(TABLE_METRICS))])
    shown = shown.assign(mean_percent=100 * shown["mean"], std_percent=100 * shown["std"])
    keys = ["method", "latent_dim", "dataset", "metric", "split"]
    shown = sort_rows(shown, by=keys, names=names)
    numbers = ["mean_percent", "std_percent", "n_seeds", "n_train", "n_normal", "n_abnormal"]
    return shown[[*keys, *numbers]]


if __name__ == "__main__":
    from medae.base.logs import script_logging

    with script_logging(snakemake.log[0]):
        tabulate_latent_dimension(
            metrics=Path(snakemake.input.metrics),
            names=snakemake.params.names,
            methods=snakemake.params.methods,
            markdown=Path(snakemake.output.markdown),
            latex=Path(snakemake.output.latex),
            html=Path(snakemake.output.html),
            table=Path(snakemake.output.table),
        )
