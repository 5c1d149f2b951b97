"""Compare the best d and the entropy of the latent vector with a known number of factors.

Inputs: the tables of entropy, `metrics` (metrics.tsv, published test set, all training images) and
the tables of bootstrap intervals of the datasets concerned.
Parameters: `factors`, dataset key -> number k of scalars that its normal images vary in; `names`,
the datasets' display names.
Outputs: `pdf` and `png`: AUC of the autoencoder against d for each k, with the best d marked;
against k the best d, and at the largest d the entropy and the numbers of dimensions. `table`, a row
per dataset by rising k. `markdown`, a paragraph that answers yes or no whether the best d and the
entropy follow k, by the criterion in CRITERION.
Fails when the autoencoder's AUC, interval or entropy of a dataset is missing.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter
from scipy.stats import norm

from medae.base.errors import InputError
from medae.base.files import write_table, write_text
from medae.evaluation.bootstrap import CONFIDENCE
from medae.evaluation.splits import PUBLISHED_SPLIT
from medae.report import figures
from medae.report.comparison import AUTOENCODER, read_intervals
from medae.theory.entropy_tables import IMAGES, by_model, read_entropy

LATENT = ["gaussian_bits", "knn_bits", "participation_ratio", "effective_rank", "twonn", "mle"]
BITS = {"gaussian_bits": "Gaussian", "knn_bits": "nearest neighbours"}
DIMENSIONS = {  # column: (label, line)
    "participation_ratio": ("latents: participation ratio", "-"),
    "twonn": ("latents: TwoNN", "-"),
    "mle": ("latents: MLE", "-"),
    "images_twonn": ("images: TwoNN", "--"),
    "images_mle": ("images: MLE", "--"),
}
COLORS = [figures.BLUE, figures.VERMILLION, figures.GREEN, figures.PURPLE, figures.ORANGE]
FACTOR = 2  # how far d may be from k, either way
SHARE = 0.75  # of the numbers of factors, for which it must not be further
CRITERION = (
    "The criterion was fixed before the run. The best d of a dataset is the smallest whose AUC "
    "(published test set, mean over seeds) is within one standard error of the highest; the error "
    "is that of the highest AUC, from its bootstrap interval over test images. The best d follows "
    f"k if it never falls as k rises, and is within a factor {FACTOR} of k for at least three "
    "quarters of the k. The entropy follows k if at the largest d both estimates of H(Z) rise with "
    "every step of k."
)


def compare_factors(
    *,
    models: pd.DataFrame,
    images: pd.DataFrame,
    metrics: pd.DataFrame,
    intervals: pd.DataFrame,
    factors: Mapping[str, int],
) -> pd.DataFrame:
    """Return a row per dataset of `factors`, by rising k; the columns are those of the TSV.

    `models` are those of `by_model`, `images` the rows of `read_entropy` about images, `metrics`
    those of `read_metrics`. Raises InputError when a dataset lacks the autoencoder's results.
    """
    rows = []
    for dataset in sorted(factors, key=factors.__getitem__):
        auc, mine = (
            table[(table["dataset"] == dataset) & (table["method"] == AUTOENCODER)]
            for table in (metrics[metrics["metric"] == "auc"], models)
        )
        if auc.empty or mine.empty:
            raise InputError(
                f"The autoencoder has no AUC or no entropy on {dataset}, whose number of factors "
                "is known. Add it to the grid of the configuration for this dataset, or take "
                "`factors_known` out of the dataset's entry."
            )
        means = auc.groupby("latent_dim")["value"].mean()
        error = standard_error(intervals, dataset=dataset, latent_dim=means.idxmax())
        best = smallest_within(means, error)
        row = {"dataset": dataset, "factors": factors[dataset], "best_d": best}
        row["within_factor_2"] = within_factor(best, factors[dataset])
        row |= {"auc": means[best], "highest_auc_d": means.idxmax(), "highest_auc": means.max()}
        largest = mine[mine["latent_dim"] == mine["latent_dim"].max()]
        row |= {"standard_error": error, "largest_d": largest["latent_dim"].iloc[0]}
        row |= largest.reindex(columns=LATENT).mean().to_dict()
        own = images[images["dataset"] == dataset].set_index("quantity")["value"]
        row |= {f"images_{key}": own.get(key, float("nan")) for key in ("twonn", "mle")}
        rows.append(row)
    return pd.DataFrame(rows)


def standard_error(intervals: pd.DataFrame, *, dataset: str, latent_dim: int) -> float:
    """Return the standard error of an AUC from its interval, as if its distribution were normal."""
    wanted = {"dataset": dataset, "method": AUTOENCODER, "latent_dim": latent_dim}
    wanted |= {"split": PUBLISHED_SPLIT, "metric": "auc"}
    found = intervals[(intervals[list(wanted)] == pd.Series(wanted)).all(axis=1)]
    if len(found) != 1:
        raise InputError(
            f"The tables of intervals have {len(found)} rows for the AUC of the autoencoder with "
            f"d = {latent_dim} on {dataset}, where there should be one. Delete the dataset's table "
            "of intervals and run the workflow again."
        )
    width = found["high"].iloc[0] - found["low"].iloc[0]
    return float(width / (2 * norm.ppf((1 + CONFIDENCE) / 2)))


def smallest_within(means: pd.Series, error: float) -> int:
    """Return the smallest d of `means` (d -> AUC) whose AUC is at least the highest − `error`."""
    return int(means.index[means >= means.max() - error].min())


def within_factor(best: int, k: int) -> bool:
    """Return whether `best` is at most FACTOR times as large or as small as `k`."""
    return k <= FACTOR * best and best <= FACTOR * k


def dimension_follows(table: pd.DataFrame) -> bool:
    """Return the first half of CRITERION for the rows of `compare_factors`."""
    grows = all(one <= other for one, other in pairwise(table["best_d"]))
    return grows and bool(table["within_factor_2"].mean() >= SHARE)


def entropy_follows(table: pd.DataFrame) -> bool:
    """Return the second half of CRITERION; an estimate that is missing does not rise."""
    return all(one < other for key in BITS for one, other in pairwise(table[key]))


def describe(table: pd.DataFrame) -> str:
    """Return the paragraph with the criterion and both answers."""
    ks = ", ".join(str(k) for k in table["factors"])
    sizes = ", ".join(str(d) for d in table["best_d"])
    parts = [CRITERION]
    parts.append(
        f"Does the best d follow the number of factors? **{answer(dimension_follows(table))}**: "
        f"for k = {ks} it is {sizes}, within a factor {FACTOR} of k for "
        f"{int(table['within_factor_2'].sum())} of {len(table)}."
    )
    bits = "; ".join(
        f"{label} {', '.join(f'{value:.1f}' for value in table[key])}"
        for key, label in BITS.items()
    )
    largest = ", ".join(str(d) for d in sorted(set(table["largest_d"])))
    parts.append(
        "Does the entropy of the latent vector follow it? "
        f"**{answer(entropy_follows(table))}**: at d = {largest} it is, in bits per image, {bits}."
    )
    return " ".join(parts)


def answer(true: bool) -> str:
    """Return yes or no."""
    return "yes" if true else "no"


def draw(table: pd.DataFrame, metrics: pd.DataFrame) -> Figure:
    """Draw the four panels; labels of axes: auc, best_d, bits, dimensions."""
    figure = Figure(figsize=(figures.PAGE_WIDTH, 4.9), layout="constrained")
    panels = {
        label: figure.add_subplot(2, 2, place + 1, label=label)
        for place, label in enumerate(("auc", "best_d", "bits", "dimensions"))
    }
    draw_auc(panels["auc"], table, metrics)
    draw_best(panels["best_d"], table)
    largest = " or ".join(str(d) for d in sorted(set(table["largest_d"])))
    for (key, label), color in zip(BITS.items(), COLORS, strict=False):
        line = {"marker": "o", "color": color, "label": label}
        panels["bits"].plot(table["factors"], table[key], **line)
    panels["bits"].set_ylabel(f"H(Z) at $d$ = {largest} (bits per image)")
    for (key, (label, line)), color in zip(DIMENSIONS.items(), COLORS, strict=True):
        style = {"marker": "o", "color": color, "linestyle": line, "label": label}
        panels["dimensions"].plot(table["factors"], table[key], **style)
    panels["dimensions"].set_ylabel(f"dimensions at $d$ = {largest}")
    for label in ("best_d", "bits", "dimensions"):
        factor_axis(panels[label], table["factors"])
    for axes in panels.values():
        axes.grid(axis="y")
        axes.legend(fontsize=figures.FONT_SIZE)
    # Curves rise from the lower left and then stay high, whatever the number of factors.
    panels["auc"].legend(fontsize=figures.FONT_SIZE, loc="lower right", ncols=2)
    return figure


def draw_auc(axes: Axes, table: pd.DataFrame, metrics: pd.DataFrame) -> None:
    """Draw AUC against d, a line per dataset; a ring marks the best d."""
    auc = metrics[(metrics["metric"] == "auc") & (metrics["method"] == AUTOENCODER)]
    for row, color in zip(table.itertuples(), line_colors(len(table)), strict=True):
        own = auc[auc["dataset"] == row.dataset]
        figures.draw_sweep(axes, own, color=color, label=f"$k$ = {row.factors}", scale=100)
        ring = {"s": 60, "facecolors": "none", "edgecolors": color, "linewidths": 1.2, "zorder": 4}
        axes.scatter([row.best_d], [100 * row.auc], **ring)
    axes.scatter([], [], s=60, facecolors="none", edgecolors="0.3", label="best $d$")
    sizes = auc.loc[auc["dataset"].isin(table["dataset"]), "latent_dim"]
    figures.latent_axis(axes, sizes, inches=figures.PAGE_WIDTH / 2 - 0.5)
    axes.set(xlabel="latent dimension $d$", ylabel=figures.METRICS["auc"])


def line_colors(count: int) -> list[str]:
    """Return `count` colours, repeated where there are not as many."""
    return [COLORS[place % len(COLORS)] for place in range(count)]


def draw_best(axes: Axes, table: pd.DataFrame) -> None:
    """Draw the best d against k, and the band within the criterion's factor."""
    k = table["factors"]
    axes.fill_between(k, k / FACTOR, k * FACTOR, color="0.9", label=f"within a factor {FACTOR}")
    axes.plot(k, k, color="0.6", linestyle="--", label="$d$ = $k$")
    axes.plot(k, table["best_d"], color=figures.BLUE, marker="o", label="best $d$")
    axes.set_yscale("log", base=2)
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.set_ylabel("best latent dimension $d$")


