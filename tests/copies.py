"""Copies of images as they get into datasets, made of grey images at the files' resolution."""

from collections.abc import Callable
from io import BytesIO

import numpy as np
from PIL import Image

from medae.duplicates.audit import find_pairs
from medae.duplicates.similarity import comparable


def as_packed(images: np.ndarray, side: int = 64) -> np.ndarray:
    """Return grey images N × H × W as packing makes them: uint8, N × 1 × side × side."""
    small = (Image.fromarray(one).resize((side, side), Image.Resampling.BILINEAR) for one in images)
    return np.stack([np.asarray(one) for one in small])[:, None]


def _rescale(factor: float, offset: float):
    return lambda image: np.clip(np.rint(factor * image + offset), 0, 255).astype(np.uint8)


def _shift(pixels: int):
    def shifted(image: np.ndarray) -> np.ndarray:
        padded = np.pad(image, pixels, mode="edge")
        return padded[: -2 * pixels, : -2 * pixels]

    return shifted


def _rotate(degrees: float):
    turn = Image.Resampling.BILINEAR
    return lambda image: np.asarray(Image.fromarray(image).rotate(degrees, resample=turn))


def _jpeg(quality: int):
    def compressed(image: np.ndarray) -> np.ndarray:
        buffer = BytesIO()
        Image.fromarray(image).save(buffer, "jpeg", quality=quality)
        return np.asarray(Image.open(buffer))

    return compressed


def _resize(share: float):
    def smaller(image: np.ndarray) -> np.ndarray:
        side = round(share * len(image))
        return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR))

    return smaller


def _zoom(share: float):
    def zoomed(image: np.ndarray) -> np.ndarray:
        cut = round(share / 2 * len(image))
        part = Image.fromarray(image[cut:-cut, cut:-cut])
        return np.asarray(part.resize(image.shape, Image.Resampling.BILINEAR))

    return zoomed


def _noise(deviation: float):
    def noisy(image: np.ndarray) -> np.ndarray:
        random = np.random.default_rng(int(image.sum()))
        return _rescale(1, 0)(image + random.normal(0, deviation, image.shape))

    return noisy


KINDS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "identical": lambda image: image,
    "brighter, more contrast, clipped": _rescale(1.2, 20),
    "darker, less contrast": _rescale(0.6, 10),
    "mirrored": np.fliplr,
    "rotated by 90°": np.rot90,
    "JPEG, quality 50": _jpeg(50),
    "JPEG, quality 30": _jpeg(30),
    "resized to 3/4": _resize(0.75),
    "noise, sd 5 of 255": _noise(5),
    "noise, sd 10 of 255": _noise(10),
    "shifted by 1/128 of the side": _shift(1),
    "shifted by 1/64": _shift(2),
    "shifted by 3/128": _shift(3),
    "shifted by 3/64": _shift(6),
    "rotated by 5°": _rotate(5),
    "cropped by 5 %": _zoom(0.05),
}
"""How a copy H × W (uint8) is made of an image, by the kind of copy; shifts go down and right."""


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
    return {
        kind: float(np.mean(nearest_similarities(packed, planted(chosen, kind)) >= threshold))
        for kind in KINDS
    }


def planted(images: np.ndarray, kind: str) -> np.ndarray:
    """Return packed copies of one kind."""
    return as_packed([np.ascontiguousarray(KINDS[kind](image)) for image in images])
