"""Compute all metrics of one setting (dataset, training set, method, latent dimension), per seed.

By its own score, by default the squared error, and by others of the same reconstructions, which
are written to `others`: id and label of the test images, and a column per score. The metrics have
the columns METRIC_COLUMNS of medae.evaluation.metrics, on the published and on the leak-free test
images. AUC, AP and Dice are fractions, errors squared [-1, 1] intensity units, and those of
training images are of the ones that were used. `false_positive_rate` and `sensitivity` are the
shares of normal and abnormal images above the threshold of a decision, where there is one.
Without both classes AUC and AP are left out.
Fails when scores, maps and packed dataset are not about the same images, when a score is not
finite, or when a model reconstructs its training images without an error.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from medae.base.files import write_table
from medae.data.packed import read_packed
from medae.duplicates.audit import leak_free, read_audit
from medae.duplicates.held_out import not_held_out
from medae.duplicates.training_sets import read_training_rows
from medae.evaluation.metrics import METRIC_COLUMNS, matched_by, measure
from medae.evaluation.summary import stacked
from medae.models.decision import read_decision
from medae.models.information import PLAIN_SCORE
from medae.models.score_files import read_maps, read_scores, rescore

logger = logging.getLogger(__name__)


def compute_metrics(
    *,
    scores: Sequence[Path],
    maps: Sequence[Path],
    packed: Path,
    audit: Path,
    training_rows: Path | None,
    dataset: str,
    training_set: str,
    method: str,
    latent_dim: int,
    seeds: Sequence[int],
    score_names: Sequence[str],
    share: float | None,
    others: Sequence[Path],
    metrics: Path,
    decisions: Sequence[Path] = (),
) -> None:
    """Write `metrics` and `others`; these, `scores` and `maps` are in the order of `seeds`.

    So are `decisions`, where images are held out. `training_rows`, the table of the training set,
    is None for `all`; `score_names` are those of medae.models.information, and `share` is that of
    `measure`.
    """
    truth = read_packed(packed)
    unseen = leak_free(read_audit(audit, truth))
    matched = matched_by(truth.test_images)
    held_out = ~not_held_out(training_rows, truth)
    found = []
    masks = truth.test_masks is not None
    files = zip(seeds, scores, maps, others, decisions or [None] * len(seeds), strict=True)
    for seed, path, map_file, other, decision in files:
        rows = read_training_rows(training_rows, truth, training_set=training_set, seed=seed)
        table = read_scores(path, truth)
        tables = {PLAIN_SCORE: (table, read_maps(map_file, truth) if masks else None)}
        test = table["split"] == "test"
        rescored = table.loc[test, ["id", "label"]].copy()
        for name in score_names:
            about = {"table": table, "maps": map_file, "what": str(path)}
            about |= {"trained_on": rows, "held_out": held_out}
            rescored[name], anomalies = rescore(name, truth=truth, **about)
            changed = table.assign(reconstruction_error=np.nan)
            changed.loc[test, "score"] = rescored[name]
            tables[name] = changed, anomalies if masks else None
        decided = read_decision(decision) if decision else {}
        for name, (scored, anomalies) in tables.items():
            measured = measure(
                scored,
                truth=truth,
                leak_free=unseen,
                trained_on=rows,
                scores_images=True,
                maps=anomalies,
                threshold=decided[name]["threshold"] if name in decided else None,
                share=share,
                matched=matched,
                what=str(path) if name == PLAIN_SCORE else f"{name} of {path}",
            )
            found.append(measured.assign(score=name, seed=seed))
            values = measured[["split", "metric", "value"]].to_dict("tight")
            logger.info("seed %d, %s: %s", seed, name, values["data"])
        write_table(rescored, other)
    frame = stacked(found).assign(
        dataset=dataset, training_set=training_set, method=method, latent_dim=latent_dim
    )
    write_table(frame[METRIC_COLUMNS], metrics)


if __name__ == "__main__":
    from medae.base.scripts import run_script

    run_script(compute_metrics, snakemake)
