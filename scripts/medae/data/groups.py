"""Which images are of one patient, by a pattern in their ids."""

import re
from collections.abc import Sequence

import numpy as np


def image_groups(ids: Sequence[str], *, pattern: str | None) -> np.ndarray:
    """Return the group of each image, numbered from 0 by first appearance; shape (n_images,).

    `pattern` is a regular expression with one group of parentheses, which finds the name of the
    group in an image's id. Images in which it finds nothing, and all images without a pattern, are
    groups of their own.
    """
    numbers: dict[tuple[bool, str], int] = {}
    names = group_names(ids, pattern=pattern)
    keys = [(name is not None, name or image) for image, name in zip(ids, names, strict=True)]
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=int)


def group_names(ids: Sequence[str], *, pattern: str | None) -> list[str | None]:
    """Return what `pattern` finds in each id, as `image_groups` does; None for nothing or ''."""
    if pattern is None:
        return [None] * len(ids)
    found = map(re.compile(pattern).search, ids)
    return [(match[1] or None) if match else None for match in found]
