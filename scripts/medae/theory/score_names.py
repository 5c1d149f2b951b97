"""The names of the scores in `medae.theory.scores`: kind, window and noise floor.

`mse`, `relative`, `information` and `ncc` compare whole images; `_w9` after it is the same in
windows of 9 × 9 pixels, and `_x10` at the end sets the noise floor ε to ten times the model's mean
error on normal training images instead of once. The squared error has no floor.

`variance` is a control: it looks at the image alone, as `information` would with one error for all.
"""

import re
from typing import NamedTuple

from medae.base.errors import InputError

KINDS = {
    "mse": "squared error",
    "relative": "relative error",
    "information": "information",
    "ncc": "1 − correlation",
    "variance": "low variance, no reconstruction",
}
"""The kinds and their display names."""

CONTROL = "variance"
"""The kind that does not use the reconstruction."""

_NAME = re.compile(r"([a-z]+)(?:_w([1-9]\d*))?(?:_x(\d+(?:\.\d+)?))?")


class Variant(NamedTuple):
    """One score."""

    kind: str
    """Key of KINDS."""
    window: int | None
    """Side in pixels, odd; None for the whole image."""
    multiple: float
    """Of the floor: ε = multiple · floor."""


def parse_variant(name: str) -> Variant:
    """Return the score that `name` stands for; InputError when it stands for none."""
    match = _NAME.fullmatch(name)
    kind, window, multiple = match.groups() if match else ("", None, None)
    side = None if window is None else int(window)
    fault = None
    if kind not in KINDS:
        fault = f"it does not begin with one of {', '.join(KINDS)}, or does not go on as these do"
    elif side is not None and (side % 2 == 0 or side < 3):
        fault = "the side of a window is an odd number of pixels, at least 3"
    elif multiple is not None and kind == "mse":
        fault = "the squared error has no noise floor"
    elif multiple is not None and float(multiple) in (0, 1):
        fault = "the multiple of the noise floor is positive, and 1 is left out"
    if fault:
        raise InputError(
            f"'{name}' is no score: {fault}. Names are like mse, relative_w9 or "
            "information_w17_x10; mend it in the configuration."
        )
    return Variant(kind, side, 1.0 if multiple is None else float(multiple))


def display_name(name: str) -> str:
    """Return what tables and legends call a score, e.g. "information, 17 × 17, 10 ε"."""
    variant = parse_variant(name)
    parts = [KINDS[variant.kind]]
    if variant.window is not None:
        parts.append(f"{variant.window} × {variant.window}")
    if variant.multiple != 1:
        parts.append(f"{variant.multiple:g} ε")
    return ", ".join(parts)