def factor_axis(axes: Axes, factors: pd.Series) -> None:
    """Make the x-axis one of k: logarithmic, with a tick at each value."""
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(sorted(set(factors))))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("number of factors $k$")


def plot_factors(
    *,
    entropy: Sequence[Path],
    metrics: Path,
    intervals: Sequence[Path],
    factors: Mapping[str, int],
    names: Mapping[str, str],
    table: Path,
    markdown: Path,
    pdf: Path,
    png: Path,
) -> None:
    """Compare, and write the four files."""
    rows = read_entropy(entropy)
    results = figures.read_metrics(metrics)
    compared = compare_factors(
        models=by_model(rows),
        images=rows[rows["method"] == IMAGES],
        metrics=results,
        intervals=read_intervals(intervals),
        factors=factors,
    )
    compared.insert(1, "name", compared["dataset"].map(names))
    write_table(compared, table)
    write_text(f"{describe(compared)}\n", markdown)
    with figures.house_style():
        figures.save_figure(draw(compared, results), pdf=pdf, png=png)


if __name__ == "__main__":
    from medae.base.logs import script_logging

    with script_logging(snakemake.log[0]):
        plot_factors(
            entropy=[Path(path) for path in snakemake.input.entropy],
            metrics=Path(snakemake.input.metrics),
            intervals=[Path(path) for path in snakemake.input.intervals],
            factors=snakemake.params.factors,
            names=snakemake.params.names,
            table=Path(snakemake.output.table),
            markdown=Path(snakemake.output.markdown),
            pdf=Path(snakemake.output.pdf),
            png=Path(snakemake.output.png),
        )
