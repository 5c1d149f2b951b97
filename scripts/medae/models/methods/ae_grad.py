"""AE-grad: the AE, scored by the gradient of its error (MedIAnomaly)."""

import torch
from torch import Tensor

from medae.models.methods.ae import AutoEncoder


def gradients(values: Tensor, images: Tensor) -> Tensor:
    """Return |∂ value / ∂ image| of each image's own value: `values` N, result as `images`."""
    return torch.autograd.grad(values.sum(), images)[0].abs()


class GradientAutoEncoder(AutoEncoder):
    """A pixel is abnormal when a change of it would change the image's error."""

    display_name = "AE-grad"
    trained_as = "ae"
    needs_gradient = True

    def anomaly_map(self, images: Tensor, latents: Tensor, reconstructions: Tensor) -> Tensor:
        """Return the absolute gradient of each image's mean squared error, mean over channels."""
        errors = (images - reconstructions).square().mean(dim=(1, 2, 3))
        return gradients(errors, images).mean(dim=1)
