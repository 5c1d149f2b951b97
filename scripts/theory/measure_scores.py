"""Score the test images of one setting in other ways than by squared error, and measure them all.

Inputs: the packed dataset; its audit (images.tsv); a table of scores (scores.tsv) and the
reconstructions (maps.h5) per seed, of models that were trained on all training images.
Parameters: `variants`, names of scores as `medae.theory.score_names` has them; `group_pattern`,
`replicates` and `seed` of the bootstrap, as in bootstrap_metrics.py; `pixels`, "none" for no pixel
metrics, "metrics", or "intervals" for intervals of them too, which is slow.
Outputs: a table per seed (variants.tsv: split, id, label, and a column per score) of the test
images; and one table of metrics with the columns of `medae.theory.score_metrics`, in fractions: `auc` and
`ap`, `auc_matched` (`medae.evaluation.matching`), and, where there are masks, `ap_pix` and `dice_max` of the
anomaly maps. `low` and `high` are the 95 % percentile interval of the mean over seeds, the same in
the rows of all seeds. The leak-free split is left out when a class has no image in it.
The noise floor is the mean error of the normal training images, never of test images.
Fails when the files are not about the same images, when a score is not finite, or when a model
reconstructs its training images without an error.
"""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from medae.base.errors import InputError
from medae.base.files import write_table
from medae.data.packed import read_packed
from medae.duplicates.audit import leak_free, read_audit
from medae.evaluation import bootstrap
from medae.evaluation.bootstrap import Resampling, resample
from medae.evaluation.matching import matched_auc, variance_strata
from medae.evaluation.metrics import RankingCurve, average_precision, dice_max, image_metrics
from medae.evaluation.splits import LEAK_FREE_SPLIT, groups_to_draw, split_images
from medae.models.score_files import read_maps, read_scores
from medae.theory.score_metrics import SCORE_METRIC_COLUMNS
from medae.theory.score_names import parse_variant
from medae.theory.scores import measure_moments, score_images

logger = logging.getLogger(__name__)

Draws = dict[str, tuple[float, np.ndarray | None]]
"""By metric: its value and, where it is to have an interval, its value in each replicate."""


class Part(NamedTuple):
    """The test images of one split."""

    drawn: Resampling
    labels: np.ndarray
    """Of its images, 0 or 1."""
    strata: np.ndarray
    """Of its images, of like variance, see `medae.evaluation.matching`."""


def measure_scores(
    *,
    packed: Path,
    audit: Path,
    scores: Sequence[Path],
    maps: Sequence[Path],
    dataset: str,
    method: str,
    latent_dim: int,
    seeds: Sequence[int],
    variants: Sequence[str],
    group_pattern: str | None,
    replicates: int,
    seed: int,
    pixels: str,
    tables: Sequence[Path],
    metrics: Path,
) -> None:
    """Write `tables` and `metrics`; `scores`, `maps` and `tables` are in the order of `seeds`."""
    truth = read_packed(packed)
    images = truth.test_images.astype(np.float32) / np.float32(127.5) - 1
    audited = read_audit(audit, truth)
    groups = groups_to_draw(audited, truth, pattern=group_pattern)
    unseen = leak_free(audited)
    variances = images.var(axis=(2, 3), dtype=np.float64).mean(axis=1)
    parts = []
    for split, chosen in split_images(truth, unseen).items():
        drawn = resample(
            split, chosen, truth=truth, groups=groups, replicates=replicates, seed=seed
        )
        strata = variance_strata(variances[chosen])
        parts.append(Part(drawn, truth.test_labels[chosen], strata))
    found: dict[tuple[str, str, int], Draws] = {}
    for model_seed, score_file, map_file, table in zip(seeds, scores, maps, tables, strict=True):
        frame = pd.DataFrame({"split": "test", "id": truth.test_ids, "label": truth.test_labels})
        frame = frame.assign(**dict.fromkeys(variants, np.nan))
        for name, values, anomalies in score_variants(
            images,
            read_maps(map_file, truth, name="reconstructions"),
            variants=variants,
            floor=noise_floor(read_scores(score_file, truth), what=str(score_file)),
        ):
            frame[name] = values
            of_pixels: dict[str, Draws] = {}
            if (masks := truth.test_masks) is not None and pixels != "none":
                with_draws = pixels == "intervals"
                sets = [part.drawn for part in parts]
                of_pixels = measure_pixels(anomalies, masks=masks, parts=sets, drawn=with_draws)
            for part in parts:
                what = f"{part.drawn.split} test images by {name} in {map_file}"
                draws = measure_images(values, part=part, what=what) | of_pixels.get(
                    part.drawn.split, {}
                )
                found[name, part.drawn.split, model_seed] = draws
        write_table(frame, table)
    rows = [
        {"seed": model_seed, "score": name, "split": part.drawn.split} | row
        for model_seed in seeds
        for name in variants
        for part in parts
        for row in summarise(found, seeds, name=name, part=part, seed=model_seed)
    ]
    if unseen.all():  # the same images
        rows += [row | {"split": LEAK_FREE_SPLIT} for row in rows]
    frame = pd.DataFrame(rows).assign(dataset=dataset, method=method, latent_dim=latent_dim)
    write_table(frame[SCORE_METRIC_COLUMNS], metrics)


