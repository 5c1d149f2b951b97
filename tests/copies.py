"""Copies of images as they get into datasets, made of grey images at the files' resolution."""

from collections.abc import Callable
from io import BytesIO

import numpy as np
from PIL import Image

from medae.duplicates.audit import find_pairs
from medae.duplicates.similarity import comparable

BILINEAR = Image.Resampling.BILINEAR


def as_packed(images: np.ndarray, side: int = 64) -> np.ndarray:
    """Return grey images N × H × W as packing makes them: uint8, N × 1 × side × side."""
    small = (Image.fromarray(one).resize((side, side), BILINEAR) for one in images)
    return np.stack([np.asarray(one) for one in small])[:, None]


def _clipped(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _shifted(image: np.ndarray, pixels: int) -> np.ndarray:
    return np.pad(image, pixels, mode="edge")[: -2 * pixels, : -2 * pixels]


def _rotated(image: np.ndarray, degrees: float) -> np.ndarray:
    return np.asarray(Image.fromarray(image).rotate(degrees, resample=BILINEAR))


def _compressed(image: np.ndarray, quality: int) -> np.ndarray:
    buffer = BytesIO()
    Image.fromarray(image).save(buffer, "jpeg", quality=quality)
    return np.asarray(Image.open(buffer))


def _resized(image: np.ndarray, side: int) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize((side, side), BILINEAR))


def _cropped(image: np.ndarray, share: float) -> np.ndarray:
    cut = round(share / 2 * len(image))
    return _resized(image[cut:-cut, cut:-cut], len(image))


def _noisy(image: np.ndarray, deviation: float) -> np.ndarray:
    random = np.random.default_rng(int(image.sum()))
    return _clipped(image + random.normal(0, deviation, image.shape))


KINDS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "identical": lambda image: image,
    "brighter, more contrast, clipped": lambda image: _clipped(1.2 * image + 20),
    "darker, less contrast": lambda image: _clipped(0.6 * image + 10),
    "mirrored": np.fliplr,
    "rotated by 90°": np.rot90,
    "JPEG, quality 50": lambda image: _compressed(image, 50),
    "JPEG, quality 30": lambda image: _compressed(image, 30),
    "resized to 3/4": lambda image: _resized(image, round(0.75 * len(image))),
    "noise, sd 5 of 255": lambda image: _noisy(image, 5),
    "noise, sd 10 of 255": lambda image: _noisy(image, 10),
    "shifted by 1/128 of the side": lambda image: _shifted(image, 1),
    "shifted by 1/64": lambda image: _shifted(image, 2),
    "shifted by 3/128": lambda image: _shifted(image, 3),
    "shifted by 3/64": lambda image: _shifted(image, 6),
    "rotated by 5°": lambda image: _rotated(image, 5),
    "cropped by 5 %": lambda image: _cropped(image, 0.05),
}
"""How a copy H × W (uint8) is made of an image, by the kind of copy; shifts go down and right."""

FOUND = list(KINDS)[:10]
"""Kinds of copies that the audit finds; the last one nearly always."""
MISSED = ["shifted by 3/64", "rotated by 5°", "cropped by 5 %"]
"""Kinds that are too far from their source."""


def nearest_similarities(
    train: np.ndarray, copies: np.ndarray, *, moved: bool = True
) -> np.ndarray:
    """Return each copy's similarity to the nearest training image; packed grey images."""
    both = comparable(np.concatenate([train, copies]))
    _, nearest, _ = find_pairs(both, n_train=len(train), floor=2, moved=moved)
    return nearest.similarity[len(train) :]


def recalls(train: np.ndarray, *, count: int, threshold: float) -> dict[str, float]:
    """Return of each kind of copy the share that has a twin at `threshold`.

    `train` (uint8, N × H × W) are the training images at the files' resolution; `count` of them,
    evenly spaced, are copied.
    """
    packed = as_packed(train)
    chosen = train[np.linspace(0, len(train) - 1, count).round().astype(int)]
    shares = {}
    for kind, make in KINDS.items():
        copies = as_packed([np.ascontiguousarray(make(image)) for image in chosen])
        shares[kind] = float(np.mean(nearest_similarities(packed, copies) >= threshold))
    return shares
