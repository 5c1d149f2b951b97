"""Tabulate metrics by latent dimension: the autoencoder, as Table 1 of the paper, then PCA.

The autoencoder has both scores, the squared error and information; below stand what has neither a
network nor a latent dimension.
"""

from collections.abc import Mapping
from pathlib import Path

from medae.base.files import read_table, write_table
from medae.evaluation.summary import (
    TABLE_METRICS,
    distinct_splits,
    one_precision,
    sort_rows,
    summarise,
)
from medae.models.baselines import BASELINES
from medae.models.information import INFORMED
from medae.report.grids import make_grid, percent_rows, write_grid
from medae.report.rows import AUTOENCODER, INFORMATION_NOTE, by_score, check_ranked
from medae.report.tables import or_sentence

LINEAR = "pca"
NO_MODEL = "no network"
CONTROLS = [
    key for key, baseline in BASELINES.items() if baseline.scores_images and not baseline.has_latent
]
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
    """Write the table."""
    rows = read_table(metrics).query("training_set == 'all'")
    check_ranked(rows)
    rows = by_score(one_precision(rows), information=True)
    rows = rows[rows["method"].isin([AUTOENCODER, AUTOENCODER + INFORMED, LINEAR, *CONTROLS])]
    summary = summarise(rows)
    sizes = ", d = " + summary["latent_dim"].astype(str)
    labels = summary["method"].map(methods) + sizes.where(summary["latent_dim"] > 0, "")
    place = summary["method"].isin(CONTROLS)  # last
    models = summary.assign(row=labels, last=place)
    models = sort_rows(models, by=["last", "method", "latent_dim"], names=names)
    grid = make_grid(
        models,
        title="Model",
        rows=dict(zip(models["row"], models["row"], strict=True)),
        groups=[
            NO_MODEL if method in CONTROLS else methods[method]
            for method in models.drop_duplicates("row")["method"]
        ],
        names=names,
        notes=[
            *[INFORMATION_NOTE] * (AUTOENCODER + INFORMED in set(rows["method"])),
            *[NOTE] * (LINEAR in set(rows["method"])),
            *dataset_notes.values(),
        ],
    )
    label = "tab:latent-dimension"
    write_grid(grid, title=TITLE, label=label, markdown=markdown, latex=latex, html=html)
    shown = distinct_splits(summary[summary["metric"].isin(list(TABLE_METRICS))])
    by = ["method", "latent_dim", "dataset", "metric", "split"]
    write_table(percent_rows(shown, by=by, names=names), table)


if __name__ == "__main__":
    from medae.base.scripts import run_script

    run_script(or_sentence(tabulate_latent_dimension), snakemake)
