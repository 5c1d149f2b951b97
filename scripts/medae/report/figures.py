"""What all figures share: style, colours, lines, panels, the axis of latent dimensions, saving.

Figures are made as `matplotlib.figure.Figure` objects without pyplot, so no display is needed and
nothing global is left behind.
"""

import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from inspect import Parameter
from itertools import pairwise
from pathlib import Path
from textwrap import fill

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from medae.base.files import atomic_path
from medae.evaluation.ranking import IMAGE_METRICS, PIXEL_METRICS
from medae.evaluation.splits import LEAK_FREE_SPLIT, PUBLISHED_SPLIT
from medae.evaluation.summary import TABLE_METRICS, count_test_images, summarise
from medae.report.rows import NothingToShowError, dataset_order

PAGE_WIDTH = 6.9  # inches; the text width of a two-column page, so that fonts print at their size
PANEL_WIDTH = 3.3  # inches; one column of that page
FONT_SIZE = 7  # points; the smallest text anywhere

# Okabe and Ito's palette for colour-blind readers, https://jfly.uni-koeln.de/color/
BLUE, VERMILLION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
SKY, ORANGE, BLACK = "#56B4E9", "#E69F00", "#000000"
PAIRS = [(BLUE, BLACK), (VERMILLION, GREEN), (PURPLE, ORANGE), (SKY, "0.5")]  # ours, paper's
NORMAL_TRAIN, NORMAL, ABNORMAL = SKY, BLUE, VERMILLION
BESIDE = 1.12  # times the latent dimension, where the paper's numbers stand
PAPER_LOOK = {"fmt": "D", "markerfacecolor": "white", "elinewidth": 0.8, "capsize": 1.5}
SPLIT_LINES = {PUBLISHED_SPLIT: "-", LEAK_FREE_SPLIT: "--"}

IMAGE_LABELS = {key: f"{metric.axis} (%)" for key, metric in IMAGE_METRICS.items()}
PIXEL_LABELS = {key: f"{metric.axis} (%)" for key, metric in PIXEL_METRICS.items()}
LABELS = IMAGE_LABELS | PIXEL_LABELS
COUNTED = "numbers: normal + abnormal test images"
SHARED = "; AP at the share of abnormal images of the full test set (rebuilt: of the paper's)"
NOTE_WIDTH = 110  # characters of a line across the page
Cell = tuple[str, str] | None

STYLE = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same text width on every machine
    "font.size": FONT_SIZE,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "xtick.labelsize": FONT_SIZE,
    "ytick.labelsize": FONT_SIZE,
    "legend.fontsize": 8,
    "legend.title_fontsize": 8,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.axisbelow": True,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.5,
    "grid.color": "0.9",
    "grid.linewidth": 0.5,
    "image.interpolation": "nearest",  # pixels are shown as they are
    "pdf.fonttype": 42,  # TrueType, which publishers ask for
    "savefig.dpi": 300,
}


