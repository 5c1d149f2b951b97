"""Constrained AE: a reconstruction has the image's latent (Chen & Konukoglu, MIDL 2018)."""

from torch import Tensor
from torch.nn import functional as F

from medae.models.methods.ae import AutoEncoder


class ConstrainedAutoEncoder(AutoEncoder):
    """Trained so that images and their reconstructions are close, and so are their latents."""

    display_name = "Constr. AE"

    def loss(self, images: Tensor, noise: None) -> dict[str, Tensor]:
        """Return the mean squared errors of images (`mse`) and of latents, and their sum."""
        latents = self.encode(images)
        reconstructions = self.decode(latents)
        mse = F.mse_loss(reconstructions, images)
        latent_mse = F.mse_loss(self.encode(reconstructions), latents)
        return {"loss": mse + latent_mse, "mse": mse, "latent_mse": latent_mse}
