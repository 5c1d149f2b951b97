"""Which images contact sheets and the gallery show: by rank of a score, so that nobody picks.

Apart from what draws, since choosing again needs all anomaly maps and drawing again does not.
"""

from collections.abc import Sequence

import numpy as np

from medae.base.errors import InputError

CLASSES = ["normal", "abnormal"]
"""By label, 0 and 1."""
HEAT = "inferno"
"""The colours of anomaly maps."""
PERCENTILE = 99.5
"""Of the maps' pixels, where their colours end; the few above would leave the rest in the dark."""


def rank_images(labels: np.ndarray, scores: np.ndarray, *, label: int) -> list[int]:
    """Return the positions of one class by ascending score, ties by position, which is by id.

    Raises InputError when the class is empty.
    """
    members = np.flatnonzero(labels == label)
    if not len(members):
        raise InputError(
            f"There is no {CLASSES[label]} test image to show. Add some to the dataset."
        )
    return members[np.argsort(np.asarray(scores)[members], kind="stable")].tolist()


def at_ranks(ranked: Sequence[int], *, parts: int) -> list[int]:
    """Return those of `ranked` at 0, 1, … `parts` of equal parts, from the first to the last.

    Places are rounded down. Two parts give the lowest, the median and the highest; none the first.
    """
    last = len(ranked) - 1
    return [ranked[part * last // max(parts, 1)] for part in range(parts + 1)]
