"""MemAE: latents are replaced by mixtures of learned memory items (AE4AD, Table 2)."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medae.models.methods.ae import AutoEncoder


def hard_shrink(attention: Tensor, threshold: float) -> Tensor:
    """Return attention N × M with weights at most `threshold` set to zero, rows summing to one.

    Differentiable form of Gong et al. (ICCV 2019, eq. 6 and 7). A row whose weights are all below
    the threshold stays zero.
    """
    above = F.relu(attention - threshold)
    kept = above * attention / ((attention - threshold).abs() + 1e-12)
    return F.normalize(kept, p=1, dim=1)


class MemoryAutoEncoder(AutoEncoder):
    """The decoder sees only mixtures of `memory_slots` learned vectors of size `latent_dim`.

    `encode` gives the latents in front of the memory. Loss MSE + `entropy_weight` · entropy of the
    attention in nats, averaged over images.
    """

    display_name = "MemAE"
    options = {  # defaults of the reference code
        "memory_slots": {
            "type": "integer",
            "minimum": 1,
            "default": 25,
            "description": "Number of memory items.",
        },
        "shrink_threshold": {
            "type": "number",
            "minimum": 0,
            "exclusiveMaximum": 1,
            "default": 0.0025,
            "description": "Attention weights up to this are set to zero.",
        },
        "entropy_weight": {
            "type": "number",
            "minimum": 0,
            "default": 0.0002,
            "description": "Weight of the attention entropy in nats.",
        },
    }

    def __init__(
        self,
        *,
        latent_dim: int,
        memory_slots: int,
        shrink_threshold: float,
        entropy_weight: float,
        **sizes: int,
    ):
        super().__init__(latent_dim=latent_dim, **sizes)
        bound = 1 / math.sqrt(latent_dim)
        self.memory = nn.Parameter(torch.empty(memory_slots, latent_dim).uniform_(-bound, bound))
        self.shrink_threshold = shrink_threshold
        self.entropy_weight = entropy_weight

    def attention(self, latents: Tensor) -> Tensor:
        """Return the weights of the memory items, N × slots, each row summing to one."""
        return hard_shrink((latents @ self.memory.T).softmax(dim=1), self.shrink_threshold)

    def decode(self, latents: Tensor) -> Tensor:
        """Return reconstructions N × C × H × W of what the memory makes of `latents`."""
        return self.decoder(self.attention(latents) @ self.memory)

    def loss(self, images: Tensor, noise: None) -> dict[str, Tensor]:
        """Return MSE + `entropy_weight` · attention entropy, and the two parts."""
        attention = self.attention(self.encode(images))
        mse = F.mse_loss(self.decoder(attention @ self.memory), images)
        entropy = -(attention * (attention + 1e-12).log()).sum(dim=1).mean()
        return {"loss": mse + self.entropy_weight * entropy, "mse": mse, "entropy": entropy}
