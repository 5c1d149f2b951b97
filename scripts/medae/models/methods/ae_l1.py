"""AE-L1: the AE trained and scored by absolute instead of squared error (MedIAnomaly)."""

from torch import Tensor
from torch.nn import functional as F

from medae.models.methods.ae import AutoEncoder


class AbsoluteErrorAutoEncoder(AutoEncoder):
    """Trained to the least absolute error, which is also its anomaly map."""

    display_name = "AE-L1"

    def loss(self, images: Tensor, noise: None) -> dict[str, Tensor]:
        """Return the mean absolute error over batch, channels and pixels."""
        return {"loss": F.l1_loss(self(images), images)}

    def anomaly_map(self, images: Tensor, latents: Tensor, reconstructions: Tensor) -> Tensor:
        """Return absolute errors averaged over channels, N × H × W."""
        return (images - reconstructions).abs().mean(dim=1)
