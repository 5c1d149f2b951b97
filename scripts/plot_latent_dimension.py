"""Draw the detection metrics against the latent size, with the published numbers beside them.

Inputs: `metrics` (metrics.tsv) and `paper` (paper_values.tsv, in percent). Parameter: `names`,
dataset key -> display name, in the order of the columns.
Outputs: `pdf` and `png`: rows of AUC and AP with a column per dataset; below them AP_pix and the
best Dice of the datasets with masks. Bands are ± one standard deviation over seeds, faint dots the
single seeds. Answers the paper's Table 1. Fails without metrics of the published split.
"""

from itertools import chain, cycle
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from medae import figures
from medae.files import read_table

COLUMNS = 4
METRICS = {"auc": "AUC (%)", "ap": "AP (%)"}
PIXEL_METRICS = {"ap_pix": r"AP$_{\mathrm{pix}}$ (%)", "dice_max": "⌈Dice⌉ (%)"}
LABELS = METRICS | PIXEL_METRICS


def draw_panel(axes: Axes, *, ours: pd.DataFrame, paper: pd.DataFrame, notes: dict) -> None:
    """Draw a metric of a dataset: `ours` fractions, `paper` percent, `notes` on our methods."""
    for (method, note), colors in zip(notes.items(), cycle(figures.PAIRS), strict=False):
        name = figures.method_name(method)
        seeds, published = (table[table["method"] == method] for table in (ours, paper))
        if not seeds.empty:
            figures.draw_sweep(axes, seeds, scale=100, color=colors[0], label=f"{name}, {note}")
        if not published.empty:
            label = f"{name}, published (mean ± std)"
            figures.draw_published(axes, published, color=colors[1], label=label)
    axes.grid(axis="y")


def arrange(datasets: list[str], *, masked: list[str]) -> list[list[tuple[str, str] | None]]:
    """Return rows of cells (dataset, metric); those of pixel metrics end at the right border."""
    columns = figures.grid_shape(len(datasets), columns=COLUMNS)[1]
    pixels = figures.metric_rows(masked, PIXEL_METRICS, columns=columns)
    if 1 <= len(masked) <= columns // len(PIXEL_METRICS):
        pixels = [[*chain(*pixels)]]  # all in one row
    rows = figures.metric_rows(datasets, METRICS, columns=columns)
    return rows + [[None] * (columns - len(row)) + row for row in pixels]


def draw(metrics: pd.DataFrame, paper: pd.DataFrame, names: dict[str, str]) -> Figure:
    """Draw the figure; an axes' label is "{dataset} {metric}"."""
    methods = figures.swept_methods(metrics)
    notes = {key: figures.seeds_note(metrics[metrics["method"] == key]) for key in methods}
    metrics = metrics[metrics["method"].isin(methods)]
    masked = figures.dataset_order(metrics[metrics["metric"].isin(PIXEL_METRICS)], names)
    rows = arrange(figures.dataset_order(metrics, names), masked=masked)
    columns = len(rows[0])
    width = min(figures.PANEL_WIDTH * columns, figures.PAGE_WIDTH)
    figure = Figure(figsize=(width, 1.4 * len(rows) + 0.5), layout="constrained")
    grid = figure.add_gridspec(len(rows), columns)
    cells = {cell: (i, j) for i, row in enumerate(rows) for j, cell in enumerate(row) if cell}
    for (key, metric), (i, j) in cells.items():
        ours = metrics.query("dataset == @key and metric == @metric")
        theirs = paper.query("dataset == @key and metric == @metric and method in @methods")
        axes = figure.add_subplot(grid[i, j], label=f"{key} {metric}")
        draw_panel(axes, ours=ours, paper=theirs, notes=notes)
        sizes = [*ours["latent_dim"], *theirs["latent_dim"]]
        figures.latent_axis(axes, sizes, inches=width / columns - 0.38)
        axes.set_ylabel(LABELS[metric] if j == 0 else "")
        if metric == "auc":
            figures.set_title(axes, names[key], note=figures.image_counts(ours))
        else:
            axes.set_xlabel("latent dimension $d$")
        if metric in PIXEL_METRICS and columns > 1:
            figures.set_title(axes, names[key], note=LABELS[metric])
    room = rows[-1][:2] == [None, None]  # enough for the legend in the last row
    figures.add_legend(figure, loc="lower left" if room else "outside lower center")
    return figure


def plot_latent_dimension(
    *, metrics: Path, paper: Path, names: dict[str, str], pdf: Path, png: Path
) -> None:
    """Draw `metrics` and the published values `paper`, and write `pdf` and `png`."""
    with figures.house_style():
        drawn = draw(figures.read_metrics(metrics), read_table(paper), names)
        figures.save_figure(drawn, pdf=pdf, png=png)


if __name__ == "__main__":
    from medae.logs import script_logging

    with script_logging(snakemake.log[0]):
        plot_latent_dimension(
            metrics=Path(snakemake.input.metrics),
            paper=Path(snakemake.input.paper),
            names=snakemake.params.names,
            pdf=Path(snakemake.output.pdf),
            png=Path(snakemake.output.png),
        )
