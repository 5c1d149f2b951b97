"""Draw the methods at one latent dimension, with bootstrap intervals and the published numbers.

Inputs: `metrics` (metrics.tsv), `intervals` (a table of bootstrap intervals per dataset) and
`paper` (paper_values.tsv, in percent).
Parameters: `names` and `methods`, the display names of datasets and methods, in the order of
columns and lines; `latent_dim` of all methods.
Outputs: `pdf` and `png`: rows of AUC and AP with a column per dataset, below them AP_pix and the
best Dice of the datasets that have masks. A method has a line in each panel, its 95 % interval over
test images, around the mean over seeds; faint dots are the single seeds. The last method is an
oracle, the autoencoder at its best d by test AUC; the published one has the paper's best d.
Answers the paper's Table 2.
Fails when the metrics have no method to draw, or intervals are no such table.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from medae import figures
from medae.comparison import (
    ORACLE,
    add_statistics,
    compared_rows,
    oracle_dimensions,
    read_intervals,
)
from medae.errors import InputError
from medae.files import read_table
from medae.tables import summarise

COLUMNS = 4
METRICS = {"auc": "AUC (%)", "ap": "AP (%)"}
PIXEL_METRICS = {"ap_pix": r"AP$_{\mathrm{pix}}$ (%)", "dice_max": "⌈Dice⌉ (%)"}
ORACLE_NAME = "AE[$d_{\\mathrm{optimal}}$]\n(oracle)"
WIDTHS = {1: figures.PANEL_WIDTH}  # inches by number of columns; else the page's
LINE = 0.2  # inches between two methods
ABOVE, BELOW = 0.25, 0.32  # of that: how far seeds are above and published numbers below a mean
GAP = 0.6  # of that: more distance before the oracle
Cell = tuple[str, str] | None


def draw_panel(
    axes: Axes,
    *,
    seeds: pd.DataFrame,
    means: pd.DataFrame,
    published: pd.DataFrame,
    methods: Sequence[str],
) -> None:
    """Draw one metric of one dataset; `seeds` and `means` are fractions, `published` percent.

    `seeds` has a row per method and seed (column value), `means` one per method (mean, low, high),
    and `published` one per method (mean, std). `methods` are the lines, from the top.
    """
    places = {method: place + GAP * (method == ORACLE) for place, method in enumerate(methods)}
    several = seeds["seed"].nunique() > 1
    if several:
        at = 100 * seeds["value"], seeds["method"].map(places) - ABOVE
        axes.scatter(*at, s=8, color=figures.BLUE, alpha=0.35, linewidth=0, label="single seeds")
    axes.hlines(
        *(means["method"].map(places), 100 * means["low"], 100 * means["high"]),
        **{"color": figures.BLUE, "linewidth": 1.2},
        label="95 % interval over test images",
    )
    for is_oracle, rows in means.groupby(means["method"] == ORACLE):
        style = {"markerfacecolor": "white" if is_oracle else figures.BLUE, "linestyle": ""}
        label = "this run, mean over seeds" if several else "this run (1 seed)"
        label = "oracle: $d$ chosen by test AUC" if is_oracle else label
        at = 100 * rows["mean"], rows["method"].map(places)
        axes.plot(*at, marker="o", color=figures.BLUE, label=label, zorder=3, **style)
    if not published.empty:
        axes.errorbar(
            *(published["mean"], published["method"].map(places) + BELOW),
            xerr=published["std"],
            **{"fmt": "D", "markersize": 2.5, "markerfacecolor": "white", "color": figures.BLACK},
            **{"elinewidth": 0.8, "capsize": 1.5, "label": "published (mean ± std)"},
        )
    for row in means[means["method"] == ORACLE].itertuples():
        above = {"xytext": (0, 6), "textcoords": "offset points", "ha": "center"}
        axes.annotate(f"$d$ = {row.latent_dim}", (100 * row.mean, places[ORACLE]), **above)
    axes.grid(axis="x")
    axes.margins(x=0.08)
    axes.locator_params(axis="x", nbins=5, steps=[1, 2, 5, 10])
    axes.tick_params(axis="y", length=0)
    axes.set_yticks(list(places.values()))
    axes.set_ylim(max(places.values()) + 0.7, -0.6)


def arrange(datasets: Sequence[str], masked: Sequence[str]) -> list[list[Cell]]:
    """Return the rows of the figure: cells (dataset, metric), None where nothing stands."""
    columns = figures.grid_shape(len(datasets), columns=COLUMNS)[1]
    blocks = [datasets[start : start + columns] for start in range(0, len(datasets), columns)]
    rows: list[list[Cell]]
    rows = [[(key, metric) for key in block] for block in blocks for metric in METRICS]
    pixels = [(key, metric) for key in masked for metric in PIXEL_METRICS]
    rows += [pixels[start : start + columns] for start in range(0, len(pixels), columns)]
    return [row + [None] * (columns - len(row)) for row in rows]


def select(
    metrics: pd.DataFrame,
    drawn: pd.DataFrame,
    paper: pd.DataFrame,
    *,
    methods: Sequence[str],
    latent_dim: int,
) -> dict[str, pd.DataFrame]:
    """Return what is drawn, as `draw_panel` takes it, of all datasets and metrics.

    Raises InputError when there is none of the `methods` at `latent_dim` and no oracle.
    """
    summary = summarise(metrics)
    ours = {"latent_dim": latent_dim, "oracle": oracle_dimensions(summary)}
    theirs = {"latent_dim": latent_dim, "oracle": oracle_dimensions(paper)}
    tables = {
        "seeds": compared_rows(metrics, **ours),
        "means": add_statistics(compared_rows(summary, **ours), compared_rows(drawn, **ours)),
        "published": compared_rows(paper, **theirs),
    }
    shown = {*methods, ORACLE} & set(tables["means"]["method"])
    if not shown:
        raise InputError(
            f"There are no metrics of {', '.join(methods)} with d = {latent_dim} to draw. Check "
            "the grid of the configuration, and run the workflow again."
        )
    return {name: table[table["method"].isin(shown)] for name, table in tables.items()}


def draw(
    tables: Mapping[str, pd.DataFrame], *, names: Mapping[str, str], methods: Mapping[str, str]
) -> Figure:
    """Draw the figure from the tables of `select`; an axes' label is "{dataset} {metric}"."""
    means = tables["means"]
    labels = {**methods, ORACLE: ORACLE_NAME}
    labels = {key: label for key, label in labels.items() if key in set(means["method"])}
    masked = set(means.loc[means["metric"].isin(list(PIXEL_METRICS)), "dataset"])
    datasets = figures.dataset_order(means, dict(names))
    rows = arrange(datasets, [key for key in datasets if key in masked])
    columns = len(rows[0])
    height = len(rows) * (LINE * (len(labels) + GAP) + 0.62) + 0.4
    figure = Figure(figsize=(WIDTHS.get(columns, figures.PAGE_WIDTH), height), layout="constrained")
    grid = figure.add_gridspec(len(rows), columns)
    cells = {cell: (i, j) for i, row in enumerate(rows) for j, cell in enumerate(row) if cell}
    for (key, metric), (i, j) in cells.items():
        axes = figure.add_subplot(grid[i, j], label=f"{key} {metric}")
        parts = {}
        for name, table in tables.items():
            parts[name] = table[(table["dataset"] == key) & (table["metric"] == metric)]
        draw_panel(axes, **parts, methods=list(labels))
        axes.set_yticklabels(labels.values() if j == 0 else [])
        axes.set_xlabel((METRICS | PIXEL_METRICS)[metric])
        if metric == "auc":
            figures.set_title(axes, names[key], note=figures.image_counts(parts["means"]))
        elif metric in PIXEL_METRICS and columns > 1:
            axes.set_title(names[key], fontweight="bold")
    corner = rows[-1][-2:] == [None, None]  # an empty corner that is wide enough for the legend
    figures.add_legend(figure, loc="lower right" if corner else "outside lower center")
    return figure


def plot_methods(
    *,
    metrics: Path,
    intervals: Sequence[Path],
    paper: Path,
    names: Mapping[str, str],
    methods: Mapping[str, str],
    latent_dim: int,
    pdf: Path,
    png: Path,
) -> None:
    """Draw `metrics`, `intervals` and the published values `paper`, and write `pdf` and `png`."""
    tables = figures.read_metrics(metrics), read_intervals(intervals), read_table(paper)
    with figures.house_style():
        chosen = select(*tables, methods=list(methods), latent_dim=latent_dim)
        figures.save_figure(draw(chosen, names=names, methods=methods), pdf=pdf, png=png)


if __name__ == "__main__":
    from medae.logs import script_logging

    with script_logging(snakemake.log[0]):
        plot_methods(
            metrics=Path(snakemake.input.metrics),
            intervals=[Path(path) for path in snakemake.input.intervals],
            paper=Path(snakemake.input.paper),
            names=snakemake.params.names,
            methods=snakemake.params.methods,
            latent_dim=snakemake.params.latent_dim,
            pdf=Path(snakemake.output.pdf),
            png=Path(snakemake.output.png),
        )
