"""Draw test images of one dataset beside the training images most like them, by similarity.

Inputs: the packed dataset, and images.tsv and thresholds.tsv of its audit. Parameter: `name`, the
dataset's display name.
Outputs: `pdf` and `png`, a contact sheet. The test images are sorted into bands of similarity: the
same pixels, then from each threshold of the audit to the next, down to the one that is used. Of a
band, images evenly spaced by rank are shown, and of those below the threshold the most similar,
each with its nearest training image, that image moved as the test image is, and their difference.
Fails when the audit is not about the packed dataset.
"""

import math
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from medae.base.files import read_table
from medae.data.packed import PackedDataset, read_packed
from medae.duplicates.audit import read_audit
from medae.duplicates.similarity import INVERSE, SYMMETRIES, move
from medae.report import figures

PER_ROW = 3
BELOW = 6  # pairs below the threshold
COLUMNS = ["test", "training", "moved", "difference"]
PERCENTILE = 99.5  # of the differences' pixels, where the colours end
WIDTH = 36  # characters above a pair
# Inches: gaps between pairs and within one; heights of the title, a band's name and the colour bar
GAP, SEAM, HEAD, BAND, FOOT = 0.16, 0.03, 0.45, 0.24, 0.62
LINE = 1.25 * figures.FONT_SIZE / 72
SIDE = ((figures.PAGE_WIDTH - (PER_ROW + 1) * GAP) / PER_ROW - 3 * SEAM) / 4
PAIR = 4 * SIDE + 3 * SEAM


class Band(NamedTuple):
    """Test images of one range of similarity; positions in the test split."""

    title: str
    chosen: list[int]


def make_bands(test: pd.DataFrame, thresholds: pd.DataFrame) -> list[Band]:
    """Return the bands that have images, the most similar first.

    `test` are the rows of the test images in images.tsv, `thresholds` is thresholds.tsv.
    """
    used = thresholds.loc[thresholds["used"] == 1, "threshold"].iloc[0]
    similarity = test["similarity"].to_numpy()
    identical = test["identical"].to_numpy() == 1
    members = {"identical pixels": identical}
    upper = np.inf
    for lower in sorted(thresholds["threshold"], reverse=True):
        if lower >= used:
            title = f"{lower:.4f} ≤ r" + (
                f" < {upper:.4f}" if upper < np.inf else ", not identical"
            )
            members[title] = ~identical & (lower <= similarity) & (similarity < upper)
            upper = lower
    bands = []
    for title, inside in members.items():
        count = np.count_nonzero(inside)
        if count:
            what = "test image" if count == 1 else "test images"
            bands.append(Band(f"{title}: {count} {what}", evenly(similarity, inside)))
    below = ~identical & (similarity < used)
    if below.any():
        title = f"below the threshold, {used:.4f}: the most similar of {below.sum()} test images"
        bands.append(Band(title, ranked(similarity, below)[:BELOW]))
    return bands


def ranked(similarity: np.ndarray, inside: np.ndarray) -> list[int]:
    """Return the positions that are `inside`, the most similar first, ties in their order."""
    positions = np.flatnonzero(inside)
    return positions[np.argsort(-similarity[positions], kind="stable")].tolist()


def evenly(similarity: np.ndarray, inside: np.ndarray) -> list[int]:
    """Return up to PER_ROW of the positions `inside`, evenly spaced by rank, with both ends."""
    order = ranked(similarity, inside)
    ranks = np.linspace(0, len(order) - 1, min(PER_ROW, len(order))).round().astype(int)
    return [order[rank] for rank in ranks]


def find_pair(data: PackedDataset, row: pd.Series, position: int) -> list[np.ndarray]:
    """Return the pictures C × H × W (0–255) of one test image in the order of COLUMNS.

    `row` is its row of images.tsv. The difference has no channels, H × W.
    """
    image = data.test_images[position]
    nearest = data.train_images[data.train_ids.index(str(row["nearest"]))]
    # The symmetry leads from the test image to the nearest one.
    moved = move(nearest, INVERSE[SYMMETRIES.index(row["symmetry"])])
    difference = np.abs(image.astype(float) - moved).mean(axis=0)
    return [image, nearest, moved, difference]


def describe(row: pd.Series) -> list[str]:
    """Return the lines above a pair: the names of test and training image, how they are alike."""
    names = [PurePosixPath(row[key]).stem for key in ("id", "nearest")]
    lines = [" – ".join(names)]
    if len(lines[0]) > WIDTH:
        lines = [name if len(name) <= WIDTH else f"…{name[1 - WIDTH :]}" for name in names]
    rounded = f"r = {row['similarity']:.5f}" if row["similarity"] < 0.999995 else "r > 0.99999"
    return [*lines, f"{rounded}, {row['symmetry']}"]


