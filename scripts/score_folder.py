"""Score images with a trained model; run by hand, outside Snakemake, without labels.

    python scripts/score_folder.py IMAGES results/RUN/models/…/checkpoint.safetensors --out OUT

IMAGES is a file or a folder with folders in it. The same file gets the same score as in the
workflow. OUT gets `scores.tsv`, the worst image first, with id (the path in the folder; of a slice
of a volume, with its number), score, and percentile (the percentage of the dataset's training
images that score at most as much; empty where the run's scores are not there). Of a run that held
images out it also has information, where the run has that score, and flagged: 1 where it, else the
model's own score, is above the threshold of decision.tsv. OUT also gets a picture of each image,
`pictures/<id>.png`. Files that cannot be used are left out and listed with the reason in
`skipped.tsv`; the exit status then is 1. Fails, and writes nothing, when OUT has something in it,
when no image can be used, or when the model is missing or damaged.
"""

import argparse
import logging
import os
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.stats import percentileofscore

from medae.base.errors import InputError
from medae.base.files import atomic_folder, read_table, write_table
from medae.data.findings import Findings
from medae.data.formats import is_image, is_volume
from medae.data.images import LoadedRecord, Preparation, load_file
from medae.data.layouts import Record, VolumeOptions, check_names, images_in
from medae.data.packed import as_floats
from medae.data.pictures import REPLACE, ImageError
from medae.data.volumes import slices_of
from medae.models.checkpoints import load_checkpoint
from medae.models.decision import DECISION, read_decision
from medae.models.information import PLAIN_SCORE, display_name, score_reconstructions
from medae.models.score_files import SCORE_COLUMNS
from medae.models.scoring import score_batches
from medae.models.torch_setup import allow_tf32, make_deterministic, select_device
from medae.report import figures
from medae.report.choosing import HEAT, PERCENTILE

logger = logging.getLogger(__name__)

PANELS = ("input", "reconstruction", "anomaly map", "map over the input")
ADVICE = (
    "The model was trained with this scale: save the images as those were that it was trained on"
)
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
    images: Path, *, channels: int, image_size: int, preparation: Preparation
) -> tuple[list[str], np.ndarray, dict[str, str]]:
    """Return the ids and the pixels (uint8, N × C × H × W) of the images, and what was skipped.

    `images` is a file or a folder; ids are paths in it, sorted. What was skipped are reasons by
    path. Raises InputError when there is no image that can be used.
    """
    if not images.exists():
        raise InputError(f"There is no file or folder {images}. Name one with images.")
    if images.is_file() and not is_image(images):
        raise InputError(f"{images} is no image of a format that is read; see config/README.md.")
    folder = images.parent if images.is_file() else images
    paths = [images] if images.is_file() else images_in(folder, nested=True)
    records = [Record("test", path.relative_to(folder).as_posix(), 0, path) for path in paths]
    check_names(folder, records)
    found, loaded = Findings(preparation), []
    for record in sorted(records, key=lambda record: record.id):
        for one in load_all(record, folder, channels, image_size, preparation):
            found.add(one)
            if one.error is None:
                loaded.append(one)
    skipped = {
        name: f"{why}. {do}" for do, one in found.failures.items() for name, why in one.items()
    }
    if loaded:
        found.failures.clear()
    found.check(folder, ADVICE)
    found.log(ADVICE)
    pixels = np.stack([one.image.pixels for one in loaded])
    return [one.record.id for one in loaded], pixels, skipped


def load_all(
    record: Record, root: Path, channels: int, image_size: int, preparation: Preparation
) -> list[LoadedRecord]:
    """Return what is read of a file: an image, or the slices of a volume."""
    options = {"channels": channels, "image_size": image_size, "preparation": preparation}
    records = [record]
    try:
        if is_volume(record.image):
            records = slices_of(record, VolumeOptions(axis=preparation.axis))
        if not records:
            raise ImageError("no slice has more than one value", REPLACE)
    except ImageError as error:
        return [LoadedRecord(record, {}, failed=record.id, error=error)]
    return load_file(records, root=root, **options)


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


