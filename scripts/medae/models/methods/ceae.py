"""CeAE: the AE that fills in a masked square of its input (AE4AD, Table 2)."""

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from medae.models.methods.ae import AutoEncoder


class ContextAutoEncoder(AutoEncoder):
    """Trained to reconstruct whole images from masked ones; scored on unmasked ones.

    The square's side is `mask_side` pixels; the reference's share of 0.024 of a 64 × 64 image is
    10 × 10.
    """

    display_name = "CeAE"
    options = {
        "mask_side": {
            "type": "integer",
            "minimum": 1,
            "default": 10,
            "unit": "pixels",
            "description": "Side of the square that is masked in training.",
        },
    }

    def __init__(self, *, mask_side: int, **sizes: int):
        super().__init__(**sizes)
        self.mask_side = mask_side

    def noise(self, shape: torch.Size, generator: Generator) -> Tensor:
        """Return the upper left corners (row, column) of a square in each image, N × 2.

        Squares lie wholly inside images of `shape` N × C × H × W, at uniform positions.
        """
        n, _, height, width = shape
        options = {"generator": generator, "device": generator.device}
        top = torch.randint(height - self.mask_side + 1, (n, 1), **options)
        left = torch.randint(width - self.mask_side + 1, (n, 1), **options)
        return torch.cat([top, left], dim=1)

    def masked(self, images: Tensor, corners: Tensor) -> Tensor:
        """Return a copy of images N × C × H × W with the square at `corners` set to -1 (black)."""
        height, width = images.shape[2:]
        row = torch.arange(height, device=images.device) - corners[:, :1]
        column = torch.arange(width, device=images.device) - corners[:, 1:]
        rows = (row >= 0) & (row < self.mask_side)
        columns = (column >= 0) & (column < self.mask_side)
        return images.masked_fill((rows[:, :, None] & columns[:, None, :])[:, None], -1.0)

    def loss(self, images: Tensor, noise: Tensor) -> dict[str, Tensor]:
        """Return the mean squared error between the whole images and what masked ones give."""
        return {"loss": F.mse_loss(self(self.masked(images, noise)), images)}
