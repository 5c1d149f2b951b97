"""Draw test images of one dataset beside the training images most like them, by similarity.

The test images are sorted into bands of similarity: the same pixels, then from each threshold of
the audit to the next, down to the one that is used. Of a band, images evenly spaced by rank are
shown, and of those below the threshold the most similar, each with its nearest training image, that
image mirrored or rotated to match, and their difference.
"""

import math
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from medae.base.files import read_table
from medae.data.packed import PackedDataset, read_packed
from medae.duplicates.audit import read_audit
from medae.duplicates.similarity import INVERSE, SYMMETRIES, move
from medae.report import figures, sheets
from medae.report.choosing import PERCENTILE
from medae.report.rows import check_test_images

PER_ROW = 3
BELOW = 6  # pairs below the threshold
PICTURES = ["test", "training", "matched", "difference"]
WIDTH = 36  # characters above a pair
# Inches: gaps between pairs and within one; heights of the title, a band's name and the colour bar
GAP, SEAM, HEAD, BAND, FOOT = 0.16, 0.03, 0.45, 0.24, 0.62
LINE = 1.25 * figures.FONT_SIZE / 72
SIDE = ((figures.PAGE_WIDTH - (PER_ROW + 1) * GAP) / PER_ROW - 3 * SEAM) / 4
PAIR = 4 * SIDE + 3 * SEAM
NOTE = "blue: normal, orange: abnormal test image\nmatched: the training image, mirrored or rotated"


def make_bands(test: pd.DataFrame, thresholds: pd.DataFrame) -> dict[str, list[int]]:
    """Return the bands that have images, the most similar first: title -> chosen positions.

    `test` are the rows of the test images in images.tsv, `thresholds` is thresholds.tsv.
    """
    used = thresholds.loc[thresholds["used"] == 1, "threshold"].iloc[0]
    similarity = test["similarity"].to_numpy()
    identical = test["identical"].to_numpy() == 1
    members = {"identical pixels": identical}
    upper = np.inf
    for lower in sorted(thresholds["threshold"], reverse=True):
        if lower >= used:
            end = f" < {upper:.4f}" if upper < np.inf else ", not identical"
            inside = ~identical & (lower <= similarity) & (similarity < upper)
            members[f"{lower:.4f} ≤ r{end}"] = inside
            upper = lower
    order = np.argsort(-similarity, kind="stable")
    bands = {}
    for title, inside in members.items():
        found = order[inside[order]]
        if count := len(found):
            places = np.linspace(0, count - 1, min(PER_ROW, count)).round().astype(int)
            what = "test image" if count == 1 else "test images"
            bands[f"{title}: {count} {what}"] = found[places].tolist()
    below = ~identical & (similarity < used)
    if below.any():
        title = f"below the threshold, {used:.4f}: the most similar of {below.sum()} test images"
        bands[title] = order[below[order]][:BELOW].tolist()
    return bands


def find_pair(data: PackedDataset, row: pd.Series, position: int) -> list[np.ndarray]:
    """Return what is drawn of one test image, in the order of PICTURES.

    `row` is its row of images.tsv. Three images C × H × W in [-1, 1], and the absolute difference
    of the intensities 0–255, H × W, mean over channels.
    """
    image = data.test_images[position]
    nearest = data.train_images[data.train_ids.index(str(row["nearest"]))]
    # The symmetry leads from the test image to the nearest one.
    moved = move(nearest, INVERSE[SYMMETRIES.index(row["symmetry"])])
    difference = np.abs(image.astype(float) - moved).mean(axis=0)
    return [*(one / 127.5 - 1 for one in (image, nearest, moved)), difference]


def describe(row: pd.Series) -> list[str]:
    """Return the lines above a pair: the names of test and training image, how they are alike."""
    names = [PurePosixPath(row[key]).stem for key in ("id", "nearest")]
    lines = [" – ".join(names)]
    if len(lines[0]) > WIDTH:
        lines = [name if len(name) <= WIDTH else f"…{name[1 - WIDTH :]}" for name in names]
    rounded = f"r = {row['similarity']:.5f}" if row["similarity"] < 0.999995 else "r > 0.99999"
    return [*lines, f"{rounded}, {row['symmetry']}"]


def plot_duplicates(*, packed: Path, images: Path, thresholds: Path, name: str) -> Figure:
    """Draw the contact sheet from a dataset and the tables `images` and `thresholds` of its audit.

    Axes are labelled "{picture} {position in the test split}". Raises InputError when the audit is
    not about the packed dataset.
    """
    data = read_packed(packed)
    audit = read_audit(images, data)
    test = audit[audit["split"] == "test"].reset_index(drop=True)
    check_test_images(test)
    bands = make_bands(test, read_table(thresholds))
    pairs = {i: find_pair(data, test.loc[i], i) for chosen in bands.values() for i in chosen}
    texts = {i: describe(test.loc[i]) for i in pairs}
    label = LINE * max(len(lines) for lines in texts.values()) + 0.03
    step = label + SIDE + 0.08
    rows = sum(math.ceil(len(chosen) / PER_ROW) for chosen in bands.values())
    sheet = sheets.Sheet(
        height=HEAD + len(bands) * BAND + rows * step + FOOT,
        title=f"{name}: test images and the training images most like them",
    )
    for place in range(PER_ROW):
        for column, text in enumerate(PICTURES):
            left = GAP + place * (PAIR + GAP) + column * (SIDE + SEAM) + SIDE / 2
            sheet.write(left, HEAD - 0.05, text, ha="center", va="bottom")
    vmax = max(1, np.percentile([pair[-1] for pair in pairs.values()], PERCENTILE))
    top = HEAD
    for title, chosen in bands.items():
        sheet.write(GAP, top + BAND - 0.05, title, va="bottom", weight="bold", fontsize=8)
        top += BAND
        for number, i in enumerate(chosen):
            row, place = divmod(number, PER_ROW)
            left, high = GAP + place * (PAIR + GAP), top + row * step + label
            look = {"color": sheets.CLASS_COLORS[test.loc[i, "label"]], "linespacing": 1.1}
            sheet.write(left, high - 0.03, "\n".join(texts[i]), va="bottom", **look)
            for what, picture in zip(PICTURES, pairs[i], strict=True):
                look = {"vmin": 0, "vmax": vmax} if what == "difference" else {}
                image = sheet.add_picture(left, high, SIDE, picture, f"{what} {i}", **look)
                left += SIDE + SEAM
        top += step * math.ceil(len(chosen) / PER_ROW)
    scale = "absolute difference (intensities 0–255)"
    sheet.add_foot(GAP, top + 0.1, NOTE, image, scale, ticks=MaxNLocator(6, integer=True))
    return sheet.figure


if __name__ == "__main__":
    from medae.base.scripts import run_script

    run_script(figures.saved(plot_duplicates), snakemake)