def add_decision(
    table: pd.DataFrame, decision: dict[str, dict], images: np.ndarray, reconstructions: np.ndarray
) -> pd.DataFrame:
    """Return the table with `decision`'s other scores and the column flagged, the worst first.

    `decision` is that of `read_decision`; where it is empty, the model's own score orders.
    """
    for name in set(decision) - {PLAIN_SCORE}:
        about = {"images": images, "reconstructions": reconstructions}
        table[name], _ = score_reconstructions(name, floor=decision[name]["noise_floor"], **about)
    if not decision:
        logger.info("no threshold: the model's run held no images out (decision.held_out)")
        return table.sort_values("score", ascending=False, kind="stable")
    first, row = next(iter(decision.items()))
    column = "score" if first == PLAIN_SCORE else first
    table["flagged"] = (table[column] > row["threshold"]).astype(int)
    logger.info(
        "%d of %d images are flagged: their %s is above %.6g (95 %% interval %.6g to %.6g), which "
        "at most %g %% of normal images like the %d held-out ones exceed",
        *(table["flagged"].sum(), len(table), display_name(first)),
        *(row["threshold"], row["low"], row["high"]),
        *(100 * row["false_positive_rate"], row["n_images"]),
    )
    return table.sort_values(column, ascending=False, kind="stable")


def score_folder(*, images: Path, model: Path, out: Path, device: str) -> None:
    """Score the image files in `images` with the checkpoint `model` and write the folder `out`.

    Raises InputError also when all is written but some files were skipped.
    """
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
        names, pixels, skipped = read_images(
            images,
            channels=description["arguments"]["channels"],
            image_size=description["arguments"]["image_size"],
            preparation=Preparation.from_json(description["intensity_range"]),
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
        decision = read_decision(model.with_name(DECISION))
        inputs = as_floats(pixels)
        table = add_decision(table, decision, inputs, reconstructions)
        flagged = set(table.loc[table["flagged"] == 1, "id"]) if decision else set()
        write_table(table, folder / "scores.tsv")
        if skipped:
            reasons = {"id": list(skipped), "reason": list(skipped.values())}
            write_table(pd.DataFrame(reasons), folder / "skipped.tsv")
        vmax = float(np.percentile(maps, PERCENTILE)) or 1.0  # any, where all maps are 0
        rows = zip(names, scores, shares, inputs, reconstructions, maps, strict=True)
        for name, score, share, *arrays in rows:
            short = name if len(name) <= NAME_LENGTH else f"…{name[1 - NAME_LENGTH :]}"
            title = f"{figures.plain(short)}\nscore {score:#.3g}"
            if not np.isnan(share):
                title += f", percentile {share:.1f} among the training images"
            title += ", flagged" * (name in flagged)
            figure = draw_picture(*arrays, vmax=vmax, title=title)
            path = folder / "pictures" / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            figure.savefig(path, dpi=DPI, metadata={"Software": None})
    logger.info("%d images scored, see %s", len(names), out)
    if skipped:
        first = min(skipped)
        raise InputError(
            f"Skipped {len(skipped)} of the files, such as {first!r} ({skipped[first]}). The "
            f"others are scored; {out / 'skipped.tsv'} has the reasons."
        )


if __name__ == "__main__":
    from medae.base.logs import script_logging

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", type=Path, help="image file, or folder of such")
    parser.add_argument("model", type=Path, help="checkpoint.safetensors of a run")
    parser.add_argument("--out", type=Path, help="new folder (results/scored/<name of IMAGES>)")
    devices = ["auto", "cuda", "mps", "cpu"]
    parser.add_argument("--device", choices=devices, default="auto", help="where to compute")
    chosen = vars(parser.parse_args())
    chosen["out"] = chosen["out"] or Path("results/scored", chosen["images"].resolve().name)
    with script_logging(os.devnull):  # to the screen alone
        score_folder(**chosen)
