"""Files that a gallery is made from, small and random, for the tests of the page."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from medae.base.files import write_table
from medae.data.packed import packed_writer, read_packed
from medae.duplicates.audit import IMAGE_COLUMNS
from medae.models.score_files import score_table, write_maps

SIDE = 16
IDS = [f"normal/{i}.png" for i in range(8)] + [f"tumour/{i}.png" for i in range(5)]
LABELS = np.array([0] * 8 + [1] * 5, np.uint8)
TWINS = IDS[::3]
SETTINGS = [
    *({"method": "ae", "latent_dim": size} for size in (1, 4, 16)),
    {"method": "vae", "latent_dim": 16},
    {"method": "nearest", "latent_dim": 0},
]
METHODS = {"ae": "AE", "vae": "VAE", "nearest": "Nearest training image"}
REFERENCE = {"method": "ae", "latent_dim": 4}


def write_gallery_files(folder: Path, *, masks=True, channels=1, ids=IDS, scored=None) -> dict:
    """Write the inputs and return them with the parameters, as `write_gallery` takes them.

    `ids` are those of the test images, `scored` those in scores.tsv and maps.h5 where they differ.
    """
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (len(IDS), channels, SIDE, SIDE), dtype=np.uint8)
    outlines = np.zeros((len(IDS), SIDE, SIDE), np.uint8)
    outlines[LABELS == 1, 4:9, 5:12] = 1
    with packed_writer(
        folder / "packed.h5",
        channels=channels,
        image_size=SIDE,
        masks=masks,
        train_ids=["train/0.png"],
        test_ids=ids,
        test_labels=LABELS,
    ) as writer:
        writer.append("train", images[:1])
        writer.append("test", images, outlines if masks else None)
        texts = ["dataset", "modality", "layout", "source", "source_sha256", "resize_filter"]
        writer.attributes = dict.fromkeys(texts, "toy")
        writer.attributes |= {"intensity_range": "null", "identical_train_test": 0}
    data = replace(read_packed(folder / "packed.h5"), test_ids=scored or ids)
    files: dict = {"packed": folder / "packed.h5", "audit": folder / "images.tsv"}
    files |= {"scores": [], "maps": []}
    for setting in SETTINGS:
        where = folder / f"{setting['method']}{setting['latent_dim']}"
        where.mkdir(parents=True)
        reconstructions = rng.uniform(-1, 1, images.shape)
        maps = ((images / 127.5 - 1 - reconstructions) ** 2).mean(axis=1)
        scores = np.append(0, maps.mean(axis=(1, 2)))
        write_table(score_table(data, scores=scores, errors=scores), where / "scores.tsv")
        write_maps(where / "maps.h5", data, maps=maps, reconstructions=reconstructions)
        files["scores"].append(where / "scores.tsv")
        files["maps"].append(where / "maps.h5")
    audit = pd.DataFrame(0, index=range(1 + len(ids)), columns=IMAGE_COLUMNS)
    audit["split"] = ["train"] + ["test"] * len(ids)
    audit["id"] = ["train/0.png", *ids]
    audit["twin"] = audit["id"].isin(TWINS).astype(int)
    write_table(audit, files["audit"])
    return files | {"settings": SETTINGS, "reference": REFERENCE, "methods": METHODS, "name": "Toy"}
