"""Bootstrap the metrics of all settings of one dataset over its test images.

Inputs: a table of scores (`scores.tsv`) per setting and seed; the anomaly maps (`maps.h5`) in the
same order, or none, and then there are no pixel metrics; and the packed dataset.
Parameters: `settings`, {method, latent_dim, seed} of each table of scores; `reference`, {method,
latent_dim} of the setting that the others are tested against; `group_pattern`, a regular
expression that finds an image's patient in its id, or None; `replicates` and `seed` of the
bootstrap.
Output: a table with a row per setting and metric (auc, ap, ap_pix, dice_max), in fractions:
`value`, the mean over seeds on the whole test set, and its 95 % percentile interval (low, high);
then the difference to the reference, its interval, and the p-value of a paired two-sided test, not
corrected for the number of tests. These four are empty for the reference itself, and for all when
the reference is not among the settings. `medae.intervals` says how images are drawn.
Fails when a file is not about the packed test images, a class is missing, or a score is not finite.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from medae import intervals
from medae.errors import InputError
from medae.files import write_table
from medae.metrics import PUBLISHED_SPLIT, image_metrics, pixel_metrics
from medae.packed import PackedDataset, read_packed
from medae.score_files import read_maps, read_scores

logger = logging.getLogger(__name__)

Draws = dict[str, tuple[float, np.ndarray]]  # metric: its value, and its value in each replicate


def bootstrap_metrics(
    *,
    scores: Sequence[Path],
    maps: Sequence[Path],
    packed: Path,
    dataset: str,
    settings: Sequence[Mapping],
    reference: Mapping,
    group_pattern: str | None,
    replicates: int,
    seed: int,
    output: Path,
) -> None:
    """Write the intervals; `scores` and `maps`, if any, are in the order of `settings`."""
    truth = read_packed(packed)
    if maps and truth.test_masks is None:
        raise InputError(
            f"There are anomaly maps of {dataset}, but {packed} has no masks to measure them with. "
            "Check `masks` in the dataset's entry, then prepare it again."
        )
    groups = intervals.image_groups(truth.test_ids, pattern=group_pattern)
    weights = intervals.draw_weights(
        labels=truth.test_labels,
        groups=groups,
        replicates=replicates,
        seed=seed,
        masked=None if not maps else truth.test_masks.any(axis=(1, 2)),
    )
    logger.info("%d test images in %d groups", len(groups), weights.shape[1])
    runs: dict[tuple[str, int], list[Draws]] = {}
    maps = maps or [None] * len(scores)
    for setting, table, map_file in zip(settings, scores, maps, strict=True):
        draws = draw_images(scores=table, truth=truth, groups=groups, weights=weights)
        if map_file is not None:
            draws |= draw_pixels(maps=map_file, truth=truth, groups=groups, weights=weights)
        runs.setdefault((setting["method"], setting["latent_dim"]), []).append(draws)
        logger.info("%s: %s", setting, {metric: value for metric, (value, _) in draws.items()})
    means = {key: mean_over_seeds(draws) for key, draws in runs.items()}
    rows = compare(means, reference=(reference["method"], reference["latent_dim"]))
    frame = pd.DataFrame(rows, columns=intervals.INTERVAL_COLUMNS)
    write_table(
        frame.assign(
            dataset=dataset,
            split=PUBLISHED_SPLIT,
            replicates=replicates,
            n_groups=weights.shape[1],
        ),
        output,
    )


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
    """Yield a row per setting (method, latent_dim) and metric, without what all rows share."""
    for (method, latent_dim), draws in means.items():
        for metric, (value, replicates) in draws.items():
            low, high = intervals.percentile_interval(replicates)
            row = {"method": method, "latent_dim": latent_dim, "metric": metric}
            row |= {"value": value, "low": low, "high": high}
            if reference in means and (method, latent_dim) != reference:
                other_value, other_replicates = means[reference][metric]
                differences = replicates - other_replicates
                row["difference"] = value - other_value
                low, high = intervals.percentile_interval(differences)
                row |= {"difference_low": low, "difference_high": high}
                row["p_value"] = intervals.paired_p_value(differences)
            yield row


def draw_images(
    *, scores: Path, truth: PackedDataset, groups: np.ndarray, weights: np.ndarray
) -> Draws:
    """Return auc and ap of one table of scores."""
    table = read_scores(scores, truth).query("split == 'test'")
    cases = {"labels": truth.test_labels, "scores": table["score"].to_numpy()}
    values = image_metrics(**cases, what=f"test images in {scores}")
    drawn = intervals.replicate_images(**cases, groups=groups, weights=weights)
    return {metric: (values[metric], draws) for metric, draws in drawn.items()}


def draw_pixels(
    *, maps: Path, truth: PackedDataset, groups: np.ndarray, weights: np.ndarray
) -> Draws:
    """Return ap_pix and dice_max of one file of anomaly maps."""
    values = read_maps(maps, truth)
    cases = {"masks": truth.test_masks, "maps": values}
    exact = pixel_metrics(**cases, what=f"pixels of the test images in {maps}")
    drawn = intervals.replicate_pixels(**cases, groups=groups, weights=weights)
    return {metric: (exact[metric], draws) for metric, draws in drawn.items()}


if __name__ == "__main__":
    from medae.logs import script_logging

    with script_logging(snakemake.log[0]):
        bootstrap_metrics(
            scores=[Path(path) for path in snakemake.input.scores],
            maps=[Path(path) for path in snakemake.input.maps],
            packed=Path(snakemake.input.packed),
            dataset=snakemake.wildcards.dataset,
            settings=snakemake.params.settings,
            reference=snakemake.params.reference,
            group_pattern=snakemake.params.group_pattern,
            replicates=snakemake.params.replicates,
            seed=snakemake.params.seed,
            output=Path(snakemake.output.intervals),
        )