@contextmanager
def house_style() -> Iterator[None]:
    """Draw and save in our style, whatever the user's own matplotlib settings."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


def saved(draw: Callable[..., Figure]) -> Callable[..., None]:
    """Return a function like `draw`, in our style, that writes what it draws to `pdf` and `png`.

    Where there is NothingToShowError the figure is a sentence.
    """

    @wraps(draw)
    def plot(*, pdf: Path, png: Path, **options: object) -> None:
        with house_style():
            try:
                figure = draw(**options)
            except NothingToShowError as reason:
                figure = Figure(figsize=(PAGE_WIDTH, 0.6))
                figure.text(
                    0.5, 0.5, fill(plain(str(reason)), NOTE_WIDTH), ha="center", va="center"
                )
            save_figure(figure, pdf=pdf, png=png)

    signature = inspect.signature(draw, eval_str=True)
    files = [Parameter(name, Parameter.KEYWORD_ONLY, annotation=Path) for name in ("pdf", "png")]
    parameters = [*signature.parameters.values(), *files]
    plot.__signature__ = signature.replace(parameters=parameters, return_annotation=None)
    return plot


def save_figure(figure: Figure, *, pdf: Path, png: Path) -> None:
    """Write `figure` as PDF and as PNG (300 dpi): whole or not at all, equal figures byte for byte.

    The page is the figure's own size, not cropped to its content, so fonts keep their print size.
    """
    with atomic_path(pdf) as temporary:
        figure.savefig(temporary, format="pdf", metadata={"CreationDate": None})
    with atomic_path(png) as temporary:
        figure.savefig(
            temporary, format="png", metadata={"Software": None}, pil_kwargs={"optimize": True}
        )


def draw_sweep(
    axes: Axes,
    metrics: pd.DataFrame,
    *,
    color: str,
    label: str,
    marker: str = "o",
    line: str = "-",
    scale: float = 1.0,
) -> None:
    """Draw `value` times `scale` against the latent dimension: mean, ± std (n - 1), faint seeds.

    `metrics` are the rows of one dataset, method and metric; `marker` and `line` are those of
    matplotlib.
    """
    summary = summarise(metrics).set_index("latent_dim").sort_index()
    summary = scale * summary[["mean", "std"]]
    low, high = summary["mean"] - summary["std"], summary["mean"] + summary["std"]
    axes.fill_between(summary.index, low, high, color=color, alpha=0.2, linewidth=0)
    points = metrics["latent_dim"], scale * metrics["value"]
    axes.scatter(*points, s=5, color=color, alpha=0.35, linewidth=0)
    style = {"marker": marker, "linestyle": line, "zorder": 3}
    axes.plot(summary["mean"], color=color, label=label, **style)


def draw_paper(axes: Axes, rows: pd.DataFrame, *, color: str, name: str) -> None:
    """Draw the paper's values of the method `name` (mean and std, percent) right beside their d."""
    at = BESIDE * rows["latent_dim"], rows["mean"], rows["std"]
    look = {"color": color, "markersize": 3, "zorder": 4, "clip_on": False}
    axes.errorbar(*at, label=f"{name}, paper (mean ± std)", **PAPER_LOOK, **look)


def add_legend(figure: Figure, **options: object) -> None:
    """Add one legend for all panels of `figure`; `options` are those of `Figure.legend`."""
    entries = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    figure.legend(entries.values(), entries.keys(), **options)


def counted(metrics: pd.DataFrame) -> str:
    """Return what a legend says of test images, and of AP where `read_metrics` marks it."""
    return COUNTED + SHARED * bool(metrics["at_share"].any())


def legend_title(text: str, notes: Mapping[str, str]) -> str:
    """Return a legend's title: `text`, and below it the `notes` on datasets, wrapped."""
    return "\n".join(fill(part, NOTE_WIDTH) for part in [text, *map(plain, notes.values())])


def seeds_note(metrics: pd.DataFrame) -> str:
    """Return what a line over these metrics stands for, in the words of a legend."""
    seeds = metrics["seed"].nunique()
    return "this run (1 seed)" if seeds == 1 else f"this run (mean ± std of {seeds} seeds)"


def image_counts(metrics: pd.DataFrame) -> str:
    """Return how many test images the metrics of one dataset rest on; a line per split.

    The numbers are those of normal and abnormal images; the legend has to say so (COUNTED).
    """
    (splits,) = count_test_images(metrics).values()
    lines = ["{} + {} images".format(*splits[PUBLISHED_SPLIT])]
    if LEAK_FREE_SPLIT in splits:
        lines.append("leak-free: {} + {}".format(*splits[LEAK_FREE_SPLIT]))
    return "\n".join(lines)


def draw_chance(axes: Axes, metrics: pd.DataFrame, metric: str, *, across: str = "x") -> None:
    """Draw what a random score has of a metric on one dataset's images, on either test set.

    The lines lie across the axis `across`, on which the metric is not. Not every metric has such a
    level, nor has AP at a share of abnormal images that is not the test set's (column at_share);
    equal levels of both test sets are drawn once.
    """
    chance = TABLE_METRICS[metric].chance
    if chance is None:
        return
    splits = next(iter(count_test_images(metrics[~metrics["at_share"]]).values()), {})
    levels = {key: chance(bad / (normal + bad)) for key, (normal, bad) in splits.items()}
    if len(set(levels.values())) == 1:
        levels = {PUBLISHED_SPLIT: next(iter(levels.values()))}
    line = axes.axhline if across == "x" else axes.axvline
    for split, level in levels.items():
        label = "chance" if split == PUBLISHED_SPLIT else "chance, leak-free"
        style = {"color": "0.65", "linestyle": SPLIT_LINES[split], "linewidth": 0.9, "zorder": 1}
        line(100 * level, label=label, **style)


def plain(text: str) -> str:
    """Return a user's text so that matplotlib takes no part of it for a formula."""
    return text.replace("$", r"\$")


