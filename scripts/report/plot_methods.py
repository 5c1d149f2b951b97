"""Draw methods and baselines with bootstrap intervals, by both scores, and the paper's numbers.

Rows of AUC and AP with a column per dataset and test set, below them AP_pix and the best Dice of
the datasets that have masks. A method has a line in each panel, with the mean over seeds and its
95 % interval over test images by its own score and by information; small ticks are the single
seeds. After the networks comes an oracle, the autoencoder at its best d by AUC on the full test set
(the paper's has the paper's best d); then the baselines. Grey lines are what a random score has.
Answers the paper's Table 2.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from medae.evaluation.splits import LEAK_FREE_SPLIT, PUBLISHED_SPLIT
from medae.evaluation.summary import summarise
from medae.models.baselines import BASELINES
from medae.models.information import INFORMATION, INFORMED
from medae.report import figures
from medae.report.rows import (
    ORACLE,
    add_statistics,
    at_one_share,
    check_ranked,
    compared_rows,
    oracle_dimensions,
    read_intervals,
    read_metrics,
    read_paper,
    row_labels,
)

ORACLE_NAME = "AE, best $d$ (oracle)"
LINE = 0.175  # inches between two methods
GAP = 0.7  # of that: more distance before the baselines; here stands the oracle's d
STEP = 0.22  # of that: distance between a method's scores and the paper's number
LEAK_FREE = " leak_free"
"""Ending of a dataset's key where its leak-free test set stands as a dataset of its own."""


def draw_panel(
    axes: Axes,
    *,
    seeds: pd.DataFrame,
    means: pd.DataFrame,
    paper: pd.DataFrame,
    places: pd.Series,
    middle: float,
) -> None:
    """Draw one metric of one test set; `seeds` and `means` are fractions, `paper` percent.

    `seeds` has a row per method, score and seed (column value), `means` one per method and score
    (mean, low, high), and `paper` one per method (mean, std). `places` has the methods' lines, and
    `middle` says how far below these the paper's numbers are.
    """
    looks = [
        (False, "own score", "o", figures.BLUE),
        (True, "information", "s", figures.VERMILLION),
    ]
    for informed, label, marker, color in looks:
        rows, single = (part[(part["score"] == INFORMATION) == informed] for part in (means, seeds))
        if rows.empty:
            continue
        below = middle + (STEP if informed else -STEP)
        at = rows["method"].map(places) + below
        axes.hlines(at, 100 * rows["low"], 100 * rows["high"], color=color, linewidth=1)
        look = {"marker": marker, "color": color, "markersize": 3, "linestyle": "", "zorder": 3}
        axes.plot(100 * rows["mean"], at, label=label, **look)
        if seeds["seed"].nunique() > 1:
            at = single["method"].map(places) + below
            look = {"marker": "|", "s": 14, "linewidth": 0.6, "color": "0.2", "zorder": 2}
            axes.scatter(100 * single["value"], at, label="single seeds", **look)
        for row in rows[rows["method"] == ORACLE].itertuples():
            at = 100 * row.mean, places[ORACLE] + 0.85
            axes.text(*at, f"$d$ = {row.latent_dim}", ha="center", va="center")
    if not paper.empty:
        at = paper["mean"], paper["method"].map(places) + middle
        look = {"color": figures.BLACK, "markersize": 2.5, "label": "paper (mean ± std)"}
        axes.errorbar(*at, xerr=paper["std"], **figures.PAPER_LOOK, **look)
    axes.grid(axis="x")
    axes.margins(x=0.08)
    axes.locator_params(axis="x", nbins=5, steps=[1, 2, 5, 10])
    axes.tick_params(axis="y", length=0)
    axes.set_yticks(places)
    axes.set_ylim(places.max() + 0.7 + GAP * (places.index[-1] == ORACLE), -0.7)


