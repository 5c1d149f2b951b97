"""VAE: an autoencoder whose latent is a distribution, pulled towards N(0, 1) (AE4AD, Table 2)."""

import math
import zlib

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from medae.models.networks import Decoder, Encoder


def kl_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return KL(N(mean, variance) ‖ N(0, 1)) in nats of each image and latent dimension, N × d."""
    return -0.5 * (1 + log_variance - mean.square() - log_variance.exp())


def _noise_of(images: Tensor, latent_dim: int) -> Tensor:
    """Return standard normal noise N × d, each row drawn from the checksum of its image.

    That of the grey values: normalised ones differ between devices in their last bit.
    """
    grey = ((images.detach().cpu() + 1) * 127.5).round().to(torch.uint8).contiguous()
    seeds = [zlib.crc32(image.tobytes()) for image in grey.numpy()]
    rows = [torch.randn(latent_dim, generator=torch.Generator().manual_seed(s)) for s in seeds]
    return torch.stack(rows).to(images)


class VariationalAutoEncoder(nn.Module):
    """Encoder to μ and log σ² of `latent_dim` numbers; loss MSE + `kl_weight` · KL.

    The KL is averaged over dimensions, as in the reference, where the bound sums over them: a
    weight of 0.005 is 0.005 / d on the usual scale. Trained on z = μ + σ·ε. `score_at` says what an
    image's latent is afterwards: `mean`, z = μ, or `sample`, the reference's way, whose scores are
    random; here ε is drawn from a seed made of the image's own pixels, so that even sampled scores
    repeat and don't depend on batch or order.
    """

    display_name = "VAE"
    options = {
        "kl_weight": {
            "type": "number",
            "minimum": 0,
            "default": 0.005,  # reference code
            "description": "Weight of the KL divergence, which is averaged over latent dimensions.",
        },
        "score_at": {
            "enum": ["mean", "sample"],
            "default": "mean",
            "description": "Latent of a scored image; mean is z = μ, sample is the reference's "
            "random draw.",
            "notes": {
                "mean": "VAE is scored at z = μ (the reference samples z).",
                "sample": "VAE is scored at a draw of z, as the reference does.",
            },
        },
    }

    def __init__(self, *, latent_dim: int, kl_weight: float, score_at: str, **sizes: int):
        super().__init__()
        self.encoder = Encoder(outputs=2 * latent_dim, **sizes)
        self.decoder = Decoder(latent_dim=latent_dim, **sizes)
        self.latent_dim = latent_dim
        self.kl_weight = kl_weight
        self.score_at = score_at

    def posterior(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return μ and log σ², each N × d."""
        mean, log_variance = self.encoder(images).chunk(2, dim=1)
        return mean, log_variance

    def encode(self, images: Tensor) -> Tensor:
        """Return μ, or with `score_at: sample` a draw of z, N × d."""
        mean, log_variance = self.posterior(images)
        if self.score_at == "mean":
            return mean
        return mean + (0.5 * log_variance).exp() * _noise_of(images, mean.shape[1])

    def decode(self, latents: Tensor) -> Tensor:
        """Return reconstructions N × C × H × W."""
        return self.decoder(latents)

    def rate(self, images: Tensor) -> Tensor:
        """Return KL(posterior ‖ N(0, 1)), summed over dimensions, in bits per image, N.

        What a sample of z tells of its image, and an upper bound of it on average: the prior
        stands for the mixture of all images' posteriors (Alemi et al., Fixing a broken ELBO, ICML
        2018, arXiv:1711.00464).
        """
        return kl_divergence(*self.posterior(images)).sum(dim=1) / math.log(2)

    def noise(self, shape: torch.Size, generator: Generator) -> Tensor:
        """Return standard normal noise N × d for images of `shape` N × C × H × W."""
        size = (shape[0], self.latent_dim)
        return torch.randn(size, generator=generator, device=generator.device)

    def loss(self, images: Tensor, noise: Tensor) -> dict[str, Tensor]:
        """Return MSE + `kl_weight` · KL at the sample of z by `noise`, and the two parts."""
        mean, log_variance = self.posterior(images)
        latents = mean + (0.5 * log_variance).exp() * noise
        mse = F.mse_loss(self.decode(latents), images)
        kl = kl_divergence(mean, log_variance).mean()
        return {"loss": mse + self.kl_weight * kl, "mse": mse, "kl": kl}
