"""Draw how similar the test images of one dataset are to their nearest training images.

Above, the share of the images by similarity r to the nearest training image, of normal and of
abnormal test images, and where patients are known that of normal images to the nearest image of
another patient; below, how many normal test images have a copy in training at each threshold. The
axis is that of 1 − r, logarithmic and reversed, so that 0.9 to 1 is drawn out.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from medae.base.files import read_table
from medae.report import figures

TICKS = [0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 0.9999]
FLOOR = 1e-5  # of 1 - r: what is nearer to 1 is drawn there, rounding is not far below
LEFT = 0.5  # of 1 - r, where the axis starts at the latest; the few beyond are drawn there
BINS = 48
CLASSES = [("normal", figures.NORMAL), ("abnormal", figures.ABNORMAL)]  # by label, 0 and 1


def distance(similarity: np.ndarray) -> np.ndarray:
    """Return 1 − r within the axis, from FLOOR to LEFT."""
    return np.clip(1 - similarity, FLOOR, LEFT)


def draw_shares(axes: Axes, images: pd.DataFrame) -> None:
    """Draw the share of images by similarity, each class for itself."""
    bins = list(np.geomspace(FLOOR, LEFT, BINS + 1))
    test = images[images["split"] == "test"]
    for label, (name, color) in enumerate(CLASSES):
        values = distance(test.loc[test["label"] == label, "similarity"])
        weights = np.full(len(values), 100 / max(1, len(values)))
        look = {"color": color, "alpha": 0.35, "histtype": "stepfilled"}
        text = f"{name} test images (n = {len(values)})"
        axes.hist(values, bins, weights=weights, label=text, **look)
        axes.hist(values, bins, weights=weights, color=color, histtype="step", linewidth=0.8)
    others = images["other_patient_similarity"].dropna()
    if len(others):
        weights = np.full(len(others), 100 / len(others))
        look = {"color": figures.BLACK, "histtype": "step", "linewidth": 0.8, "linestyle": ":"}
        text = f"normal images, to other patients (n = {len(others)})"
        axes.hist(distance(others), bins, weights=weights, label=text, **look)
    axes.set_ylabel("share of images (%)")


def draw_counts(axes: Axes, images: pd.DataFrame, *, moved: bool) -> None:
    """Draw the number of normal test images with a twin as a function of the threshold."""
    normal = images[(images["split"] == "test") & (images["label"] == 0)]
    lines = [("similarity", "-", "with a twin")]
    if moved:
        lines.append(("unmoved_similarity", "--", "with one that is neither mirrored nor rotated"))
    identical = normal["identical"] == 1
    for column, style, name in lines:
        nearest = np.sort(distance(normal[column].where(~identical, 1.0)))
        axes.step(
            [FLOOR, *nearest, LEFT],
            [0, *np.arange(1, len(nearest) + 1), len(nearest)],
            where="post",
            color=figures.NORMAL,
            linestyle=style,
            label=name,
        )
    axes.set(ylabel="normal test images", ylim=(0, 1.04 * len(normal)))


def similarity_axis(axes: Axes) -> None:
    """Make the x-axis one of 1 − r, logarithmic and reversed, labelled with r."""
    axes.set(xscale="log", xlim=(LEFT, FLOOR))
    ends = [*(1 - tick for tick in TICKS), FLOOR]
    axes.xaxis.set_major_locator(FixedLocator(ends))
    axes.xaxis.set_major_formatter(FixedFormatter([f"≤ {TICKS[0]}", *map(str, TICKS[1:]), "1"]))
    axes.xaxis.set_minor_locator(NullLocator())


def plot_audit(*, images: Path, thresholds: Path, name: str, moved: bool) -> Figure:
    """Draw the audit of one dataset; `moved` says whether mirrored and rotated copies count.

    Axes' labels: "shares" and "counts".
    """
    pictures, listed = read_table(images), read_table(thresholds)
    figure = Figure(figsize=(figures.PAGE_WIDTH, 4.6), layout="constrained")
    above = figure.add_subplot(2, 1, 1, label="shares")
    below = figure.add_subplot(2, 1, 2, label="counts", sharex=above)
    draw_shares(above, pictures)
    draw_counts(below, pictures, moved=moved)
    used = listed[listed["used"] == 1].iloc[0]
    text = f"threshold {used['threshold']:.4f} ({used['origin']})"
    for axes in (above, below):
        for threshold in listed["threshold"]:
            axes.axvline(1 - threshold, color="0.85", linewidth=0.6, zorder=0)
        axes.axvline(1 - used["threshold"], color=figures.GREEN, linewidth=1, label=text)
        similarity_axis(axes)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, fontsize=figures.FONT_SIZE)
    above.set_xlabel("similarity r to the nearest training image")
    below.set_xlabel("threshold of r")
    figure.suptitle(figures.plain(name), fontsize=8, fontweight="bold")
    return figure


if __name__ == "__main__":
    from medae.base.scripts import run_script

    run_script(figures.saved(plot_audit), snakemake)
