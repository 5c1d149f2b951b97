"""Draw example images of one dataset with their reconstructions and anomaly maps.

Input: `examples`, the file of select_examples.py. Parameters: `name`, the dataset's display name;
`settings`, a list of {method, latent_dim}: those to show, in their order.
Outputs: `pdf` and `png`, one column per example of the published test set: on top the input with
the outline of its mask, below for each setting the reconstruction and the anomaly map side by side.
All maps have one colour scale, which ends at their 99.5th percentile.
Fails when the file is damaged.
"""

from pathlib import Path
from textwrap import fill

import h5py
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from medae.report import figures

PERCENTILE = 99.5  # of all pixels of the maps; the few above would leave the rest in the dark
# Inches: width of the row labels, space between and within columns, height of titles and colour bar
LABELS, GAP, SEAM, HEAD, FOOT = 0.55, 0.1, 0.03, 0.68, 0.56


def add_box(figure: Figure, box: tuple[float, float, float, float], label: str) -> Axes:
    """Add axes without ticks or frame; `box` is left, top, width, height in inches from the top."""
    width, height = figure.get_size_inches()
    left, top, wide, high = box
    place = (left / width, 1 - (top + high) / height, wide / width, high / height)
    axes = figure.add_axes(place, label=label, xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    return axes


def draw(file: h5py.File, name: str, settings: list[dict]) -> Figure:
    """Draw the figure; labels of axes: "input {i}", "ae d4 reconstruction {i}", "ae d4 map {i}"."""
    shown = [(setting["method"], setting["latent_dim"]) for setting in settings]
    count = len(file["images"])
    pair = (figures.PAGE_WIDTH - LABELS - count * GAP) / count
    cell = (pair - SEAM) / 2
    bottom = HEAD + pair + GAP + len(shown) * (cell + SEAM)
    figure = Figure(figsize=(figures.PAGE_WIDTH, bottom + FOOT))
    method, size = file.attrs["reference"].split("/d")
    title = f"{figures.plain(name)}: examples of the published test set by the score of "
    title += f"{figures.method_name(method)}, d = {size}"
    figure.suptitle(title, y=1 - 0.05 / (bottom + FOOT), fontsize=8, fontweight="bold")
    vmax = np.percentile([file[f"{m}/d{d}/maps"][()] for m, d in shown], PERCENTILE)
    for i in range(count):
        left = LABELS + i * (pair + GAP)
        axes = add_box(figure, (left, HEAD, pair, pair), f"input {i}")
        axes.imshow(figures.as_picture(file["images"][i]))
        heading = [*file["roles"].asstr()[i].split(), f"{file['scores'][i]:#.3g}"]
        color = figures.ABNORMAL if file["labels"][i] else figures.NORMAL
        axes.set_title("\n".join(heading), color=color, fontsize=figures.FONT_SIZE, pad=3)
        if "masks" in file and file["masks"][i].any():
            axes.contour(file["masks"][i], levels=[0.5], colors=[figures.ORANGE], linewidths=1)
        for row, (method, d) in enumerate(shown):
            group, top = file[f"{method}/d{d}"], HEAD + pair + GAP + row * (cell + SEAM)
            axes = add_box(figure, (left, top, cell, cell), f"{method} d{d} reconstruction {i}")
            axes.imshow(figures.as_picture(group["reconstructions"][i]))
            if i == 0:
                text = fill(figures.method_name(method), 8) + f"\nd = {d}" * (d > 0)
                axes.set_ylabel(text, rotation=0, ha="right", va="center", fontsize=7)
            box = (left + cell + SEAM, top, cell, cell)
            axes = add_box(figure, box, f"{method} d{d} map {i}")
            image = axes.imshow(group["maps"][i], cmap="inferno", vmin=0, vmax=vmax)
    bar = add_box(figure, (0.55 * figures.PAGE_WIDTH, bottom + 0.08, 2.9, 0.09), "colour bar")
    label = "squared error (intensities in [−1, 1])"
    look = {"orientation": "horizontal", "extend": "max", "ticks": MaxNLocator(6)}
    figure.colorbar(image, cax=bar, label=label, **look)
    note = "pairs: reconstruction and anomaly map"
    note += "\norange outline: mask" if "masks" in file else ""
    figure.text(LABELS / figures.PAGE_WIDTH, (FOOT - 0.08) / (bottom + FOOT), note, va="top")
    return figure


def plot_examples(*, examples: Path, name: str, settings: list[dict], pdf: Path, png: Path) -> None:
    """Draw `settings` of the file `examples`, and write `pdf` and `png`."""
    with figures.house_style(), h5py.File(examples) as file:
        figures.save_figure(draw(file, name, settings), pdf=pdf, png=png)


if __name__ == "__main__":
    from medae.base.logs import script_logging

    with script_logging(snakemake.log[0]):
        plot_examples(
            examples=Path(snakemake.input.examples),
            name=snakemake.params.name,
            settings=snakemake.params.settings,
            pdf=Path(snakemake.output.pdf),
            png=Path(snakemake.output.png),
        )
