"""Which masks of a packed dataset are known: abnormal images may lack a file of one."""

import numpy as np

UNKNOWN = 255  # all values of the packed mask of such an image


def have_masks(masks: np.ndarray) -> np.ndarray:
    """Return which images, of packed masks N × H × W, have a known one; bool, shape (N,)."""
    return masks[:, 0, 0] != UNKNOWN
