"""Choose the settings of a dataset without labels, by its validation dataset.

Inputs: of each candidate, in the order of `candidates`, its scores (scores.tsv) and score variants
(variants.tsv) on the validation dataset; the packed validation dataset, and its audit (images.tsv);
and the table with the intrinsic dimension of the images.
Parameters: `dataset`, the key of the dataset that is chosen for; `candidates`, a list of {family,
method, latent_dim}, in order of capacity within a family, the smallest first; `scores`, the score
variants to choose among, mse being one, the preferred ones first; `group_pattern`, a regular
expression that finds an image's patient in its id, or None; `replicates` and `seed` of the
bootstrap.
Outputs: `selection`, a row per family, selector and score, with the columns SELECTION_COLUMNS: the
chosen candidate, whose AUC is to be read with `score`, and why; where a selector chooses nothing,
`method` is empty, latent_dim is 0 and `criterion` says why. The second score is the one with the
highest mean AUC against synthetic anomalies over the candidates of the family `ae` (over all where
it has none); rows with it are left out where it is the first. `curves`, with the columns
CURVE_COLUMNS, has what was compared: validation_error and validation_error_se (squared [-1, 1]
intensity units, over held-out normal images), and synthetic_auc:<score>, its parts
synthetic_auc_<kind>:<score>, and for the two scores synthetic_auc_se:<score> (fractions).
Fails when a file is about other images or has no such score, or when a score is not finite.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from medae.base.errors import InputError
from medae.base.files import read_table, write_table
from medae.data.groups import image_groups
from medae.data.packed import PackedDataset, read_packed
from medae.duplicates.audit import read_audit
from medae.evaluation.bootstrap import draw_weights, replicate_images
from medae.evaluation.metrics import image_metrics
from medae.models.score_files import read_scores
from medae.theory import selectors
from medae.theory.held_out import image_components, split_id
from medae.theory.score_metrics import PLAIN_SCORE
from medae.theory.selectors import AucEstimate, Choice

logger = logging.getLogger(__name__)

SELECTION_COLUMNS = ["dataset", "family", "selector", "score", "method", "latent_dim", "criterion"]
CURVE_COLUMNS = ["dataset", "family", "method", "latent_dim", "quantity", "value"]
LATENT_FAMILY = "ae"
"""The family whose capacity is the latent dimension, and by which the score is chosen."""

DIMENSIONS = ["twonn", "mle"]


class ValidationSet:
    """The test images of a validation dataset: which are of which kind, and belong together."""

    def __init__(self, data: PackedDataset, audit: pd.DataFrame, *, pattern: str | None) -> None:
        """Sort the images of `data`; `audit` and `pattern` say which originals are a group."""
        self.normal = data.test_labels == 0
        kinds, originals = [], []
        for name, normal in zip(data.test_ids, self.normal, strict=True):
            kind, original = ("", name) if normal else split_id(name)
            kinds.append(kind)
            originals.append(original)
        names = [name for name, normal in zip(data.test_ids, self.normal, strict=True) if normal]
        copies = audit.loc[audit["split"] == "test", "copy_group"].to_numpy()[self.normal]
        components = image_components(copies, image_groups(names, pattern=pattern))
        group_of = dict(zip(names, components, strict=True))
        self.groups = np.array([group_of[name] for name in originals])
        """Of each test image; an anomaly is in the group of the image that it was made of."""
        self.kinds = {
            kind: self.normal | (np.array(kinds) == kind) for kind in sorted(set(kinds) - {""})
        }
        """Of each kind of anomaly, the normal images and the anomalies of this kind; bool."""
        self.labels = data.test_labels

    def aucs(self, scores: np.ndarray, *, what: str) -> dict[str, float]:
        """Return the AUC of each kind of anomaly against the normal images."""
        return {
            kind: image_metrics(
                labels=self.labels[rows], scores=scores[rows], what=f"{kind} images in {what}"
            )["auc"]
            for kind, rows in self.kinds.items()
        }

    def replicate_aucs(self, scores: np.ndarray, *, replicates: int, seed: int) -> np.ndarray:
        """Return the mean AUC over kinds in each replicate, which draws groups; (replicates,).

        Equal arguments but the scores draw the same groups, also from kind to kind.
        """
        weights = draw_weights(
            labels=self.labels, groups=self.groups, replicates=replicates, seed=seed
        )
        drawn = [
            replicate_images(
                labels=self.labels[rows],
                scores=scores[rows],
                groups=self.groups[rows],
                weights=weights,
            )["auc"]
            for rows in self.kinds.values()
        ]
        return np.mean(drawn, axis=0)


def select_settings(
    *,
    scores: Sequence[Path],
    variants: Sequence[Path],
    packed: Path,
    audit: Path,
    dimension: Path,
    dataset: str,
    candidates: Sequence[Mapping],
    score_names: Sequence[str],
    group_pattern: str | None,
    replicates: int,
    seed: int,
    selection: Path,
    curves: Path,
) -> None:
    """Write the two tables; `scores` and `variants` are in the order of `candidates`."""
    data = read_packed(packed)
    images = ValidationSet(data, read_audit(audit, data), pattern=group_pattern)
    frame = pd.DataFrame(candidates)[["family", "method", "latent_dim"]]
    errors = np.stack([held_out_errors(path, data) for path in scores], axis=1)
    tables = [read_variants(path, data, score_names=score_names) for path in variants]
    aucs = [
        {name: images.aucs(table[name].to_numpy(), what=str(path)) for name in score_names}
        for path, table in zip(variants, tables, strict=True)
    ]
    ae = (frame["family"] == LATENT_FAMILY).to_numpy()
    chosen_score = choose_score([auc for auc, own in zip(aucs, ae, strict=True) if own] or aucs)
    estimate = read_dimension(dimension)
    groups = images.groups[images.normal]
    rows, points = [], []
    for family, part in frame.groupby("family", sort=False):
        places = part.index.to_numpy()
        estimates = {
            score: AucEstimate(
                np.array([np.mean(list(aucs[place][score].values())) for place in places]),
                np.stack(
                    [
                        images.replicate_aucs(
                            tables[place][score].to_numpy(), replicates=replicates, seed=seed
                        )
                        for place in places
                    ],
                    axis=1,
                ),
            )
            for score in dict.fromkeys([PLAIN_SCORE, chosen_score])
        }
        for score, auc in estimates.items():
            choices = choose(
                errors[:, places],
                groups,
                auc=auc,
                dims=part["latent_dim"].to_numpy(),
                estimate=estimate if family == LATENT_FAMILY else None,
            )
            for selector, choice in choices.items():
                row = {"family": family, "selector": selector, "score": score}
                row |= {"method": "", "latent_dim": 0, "criterion": choice.criterion}
                if choice.position is not None:
                    row |= part.iloc[choice.position].to_dict()
                rows.append(row)
        points += curve_points(part, errors, groups, aucs=aucs, estimates=estimates)
    chosen = pd.DataFrame(rows).assign(dataset=dataset)[SELECTION_COLUMNS]
    logger.info("score %s; %s", chosen_score, chosen.to_dict("tight")["data"])
    write_table(chosen, selection)
    write_table(pd.DataFrame(points).assign(dataset=dataset)[CURVE_COLUMNS], curves)


def choose(
    errors: np.ndarray,
    groups: np.ndarray,
    *,
    auc: AucEstimate,
    dims: np.ndarray,
    estimate: float | None,
) -> dict[str, Choice]:
    """Return the choice of each selector among the candidates of one family.

    `errors` has shape (images, candidates), `groups` (images,), `dims` (candidates,). Without an
    `estimate` of the intrinsic dimension the capacity is none that it could be compared with, and
    the knee is looked for over the candidates' places.
    """
    if estimate is not None and (np.diff(dims) <= 0).any():
        raise ValueError(f"latent dimensions {dims} of candidates do not ascend")
    apart = len(set(dims)) == len(dims)
    capacities = np.log2(dims) if apart else np.arange(len(dims), dtype=float)
    without = Choice(None, "the capacity of this family is not a number of dimensions")
    return {
        "one_standard_error": selectors.one_standard_error(errors, groups),
        "knee": selectors.knee(errors.mean(axis=0), capacities),
        "intrinsic_dimension": without
        if estimate is None
        else selectors.intrinsic_dimension(dims, estimate),
        "synthetic_auc": selectors.synthetic_auc(auc),
        "combined": without if estimate is None else selectors.combined(auc, dims, estimate),
    }


def choose_score(aucs: Sequence[Mapping[str, Mapping[str, float]]]) -> str:
    """Return the score with the highest mean AUC over candidates and kinds; the first of equals.

    `aucs` has per candidate, by score, the AUC of each kind.
    """
    means = {
        score: np.mean([list(candidate[score].values()) for candidate in aucs]) for score in aucs[0]
    }
    return max(means, key=means.__getitem__)


def curve_points(
    part: pd.DataFrame,
    errors: np.ndarray,
    groups: np.ndarray,
    *,
    aucs: Sequence[Mapping[str, Mapping[str, float]]],
    estimates: Mapping[str, AucEstimate],
) -> list[dict[str, object]]:
    """Return the rows of the curves of one family, whose candidates are `part`."""
    mean, spread = selectors.mean_errors(errors[:, part.index], groups)
    points = []
    for number, (place, candidate) in enumerate(part.iterrows()):
        values = {"validation_error": mean[number], "validation_error_se": spread[number]}
        for score, kinds in aucs[place].items():
            values[f"synthetic_auc:{score}"] = np.mean(list(kinds.values()))
            values |= {f"synthetic_auc_{kind}:{score}": auc for kind, auc in kinds.items()}
        for score, auc in estimates.items():
            values[f"synthetic_auc_se:{score}"] = auc.replicates[:, number].std(ddof=1)
        points += [
            {**candidate.to_dict(), "quantity": name, "value": value}
            for name, value in values.items()
        ]
    return points


def held_out_errors(path: Path, data: PackedDataset) -> np.ndarray:
    """Return the reconstruction errors of the normal test images in a table of scores."""
    table = read_scores(path, data)
    held_out = (table["split"] == "test") & (table["label"] == 0)
    errors = table.loc[held_out, "reconstruction_error"].to_numpy(dtype=float)
    if not np.isfinite(errors).all():
        raise InputError(
            f"{path} has no finite reconstruction error of some held-out image, so the model "
            "cannot be judged by them. Delete its scores and its checkpoint and run the workflow "
            "again; choose only methods that reconstruct images."
        )
    return errors


def read_variants(path: Path, data: PackedDataset, *, score_names: Sequence[str]) -> pd.DataFrame:
    """Return the scores `score_names` of the test images, in their order.

    Raises InputError when the table is about other images, or has no such scores.
    """
    table = read_table(path)
    lacking = [name for name in ("id", "label", *score_names) if name not in table]
    if lacking or list(table["id"].astype(str)) != data.test_ids:
        fault = f"has no column {lacking[0]}" if lacking else "is about other images"
        raise InputError(
            f"{path} {fault}, so no score can be chosen by it. Delete it and run the workflow "
            "again; it will be made again."
        )
    return table[list(score_names)]


def read_dimension(path: Path) -> float:
    """Return the intrinsic dimension of the images, the larger of the estimates DIMENSIONS.

    Both fall short of the truth with few images in many dimensions, and a latent that is too small
    cannot hold the images. nan where there were too few images for either.
    """
    table = read_table(path)
    found = table.loc[table["quantity"].isin(DIMENSIONS), "value"]
    if found.empty:
        raise InputError(
            f"{path} has no intrinsic dimension of the images ({' or '.join(DIMENSIONS)}). Delete "
            "it and run the workflow again; it will be made again."
        )
    return float(found.max())


if __name__ == "__main__":
    from medae.base.logs import script_logging

    with script_logging(snakemake.log[0]):
        select_settings(
            scores=[Path(path) for path in snakemake.input.scores],
            variants=[Path(path) for path in snakemake.input.variants],
            packed=Path(snakemake.input.packed),
            audit=Path(snakemake.input.audit),
            dimension=Path(snakemake.input.dimension),
            dataset=snakemake.params.dataset,
            candidates=snakemake.params.candidates,
            score_names=snakemake.params.scores,
            group_pattern=snakemake.params.group_pattern,
            replicates=snakemake.params.replicates,
            seed=snakemake.params.seed,
            selection=Path(snakemake.output.selection),
            curves=Path(snakemake.output.curves),
        )
