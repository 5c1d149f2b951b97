"""Score and measure a dataset with all baselines of medae.models.baselines; seconds, and no torch.

Inputs: the packed dataset; its audit (`images`); the tables of the training sets.
Parameters: `runs`, {training_set, method, latent_dim, seed} of each table of scores; `mapped`,
those of the files of anomaly maps, in which the training set is `all`.
Outputs: `scores`, a scores.tsv per run; `maps`, the anomaly maps and, where there are any,
reconstructions of the test images; `metrics`, the metrics of all runs as compute_metrics.py gives
them. Runs differ by seed only where the training set is drawn by lot.
Fails on a damaged packed dataset, or when a training set has fewer than two images.
"""

import logging
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from medae.base.files import write_table
from medae.data.packed import read_packed
from medae.duplicates.audit import leak_free, read_audit
from medae.duplicates.training_sets import read_training_rows
from medae.evaluation.measuring import measure
from medae.evaluation.metrics import METRIC_COLUMNS
from medae.models.baselines import BASELINES, STATISTICS, fit, statistic_scores
from medae.models.score_files import score_table, write_maps

logger = logging.getLogger(__name__)


def as_floats(images: np.ndarray) -> np.ndarray:
    """Return uint8 images as float32 in [-1, 1]."""
    return images.astype(np.float32) / np.float32(127.5) - 1


def score_baselines(
    *,
    packed: Path,
    audit: Path,
    training_sets: Mapping[str, Path],
    dataset: str,
    runs: Sequence[Mapping],
    mapped: Sequence[Mapping],
    scores: Sequence[Path],
    maps: Sequence[Path],
    metrics: Path,
) -> None:
    """Write scores and maps, in the order of `runs` and `mapped`, and the metrics."""
    truth = read_packed(packed)
    train, test = as_floats(truth.train_images), as_floats(truth.test_images)
    seen_free = leak_free(read_audit(audit, truth))
    largest = max(run["latent_dim"] for run in runs)
    map_files = {tuple(sorted(run.items())): path for run, path in zip(mapped, maps, strict=True)}

    @cache
    def rows(training_set: str, seed: int) -> np.ndarray:
        path = training_sets.get(training_set)
        return read_training_rows(path, truth, training_set=training_set, seed=seed)

    @cache
    def model(method: str, training_set: str, seed: int):
        return fit(method, train[rows(training_set, seed)], latent_dim=largest)

    measured = []
    for run, path in zip(runs, scores, strict=True):
        method, source = run["method"], (run["training_set"], run["seed"])
        errors = reconstructions = test_maps = None
        if method in STATISTICS:
            images = np.concatenate([truth.train_images, truth.test_images])
            values = statistic_scores(method, images)
        elif method == "intensity":
            test_maps = test.mean(axis=1)
            values = np.concatenate([train, test]).mean(axis=(1, 2, 3), dtype=np.float64)
        else:
            fitted = model(method, *source)
            again, reconstructions = (
                fitted.reconstruct(part, latent_dim=run["latent_dim"]) for part in (train, test)
            )
            test_maps = np.square(test - reconstructions).mean(axis=1)
            train_maps = np.square(train - again).mean(axis=1)
            errors = np.concatenate([train_maps, test_maps]).mean(axis=(1, 2), dtype=np.float64)
            values = errors
        table = score_table(truth, scores=values, errors=errors)
        write_table(table, path)
        map_file = map_files.get(tuple(sorted(run.items())))
        if map_file is not None:
            write_maps(map_file, truth, maps=test_maps, reconstructions=reconstructions)
        with_masks = truth.test_masks is not None and BASELINES[method].has_maps
        if not BASELINES[method].scores_images and not with_masks:
            continue
        found = measure(
            table,
            truth=truth,
            leak_free=seen_free,
            trained_on=rows(*source),
            scores_images=BASELINES[method].scores_images,
            maps=test_maps if with_masks else None,
            what=f"{path}",
        )
        measured.append(found.assign(dataset=dataset, **run))
        logger.info("%s: %s", run, dict(zip(found["metric"], found["value"], strict=True)))
    write_table(pd.concat(measured)[METRIC_COLUMNS], metrics)


if __name__ == "__main__":
    from medae.base.logs import script_logging

    with script_logging(snakemake.log[0]):
        drawn = zip(snakemake.params.training_sets, snakemake.input.training_sets, strict=True)
        score_baselines(
            packed=Path(snakemake.input.packed),
            audit=Path(snakemake.input.audit),
            training_sets={name: Path(path) for name, path in drawn},
            dataset=snakemake.wildcards.dataset,
            runs=snakemake.params.runs,
            mapped=snakemake.params.mapped,
            scores=[Path(path) for path in snakemake.output.scores],
            maps=[Path(path) for path in snakemake.output.maps],
            metrics=Path(snakemake.output.metrics),
        )
