"""Baselines: what scores without a network get, with the same metrics on the same images.

Two learn from the training images: `nearest`, the nearest of them, which is what pure memory
scores, and `pca`, the linear autoencoder. Three are a number of the image itself, with one
direction for every dataset, fixed in advance: the lower, the more abnormal. `local_variance` is the
control of the information score: what that has without a reconstruction, -½ log2(σ² + ε) over the
same windows. Its ε is a share of the mean local variance of the normal training images, so that no
model has a part in it; a tenth and ten times of that share show how much the choice matters. Last,
on datasets with masks, the plain intensity as anomaly map, without a score of the image
(thresholding FLAIR is known to beat trained models: Meissen, Kaissis, Rueckert 2021,
arXiv:2109.06023).

Images are float32 N × C × H × W in [-1, 1], as the networks see them; anomaly maps are squared
errors averaged over channels, as theirs.
"""

import logging
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from medae.data import statistics
from medae.models.information import CONTROL, KINDS, WINDOWS, local_variance

logger = logging.getLogger(__name__)

BLOCK = 256  # images compared with all training images at once


class NearestImage:
    """Reconstructs an image by the training image with the least squared distance."""

    def __init__(self, images: np.ndarray) -> None:
        """Keep the training images."""
        self._images = images
        self._flat = images.reshape(len(images), -1)
        self._squares = np.square(self._flat).sum(axis=1)

    def reconstruct(self, images: np.ndarray, *, latent_dim: int = 0) -> np.ndarray:
        """Return the nearest training image of each image; `latent_dim` is not used."""
        flat = images.reshape(len(images), self._flat.shape[1])
        found = np.empty(len(images), dtype=int)
        for start in range(0, len(flat), BLOCK):
            rows = slice(start, start + BLOCK)
            found[rows] = (self._squares - 2 * (flat[rows] @ self._flat.T)).argmin(axis=1)
        return self._images[found]


class PrincipalComponents:
    """Reconstructs an image from its first principal components, the linear autoencoder."""

    def __init__(self, images: np.ndarray, latent_dim: int) -> None:
        """Fit the first `latent_dim` components, or as many as the images have."""
        flat = images.reshape(len(images), -1).astype(np.float64)
        self._mean = flat.mean(axis=0)
        self._components = _leading_components(flat - self._mean, latent_dim)

    def reconstruct(self, images: np.ndarray, *, latent_dim: int) -> np.ndarray:
        """Return the images projected on the first `latent_dim` components."""
        if latent_dim > len(self._components):
            logger.warning(
                "d = %d, but the training images have %d components; these are used.",
                *(latent_dim, len(self._components)),
            )
        components = self._components[:latent_dim]
        flat = images.reshape(len(images), len(self._mean)) - self._mean
        projected = flat @ components.T @ components + self._mean
        return projected.astype(np.float32).reshape(images.shape)


def _leading_components(centred: np.ndarray, count: int) -> np.ndarray:
    """Return the first `count` right singular vectors, those with singular values above noise.

    From the eigenvectors of the smaller of both products of the matrix with itself, of which LAPACK
    computes only those asked for; a full SVD of 4000 images takes minutes.
    """
    from scipy.linalg import eigh  # here, since the Snakefile and figures need the names alone

    wide = len(centred) <= centred.shape[1]
    gram = centred @ centred.T if wide else centred.T @ centred
    first = max(0, len(gram) - count)
    values, vectors = eigh(gram, subset_by_index=[first, len(gram) - 1])
    values, vectors = values[::-1], vectors[:, ::-1]
    known = values > values[0] * len(gram) * np.finfo(np.float64).eps
    vectors = vectors[:, known].T
    return (vectors @ centred) / np.sqrt(values[known])[:, None] if wide else vectors


def low_variance(images: np.ndarray, training: np.ndarray, *, share: float) -> np.ndarray:
    """Return the maps -½ log2(σ² + ε); ε is `share` times the mean σ² of `training`."""
    window = WINDOWS[CONTROL]
    floor = share * local_variance(training, window).mean()
    # Any positive floor orders images that have no variance at all.
    floor = max(floor, np.finfo(np.float32).tiny)
    return KINDS[CONTROL].formula(None, local_variance(images, window), floor).astype(np.float32)


class Baseline(NamedTuple):
    """What the workflow knows of a baseline. One of the last three fields says how it scores."""

    display_name: str
    has_latent: bool = False  # whether it has a latent dimension
    scores_images: bool = True  # whether its scores of images count
    statistic: Callable[[np.ndarray], np.ndarray] | None = None
    """The number of uint8 images N × C × H × W that it is, shape (N,); low is abnormal."""
    pixel_map: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None
    """The anomaly maps N × H × W of images, without a reconstruction; the second argument are all
    training images. The images' scores are the means."""
    fit: Callable[[np.ndarray, int], NearestImage | PrincipalComponents] | None = None
    """The model of training images and the largest latent dimension asked for."""

    @property
    def reconstructs(self) -> bool:
        """Whether it reconstructs, and so depends on the training set of the grid."""
        return self.fit is not None

    @property
    def has_maps(self) -> bool:
        """Whether it gives anomaly maps."""
        return self.reconstructs or self.pixel_map is not None


LINEAR = "pca"
"""The baseline that every network by another score is tested against, by that score."""

BASELINES = {
    "nearest": Baseline("Nearest training image", fit=lambda images, _: NearestImage(images)),
    LINEAR: Baseline("PCA", has_latent=True, fit=PrincipalComponents),
    "mean_intensity": Baseline("Low mean intensity", statistic=statistics.brightness),
    "contrast": Baseline("Low contrast", statistic=statistics.contrast),
    "total_variation": Baseline("Low total variation", statistic=statistics.total_variation),
    "local_variance": Baseline("Low local variance", pixel_map=partial(low_variance, share=0.1)),
    "local_variance_low": Baseline(
        "Low local variance, ε / 10", pixel_map=partial(low_variance, share=0.01)
    ),
    "local_variance_high": Baseline(
        "Low local variance, 10 ε", pixel_map=partial(low_variance, share=1.0)
    ),
    "intensity": Baseline(
        "Intensity as map", scores_images=False, pixel_map=lambda images, _: images.mean(axis=1)
    ),
}


def can(method: str, ability: str) -> bool:
    """Whether a method has an ability, a field of Baseline; a network has them all."""
    return method not in BASELINES or getattr(BASELINES[method], ability)
