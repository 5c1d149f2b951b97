"""Draw methods and baselines on both test sets, with bootstrap intervals and the paper's numbers.

Rows of AUC and AP with a column per dataset, below them AP_pix and the best Dice of the datasets
that have masks. A method has a line in each panel, with the mean over seeds and its 95 % interval
over test images on either test set; small ticks are the single seeds. After the networks comes an
oracle, the autoencoder at its best d by AUC on the published test set (the paper's has the paper's
best d); then the baselines. Grey lines are what a random score has. Answers the paper's Table 2.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from medae.base.errors import InputError
from medae.base.files import read_table
from medae.evaluation.splits import LEAK_FREE_SPLIT, PUBLISHED_SPLIT
from medae.evaluation.summary import summarise
from medae.models.baselines import BASELINES
from medae.report import figures
from medae.report.rows import (
    ORACLE,
    SPLIT_NAMES,
    add_statistics,
    compared_rows,
    oracle_dimensions,
    read_intervals,
    read_metrics,
    row_labels,
)

ORACLE_NAME = "AE, best $d$ (oracle)"
LINE = 0.175  # inches between two methods
GAP = 0.7  # of that: more distance before the baselines; here stands the oracle's d
STEP = 0.27  # of that: distance between published test set, paper and leak-free one
STYLES = {  # split: marker, filling, colour, and steps below the paper
    PUBLISHED_SPLIT: ("o", figures.BLUE, figures.BLUE, -1),
    LEAK_FREE_SPLIT: ("s", "white", figures.VERMILLION, 1),
}


def place_lines(methods: Sequence[str]) -> dict[str, float]:
    """Return how far down each method's line is, in lines; baselines stand apart."""
    return {method: place + GAP * (method in BASELINES) for place, method in enumerate(methods)}


def draw_panel(
    axes: Axes,
    *,
    seeds: pd.DataFrame,
    means: pd.DataFrame,
    paper: pd.DataFrame,
    places: Mapping[str, float],
    middle: float,
) -> None:
    """Draw one metric of one dataset; `seeds` and `means` are fractions, `paper` percent.

    `seeds` has a row per method, split and seed (column value), `means` one per method and split
    (mean, low, high), and `paper` one per method (mean, std). `places` has the methods' lines, and
    `middle` says how far below these the paper's numbers are.
    """
    several = seeds["seed"].nunique() > 1
    for split, (marker, filling, color, steps) in STYLES.items():
        rows, single = (table[table["split"] == split] for table in (means, seeds))
        if rows.empty:
            continue
        below = middle + steps * STEP
        at = rows["method"].map(places) + below
        axes.hlines(at, 100 * rows["low"], 100 * rows["high"], color=color, linewidth=1)
        style = {"markerfacecolor": filling, "markersize": 3, "linestyle": "", "zorder": 3}
        axes.plot(
            100 * rows["mean"], at, marker=marker, color=color, label=SPLIT_NAMES[split], **style
        )
        if several:
            at = single["method"].map(places) + below
            label = "single seeds" if split == PUBLISHED_SPLIT else None
            style = {"marker": "|", "s": 14, "linewidth": 0.6, "color": "0.2", "label": label}
            axes.scatter(100 * single["value"], at, zorder=2, **style)
    if not paper.empty:
        axes.errorbar(
            *(paper["mean"], paper["method"].map(places) + middle),
            xerr=paper["std"],
            **{"fmt": "D", "markersize": 2.5, "markerfacecolor": "white", "color": figures.BLACK},
            **{"elinewidth": 0.8, "capsize": 1.5, "label": "paper (mean ± std)"},
        )
    for row in means[
        (means["method"] == ORACLE) & (means["split"] == PUBLISHED_SPLIT)
    ].itertuples():
        at = 100 * row.mean, places[ORACLE] + 0.85
        axes.text(*at, f"$d$ = {row.latent_dim}", ha="center", va="center")