def set_title(axes: Axes, title: str, *, note: str) -> None:
    """Put a plain title above `axes`, and a note in small print, of any lines, under the title."""
    axes.set_title(plain(title), fontweight="bold", pad=5 + 9 * (1 + note.count("\n")))
    offset = {"xytext": (0, 4), "textcoords": "offset points"}
    axes.annotate(note, (0.5, 1), xycoords="axes fraction", ha="center", **offset)


def latent_axis(axes: Axes, sizes: Iterable[int], *, inches: float) -> None:
    """Make the x-axis logarithmic (base 2) with a tick at each size, and labels where they fit.

    `inches` is the axis' length. Of labels that would overlap, the larger size keeps its own.
    Without a size nothing changes.
    """
    if not (sizes := sorted({int(size) for size in sizes})):
        return
    low, high = math.log2(sizes[0]) - 0.3, math.log2(sizes[-1]) + 0.35
    labels, limit = [], math.inf
    for size in reversed(sizes):
        middle = (math.log2(size) - low) / (high - low) * inches
        half = (0.636 * len(str(size)) + 0.15) * FONT_SIZE / 72 / 2  # a digit is 0.636 em wide
        fits = middle + half <= limit
        limit = middle - half if fits else limit
        labels.append(str(size) if fits else "")
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(sizes))
    axes.xaxis.set_major_formatter(FixedFormatter(labels[::-1]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(2**low, 2**high)


def grid_shape(panels: int, *, columns: int) -> tuple[int, int]:
    """Return (rows, columns) of a grid for `panels` with at most `columns` columns, rows filled."""
    rows = math.ceil(panels / columns)
    return rows, math.ceil(panels / rows)


def arrange_metrics(metrics: pd.DataFrame, names: Mapping[str, str]) -> list[list[Cell]]:
    """Return rows of cells (dataset, metric) of equal length; None where nothing stands.

    Of up to four datasets in a row each of IMAGE_LABELS in turn, of a single dataset side by side;
    then the PIXEL_LABELS of the datasets that have any.
    """
    datasets = dataset_order(metrics, names)
    masked = dataset_order(metrics[metrics["metric"].isin(list(PIXEL_LABELS))], names)
    pixels = [(key, metric) for key in masked for metric in PIXEL_LABELS]
    if len(datasets) == 1:
        columns = len(IMAGE_LABELS)
        rows = [[(datasets[0], metric) for metric in IMAGE_LABELS]]
    else:
        columns = grid_shape(len(datasets), columns=4)[1]
        blocks = _split(datasets, columns)
        rows = [[(key, metric) for key in block] for block in blocks for metric in IMAGE_LABELS]
    return [row + [None] * (columns - len(row)) for row in [*rows, *_split(pixels, columns)]]


def _split(items: list, length: int) -> list[list]:
    return [items[start : start + length] for start in range(0, len(items), length)]


def add_panels(
    figure: Figure,
    rows: list[list[Cell]],
    *,
    metrics: pd.DataFrame,
    names: Mapping[str, str],
    heights: Sequence[float] | None = None,
) -> dict[tuple[str, str], Axes]:
    """Add axes for the cells of `arrange_metrics`, labelled "{dataset} {metric}", with titles.

    `heights` are those of the rows, in any unit. A title names the dataset and its test images; a
    panel has none where the panel above it is the same dataset's.
    """
    labels = [[cell and " ".join(cell) for cell in row] for row in rows]
    axes = figure.subplot_mosaic(labels, empty_sentinel=None, height_ratios=heights)
    panels = {}
    for above, row in pairwise([[None] * len(rows[0]), *rows]):
        for upper, cell in zip(above, row, strict=True):
            if cell is None:
                continue
            panels[cell] = axes[" ".join(cell)]
            if upper is None or upper[0] != cell[0]:
                counts = image_counts(metrics[metrics["dataset"] == cell[0]])
                set_title(panels[cell], names[cell[0]], note=counts)
    return panels


def as_picture(image: np.ndarray) -> np.ndarray:
    """Turn an image C×H×W in [-1, 1] to what `imshow` takes: H×W×3 in [0, 1]; grey is repeated."""
    picture = np.clip((np.moveaxis(image, 0, -1) + 1) / 2, 0, 1)
    return np.repeat(picture, 3, axis=-1) if picture.shape[-1] == 1 else picture
