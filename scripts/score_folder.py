"""Score a folder of images with a trained model; run by hand, outside Snakemake, without labels.

    python scripts/score_folder.py IMAGES results/RUN/models/…/checkpoint.safetensors --out OUT

The same file gets the same score as in the workflow. OUT gets `scores.tsv`, with id (the file's
name), score, and percentile (the percentage of the dataset's training images that score at most as
much; empty where the run's scores are not there), and a picture of each image, `pictures/<id>.png`.
Fails, and writes nothing, when OUT has something in it, when an image cannot be read, when there is
none, or when the model is missing or damaged.
"""

import argparse
import logging
import os
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from scipy.stats import percentileofscore

from medae.base.errors import InputError
from medae.base.files import atomic_folder, read_table, write_table
from medae.data.images import Findings, check_range, load_record
from medae.data.layouts import Record, check_names, images_in
from medae.models.checkpoints import load_checkpoint
from medae.models.networks import normalise
from medae.models.score_files import SCORE_COLUMNS
from medae.models.scoring import score_batches
from medae.models.torch_setup import allow_tf32, make_deterministic, select_device
from medae.report import figures
from medae.report.choosing import HEAT, PERCENTILE

logger = logging.getLogger(__name__)

PANELS = ("input", "reconstruction", "anomaly map", "map over the input")
NAME_LENGTH = 70  # characters that fit above a picture
DPI = 150  # of the pictures; the pixels that they show are few


def training_scores(model: Path) -> np.ndarray | None:
    """Return the scores of the dataset's training images by this model; None where they are not.

    They lie beside <run>/models/<dataset>/<training set>/<method>/<d>/<seed>/, in <run>/scores/….
    """
    parts = list(model.resolve().parent.parts)
    parts[-6:-5] = ["scores"]
    path = Path(*parts, "scores.tsv")
    if not path.exists():
        logger.warning("no percentiles: the scores of the run of %s are not there", model)
        return None
    table = read_table(path, SCORE_COLUMNS)
    return table.loc[table["split"] == "train", "score"].to_numpy()


def read_images(
    folder: Path, *, channels: int, image_size: int, intensity_range: tuple[float, float] | None
) -> tuple[list[str], np.ndarray]:
    """Return the names and the pixels (uint8, N × C × H × W) of the images, sorted by name.

    Raises InputError when the folder is missing or has none, or some that cannot be used.
    """
    paths = sorted(images_in(folder), key=lambda path: path.name)
    records = [Record("test", path.name, 0, path) for path in paths]
    check_names(folder, records)
    options = {"channels": channels, "image_size": image_size, "intensity_range": intensity_range}
    found, loaded = Findings(), [load_record(record, root=folder, **options) for record in records]
    for one in loaded:
        found.add(one)
    found.check(folder)
    found.log()
    return [record.id for record in records], np.stack([one.image.pixels for one in loaded])


def draw_picture(
    image: np.ndarray, reconstruction: np.ndarray, error: np.ndarray, *, vmax: float, title: str
) -> Figure:
    """Return the picture of one image, with axes labelled by PANELS.

    Image and reconstruction are C × H × W in [-1, 1], the anomaly map H × W; `vmax` ends its scale.
    """
    figure = Figure(figsize=(figures.PAGE_WIDTH, 2.2))
    figure.suptitle(title)
    axes = figure.subplots(1, len(PANELS))
    figure.subplots_adjust(left=0.01, right=0.89, bottom=0.02, top=0.74, wspace=0.05)
    for one, panel, values in zip(axes, PANELS, (image, reconstruction, None, image), strict=True):
        one.set(label=panel, title=panel, xticks=[], yticks=[])
        one.spines[:].set_visible(False)
        if values is not None:
            one.imshow(figures.as_picture(values))
    colours = {"cmap": HEAT, "vmin": 0, "vmax": vmax}
    layer = axes[2].imshow(error, **colours)
    axes[3].imshow(error, alpha=np.clip(error / vmax, 0, 1), **colours)
    bar = figure.colorbar(layer, cax=figure.add_axes((0.905, 0.06, 0.012, 0.64)), extend="max")
    bar.set_label("anomaly map")
    return figure


def score_folder(*, images: Path, model: Path, out: Path, device: str) -> None:
    """Score the image files in `images` with the checkpoint `model` and write the folder `out`."""
    if not model.is_file() or model.suffix != ".safetensors":
        raise InputError(
            f"{model} is no model. Name a file results/<run>/models/…/checkpoint.safetensors "
            "that the workflow has trained."
        )
    with atomic_folder(out.resolve()) as folder, figures.house_style():
        chosen = select_device(device)
        network, description = load_checkpoint(model, chosen)
        make_deterministic(description["training"]["torch_threads"])
        allow_tf32(description["training"]["precision"])
        names, pixels = read_images(
            images,
            channels=description["arguments"]["channels"],
            image_size=description["arguments"]["image_size"],
            intensity_range=check_range(description["intensity_range"]),
        )
        found = list(score_batches(network, pixels, device=chosen))
        scores, maps, reconstructions = (
            np.concatenate([getattr(batch, name) for batch in found])
            for name in ("scores", "maps", "reconstructions")
        )
        if not np.isfinite(scores).all():
            raise InputError("The model gives scores that are not finite. Train it from scratch.")
        shares = np.full(len(scores), np.nan)
        if (training := training_scores(model)) is not None:
            shares = percentileofscore(training, scores, kind="weak")
        table = pd.DataFrame({"id": names, "score": scores, "percentile": shares})
        write_table(table, folder / "scores.tsv")
        inputs = normalise(torch.from_numpy(pixels)).numpy()
        vmax = float(np.percentile(maps, PERCENTILE)) or 1.0  # any, where all maps are 0
        (folder / "pictures").mkdir()
        rows = zip(names, scores, shares, inputs, reconstructions, maps, strict=True)
        for name, score, share, *arrays in rows:
            short = name if len(name) <= NAME_LENGTH else f"…{name[1 - NAME_LENGTH :]}"
            title = f"{figures.plain(short)}\nscore {score:#.3g}"
            if not np.isnan(share):
                title += f", percentile {share:.1f} among the training images"
            figure = draw_picture(*arrays, vmax=vmax, title=title)
            path = folder / "pictures" / f"{name}.png"
            figure.savefig(path, dpi=DPI, metadata={"Software": None})
    logger.info("%d images scored, see %s", len(names), out)


if __name__ == "__main__":
    from medae.base.logs import script_logging

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", type=Path, help="folder of PNG, JPEG, TIFF or BMP files")
    parser.add_argument("model", type=Path, help="checkpoint.safetensors of a run")
    parser.add_argument("--out", type=Path, help="new folder (results/scored/<name of IMAGES>)")
    devices = ["auto", "cuda", "mps", "cpu"]
    parser.add_argument("--device", choices=devices, default="auto", help="where to compute")
    chosen = vars(parser.parse_args())
    chosen["out"] = chosen["out"] or Path("results/scored", chosen["images"].resolve().name)
    with script_logging(os.devnull):  # to the screen alone
        score_folder(**chosen)