def draw_axes(axes: Axes, *, means: pd.DataFrame, metric: str, places: Mapping[str, float]) -> None:
    """Draw chance and the lines of the grid, and set the limits of one panel."""
    figures.draw_chance(axes, means, metric, across="y")
    axes.grid(axis="x")
    axes.margins(x=0.08)
    axes.locator_params(axis="x", nbins=5, steps=[1, 2, 5, 10])
    axes.tick_params(axis="y", length=0)
    axes.set_yticks(list(places.values()))
    axes.set_ylim(max(places.values()) + 0.7 + GAP * (list(places)[-1] == ORACLE), -0.7)
    axes.set_xlabel(figures.LABELS[metric])


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
    published = summary[summary["split"] == PUBLISHED_SPLIT]
    ours = {"latent_dim": latent_dim, "picked": {ORACLE: oracle_dimensions(published)}}
    theirs = {"latent_dim": latent_dim, "picked": {ORACLE: oracle_dimensions(paper)}}
    tables = {
        "seeds": compared_rows(metrics, **ours),
        "means": add_statistics(compared_rows(summary, **ours), compared_rows(drawn, **ours)),
        "paper": compared_rows(paper, **theirs),
    }
    tables = {key: table[table["metric"].isin(figures.LABELS)] for key, table in tables.items()}
    shown = {*methods, ORACLE} & set(tables["means"]["method"])
    if not shown:
        raise InputError(
            f"There are no metrics of {', '.join(methods)} with d = {latent_dim} to draw. Check "
            "the grid of the configuration, and run the workflow again."
        )
    return {name: table[table["method"].isin(shown)] for name, table in tables.items()}


def plot_methods(
    *,
    metrics: Path,
    intervals: Sequence[Path],
    paper: Path,
    names: Mapping[str, str],
    methods: Mapping[str, str],
    latent_dim: int,
    dataset_notes: Mapping[str, str],
) -> Figure:
    """Draw `metrics`, `intervals` (a table per dataset) and the paper's values, in percent.

    `latent_dim` is that of all methods that have one. Axes' labels: "{dataset} {metric}". Raises
    InputError when there is no method to draw, or a table is of another kind.
    """
    ours = read_metrics(metrics, leak_free=True), read_intervals(intervals)
    tables = select(*ours, read_table(paper), methods=list(methods), latent_dim=latent_dim)
    means = tables["means"]
    labels = row_labels(methods, picked={ORACLE: ORACLE_NAME})
    rows = figures.arrange_metrics(means, names)
    places = {}  # of the metrics of images, and of pixels
    for kind in (figures.IMAGE_LABELS, figures.PIXEL_LABELS):
        measured = set(means.loc[means["metric"].isin(kind), "method"])
        places |= dict.fromkeys(kind, place_lines([key for key in labels if key in measured]))
    middle = 0 if LEAK_FREE_SPLIT in set(means["split"]) else STEP  # without it, ours at the tick
    heights = [LINE * (max(places[row[0][1]].values()) + 1.4 + GAP) + 0.5 for row in rows]
    figure = Figure(figsize=(figures.PAGE_WIDTH, sum(heights) + 0.65), layout="constrained")
    options = {"metrics": means, "names": names, "heights": heights}
    for (key, metric), axes in figures.add_panels(figure, rows, **options).items():
        parts = {}
        for name, table in tables.items():
            parts[name] = table[(table["dataset"] == key) & (table["metric"] == metric)]
        draw_panel(axes, **parts, places=places[metric], middle=middle)
        draw_axes(axes, means=parts["means"], metric=metric, places=places[metric])
        first = axes.get_subplotspec().is_first_col()
        axes.set_yticklabels([labels[method] for method in places[metric]] if first else [])
    seeds = tables["seeds"]["seed"].nunique()
    title = "this run (1 seed)" if seeds == 1 else f"this run (mean over {seeds} seeds)"
    title += f" with 95 % intervals over test images; {figures.COUNTED}"
    title = figures.legend_title(title, dataset_notes)
    figures.add_legend(figure, loc="outside lower center", ncols=3, title=title)
    return figure


if __name__ == "__main__":
    from medae.base.scripts import run_script

    run_script(figures.saved(plot_methods), snakemake)
