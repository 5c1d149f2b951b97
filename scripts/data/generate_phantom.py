"""Generate the demonstration dataset: brain slices from a template, with and without lesions.

The folder has the layout `folder`, the factors of every image in factors.tsv, and the origin in
SOURCE.md. The same parameters give the same bytes.
"""

import logging
from collections.abc import Mapping
from pathlib import Path

import nilearn
import numpy as np
import pandas as pd
from PIL import Image

from medae.base.errors import InputError
from medae.base.files import atomic_folder, write_table, write_text
from medae.data.phantom import FACTOR_TABLE, FACTORS, GROUPS, SOURCE, PhantomOptions, make_image

logger = logging.getLogger(__name__)

SMALLEST_SIZE = 32  # pixels; below, no pixel is purely white matter


def generate_phantom(*, images: Path, image_size: int, parameters: Mapping) -> None:
    """Write the dataset of the registry's `generator` options to the folder `images`.

    factors.tsv has one row per image: id (path relative to `images`), the values of all factors
    (units in SOURCE.md), `lesions` drawn (they may touch) and `lesion_pixels` of the mask.
    """
    options = PhantomOptions(**parameters)
    if image_size < SMALLEST_SIZE:
        raise InputError(
            f"The demonstration set cannot be made with image_size {image_size}: use "
            f"{SMALLEST_SIZE} or more pixels."
        )
    with atomic_folder(images) as folder:
        for name in (*GROUPS, "test/mask"):
            (folder / name).mkdir(parents=True)
        rows = []
        for group in GROUPS:
            for index in range(options.count(group)):
                image = make_image(options=options, group=group, index=index, image_size=image_size)
                name = f"{group}/{index:05d}.png"
                Image.fromarray(image.pixels).save(folder / name)
                if group == "test/abnormal":
                    mask = Image.fromarray(image.mask * np.uint8(255))
                    mask.save(folder / name.replace("abnormal", "mask"))
                rows.append((name, *image.factors, image.lesions, int(image.mask.sum())))
        table = pd.DataFrame(rows, columns=["id", *FACTORS, "lesions", "lesion_pixels"])
        write_table(table, folder / "factors.tsv")
        write_text(describe(options=options, image_size=image_size), folder / "SOURCE.md")
    logger.info("%d images of %d pixels a side in %s", len(rows), image_size, images)


def describe(*, options: PhantomOptions, image_size: int) -> str:
    """Return the text of SOURCE.md: origin, licence, citation and parameters."""
    counts = ", ".join(f"{options.count(group)} {group}" for group in GROUPS)
    lines = [
        f"{image_size} × {image_size} pixels; {counts}; seed {options.seed}; pixel noise with a "
        f"standard deviation of {options.noise_sigma:g} of full scale.\n",
        "| factor | mean | spread (uniform within mean ± spread) | unit |",
        "| --- | --- | --- | --- |",
    ]
    for name, (mean, spread, unit) in FACTOR_TABLE.items():
        active = f"{spread:g}" if name in options.factors else "0 (inactive)"
        lines.append(f"| {name} | {mean:g} | {active} | {unit} |")
    return SOURCE.format(version=nilearn.__version__) + "\n".join(lines) + "\n"


if __name__ == "__main__":
    from medae.base.scripts import run_script

    run_script(generate_phantom, snakemake)
