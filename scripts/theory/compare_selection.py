"""Set what is chosen without labels beside a choice by test labels.

Inputs: `selections` and `curves`, the tables of select_latent_dim.py of each dataset; `scores`, the
tables of measure_scores.py of all settings, with models trained on all normal images.
The TSV has of each choice the AUC, the oracle's and the regret, in percent and percentage points.
The oracle is the d with the highest AUC by the test labels, with the same score on the same images;
the regret is its AUC less that of the choice, means over seeds. The selector `by_lot` stands for a
d at random: the mean over all. The figure has a column per dataset: what selectors see, the
held-out error (± standard error) and the AUC against synthetic anomalies (± bootstrap standard
error), above the AUC on the test images, which they don't see.
Fails when a candidate of the curves has no metrics, or a dataset no display name.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from medae.base.errors import InputError
from medae.evaluation.splits import PUBLISHED_SPLIT
from medae.report import figures
from medae.report.tables import MISSING, Section, format_percent
from medae.theory.columns import CURVE_COLUMNS, SELECTION_COLUMNS
from medae.theory.plan import AUTOENCODER
from medae.theory.results import (
    LINES,
    SPLITS,
    chosen_scores,
    distinct_lines,
    known,
    read_score_metrics,
    read_tables,
    write_comparison,
)
from medae.theory.scores import PLAIN_SCORE, display_name
from medae.theory.selectors import SELECTORS

TITLE = "Latent dimensions chosen without labels"
PARTS = ["auc", "oracle_latent_dim", "oracle_auc", "regret"]
COLUMNS = [*SELECTION_COLUMNS, *(f"{part}_{split}" for split in SPLITS for part in PARTS)]
AT_RANDOM = "by_lot"
LABELS = SELECTORS | {AT_RANDOM: "at random (mean of all)"}
CHOICES = ["Dataset", "Score", "Selector", "Chosen d", "AUC, leak-free", "Regret"]
CHOICES += ["AUC, published", "Regret", "Why"]
SUMMARY = ["Score", "Selector", "Chose on", "Mean regret, leak-free", "Worst"]
SUMMARY += ["Mean regret, published", "Worst"]
CHOSEN = "chosen without labels"  # a kind of score in the summary, beside the plain one
EXPLANATION = (
    "Selectors see held-out normal images and synthetic anomalies made of these, no abnormal image "
    "and no test image; the models whose AUC is given are trained on all normal training images. "
    "AUC in percent, mean over seeds. Regret: percentage points to the best d by the test labels, "
    "with the same score. Leak-free: the test images without a duplicate in training."
)
COLORS = [figures.BLUE, figures.VERMILLION]
ROWS = {"error": "held-out error", "synthetic": "AUC (%), synthetic", "test": "AUC (%), test"}
HEIGHT = 1.5  # inches of a row


def compare_selection(
    *,
    selections: Sequence[Path],
    curves: Sequence[Path],
    scores: Sequence[Path],
    names: Mapping[str, str],
    recommended: str,
    output: Mapping[str, Path],
) -> None:
    """Write the table and the figure; `recommended` is the selector that the text names."""
    chosen = read_tables(selections, SELECTION_COLUMNS)
    points = read_tables(curves, CURVE_COLUMNS)
    metrics = read_score_metrics(scores)
    metrics = metrics[(metrics["metric"] == "auc") & (metrics["method"] == AUTOENCODER)]
    order = known(chosen["dataset"], names, what="dataset")
    chosen = chosen.sort_values("dataset", key=lambda c: c.map(order.index), kind="stable")
    judged = judge(chosen, metrics=metrics, candidates=points)
    summary = summarise_regrets(judged)
    sections = [
        Section("Over all datasets", "", SUMMARY, summary_lines(summary, names), "llrrlrl"),
        Section("Choices", "", CHOICES, choice_lines(judged, names), "lllrrrrrl"),
    ]
    text = f"{EXPLANATION} Recommended: {SELECTORS[recommended]}."
    write_comparison(sections, title=TITLE, text=text, rows=judged, output=output)
    with figures.house_style():
        drawn = draw(chosen, points, metrics, names)
        figures.save_figure(drawn, pdf=output["pdf"], png=output["png"])


def judge(chosen: pd.DataFrame, *, metrics: pd.DataFrame, candidates: pd.DataFrame) -> pd.DataFrame:
    """Return the choices with what the test labels say of them, and a row AT_RANDOM per score.

    `chosen` are rows of select_latent_dim.py, `candidates` have the columns dataset and latent_dim,
    `metrics` are AUCs of `read_score_metrics`. nan where nothing is chosen, and on a test set that
    lacks a class.
    """
    rows = []
    for (dataset, score), part in chosen.groupby(["dataset", "score"], sort=False):
        own = metrics[(metrics["dataset"] == dataset) & (metrics["score"] == score)]
        aucs = own.pivot(index="latent_dim", columns="split", values="value_percent")
        sizes = candidates.loc[candidates["dataset"] == dataset, "latent_dim"].unique()
        if lacking := set(sizes) - set(aucs.index):
            raise InputError(
                f"The autoencoder with d = {min(lacking)} has no AUC with the score {score} on "
                f"{dataset}, so a choice cannot be compared with it. Delete the tables of scores "
                "and choices of this dataset, and run the workflow again."
            )
        at_random = part.iloc[0].to_dict() | {"selector": AT_RANDOM, "method": ""}
        at_random |= {"latent_dim": 0, "criterion": ""}
        for row in [*part.to_dict("records"), at_random]:
            for split in aucs:
                found = aucs.loc[sorted(sizes), split]
                auc = found.get(row["latent_dim"], np.nan)
                auc = found.mean() if row["selector"] == AT_RANDOM else auc
                parts = [auc, found.idxmax(), found.max(), found.max() - auc]
                row |= {f"{part}_{split}": one for part, one in zip(PARTS, parts, strict=True)}
            rows.append(row)
    return pd.DataFrame(rows, columns=COLUMNS)


def summarise_regrets(judged: pd.DataFrame) -> pd.DataFrame:
    """Return a row per kind of score and selector: regrets over datasets.

    The kind of score is PLAIN_SCORE, or CHOSEN: the one that was chosen for the dataset, which can
    be the plain one. Columns: score, selector, n_chosen, n_datasets, and for each split mean, worst
    and worst_dataset of the regret; nan where nothing was chosen.
    """
    last = judged["dataset"].map(chosen_scores(judged))
    kinds = {PLAIN_SCORE: judged["score"] == PLAIN_SCORE, CHOSEN: judged["score"] == last}
    if (last == PLAIN_SCORE).all():
        del kinds[CHOSEN]
    rows = []
    for kind, taken in kinds.items():
        for selector, part in judged[taken].groupby("selector", sort=False):
            row = {"score": kind, "selector": selector, "n_datasets": len(part)}
            row["n_chosen"] = part[f"auc_{PUBLISHED_SPLIT}"].count()
            for split in SPLITS:
                regrets = part.set_index("dataset")[f"regret_{split}"].dropna()
                row[f"mean_{split}"] = regrets.mean()
                row[f"worst_{split}"] = regrets.max()
                row[f"worst_dataset_{split}"] = regrets.idxmax() if len(regrets) else ""
            rows.append(row)
    return pd.DataFrame(rows)


def summary_lines(summary: pd.DataFrame, names: Mapping[str, str]) -> list[list[str]]:
    """Return the cells of the summary, in the order of SUMMARY."""
    lines = []
    for row in summary.to_dict("records"):
        cells = [CHOSEN if row["score"] == CHOSEN else display_name(row["score"])]
        cells += [LABELS[row["selector"]], f"{row['n_chosen']} of {row['n_datasets']}"]
        for split in SPLITS:
            cells.append(format_percent(row[f"mean_{split}"], np.nan))
            worst = row[f"worst_dataset_{split}"]
            cells.append(f"{row[f'worst_{split}']:.1f} ({names[worst]})" if worst else MISSING)
        lines.append(cells)
    return lines


def choice_lines(judged: pd.DataFrame, names: Mapping[str, str]) -> list[list[str]]:
    """Return the cells of all choices, in the order of CHOICES."""
    return [
        [names[row["dataset"]], display_name(row["score"]), LABELS[row["selector"]]]
        + [str(row["latent_dim"] or MISSING)]
        + [
            format_percent(row[f"{part}_{split}"], np.nan)
            for split in SPLITS
            for part in ("auc", "regret")
        ]
        + [row["criterion"]]
        for row in judged.to_dict("records")
    ]


def draw(
    chosen: pd.DataFrame, points: pd.DataFrame, metrics: pd.DataFrame, names: Mapping[str, str]
) -> Figure:
    """Draw the figure; an axes' label is "{dataset} {row}", of ROWS."""
    datasets = list(chosen["dataset"].unique())
    size = (figures.PAGE_WIDTH, HEIGHT * len(ROWS) + 1.2)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.add_gridspec(len(ROWS), len(datasets))
    for column, key in enumerate(datasets):
        panels = {
            row: figure.add_subplot(grid[number, column], label=f"{key} {row}")
            for number, row in enumerate(ROWS)
        }
        own = points[points["dataset"] == key]
        curves = own.pivot(index="latent_dim", columns="quantity", values="value")
        scores = list(chosen.loc[chosen["dataset"] == key, "score"].unique())
        draw_column(panels, curves, metrics[metrics["dataset"] == key], scores=scores)
        for row, axes in panels.items():
            axes.grid(axis="y")
            inches = (figures.PAGE_WIDTH - 1.0) / len(datasets) - 0.4
            figures.latent_axis(axes, curves.index, inches=inches)
            axes.tick_params(labelbottom=row == "test")
            if column == 0:
                axes.set_ylabel(ROWS[row])
        panels["test"].set_xlabel("latent dimension $d$")
        note = f"chosen score:\n{display_name(scores[-1])}"
        figures.set_title(panels["error"], names[key], note=note)
    for split, line in LINES.items() if datasets else ():
        label = f"{SPLITS[split]} test set"
        figure.axes[-1].plot([], [], color="0.3", linestyle=line, label=label)
    figures.add_legend(figure, loc="outside lower center", ncols=2)
    return figure


