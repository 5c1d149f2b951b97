"""AE: the plain autoencoder, whose one knob is the latent dimension (AE4AD, Table 1)."""

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from medae.models.networks import Decoder, Encoder


class AutoEncoder(nn.Module):
    """Encoder to `latent_dim` numbers, decoder back; trained to the least squared error."""

    display_name = "AE"

    def __init__(self, *, latent_dim: int, **sizes: int):
        super().__init__()
        self.encoder = Encoder(outputs=latent_dim, **sizes)
        self.decoder = Decoder(latent_dim=latent_dim, **sizes)

    def encode(self, images: Tensor) -> Tensor:
        """Return latents N × d."""
        return self.encoder(images)

    def decode(self, latents: Tensor) -> Tensor:
        """Return reconstructions N × C × H × W."""
        return self.decoder(latents)

    def forward(self, images: Tensor) -> Tensor:
        """Return reconstructions, the shape of `images`."""
        return self.decode(self.encode(images))

    def noise(self, shape: torch.Size, generator: Generator) -> None:
        """Return nothing: the loss has no randomness."""

    def loss(self, images: Tensor, noise: None) -> dict[str, Tensor]:
        """Return the mean squared error over batch, channels and pixels."""
        return {"loss": F.mse_loss(self(images), images)}