def as_drawn(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows with both scores of a method under its key, a leak-free test set as a dataset."""
    leak_free = rows["split"] == LEAK_FREE_SPLIT
    return rows.assign(
        method=rows["method"].str.removesuffix(INFORMED),
        dataset=rows["dataset"].where(~leak_free, rows["dataset"] + LEAK_FREE),
        split=PUBLISHED_SPLIT,
    )


def select(
    metrics: pd.DataFrame,
    drawn: pd.DataFrame,
    paper: pd.DataFrame,
    *,
    methods: Mapping[str, str],
    latent_dim: int,
) -> dict[str, pd.DataFrame]:
    """Return what is drawn, as `draw_panel` takes it, of all datasets and metrics."""
    summary = summarise(metrics)
    published = summary[summary["split"] == PUBLISHED_SPLIT]
    ours = {"latent_dim": latent_dim, "picked": {ORACLE: oracle_dimensions(published)}}
    theirs = {"latent_dim": latent_dim, "picked": {ORACLE: oracle_dimensions(paper)}}
    tables = {
        "seeds": compared_rows(metrics, **ours),
        "means": add_statistics(summary, drawn, **ours),
        "paper": compared_rows(paper, **theirs),
    }
    tables = {key: table[table["metric"].isin(figures.LABELS)] for key, table in tables.items()}
    tables |= {key: as_drawn(tables[key]) for key in ("seeds", "means")}
    shown = {*methods, ORACLE} & set(tables["means"]["method"])
    return {key: table[table["method"].isin(shown)] for key, table in tables.items()}


def plot_methods(
    *,
    metrics: Path,
    intervals: Sequence[Path],
    paper: Path,
    papers: Mapping[str, str],
    names: Mapping[str, str],
    methods: Mapping[str, str],
    latent_dim: int,
    dataset_notes: Mapping[str, str],
) -> Figure:
    """Draw `metrics`, `intervals` (a table per dataset) and the paper's values, in percent.

    `latent_dim` is that of all methods that have one, and `papers` has the key of each dataset in
    the paper's tables. Axes' labels: "{dataset} {metric}", "{dataset} leak_free {metric}". Raises
    InputError when a table is of another kind.
    """
    ours = read_metrics(metrics, information=True)
    check_ranked(ours)
    drawn = at_one_share(read_intervals(intervals))
    tables = select(ours, drawn, read_paper(paper, papers), methods=methods, latent_dim=latent_dim)
    means = tables["means"]
    shown = {key: figures.plain(name) for key, name in methods.items()}
    labels = row_labels(shown, picked={ORACLE: ORACLE_NAME})
    test_sets = [("", ""), (LEAK_FREE, ", leak-free")]
    names = {key + end: name + words for key, name in names.items() for end, words in test_sets}
    rows = figures.arrange_metrics(means, names)
    places = {}  # how far down each method's line is, in lines, of a metric
    for kind in (figures.IMAGE_LABELS, figures.PIXEL_LABELS):
        measured = set(means.loc[means["metric"].isin(kind), "method"])
        keys = [key for key in labels if key in measured]
        lines = [place + GAP * (key in BASELINES) for place, key in enumerate(keys)]
        places |= dict.fromkeys(kind, pd.Series(lines, keys))
    middle = 0 if INFORMATION in set(means["score"]) else STEP  # without it, ours at the tick
    heights = [LINE * (places[row[0][1]].max() + 1.4 + GAP) + 0.5 for row in rows]
    figure = Figure(figsize=(figures.PAGE_WIDTH, sum(heights) + 0.65), layout="constrained")
    options = {"metrics": means, "names": names, "heights": heights}
    for (key, metric), axes in figures.add_panels(figure, rows, **options).items():
        parts = {
            name: table[(table["dataset"] == key) & (table["metric"] == metric)]
            for name, table in tables.items()
        }
        draw_panel(axes, **parts, places=places[metric], middle=middle)
        figures.draw_chance(axes, parts["seeds"], metric, across="y")
        axes.set_xlabel(figures.LABELS[metric])
        first = axes.get_subplotspec().is_first_col()
        axes.set_yticklabels([labels[key] for key in places[metric].index] if first else [])
    seeds = tables["seeds"]["seed"].nunique()
    title = "this run (1 seed)" if seeds == 1 else f"this run (mean over {seeds} seeds)"
    title += f" with 95 % intervals over test images; {figures.counted(ours)}"
    title = figures.legend_title(title, dataset_notes)
    figures.add_legend(figure, loc="outside lower center", ncols=3, title=title)
    return figure


if __name__ == "__main__":
    from medae.base.scripts import run_script

    run_script(figures.saved(plot_methods), snakemake)
