"""CeAE: the AE that fills in a masked square of its input (AE4AD, Table 2)."""

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from medae.methods.ae import AutoEncoder


def mask_square(images: Tensor, side: int, generator: Generator) -> Tensor:
    """Return a copy of images N × C × H × W with one random square of each set to -1 (black).

    Squares of `side` × `side` pixels lie wholly inside, at uniform positions drawn per image.
    """
    n, _, height, width = images.shape
    device = images.device
    top = torch.randint(height - side + 1, (n, 1), generator=generator, device=device)
    left = torch.randint(width - side + 1, (n, 1), generator=generator, device=device)
    row = torch.arange(height, device=device)
    column = torch.arange(width, device=device)
    rows = (row >= top) & (row < top + side)
    columns = (column >= left) & (column < left + side)
    return images.masked_fill((rows[:, :, None] & columns[:, None, :])[:, None], -1.0)


class ContextAutoEncoder(AutoEncoder):
    """Trained to reconstruct whole images from masked ones; scored on unmasked ones.

    The square's side is `mask_side` pixels; the reference's share of 0.024 of a 64 × 64 image is
    10 × 10.
    """

    def __init__(self, *, mask_side: int = 10, **sizes):
        super().__init__(**sizes)
        self.mask_side = mask_side

    def loss(self, images: Tensor, generator: Generator) -> dict[str, Tensor]:
        """Return the mean squared error between the whole images and what masked ones give."""
        masked = mask_square(images, self.mask_side, generator)
        return {"loss": F.mse_loss(self(masked), images)}
