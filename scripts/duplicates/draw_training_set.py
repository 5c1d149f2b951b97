"""Draw the training images of one training set (without_twins or without_random), per seed.

The output has a row per training image: id, and per seed a column seed<seed>, 1 for the images that
are used and 0 for the others. `medae.duplicates.training_sets` says how they are chosen.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from medae.base.files import read_table, write_table
from medae.duplicates.training_sets import draw_training_rows

logger = logging.getLogger(__name__)


def draw_training_set(
    *, images: Path, training_set: str, seeds: Sequence[int], table: Path
) -> None:
    """Write the table of the training set; `images` is images.tsv of the dataset's audit."""
    audit = read_table(images)
    train = audit["split"] == "train"
    drawn = audit.loc[train, ["id"]]
    for seed in seeds:
        rows = draw_training_rows(
            audit["copy_group"].to_numpy(),
            n_train=int(train.sum()),
            training_set=training_set,
            seed=seed,
        )
        drawn[f"seed{seed}"] = rows.astype(int)
        logger.info("seed %d: %d of %d images", seed, np.count_nonzero(rows), len(rows))
    write_table(drawn, table)


if __name__ == "__main__":
    from medae.base.scripts import run_script

    run_script(draw_training_set, snakemake)