def add_picture(figure: Figure, left: float, top: float, picture: np.ndarray, label: str, **look):
    """Add a picture of SIDE inches; `left` and `top` in inches from the figure's upper left."""
    width, height = figure.get_size_inches()
    place = (left / width, 1 - (top + SIDE) / height, SIDE / width, SIDE / height)
    axes = figure.add_axes(place, label=label, xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    return axes.imshow(picture, **look)


def draw(*, data: PackedDataset, test: pd.DataFrame, bands: Sequence[Band], name: str) -> Figure:
    """Draw the figure from the rows `test` of images.tsv, numbered from 0.

    Labels of axes: "{column} {position in the test split}".
    """
    pairs = {i: find_pair(data, test.loc[i], i) for band in bands for i in band.chosen}
    texts = {i: describe(test.loc[i]) for i in pairs}
    label = LINE * max(len(lines) for lines in texts.values()) + 0.03
    rows = sum(math.ceil(len(band.chosen) / PER_ROW) for band in bands)
    high = HEAD + len(bands) * BAND + rows * (label + SIDE + 0.08) + FOOT
    figure = Figure(figsize=(figures.PAGE_WIDTH, high))

    def write(left: float, top: float, text: str, **options) -> None:
        place = left / figures.PAGE_WIDTH, 1 - top / high
        figure.text(*place, figures.plain(text), **options)

    title = f"{name}: test images and the training images most like them"
    write(figures.PAGE_WIDTH / 2, 0.07, title, ha="center", va="top", fontsize=8, weight="bold")
    vmax = max(1, np.percentile([pair[-1] for pair in pairs.values()], PERCENTILE))
    heat = {"cmap": "inferno", "vmin": 0, "vmax": vmax}
    for place in range(PER_ROW):
        for column, text in enumerate(COLUMNS):
            left = GAP + place * (PAIR + GAP) + column * (SIDE + SEAM) + SIDE / 2
            write(left, HEAD - 0.05, text, ha="center", va="bottom")
    top = HEAD
    for band in bands:
        write(GAP, top + BAND - 0.05, band.title, va="bottom", weight="bold", fontsize=8)
        top += BAND
        for start in range(0, len(band.chosen), PER_ROW):
            for place, i in enumerate(band.chosen[start : start + PER_ROW]):
                left = GAP + place * (PAIR + GAP)
                color = figures.ABNORMAL if test.loc[i, "label"] else figures.NORMAL
                text = "\n".join(texts[i])
                write(left, top + label - 0.03, text, va="bottom", color=color, linespacing=1.1)
                for column, picture in zip(COLUMNS, pairs[i], strict=True):
                    look = heat
                    if column != "difference":
                        picture, look = figures.as_picture(picture / 127.5 - 1), {}
                    image = add_picture(figure, left, top + label, picture, f"{column} {i}", **look)
                    left += SIDE + SEAM
            top += label + SIDE + 0.08
    add_color_bar(figure, image, top)
    note = (
        "blue: normal, red: abnormal test image\nmoved: the training image as the test image lies"
    )
    write(GAP, top + 0.1, note, va="top")
    return figure


def add_color_bar(figure: Figure, image, top: float) -> Axes:
    """Add the scale of the differences at the right, `top` inches from the figure's top."""
    width, height = figure.get_size_inches()
    box = (0.55, 1 - (top + 0.19) / height, 2.8 / width, 0.09 / height)
    axes = figure.add_axes(box, label="colour bar")
    label = "absolute difference (intensities 0–255)"
    look = {"orientation": "horizontal", "extend": "max", "ticks": MaxNLocator(6, integer=True)}
    figure.colorbar(image, cax=axes, label=label, **look)
    return axes


def plot_copies(
    *, packed: Path, images: Path, thresholds: Path, name: str, pdf: Path, png: Path
) -> None:
    """Draw the contact sheet of a dataset, and write `pdf` and `png`."""
    data = read_packed(packed)
    audit = read_audit(images, data)
    test = audit[audit["split"] == "test"].reset_index(drop=True)
    bands = make_bands(test, read_table(thresholds))
    with figures.house_style():
        drawn = draw(data=data, test=test, bands=bands, name=name)
        figures.save_figure(drawn, pdf=pdf, png=png)


if __name__ == "__main__":
    from medae.base.logs import script_logging

    with script_logging(snakemake.log[0]):
        plot_copies(
            packed=Path(snakemake.input.packed),
            images=Path(snakemake.input.images),
            thresholds=Path(snakemake.input.thresholds),
            name=snakemake.params.name,
            pdf=Path(snakemake.output.pdf),
            png=Path(snakemake.output.png),
        )