def noise_floor(table: pd.DataFrame, *, what: str) -> float:
    """Return the mean error of the training images in a table of scores; `what` names it.

    Raises InputError unless it is finite and positive.
    """
    floor = float(table.loc[table["split"] == "train", "reconstruction_error"].mean())
    if not (np.isfinite(floor) and floor > 0):
        raise InputError(
            f"The mean reconstruction error of the training images in {what} is {floor:g}, so it "
            "is no noise floor. Delete this model and its scores, and train it again."
        )
    return floor


def score_variants(
    images: np.ndarray, reconstructions: np.ndarray, *, variants: Sequence[str], floor: float
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield each variant's name, scores (N,) and maps N × H × W (float32), window by window."""
    parsed = {name: parse_variant(name) for name in variants}
    for window in dict.fromkeys(variant.window for variant in parsed.values()):
        moments = measure_moments(images, reconstructions, window=window)
        for name, variant in parsed.items():
            if variant.window == window:
                values, maps = score_images(
                    variant.kind,
                    images=images,
                    reconstructions=reconstructions,
                    moments=moments,
                    epsilon=variant.multiple * floor,
                )
                yield name, values, maps.astype(np.float32)


def measure_images(values: np.ndarray, *, part: Part, what: str) -> Draws:
    """Return auc, ap and auc_matched of the scores of all test images; `what` names them.

    auc_matched is left out when no stratum has both classes.
    """
    cases = {"labels": part.labels, "scores": values[part.drawn.chosen]}
    exact = image_metrics(**cases, what=what)
    drawn = bootstrap.replicate_images(
        **cases, groups=part.drawn.groups, weights=part.drawn.weights
    )
    draws: Draws = {metric: (exact[metric], drawn[metric]) for metric in ("auc", "ap")}
    (matched,) = matched_auc(**cases, strata=part.strata)
    if not np.isnan(matched):
        weights = part.drawn.weights[:, part.drawn.groups]
        draws["auc_matched"] = matched, matched_auc(**cases, strata=part.strata, weights=weights)
    return draws


def measure_pixels(
    maps: np.ndarray, *, masks: np.ndarray, parts: Sequence[Resampling], drawn: bool
) -> dict[str, Draws]:
    """Return by split ap_pix and dice_max of the maps of all test images; replicates if `drawn`.

    `masks` and `maps` have shape (n_test, height, width). The pixels are sorted once for all
    splits, the values being those of `medae.evaluation.metrics.pixel_metrics`.
    """
    order = np.argsort(maps, axis=None)[::-1]
    ranked = maps.reshape(-1)[order]
    ends = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)
    abnormal = masks.reshape(-1)[order] == 1
    image = order // masks[0].size
    found: dict[str, Draws] = {}
    for part in parts:
        inside = part.chosen[image]
        called, hits = (np.cumsum(pixels)[ends] for pixels in (inside, inside & abnormal))
        own = np.diff(called, prepend=0) > 0  # thresholds that are scores of this split
        curve = RankingCurve(
            thresholds=ranked[ends][own],
            true_positives=hits[own].astype(np.float64),
            false_positives=(called - hits)[own].astype(np.float64),
        )
        values = {"ap_pix": average_precision(curve), "dice_max": dice_max(curve)[0]}
        cases = {"masks": masks[part.chosen], "maps": maps[part.chosen]}
        weighted = {"groups": part.groups, "weights": part.weights}
        replicates = bootstrap.replicate_pixels(**cases, **weighted) if drawn else {}
        found[part.split] = {key: (value, replicates.get(key)) for key, value in values.items()}
    return found


def summarise(
    found: dict[tuple[str, str, int], Draws],
    seeds: Sequence[int],
    *,
    name: str,
    part: Part,
    seed: int,
) -> Iterator[dict[str, object]]:
    """Yield metric, value of one `seed`, the interval of the mean over `seeds`, and the counts."""
    n_abnormal = int(np.count_nonzero(part.labels))
    counts = {"n_normal": len(part.labels) - n_abnormal, "n_abnormal": n_abnormal}
    for metric, (value, drawn) in found[name, part.drawn.split, seed].items():
        low = high = np.nan
        if drawn is not None:
            runs = [found[name, part.drawn.split, other][metric][1] for other in seeds]
            replicates = np.mean(runs, axis=0)
            # Only auc_matched can lack a value: of a replicate without a pair.
            low, high = bootstrap.percentile_interval(replicates[~np.isnan(replicates)])
        yield {"metric": metric, "value": value, "low": low, "high": high} | counts


if __name__ == "__main__":
    from medae.base.logs import script_logging

    with script_logging(snakemake.log[0]):
        measure_scores(
            packed=Path(snakemake.input.packed),
            audit=Path(snakemake.input.audit),
            scores=[Path(path) for path in snakemake.input.scores],
            maps=[Path(path) for path in snakemake.input.maps],
            dataset=snakemake.wildcards.dataset,
            method=snakemake.wildcards.method,
            latent_dim=int(snakemake.wildcards.latent_dim),
            seeds=list(snakemake.params.seeds),
            variants=list(snakemake.params.variants),
            group_pattern=snakemake.params.group_pattern,
            replicates=snakemake.params.replicates,
            seed=snakemake.params.seed,
            pixels=snakemake.params.pixels,
            tables=[Path(path) for path in snakemake.output.variants],
            metrics=Path(snakemake.output.metrics),
        )
