"""Draw the metrics against the latent dimension, on both test sets, with the paper's numbers.

Rows of AUC and AP with a column per dataset; below them AP_pix and the best Dice of the datasets
with masks. A colour is a method: the networks with several latent dimensions, PCA, and as a level
without d the nearest training image. Bands are ± one standard deviation over seeds,
faint dots the single seeds. Grey lines are what a random score has. Answers the paper's Table 1.
"""

from collections.abc import Mapping
from itertools import cycle, pairwise
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from medae.evaluation.splits import PUBLISHED_SPLIT
from medae.models.baselines import BASELINES
from medae.report import figures
from medae.report.figures import SPLIT_LINES
from medae.report.rows import SPLIT_NAMES, check_ranked, read_metrics, read_paper, swept_methods

LEVEL = "nearest"
HEIGHT = 1.85  # inches of a row


def draw_panel(
    axes: Axes, *, ours: pd.DataFrame, paper: pd.DataFrame, labels: dict, methods: Mapping[str, str]
) -> None:
    """Draw a metric of a dataset: `ours` fractions, `paper` percent, `labels` of our methods."""
    for (method, label), colors in zip(labels.items(), cycle(figures.PAIRS), strict=False):
        for split, line in SPLIT_LINES.items():
            seeds = ours[(ours["method"] == method) & (ours["split"] == split)]
            if seeds.empty:
                continue
            look = {"line": line, "marker": "o" if split == PUBLISHED_SPLIT else "."}
            shown = label if split == PUBLISHED_SPLIT else None
            figures.draw_sweep(axes, seeds, scale=100, color=colors[0], label=shown, **look)
        theirs = paper[paper["method"] == method]
        if not theirs.empty:
            figures.draw_paper(axes, theirs, color=colors[1], name=methods[method])
    for level in ours[ours["method"] == LEVEL].itertuples():
        label = methods[LEVEL] if level.split == PUBLISHED_SPLIT else None
        look = {"color": figures.GREEN, "linestyle": SPLIT_LINES[level.split], "linewidth": 0.8}
        axes.axhline(100 * level.value, label=label, **look)
    axes.grid(axis="y")


def plot_latent_dimension(
    *,
    metrics: Path,
    paper: Path,
    papers: Mapping[str, str],
    names: Mapping[str, str],
    methods: Mapping[str, str],
    dataset_notes: Mapping[str, str],
) -> Figure:
    """Draw `metrics` and the paper's values, in percent; axes' labels: "{dataset} {metric}".

    `papers` has the key of each dataset in the paper's tables.
    """
    table, published = read_metrics(metrics), read_paper(paper, papers)
    check_ranked(table)
    table = table[table["metric"].isin(figures.LABELS)]
    methods = {key: figures.plain(name) for key, name in methods.items()}
    labels = {}
    for key in swept_methods(table):
        seeds = figures.seeds_note(table[table["method"] == key])
        labels[key] = methods[key] if key in BASELINES else f"{methods[key]}, {seeds}"
    table = table[table["method"].isin([*labels, LEVEL])]
    rows = figures.arrange_metrics(table, names)
    figure = Figure(figsize=(figures.PAGE_WIDTH, HEIGHT * len(rows) + 0.7), layout="constrained")
    panels = figures.add_panels(figure, rows, metrics=table, names=names)
    inches = figures.PAGE_WIDTH / len(rows[0]) - 0.38
    for (key, metric), axes in panels.items():
        ours, theirs = (
            part[(part["dataset"] == key) & (part["metric"] == metric)]
            for part in (table, published[published["method"].isin(labels)])
        )
        draw_panel(axes, ours=ours, paper=theirs, labels=labels, methods=methods)
        figures.draw_chance(axes, ours, metric)
        sizes = [*ours.loc[ours["method"] != LEVEL, "latent_dim"], *theirs["latent_dim"]]
        figures.latent_axis(axes, sizes, inches=inches)
        axes.set_xlabel("latent dimension $d$")
    for row in rows:
        for left, cell in pairwise([None, *row]):
            if cell and (left is None or left[1] != cell[1]):
                panels[cell].set_ylabel(figures.LABELS[cell[1]])
    first = next(iter(panels.values()))
    for split in [split for split in SPLIT_LINES if split in set(table["split"])]:
        first.plot([], [], color="0.3", linestyle=SPLIT_LINES[split], label=SPLIT_NAMES[split])
    title = figures.legend_title(figures.counted(table), dataset_notes)
    figures.add_legend(figure, loc="outside lower center", ncols=3, title=title)
    return figure


if __name__ == "__main__":
    from medae.base.scripts import run_script

    run_script(figures.saved(plot_latent_dimension), snakemake)
