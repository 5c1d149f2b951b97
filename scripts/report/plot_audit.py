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

from medae.base.files import read_table
from medae.report import figures
from medae.report.rows import check_test_images

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

    def draw(similarity: pd.Series, name: str, **look: object) -> None:
        weights = np.full(len(similarity), 100 / max(1, len(similarity)))
        look |= {"weights": weights, "label": f"{name} (n = {len(similarity)})"}
        axes.hist(distance(similarity), bins, **look)

    test = images[images["split"] == "test"]
    for label, (name, color) in enumerate(CLASSES):
        similarity = test.loc[test["label"] == label, "similarity"]
        look = {"histtype": "stepfilled", "facecolor": (color, 0.35), "edgecolor": (color, 0.9)}
        draw(similarity, f"{name} test images", **look, linewidth=0.8)
    others = images["other_patient_similarity"].dropna()
    if len(others):
        look = {"histtype": "step", "color": figures.BLACK, "linewidth": 0.8, "linestyle": ":"}
        draw(others, "normal images, to other patients", **look)
    axes.set_ylabel("share of images (%)")


def draw_counts(axes: Axes, images: pd.DataFrame, *, moved: bool) -> None:
    """Draw the number of normal test images with a copy in training by threshold."""
    normal = images[(images["split"] == "test") & (images["label"] == 0)]
    lines = [("similarity", "-", "with a copy in training")]
    if moved:
        lines.append(("unmoved_similarity", "--", "with one that is neither mirrored nor rotated"))
    identical = normal["identical"] == 1
    for column, style, name in lines:
        nearest = np.sort(distance(normal[column].where(~identical, 1.0)))
        places = [FLOOR, *nearest, LEFT]
        counts = [0, *np.arange(1, len(nearest) + 1), len(nearest)]
        look = {"color": figures.NORMAL, "linestyle": style, "label": name}
        axes.step(places, counts, where="post", **look)
    axes.set(ylabel="normal test images", ylim=(0, 1.04 * len(normal)))


def plot_audit(*, images: Path, thresholds: Path, name: str, moved: bool) -> Figure:
    """Draw the audit of one dataset; `moved` says whether mirrored and rotated copies count.

    Axes' labels: "shares" and "counts".
    """
    pictures, listed = read_table(images), read_table(thresholds)
    check_test_images(pictures.query("split == 'test'"))
    figure = Figure(figsize=(figures.PAGE_WIDTH, 4.6), layout="constrained")
    above = figure.add_subplot(2, 1, 1, label="shares")
    below = figure.add_subplot(2, 1, 2, label="counts", sharex=above)
    draw_shares(above, pictures)
    draw_counts(below, pictures, moved=moved)
    used = listed[listed["used"] == 1].iloc[0]
    text = f"threshold {used['threshold']:.4f} ({used['origin']})"
    ticks = [*(1 - tick for tick in TICKS), FLOOR]
    for axes, label in (
        (above, "similarity r to the nearest training image"),
        (below, "threshold of r"),
    ):
        for threshold in listed["threshold"]:
            axes.axvline(1 - threshold, color="0.85", linewidth=0.6, zorder=0)
        axes.axvline(1 - used["threshold"], color=figures.GREEN, linewidth=1, label=text)
        axes.set(xscale="log", xlim=(LEFT, FLOOR), xlabel=label)
        axes.set_xticks(ticks, [f"≤ {TICKS[0]}", *map(str, TICKS[1:]), "1"])
        axes.minorticks_off()
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, fontsize=figures.FONT_SIZE)
    figure.suptitle(figures.plain(name), fontsize=8, fontweight="bold")
    return figure


if __name__ == "__main__":
    from medae.base.scripts import run_script

    run_script(figures.saved(plot_audit), snakemake)
