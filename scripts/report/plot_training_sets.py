"""Draw the retraining control: AUC against the latent dimension, one line per training set.

One panel per dataset and method with several latent dimensions, on the full test set; dotted
lines are the baseline that takes the nearest training image. Where training sets leave out
(nearly) no images, the figure is a sentence.
"""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from medae.base.files import read_table
from medae.evaluation.splits import PUBLISHED_SPLIT
from medae.report import figures
from medae.report.rows import (
    TRAINING_SET_NAMES,
    NothingToShowError,
    dataset_order,
    retrained_rows,
    swept_methods,
    training_sizes,
)

COLORS = [figures.BLUE, figures.VERMILLION, figures.GREEN]  # of the training sets
NEAREST = "nearest"


def draw_panel(axes: Axes, rows: pd.DataFrame, nearest: pd.DataFrame) -> None:
    """Draw the lines of one dataset and method; `nearest` are the rows of that baseline."""
    axes.axhline(50, color="0.8", linewidth=0.8, zorder=0)
    for (key, label), color in zip(TRAINING_SET_NAMES.items(), COLORS, strict=True):
        part, level = (one[one["training_set"] == key] for one in (rows, nearest))
        if len(part):
            figures.draw_sweep(axes, part, color=color, label=label, scale=100)
        if len(level):
            axes.axhline(100 * level["value"].mean(), color=color, linewidth=0.9, linestyle=":")
    if len(nearest):
        axes.plot([], [], color=figures.BLACK, linestyle=":", label="nearest training image")


def plot_training_sets(
    *, metrics: Path, names: Mapping[str, str], methods: Mapping[str, str]
) -> Figure:
    """Draw the table `metrics`; axes' labels: "{dataset} {method}"."""
    rows = retrained_rows(read_table(metrics))
    rows = rows[(rows["split"] == PUBLISHED_SPLIT) & (rows["metric"] == "auc")]
    panels = [
        (dataset, method)
        for dataset in dataset_order(rows, names)
        for method in swept_methods(rows[rows["dataset"] == dataset])
    ]
    if not panels:
        raise NothingToShowError("No method was retrained with several latent dimensions.")
    high, wide = figures.grid_shape(len(panels), columns=2)
    figure = Figure(figsize=(figures.PAGE_WIDTH, 2.1 * high + 0.4), layout="constrained")
    sizes = {size for size in rows["latent_dim"] if size}
    shared = None
    for place, (dataset, method) in enumerate(panels, start=1):
        label = f"{dataset} {method}"
        axes = figure.add_subplot(high, wide, place, label=label, sharey=shared)
        shared = shared or axes
        own = rows[rows["dataset"] == dataset]
        draw_panel(axes, own[own["method"] == method], own[own["method"] == NEAREST])
        figures.latent_axis(axes, sizes, inches=figures.PAGE_WIDTH / wide - 0.5)
        counts = " / ".join(training_sizes(own[own["method"] == method]).values())
        title = f"{names[dataset]}, {methods[method]}"
        figures.set_title(axes, title, note=f"{counts} training images")
        axes.set_xlabel("latent dimension d")
        if axes.get_subplotspec().is_first_col():
            axes.set_ylabel("AUC (%)")
    figures.add_legend(figure, loc="outside upper center", ncols=4)
    return figure


if __name__ == "__main__":
    from medae.base.scripts import run_script

    run_script(figures.saved(plot_training_sets), snakemake)
