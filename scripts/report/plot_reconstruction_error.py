"""Draw the mean reconstruction error against the latent dimension.

One panel per dataset and method (the swept networks, and PCA) with the error on normal training,
normal test and abnormal test images of the full test set, and on the normal ones without a
copy in training, where some have one. Answers the paper's figure of reconstruction errors, whose
inset of large d the logarithmic axis replaces.
"""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

from medae.evaluation.splits import LEAK_FREE_SPLIT, PUBLISHED_SPLIT
from medae.evaluation.summary import sort_rows
from medae.report import figures
from medae.report.rows import read_metrics, swept_methods

IMAGES = {  # metric, split -> label, and how it is drawn
    ("error_train_normal", PUBLISHED_SPLIT): (
        "normal, training",
        {"color": figures.NORMAL_TRAIN, "marker": "s"},
    ),
    ("error_test_normal", PUBLISHED_SPLIT): ("normal, test", {"color": figures.NORMAL}),
    ("error_test_normal", LEAK_FREE_SPLIT): (
        "normal, leak-free test set",
        {"color": figures.NORMAL, "line": "--"},
    ),
    ("error_test_abnormal", PUBLISHED_SPLIT): (
        "abnormal, test",
        {"color": figures.ABNORMAL, "marker": "^"},
    ),
}
ERROR = "mean squared error\n(intensities in [−1, 1])"


def draw_curves(axes: Axes, metrics: pd.DataFrame, *, inches: float) -> None:
    """Draw the curves of one dataset and method on an axis `inches` long."""
    for (metric, split), (label, look) in IMAGES.items():
        errors = metrics[(metrics["metric"] == metric) & (metrics["split"] == split)]
        if len(errors):  # a class of test images may be meant to be missing
            figures.draw_sweep(axes, errors, label=label, **look)
    figures.latent_axis(axes, metrics["latent_dim"], inches=inches)


def plot_reconstruction_error(
    *, metrics: Path, names: Mapping[str, str], methods: Mapping[str, str]
) -> Figure:
    """Draw the errors of the table `metrics`; axes' labels: "{dataset} {method}"."""
    table = read_metrics(metrics)
    swept = swept_methods(table)
    drawn = pd.MultiIndex.from_frame(table[["metric", "split"]]).isin(list(IMAGES))
    table = table[drawn & table["method"].isin(swept)]
    table = sort_rows(table, by=["dataset"], names=names)
    panels = dict(list(table.groupby(["dataset", "method"], sort=False)))
    rows, columns = figures.grid_shape(len(panels), columns=2)
    width = figures.PANEL_WIDTH if columns == 1 else figures.PAGE_WIDTH
    inches = width / columns - 0.6
    figure = Figure(figsize=(width, 2.15 * rows + 0.75), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.07)  # inches, to part the columns
    for place, ((key, method), part) in enumerate(panels.items(), start=1):
        axes = figure.add_subplot(rows, columns, place, label=f"{key} {method}")
        draw_curves(axes, part, inches=inches)
        axes.set(xlabel="latent dimension $d$", ylabel=ERROR, yscale="log")
        tested = part.loc[part["metric"] != "error_train_normal", "value"]
        if len(tested):  # training errors of PCA vanish where d reaches the number of images
            axes.set_ylim(bottom=max(axes.get_ylim()[0], 0.2 * tested.min()))
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_locator(NullLocator())
        name = f"{names[key]}, {methods[method]}" if len(swept) > 1 else names[key]
        figures.set_title(axes, name, note=figures.image_counts(part))
    title = f"{figures.seeds_note(table)}; {figures.COUNTED}"
    options = {"ncols": 3 if columns > 1 else 1, "title": title}
    figures.add_legend(figure, loc="outside lower center", **options)
    return figure


if __name__ == "__main__":
    from medae.base.scripts import run_script

    run_script(figures.saved(plot_reconstruction_error), snakemake)
