"""EntropyAE: an autoencoder that also minimises the entropy of its latent vector.

AE4AD derives that the entropy of the latent should be as low as normal images allow, and lowers it
by hand, through the latent dimension. Here it is part of the loss, as in learned compression
(Ballé et al., End-to-end optimized image compression, ICLR 2017, arXiv:1611.01704; with the names
of the hyperprior paper, arXiv:1802.01436): latents are rounded, and coded under a learned prior.
"""

import math

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from medae.models.methods.ae import AutoEncoder

# Adam moves a weight by about the learning rate, whatever the gradient: at 1e-3 the prior's logits
# and log scales would follow the encoder for thousands of steps, so what is learned is a tenth.
GAIN = 10.0
LEAST_SCALE = 0.05  # bins; an unused dimension then costs 0.0001 bits, a stray value 29 bits a bin


class FactorisedPrior(nn.Module):
    """A distribution of whole numbers per dimension: a mixture of logistics, cut into bins.

    Dimensions are independent. The bins of dimension j are centred at `centres[j]` + whole numbers,
    so that a dimension that no image uses has a single bin, wherever its values lie. A bin is as
    wide as the encoder's unit. Untrained outputs spread over half of one, so an untrained prior
    with a scale of one covers them, and the decoder starts with more noise than signal: dimensions
    have to earn their bits.
    """

    def __init__(self, *, latent_dim: int, mixtures: int):
        super().__init__()
        start = torch.linspace(-1, 1, mixtures) if mixtures > 1 else torch.zeros(1)
        self.logits = nn.Parameter(torch.zeros(latent_dim, mixtures))
        self.means = nn.Parameter(start.repeat(latent_dim, 1))
        self.log_scales = nn.Parameter(torch.zeros(latent_dim, mixtures))

    @property
    def centres(self) -> Tensor:
        """The mean of the heaviest component of each dimension, d."""
        heaviest = self.logits.argmax(dim=1, keepdim=True)
        return self.means.detach().gather(1, heaviest).squeeze(1)

    def bits(self, values: Tensor) -> Tensor:
        """Return −log2 of the mass within half a bin of `values`, N × d; the shape of `values`.

        `values` are as the encoder gives them, not relative to `centres`. With F(x) = σ(x)
        the mass is σ(b) − σ(a) = σ(b) · σ(−a) · (1 − exp(a − b)), whose logarithm is exact however
        far out, so that no value is without a gradient.
        """
        scales = LEAST_SCALE + (GAIN * self.log_scales).exp()
        offsets = values[:, :, None] - self.means
        log_masses = (
            F.logsigmoid((offsets + 0.5) / scales)
            + F.logsigmoid((0.5 - offsets) / scales)
            + (-torch.expm1(-1 / scales)).log()
            + (GAIN * self.logits).log_softmax(dim=1)
        )
        return -log_masses.logsumexp(dim=2) / math.log(2)


class EntropyAutoEncoder(AutoEncoder):
    """Encoder to `latent_dim` whole numbers, whose code length is minimised; decoder back.

    Loss MSE + `rate_weight` · rate. The rate is in bits per image, the sum over dimensions of
    −log2 of the mass that a prior of `mixtures` logistics per dimension gives to the image's bin:
    a cross-entropy, so an upper bound of the latents' entropy. In training rounding is replaced by
    noise, uniform over a bin.
    """

    display_name = "Entropy AE"
    options = {
        "rate_weight": {
            "type": "number",
            "minimum": 0,
            "default": 0.00003,
            "description": "λ, weight of the rate in bits per image.",
        },
        "mixtures": {
            "type": "integer",
            "minimum": 1,
            "default": 3,
            "description": "Logistic distributions in the prior of each latent dimension.",
        },
    }

    def __init__(self, *, latent_dim: int, rate_weight: float, mixtures: int, **sizes: int):
        super().__init__(latent_dim=latent_dim, **sizes)
        self.prior = FactorisedPrior(latent_dim=latent_dim, mixtures=mixtures)
        self.latent_dim = latent_dim
        self.rate_weight = rate_weight

    def encode(self, images: Tensor) -> Tensor:
        """Return latents N × d: the numbers, relative to the prior's centres, of their bins."""
        return (self.encoder(images) - self.prior.centres).round()

    def decode(self, latents: Tensor) -> Tensor:
        """Return reconstructions N × C × H × W of the bins' middles."""
        return self.decoder(latents + self.prior.centres)

    def bits(self, latents: Tensor) -> Tensor:
        """Return the code length of each of `encode`'s numbers in bits, N × d."""
        return self.prior.bits(latents + self.prior.centres)

    def rate(self, images: Tensor) -> Tensor:
        """Return the code length of each image's latent in bits, N."""
        return self.bits(self.encode(images)).sum(dim=1)

    def noise(self, shape: torch.Size, generator: Generator) -> Tensor:
        """Return noise uniform over a bin, N × d, for images of `shape` N × C × H × W."""
        size = (shape[0], self.latent_dim)
        values = torch.empty(size, device=generator.device)
        return values.uniform_(-0.5, 0.5, generator=generator)

    def loss(self, images: Tensor, noise: Tensor) -> dict[str, Tensor]:
        """Return MSE + `rate_weight` · rate, and the two parts, averaged over the batch."""
        noisy = self.encoder(images) + noise
        mse = F.mse_loss(self.decoder(noisy), images)
        rate = self.prior.bits(noisy).sum(dim=1).mean()
        return {"loss": mse + self.rate_weight * rate, "mse": mse, "rate": rate}
