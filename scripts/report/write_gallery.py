"""Write a page that shows what every method and latent dimension makes of test images.

One HTML file that needs no other file and no network. Of each class of the full test set,
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
import pandas as pd
from PIL import Image

from medae.base.errors import InputError
from medae.base.files import write_text
from medae.data.packed import PackedDataset, read_packed
from medae.duplicates.audit import read_audit
from medae.duplicates.held_out import not_held_out
from medae.models.baselines import BASELINES
from medae.models.information import INFORMATION
from medae.models.score_files import read_maps, read_scores, rescore
from medae.report.choosing import CLASSES, HEAT, PERCENTILE, choose_images
from medae.report.tables import Section, html_page

GALLERY_IMAGES = [12, 6, 3]
"""Of each class; the first number with which the page has fewer than GALLERY_BYTES."""
GALLERY_BYTES = 10_000_000
"""So that a page can be mailed and opens at once."""
UNLIKE = 100  # ratio of maps' units that makes some black on one colour scale

logger = logging.getLogger(__name__)


def shares_below(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return of each score what percentage of the normal images' scores is lower; 0 without any."""
    normal = np.sort(scores[labels == 0])
    return 100 * np.searchsorted(normal, scores, side="left") / max(1, len(normal))


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


def setting_sprite(reconstructions: np.ndarray, *maps: np.ndarray) -> tuple[str, list[dict]]:
    """Return a sprite, reconstructions above each kind of anomaly maps, and {low, top, scale} each.

    Arguments are float32, N×C×H×W in [-1, 1] and N×H×W. A map's byte b stands for
    low + (b / 255)² (top - low), which keeps small errors apart; low is 0 unless there are negative
    values, and at `scale`, a percentile of the pixels, the colours end.
    """
    pictures = np.clip(np.rint((reconstructions + 1) * 127.5), 0, 255).astype(np.uint8)
    rows, ranges = [pictures], []
    for kind in maps:
        low = min(0.0, float(kind.min()))
        top = float(kind.max())
        top = top if top > low else low + 1  # a perfect reconstruction has no error to scale by
        levels = np.rint(255 * np.sqrt((kind - low) / (top - low))).astype(np.uint8)
        scale = float(np.percentile(kind, PERCENTILE))
        rows.append(levels[:, None])
        ranges.append({"low": low, "top": top, "scale": scale if scale > low else top})
    return sprite(*rows), ranges


def collect(
    *,
    data: PackedDataset,
    twins: np.ndarray,
    tables: Sequence[pd.DataFrame],
    maps: Sequence[Path],
    settings: Sequence[Mapping],
    methods: Mapping[str, str],
    start: int,
    information: bool,
    used: np.ndarray,
    count: int,
) -> dict:
    """Return what the page's script reads: the images, and a sprite and views of every setting.

    A view is scores and maps: first the setting's own, then, with `information`, that of networks.
    `twins` says which test images have a copy in training, `tables` are of `read_scores`, one per
    setting; `start` is the place of the reference; `used` says which training images were not held
    out.
    """
    own = [table.loc[table["split"] == "test", "score"].to_numpy() for table in tables]
    chosen = choose_images(data.test_labels, own[start], count=count)
    rows = list(dict.fromkeys(i for positions in chosen.values() for i in positions))
    shown, shown_maps = [], [[], []]  # of each kind, of all settings
    for setting, table, values, path in zip(settings, tables, own, maps, strict=True):
        pictures = read_maps(path, data, name="reconstructions", rows=rows)
        views = [(values, read_maps(path, data, rows=rows))]
        if information and setting["method"] not in BASELINES:
            about = {"table": table, "maps": path, "what": str(path.parent)}
            about |= {"trained_on": used, "held_out": ~used}
            values, found = rescore(INFORMATION, truth=data, **about)
            views.append((values, found[rows]))
        for kind, (_, found) in zip(shown_maps, views, strict=False):
            kind.append(found)
        picture, ranges = setting_sprite(pictures, *(found for _, found in views))
        one = {"method": methods[setting["method"]], "latent_dim": setting["latent_dim"]}
        one["views"] = [
            {
                "scores": [float(f"{value:.6g}") for value in values[rows]],
                "below": np.round(shares_below(values, data.test_labels)[rows], 1).tolist(),
                **limits,
            }
            for (values, _), limits in zip(views, ranges, strict=True)
        ]
        shown.append(one | {"sprite": picture})
    inputs = [data.test_images[rows]]
    if data.test_masks is not None:
        inputs.append(np.uint8(255) * (data.test_masks[rows, None] == 1))
    colours = matplotlib.colormaps[HEAT](np.arange(256), bytes=True)[:, :3]
    ends = [setting["views"][0]["scale"] for setting in shown]
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
        "alike": max(ends) < UNLIKE * min(ends),  # whether one scale shows all settings at first
        "common": [common_range(kind) for kind in shown_maps if kind],
        "colours": base64.b64encode(colours.tobytes()).decode(),
    }


def common_range(maps: Sequence[np.ndarray]) -> dict:
    """Return {low, scale}, between which colours lie where all settings share them."""
    low = min(0.0, *(float(found.min()) for found in maps))
    scale = float(np.percentile(maps, PERCENTILE))
    return {"low": low, "scale": scale if scale > low else low + 1}


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
    information: bool,
    page: Path,
    training_rows: Path | None = None,
) -> None:
    """Choose the images by the scores of `reference`, and write `page`.

    `template` is in Jinja's notation; with `information` networks have that map too. Without test
    images the page is a sentence. Raises InputError when the files are not about the same test
    images, or not even the fewest fit.
    """
    data = read_packed(packed)
    if not data.test_ids:
        sentence = Section(text="Nothing to show: the dataset has no test images.")
        return write_text(html_page(name, [sentence]), page)
    keys = [(setting["method"], setting["latent_dim"]) for setting in settings]
    start = keys.index((reference["method"], reference["latent_dim"]))
    given = {
        "data": data,
        "twins": read_audit(audit, data).query("split == 'test'")["twin"].to_numpy() == 1,
        "tables": [read_scores(path, data) for path in scores],
        "maps": maps,
        "settings": settings,
        "methods": methods,
        "start": start,
        "information": information,
        "used": not_held_out(training_rows, data),
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
