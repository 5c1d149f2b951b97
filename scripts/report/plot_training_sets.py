"""Draw the retraining control: AUC against the latent dimension, one line per training set.

Input: the collected table of metrics. Parameter: `names`, the datasets' display names, in the order
wanted.
Outputs: `pdf` and `png`, one panel per dataset and method with several latent dimensions, on the
published test set; dotted lines are the baseline that takes the nearest training image. Where no
training set leaves out images, the figure is a sentence.
Fails when the table of metrics is missing or damaged.
"""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from medae.base.files import read_table
from medae.evaluation.splits import PUBLISHED_SPLIT
from medae.report import figures
from medae.report.retraining import TRAINING_SET_NAMES, retrained_rows, training_sizes

COLORS = {
    "all": figures.BLUE,
    "without_twins": figures.VERMILLION,
    "without_random": figures.GREEN,
}
NEAREST = "nearest"
NOTHING = "No model was trained on training sets that differ."
COLUMNS = 2
HEIGHT = 2.1  # inches of a panel


def draw_panel(axes: Axes, rows: pd.DataFrame, nearest: pd.DataFrame) -> None:
    """Draw the lines of one dataset and method; `nearest` are the rows of that baseline."""
    axes.axhline(50, color="0.8", linewidth=0.8, zorder=0)
    for key, color in COLORS.items():
        part, level = (one[one["training_set"] == key] for one in (rows, nearest))
        if len(part):
            label = TRAINING_SET_NAMES[key]
            figures.draw_sweep(axes, part, color=color, label=label, scale=100)
        if len(level):
            axes.axhline(100 * level["value"].mean(), color=color, linewidth=0.9, linestyle=":")
    if len(nearest):
        axes.plot([], [], color=figures.BLACK, linestyle=":", label="nearest training image")


def draw(metrics: pd.DataFrame, names: Mapping[str, str]) -> Figure:
    """Draw the figure from the rows of `retrained_rows`; labels of axes: "{dataset} {method}"."""
    rows = metrics[(metrics["split"] == PUBLISHED_SPLIT) & (metrics["metric"] == "auc")]
    panels = panels_of(rows, names)
    if not panels:
        figure = Figure(figsize=(figures.PANEL_WIDTH, 0.6))
        figure.text(0.5, 0.5, NOTHING, ha="center", va="center")
        return figure
    high, wide = figures.grid_shape(len(panels), columns=COLUMNS)
    figure = Figure(figsize=(figures.PAGE_WIDTH, HEIGHT * high + 0.4), layout="constrained")
    sizes = {size for size in rows["latent_dim"] if size}
    shared = None
    for place, (dataset, method) in enumerate(panels):
        label = f"{dataset} {method}"
        axes = figure.add_subplot(high, wide, place + 1, label=label, sharey=shared)
        shared = shared or axes
        own = rows[rows["dataset"] == dataset]
        draw_panel(axes, own[own["method"] == method], own[own["method"] == NEAREST])
        figures.latent_axis(axes, sizes, inches=figures.PAGE_WIDTH / wide - 0.5)
        counts = " / ".join(training_sizes(own[own["method"] == method]).values())
        title = f"{names[dataset]}, {figures.method_name(method)}"
        figures.set_title(axes, title, note=f"{counts} training images")
        axes.set_xlabel("latent dimension d")
        if place % wide == 0:
            axes.set_ylabel("AUC (%)")
    figures.add_legend(figure, loc="outside upper center", ncols=4)
    return figure


def panels_of(rows: pd.DataFrame, names: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the datasets, in the order of `names`, with the methods that are swept in `rows`."""
    return [
        (dataset, method)
        for dataset in figures.dataset_order(rows, names)
        for method in figures.swept_methods(rows[rows["dataset"] == dataset])
    ]


def plot_training_sets(*, metrics: Path, names: Mapping[str, str], pdf: Path, png: Path) -> None:
    """Draw the table `metrics`, and write `pdf` and `png`."""
    rows = retrained_rows(read_table(metrics))
    with figures.house_style():
        figures.save_figure(draw(rows, names), pdf=pdf, png=png)


if __name__ == "__main__":
    from medae.base.logs import script_logging

    with script_logging(snakemake.log[0]):
        plot_training_sets(
            metrics=Path(snakemake.input.metrics),
            names=snakemake.params.names,
            pdf=Path(snakemake.output.pdf),
            png=Path(snakemake.output.png),
        )
