"""Bootstrap the metrics of all settings of one dataset over its test images.

The output has a row per setting, split and metric (auc, ap, ap_pix, dice_max), in fractions:
`value`, the mean over seeds on the whole test set, and its 95 % percentile interval (low, high);
then the difference to the reference, its interval, and the p-value of a paired two-sided test, not
corrected for the number of tests. These four are empty for the reference itself, and for all when
the reference is not among the settings. `medae.evaluation.bootstrap` says how images are drawn.
Fails when a file is not about the packed test images, a class is missing, or a score is not finite.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from medae.base.files import write_table
from medae.data.groups import image_groups
from medae.data.packed import PackedDataset, read_packed
from medae.duplicates.audit import leak_free, read_audit
from medae.evaluation.bootstrap import (
    INTERVAL_COLUMNS,
    draw_weights,
    paired_p_value,
    percentile_interval,
    replicate_images,
    replicate_pixels,
)
from medae.evaluation.ranking import image_metrics, pixel_metrics
from medae.evaluation.splits import split_images
from medae.evaluation.summary import CELL
from medae.models.baselines import can
from medae.models.score_files import read_maps_to_measure, read_scores

logger = logging.getLogger(__name__)


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
    if group_pattern is None:
        groups = audited.loc[audited["split"] == "test", "copy_group"].to_numpy()
    else:
        groups = image_groups(truth.test_ids, pattern=group_pattern)
    splits = {
        split: (chosen, draw_groups(truth, chosen, groups, replicates=replicates, seed=seed))
        for split, chosen in split_images(truth, leak_free(audited)).items()
    }
    map_files = {path.parent: path for path in maps}
    # By method, latent dimension, split and metric, for each seed: the value, then its replicates.
    found: dict[tuple[str, int, str, str], list[np.ndarray]] = defaultdict(list)
    for setting, path in zip(settings, scores, strict=True):
        logger.info("%s", setting)
        method, latent_dim = setting["method"], setting["latent_dim"]
        map_file = map_files.get(path.parent)
        for measure, replicate, cases, what in rankings(method, path, map_file, truth):
            for split, (chosen, drawn) in splits.items():
                own = {name: values[chosen] for name, values in cases.items()}
                values = measure(**own, what=f"{split} {what}")
                for metric, replicated in replicate(**own, **drawn).items():
                    key = (method, latent_dim, split, metric)
                    found[key].append(np.append(values[metric], replicated))
    means = {key: np.mean(seeds, axis=0) for key, seeds in found.items()}
    rows = []
    for key, values in means.items():
        low, high = percentile_interval(values[1:])
        row = dict(zip(CELL[2:], key, strict=True)) | {"value": values[0], "low": low, "high": high}
        row["n_groups"] = splits[row["split"]][1]["weights"].shape[1]
        other = means.get((reference["method"], reference["latent_dim"], *key[2:]))
        if other is not None and other is not values:
            differences = values - other
            low, high = percentile_interval(differences[1:])
            row |= {"difference": differences[0], "difference_low": low, "difference_high": high}
            row["p_value"] = paired_p_value(differences[1:])
        rows.append(row)
    frame = pd.DataFrame(rows, columns=INTERVAL_COLUMNS)
    frame = frame.assign(dataset=dataset, training_set="all", replicates=replicates)
    write_table(frame, intervals)


def draw_groups(
    truth: PackedDataset, chosen: np.ndarray, groups: np.ndarray, *, replicates: int, seed: int
) -> dict[str, np.ndarray]:
    """Return the groups of the `chosen` test images, numbered from 0, and their weights."""
    groups = np.unique(groups[chosen], return_inverse=True)[1]
    masks = truth.test_masks
    weights = draw_weights(
        labels=truth.test_labels[chosen],
        groups=groups,
        replicates=replicates,
        seed=seed,
        masked=None if masks is None else (masks[chosen] == 1).any(axis=(1, 2)),
    )
    logger.info("%d test images in %d groups", len(groups), weights.shape[1])
    return {"groups": groups, "weights": weights}


def rankings(
    method: str, path: Path, map_file: Path | None, truth: PackedDataset
) -> Iterator[tuple[Callable, Callable, dict[str, np.ndarray], str]]:
    """Yield what is ranked of a setting: the metrics, their replicates, the arrays and a name."""
    if can(method, "scores_images"):
        table = read_scores(path, truth).query("split == 'test'")
        cases = {"labels": truth.test_labels, "scores": table["score"].to_numpy()}
        yield image_metrics, replicate_images, cases, f"test images in {path}"
    if map_file is not None:
        cases = {"masks": truth.test_masks, "maps": read_maps_to_measure(map_file, truth)}
        yield pixel_metrics, replicate_pixels, cases, f"test images' pixels in {map_file}"


if __name__ == "__main__":
    from medae.base.scripts import run_script

    run_script(bootstrap_metrics, snakemake)
