"""Measure the intrinsic dimension of a dataset's normal training images, as vectors of pixels.

Inputs: the packed dataset and its audit; of copies of an image one is taken.
Output: a table with the columns ENTROPY_COLUMNS of medae.theory.probe_files: method `images`, latent_dim
and seed 0, the quantities twonn, mle (medae.theory.intrinsic_dimension) and n_images.
Fails on a damaged packed dataset.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from medae.base.files import write_table
from medae.data.packed import read_packed
from medae.duplicates.audit import read_audit
from medae.theory.intrinsic_dimension import intrinsic_dimensions
from medae.theory.probe_files import ENTROPY_COLUMNS, first_of_groups


def measure_image_dimension(*, packed: Path, audit: Path, dataset: str, output: Path) -> None:
    """Write the table."""
    data = read_packed(packed)
    everything = np.ones(len(data.train_ids), dtype=bool)
    images = data.train_images[first_of_groups(read_audit(audit, data), everything)]
    found = intrinsic_dimensions(images.reshape(len(images), -1)) | {"n_images": len(images)}
    rows = [(dataset, "images", 0, 0, *item) for item in found.items()]
    write_table(pd.DataFrame(rows, columns=ENTROPY_COLUMNS), output)


if __name__ == "__main__":
    from medae.base.logs import script_logging

    with script_logging(snakemake.log[0]):
        measure_image_dimension(
            packed=Path(snakemake.input.packed),
            audit=Path(snakemake.input.audit),
            dataset=snakemake.wildcards.dataset,
            output=Path(snakemake.output.table),
        )
