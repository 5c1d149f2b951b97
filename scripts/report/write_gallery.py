"""Write a page that shows what every method and latent dimension makes of test images.

One HTML file that needs no other file and no network. Of each class of the published test set,
images at evenly spaced ranks of the reference's score are shown, the lowest and the highest among
them, so that nobody picks the nice ones: as many of GALLERY_IMAGES as fit into GALLERY_BYTES bytes.
"""

import base64
import io
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import jinja2
import matplotlib
import numpy as np
from PIL import Image

from medae.base.errors import InputError
from medae.base.files import write_text
from medae.data.packed import PackedDataset, read_packed
from medae.duplicates.audit import read_audit
from medae.models.score_files import read_maps, read_scores
from medae.report.choosing import (
    CLASSES,
    GALLERY_BYTES,
    GALLERY_IMAGES,
    HEAT,
    PERCENTILE,
    choose_images,
)

logger = logging.getLogger(__name__)


def shares_below(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return of each score what percentage of the normal images' scores is lower."""
    normal = np.sort(scores[labels == 0])
    return 100 * np.searchsorted(normal, scores, side="left") / len(normal)


def sprite(*rows: np.ndarray) -> str:
    """Return a PNG as data URI: one row of pictures below the other; each uint8 N×C×H×W, C 1 or 3.

    It has colours when any of them has.
    """
    channels = max(pictures.shape[1] for pictures in rows)
    lines = []
    for pictures in rows:
        whole = np.repeat(pictures, channels // pictures.shape[1], axis=1)
        lines.append(np.concatenate(np.moveaxis(whole, 1, -1), axis=1))  # H × N·W × C
    pixels = np.concatenate(lines)
    picture = Image.fromarray(pixels.squeeze(2) if channels == 1 else pixels)
    stream = io.BytesIO()
    picture.save(stream, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"


def setting_sprite(reconstructions: np.ndarray, maps: np.ndarray) -> dict:
    """Return {sprite, top, scale} of one setting: reconstructions above anomaly maps.

    Arguments are float32, N×C×H×W in [-1, 1] and N×H×W. A map's byte b stands for (b / 255)² top,
    which keeps small errors apart; at `scale`, a percentile of the pixels, the colours end.
    """
    pictures = np.clip(np.rint((reconstructions + 1) * 127.5), 0, 255).astype(np.uint8)
    top = float(maps.max()) or 1.0  # a perfect reconstruction has no error to scale by
    levels = np.rint(255 * np.sqrt(maps / top)).astype(np.uint8)
    scale = float(np.percentile(maps, PERCENTILE)) or top
    return {"sprite": sprite(pictures, levels[:, None]), "top": top, "scale": scale}


def collect(
    *,
    data: PackedDataset,
    twins: np.ndarray,
    scores: Sequence[np.ndarray],
    maps: Sequence[Path],
    settings: Sequence[Mapping],
    methods: Mapping[str, str],
    start: int,
    count: int,
) -> dict:
    """Return what the page's script reads: the images, and scores and sprite of every setting.

    `twins` says which test images have a copy in training, `scores` are of all test images, one
    array per setting; `start` is the place of the reference.
    """
    chosen = choose_images(data.test_labels, scores[start], count=count)
    rows = list(dict.fromkeys(i for positions in chosen.values() for i in positions))
    all_maps = [read_maps(path, data, rows=rows) for path in maps]
    shown = []
    for setting, values, path, found in zip(settings, scores, maps, all_maps, strict=True):
        pictures = read_maps(path, data, name="reconstructions", rows=rows)
        one = {
            "method": methods[setting["method"]],
            "latent_dim": setting["latent_dim"],
            "scores": [float(f"{value:.6g}") for value in values[rows]],
            "below": np.round(shares_below(values, data.test_labels)[rows], 1).tolist(),
        }
        shown.append(one | setting_sprite(pictures, found))
    inputs = [data.test_images[rows]]
    if data.test_masks is not None:
        inputs.append(np.uint8(255) * (data.test_masks[rows, None] == 1))
    colours = matplotlib.colormaps[HEAT](np.arange(256), bytes=True)[:, :3]
    return {
        "side": data.test_images.shape[-1],
        "images": [
            {"id": data.test_ids[i], "label": CLASSES[data.test_labels[i]], "twin": bool(twins[i])}
            for i in rows
        ],
        "inputs": sprite(*inputs),
        "masks": data.test_masks is not None,
        "settings": shown,
        "start": start,
        "scale": float(np.percentile(all_maps, PERCENTILE)) or 1.0,
        "colours": base64.b64encode(colours.tobytes()).decode(),
    }


def write_gallery(
    *,
    packed: Path,
    scores: Sequence[Path],
    maps: Sequence[Path],
    audit: Path,
    template: Path,
    name: str,
    settings: Sequence[Mapping],
    reference: Mapping,
    methods: Mapping[str, str],
    page: Path,
) -> None:
    """Choose the images by the scores of `reference`, and write `page`.

    `template` is in Jinja's notation. Raises InputError when the files are not about the same test
    images, a class has none, or not even the fewest fit.
    """
    data = read_packed(packed)
    keys = [(setting["method"], setting["latent_dim"]) for setting in settings]
    start = keys.index((reference["method"], reference["latent_dim"]))
    tables = [read_scores(path, data).query("split == 'test'") for path in scores]
    given = {
        "data": data,
        "twins": read_audit(audit, data).query("split == 'test'")["twin"].to_numpy() == 1,
        "scores": [table["score"].to_numpy() for table in tables],
        "maps": maps,
        "settings": settings,
        "methods": methods,
        "start": start,
    }
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )
    frame = environment.from_string(template.read_text(encoding="utf-8"))
    for count in GALLERY_IMAGES:
        contents = collect(**given, count=count)
        text = frame.render(
            name=name,
            contents=contents,
            percentile=PERCENTILE,
            totals={c: np.count_nonzero(data.test_labels == i) for i, c in enumerate(CLASSES)},
            reference=f"{methods[reference['method']]}, d = {reference['latent_dim']}",
        )
        size = len(text.encode())
        logger.info("%d images of each class at most: %d bytes", count, size)
        if size < GALLERY_BYTES:
            return write_text(text, page)
    raise InputError(
        f"The gallery of {name} would have {size} bytes with {count} images of each class, more "
        f"than {GALLERY_BYTES}: there are {len(settings)} settings of {contents['side']} × "
        f"{contents['side']} pixels. Shorten the grid of the configuration or set `gallery: false`."
    )


if __name__ == "__main__":
    from medae.base.scripts import run_script

    run_script(write_gallery, snakemake)
