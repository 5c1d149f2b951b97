"""Draw the AUC of several scores against the latent size of the autoencoder, on both test sets.

Inputs: `scores`, the tables of measure_scores.py; `metrics` (metrics.tsv), of which the baselines'
rows are used; `selections`, tables of select_settings.py, of some datasets or of none. Parameter:
`names`, dataset key -> display name, in the order of the panels.
Outputs: `pdf` and `png`, a panel per dataset. A colour is a score: the squared error, the relative
error, the first score of the tables that is information in windows, and, as a black line, the one
that was chosen without labels, which the panel names. Solid lines are of the leak-free test set,
dashed ones of the published one, where it is another. The grey level is the best baseline without a
network and without a latent size, by leak-free AUC, on either test set.
Fails when there is no score of the autoencoder, or a table is of another kind.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from medae.base.errors import InputError
from medae.base.files import read_table
from medae.evaluation.splits import LEAK_FREE_SPLIT, PUBLISHED_SPLIT
from medae.report import figures
from medae.report.comparison import AUTOENCODER
from medae.theory.score_metrics import best_baseline, chosen_scores, read_score_metrics
from medae.theory.score_names import display_name, parse_variant

LINES = {LEAK_FREE_SPLIT: "-", PUBLISHED_SPLIT: "--"}
COLORS = [figures.BLUE, figures.VERMILLION, figures.GREEN]
LEVEL = "0.5"
COLUMNS = 3
HEIGHT = 2.0  # inches of a row


def shown_scores(scores: Sequence[str]) -> list[str]:
    """Return the scores that every panel has, of those in the tables, in the legend's order."""
    windowed = [
        name for name in scores if name.startswith("information") and parse_variant(name).window
    ]
    return [name for name in ("mse", "relative") if name in scores] + windowed[:1]


def draw_panel(axes: Axes, rows: pd.DataFrame, *, shown: Sequence[str], chosen: str | None) -> None:
    """Draw the scores of one dataset; `rows` are those of the autoencoder's AUC."""
    styles = [
        (score, display_name(score), {"color": color, "marker": "o", "linewidth": 1.2})
        for score, color in zip(shown, COLORS, strict=False)
    ]
    if chosen is not None:
        look = {"color": figures.BLACK, "marker": "x", "linewidth": 0.7, "zorder": 3}
        styles.append((chosen, "chosen without labels", look))
    for score, label, look in styles:
        for split in LINES:
            own = rows[(rows["score"] == score) & (rows["split"] == split)]
            if own.empty:
                continue
            values = 100 * own.set_index("latent_dim")["value"].sort_index()
            axes.plot(values, linestyle=LINES[split], label=label, **look)


def draw_levels(axes: Axes, best: tuple[str, Mapping[str, float]] | None) -> str:
    """Draw what `best_baseline` returned; return its name for the panel's note."""
    axes.axhline(50, color="0.85", linewidth=1, zorder=0)
    if best is None:
        return ""
    key, values = best
    for split, value in values.items():
        style = {"color": LEVEL, "linestyle": LINES[split], "linewidth": 1, "zorder": 1}
        axes.axhline(100 * value, label="best baseline without a network", **style)
    return f"baseline: {figures.method_name(key).lower()}"


def one_where_equal(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of one dataset without the published ones if both test sets are the same."""
    counts = rows.groupby("split")[["n_normal", "n_abnormal"]].first()
    same = len(counts) == 2 and counts.iloc[0].equals(counts.iloc[1])
    return rows[rows["split"] == LEAK_FREE_SPLIT] if same else rows


def draw(
    scores: pd.DataFrame,
    metrics: pd.DataFrame,
    *,
    chosen: Mapping[str, str],
    names: Mapping[str, str],
    latent_dim: int,
) -> Figure:
    """Draw the figure; an axes' label is its dataset.

    `scores` come from `read_score_metrics`, and `metrics` has the baselines of the same datasets,
    of which those with a latent dimension count with `latent_dim`.
    """
    scores = scores[(scores["method"] == AUTOENCODER) & (scores["metric"] == "auc")]
    datasets = [key for key in names if key in set(scores["dataset"])]
    if not datasets:
        raise InputError(
            "No table of scores is of the autoencoder, so nothing can be drawn against its latent "
            "size. Put ae into the grid, or leave `scores` empty."
        )
    shown = shown_scores(list(scores["score"].unique()))
    rows, columns = figures.grid_shape(len(datasets), columns=COLUMNS)
    figure = Figure(figsize=(figures.PAGE_WIDTH, HEIGHT * rows + 0.6), layout="constrained")
    grid = figure.add_gridspec(rows, columns)
    for place, key in enumerate(datasets):
        axes = figure.add_subplot(grid[place // columns, place % columns], label=key)
        own = one_where_equal(scores[scores["dataset"] == key])
        baselines = metrics[
            (metrics["dataset"] == key) & metrics["latent_dim"].isin([0, latent_dim])
        ]
        baselines = baselines[baselines["split"].isin(own["split"])]
        draw_panel(axes, own, shown=shown, chosen=chosen.get(key))
        notes = [draw_levels(axes, best_baseline(baselines))]
        if key in chosen:
            notes.insert(0, f"chosen: {display_name(chosen[key])}")
        figures.set_title(axes, names[key], note="\n".join(filter(None, notes)))
        inches = figures.PAGE_WIDTH / columns - 0.38
        figures.latent_axis(axes, own["latent_dim"], inches=inches)
        axes.set_xlabel("latent dimension $d$")
        axes.grid(axis="y")
        if place % columns == 0:
            axes.set_ylabel("AUC (%)")
    first = figure.axes[0]
    for split, line in LINES.items():
        first.plot([], [], color="0.3", linestyle=line, label=f"{split.replace('_', '-')} test set")
    figures.add_legend(figure, loc="outside lower center", ncols=3)
    return figure


def plot_scores(
    *,
    scores: Sequence[Path],
    metrics: Path,
    selections: Sequence[Path],
    names: Mapping[str, str],
    latent_dim: int,
    pdf: Path,
    png: Path,
) -> None:
    """Draw the tables, and write `pdf` and `png`."""
    table = read_score_metrics(scores)
    # All rows: where both test sets are the same, the leak-free ones are the ones drawn.
    collected = read_table(metrics)
    collected = collected[collected["training_set"] == "all"]
    with figures.house_style():
        chosen = chosen_scores(selections)
        drawn = draw(table, collected, chosen=chosen, names=names, latent_dim=latent_dim)
        figures.save_figure(drawn, pdf=pdf, png=png)


if __name__ == "__main__":
    from medae.base.logs import script_logging

    with script_logging(snakemake.log[0]):
        plot_scores(
            scores=[Path(path) for path in snakemake.input.scores],
            metrics=Path(snakemake.input.metrics),
            selections=[Path(path) for path in snakemake.input.selections],
            names=snakemake.params.names,
            latent_dim=snakemake.params.latent_dim,
            pdf=Path(snakemake.output.pdf),
            png=Path(snakemake.output.png),
        )
