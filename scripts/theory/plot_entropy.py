"""Draw the entropy of the latent vector against d, and the metrics against the entropy.

Inputs: the tables of entropy and of code lengths, and `metrics` (metrics.tsv), of which the rows
with all training images on the published test set are used. Parameters: `names` and `methods`, the
display names of datasets, in the order of the panels, and of methods.
Outputs, each as PDF and PNG: `entropy`, a panel per dataset with the entropy in bits per image
against d, by the Gaussian and the nearest-neighbour estimate and, for methods with a prior, by
their rate, which is all that is shown of methods whose latents are coded; `metrics`, a column per
dataset, four in a row, with AUC, AP and the reconstruction errors of normal and abnormal test
images against the entropy in bits per image, on a log axis.
There the networks that are swept by d have their Gaussian estimate, and the methods whose latents
are coded, swept by the weight of their rate, have that rate: one line for all of them, since each
weight is a method of its own in the configuration. Models without any information (0 bits) have no
place on the axis and are left out. Lines are means over seeds, faint dots single seeds.
Fails when a table is not what it should be.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

from medae.report import figures
from medae.theory.entropy_tables import by_model, coded_methods, read_entropy

QUANTITIES = {  # quantity: (label, colour)
    "gaussian_bits": ("Gaussian", figures.BLUE),
    "knn_bits": ("nearest neighbours", figures.VERMILLION),
    "rate_bits": ("rate", figures.GREEN),
}
MARKERS = "os^vDP"
LINES = [figures.BLUE, figures.VERMILLION, figures.GREEN, figures.PURPLE]  # of the sweeps
ERRORS = {"error_test_normal": ("normal", "-"), "error_test_abnormal": ("abnormal", "--")}
ROWS = {  # metrics of a row: (label of the axis, factor)
    ("auc",): ("AUC (%)", 100),
    ("ap",): ("AP (%)", 100),
    tuple(ERRORS): ("mean squared error", 1),
}
CODED_METHOD = "entropy_ae"
COLUMNS = 4  # panels side by side
HEIGHT = 1.75  # inches of a panel
KEY = ["dataset", "method", "latent_dim"]


def group_methods(models: pd.DataFrame, methods: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the methods of `models` by the name under which they are drawn.

    The coded ones, which differ in the weight of their rate, go together.
    """
    coded = coded_methods(models)
    groups: dict[str, list[str]] = {}
    for method in sorted(models["method"].unique(), key=list(methods).index):
        name = figures.method_name(CODED_METHOD) if method in coded else methods[method]
        groups.setdefault(name, []).append(method)
    return groups


def draw_entropy(
    models: pd.DataFrame, names: Mapping[str, str], methods: Mapping[str, str]
) -> Figure:
    """Draw the entropies of `by_model` against d; an axes' label is the dataset's key."""
    datasets = figures.dataset_order(models, names)
    groups = group_methods(models, methods)
    coded = models["method"].isin(coded_methods(models))
    estimates = [column for column in models if column in set(QUANTITIES) - {"rate_bits"}]
    models = models.assign(**models[estimates].mask(coded))  # a column of all marks hides the rate
    rows, columns = figures.grid_shape(len(datasets), columns=COLUMNS)
    figure = Figure(figsize=(figures.PAGE_WIDTH, HEIGHT * rows + 0.7), layout="constrained")
    sizes = models["latent_dim"].unique()
    shared = None
    for place, dataset in enumerate(datasets):
        axes = figure.add_subplot(rows, columns, place + 1, label=dataset, sharey=shared)
        shared = shared or axes
        own = models[models["dataset"] == dataset]
        for (name, keys), marker in zip(groups.items(), MARKERS, strict=False):
            draw_quantities(axes, own[own["method"].isin(keys)], name=name, marker=marker)
        axes.set_yscale("log", nonpositive="mask")
        plain_ticks(axes.yaxis)
        figures.latent_axis(axes, sizes, inches=figures.PAGE_WIDTH / columns - 0.45)
        axes.set_xlabel("latent dimension $d$")
        axes.set_title(figures.plain(names[dataset]), fontweight="bold")
        axes.grid(axis="y")
        if place % columns == 0:
            axes.set_ylabel("bits per image")
    figures.add_legend(figure, loc="outside lower center", ncols=3)
    return figure


def draw_quantities(axes: Axes, models: pd.DataFrame, *, name: str, marker: str) -> None:
    """Draw what there is of QUANTITIES of a group of methods in one dataset, a line if swept."""
    line = "-" if models["latent_dim"].nunique() > 1 else ""
    for quantity, (label, color) in QUANTITIES.items():
        if quantity not in models or models[quantity].isna().all():
            continue
        means = models.groupby(KEY, as_index=False)[quantity].mean().sort_values("latent_dim")
        style = {"color": color, "marker": marker, "linestyle": line, "label": f"{name}: {label}"}
        axes.plot(means["latent_dim"], means[quantity], **style)
        points = models["latent_dim"], models[quantity]
        axes.scatter(*points, s=5, color=color, alpha=0.35, linewidth=0)


