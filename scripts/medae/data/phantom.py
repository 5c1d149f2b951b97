"""The demonstration dataset `phantom`: seeded FLAIR-like brain slices with exact lesion masks.

The anatomy is the ICBM 152 (2009a, symmetric) tissue maps that the nilearn package contains, so
nothing is downloaded. An image without noise is a smooth function of the scalars in `FACTORS`;
the number of active factors is therefore the intrinsic dimension of the normal images. Lesions are
added on the final pixel grid, so the mask is exactly the set of pixels that a lesion changes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
from nilearn import datasets
from scipy import ndimage


class Factor(NamedTuple):
    """A scalar drawn uniformly from mean - spread to mean + spread, in `unit`."""

    mean: float
    spread: float
    unit: str


FACTOR_TABLE = {
    "slice_height": Factor(18.0, 8.0, "mm above the anterior commissure (MNI z)"),
    "rotation": Factor(0.0, 4.0, "degrees anticlockwise in the image"),
    "shift_x": Factor(0.0, 2.0, "mm to the right in the image"),
    "shift_y": Factor(0.0, 2.0, "mm upwards in the image"),
    "scale_x": Factor(1.0, 0.03, "ratio to the template's width"),
    "scale_y": Factor(1.0, 0.03, "ratio to the template's length"),
    "contrast": Factor(0.35, 0.12, "grey minus white matter signal, ratio to white matter"),
    "bias_1": Factor(0.0, 0.3, "log of the receive field: constant, the image's brightness"),
    "bias_2": Factor(0.0, 0.15, "log of the receive field: slope to the right, at the edge"),
    "bias_3": Factor(0.0, 0.15, "log of the receive field: slope upwards, at the edge"),
    "warp_1": Factor(0.0, 2.0, "mm, x displacement sin(u) cos(v): width at mid-length"),
    "warp_2": Factor(0.0, 2.0, "mm, x displacement cos(u) cos(v): C-shaped midline"),
    "warp_3": Factor(0.0, 2.0, "mm, x displacement cos(u) sin(v): S-shaped midline"),
    "warp_4": Factor(0.0, 2.0, "mm, y displacement cos(u) sin(v): length at the midline"),
    "warp_5": Factor(0.0, 2.0, "mm, y displacement cos(u) cos(v): midline forwards"),
    "warp_6": Factor(0.0, 2.0, "mm, y displacement sin(u) cos(v): one hemisphere forwards"),
}
FACTORS = tuple(FACTOR_TABLE)
FACTOR_MEAN = np.array([factor.mean for factor in FACTOR_TABLE.values()])
FACTOR_SPREAD = np.array([factor.spread for factor in FACTOR_TABLE.values()])

FIELD_OF_VIEW = 208.0  # mm, side of the square image; even the largest brain lies inside
SUPERSAMPLING = 3  # rendered pixels per final pixel and axis, averaged
WHITE_MATTER_SIGNAL = 0.35  # of full scale; leaves room for bright lesions below saturation
CSF_SIGNAL = 0.06  # of full scale; FLAIR suppresses free water

LESION_COUNT = (1, 3)  # lesions per abnormal image
LESION_RADIUS = (8.0, 26.0)  # mm, log-uniform: small lesions are the common ones
LESION_SIGNAL = (0.3, 1.0)  # added at the lesion's core, ratio to white matter; uniform
LESION_EDGE = 0.5  # a lesion's lowest added signal, ratio to its core: every pixel is visible
LESION_IRREGULARITY = 0.35  # standard deviation of the outline, ratio to the radius
LESION_WHITE_MATTER = 0.5  # lowest share of white matter in a lesion's pixels

SOURCE = """# Generated demonstration images; not patients

Every image was computed from the ICBM 152 nonlinear symmetric atlas, 2009a: the brain's outline and
the grey and white matter maps at 1 mm, as contained in nilearn {version} (load_mni152_template,
load_mni152_gm_template, load_mni152_wm_template). FLAIR-like signals, deformations, receive field,
noise and lesions are synthetic. Results on these images say nothing about patients.

## Licence of the atlas (https://nist.mni.mcgill.ca/icbm-152-nonlinear-atlases-2009/)

Copyright (C) 1993-2009 Louis Collins, McConnell Brain Imaging Centre, Montreal Neurological
Institute, McGill University. Permission to use, copy, modify, and distribute this software and its
documentation for any purpose and without fee is hereby granted, provided that the above copyright
notice appear in all copies. The authors and McGill University make no representations about the
suitability of this software for any purpose. It is provided "as is" without express or implied
warranty. The authors are not responsible for any data loss, equipment damage, property loss, or
injury to subjects or patients resulting from the use or misuse of this software package.

## Citation

- Fonov V, Evans AC, Botteron K, Almli CR, McKinstry RC, Collins DL, BDCG (2011). Unbiased average
  age-appropriate atlases for pediatric studies. NeuroImage 54:313-327.
  doi:10.1016/j.neuroimage.2010.07.033
