"""Correlation of all pairs of images, over mirrored and rotated versions, exact and in blocks.

Images are compared as grey ones of at most 64 × 64 pixels, by Pearson's correlation of their
pixels: 1 for copies whose brightness or contrast was changed linearly. Of the eight ways to mirror
and rotate a square by right angles the best counts (`SYMMETRIES`).

The eight correlations of a pair cost two: an image is the sum of four parts, even or odd under
either mirroring, which are orthogonal, and a mirroring only changes the sign of the odd ones; the
other four ways are those of the transposed image.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

SIDE = 64
LEAST_NORM = 0.01  # grey levels; rounding leaves up to 0.002 of an image of one grey value
BLOCK = 512  # images; what is held at once is about 20 × BLOCK × (number of images) × 4 bytes

SYMMETRIES = [
    "unmoved",
    "mirrored left-right",
    "mirrored top-bottom",
    "rotated by 180°",
    "transposed",
    "rotated by 90°",
    "rotated by 270°",
    "transposed the other way",
]
"""Names, by number; turns are clockwise. `move` makes them."""
INVERSE = np.array([0, 1, 2, 3, 4, 6, 5, 7], dtype=np.uint8)
"""Number of the symmetry that undoes each one."""


@dataclass(frozen=True)
class Block:
    """Similarities of the images `rows` to the images from `rows.start` on."""

    rows: slice
    best: np.ndarray
    """Highest correlation over the symmetries, float32, shape (rows, images from rows.start)."""
    symmetry: np.ndarray
    """Number of the symmetry that gives it and moves the row's image to the other's; uint8."""
    unmoved: np.ndarray
    """Correlation as the images are, float32, same shape."""


def move(images: np.ndarray, symmetry: int) -> np.ndarray:
    """Return images (… × H × W, H = W) moved by the symmetry of this number in SYMMETRIES."""
    if symmetry >= 4:
        images = images.swapaxes(-1, -2)
    if symmetry % 2:
        images = images[..., ::-1]
    return images[..., ::-1, :] if symmetry % 4 >= 2 else images


def comparable(images: np.ndarray) -> np.ndarray:
    """Return uint8 images N × C × H × W as what is compared: float32, N × side × side, side ≤ 64.

    Grey (mean of the channels), mean 0 and norm 1; an image of one grey value becomes 0, so it
    correlates with none.
    """
    grey = images.mean(axis=1, dtype=np.float32)
    if grey.shape[-1] > SIDE:
        size = (SIDE, SIDE)
        smaller = (Image.fromarray(one).resize(size, Image.Resampling.BOX) for one in grey)
        grey = np.stack([np.asarray(one) for one in smaller])
    grey = grey - grey.mean(axis=(1, 2), keepdims=True)
    norms = np.sqrt((grey**2).sum(axis=(1, 2), keepdims=True))
    return np.divide(grey, norms, out=np.zeros_like(grey), where=norms > LEAST_NORM)


def similarities(images: np.ndarray, *, moved: bool = True) -> Iterator[Block]:
    """Yield the similarities of all pairs of `comparable` images, by blocks of rows.

    Each pair comes once, and the pairs of two images in `rows` come both ways. Without `moved`
    images are compared as they are, and `best` is `unmoved`.
    """
    parts = _parts(images)
    for start in range(0, len(images), BLOCK):
        rows = slice(start, min(start + BLOCK, len(images)))
        values = _correlations(images[rows], [part[start:] for part in parts])
        unmoved = next(values)
        best, symmetry = unmoved.copy(), np.zeros(unmoved.shape, dtype=np.uint8)
        for number, value in enumerate(values if moved else (), start=1):
            better = value > best
            best[better] = value[better]
            symmetry[better] = number
        yield Block(rows, best.clip(max=1), symmetry, unmoved.clip(max=1))


def _correlations(images: np.ndarray, others: list[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield the correlations of images, moved by each of SYMMETRIES, with the parts `others`."""
    for turned in (images, images.swapaxes(-1, -2)):
        even_even, even_odd, odd_even, odd_odd = (
            a @ b.T for a, b in zip(_parts(turned), others, strict=True)
        )
        for top_bottom in (1, -1):
            for left_right in (1, -1):
                value = even_even + top_bottom * even_odd
                value += left_right * odd_even
                value += left_right * top_bottom * odd_odd
                yield value


def _parts(images: np.ndarray) -> list[np.ndarray]:
    """Return the four orthogonal parts N × (pixels / 4): (even, odd) left-right × top-bottom.

    A part is determined by one quarter of the image; twice that quarter has the part's norm.
    """
    half = images.shape[-1] // 2
    parts = []
    for left_right in (1, -1):
        side = images[:, :, :half] + left_right * images[:, :, ::-1][:, :, :half]
        for top_bottom in (1, -1):
            quarter = side[:, :half] + top_bottom * side[:, ::-1][:, :half]
            parts.append(np.ascontiguousarray(quarter.reshape(len(images), half**2) / 2))
    return parts
