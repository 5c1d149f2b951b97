"""Score and measure a dataset with all baselines of medae.models.baselines, without torch.

Runs differ by seed only where the training set is drawn at random.
Fails on a damaged packed dataset, or when a training set has fewer than two images.
"""

import logging
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from medae.base.files import write_table
from medae.data.packed import as_floats, read_packed
from medae.duplicates.audit import leak_free, read_audit
from medae.duplicates.training_sets import read_training_rows
from medae.evaluation.metrics import METRIC_COLUMNS, matched_by, measure
from medae.evaluation.summary import stacked
from medae.models.baselines import BASELINES, NearestImage, PrincipalComponents
from medae.models.information import (
    INFORMATION,
    NO_RECONSTRUCTION,
    PLAIN_SCORE,
    score_reconstructions,
)
from medae.models.score_files import score_table, write_maps

logger = logging.getLogger(__name__)


def score_baselines(
    *,
    packed: Path,
    audit: Path,
    training_sets: Mapping[str, Path],
    dataset: str,
    runs: Sequence[Mapping],
    mapped: Sequence[Mapping],
    share: float | None,
    informed: Sequence[Mapping],
    scores: Sequence[Path],
    others: Sequence[Path],
    maps: Sequence[Path],
    metrics: Path,
) -> None:
    """Write the scores of `runs`, the maps of `mapped` and the metrics of all runs.

    A run is {training_set, method, latent_dim, seed}; `mapped` are those of the files `maps`, which
    have reconstructions too where there are any. `training_sets` are the tables of all but `all`,
    and `share` is that of `measure`. The runs `informed`, of the files `others`, are scored by
    information too, if they have an error on their training images.
    """
    truth = read_packed(packed)
    images = np.concatenate([truth.train_images, truth.test_images])
    floats = as_floats(images)
    n_train = len(truth.train_images)
    train, test = floats[:n_train], floats[n_train:]
    unseen = leak_free(read_audit(audit, truth))
    matched = matched_by(truth.test_images)
    largest = max(run["latent_dim"] for run in runs)
    map_files, other_files = (
        {tuple(run.values()): path for run, path in zip(chosen, files, strict=True)}
        for chosen, files in ((mapped, maps), (informed, others))
    )

    @cache
    def rows(training_set: str, seed: int) -> np.ndarray:
        path = training_sets.get(training_set)
        return read_training_rows(path, truth, training_set=training_set, seed=seed)

    @cache
    def model(method: str, training_set: str, seed: int) -> NearestImage | PrincipalComponents:
        return BASELINES[method].fit(train[rows(training_set, seed)], largest)

    measured = []
    for run, path in zip(runs, scores, strict=True):
        method, source = run["method"], (run["training_set"], run["seed"])
        baseline = BASELINES[method]
        errors = reconstructions = test_maps = None
        if baseline.statistic is not None:
            values = -baseline.statistic(images)
        elif baseline.pixel_map is not None:
            all_maps = baseline.pixel_map(floats, train)
            values, test_maps = all_maps.mean(axis=(1, 2), dtype=np.float64), all_maps[n_train:]
        else:
            fitted = model(method, *source)
            again, reconstructions = (
                fitted.reconstruct(part, latent_dim=run["latent_dim"]) for part in (train, test)
            )
            error_maps = np.square(floats - np.concatenate([again, reconstructions])).mean(axis=1)
            test_maps = error_maps[n_train:]
            values = errors = error_maps.mean(axis=(1, 2), dtype=np.float64)
        table = score_table(truth, scores=values, errors=errors)
        write_table(table, path)
        if map_file := map_files.get(tuple(run.values())):
            write_maps(map_file, truth, maps=test_maps, reconstructions=reconstructions)
        with_masks = truth.test_masks is not None and baseline.has_maps
        used = rows(*source)
        scored = {PLAIN_SCORE if baseline.reconstructs else NO_RECONSTRUCTION: (table, test_maps)}
        if other_file := other_files.get(tuple(run.values())):
            is_test = table["split"] == "test"
            rescored = table.loc[is_test, ["id", "label"]].copy()
            # As many components as training images have no error on them.
            if floor := errors[:n_train][used].mean():
                about = {"images": test, "reconstructions": reconstructions}
                values, test_maps = score_reconstructions(INFORMATION, floor=floor, **about)
                rescored[INFORMATION] = values
                other = table.assign(reconstruction_error=np.nan)
                other.loc[is_test, "score"] = values
                scored[INFORMATION] = other, test_maps.astype(np.float32)
            write_table(rescored, other_file)
        for score, (one, one_maps) in scored.items():
            found = measure(
                one,
                truth=truth,
                leak_free=unseen,
                trained_on=used,
                scores_images=baseline.scores_images,
                maps=one_maps if with_masks else None,
                share=share,
                matched=matched,
                what=str(path),
            )
            measured.append(found.assign(dataset=dataset, score=score, **run))
            values = dict(zip(found["metric"], found["value"], strict=True))
            logger.info("%s, %s: %s", run, score, values)
    found = stacked([pd.DataFrame(columns=METRIC_COLUMNS), *measured])
    write_table(found[METRIC_COLUMNS], metrics)


if __name__ == "__main__":
    from medae.base.scripts import run_script

    drawn = zip(snakemake.params.training_sets, snakemake.input.training_sets, strict=True)
    tables = {name: Path(path) for name, path in drawn}
    run_script(score_baselines, snakemake, training_sets=tables)
