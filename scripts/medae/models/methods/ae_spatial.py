"""AE-spatial: the AE whose latent is a small image instead of a vector (MedIAnomaly)."""

from torch import nn

from medae.models.methods.ae import AutoEncoder


def _pointwise(channels_in: int, hidden: int, channels_out: int) -> list[nn.Module]:
    return [
        nn.Conv2d(channels_in, hidden, 1, bias=False),
        nn.BatchNorm2d(hidden),
        nn.ReLU(inplace=True),
        nn.Conv2d(hidden, channels_out, 1, bias=False),
    ]


class SpatialAutoEncoder(AutoEncoder):
    """Two 1 × 1 convolutions take the place of the dense layers on either side of the latent.

    The latent is `latent_dim` channels of S/16 × S/16, S being `image_size`; `encode` and `decode`
    have them in one row, so their latents are N × (d · (S/16)²): 256 numbers at d = 16 and S = 64.
    """

    display_name = "AE-spatial"
    note = "AE-spatial keeps (side / 16)² × d numbers: 256 at d = 16 and 64 × 64 pixels."

    def __init__(
        self, *, image_size: int, latent_dim: int, width: int, hidden_dim: int, **sizes: int
    ):
        shared = {"image_size": image_size, "width": width, "hidden_dim": hidden_dim}
        super().__init__(latent_dim=latent_dim, **shared, **sizes)
        features, side = 4 * width, image_size // 16
        self.encoder.bottleneck = nn.Sequential(
            nn.Unflatten(1, (features, side, side)),
            *_pointwise(features, hidden_dim, latent_dim),
            nn.Flatten(),
        )
        self.decoder.bottleneck = nn.Sequential(
            nn.Unflatten(1, (latent_dim, side, side)),
            *_pointwise(latent_dim, hidden_dim, features),
        )
