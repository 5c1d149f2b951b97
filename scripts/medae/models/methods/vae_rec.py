"""VAE-rec: the VAE, scored by the gradient of its error (Zimmerer et al., MICCAI 2019)."""

from torch import Tensor

from medae.models.methods.ae_grad import gradients
from medae.models.methods.vae import VariationalAutoEncoder


class ReconstructionGradientVae(VariationalAutoEncoder):
    """A pixel is abnormal when a change of it would change the image's error."""

    display_name = "VAE-rec"
    trained_as = "vae"
    needs_gradient = True

    def anomaly_map(self, images: Tensor, latents: Tensor, reconstructions: Tensor) -> Tensor:
        """Return the absolute gradient of each image's mean squared error, mean over channels."""
        errors = (images - reconstructions).square().mean(dim=(1, 2, 3))
        return gradients(errors, images).mean(dim=1)
