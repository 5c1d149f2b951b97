"""Score the test images of one setting in other ways than by squared error, and measure them all.

Inputs: the packed dataset, its audit, and per seed the table of scores and the reconstructions
(maps.h5) of a model that was trained on all training images. Outputs: per seed a table of the test
images (split, id, label, a column per score), and one table of metrics (fractions): `auc`, `ap`,
`auc_matched`, the AUC among images of like variance, and with `pixels` also `ap_pix` and `dice_max`
of the anomaly maps. The noise floor is the mean error of the normal training images, never of test
images. Fails when the files are not about the same images, when a score is not finite, or when a
model reconstructs its training images without an error.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from medae.base.errors import InputError
from medae.base.files import write_table
from medae.data.packed import PackedDataset, as_floats, read_packed
from medae.duplicates.audit import leak_free, read_audit
from medae.evaluation.metrics import measure
from medae.evaluation.splits import LEAK_FREE_SPLIT
from medae.evaluation.stratified import stratified_auc, variance_strata
from medae.models.score_files import read_maps, read_scores
from medae.theory.columns import SCORE_METRIC_COLUMNS
from medae.theory.scores import score_images

METRICS_SHOWN = ["auc", "ap", "auc_matched", "ap_pix", "dice_max"]


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
    names: Sequence[str],
    pixels: bool,
    variants: Sequence[Path],
    metrics: Path,
) -> None:
    """Write `variants` and `metrics`; `scores`, `maps` and `variants` are in the order of `seeds`.

    `names` are those of scores (medae.theory.scores).
    """
    truth = read_packed(packed)
    images = as_floats(truth.test_images)
    unseen = leak_free(read_audit(audit, truth))
    rows = []
    for seed, score_file, map_file, output in zip(seeds, scores, maps, variants, strict=True):
        scored = read_scores(score_file, truth)
        floor = noise_floor(scored, what=str(score_file))
        again = read_maps(map_file, truth, name="reconstructions")
        table = scored.loc[scored["split"] == "test", ["split", "id", "label"]].copy()
        for name in names:
            table[name], anomalies = score_images(
                name, images=images, reconstructions=again, floor=floor
            )
            found = measure_score(
                table[name].to_numpy(),
                truth=truth,
                images=images,
                unseen=unseen,
                maps=anomalies.astype(np.float32) if pixels else None,
                what=f"{name} in {map_file}",
            )
            rows.append(found.assign(score=name, seed=seed))
        write_table(table, output)
    measured = pd.concat(rows).assign(dataset=dataset, method=method, latent_dim=latent_dim)
    write_table(measured[SCORE_METRIC_COLUMNS], metrics)


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


def measure_score(
    values: np.ndarray,
    *,
    truth: PackedDataset,
    images: np.ndarray,
    unseen: np.ndarray,
    maps: np.ndarray | None,
    what: str,
) -> pd.DataFrame:
    """Return rows of split, metric, value, n_normal and n_abnormal of METRICS_SHOWN.

    `values` (N,) and `maps` are of all test `images` (in [-1, 1]); `unseen` says which have no
    duplicate in training. auc_matched is left out when no stratum of variance has both classes.
    """
    table = pd.DataFrame({"split": "test", "label": truth.test_labels, "score": values})
    table["reconstruction_error"] = np.nan  # so that no errors are averaged
    found = measure(
        table,
        truth=truth,
        leak_free=unseen,
        trained_on=np.zeros(0, dtype=bool),
        scores_images=True,
        maps=maps,
        what=what,
    )
    variances = images.var(axis=(2, 3), dtype=np.float64).mean(axis=1)
    matched = found.drop_duplicates("split").assign(metric="auc_matched")
    for place, split in matched["split"].items():
        chosen = unseen if split == LEAK_FREE_SPLIT else np.ones_like(unseen)
        (value,) = stratified_auc(
            labels=truth.test_labels[chosen],
            scores=values[chosen],
            strata=variance_strata(variances[chosen]),
        )
        matched.loc[place, "value"] = value
    found = pd.concat([found, matched.dropna(subset="value")])
    return found[found["metric"].isin(METRICS_SHOWN)]


if __name__ == "__main__":
    from medae.base.scripts import run_script

    run_script(measure_scores, snakemake)
