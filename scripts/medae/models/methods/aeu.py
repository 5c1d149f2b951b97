"""AE-U: an autoencoder that predicts its own error in each pixel (Mao et al., MICCAI 2020)."""

from torch import Tensor

from medae.models.methods.ae import AutoEncoder
from medae.models.networks import Decoder


class UncertainAutoEncoder(AutoEncoder):
    """The decoder gives x̂ and log σ² of every pixel; the squared error is divided by σ²."""

    display_name = "AE-U"

    def __init__(self, *, channels: int, latent_dim: int, **sizes: int):
        super().__init__(channels=channels, latent_dim=latent_dim, **sizes)
        self.decoder = Decoder(channels=2 * channels, latent_dim=latent_dim, **sizes)

    def predict(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Return x̂ and log σ², each N × C × H × W."""
        reconstructions, log_variances = self.decoder(latents).chunk(2, dim=1)
        return reconstructions, log_variances

    def decode(self, latents: Tensor) -> Tensor:
        """Return reconstructions N × C × H × W."""
        return self.predict(latents)[0]

    def loss(self, images: Tensor, noise: None) -> dict[str, Tensor]:
        """Return the means of (x − x̂)² / σ² (`error`) and of log σ², and their sum.

        Twice the negative log-likelihood of a Gaussian, but for a constant.
        """
        reconstructions, log_variances = self.predict(self.encode(images))
        error = ((-log_variances).exp() * (images - reconstructions).square()).mean()
        log_variance = log_variances.mean()
        return {"loss": error + log_variance, "error": error, "log_variance": log_variance}

    def anomaly_map(self, images: Tensor, latents: Tensor, reconstructions: Tensor) -> Tensor:
        """Return (x − x̂)² / σ² averaged over channels, N × H × W."""
        _, log_variances = self.predict(latents)
        return ((-log_variances).exp() * (images - reconstructions).square()).mean(dim=1)