def sweep_bits(models: pd.DataFrame, methods: Mapping[str, str]) -> pd.DataFrame:
    """Return the models of swept groups, with `sweep`, the group's name, and their `bits`.

    A group is swept in a dataset where it has at least two models of one seed. `bits` are the rate
    of coded methods, and the Gaussian estimate of the others; those with 0 bits are left out.
    """
    coded = coded_methods(models)
    groups = group_methods(models, methods)
    names = {method: name for name, keys in groups.items() for method in keys}
    rate = models.get("rate_bits", models["gaussian_bits"])
    bits = models["gaussian_bits"].where(~models["method"].isin(coded), rate)
    swept = models.assign(sweep=models["method"].map(names), bits=bits)
    swept = swept[swept["bits"] > 0]
    counts = swept.groupby(["dataset", "sweep", "seed"])["bits"].transform("size")
    return swept[counts > 1]


def draw_metrics(swept: pd.DataFrame, metrics: pd.DataFrame, names: Mapping[str, str]) -> Figure:
    """Draw `metrics` against the bits of `sweep_bits`; labels of axes: "{dataset} {metric}"."""
    rows = metrics.merge(swept[[*KEY, "seed", "sweep", "bits"]], on=[*KEY, "seed"])
    datasets = figures.dataset_order(swept, names)
    columns = figures.grid_shape(len(datasets), columns=COLUMNS)[1] if datasets else 1
    blocks = [datasets[start : start + columns] for start in range(0, len(datasets), columns)]
    panels = [(block, row) for block in blocks for row in ROWS]
    size = (figures.PAGE_WIDTH, HEIGHT * max(len(panels), 1) + 0.9)
    figure = Figure(figsize=size, layout="constrained")
    if not panels:
        figure.text(0.5, 0.5, "No method has models of several entropies.", ha="center")
    colors = dict(zip(swept["sweep"].unique(), LINES, strict=False))
    for high, (block, row) in enumerate(panels):
        for wide, dataset in enumerate(block):
            place = high * columns + wide + 1
            axes = figure.add_subplot(len(panels), columns, place, label=f"{dataset} {row[0]}")
            own = rows[(rows["dataset"] == dataset) & rows["metric"].isin(row)]
            for sweep, color in colors.items():
                draw_sweep(axes, own[own["sweep"] == sweep], color=color, factor=ROWS[row][1])
            axes.set_xscale("log")
            plain_ticks(axes.xaxis)
            axes.grid(axis="y")
            if row == ("auc",):
                note = figures.image_counts(metrics[metrics["dataset"] == dataset])
                figures.set_title(axes, names[dataset], note=note)
            if row == tuple(ERRORS):
                axes.set_xlabel("bits per image")
            if wide == 0:
                axes.set_ylabel(ROWS[row][0])
    add_labels(figure, swept, colors)
    title = f"published test set, {figures.seeds_note(metrics)}\n{figures.COUNTED}"
    figures.add_legend(figure, loc="outside lower center", ncols=2, title=title)
    return figure


def draw_sweep(axes: Axes, rows: pd.DataFrame, *, color: str, factor: float) -> None:
    """Draw one sweep of one dataset: a line per metric, in the order of the mean entropies."""
    for metric, part in rows.groupby("metric"):
        line = ERRORS[metric][1] if metric in ERRORS else "-"
        means = part.groupby(KEY)[["bits", "value"]].mean().sort_values("bits")
        style = {"color": color, "marker": "o", "markersize": 2.5, "linestyle": line}
        axes.plot(means["bits"], factor * means["value"], **style)
        points = part["bits"], factor * part["value"]
        axes.scatter(*points, s=4, color=color, alpha=0.35, linewidth=0)


def add_labels(figure: Figure, swept: pd.DataFrame, colors: Mapping[str, str]) -> None:
    """Say in the legend what the sweeps' entropies are, and which line is which error."""
    if not figure.axes:
        return
    for sweep, color in colors.items():
        coded = coded_methods(swept[swept["sweep"] == sweep])
        axis = "by λ, bits: rate" if coded else "by $d$, bits: Gaussian"
        figure.axes[0].plot([], [], color=color, marker="o", label=f"{sweep} ({axis})")
    for label, line in ERRORS.values():
        text = f"error of {label} test images"
        figure.axes[0].plot([], [], color="0.3", linestyle=line, label=text)


def plain_ticks(axis: Axis) -> None:
    """Give a logarithmic axis ticks at 1, 3, 10, 30, … and write them so, not as powers."""
    axis.set_major_locator(LogLocator(subs=(1, 3)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))


def plot_entropy(
    *,
    entropy: Sequence[Path],
    metrics: Path,
    names: Mapping[str, str],
    methods: Mapping[str, str],
    entropy_pdf: Path,
    entropy_png: Path,
    metrics_pdf: Path,
    metrics_png: Path,
) -> None:
    """Draw both figures and write them."""
    models = by_model(read_entropy(entropy))
    with figures.house_style():
        drawn = draw_entropy(models, names, methods)
        figures.save_figure(drawn, pdf=entropy_pdf, png=entropy_png)
        swept = sweep_bits(models, methods)
        drawn = draw_metrics(swept, figures.read_metrics(metrics), names)
        figures.save_figure(drawn, pdf=metrics_pdf, png=metrics_png)


if __name__ == "__main__":
    from medae.base.logs import script_logging

    with script_logging(snakemake.log[0]):
        plot_entropy(
            entropy=[Path(path) for path in snakemake.input.entropy],
            metrics=Path(snakemake.input.metrics),
            names=snakemake.params.names,
            methods=snakemake.params.methods,
            entropy_pdf=Path(snakemake.output.entropy_pdf),
            entropy_png=Path(snakemake.output.entropy_png),
            metrics_pdf=Path(snakemake.output.metrics_pdf),
            metrics_png=Path(snakemake.output.metrics_png),
        )
