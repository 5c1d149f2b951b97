"""Bootstrap the metrics of all settings of one dataset over its test images.

Inputs: a table of scores (`scores.tsv`) per setting and seed; the anomaly maps (`maps.h5`) of those
that have any, in the same order, or none at all, and then there are no pixel metrics; the packed
dataset; and its audit (images.tsv).
Parameters: `settings`, {method, latent_dim, seed} of each table of scores; `reference`, {method,
latent_dim} of the setting that the others are tested against; `group_pattern`, a regular
expression that finds an image's patient in its id, or None, and then copies of one image, as the
audit has them, are a group; `replicates` and `seed` of the bootstrap.
Output: a table with a row per setting, split and metric (auc, ap, ap_pix, dice_max), in fractions:
`value`, the mean over seeds on the whole test set, and its 95 % percentile interval (low, high);
then the difference to the reference, its interval, and the p-value of a paired two-sided test, not
corrected for the number of tests. These four are empty for the reference itself, and for all when
the reference is not among the settings. The leak-free split is left out where it is the published
one or lacks a class. `medae.evaluation.bootstrap` says how images are drawn.
Fails when a file is not about the packed test images, a class is missing, or a score is not finite.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from medae.base.errors import InputError
from medae.base.files import write_table
from medae.data.packed import PackedDataset, read_packed
from medae.duplicates.audit import leak_free, read_audit
from medae.evaluation import bootstrap
from medae.evaluation.bootstrap import Resampling, resample
from medae.evaluation.metrics import image_metrics, pixel_metrics
from medae.evaluation.splits import groups_to_draw, split_images
from medae.models.baselines import can
from medae.models.score_files import read_maps, read_scores

logger = logging.getLogger(__name__)

Draws = dict[tuple[str, str], tuple[float, np.ndarray]]
"""By split and metric: its value, and its value in each replicate."""


def bootstrap_metrics(
    *,
    scores: Sequence[Path],
    maps: Sequence[Path],
    packed: Path,
    audit: Path,
    dataset: str,
    settings: Sequence[Mapping],
    reference: Mapping,
    group_pattern: str | None,
    replicates: int,
    seed: int,
    output: Path,
) -> None:
    """Write the intervals; `scores` are in the order of `settings`, `maps` as in `with_maps`."""
    truth = read_packed(packed)
    if maps and truth.test_masks is None:
        raise InputError(
            f"There are anomaly maps of {dataset}, but {packed} has no masks to measure them with. "
            "Check `masks` in the dataset's entry, then prepare it again."
        )
    audited = read_audit(audit, truth)
    groups = groups_to_draw(audited, truth, pattern=group_pattern)
    resamplings = [
        resample(split, chosen, truth=truth, groups=groups, replicates=replicates, seed=seed)
        for split, chosen in split_images(truth, leak_free(audited)).items()
    ]
    runs: dict[tuple[str, int], list[Draws]] = {}
    for setting, table, map_file in with_maps(settings, scores, maps):
        draws: Draws = {}
        if can(setting["method"], "scores_images"):
            draws |= draw_images(scores=table, truth=truth, resamplings=resamplings)
        if map_file is not None:
            draws |= draw_pixels(maps=map_file, truth=truth, resamplings=resamplings)
        runs.setdefault((setting["method"], setting["latent_dim"]), []).append(draws)
        logger.info("%s: %s", setting, {key: value for key, (value, _) in draws.items()})
    means = {key: mean_over_seeds(draws) for key, draws in runs.items()}
    rows = compare(means, reference=(reference["method"], reference["latent_dim"]))
    frame = pd.DataFrame(rows, columns=bootstrap.INTERVAL_COLUMNS)
    sizes = {part.split: part.weights.shape[1] for part in resamplings}
    frame["n_groups"] = frame["split"].map(sizes)
    frame = frame.assign(dataset=dataset, training_set="all", replicates=replicates)
    write_table(frame, output)


def with_maps(
    settings: Sequence[Mapping], scores: Sequence[Path], maps: Sequence[Path]
) -> Iterator[tuple[Mapping, Path, Path | None]]:
    """Yield each setting with its table of scores and its anomaly maps, if it has any.

    `maps` are empty, or have a file for each setting of a network or of a baseline with maps.
    """
    mapped = [can(s["method"], "has_maps") for s in settings]
    if maps and len(maps) != sum(mapped):
        raise ValueError(f"{len(maps)} files of maps for {sum(mapped)} settings with maps")
    left = iter(maps)
    for setting, table, has_maps in zip(settings, scores, mapped, strict=True):
        yield setting, table, next(left, None) if has_maps else None


def mean_over_seeds(seeds: Sequence[Draws]) -> Draws:
    """Return the mean over seeds of each metric and, replicate by replicate, of its draws."""
    return {
        metric: (
            float(np.mean([draws[metric][0] for draws in seeds])),
            np.mean([draws[metric][1] for draws in seeds], axis=0),
        )
        for metric in seeds[0]
    }


def compare(
    means: Mapping[tuple[str, int], Draws], *, reference: tuple[str, int]
) -> Iterator[dict[str, object]]:
    """Yield a row per setting (method, latent_dim), split and metric, without what all share."""
    for (method, latent_dim), draws in means.items():
        for (split, metric), (value, replicates) in draws.items():
            low, high = bootstrap.percentile_interval(replicates)
            row = {"method": method, "latent_dim": latent_dim, "split": split, "metric": metric}
            row |= {"value": value, "low": low, "high": high}
            if reference in means and (method, latent_dim) != reference:
                other_value, other_replicates = means[reference][split, metric]
                differences = replicates - other_replicates
                row["difference"] = value - other_value
                low, high = bootstrap.percentile_interval(differences)
                row |= {"difference_low": low, "difference_high": high}
                row["p_value"] = bootstrap.paired_p_value(differences)
            yield row


def draw_images(*, scores: Path, truth: PackedDataset, resamplings: Sequence[Resampling]) -> Draws:
    """Return auc and ap of one table of scores on each split."""
    table = read_scores(scores, truth).query("split == 'test'")
    draws: Draws = {}
    for split, chosen, groups, weights in resamplings:
        cases = {"labels": truth.test_labels[chosen], "scores": table["score"].to_numpy()[chosen]}
        values = image_metrics(**cases, what=f"{split} test images in {scores}")
        drawn = bootstrap.replicate_images(**cases, groups=groups, weights=weights)
        draws |= {(split, metric): (values[metric], drawn[metric]) for metric in drawn}
    return draws


def draw_pixels(*, maps: Path, truth: PackedDataset, resamplings: Sequence[Resampling]) -> Draws:
    """Return ap_pix and dice_max of one file of anomaly maps on each split."""
    values = read_maps(maps, truth)
    draws: Draws = {}
    for split, chosen, groups, weights in resamplings:
        cases = {"masks": truth.test_masks[chosen], "maps": values[chosen]}
        exact = pixel_metrics(**cases, what=f"pixels of the {split} test images in {maps}")
        drawn = bootstrap.replicate_pixels(**cases, groups=groups, weights=weights)
        draws |= {(split, metric): (exact[metric], drawn[metric]) for metric in drawn}
    return draws


if __name__ == "__main__":
    from medae.base.logs import script_logging

    with script_logging(snakemake.log[0]):
        bootstrap_metrics(
            scores=[Path(path) for path in snakemake.input.scores],
            maps=[Path(path) for path in snakemake.input.maps],
            packed=Path(snakemake.input.packed),
            audit=Path(snakemake.input.audit),
            dataset=snakemake.wildcards.dataset,
            settings=snakemake.params.settings,
            reference=snakemake.params.reference,
            group_pattern=snakemake.params.group_pattern,
            replicates=snakemake.params.replicates,
            seed=snakemake.params.seed,
            output=Path(snakemake.output.intervals),
        )
