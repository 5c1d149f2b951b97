"""Draw histograms of the anomaly scores of normal and abnormal test images of one dataset.

Where at least FEW normal test images have a copy in training, these and the others are drawn
separately. Where images were held out, lines show the threshold of the decision, and bands its 95 %
interval.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from medae.base.files import read_table
from medae.evaluation.splits import LEAK_FREE_SPLIT, PUBLISHED_SPLIT
from medae.models.baselines import BASELINES
from medae.models.decision import read_decision
from medae.models.information import PLAIN_SCORE
from medae.report import figures
from medae.report.rows import check_test_images, read_metrics

NORMAL, ABNORMAL = ("normal", figures.NORMAL), ("abnormal", figures.ABNORMAL)
TWIN = ("normal with a copy in training", figures.NORMAL)
OTHER = ("normal without one", figures.GREEN)  # often few: an outline above the others
FEW = 20  # images, which make no histogram of their own
TAIL = 1  # percent of the scores that share the last bin, so that outliers don't squeeze the rest


def draw_panel(axes: Axes, table: pd.DataFrame, decision: Mapping | None = None) -> None:
    """Draw the test scores of one setting (columns label, score, twin) on bins common to all.

    `decision` is a row of decision.tsv.
    """
    normal, twin = table["label"] == 0, table["twin"] == 1
    classes = {NORMAL: normal, ABNORMAL: ~normal}
    if (normal & twin).sum() >= FEW:
        classes = {TWIN: normal & twin, OTHER: normal & ~twin, ABNORMAL: ~normal}
    score = table["score"].clip(upper=np.percentile(table["score"], 100 - TAIL))
    bins = np.histogram_bin_edges(score, bins=int(np.clip(len(score) ** 0.5, 15, 30)))
    for (name, color), chosen in classes.items():
        if not chosen.any():
            continue
        look = {"fill": True, "alpha": 0.35, "linewidth": 0.8}
        if (name, color) == OTHER:
            look = {"fill": False, "alpha": 1, "linewidth": 1.1}
        seaborn.histplot(
            x=score[chosen],
            bins=list(bins),
            stat="density",
            element="step",
            color=color,
            label=f"{name} (n = {chosen.sum()})",
            ax=axes,
            **look,
        )
    if decision:
        look = {"color": figures.BLACK, "linewidth": 0.9, "linestyle": "--"}
        label = f"threshold for {100 * decision['false_positive_rate']:g} % false positives"
        axes.axvline(decision["threshold"], label=label, **look)
        axes.axvspan(decision["low"], decision["high"], color="0.85", zorder=0)
    axes.set(xlabel="", ylabel="")
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(4))


def plot_score_histograms(
    *,
    scores: Sequence[Path],
    metrics: Path,
    audit: Path,
    name: str,
    settings: Sequence[Mapping],
    methods: Mapping[str, str],
    decisions: Sequence[Path] = (),
) -> Figure:
    """Draw a histogram of each setting, which names its dataset and seed too.

    `metrics` gives the AUC in the titles, `audit` (images.tsv) the copies; `decisions`, if any,
    are those of the networks among the settings. Axes' labels: "{method} d{latent_dim}".
    """
    found = iter(decisions)
    rows_of = [
        read_decision(next(found))[PLAIN_SCORE]
        if decisions and setting["method"] not in BASELINES
        else None
        for setting in settings
    ]
    table = read_metrics(metrics)
    table = table[(table["dataset"] == settings[0]["dataset"]) & (table["metric"] == "auc")]
    aucs = table.set_index(["method", "latent_dim", "seed", "split"])["value"].sort_index()
    twins = read_table(audit)[["split", "id", "twin"]].query("split == 'test'")
    tables = [read_table(path).merge(twins, on=["split", "id"], validate="1:1") for path in scores]
    check_test_images(twins)
    rows, columns = figures.grid_shape(len(tables), columns=4)
    width = max(figures.PANEL_WIDTH, figures.PAGE_WIDTH * columns / 4)
    figure = Figure(figsize=(width, 1.4 * rows + 0.75), layout="constrained")
    several = len({setting["method"] for setting in settings}) > 1
    shown = zip(tables, settings, rows_of, strict=True)
    for place, (table, setting, decision) in enumerate(shown, start=1):
        method, size = setting["method"], setting["latent_dim"]
        axes = figure.add_subplot(rows, columns, place, label=f"{method} d{size}")
        draw_panel(axes, table, decision)
        parts = [methods[method]] * several + [f"d = {size}"] * (size > 0)
        key = (method, size, setting["seed"])
        found = aucs.loc[key] if key in aucs.index else {}
        note = "no AUC: a class is missing"
        if PUBLISHED_SPLIT in found:
            note = f"AUC {100 * found[PUBLISHED_SPLIT]:.1f} %"
        if LEAK_FREE_SPLIT in found:
            note += f", leak-free {100 * found[LEAK_FREE_SPLIT]:.1f} %"
        figures.set_title(axes, ", ".join(parts), note=note)
        if axes.get_subplotspec().is_first_col():
            axes.set_ylabel("density")
    figure.supxlabel(f"anomaly score (the highest {TAIL} % in the last bin)", fontsize=8)
    title = f"{figures.plain(name)}, full test set"
    figures.add_legend(figure, loc="outside upper center", ncols=3, title=title)
    return figure


if __name__ == "__main__":
    from medae.base.scripts import run_script

    run_script(figures.saved(plot_score_histograms), snakemake)
