"""Tabulate metrics by latent dimension: the autoencoder, as Table 1 of the paper, then PCA."""

from collections.abc import Mapping
from pathlib import Path

from medae.base.errors import InputError
from medae.base.files import read_table, write_table
from medae.evaluation.summary import TABLE_METRICS, distinct_splits, sort_rows, summarise
from medae.report.grids import make_grid, percent_rows, write_grid
from medae.report.rows import AUTOENCODER

LINEAR = "pca"
TITLE = "Anomaly detection by autoencoders with latent dimension d."
NOTE = "PCA is the linear autoencoder: d principal components of the training images."


def tabulate_latent_dimension(
    *,
    metrics: Path,
    names: Mapping[str, str],
    methods: Mapping[str, str],
    dataset_notes: Mapping[str, str],
    markdown: Path,
    latex: Path,
    html: Path,
    table: Path,
) -> None:
    """Write the table; InputError without results of the autoencoder, or a dataset's name."""
    rows = read_table(metrics)
    rows = rows[rows["method"].isin([AUTOENCODER, LINEAR]) & (rows["training_set"] == "all")]
    if AUTOENCODER not in set(rows["method"]):
        raise InputError(
            f"{metrics} has no results of the method {AUTOENCODER} with all training images to put "
            "in the table by latent dimension. Check the grid, and run the workflow again."
        )
    summary = summarise(rows)
    labels = summary["method"].map(methods) + ", d = " + summary["latent_dim"].astype(str)
    models = sort_rows(summary.assign(row=labels), by=["method", "latent_dim"], names=names)
    grid = make_grid(
        models,
        title="Model",
        rows=dict(zip(models["row"], models["row"], strict=True)),
        groups=models.drop_duplicates("row")["method"].map(methods).tolist(),
        names=names,
        notes=[*[NOTE] * (LINEAR in set(rows["method"])), *dataset_notes.values()],
    )
    label = "tab:latent-dimension"
    write_grid(grid, title=TITLE, label=label, markdown=markdown, latex=latex, html=html)
    shown = distinct_splits(summary[summary["metric"].isin(list(TABLE_METRICS))])
    by = ["method", "latent_dim", "dataset", "metric", "split"]
    write_table(percent_rows(shown, by=by, names=names), table)


if __name__ == "__main__":
    from medae.base.scripts import run_script

    run_script(tabulate_latent_dimension, snakemake)
