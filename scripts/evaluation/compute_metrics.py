"""Compute all metrics of one setting (dataset, training set, method, latent dimension), per seed.

The output has the columns METRIC_COLUMNS of medae.evaluation.metrics, on the published and on the
leak-free test images. AUC, AP and Dice are fractions, errors squared [-1, 1] intensity units, and
those of training images are of the ones that were used.
Fails when scores, maps and packed dataset are not about the same images, when a class is missing,
or when a score is not finite.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from medae.base.files import write_table
from medae.data.packed import read_packed
from medae.duplicates.audit import leak_free, read_audit
from medae.duplicates.training_sets import read_training_rows
from medae.evaluation.metrics import METRIC_COLUMNS, measure
from medae.models.score_files import read_maps_to_measure, read_scores

logger = logging.getLogger(__name__)


def compute_metrics(
    *,
    scores: Sequence[Path],
    maps: Sequence[Path],
    packed: Path,
    audit: Path,
    training_rows: Path | None,
    dataset: str,
    training_set: str,
    method: str,
    latent_dim: int,
    seeds: Sequence[int],
    metrics: Path,
) -> None:
    """Write the metrics of all `seeds`; `scores` and `maps` are in the order of `seeds`.

    `maps` is empty for a dataset without masks, which has no pixel metrics, and `training_rows`,
    the table of the training set, None for `all`.
    """
    truth = read_packed(packed)
    unseen = leak_free(read_audit(audit, truth))
    found = []
    for seed, path, map_file in zip(seeds, scores, maps or [None] * len(seeds), strict=True):
        rows = read_training_rows(training_rows, truth, training_set=training_set, seed=seed)
        measured = measure(
            read_scores(path, truth),
            truth=truth,
            leak_free=unseen,
            trained_on=rows,
            scores_images=True,
            maps=None if map_file is None else read_maps_to_measure(map_file, truth),
            what=str(path),
        )
        found.append(measured.assign(seed=seed))
        logger.info("seed %d: %s", seed, measured[["split", "metric", "value"]].to_dict("tight"))
    frame = pd.concat(found).assign(
        dataset=dataset, training_set=training_set, method=method, latent_dim=latent_dim
    )
    write_table(frame[METRIC_COLUMNS], metrics)


if __name__ == "__main__":
    from medae.base.scripts import run_script

    run_script(compute_metrics, snakemake)
