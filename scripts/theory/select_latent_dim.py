"""Choose the latent dimension of a dataset's autoencoder without labels, by held-out images.

Inputs: the tables of score_images.py and compute_metrics.py of each candidate on the held-out
dataset, that dataset and its audit, and those of its source, whose training images alone are used.
`selection` has a row per score and selector: the chosen d, whose AUC is to be read with `score`,
and why; where nothing is chosen, `method` is empty and latent_dim is 0. The first score is the
squared error, the second the one with the highest mean AUC against synthetic anomalies over all d,
where it is another. `curves` has what was compared: validation_error(_se), over held-out normal
images in squared [-1, 1] intensity units, synthetic_auc:<score>, and for the two scores
synthetic_auc_se:<score>, fractions. Fails when a file is about other images, or when a score is not
finite.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from medae.base.files import write_table
from medae.data.groups import image_groups
from medae.data.packed import PackedDataset, read_packed
from medae.duplicates.audit import read_audit
from medae.duplicates.held_out import image_components
from medae.evaluation.bootstrap import draw_weights, replicate_images
from medae.evaluation.ranking import image_metrics
from medae.models.information import PLAIN_SCORE
from medae.models.score_files import read_other_scores, read_scores
from medae.theory import selectors
from medae.theory.entropy import estimate_dimension, first_of_groups
from medae.theory.plan import AUTOENCODER, CURVE_COLUMNS, SELECTION_COLUMNS
from medae.theory.synthetic import split_id

ERROR = "reconstruction_error"

logger = logging.getLogger(__name__)


class HeldOutSet:
    """The test images of a held-out dataset: which are of which kind, and belong together."""

    def __init__(self, data: PackedDataset, audit: pd.DataFrame, *, pattern: str | None) -> None:
        """Sort the images of `data`; `audit` and `pattern` say which originals are a group."""
        self.labels = data.test_labels
        self.normal = self.labels == 0
        kinds, originals = zip(
            *(
                ("", name) if normal else split_id(name)
                for name, normal in zip(data.test_ids, self.normal, strict=True)
            ),
            strict=True,
        )
        names = [name for name, kind in zip(originals, kinds, strict=True) if not kind]
        copies = audit.loc[audit["split"] == "test", "copy_group"].to_numpy()[self.normal]
        components = image_components(copies, image_groups(names, pattern=pattern))
        group_of = dict(zip(names, components, strict=True))
        self.groups = np.array([group_of[name] for name in originals])
        """Of each test image; an anomaly is in the group of the image that it was made of."""
        self.kinds = {
            kind: self.normal | (np.array(kinds) == kind) for kind in sorted(set(kinds) - {""})
        }
        """Of each kind of anomaly, the normal images and the anomalies of this kind; bool."""

    def auc(self, scores: np.ndarray, *, what: str) -> float:
        """Return the AUC of anomalies against normal images, mean over kinds."""
        aucs = [
            image_metrics(labels=self.labels[rows], scores=scores[rows], what=f"{kind}, {what}")
            for kind, rows in self.kinds.items()
        ]
        return float(np.mean([found["auc"] for found in aucs]))

    def replicate_auc(self, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Return the same in each replicate; `weights` of groups, (replicates, groups)."""
        cases = {"labels": self.labels, "scores": scores, "groups": self.groups}
        drawn = [
            replicate_images(**{key: of[rows] for key, of in cases.items()}, weights=weights)["auc"]
            for rows in self.kinds.values()
        ]
        return np.mean(drawn, axis=0)


def select_latent_dim(
    *,
    scores: Sequence[Path],
    others: Sequence[Path],
    packed: Path,
    audit: Path,
    source_packed: Path,
    source_audit: Path,
    dataset: str,
    latent_dims: Sequence[int],
    score_names: Sequence[str],
    group_pattern: str | None,
    replicates: int,
    seed: int,
    selection: Path,
    curves: Path,
) -> None:
    """Write the two tables; `scores` and `others` are in the order of `latent_dims`, ascending.

    `score_names` are chosen among, the preferred ones first; the bootstrap's `group_pattern` finds
    an image's patient in its id.
    """
    data = read_packed(packed)
    images = HeldOutSet(data, read_audit(audit, data), pattern=group_pattern)
    tables = [read_candidate(*files, data) for files in zip(scores, others, strict=True)]
    values = {name: np.stack([table[name] for table in tables]) for name in score_names}
    aucs = {
        name: np.array([images.auc(one, what=name) for one in each])
        for name, each in values.items()
    }
    best = max(aucs, key=lambda name: aucs[name].mean())  # the first of equals
    # The same groups are drawn for all candidates and kinds.
    groups = {"labels": images.labels, "groups": images.groups}
    weights = draw_weights(**groups, replicates=replicates, seed=seed)
    spreads = {}
    for name in dict.fromkeys([PLAIN_SCORE, best]):
        drawn = [images.replicate_auc(one, weights) for one in values[name]]
        spreads[name] = np.stack(drawn, axis=1).std(axis=0, ddof=1)
    groups = images.groups[images.normal]
    errors = np.stack([table[ERROR][images.normal] for table in tables], axis=1)
    source = read_packed(source_packed)
    distinct = source.train_images[first_of_groups(read_audit(source_audit, source))]
    by_error = {
        "one_standard_error": selectors.one_standard_error(errors, groups),
        "knee": selectors.knee(errors.mean(axis=0), latent_dims),
        "intrinsic_dimension": selectors.intrinsic_dimension(
            latent_dims, estimate_dimension(distinct.reshape(len(distinct), -1))
        ),
    }
    rows = [
        {
            "selector": selector,
            "score": name,
            "method": "" if choice.position is None else AUTOENCODER,
            "latent_dim": 0 if choice.position is None else latent_dims[choice.position],
            "criterion": choice.criterion,
        }
        for name, spread in spreads.items()
        for selector, choice in (
            by_error | {"synthetic_auc": selectors.synthetic_auc(aucs[name], spread)}
        ).items()
    ]
    chosen = pd.DataFrame(rows).assign(dataset=dataset, family=AUTOENCODER)[SELECTION_COLUMNS]
    logger.info("score %s; %s", best, chosen.to_dict("tight")["data"])
    write_table(chosen, selection)
    mean, error = selectors.mean_errors(errors, groups)
    compared = {"validation_error": mean, "validation_error_se": error}
    compared |= {f"synthetic_auc:{name}": values for name, values in aucs.items()}
    compared |= {f"synthetic_auc_se:{name}": spread for name, spread in spreads.items()}
    points = pd.DataFrame({"latent_dim": latent_dims} | compared)
    points = points.melt("latent_dim", var_name="quantity")
    points = points.sort_values("latent_dim", kind="stable")
    points = points.assign(dataset=dataset, family=AUTOENCODER, method=AUTOENCODER)
    write_table(points[CURVE_COLUMNS], curves)


def read_candidate(scores: Path, others: Path, data: PackedDataset) -> pd.DataFrame:
    """Return all scores of the test images and their ERROR, in their order.

    Raises InputError when a table is about other images.
    """
    own = read_scores(scores, data).query("split == 'test'").reset_index()
    table = read_other_scores(others, data)
    return table.assign(**{PLAIN_SCORE: own["score"], ERROR: own[ERROR]})


if __name__ == "__main__":
    from medae.base.scripts import run_script

    run_script(select_latent_dim, snakemake)
