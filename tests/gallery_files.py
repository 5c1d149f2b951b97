"""Files that a gallery is made from, small and random, for the tests of the page."""

from pathlib import Path

import numpy as np
from packed_files import write_audit, write_packed

from medae.base.files import write_table
from medae.data.packed import read_packed
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


def write_gallery_files(folder: Path, *, masks=True, channels=1, ids=IDS, labels=LABELS) -> dict:
    """Write the inputs and return them with the parameters, as `write_gallery` takes them."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (len(IDS), channels, SIDE, SIDE), dtype=np.uint8)
    outlines = np.zeros((len(IDS), SIDE, SIDE), np.uint8)
    outlines[labels == 1, 4:9, 5:12] = 1
    files: dict = {"packed": folder / "packed.h5", "audit": folder / "images.tsv"}
    masked = outlines if masks else None
    write_packed(files["packed"], images[:1], images, labels, masks=masked, test_ids=ids)
    data = read_packed(files["packed"])
    files |= {"scores": [], "maps": []}
    for setting in SETTINGS:
        where = folder / f"{setting['method']}{setting['latent_dim']}"
        where.mkdir(parents=True)
        reconstructions = rng.uniform(-1, 1, images.shape)
        maps = ((images / 127.5 - 1 - reconstructions) ** 2).mean(axis=1)
        scores = np.append(0.02, maps.mean(axis=(1, 2)))
        write_table(score_table(data, scores=scores, errors=scores), where / "scores.tsv")
        write_maps(where / "maps.h5", data, maps=maps, reconstructions=reconstructions)
        files["scores"].append(where / "scores.tsv")
        files["maps"].append(where / "maps.h5")
    write_audit(files["audit"], ["train/0.png"], ids, twin=[int(i in TWINS) for i in ids])
    return files | {
        "settings": SETTINGS,
        "reference": REFERENCE,
        "methods": METHODS,
        "name": "Toy",
        "information": True,
    }
