"""Which images are of one patient, by a pattern in their ids."""

import re
from collections.abc import Sequence

import numpy as np

from medae.base.errors import InputError


def image_groups(ids: Sequence[str], *, pattern: str | None) -> np.ndarray:
    """Return the group of each image, numbered from 0 by first appearance; shape (n_images,).

    `pattern` is a regular expression with one group of parentheses, which finds the name of the
    group in an image's id. Images in which it finds nothing, and all images without a pattern, are
    groups of their own.

    Raises InputError when the pattern is not such an expression.
    """
    numbers: dict[tuple[bool, str], int] = {}
    names = group_names(ids, pattern=pattern)
    keys = [(name is not None, name or image) for image, name in zip(ids, names, strict=True)]
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=int)


def group_names(ids: Sequence[str], *, pattern: str | None) -> list[str | None]:
    """Return what `pattern` finds in each id, as `image_groups` does; None for nothing or ''."""
    if pattern is None:
        return [None] * len(ids)
    try:
        expression = re.compile(pattern)
        fault = "" if expression.groups == 1 else f"it has {expression.groups} groups"
    except re.error as error:
        fault = str(error)
    if fault:
        raise InputError(
            f"The pattern {pattern!r} that finds an image's group in its id is not a regular "
            f"expression with one group in parentheses: {fault}. Correct it in the dataset's entry."
        )
    found = map(expression.search, ids)
    return [(match[1] or None) if match else None for match in found]
