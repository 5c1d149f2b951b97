"""Score a folder of images with a trained model; run by hand, outside Snakemake, without labels.

    python scripts/score_folder.py IMAGES results/RUN/models/…/checkpoint.safetensors --out OUT

Images are read as pack_dataset.py reads them and scored as score_images.py does: the same file gets
the same score. The intensity range is that of the packed dataset of the model's run; where the
model has left its run it has to be given.
Outputs in OUT: `scores.tsv`, with id (the file's name), score, and percentile (the percentage of
the dataset's training images that score at most as much; empty where the run's scores are not
there); and `pictures/<id>.png`: the input as the model sees it, its reconstruction, the anomaly
map, and the map over the input. All maps have one colour scale, which ends at their 99.5th
percentile.
Fails, and writes nothing, when OUT has something in it, when an image cannot be read, when there is
none, on a model or a range that is missing, damaged or does not fit the run.
"""

import argparse
import json
import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from medae.base.errors import InputError
from medae.base.files import read_table, write_table
from medae.data.images import Findings, check_range, load_record
from medae.data.layouts import Record, check_names, images_in, name_some
from medae.data.packed import read_packed
from medae.models.checkpoints import load_checkpoint
from medae.models.networks import normalise
from medae.models.score_files import SCORE_COLUMNS
from medae.models.scoring import Scores, score_batches
from medae.models.torch_setup import make_deterministic, select_device
from medae.report import figures

logger = logging.getLogger(__name__)

BATCH_SIZE = 64  # images; changes no score beyond rounding
PERCENTILE = 99.5  # of all pixels of the maps; the few above would leave the rest in the dark
PANELS = ("input", "reconstruction", "anomaly map", "map over the input")
NAME_LENGTH = 70  # characters that fit above a picture
DPI = 150  # of the pictures; the pixels that they show are few

Range = tuple[float, float] | None


def run_of(model: Path) -> tuple[Path, Path] | None:
    """Return (the run's folder, the setting's path in it) of a checkpoint; None for any other file.

    The Snakefile has the grammar: <run>/models/<dataset>/<training set>/<method>/<d>/<seed>/.
    """
    folder = model.resolve().parent
    if len(folder.parents) < 6 or folder.parents[4].name != "models":
        return None
    return folder.parents[5], folder.relative_to(folder.parents[4])


def training_range(model: Path, description: dict, given: str | None) -> Range:
    """Return the intensity range [low, high] of training, None being that of the bit depth.

    `given` is JSON, for models without their run. Raises InputError when neither it nor the packed
    dataset of the run says the range, or when they disagree.
    """
    run = run_of(model)
    name = f"{description['dataset']}_{description['arguments']['image_size']}px.h5"
    packed = run[0] / "packed" / name if run else None
    stated = _parse_range(given) if given is not None else None
    if packed is None or not packed.exists():
        if given is None:
            raise InputError(
                f"The intensity range that {model} was trained with is in the packed dataset of "
                f"its run, packed/{name}, which is not there. Give the `intensity_range` of the "
                "dataset's registry entry: --intensity-range null if it has none, or "
                "--intensity-range '[0, 4095]' (with make, RANGE=null or RANGE='[0, 4095]')."
            )
        return stated
    attributes = read_packed(packed).attributes
    if attributes["source_sha256"] != description["dataset_sha256"]:
        raise InputError(
            f"{model} was trained on other images than those of {packed}. Run the workflow again, "
            "which repeats the training, or name a checkpoint of the present run."
        )
    trained = check_range(json.loads(attributes["intensity_range"]))
    if given is not None and stated != trained:
        raise InputError(
            f"The intensity range {given} was given, but {model} was trained with "
            f"{attributes['intensity_range']}, as {packed} says. Leave it out."
        )
    return trained


