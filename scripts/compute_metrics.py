"""Compute all metrics of one setting (dataset, method, latent dimension), one block per seed.

Inputs: a table of scores per seed (`scores.tsv`), the anomaly maps per seed (`maps.h5`; none for a
dataset without masks), and the packed dataset, whose labels and masks are the truth.
Output: a table with columns dataset, method, latent_dim, seed, split, metric, value, n_normal,
n_abnormal (test images); AUC, AP and Dice are fractions, errors squared [-1, 1] intensity units.
Fails when scores, maps and packed dataset are not about the same images, when a class is missing,
or when a score is not finite.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from medae.errors import InputError
from medae.files import write_table
from medae.metrics import (
    METRIC_COLUMNS,
    PUBLISHED_SPLIT,
    image_metrics,
    mean_reconstruction_errors,
    pixel_metrics,
)
from medae.packed import PackedDataset, read_packed
from medae.score_files import read_maps, read_scores

logger = logging.getLogger(__name__)


def compute_metrics(
    *,
    scores: Sequence[Path],
    maps: Sequence[Path],
    packed: Path,
    dataset: str,
    method: str,
    latent_dim: int,
    seeds: Sequence[int],
    output: Path,
) -> None:
    """Write the metrics of all `seeds`; `scores` and `maps` are in the order of `seeds`.

    `maps` is empty for a dataset without masks; the pixel metrics are then left out.
    """
    truth = read_packed(packed)
    rows = []
    for seed, table, map_file in zip(seeds, scores, maps or [None] * len(seeds), strict=True):
        values = metrics_of_images(scores=table, truth=truth)
        if map_file is not None:
            values |= metrics_of_pixels(maps=map_file, truth=truth)
        rows += [{"seed": seed, "metric": name, "value": value} for name, value in values.items()]
        logger.info("seed %d: %s", seed, values)
    frame = pd.DataFrame(rows).assign(
        dataset=dataset,
        method=method,
        latent_dim=latent_dim,
        split=PUBLISHED_SPLIT,
        n_normal=np.count_nonzero(truth.test_labels == 0),
        n_abnormal=np.count_nonzero(truth.test_labels),
    )
    write_table(frame[METRIC_COLUMNS], output)


def metrics_of_images(*, scores: Path, truth: PackedDataset) -> dict[str, float]:
    """Return auc, ap and the three mean reconstruction errors from one table of scores."""
    table = read_scores(scores, truth)
    test = table[table["split"] == "test"]
    values = image_metrics(
        labels=truth.test_labels, scores=test["score"], what=f"test images in {scores}"
    )
    return values | mean_reconstruction_errors(
        split=table["split"], labels=table["label"], errors=table["reconstruction_error"]
    )


def metrics_of_pixels(*, maps: Path, truth: PackedDataset) -> dict[str, float]:
    """Return the pixel metrics from one file of anomaly maps."""
    values = read_maps(maps, truth)
    if truth.test_masks is None or values.shape != truth.test_masks.shape:
        masks = "no masks" if truth.test_masks is None else f"masks {truth.test_masks.shape}"
        raise InputError(
            f"{maps} has anomaly maps of shape {values.shape}, but the packed dataset has {masks}. "
            "Check `masks` in the dataset's entry and the image size, then prepare it again."
        )
    return pixel_metrics(
        masks=truth.test_masks, maps=values, what=f"pixels of the test images in {maps}"
    )


if __name__ == "__main__":
    from medae.logs import script_logging

    with script_logging(snakemake.log[0]):
        compute_metrics(
            scores=[Path(path) for path in snakemake.input.scores],
            maps=[Path(path) for path in snakemake.input.maps],
            packed=Path(snakemake.input.packed),
            dataset=snakemake.wildcards.dataset,
            method=snakemake.wildcards.method,
            latent_dim=int(snakemake.wildcards.latent_dim),
            seeds=list(snakemake.params.seeds),
            output=Path(snakemake.output.metrics),
        )
