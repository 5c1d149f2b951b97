"""Which images contact sheets and the gallery show: by rank of a score, so that nobody picks.

Apart from what draws, since choosing again needs all anomaly maps and drawing again does not.
"""

import numpy as np

CLASSES = ["normal", "abnormal"]
"""By label, 0 and 1."""
HEAT = "inferno"
"""The colours of anomaly maps."""
PERCENTILE = 99.5
"""Of the maps' pixels, where their colours end; the few above would leave the rest in the dark."""


def choose_images(labels: np.ndarray, scores: np.ndarray, *, count: int) -> dict[str, list[int]]:
    """Return by class the positions of `count` images at evenly spaced ranks of their scores.

    They go from the lowest score to the highest; equal scores are ordered by position, which is by
    id. Places are rounded down: the second of three images is at (n - 1) // 2. A class of fewer
    images has some of them several times, and an empty one is left out.
    """
    chosen = {}
    for label, name in enumerate(CLASSES):
        members = np.flatnonzero(labels == label)
        if not len(members):
            continue
        ranked = members[np.argsort(scores[members], kind="stable")]
        places = np.arange(count) * (len(ranked) - 1) // (count - 1)
        chosen[name] = ranked[places].tolist()
    return chosen
