"""Synthetic anomalies: one normal image with a part of it changed, and the mask of the change.

They choose among models where no abnormal image may be looked at, so they are meant to differ from
each other rather than to look like a disease. All lie within the foreground, and all random numbers
come from a seed, the kind and the image's id, so an image's anomaly depends on no other image but
the donor of `foreign_patch`. Areas are shares of the foreground, strengths shares of the contrast
(5th to 95th percentile of the foreground):

    cut_paste      a rotated rectangle or an irregular piece of the same image, area 1–8 %, moved,
                   turned by up to 45° and made up to 30 % brighter or darker; after Li et al.
                   (2021), CutPaste, arXiv:2104.04015
    foreign_patch  an irregular piece of another normal image, area 1–8 %, at 60–100 % opacity and
                   fading to its edge, shifted in brightness to fit its surroundings; after Tan et
                   al. (2020), foreign patch interpolation, arXiv:2011.04197
    bright_blob    an irregular blob, area 1–8 %, brighter by 0.2–0.8 at its core, half at its edge
    dark_blob      the same, darker
    haze           an irregular region, area 10–30 %, that loses 30–70 % of its local contrast and
                   is brighter by 0.15–0.45, fading to its edge, like ground-glass opacity

Areas are uniform on a logarithmic scale, all else is uniform. A piece that leaves the foreground is
cut there, and the mask has the pixels that changed, without those that were saturated before.
"""

import hashlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from medae.base.errors import InputError

PREFIX = "synthetic"  # of the ids of synthetic anomalies
AREA = (0.01, 0.08)
HAZE_AREA = (0.10, 0.30)
ASPECT = (1 / 3, 3.0)  # of a rectangle
TURN = np.pi / 4
JITTER = (0.7, 1.3)
OPACITY = (0.6, 1.0)
STRENGTH = (0.2, 0.8)
EDGE = 0.5  # change at a blob's edge, ratio to its core: every pixel is visible
CONTRAST_LOSS = (0.3, 0.7)
HAZE_STRENGTH = (0.15, 0.45)
IRREGULARITY = 0.35  # standard deviation of an outline, ratio to the radius

FOREGROUND_LEVEL = 0.15  # of the way from the 1st to the 99th percentile of the grey levels
LEAST_FOREGROUND = 0.05  # of the image; with less, the whole image is taken
LEAST_CONTRAST = 20.0  # grey levels; an image with less gets changes as if it had so much
LEAST_AREA = 4  # changed pixels
LEAST_CHANGE = 0.05  # mean over the changed pixels, share of the contrast
TRIES = 100


class Anomaly(NamedTuple):
    """An image (uint8, C × H × W) and the mask of its changed pixels (uint8 0 or 1, H × W)."""

    pixels: np.ndarray
    mask: np.ndarray


class _Scene(NamedTuple):
    """A normal image to be changed; images are float64, C × H × W, 0 to 255."""

    image: np.ndarray
    donor: np.ndarray
    foreground: np.ndarray
    donor_foreground: np.ndarray
    contrast: float
    random: np.random.Generator


def find_foreground(image: np.ndarray) -> np.ndarray:
    """Return which pixels of an image (C × H × W) are of the body; bool, H × W.

    The largest connected part that is brighter than near-black, with its holes filled, so that dark
    organs belong to it; the whole image where that is less than LEAST_FOREGROUND.
    """
    grey = ndimage.gaussian_filter(image.mean(axis=0), image.shape[-1] / 64)
    low, high = np.quantile(grey, [0.01, 0.99])
    body = _largest_part(grey > low + FOREGROUND_LEVEL * (high - low))
    found = ndimage.binary_fill_holes(body)
    return found if found.mean() >= LEAST_FOREGROUND else np.ones_like(found)


def _largest_part(pixels: np.ndarray) -> np.ndarray:
    parts, _ = ndimage.label(pixels)
    sizes = np.bincount(parts.reshape(-1), minlength=2)
    return parts == 1 + np.argmax(sizes[1:])


