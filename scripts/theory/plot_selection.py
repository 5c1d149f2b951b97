"""Draw what the selectors see against d, the test AUC they are to find, and their choices.

Inputs: `selections` and `curves`, the tables of select_settings.py of each dataset, of which the
family `ae` is drawn, and `scores`, the tables of metrics by score. Parameter: `names`, the display
names of datasets, in the order of the columns.
Outputs: `pdf` and `png`, a column per dataset. From top to bottom: the reconstruction error of
held-out normal images (± its standard error); the AUC against synthetic anomalies, mean over kinds
(± bootstrap standard error), faint lines being the kinds; the AUC on the test images, leak-free
(solid) and published (dashed), which no selector sees; and the choices, with a mark per score. The
best by test labels is named oracle. A colour is a score, the second one that which was chosen.
Fails when a table is missing or damaged.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from medae.base.files import read_table
from medae.evaluation.splits import LEAK_FREE_SPLIT, PUBLISHED_SPLIT
from medae.report import figures
from medae.theory.score_metrics import PLAIN_SCORE, read_score_metrics
from medae.theory.score_names import display_name
from medae.theory.selectors import SELECTORS

LINES = {LEAK_FREE_SPLIT: "-", PUBLISHED_SPLIT: "--"}
COLORS = [figures.BLUE, figures.VERMILLION]
MARKERS = ["o", "D"]
ROWS = {"error": 1.3, "synthetic": 1.5, "test": 1.5, "choices": 1.25}  # inches
LABELS = {
    "error": "held-out error",
    "synthetic": "AUC (%), synthetic",
    "test": "AUC (%), test",
}
FAMILY = "ae"
KINDS = [display_name(PLAIN_SCORE), "score chosen without labels"]
LEAST_WIDTH = 1.6  # inches of a column
ORACLES = {split: f"oracle, {split.replace('_', '-')}" for split in LINES}
CHOICES = [*SELECTORS, *ORACLES.values()]


class Candidates:
    """The autoencoders of one dataset, by latent dimension."""

    def __init__(self, curves: pd.DataFrame) -> None:
        """Take the rows of the curves of one dataset."""
        curves = curves[curves["family"] == FAMILY]
        self.values = curves.set_index(["latent_dim", "quantity"])["value"]
        self.sizes = np.unique(curves["latent_dim"])

    def curve(self, quantity: str) -> np.ndarray:
        """Return a quantity of all candidates; nan where there is none."""
        return np.array([self.values.get((size, quantity), np.nan) for size in self.sizes])


def labelled_aucs(
    metrics: pd.DataFrame, sizes: np.ndarray, *, score: str, split: str
) -> np.ndarray:
    """Return the AUC in percent, mean over seeds, of each size by the test labels; nan without."""
    rows = metrics[
        (metrics["metric"] == "auc")
        & (metrics["score"] == score)
        & (metrics["split"] == split)
        & (metrics["method"] == FAMILY)
    ]
    return 100 * rows.set_index("latent_dim")["value"].reindex(sizes).to_numpy()


def draw_band(axes: Axes, places: np.ndarray, mean: np.ndarray, spread: np.ndarray, **line) -> None:
    """Draw a line with a band of ± spread."""
    low, high = mean - spread, mean + spread
    axes.fill_between(places, low, high, color=line["color"], alpha=0.2, linewidth=0)
    axes.plot(places, mean, marker="o", **line)


def draw_synthetic(axes: Axes, own: Candidates, *, score: str, color: str) -> None:
    """Draw the AUC against synthetic anomalies of one score, in percent."""
    for name in own.values.index.get_level_values("quantity").unique():
        single = name.startswith("synthetic_auc_") and not name.startswith("synthetic_auc_se:")
        if single and name.endswith(f":{score}"):
            axes.plot(own.sizes, 100 * own.curve(name), color=color, alpha=0.3, linewidth=0.6)
    mean, spread = (100 * own.curve(f"synthetic_auc{part}:{score}") for part in ("", "_se"))
    draw_band(axes, own.sizes, mean, spread, color=color)


def draw_choices(
    axes: Axes, own: Candidates, selection: pd.DataFrame, metrics: pd.DataFrame
) -> None:
    """Mark the choices of each selector, and the oracles, with a mark per score."""
    heights = {key: -place for place, key in enumerate(CHOICES)}
    scores = selection["score"].unique()
    for number, (score, color, marker) in enumerate(zip(scores, COLORS, MARKERS, strict=False)):
        chosen = selection[(selection["score"] == score) & selection["latent_dim"].isin(own.sizes)]
        points = [(row.latent_dim, heights[row.selector]) for row in chosen.itertuples()]
        for split, name in ORACLES.items():
            aucs = labelled_aucs(metrics, own.sizes, score=score, split=split)
            if not np.isnan(aucs).all():
                points.append((own.sizes[np.nanargmax(aucs)], heights[name]))
        shift = 0.18 - 0.36 * number if len(scores) > 1 else 0  # marks at one place stay visible
        x, y = zip(*points, strict=True) if points else ((), ())
        axes.scatter(x, np.add(y, shift), color=color, marker=marker, s=14, zorder=3, linewidth=0)
    axes.set_ylim(-len(CHOICES) + 0.4, 0.6)
    axes.set_yticks(list(heights.values()), [key.replace("_", " ") for key in CHOICES])
    axes.axhline(0.5 - len(SELECTORS), color="0.8", linewidth=0.6)


def draw_column(
    panels: Mapping[str, Axes], own: Candidates, selection: pd.DataFrame, metrics: pd.DataFrame
) -> None:
    """Draw the panels of one dataset, by the names of ROWS."""
    error, spread = own.curve("validation_error"), own.curve("validation_error_se")
    draw_band(panels["error"], own.sizes, error, spread, color=figures.BLACK)
    panels["error"].set_ylim(bottom=0)
    scores = selection["score"].unique()
    for kind, score, color in zip(KINDS, scores, COLORS, strict=False):
        draw_synthetic(panels["synthetic"], own, score=score, color=color)
        for split, line in LINES.items():
            aucs = labelled_aucs(metrics, own.sizes, score=score, split=split)
            style = {"color": color, "linestyle": line, "marker": "o"}
            label = kind if split == LEAK_FREE_SPLIT else None
            panels["test"].plot(own.sizes, aucs, label=label, **style)
    draw_choices(panels["choices"], own, selection, metrics)
    for row in ("synthetic", "test"):
        panels[row].axhline(50, color="0.65", linewidth=0.8, zorder=1)


def draw(
    selection: pd.DataFrame, curves: pd.DataFrame, metrics: pd.DataFrame, names: Mapping[str, str]
) -> Figure:
    """Draw the figure; an axes' label is "{dataset} {row}"."""
    selection, curves = (table[table["family"] == FAMILY] for table in (selection, curves))
    datasets = figures.dataset_order(selection, names)
    width = max(figures.PAGE_WIDTH, LEAST_WIDTH * len(datasets))
    figure = Figure(figsize=(width, sum(ROWS.values()) + 1.2), layout="constrained")
    grid = figure.add_gridspec(len(ROWS), len(datasets), height_ratios=list(ROWS.values()))
    for column, key in enumerate(datasets):
        panels: dict[str, Axes] = {}
        for number, row in enumerate(ROWS):
            panels[row] = figure.add_subplot(
                grid[number, column], label=f"{key} {row}", sharex=panels.get("error")
            )
        own = Candidates(curves[curves["dataset"] == key])
        chosen = selection[selection["dataset"] == key]
        draw_column(panels, own, chosen, metrics[metrics["dataset"] == key])
        for row, axes in panels.items():
            axes.grid(axis="both" if row == "choices" else "y")
            axes.tick_params(labelbottom=row == "choices")
            if column == 0 and row in LABELS:
                axes.set_ylabel(LABELS[row])
        panels["choices"].tick_params(labelleft=column == 0)
        inches = (width - 1.0) / len(datasets) - 0.7
        figures.latent_axis(panels["choices"], own.sizes, inches=inches)
        panels["choices"].set_xlabel("latent dimension $d$")
        score = chosen["score"].unique()[-1]
        note = f"chosen score:\n{display_name(score)}"
        figures.set_title(panels["error"], names[key], note=note)
        for split, line in LINES.items():
            label = f"{split.replace('_', '-')} test set"
            panels["test"].plot([], [], color="0.3", linestyle=line, label=label)
    figures.add_legend(figure, loc="outside lower center", ncols=2)
    return figure


def plot_selection(
    *,
    selections: Sequence[Path],
    curves: Sequence[Path],
    scores: Sequence[Path],
    names: Mapping[str, str],
    pdf: Path,
    png: Path,
) -> None:
    """Draw the tables, and write `pdf` and `png`."""
    chosen, points = (
        pd.concat([read_table(path) for path in paths], ignore_index=True)
        for paths in (selections, curves)
    )
    with figures.house_style():
        drawn = draw(chosen, points, read_score_metrics(scores), names)
        figures.save_figure(drawn, pdf=pdf, png=png)


if __name__ == "__main__":
    from medae.base.logs import script_logging

    with script_logging(snakemake.log[0]):
        plot_selection(
            selections=[Path(path) for path in snakemake.input.selections],
            curves=[Path(path) for path in snakemake.input.curves],
            scores=[Path(path) for path in snakemake.input.scores],
            names=snakemake.params.names,
            pdf=Path(snakemake.output.pdf),
            png=Path(snakemake.output.png),
        )
