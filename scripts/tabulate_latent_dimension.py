"""Tabulate the autoencoder's metrics by latent dimension, in the form of Table 1 of the paper.

Input: the collected table of metrics, of which the rows of method `ae` are used.
Outputs: the table as Markdown, as LaTeX (needs the package booktabs), as an HTML page, and as a TSV
with a row per latent dimension, dataset and metric, unrounded, in percent.
Fails when there are no results of the autoencoder, or a dataset has no display name.
"""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from medae.files import read_table, write_table, write_text
from medae.metrics import PUBLISHED_SPLIT
from medae.tables import (
    TABLE_METRICS,
    make_grid,
    render_html,
    render_latex,
    render_markdown,
    sort_rows,
    summarise,
)

METHOD = "ae"
CAPTION = "Anomaly detection by an autoencoder with latent dimension d."
LABEL = "tab:latent-dimension"


def tabulate_latent_dimension(
    *, metrics: Path, names: Mapping[str, str], markdown: Path, latex: Path, html: Path, table: Path
) -> None:
    """Write the four forms of the table; `names` maps dataset keys to names, in table order."""
    rows = read_table(metrics)
    rows = rows[(rows["method"] == METHOD) & (rows["split"] == PUBLISHED_SPLIT)]
    summary = summarise(rows)
    dims = sorted(set(summary["latent_dim"]), reverse=True)
    grid = make_grid(
        summary,
        row="latent_dim",
        row_title="d",
        rows={dim: str(dim) for dim in dims},
        names=names,
    )
    write_text(render_markdown(grid), markdown)
    write_text(render_latex(grid, caption=CAPTION, label=LABEL), latex)
    write_text(render_html(grid, title=CAPTION), html)
    write_table(percent_rows(summary, names=names), table)


def percent_rows(summary: pd.DataFrame, *, names: Mapping[str, str]) -> pd.DataFrame:
    """Return the summary's rows that the table shows, in its order, mean and std in percent."""
    shown = summary[summary["metric"].isin(list(TABLE_METRICS))]
    shown = shown.assign(mean_percent=100 * shown["mean"], std_percent=100 * shown["std"])
    shown = sort_rows(shown, by=["latent_dim", "dataset", "metric"], names=names)
    columns = ["latent_dim", "dataset", "method", "metric", "mean_percent", "std_percent"]
    return shown[[*columns, "n_seeds", "n_normal", "n_abnormal"]]


if __name__ == "__main__":
    from medae.logs import script_logging

    with script_logging(snakemake.log[0]):
        tabulate_latent_dimension(
            metrics=Path(snakemake.input.metrics),
            names=snakemake.params.names,
            markdown=Path(snakemake.output.markdown),
            latex=Path(snakemake.output.latex),
            html=Path(snakemake.output.html),
            table=Path(snakemake.output.table),
        )