def training_scores(model: Path) -> np.ndarray | None:
    """Return the scores of the dataset's training images by this model; None where they are not.

    Raises InputError when the table is damaged.
    """
    run = run_of(model)
    path = run[0] / "scores" / run[1] / "scores.tsv" if run else None
    if path is None or not path.exists():
        logger.warning("no percentiles: the scores of the run of %s are not there", model)
        return None
    table = read_table(path)
    if list(table.columns) == SCORE_COLUMNS:
        scores = table.loc[table["split"] == "train", "score"]
        if len(scores) and pd.api.types.is_numeric_dtype(scores) and scores.notna().all():
            return scores.to_numpy()
    raise InputError(
        f"{path} is not a table of scores with training images. Delete it and run the workflow "
        "again; it will be made anew."
    )


def percentiles(scores: np.ndarray, training: np.ndarray | None) -> np.ndarray:
    """Return the percentage of training images that score at most as much as each score."""
    if training is None:
        return np.full(len(scores), np.nan)
    return 100 * np.searchsorted(np.sort(training), scores, side="right") / len(training)


def read_images(
    folder: Path, *, channels: int, image_size: int, intensity_range: Range
) -> tuple[list[str], np.ndarray]:
    """Return the names and the pixels (uint8, N × C × H × W) of the images, sorted by name.

    Raises InputError when the folder is missing or has none, or some that cannot be used.
    """
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}. Name one that holds the images to score.")
    paths = sorted(images_in(folder), key=lambda path: path.name)
    records = [Record("test", path.name, 0, path) for path in paths]
    check_names(folder, records)
    found, pixels = Findings(), []
    options = {"channels": channels, "image_size": image_size, "intensity_range": intensity_range}
    for record in records:
        loaded = load_record(record, root=folder, **options)
        found.add(folder, loaded)
        if loaded.image is not None:
            pixels.append(loaded.image.pixels)
    reasons = {name: why for kind in found.failures.values() for name, why in kind.items()}
    if reasons:
        first = min(reasons)
        raise InputError(
            f"{len(reasons)} of {len(records)} images in {folder} cannot be scored: "
            f"{name_some(reasons)} ({first!r}: {reasons[first]}). Replace them by intact files "
            "that hold one image of 8-bit grey or colour or 16-bit grey, or take them out."
        )
    found.log()
    return [record.id for record in records], np.stack(pixels)


