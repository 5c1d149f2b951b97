"""Bootstrap the metrics of all settings of one dataset over its test images.

`intervals` has a row per setting, score, split and metric (auc, ap, ap_share, auc_matched,
auc_matched_local, ap_pix, dice_max; without those that a replicate leaves undefined):
`value`, the mean over seeds on the whole test set, and its 95 % percentile interval (low, high);
then the difference to the reference, its interval, and the p-value of a paired two-sided test, not
corrected for the number of tests. These four are empty for the reference itself, and for all when
the reference is not among the settings. `tests` has the tests of other scores. All are fractions.
`medae.evaluation.bootstrap` says how images are drawn.
Without both classes the tables are empty.
Fails when a file is not about the packed test images, or a score is not finite.
"""

import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from medae.base.files import write_table
from medae.data.groups import image_groups
from medae.data.packed import PackedDataset, read_packed
from medae.duplicates.audit import leak_free, read_audit
from medae.duplicates.held_out import not_held_out
from medae.evaluation.bootstrap import (
    INTERVAL_COLUMNS,
    TEST_COLUMNS,
    draw_weights,
    holm,
    paired_p_value,
    percentile_interval,
    replicate_images,
    replicate_pixels,
)
from medae.evaluation.metrics import matched_by, strata_of
from medae.evaluation.ranking import image_metrics, pixel_metrics
from medae.evaluation.splits import has_both, split_images
from medae.models.baselines import LINEAR, can
from medae.models.information import NO_RECONSTRUCTION, PLAIN_SCORE
from medae.models.score_files import read_maps, read_other_scores, read_scores, rescore

logger = logging.getLogger(__name__)


def bootstrap_metrics(
    *,
    scores: Sequence[Path],
    others: Sequence[Path],
    maps: Sequence[Path],
    packed: Path,
    audit: Path,
    dataset: str,
    settings: Sequence[Mapping],
    reference: Mapping,
    group_pattern: str | None,
    share: float | None,
    replicates: int,
    seed: int,
    intervals: Path,
    tests: Path,
    training_rows: Path | None = None,
) -> None:
    """Write the intervals of `settings`, {method, latent_dim, seed} of each table of `scores`.

    `others` are tables of other scores and `maps` files of anomaly maps, each beside its setting's
    table; without one a setting has no such scores, or no pixel metrics. `training_rows` is the
    table of the training set `all`, None where nothing is held out. `reference`, {method,
    latent_dim, score}, is what the others are tested against. `group_pattern` finds an image's
    patient in its id; without it images that are copies, as the audit has them, are a group.
    `share` is that of `image_metrics`, by default that of the full test set. Where that lacks
    a class, both tables are empty.
    """
    truth = read_packed(packed)
    if not has_both(truth.test_labels):
        logger.warning("No intervals: the test set lacks a class.")
        write_table(pd.DataFrame(columns=INTERVAL_COLUMNS), intervals)
        write_table(pd.DataFrame(columns=TEST_COLUMNS), tests)
        return
    share = share or float(truth.test_labels.mean())
    audited = read_audit(audit, truth)
    if group_pattern is None:
        groups = audited.loc[audited["split"] == "test", "copy_group"].to_numpy()
    else:
        groups = image_groups(truth.test_ids, pattern=group_pattern)
    used = not_held_out(training_rows, truth)
    matched = matched_by(truth.test_images)
    splits = {
        split: Split(
            chosen,
            draw_groups(truth, chosen, groups, replicates=replicates, seed=seed),
            {"share": share, "strata": strata_of(matched, chosen)},
        )
        for split, chosen in split_images(truth, leak_free(audited)).items()
    }
    other_files, map_files = ({path.parent: path for path in paths} for paths in (others, maps))
    # By method, latent dimension, score, split and metric, for each seed: value, then replicates.
    found: dict[Key, list[np.ndarray]] = defaultdict(list)
    for setting, path in zip(settings, scores, strict=True):
        logger.info("%s", setting)
        beside = other_files.get(path.parent), map_files.get(path.parent)
        for score, cases, what in rankings(setting["method"], path, *beside, truth, used):
            of_images = "scores" in cases
            measure = image_metrics if of_images else pixel_metrics
            replicate = replicate_images if of_images else replicate_pixels
            for split, (chosen, drawn, options) in splits.items():
                own = {name: values[chosen] for name, values in cases.items()}
                own |= options if of_images else {}
                values = measure(**own, what=f"{split} {what}")
                for metric, replicated in replicate(**own, **drawn).items():
                    if np.isfinite(replicated).all():  # so has the value
                        key = Key(setting["method"], setting["latent_dim"], score, split, metric)
                        found[key].append(np.append(values[metric], replicated))
    means = {key: np.mean(seeds, axis=0) for key, seeds in found.items()}
    rows = []
    for key, values in means.items():
        low, high = percentile_interval(values[1:])
        row = key._asdict() | {"value": values[0], "low": low, "high": high}
        row["n_groups"] = splits[key.split].drawn["weights"].shape[1]
        other = means.get(key._replace(**reference))
        if other is not None and other is not values:
            difference, low, high, p_value = compare(values, other)
            row |= {"difference": difference, "difference_low": low, "difference_high": high}
            row["p_value"] = p_value
        rows.append(row)
    frame = pd.DataFrame(rows, columns=INTERVAL_COLUMNS)
    about = {"dataset": dataset, "training_set": "all"}
    write_table(frame.assign(**about, replicates=replicates), intervals)
    write_table(compare_scores(means).assign(**about)[TEST_COLUMNS], tests)


