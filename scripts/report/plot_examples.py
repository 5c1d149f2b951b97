"""Draw example images of one dataset with their reconstructions and anomaly maps.

One column per example of the full test set: on top the input with the outline of its mask,
below for each setting the reconstruction and the anomaly map side by side, of the reference also
the map by information. Maps of squared errors have one colour scale, by their root, since a few
errors are far above the others; other maps have one per setting.
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from textwrap import fill

import h5py
import numpy as np
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from medae.report import figures, sheets
from medae.report.choosing import PERCENTILE
from medae.report.rows import check_test_images

# Inches: width of the row labels, space between and within columns, height of titles and colour bar
LABELS, GAP, SEAM, HEAD, FOOT = 0.55, 0.1, 0.03, 0.68, 0.56


def draw(
    file: h5py.File,
    *,
    name: str,
    settings: Sequence[Mapping],
    methods: Mapping[str, str],
    own_maps: Collection[str],
) -> Figure:
    """Draw the figure; labels of axes: "input {i}", "ae d4 reconstruction {i}", "ae d4 map {i}"."""
    keys = [(setting["method"], setting["latent_dim"]) for setting in settings]
    shown = [
        (*key, kind)
        for key in keys
        for kind in ("maps", "information")
        if kind in file["{}/d{}".format(*key)]
    ]
    count = len(file["images"])
    pair = (figures.PAGE_WIDTH - LABELS - count * GAP) / count
    cell = (pair - SEAM) / 2
    bottom = HEAD + pair + GAP + len(shown) * (cell + SEAM)
    method, size = file.attrs["reference"].split("/d")
    title = f"{name}: examples of the full test set by the score of {methods[method]}"
    sheet = sheets.Sheet(height=bottom + FOOT, title=f"{title}, d = {size}")
    squared = [key for key in keys if key[0] not in own_maps]
    errors = [file[f"{m}/d{d}/maps"][()] for m, d in squared]
    end = np.percentile(errors, PERCENTILE) if squared else 0
    looks = {}
    for method, d, kind in shown:
        maps = file[f"{method}/d{d}/{kind}"][()]
        low = np.percentile(maps, 100 - PERCENTILE) if kind == "information" else 0
        looks[method, d, kind] = {"vmin": low, "vmax": np.percentile(maps, PERCENTILE)}
        if (method, d) in squared and kind == "maps":
            looks[method, d, kind] = {"norm": PowerNorm(0.5, vmin=0, vmax=end)}
    scale = None  # the last picture of the colour bar's scale
    for i in range(count):
        left = LABELS + i * (pair + GAP)
        image = sheet.add_picture(left, HEAD, pair, file["images"][i], f"input {i}")
        heading = [*file["roles"].asstr()[i].split(), f"{file['scores'][i]:#.3g}"]
        look = {"color": sheets.CLASS_COLORS[file["labels"][i]], "fontsize": figures.FONT_SIZE}
        image.axes.set_title("\n".join(heading), pad=3, **look)
        if "masks" in file and file["masks"][i].any():
            look = {"colors": [figures.ORANGE], "linewidths": 1}
            image.axes.contour(file["masks"][i], levels=[0.5], **look)
        for row, (method, d, kind) in enumerate(shown):
            group, top = file[f"{method}/d{d}"], HEAD + pair + GAP + row * (cell + SEAM)
            label = f"{method} d{d}" + f" {kind}" * (kind != "maps")
            again, look = group["reconstructions"][i], looks[method, d, kind]
            image = sheet.add_picture(left, top, cell, again, f"{label} reconstruction {i}")
            if i == 0:
                text = figures.plain(fill(methods[method], 8)) + f"\nd = {d}" * (d > 0)
                if kind == "information":
                    bits = "\n{vmin:.1f} to\n{vmax:.1f} bits".format(**look)
                    text += bits.replace("-", "−")
                lies = {"rotation": 0, "ha": "right", "va": "center"}
                image.axes.set_ylabel(text, fontsize=figures.FONT_SIZE, **lies)
            place = left + cell + SEAM, top, cell
            image = sheet.add_picture(*place, group[kind][i], f"{label} map {i}", **look)
            scale = image if "norm" in look else scale
    note = "pairs: reconstruction and anomaly map"
    note += "\nbits: the map by information" * any(kind != "maps" for *_, kind in shown)
    note += "\norange outline: mask" if "masks" in file else ""
    if len(squared) < len(shown):
        note += "\nscales of their own: maps other than squared errors"
    sheet.add_foot(LABELS, bottom + 0.08, note, scale, "squared error")
    return sheet.figure


def plot_examples(
    *,
    examples: Path,
    name: str,
    settings: Sequence[Mapping],
    methods: Mapping[str, str],
    own_maps: Collection[str],
) -> Figure:
    """Draw `settings` of the file `examples`, which select_examples.py writes.

    `own_maps` are the methods whose maps are not squared errors.
    """
    with h5py.File(examples) as file:
        check_test_images(file.get("images", ()))
        return draw(file, name=name, settings=settings, methods=methods, own_maps=own_maps)


if __name__ == "__main__":
    from medae.base.scripts import run_script

    run_script(figures.saved(plot_examples), snakemake)
