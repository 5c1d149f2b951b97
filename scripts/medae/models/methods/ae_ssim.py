"""AE-SSIM: the AE trained and scored by structural similarity (Bergmann et al., VISIGRAPP 2019)."""

import torch
from torch import Tensor

from medae.models.methods.ae import AutoEncoder

RADIUS = 5  # pixels; the window is 11 × 11
SIGMA = 1.5  # pixels, of the window's Gaussian weights
C1, C2 = 0.01**2, 0.03**2  # for intensities in [0, 1]


def _window(size: int, like: Tensor) -> Tensor:
    """Return the matrix (size − 10) × size whose product with a line of pixels averages windows."""
    options = {"dtype": like.dtype, "device": like.device}
    middles = torch.arange(RADIUS, size - RADIUS, **options)
    offsets = torch.arange(size, **options) - middles[:, None]
    weights = (-offsets.square() / (2 * SIGMA**2)).exp() * (offsets.abs() <= RADIUS)
    return weights / weights.sum(dim=1, keepdim=True)


def similarity(first: Tensor, second: Tensor) -> Tensor:
    """Return the SSIM of images N × C × H × W in [0, 1] in each whole window.

    N × C × (H − 10) × (W − 10), in [-1, 1]; Wang et al., IEEE TIP 13:600-612, 2004, eq. 13. Windows
    are averaged by matrix products: on CUDA convolutions may round to 10 bits (TF32), of which the
    variances, being small differences, would keep nothing.
    """
    moments = torch.stack([first, second, first * first, second * second, first * second])
    rows, columns = (_window(size, first) for size in first.shape[2:])
    mean_1, mean_2, square_1, square_2, product = rows @ moments @ columns.T
    means, squares = mean_1 * mean_2, mean_1.square() + mean_2.square()
    covariance, variances = product - means, square_1 + square_2 - squares
    return (2 * means + C1) * (2 * covariance + C2) / ((squares + C1) * (variances + C2))


class SimilarityAutoEncoder(AutoEncoder):
    """Trained to the highest SSIM of images moved to [0, 1]; 1 − SSIM is its anomaly map.

    The map has a value per 11 × 11 window, so images lose 5 pixels on each side.
    """

    display_name = "AE-SSIM"

    def anomaly_map(self, images: Tensor, latents: Tensor, reconstructions: Tensor) -> Tensor:
        """Return 1 − SSIM averaged over channels, N × (H − 10) × (W − 10)."""
        first, second = (((x + 1) / 2).clamp(0, 1) for x in (images, reconstructions))
        dissimilarity = 1 - similarity(first, second).mean(dim=1)
        return dissimilarity.clamp(min=0)  # rounding can take SSIM above 1

    def loss(self, images: Tensor, noise: None) -> dict[str, Tensor]:
        """Return 1 − SSIM averaged over batch, channels and windows."""
        latents = self.encode(images)
        return {"loss": self.anomaly_map(images, latents, self.decode(latents)).mean()}