class Split(NamedTuple):
    """A set of test images."""

    chosen: np.ndarray
    """Which of them it has, bool."""
    drawn: dict[str, np.ndarray]
    """Their groups, and the replicates' weights: `draw_groups`."""
    options: dict
    """`share` and `strata` of `image_metrics`."""


class Key(NamedTuple):
    """What a bootstrapped number is about: CELL without dataset and training set."""

    method: str
    latent_dim: int
    score: str
    split: str
    metric: str


def compare(values: np.ndarray, other: np.ndarray) -> tuple[float, float, float, float]:
    """Return the difference of two rows of value and replicates, its interval, and its p-value."""
    differences = np.round(values - other, 12)  # means over seeds that are equal but for rounding
    low, high = percentile_interval(differences[1:])
    return differences[0], low, high, paired_p_value(differences[1:])


def compare_scores(means: Mapping[Key, np.ndarray]) -> pd.DataFrame:
    """Return the paired tests of every other score, rows of TEST_COLUMNS.

    Against the squared error of the same models; against the best control, of the scores that see
    no reconstruction that with the highest value of the metric on these very images; and against
    PCA with the same d by the same score. A family of Holm's correction is the first two of a
    setting, score, split and metric, as docs/information_score.md planned; the third stands alone.
    """
    rows = []
    for key, values in means.items():
        if key.score in (PLAIN_SCORE, NO_RECONSTRUCTION):
            continue
        controls = {
            other.method: one
            for other, one in means.items()
            if other.score == NO_RECONSTRUCTION and other[3:] == key[3:]
        }
        against = {PLAIN_SCORE: means[key._replace(score=PLAIN_SCORE)]}
        if controls:
            best = max(controls, key=lambda name: controls[name][0])
            against[best] = controls[best]
        planned = len(against)
        linear = key._replace(method=LINEAR)
        if linear in means and linear != key:
            against[LINEAR] = means[linear]
        tested = [compare(values, other) for other in against.values()]
        p_values = [result[-1] for result in tested]
        corrected = [*holm(p_values[:planned]), *p_values[planned:]]
        for name, result, p_holm in zip(against, tested, corrected, strict=True):
            numbers = dict(zip(TEST_COLUMNS[-5:], (*result, p_holm), strict=True))
            rows.append(key._asdict() | {"against": name} | numbers)
    return pd.DataFrame(rows, columns=TEST_COLUMNS)


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
    method: str,
    path: Path,
    other_file: Path | None,
    map_file: Path | None,
    truth: PackedDataset,
    trained_on: np.ndarray,
) -> Iterator[tuple[str, dict[str, np.ndarray], str]]:
    """Yield what is ranked of a setting: score, labels and scores or masks and maps, a name."""
    table = read_scores(path, truth)
    plain = PLAIN_SCORE if can(method, "reconstructs") else NO_RECONSTRUCTION
    values = {plain: table.loc[table["split"] == "test", "score"]}
    if other_file is not None:
        values |= dict(read_other_scores(other_file, truth))
    for score, own in values.items():
        if can(method, "scores_images"):
            cases = {"labels": truth.test_labels, "scores": own.to_numpy()}
            yield score, cases, f"test images in {path}"
        if map_file is not None:
            if score == plain:
                maps = read_maps(map_file, truth)
            else:
                about = {"trained_on": trained_on, "held_out": ~trained_on}
                about |= {"table": table, "maps": map_file, "what": str(path)}
                maps = rescore(score, truth=truth, **about)[1]
            cases = {"masks": truth.test_masks, "maps": maps}
            yield score, cases, f"test images' pixels in {map_file}"


if __name__ == "__main__":
    from medae.base.scripts import run_script

    run_script(bootstrap_metrics, snakemake)