def score_all(
    network: torch.nn.Module, images: np.ndarray, *, device: torch.device
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return scores N, anomaly maps N × H × W and reconstructions N × C × H × W."""
    batches: list[Scores] = list(
        score_batches(network, images, batch_size=BATCH_SIZE, device=device)
    )
    scores, maps, reconstructions = (
        np.concatenate([getattr(batch, name) for batch in batches])
        for name in ("scores", "maps", "reconstructions")
    )
    if not np.isfinite(scores).all():
        raise InputError("The model gives scores that are not finite. Train it anew.")
    return scores, maps, reconstructions


def describe(name: str, score: float, percentile: float) -> str:
    """Return what stands above the picture of an image."""
    short = name if len(name) <= NAME_LENGTH else f"…{name[1 - NAME_LENGTH :]}"
    text = f"{figures.plain(short)}\nscore {score:#.3g}"
    if np.isnan(percentile):
        return text
    return f"{text}, percentile {percentile:.1f} among the training images"


def draw_pictures(
    images: np.ndarray, reconstructions: np.ndarray, maps: np.ndarray, titles: Sequence[str]
) -> Iterator[Figure]:
    """Yield one figure per image, the same object each time; axes are labelled by PANELS.

    Images and reconstructions are N × C × H × W in [-1, 1], maps N × H × W.
    """
    vmax = float(np.percentile(maps, PERCENTILE)) or 1.0  # of maps that are nought, any
    figure = Figure(figsize=(figures.PAGE_WIDTH, 2.2), layout="constrained")
    axes = [
        figure.add_subplot(1, len(PANELS), i + 1, label=panel, title=panel, xticks=[], yticks=[])
        for i, panel in enumerate(PANELS)
    ]
    for one in axes:
        one.spines[:].set_visible(False)
    pictures = [one.imshow(figures.as_picture(images[0])) for one in (axes[0], axes[1], axes[3])]
    colours = {"cmap": "inferno", "vmin": 0, "vmax": vmax}
    layers = [axes[2].imshow(maps[0], **colours), axes[3].imshow(maps[0], **colours)]
    bar = figure.colorbar(layers[0], ax=axes, extend="max", shrink=0.8, aspect=15)
    bar.set_label("squared error\n(intensities in [−1, 1])")
    figure.suptitle(titles[0])
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # one layout fits all, and takes as long as the drawing
    for image, reconstruction, error, title in zip(
        images, reconstructions, maps, titles, strict=True
    ):
        for picture, values in zip(pictures, (image, reconstruction, image), strict=True):
            picture.set_data(figures.as_picture(values))
        for layer in layers:
            layer.set_data(error)
        layers[1].set_alpha(np.clip(error / vmax, 0, 1))
        figure.suptitle(title)
        yield figure


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a folder that becomes `path`, which has nothing in it, when the block succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as temporary:
        folder = Path(temporary, "new")  # with the usual permissions, unlike the one around it
        folder.mkdir()
        yield folder
        folder.replace(path)


def score_folder(
    *, images: Path, model: Path, out: Path, intensity_range: str | None, device: str
) -> None:
    """Score the image files in `images` with the checkpoint `model` and write the folder `out`."""
    out = out.resolve()
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise InputError(f"{out} has something in it already. Name another folder, or remove it.")
    if not model.is_file() or model.suffix != ".safetensors":
        raise InputError(
            f"{model} is no model. Name a file results/<run>/models/…/checkpoint.safetensors "
            "that the workflow has trained."
        )
    chosen = select_device(device)
    network, description = load_checkpoint(model, chosen)
    make_deterministic(description["training"]["torch_threads"])
    names, pixels = read_images(
        images,
        channels=description["arguments"]["channels"],
        image_size=description["arguments"]["image_size"],
        intensity_range=training_range(model, description, intensity_range),
    )
    training = training_scores(model)
    scores, maps, reconstructions = score_all(network, pixels, device=chosen)
    shares = percentiles(scores, training)
    titles = [describe(*row) for row in zip(names, scores, shares, strict=True)]
    inputs = normalise(torch.from_numpy(pixels)).numpy()
    with new_folder(out) as folder, figures.house_style():
        write_table(
            pd.DataFrame({"id": names, "score": scores, "percentile": shares}),
            folder / "scores.tsv",
        )
        (folder / "pictures").mkdir()
        drawn = draw_pictures(inputs, reconstructions, maps, titles)
        for name, figure in zip(names, drawn, strict=True):
            path = folder / "pictures" / f"{name}.png"
            figure.savefig(path, dpi=DPI, metadata={"Software": None})
    logger.info("%d images scored, see %s", len(names), out)


def _parse_range(text: str) -> Range:
    try:
        return check_range(json.loads(text))
    except (TypeError, ValueError):
        raise InputError(
            f"The intensity range {text!r} is neither null nor [low, high], such as [0, 4095]."
        ) from None


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", type=Path, help="folder of PNG, JPEG, TIFF or BMP files")
    parser.add_argument("model", type=Path, help="checkpoint.safetensors of a run")
    parser.add_argument("--out", type=Path, help="new folder (results/scored/<name of IMAGES>)")
    parser.add_argument(
        "--intensity-range",
        metavar="RANGE",
        help="that of training, null or '[low, high]'; only for a model without its run",
    )
    devices = ["auto", "cuda", "mps", "cpu"]
    parser.add_argument("--device", choices=devices, default="auto", help="where to compute")
    return parser.parse_args()


if __name__ == "__main__":
    from medae.base.logs import script_logging

    chosen = _arguments()
    with script_logging(os.devnull):  # to the screen alone
        score_folder(
            images=chosen.images,
            model=chosen.model,
            out=chosen.out or Path("results/scored", chosen.images.resolve().name),
            intensity_range=chosen.intensity_range,
            device=chosen.device,
        )
