"""VAE-combi: the VAE, scored by error times gradient of the KL (Zimmerer et al., MICCAI 2019)."""

from torch import Tensor

from medae.models.methods.ae_grad import gradients
from medae.models.methods.vae import VariationalAutoEncoder, kl_divergence


class CombinedGradientVae(VariationalAutoEncoder):
    """A pixel is abnormal when it is off and a change of it would change the image's KL."""

    display_name = "VAE-combi"
    trained_as = "vae"
    needs_gradient = True

    def anomaly_map(self, images: Tensor, latents: Tensor, reconstructions: Tensor) -> Tensor:
        """Return squared error times absolute gradient of the KL, mean over channels, N × H × W."""
        kl = kl_divergence(*self.posterior(images)).mean(dim=1)
        return ((images - reconstructions).square() * gradients(kl, images)).mean(dim=1)