- Fonov VS, Evans AC, McKinstry RC, Almli CR, Collins DL (2009). Unbiased nonlinear average
  age-appropriate brain templates from birth to adulthood. NeuroImage 47:S102.
  doi:10.1016/S1053-8119(09)70884-5

## Parameters

"""

_STREAMS = {"train/normal": 0, "test/normal": 1, "test/abnormal": 2}
GROUPS = tuple(_STREAMS)

_ORIGIN = (98, 134, 72)  # voxel x, y, z of the template at MNI (0, 0, 0); voxels are 1 mm
_BRAIN_CENTRE = -17.0  # mm, MNI y of the brain's middle


@dataclass(frozen=True)
class PhantomOptions:
    """The registry's `generator` options, which the schema of the configuration checks."""

    seed: int = 0
    train_normal: int = 800
    test_normal: int = 200
    test_abnormal: int = 200
    noise_sigma: float = 0.015  # standard deviation of the pixel noise, ratio to full scale
    factors: Sequence[str] = FACTORS  # that vary; all others stay at their mean

    def count(self, group: str) -> int:
        """Return the number of images in one of `GROUPS`."""
        return getattr(self, group.replace("/", "_"))


class PhantomImage(NamedTuple):
    """One image: H×W uint8 pixels, H×W uint8 mask (0 or 1), factor values, number of lesions."""

    pixels: np.ndarray
    mask: np.ndarray
    factors: np.ndarray
    lesions: int


@cache
def load_tissues() -> tuple[np.ndarray, int]:
    """Return float32 tissue shares, slice × (brain, grey, white) × y × x at 1 mm, and first z (mm).

    Source: nilearn's copy of the ICBM 152 2009a nonlinear symmetric template; see SOURCE.md.
    """
    images = [
        datasets.load_mni152_template(resolution=1),
        datasets.load_mni152_gm_template(resolution=1),
        datasets.load_mni152_wm_template(resolution=1),
    ]
    brain, grey, white = (np.asarray(image.dataobj, dtype=np.float32) for image in images)
    height = FACTOR_TABLE["slice_height"]
    first = int(np.floor(height.mean - height.spread))
    last = int(np.ceil(height.mean + height.spread)) + 1
    # The maps reach a little beyond the skull-stripped brain; the background is to be empty.
    volumes = np.stack([np.ones_like(brain), grey, white]) * (brain > 0)
    slices = volumes[..., first + _ORIGIN[2] : last + _ORIGIN[2] + 1]
    return np.ascontiguousarray(slices.transpose(3, 0, 2, 1)), first