def make_anomaly(
    image: np.ndarray, *, kind: str, name: str, seed: int, donor: np.ndarray
) -> Anomaly:
    """Return one of KINDS in an image (uint8, C × H × W); it depends on the arguments only.

    `name` is the image's id; `donor` is another normal image of the same shape, of which only
    `foreign_patch` takes anything. A change that hardly shows is drawn again.

    Raises InputError when none shows, as in an image of one grey value.
    """
    key = hashlib.sha256(f"{seed}\n{kind}\n{name}".encode()).digest()
    foreground = find_foreground(image)
    low, high = np.quantile(image[:, foreground], [0.05, 0.95])
    scene = _Scene(
        image=image.astype(float),
        donor=donor.astype(float),
        foreground=foreground,
        donor_foreground=find_foreground(donor),
        contrast=max(high - low, LEAST_CONTRAST),
        random=np.random.default_rng(int.from_bytes(key)),
    )
    for _ in range(TRIES):
        pixels = np.rint(np.clip(KINDS[kind](scene), 0, 255)).astype(np.uint8)
        change = np.abs(pixels - scene.image).max(axis=0)
        mask = change > 0
        if mask.sum() >= LEAST_AREA and change[mask].mean() >= LEAST_CHANGE * scene.contrast:
            return Anomaly(pixels, mask.astype(np.uint8))
    raise InputError(
        f"The training image {name} cannot be given a synthetic anomaly of the kind {kind}: "
        f"{TRIES} changes of it did not show, so it is nearly of one grey value. Remove it from "
        "the dataset's training images, or leave this kind out of the configuration."
    )


def _cut_paste(scene: _Scene) -> np.ndarray:
    random = scene.random
    if random.random() < 0.5:
        inside, centre = _rectangle(scene)
    else:
        weight, centre = _blob(scene, AREA)
        inside = weight > 0
    distance = np.hypot(*(np.indices(inside.shape) - centre[:, None, None]))
    elsewhere = scene.foreground & (distance > np.sqrt(inside.sum()))
    source = _pixel(elsewhere if elsewhere.any() else scene.foreground, random)
    piece = _take(scene.image, centre=centre, source=source, turn=random.uniform(-TURN, TURN))
    return np.where(inside, piece * random.uniform(*JITTER), scene.image)


def _foreign_patch(scene: _Scene) -> np.ndarray:
    weight, centre = _blob(scene, AREA)
    source = _pixel(scene.donor_foreground, scene.random)
    piece = _take(scene.donor, centre=centre, source=source)
    inside = weight > 0
    rim = ndimage.binary_dilation(inside, iterations=2) & ~inside
    # The constant part of what Poisson blending does: the piece continues its surroundings.
    piece += (scene.image - piece)[:, rim].mean(axis=1)[:, None, None]
    opacity = scene.random.uniform(*OPACITY) * _rising(weight)
    return scene.image + opacity * (piece - scene.image)


def _bright_blob(scene: _Scene, sign: int = 1) -> np.ndarray:
    weight, _ = _blob(scene, AREA)
    change = sign * scene.random.uniform(*STRENGTH) * scene.contrast
    return scene.image + change * _rising(weight)


def _dark_blob(scene: _Scene) -> np.ndarray:
    return _bright_blob(scene, sign=-1)


def _haze(scene: _Scene) -> np.ndarray:
    weight, _ = _blob(scene, HAZE_AREA)
    around = ndimage.gaussian_filter(scene.image, (0, *[scene.image.shape[-1] / 16] * 2))
    lost = scene.random.uniform(*CONTRAST_LOSS) * weight
    brighter = scene.random.uniform(*HAZE_STRENGTH) * scene.contrast * weight
    return scene.image + lost * (around - scene.image) + brighter


