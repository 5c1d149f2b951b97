"""CeAE: the AE that fills in a masked square of its input (AE4AD, Table 2)."""

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from medae.models.methods.ae import AutoEncoder


def draw_corners(shape: torch.Size, side: int, generator: Generator) -> Tensor:
    """Return the upper left corners (row, column) of a square in each image, N × 2.

    Squares of `side` × `side` pixels lie wholly inside images of `shape` N × C × H × W, at uniform
    positions.
    """
    n, _, height, width = shape
    device = generator.device
    top = torch.randint(height - side + 1, (n, 1), generator=generator, device=device)
    left = torch.randint(width - side + 1, (n, 1), generator=generator, device=device)
    return torch.cat([top, left], dim=1)


def mask_square(images: Tensor, side: int, corners: Tensor) -> Tensor:
    """Return a copy of images N × C × H × W with the square at `corners` set to -1 (black)."""
    height, width = images.shape[2:]
    top, left = corners[:, :1], corners[:, 1:]
    row = torch.arange(height, device=images.device)
    column = torch.arange(width, device=images.device)
    rows = (row >= top) & (row < top + side)
    columns = (column >= left) & (column < left + side)
    return images.masked_fill((rows[:, :, None] & columns[:, None, :])[:, None], -1.0)


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
        """Return where the masked squares lie, N × 2."""
        return draw_corners(shape, self.mask_side, generator)

    def loss(self, images: Tensor, noise: Tensor) -> dict[str, Tensor]:
        """Return the mean squared error between the whole images and what masked ones give."""
        masked = mask_square(images, self.mask_side, noise)
        return {"loss": F.mse_loss(self(masked), images)}
