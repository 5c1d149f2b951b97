"""Draw test images of one dataset with the anomaly maps of several scores.

Inputs: the packed dataset; the table of scores (`scores`) and the file with the reconstructions
(`maps`) of one model. Parameter: `name`, the dataset's display name.
Outputs: `pdf` and `png`. A row is an image: by rank of the squared error, the abnormal images at
one, three, five and seven eighths, and the normal image in the middle, so that nobody picks the
nice ones. Columns are the input with the outline of its mask, the reconstruction, and the maps of
SHOWN, each with its own colour scale, which ends at the percentiles 100 - LAST and LAST
of the maps shown.
Fails when the files are not about the same test images, or a class has none.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from medae.base.errors import InputError
from medae.data.packed import read_packed
from medae.models.score_files import read_maps, read_scores
from medae.report import figures
from medae.theory.score_names import display_name, parse_variant
from medae.theory.scores import measure_moments, score_images

SHOWN = ["mse", "relative_w9", "information_w9", "information_w17", "ncc_w9"]
UNITS = {"mse": "", "relative": "", "information": "bits per pixel", "ncc": "", "variance": ""}
EIGHTHS = [1, 3, 5, 7]
LAST = 99.5  # percentile
# Inches: row labels, space within and above rows, height of titles and of the colour bars
LABELS, SEAM, HEAD, FOOT = 0.62, 0.05, 0.5, 0.5
CELL = (figures.PAGE_WIDTH - LABELS - (len(SHOWN) + 2) * SEAM) / (len(SHOWN) + 2)


def choose(*, ids: Sequence[str], labels: np.ndarray, scores: np.ndarray) -> dict[str, int]:
    """Return row label -> image's position; InputError when a class is empty.

    Of n images by ascending score, ties by id, k eighths are at position (n - 1) · k // 8.
    """
    chosen = {}
    for label, name, eighths in ((1, "abnormal", EIGHTHS), (0, "normal", [4])):
        ranked = sorted(np.flatnonzero(labels == label), key=lambda i: (scores[i], ids[i]))
        if not ranked:
            raise InputError(f"There is no {name} test image to show. Add some to the dataset.")
        for k in eighths:
            chosen[f"{name}\n{k}/8"] = int(ranked[(len(ranked) - 1) * k // 8])
    return chosen


def make_maps(images: np.ndarray, reconstructions: np.ndarray, *, floor: float) -> dict:
    """Return the maps of SHOWN, each N × H × W, by name; `floor` as in `medae.theory.scores`."""
    found = {}
    for name in SHOWN:
        kind, window, multiple = parse_variant(name)
        pair = {"images": images, "reconstructions": reconstructions}
        moments = measure_moments(**pair, window=window)
        found[name] = score_images(kind, **pair, moments=moments, epsilon=multiple * floor)[1]
    return found


def add_picture(figure: Figure, column: int, row: int, picture: np.ndarray, label: str, **look):
    """Add a picture in the grid of cells; return its image."""
    width, height = figure.get_size_inches()
    left = LABELS + column * (CELL + SEAM)
    bottom = height - HEAD - (row + 1) * (CELL + SEAM)
    place = (left / width, bottom / height, CELL / width, CELL / height)
    axes = figure.add_axes(place, label=label, xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    return axes.imshow(picture, **look)


def draw(
    *,
    rows: Sequence[str],
    images: np.ndarray,
    reconstructions: np.ndarray,
    masks: np.ndarray | None,
    maps: dict[str, np.ndarray],
    name: str,
) -> Figure:
    """Draw the figure of the chosen images, in the order of the labels `rows`.

    Labels of axes: "input {row}", "reconstruction {row}", "{score} {row}", from 0, and
    "colour bar {score}".
    """
    height = HEAD + len(rows) * (CELL + SEAM) + FOOT
    figure = Figure(figsize=(figures.PAGE_WIDTH, height))
    title = f"{figures.plain(name)}: anomaly maps by score"
    figure.suptitle(title, y=1 - 0.05 / height, fontsize=8, fontweight="bold")
    for i, text in enumerate(rows):
        shown = add_picture(figure, 0, i, figures.as_picture(images[i]), f"input {i}")
        color = figures.NORMAL if text.startswith("normal") else figures.ABNORMAL
        shown.axes.set_ylabel(text, rotation=0, ha="right", va="center", color=color, fontsize=7)
        if masks is not None and masks[i].any():
            shown.axes.contour(masks[i], levels=[0.5], colors=[figures.ORANGE], linewidths=1)
        again = figures.as_picture(reconstructions[i])
        add_picture(figure, 1, i, again, f"reconstruction {i}")
    headings = ["input", "reconstruction"]
    for column, (score, values) in enumerate(maps.items(), start=2):
        low, high = np.percentile(values, [100 - LAST, LAST])
        for i in range(len(rows)):
            look = {"cmap": "inferno", "vmin": low, "vmax": high}
            shown = add_picture(figure, column, i, values[i], f"{score} {i}", **look)
        headings.append(display_name(score).replace(", ", "\n", 1))
        add_color_bar(figure, shown, column, score)
    for column, text in enumerate(headings):
        left = LABELS + column * (CELL + SEAM) + CELL / 2
        place = left / figures.PAGE_WIDTH, 1 - (HEAD - 0.04) / height
        figure.text(*place, text, ha="center", va="bottom", fontsize=7, linespacing=1.1)
    if masks is not None:
        place = 0.05 / figures.PAGE_WIDTH, (FOOT - 0.1) / height
        figure.text(*place, "orange outline: mask", va="top", fontsize=7)
    return figure


def add_color_bar(figure: Figure, shown, column: int, score: str) -> None:
    """Add the scale of a column of maps below it."""
    width, height = figure.get_size_inches()
    left = LABELS + column * (CELL + SEAM) + 0.06
    box = (left / width, (FOOT - 0.1) / height, (CELL - 0.12) / width, 0.06 / height)
    axes = figure.add_axes(box, label=f"colour bar {score}")
    look = {"orientation": "horizontal", "ticks": MaxNLocator(2)}
    figure.colorbar(shown, cax=axes, label=UNITS[parse_variant(score).kind], **look)
    axes.xaxis.label.set_size(7)


def plot_score_maps(
    *, packed: Path, scores: Path, maps: Path, name: str, pdf: Path, png: Path
) -> None:
    """Choose the images, draw them, and write `pdf` and `png`."""
    data = read_packed(packed)
    table = read_scores(scores, data)
    test = table[table["split"] == "test"]
    chosen = choose(ids=data.test_ids, labels=data.test_labels, scores=test["score"].to_numpy())
    rows = list(chosen.values())
    images = data.test_images[rows].astype(np.float32) / np.float32(127.5) - 1
    again = read_maps(maps, data, name="reconstructions", rows=rows)
    floor = table.loc[table["split"] == "train", "reconstruction_error"].mean()
    with figures.house_style():
        drawn = draw(
            rows=list(chosen),
            images=images,
            reconstructions=again,
            masks=None if data.test_masks is None else data.test_masks[rows],
            maps=make_maps(images, again, floor=floor),
            name=name,
        )
        figures.save_figure(drawn, pdf=pdf, png=png)


if __name__ == "__main__":
    from medae.base.logs import script_logging

    with script_logging(snakemake.log[0]):
        plot_score_maps(
            packed=Path(snakemake.input.packed),
            scores=Path(*snakemake.input.scores),
            maps=Path(*snakemake.input.maps),
            name=snakemake.params.name,
            pdf=Path(snakemake.output.pdf),
            png=Path(snakemake.output.png),
        )
