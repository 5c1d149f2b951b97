"""Set the entropy of the latent vectors beside reconstruction errors and AUC.

Inputs: the tables of measure_entropy.py and the collected table of metrics, of which the rows with
all training images are used. The TSV has means over seeds, unrounded: bits per image, numbers of
dimensions, errors in squared [-1, 1] intensity units, AUC as a fraction. The figure has a column
per dataset: AUC and the error of normal test images against H(Z) (Gaussian, log axis). Networks are
swept by d; those whose latents are coded are swept by the weight of their rate, so they are one
line. Models without a measured H(Z) have no place on it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

from medae.base.files import read_table, write_table
from medae.evaluation.splits import LEAK_FREE_SPLIT, PUBLISHED_SPLIT
from medae.evaluation.summary import read_tables, sort_rows
from medae.report import figures
from medae.report.rows import SPLIT_NAMES, by_score, dataset_order
from medae.report.tables import MISSING, Section, write_sections
from medae.theory.plan import ENTROPY_COLUMNS

TITLE = "Entropy of the latent vector"
MODEL_KEY = ["dataset", "method", "latent_dim"]
SHOWN_COLUMNS = {  # column: (heading, factor, decimals)
    "gaussian_bits": ("H(Z) Gaussian", 1, 1),
    "knn_bits": ("H(Z) kNN", 1, 1),
    "rate_bits": ("Rate", 1, 1),
    "rate_test_bits": ("Rate, test", 1, 1),
    "stream_bits": ("Stream, test", 1, 1),
    "participation_ratio": ("Participation ratio", 1, 1),
    "dims_in_use": ("Dimensions in use", 1, 0),
    "error_test_normal": ("Error, normal", 1e4, 0),
    "error_test_abnormal": ("Error, abnormal", 1e4, 0),
    "auc_leak_free": ("AUC leak-free", 100, 1),
    "auc_published": ("AUC full test set", 100, 1),
}
FROM_METRICS = {  # column: (metric, split)
    "error_test_normal": ("error_test_normal", PUBLISHED_SPLIT),
    "error_test_abnormal": ("error_test_abnormal", PUBLISHED_SPLIT),
    "auc_leak_free": ("auc", LEAK_FREE_SPLIT),
    "auc_published": ("auc", PUBLISHED_SPLIT),
}
EXPLANATION = (
    "Means over seeds. H(Z), rates and streams are in bits per image. H(Z) is the information that "
    "the latent of a normal training image carries at the precision that its reconstruction needs: "
    "Gaussian, from the latents' covariance, an upper bound; kNN, from distances to nearest "
    "neighbours. Rate: code length under the method's own prior, mean over normal training images, "
    "or over all test images. Stream: length of a real code of the test images' latents, which was "
    "decoded again, with its header. Participation ratio and dimensions in use (0.1 bit or more) "
    "count directions of the latent space. Errors are mean squared errors of test images, in units "
    "of 0.0001 on the [-1, 1] scale; AUC is in percent, of the squared error as the score."
)
COLORS = [figures.BLUE, figures.VERMILLION, figures.GREEN, figures.PURPLE]
HEIGHT = 1.9  # inches of a row
WIDTH = 4  # datasets side by side


def compare_entropy(
    *,
    entropy: Sequence[Path],
    metrics: Path,
    names: Mapping[str, str],
    methods: Mapping[str, str],
    markdown: Path,
    html: Path,
    table: Path,
    pdf: Path,
    png: Path,
) -> None:
    """Write the table and the figure; `names` and `methods` are display names, in table order."""
    measured = read_tables(entropy, ENTROPY_COLUMNS)
    judged = by_score(read_table(metrics))
    judged = judged[judged["training_set"] == "all"]
    parts = [
        judged[(judged["metric"] == metric) & (judged["split"] == split)].assign(quantity=column)
        for column, (metric, split) in FROM_METRICS.items()
    ]
    means = pd.concat([measured, *parts]).pivot_table("value", MODEL_KEY, "quantity")
    means = means.reindex(columns=list(SHOWN_COLUMNS)).rename_axis(columns=None)
    models = pd.MultiIndex.from_frame(measured[MODEL_KEY].drop_duplicates())
    summary = means.loc[means.index.isin(models)].reset_index()
    summary["order"] = summary["method"].map(list(methods).index)
    summary = sort_rows(summary, by=["dataset", "order", "latent_dim"], names=names)
    summary = summary.drop(columns="order")
    sections = [Section(text=EXPLANATION)]
    sections += [
        Section(names[dataset], "", *printed_table(part, methods))
        for dataset, part in summary.groupby("dataset", sort=False)
    ]
    write_sections(TITLE, sections, markdown=markdown, html=html)
    write_table(summary, table)
    with figures.house_style():
        figures.save_figure(draw(summary, names, methods), pdf=pdf, png=png)


def printed_table(
    summary: pd.DataFrame, methods: Mapping[str, str]
) -> tuple[list[str], list[list[str]], str]:
    """Return header, rows and alignment of one dataset; without columns that no row has."""
    shown = {key: look for key, look in SHOWN_COLUMNS.items() if summary[key].notna().any()}
    rows = [
        [methods[row["method"]], str(row["latent_dim"])]
        + [
            MISSING if pd.isna(row[key]) else f"{factor * row[key]:.{decimals}f}"
            for key, (_, factor, decimals) in shown.items()
        ]
        for row in summary.to_dict("records")
    ]
    header = ["Method", "d", *(heading for heading, *_ in shown.values())]
    return header, rows, "lr" + "r" * len(shown)


def draw(summary: pd.DataFrame, names: Mapping[str, str], methods: Mapping[str, str]) -> Figure:
    """Draw the rows of the TSV; labels of axes: "{dataset} auc" and "{dataset} error"."""
    sweep = summary["method"].map(methods)
    sweep = sweep.mask(summary["stream_bits"].notna(), "Entropy AE, by λ")
    summary = summary.assign(sweep=sweep)[summary["gaussian_bits"] > 0]
    summary = summary.sort_values("gaussian_bits")
    colors = dict(zip(sweep.unique(), COLORS * len(sweep), strict=False))
    datasets = dataset_order(summary, names)
    columns = max(1, min(WIDTH, len(datasets)))
    rows = 2 * max(1, -(-len(datasets) // columns))
    size = (figures.PAGE_WIDTH, HEIGHT * rows + 0.7)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.add_gridspec(rows, columns)
    for place, dataset in enumerate(datasets):
        row, column = 2 * (place // columns), place % columns
        above = figure.add_subplot(grid[row, column], label=f"{dataset} auc")
        below = figure.add_subplot(grid[row + 1, column], label=f"{dataset} error")
        own = summary[summary["dataset"] == dataset]
        draw_panels(above, below, own, colors)
        above.set_title(figures.plain(names[dataset]), fontweight="bold")
        if column == 0:
            above.set_ylabel("AUC (%)")
            below.set_ylabel("error, normal")
    for split, line in figures.SPLIT_LINES.items() if datasets else ():
        label = SPLIT_NAMES[split]
        figure.axes[0].plot([], [], color="0.3", linestyle=line, label=label)
    figures.add_legend(figure, loc="outside lower center", ncols=3)
    return figure


def draw_panels(above: Axes, below: Axes, own: pd.DataFrame, colors: Mapping[str, str]) -> None:
    """Draw AUC and error of one dataset; one AUC where both test sets give the same."""
    same = own["auc_leak_free"].equals(own["auc_published"])
    for name, part in own.groupby("sweep"):
        look = {"color": colors[name], "marker": "o", "markersize": 2.5}
        for split, line in figures.SPLIT_LINES.items():
            if split == PUBLISHED_SPLIT or not same:
                above.plot(
                    part["gaussian_bits"], 100 * part[f"auc_{split}"], linestyle=line, **look
                )
        below.plot(part["gaussian_bits"], part["error_test_normal"], label=name, **look)
    for axes in (above, below):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.grid(axis="y")
    below.set_xlabel("H(Z), bits per image")


if __name__ == "__main__":
    from medae.base.scripts import run_script

    run_script(compare_entropy, snakemake)