KINDS: dict[str, Callable[[_Scene], np.ndarray]] = {
    "cut_paste": _cut_paste,
    "foreign_patch": _foreign_patch,
    "bright_blob": _bright_blob,
    "dark_blob": _dark_blob,
    "haze": _haze,
}
"""What makes a changed image (float64, of any range) of a scene, by name."""


def _pixel(choice: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return row and column of a random pixel of `choice` (bool, H × W)."""
    pixels = np.argwhere(choice)
    return pixels[random.integers(len(pixels))]


def _area(scene: _Scene, share: tuple[float, float]) -> float:
    """Return a random area in pixels, uniform on a logarithmic scale."""
    drawn = np.exp(scene.random.uniform(*np.log(share)))
    return max(drawn * np.count_nonzero(scene.foreground), LEAST_AREA)


def _blob(scene: _Scene, share: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Return an irregular blob, 0 outside, rising smoothly to 1 inside (H × W), and its centre.

    The pixels around a random one where a smooth random field exceeds the distance, connected.
    """
    area = _area(scene, share)
    radius = np.sqrt(area / np.pi)
    centre = _pixel(scene.foreground, scene.random)
    shape = scene.foreground.shape
    field = ndimage.gaussian_filter(scene.random.standard_normal(shape), radius / 2)
    distance = np.hypot(*(np.indices(shape) - centre[:, None, None])) / radius
    depth = IRREGULARITY * field / field.std() - distance
    ordered = np.sort(depth[scene.foreground])
    level = ordered[-min(len(ordered), round(area))]
    inside = _largest_part((depth >= level) & scene.foreground)
    # The level's own pixel is inside too, so the least weight is above zero.
    span = ordered[-1] - level
    height = (depth - level + 0.05 * span + 1e-9) / (1.05 * span + 1e-9)
    return np.where(inside, height * height * (3 - 2 * height), 0.0), centre


def _rectangle(scene: _Scene) -> tuple[np.ndarray, np.ndarray]:
    """Return a turned rectangle within the foreground (bool, H × W), and its centre."""
    area = _area(scene, AREA)
    aspect = np.exp(scene.random.uniform(*np.log(ASPECT)))
    centre = _pixel(scene.foreground, scene.random)
    angle = scene.random.uniform(0, np.pi)
    along, across = _turned(scene.foreground.shape, centre, angle)
    inside = (np.abs(along) <= np.sqrt(area * aspect) / 2) & (
        np.abs(across) <= np.sqrt(area / aspect) / 2
    )
    return inside & scene.foreground, centre


def _turned(shape: tuple[int, ...], centre: np.ndarray, angle: float) -> np.ndarray:
    """Return the pixels' coordinates from `centre`, turned by `angle` (radians); 2 × H × W."""
    rows, columns = np.indices(shape) - centre[:, None, None]
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack([cos * rows - sin * columns, sin * rows + cos * columns])


def _take(
    image: np.ndarray, *, centre: np.ndarray, source: np.ndarray, turn: float = 0.0
) -> np.ndarray:
    """Return `image` moved so that its pixel `source` comes to `centre`, turned about it."""
    places = _turned(image.shape[1:], centre, turn) + source[:, None, None]
    return np.stack([ndimage.map_coordinates(c, places, order=1, mode="nearest") for c in image])


def _rising(weight: np.ndarray) -> np.ndarray:
    """Return the weight of a blob raised to EDGE at its edge, 0 outside."""
    return np.where(weight > 0, EDGE + (1 - EDGE) * weight, 0.0)


def synthetic_id(kind: str, name: str) -> str:
    """Return the id of the synthetic anomaly of one kind in the image `name`."""
    return f"{PREFIX}/{kind}/{name}"


def split_id(name: str) -> tuple[str, str]:
    """Return the kind and the original's id of a synthetic anomaly by its own id."""
    _, kind, original = name.split("/", 2)
    return kind, original
