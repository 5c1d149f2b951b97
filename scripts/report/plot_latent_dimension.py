"""Draw the metrics against the latent size, on both test sets, with the paper's numbers.

Inputs: `metrics` (metrics.tsv) and `paper` (paper_values.tsv, in percent). Parameter: `names`,
dataset key -> display name, in the order of the columns.
Outputs: `pdf` and `png`: rows of AUC and AP with a column per dataset; below them AP_pix and the
best Dice of the datasets with masks. A colour is a method: the networks with several latent sizes,
PCA, and as a level without a latent size the nearest training image. Solid lines are of the
published test set, dashed ones of the leak-free one, where it is another. Bands are ± one standard
deviation over seeds, faint dots the single seeds. Grey lines are what a random score has. Answers
the paper's Table 1. Fails without metrics of the published split.
"""

from itertools import cycle, pairwise
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from medae.base.files import read_table
from medae.evaluation.splits import LEAK_FREE_SPLIT, PUBLISHED_SPLIT
from medae.models.baselines import BASELINES
from medae.report import figures

LEVEL = "nearest"
LINES = {PUBLISHED_SPLIT: "-", LEAK_FREE_SPLIT: "--"}
CHANCE = "0.65"
HEIGHT = 1.85  # inches of a row


def label_of(method: str, metrics: pd.DataFrame) -> str:
    """Return what the legend says of a method; the seeds of those that have any."""
    name = figures.method_name(method)
    return name if method in BASELINES else f"{name}, {figures.seeds_note(metrics)}"


def draw_panel(axes: Axes, *, ours: pd.DataFrame, paper: pd.DataFrame, labels: dict) -> None:
    """Draw a metric of a dataset: `ours` fractions, `paper` percent, `labels` of our methods."""
    for (method, label), colors in zip(labels.items(), cycle(figures.PAIRS), strict=False):
        for split, line in LINES.items():
            seeds = ours[(ours["method"] == method) & (ours["split"] == split)]
            if seeds.empty:
                continue
            style = {"line": line, "marker": "o" if split == PUBLISHED_SPLIT else "."}
            shown = label if split == PUBLISHED_SPLIT else None
            figures.draw_sweep(axes, seeds, scale=100, color=colors[0], label=shown, **style)
        theirs = paper[paper["method"] == method]
        if not theirs.empty:
            label = f"{figures.method_name(method)}, paper (mean ± std)"
            figures.draw_paper(axes, theirs, color=colors[1], label=label)
    axes.grid(axis="y")


def draw_levels(axes: Axes, *, ours: pd.DataFrame, metric: str) -> None:
    """Draw what has no latent size: the nearest training image, and chance."""
    for level in ours[ours["method"] == LEVEL].itertuples():
        label = figures.method_name(LEVEL) if level.split == PUBLISHED_SPLIT else None
        style = {"color": figures.GREEN, "linestyle": LINES[level.split], "linewidth": 0.8}
        axes.axhline(100 * level.value, label=label, **style)
    for split, level in figures.chance_levels(ours, metric).items():
        label = "chance" if split == PUBLISHED_SPLIT else None
        style = {"color": CHANCE, "linestyle": LINES[split], "linewidth": 1, "zorder": 1}
        axes.axhline(100 * level, label=label, **style)


def draw(metrics: pd.DataFrame, paper: pd.DataFrame, names: dict[str, str]) -> Figure:
    """Draw the figure; an axes' label is "{dataset} {metric}"."""
    methods = figures.swept_methods(metrics)
    labels = {key: label_of(key, metrics[metrics["method"] == key]) for key in methods}
    metrics = metrics[metrics["method"].isin([*methods, LEVEL])]
    rows = figures.arrange_metrics(metrics, names)
    figure = Figure(figsize=(figures.PAGE_WIDTH, HEIGHT * len(rows) + 0.7), layout="constrained")
    panels = figures.add_panels(figure, rows, metrics=metrics, names=names)
    inches = figures.PAGE_WIDTH / len(rows[0]) - 0.38
    for (key, metric), axes in panels.items():
        ours, theirs = (
            table[(table["dataset"] == key) & (table["metric"] == metric)]
            for table in (metrics, paper[paper["method"].isin(methods)])
        )
        draw_panel(axes, ours=ours, paper=theirs, labels=labels)
        draw_levels(axes, ours=ours, metric=metric)
        sizes = [*ours.loc[ours["method"] != LEVEL, "latent_dim"], *theirs["latent_dim"]]
        figures.latent_axis(axes, sizes, inches=inches)
        axes.set_xlabel("latent dimension $d$")
    for row in rows:
        for left, cell in pairwise([None, *row]):
            if cell and (left is None or left[1] != cell[1]):
                panels[cell].set_ylabel(figures.LABELS[cell[1]])
    first = next(iter(panels.values()))
    for split in [split for split in LINES if split in set(metrics["split"])]:
        label = f"{split.replace('_', '-')} test set"
        first.plot([], [], color="0.3", linestyle=LINES[split], label=label)
    options = {"ncols": 3, "title": figures.COUNTED}
    figures.add_legend(figure, loc="outside lower center", **options)
    return figure


def plot_latent_dimension(
    *, metrics: Path, paper: Path, names: dict[str, str], pdf: Path, png: Path
) -> None:
    """Draw `metrics` and the paper's values `paper`, and write `pdf` and `png`."""
    with figures.house_style():
        table = figures.read_metrics(metrics, leak_free=True)
        drawn = draw(table, read_table(paper), names)
        figures.save_figure(drawn, pdf=pdf, png=png)


if __name__ == "__main__":
    from medae.base.logs import script_logging

    with script_logging(snakemake.log[0]):
        plot_latent_dimension(
            metrics=Path(snakemake.input.metrics),
            paper=Path(snakemake.input.paper),
            names=snakemake.params.names,
            pdf=Path(snakemake.output.pdf),
            png=Path(snakemake.output.png),
        )
