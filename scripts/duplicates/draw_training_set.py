"""Draw the training images of one training set, per seed.

The output has a row per training image: id, and per seed a column seed<seed>, 1 for the images that
are used and 0 for the others. `medae.duplicates.training_sets` says how they are chosen. Where
images are held out, the same for all seeds and training sets, no training set has them, and columns
held_out and group say which they are. Fails when these are too few for a threshold.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from medae.base.files import read_table, write_table
from medae.data.groups import image_groups
from medae.duplicates.held_out import check_enough, hold_out, image_components
from medae.duplicates.training_sets import draw_training_rows

logger = logging.getLogger(__name__)

SEED = 0  # of the images that are held out


def draw_training_set(
    *,
    images: Path,
    training_set: str,
    seeds: Sequence[int],
    table: Path,
    held_out: float = 0,
    false_positive_rate: float = 1,
    group_pattern: str | None = None,
) -> None:
    """Write the table of the training set; `images` is images.tsv of the dataset's audit.

    The share `held_out` of the training images is held out, enough for a threshold at
    `false_positive_rate`, those of a patient together; `group_pattern` finds the patient in an
    image's id.
    """
    audit = read_table(images)
    train = (audit["split"] == "train").to_numpy()
    drawn, copies = audit.loc[train, ["id"]], audit["copy_group"].to_numpy()
    kept = np.ones(len(drawn), dtype=bool)
    if held_out:
        groups = copies[train], image_groups(list(drawn["id"].astype(str)), pattern=group_pattern)
        kept = ~hold_out(*groups, share=held_out, seed=SEED)
        check_enough(np.count_nonzero(~kept), len(kept), rate=false_positive_rate)
        drawn = drawn.assign(held_out=(~kept).astype(int), group=image_components(*groups))
    for seed in seeds:
        rows = kept.copy()
        if training_set != "all":
            rows[kept] = draw_training_rows(
                np.concatenate([copies[train][kept], copies[~train]]),
                n_train=np.count_nonzero(kept),
                training_set=training_set,
                seed=seed,
            )
        drawn[f"seed{seed}"] = rows.astype(int)
        logger.info("seed %d: %d of %d images", seed, np.count_nonzero(rows), len(rows))
    write_table(drawn, table)


if __name__ == "__main__":
    from medae.base.scripts import run_script

    # Not a parameter: another rate draws the same images, but Snakemake would train again.
    rate = snakemake.config["decision"]["false_positive_rate"]
    run_script(draw_training_set, snakemake, false_positive_rate=rate)
