"""Bootstrap the metrics of all settings of one dataset over its test images.

The output has a row per setting, split and metric (auc, ap, ap_pix, dice_max), in fractions:
`value`, the mean over seeds on the whole test set, and its 95 % percentile interval (low, high);
then the difference to the reference, its interval, and the p-value of a paired two-sided test, not
corrected for the number of tests. These four are empty for the reference itself, and for all when
the reference is not among the settings. `medae.evaluation.bootstrap` says how images are drawn.
Fails when a file is not about the packed test images, a class is missing, or a score is not finite.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from medae.base.files import write_table
from medae.data.packed import read_packed
from medae.duplicates.audit import leak_free, read_audit
from medae.evaluation.bootstrap import (
    INTERVAL_COLUMNS,
    Resampling,
    paired_p_value,
    percentile_interval,
    replicate_images,
    replicate_pixels,
    resample,
)
from medae.evaluation.ranking import image_metrics, pixel_metrics
from medae.evaluation.splits import groups_to_draw, split_images
from medae.models.baselines import can
from medae.models.score_files import read_maps_to_measure, read_scores

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
    intervals: Path,
) -> None:
    """Write the intervals of `settings`, {method, latent_dim, seed} of each table of `scores`.

    `maps` are the files of anomaly maps, each beside its setting's table; without one a setting has
    no pixel metrics. `reference`, {method, latent_dim}, is what the others are tested against.
    `group_pattern` finds an image's patient in its id; without it images that are copies, as the
    audit has them, are a group.
    """
    truth = read_packed(packed)
    audited = read_audit(audit, truth)
    groups = groups_to_draw(audited, truth, pattern=group_pattern)
    resamplings = [
        resample(split, chosen, truth=truth, groups=groups, replicates=replicates, seed=seed)
        for split, chosen in split_images(truth, leak_free(audited)).items()
    ]
    map_files = {path.parent: path for path in maps}
    runs: dict[tuple[str, int], list[Draws]] = {}
    for setting, path in zip(settings, scores, strict=True):
        draws: Draws = {}
        if can(setting["method"], "scores_images"):
            table = read_scores(path, truth).query("split == 'test'")
            cases = {"labels": truth.test_labels, "scores": table["score"].to_numpy()}
            what = f"test images in {path}"
            draws |= draw(image_metrics, replicate_images, cases, resamplings, what=what)
        if map_file := map_files.pop(path.parent, None):
            cases = {"masks": truth.test_masks, "maps": read_maps_to_measure(map_file, truth)}
            what = f"test images' pixels in {map_file}"
            draws |= draw(pixel_metrics, replicate_pixels, cases, resamplings, what=what)
        runs.setdefault((setting["method"], setting["latent_dim"]), []).append(draws)
        logger.info("%s: %s", setting, {key: value for key, (value, _) in draws.items()})
    if map_files:
        raise ValueError(f"no setting has its scores beside {next(iter(map_files.values()))}")
    means = {key: mean_over_seeds(draws) for key, draws in runs.items()}
    rows = compare(means, reference=(reference["method"], reference["latent_dim"]))
    frame = pd.DataFrame(rows, columns=INTERVAL_COLUMNS)
    sizes = {part.split: part.weights.shape[1] for part in resamplings}
    frame["n_groups"] = frame["split"].map(sizes)
    frame = frame.assign(dataset=dataset, training_set="all", replicates=replicates)
    write_table(frame, intervals)


def draw(
    measure: Callable[..., dict[str, float]],
    replicate: Callable[..., dict[str, np.ndarray]],
    cases: Mapping[str, np.ndarray],
    resamplings: Sequence[Resampling],
    *,
    what: str,
) -> Draws:
    """Return the metrics that `replicate` gives, on each split; `measure` gives their values."""
    draws: Draws = {}
    for split, chosen, groups, weights in resamplings:
        own = {key: values[chosen] for key, values in cases.items()}
        values = measure(**own, what=f"{split} {what}")
        drawn = replicate(**own, groups=groups, weights=weights)
        draws |= {(split, metric): (values[metric], drawn[metric]) for metric in drawn}
    return draws


def mean_over_seeds(seeds: Sequence[Draws]) -> Draws:
    """Return the mean over seeds of each metric and, replicate by replicate, of its draws."""
    means: Draws = {}
    for metric in seeds[0]:
        values, replicates = zip(*(draws[metric] for draws in seeds), strict=True)
        means[metric] = float(np.mean(values)), np.mean(replicates, axis=0)
    return means


def compare(
    means: Mapping[tuple[str, int], Draws], *, reference: tuple[str, int]
) -> Iterator[dict[str, object]]:
    """Yield a row per setting (method, latent_dim), split and metric, without what all share."""
    for (method, latent_dim), draws in means.items():
        for (split, metric), (value, replicates) in draws.items():
            low, high = percentile_interval(replicates)
            row = {"method": method, "latent_dim": latent_dim, "split": split, "metric": metric}
            row |= {"value": value, "low": low, "high": high}
            if reference in means and (method, latent_dim) != reference:
                other_value, other_replicates = means[reference][split, metric]
                differences = replicates - other_replicates
                row["difference"] = value - other_value
                low, high = percentile_interval(differences)
                row |= {"difference_low": low, "difference_high": high}
                row["p_value"] = paired_p_value(differences)
            yield row


if __name__ == "__main__":
    from medae.base.scripts import run_script

    run_script(bootstrap_metrics, snakemake)