def _pixel_centres(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return x (to the right, 1×size) and y (upwards, size×1) of pixel centres, mm from centre."""
    steps = ((np.arange(size) + 0.5) / size - 0.5) * FIELD_OF_VIEW
    return steps[None, :], -steps[:, None]


def render_tissues(*, factors: np.ndarray, image_size: int) -> np.ndarray:
    """Return float32 shares of brain, grey and white matter per pixel, 3×H×W, values 0 to 1."""
    value = dict(zip(FACTORS, factors, strict=True))
    volume, first = load_tissues()
    below = int(np.clip(np.floor(value["slice_height"]) - first, 0, len(volume) - 2))
    part = np.float32(value["slice_height"] - first - below)
    tissue_slice = (1 - part) * volume[below] + part * volume[below + 1]

    x, y = _pixel_centres(image_size * SUPERSAMPLING)
    x, y = x - value["shift_x"], y - value["shift_y"]
    cos, sin = np.cos(np.deg2rad(value["rotation"])), np.sin(np.deg2rad(value["rotation"]))
    x, y = (cos * x + sin * y) / value["scale_x"], (cos * y - sin * x) / value["scale_y"]
    u, v = 2 * np.pi * x / FIELD_OF_VIEW, 2 * np.pi * y / FIELD_OF_VIEW
    sin_u, cos_u, sin_v, cos_v = np.sin(u), np.cos(u), np.sin(v), np.cos(v)
    warp = [value[f"warp_{k}"] for k in range(1, 7)]
    # A pixel shows what the displacement brings there: tissue moves by +displacement.
    x = x - warp[0] * sin_u * cos_v - warp[1] * cos_u * cos_v - warp[2] * cos_u * sin_v
    y = y - warp[3] * cos_u * sin_v - warp[4] * cos_u * cos_v - warp[5] * sin_u * cos_v

    rows, columns = y + _BRAIN_CENTRE + _ORIGIN[1], x + _ORIGIN[0]
    fine = [ndimage.map_coordinates(t, (rows, columns), order=1) for t in tissue_slice]
    blocks = np.reshape(fine, (3, image_size, SUPERSAMPLING, image_size, SUPERSAMPLING))
    return blocks.mean(axis=(2, 4), dtype=np.float32)


def receive_field(*, factors: np.ndarray, image_size: int) -> np.ndarray:
    """Return the positive factor by which the coil multiplies the signal, H×W."""
    value = dict(zip(FACTORS, factors, strict=True))
    x, y = _pixel_centres(image_size)
    slope = value["bias_2"] * x + value["bias_3"] * y
    return np.exp(value["bias_1"] + slope / (FIELD_OF_VIEW / 2))


def render_normal(*, factors: np.ndarray, tissues: np.ndarray) -> np.ndarray:
    """Return the image without noise or lesions, H×W, in units of full scale (0 to 1).

    `tissues` is what `render_tissues` returns for the same factors.
    """
    brain, grey, white = tissues
    contrast = factors[FACTORS.index("contrast")]
    csf = np.clip(brain - grey - white, 0, None)
    signal = WHITE_MATTER_SIGNAL * (white + (1 + contrast) * grey) + CSF_SIGNAL * csf
    return signal * receive_field(factors=factors, image_size=len(brain))


def draw_lesions(*, white: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, int]:
    """Return added signal (H×W, ratio to white matter, 0 outside lesions) and number of lesions.

    `white` is the share of white matter. A lesion is the connected set of pixels around a seed
    where 1 - distance / radius + a smooth random field is positive, within white matter. Its signal
    falls smoothly from the core to `LESION_EDGE` of the core; overlapping lesions take the larger.
    """
    size = len(white)
    x, y = _pixel_centres(size)
    added = np.zeros((size, size))
    seeds = np.argwhere(white >= 0.8 * white.max())
    lesions = int(rng.integers(LESION_COUNT[0], LESION_COUNT[1] + 1))
    for _ in range(lesions):
        row, column = seeds[rng.integers(len(seeds))]
        radius = np.exp(rng.uniform(*np.log(LESION_RADIUS)))
        core = rng.uniform(*LESION_SIGNAL)
        blur = 0.5 * radius * size / FIELD_OF_VIEW
        field = ndimage.gaussian_filter(rng.standard_normal((size, size)), blur)
        field = (field - field[row, column]) / field.std()
        distance = np.hypot(x - x[0, column], y - y[row, 0])
        depth = 1 - distance / radius + LESION_IRREGULARITY * field
        depth = np.minimum(depth, (white - LESION_WHITE_MATTER) / 0.3)
        parts, _ = ndimage.label(depth > 0)
        inside = parts == parts[row, column]
        depth = np.clip(depth, 0, 1)
        taper = depth * depth * (3 - 2 * depth)
        shape = np.where(inside, LESION_EDGE + (1 - LESION_EDGE) * taper, 0.0)
        added = np.maximum(added, core * shape)
    return added, lesions


def to_pixels(image: np.ndarray) -> np.ndarray:
    """Round an image in units of full scale to uint8; values beyond 0 to 1 saturate."""
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)


def _generators(options: PhantomOptions, group: str, index: int) -> list[np.random.Generator]:
    """Return independent generators for factors, lesions and noise of one image."""
    keys = [(_STREAMS[group], index, purpose) for purpose in range(3)]
    seeds = [np.random.SeedSequence(options.seed, spawn_key=key) for key in keys]
    return [np.random.default_rng(seed) for seed in seeds]


def draw_factors(*, options: PhantomOptions, group: str, index: int) -> np.ndarray:
    """Return the factor values of one image in the order of `FACTORS`."""
    uniform = _generators(options, group, index)[0].uniform(-1, 1, len(FACTORS))
    # All are drawn, so that switching one factor off leaves the values of the others.
    active = np.isin(FACTORS, options.factors)
    return FACTOR_MEAN + np.where(active, uniform, 0.0) * FACTOR_SPREAD


def make_image(*, options: PhantomOptions, group: str, index: int, image_size: int) -> PhantomImage:
    """Make image `index` of one of `GROUPS`; it depends on nothing but seed, group and index."""
    _, lesion_rng, noise_rng = _generators(options, group, index)
    factors = draw_factors(options=options, group=group, index=index)
    tissues = render_tissues(factors=factors, image_size=image_size)
    image = render_normal(factors=factors, tissues=tissues)
    brain, _, white = tissues
    mask, lesions = np.zeros(image.shape, dtype=np.uint8), 0
    if group == "test/abnormal":
        added, lesions = draw_lesions(white=white, rng=lesion_rng)
        mask = (added > 0).astype(np.uint8)
        field = receive_field(factors=factors, image_size=image_size)
        image = image + WHITE_MATTER_SIGNAL * added * field
    # A skull-stripped background is exactly zero, so the noise is confined to the brain.
    noise = options.noise_sigma * noise_rng.standard_normal(image.shape) * brain
    return PhantomImage(to_pixels(image + noise), mask, factors, lesions)
