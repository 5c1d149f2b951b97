"""Draw AUC against the latent dimension by squared error and by information, beside the controls.

A panel per dataset and test set: the autoencoder with both scores (mean, ± one standard deviation,
faint seeds), PCA likewise, to tell what the score does from what the network does, the paper's
numbers on the full test set, and as levels what uses no reconstruction.
"""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from medae.evaluation.splits import PUBLISHED_SPLIT
from medae.models.information import INFORMED
from medae.report import figures
from medae.report.rows import (
    AUTOENCODER,
    SPLIT_NAMES,
    NothingToShowError,
    check_ranked,
    dataset_order,
    read_metrics,
    read_paper,
)

SCORES = {"": ("squared error", figures.BLUE), INFORMED: ("information", figures.VERMILLION)}
MODELS = {AUTOENCODER: "-", "pca": ":"}
SWEPT = {
    model + ending: (model, score, {"color": color, "line": line})
    for model, line in MODELS.items()
    for ending, (score, color) in SCORES.items()
}
LEVELS = {"total_variation": figures.GREEN, "local_variance": figures.PURPLE}
LOOKS = {"total_variation": "-", "local_variance": "-."}
COLUMNS = 3


def draw_panel(
    axes: Axes, *, ours: pd.DataFrame, paper: pd.DataFrame, methods: Mapping[str, str]
) -> None:
    """Draw AUC on one test set: `ours` fractions, `paper` percent."""
    for method, (model, score, look) in SWEPT.items():
        seeds = ours[ours["method"] == method]
        if len(seeds):
            figures.draw_sweep(axes, seeds, scale=100, label=f"{methods[model]}, {score}", **look)
    for method, color in LEVELS.items():
        for level in ours.loc[ours["method"] == method, "value"]:
            look = {"color": color, "linestyle": LOOKS[method], "linewidth": 1, "zorder": 1}
            axes.axhline(100 * level, label=f"{methods[method]}, no model", **look)
    if len(paper):
        figures.draw_paper(axes, paper, color=figures.BLACK, name=methods[AUTOENCODER])
    figures.draw_chance(axes, ours, "auc")
    axes.grid(axis="y")


def plot_scores(
    *,
    metrics: Path,
    paper: Path,
    papers: Mapping[str, str],
    names: Mapping[str, str],
    methods: Mapping[str, str],
    dataset_notes: Mapping[str, str],
) -> Figure:
    """Draw `metrics` and the paper's values, in percent; axes' labels: "{dataset} {split}".

    `papers` has the key of each dataset in the paper's tables.
    """
    table = read_metrics(metrics, information=True)
    check_ranked(table)
    table = table[(table["metric"] == "auc") & table["method"].isin([*SWEPT, *LEVELS])]
    theirs = read_paper(paper, papers)
    theirs = theirs[(theirs["metric"] == "auc") & (theirs["method"] == AUTOENCODER)]
    drawn = table[table["method"].isin([AUTOENCODER, AUTOENCODER + INFORMED])]
    found = set(zip(drawn["dataset"], drawn["split"], strict=True))
    order = dataset_order(table, names)
    panels = [(key, split) for key in order for split in SPLIT_NAMES if (key, split) in found]
    if not panels:
        raise NothingToShowError("Nothing to show: the autoencoder ranks no test set.")
    rows, columns = figures.grid_shape(len(panels), columns=COLUMNS)
    figure = Figure(figsize=(figures.PAGE_WIDTH, 2.1 * rows + 0.7), layout="constrained")
    shared = None
    for place, (key, split) in enumerate(panels, start=1):
        options = {"label": f"{key} {split}", "sharey": shared}
        axes = figure.add_subplot(rows, columns, place, **options)
        shared = shared or axes
        ours = table[(table["dataset"] == key) & (table["split"] == split)]
        published = theirs[(theirs["dataset"] == key) & (split == PUBLISHED_SPLIT)]
        draw_panel(axes, ours=ours, paper=published, methods=methods)
        counts = ours[["n_normal", "n_abnormal"]].iloc[0]
        figures.set_title(axes, names[key], note="{}, {} + {}".format(SPLIT_NAMES[split], *counts))
        sizes = pd.concat([one[one["dataset"] == key]["latent_dim"] for one in (table, theirs)])
        sizes = sizes[sizes > 0]  # of both test sets
        figures.latent_axis(axes, sizes, inches=figures.PAGE_WIDTH / columns - 0.45)
        axes.set_xlabel("latent dimension $d$")
        if axes.get_subplotspec().is_first_col():
            axes.set_ylabel("AUC (%)")
    title = f"{figures.seeds_note(table)}; {figures.COUNTED}"
    title = figures.legend_title(title, dataset_notes)
    figures.add_legend(figure, loc="outside lower center", ncols=3, title=title)
    return figure


if __name__ == "__main__":
    from medae.base.scripts import run_script

    run_script(figures.saved(plot_scores), snakemake)