def draw_column(
    panels: Mapping[str, Axes], curves: pd.DataFrame, aucs: pd.DataFrame, *, scores: Sequence[str]
) -> None:
    """Draw the panels of one dataset; `curves` have a row per d and a column per quantity."""
    spread = curves["validation_error_se"]
    draw_band(panels["error"], curves["validation_error"], spread, color=figures.BLACK)
    panels["error"].set_ylim(bottom=0)
    kinds = [display_name(PLAIN_SCORE), f"score {CHOSEN}"]
    for kind, score, color in zip(kinds, scores, COLORS, strict=False):
        mean, spread = (100 * curves[f"synthetic_auc{end}:{score}"] for end in ("", "_se"))
        draw_band(panels["synthetic"], mean, spread, color=color)
        for split, line in distinct_lines(aucs).items():
            own = aucs[(aucs["score"] == score) & (aucs["split"] == split)]
            values = own.set_index("latent_dim")["value_percent"].sort_index()
            look = {"color": color, "linestyle": line, "marker": "o"}
            panels["test"].plot(values, label=kind, **look)
    for row in ("synthetic", "test"):
        panels[row].axhline(50, color="0.65", linewidth=0.8, zorder=1)


def draw_band(axes: Axes, mean: pd.Series, spread: pd.Series, *, color: str) -> None:
    """Draw a line with a band of ± spread."""
    axes.fill_between(mean.index, mean - spread, mean + spread, color=color, alpha=0.2, linewidth=0)
    axes.plot(mean, marker="o", color=color)


if __name__ == "__main__":
    from medae.base.logs import script_logging

    with script_logging(snakemake.log[0]):
        compare_selection(
            selections=[Path(path) for path in snakemake.input.selections],
            curves=[Path(path) for path in snakemake.input.curves],
            scores=[Path(path) for path in snakemake.input.scores],
            names=snakemake.params.names,
            recommended=snakemake.params.recommended,
            output={key: Path(path) for key, path in snakemake.output.items()},
        )
