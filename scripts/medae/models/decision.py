"""The decision: the score above which an image is flagged, from normal images that were held out.

Of n held-out scores the threshold is the k-th smallest, k = ⌈(1 - rate)(n + 1)⌉: a new normal image
that is like these exceeds it with a probability of at most `rate` (split conformal prediction:
Vovk, Gammerman, Shafer 2005; Angelopoulos and Bates, arXiv:2107.07511). No label has a part in it.
"""

import math
from pathlib import Path

import numpy as np

from medae.base.files import read_table
from medae.models.information import INFORMATION, PLAIN_SCORE

DECISION = "decision.tsv"  # beside the checkpoint
DECISION_COLUMNS = [
    "score",
    "threshold",
    "low",
    "high",
    "false_positive_rate",
    "n_images",
    "n_groups",
    "noise_floor",
]
"""Columns of decision.tsv, a row per score: the threshold and its 95 % interval, the rate, the
held-out images and the groups that they are drawn in, and ε (squared intensity units)."""

REPLICATES = 2000


def threshold_at(scores: np.ndarray, rate: float) -> float:
    """Return the threshold of scores (n,), the highest score where they are too few."""
    rank = math.ceil(round((1 - rate) * (len(scores) + 1), 9))  # from 1
    return float(np.sort(scores)[min(rank, len(scores)) - 1])


def threshold_interval(scores: np.ndarray, groups: np.ndarray, rate: float) -> tuple[float, float]:
    """Return the 95 % percentile interval of the threshold, by a bootstrap over `groups` (n,)."""
    _, groups = np.unique(groups, return_inverse=True)
    members = [scores[groups == group] for group in range(groups.max() + 1)]
    random = np.random.default_rng(0)
    drawn = random.integers(len(members), size=(REPLICATES, len(members)))
    found = [threshold_at(np.concatenate([members[i] for i in row]), rate) for row in drawn]
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)


def decide(
    name: str, scores: np.ndarray, groups: np.ndarray, *, rate: float, floor: float
) -> dict[str, float | str]:
    """Return the row of DECISION_COLUMNS for the score `name` of held-out images."""
    low, high = threshold_interval(scores, groups, rate)
    counts = len(scores), len(set(groups))
    values = (name, threshold_at(scores, rate), low, high, rate, *counts, floor)
    return dict(zip(DECISION_COLUMNS, values, strict=True))


def read_decision(path: Path) -> dict[str, dict]:
    """Return the rows of decision.tsv by score, that which decides first; nothing without a file.

    That is information, where the run has it, else the model's own score.
    """
    if not path.exists():
        return {}
    rows = {row["score"]: row for row in read_table(path, DECISION_COLUMNS).to_dict("records")}
    first = INFORMATION if INFORMATION in rows else PLAIN_SCORE
    return {first: rows[first]} | rows
