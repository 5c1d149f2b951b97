"""The convolutional encoder and decoder that the methods of the paper share.

Sizes of the reference code, MedIAnomaly, for the AE4AD paper: four blocks that halve the image,
channels C → w → 2w → 4w → 4w, a hidden layer of D units on either side of the latent vector.
"""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

# Each ReLU works in place: BatchNorm before it needs its own input for the backward pass, not its
# output, so the same numbers cost a pass over memory less.


def normalise(images: Tensor) -> Tensor:
    """Return uint8 images N × C × H × W as float32 in [-1, 1], channels last in memory."""
    values = images.to(dtype=torch.float32, memory_format=torch.channels_last)
    return values.div_(127.5).sub_(1.0)


def _block(layer: type[nn.Module], channels_in: int, channels_out: int) -> list[nn.Module]:
    return [
        layer(channels_in, channels_out, 4, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    ]


class _Rounded(torch.autograd.Function):
    """Values rounded to TF32, that is to 10 of float32's 23 bits; the gradient passes."""

    @staticmethod
    def forward(ctx, values: Tensor) -> Tensor:
        return _round(values)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return gradient


class _RoundedGradient(torch.autograd.Function):
    """The values themselves; their gradient is rounded to TF32."""

    @staticmethod
    def forward(ctx, values: Tensor) -> Tensor:
        return values.view_as(values)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return _round(gradient)


def _round(values: Tensor) -> Tensor:
    """Round to the nearest TF32 number, ties away from zero, as the hardware does."""
    return values.view(torch.int32).add(0x1000).bitwise_and_(~0x1FFF).view(torch.float32)


class RoundedConvolutions(TorchFunctionMode):
    """Within it convolutions round what they multiply, forward and backward, to TF32."""

    CONVOLUTIONS = (F.conv2d, F.conv_transpose2d)

    def __torch_function__(self, function, types, args=(), kwargs=None):  # noqa: D105
        if function not in self.CONVOLUTIONS:
            return function(*args, **kwargs or {})
        images, weights, *rest = args
        rounded = _Rounded.apply(images), _Rounded.apply(weights)
        return _RoundedGradient.apply(function(*rounded, *rest, **kwargs or {}))


class Network(nn.Module):
    """A network that can compute in a lower precision than its inputs and outputs have.

    Weights stay float32. What a method computes beside its networks (losses, rates, attention,
    noise) keeps the precision of their outputs, that of their inputs.
    """

    precision = "float32"

    def lowered(self, values: Tensor) -> AbstractContextManager:
        """Return the context in which layers compute in `precision`."""
        if self.precision == "bfloat16":
            return torch.autocast(values.device.type, dtype=torch.bfloat16)
        if self.precision == "tf32" and values.device.type != "cuda":  # which rounds by itself
            return RoundedConvolutions()
        return nullcontext()


def set_precision(model: nn.Module, precision: str) -> None:
    """Let the networks of a method compute in `precision`: float32, tf32 or bfloat16."""
    for module in model.modules():
        if isinstance(module, Network):
            module.precision = precision


class Encoder(Network):
    """Images N × C × S × S to N × outputs; S is `image_size`, a multiple of 16."""

    def __init__(
        self, *, image_size: int, channels: int, outputs: int, width: int, hidden_dim: int
    ):
        super().__init__()
        features = 4 * width * (image_size // 16) ** 2
        self.blocks = nn.Sequential(
            *_block(nn.Conv2d, channels, width),
            *_block(nn.Conv2d, width, 2 * width),
            *_block(nn.Conv2d, 2 * width, 4 * width),
            *_block(nn.Conv2d, 4 * width, 4 * width),
        )
        self.bottleneck = nn.Sequential(
            nn.Linear(features, hidden_dim),
            nn.BatchNorm1d(hidden_dim),
            nn.ReLU(inplace=True),
            nn.Linear(hidden_dim, outputs),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return the N × outputs vector in front of the latent."""
        with self.lowered(images):
            return self.bottleneck(self.blocks(images).flatten(1)).to(images.dtype)


class Decoder(Network):
    """Latents N × d to images N × C × S × S; the last layer is linear."""

    def __init__(
        self, *, image_size: int, channels: int, latent_dim: int, width: int, hidden_dim: int
    ):
        super().__init__()
        side = image_size // 16
        self.bottleneck = nn.Sequential(
            nn.Linear(latent_dim, hidden_dim),
            nn.BatchNorm1d(hidden_dim),
            nn.ReLU(inplace=True),
            nn.Linear(hidden_dim, 4 * width * side**2),
            nn.Unflatten(1, (4 * width, side, side)),
        )
        self.blocks = nn.Sequential(
            *_block(nn.ConvTranspose2d, 4 * width, 4 * width),
            *_block(nn.ConvTranspose2d, 4 * width, 2 * width),
            *_block(nn.ConvTranspose2d, 2 * width, width),
            nn.ConvTranspose2d(width, channels, 4, stride=2, padding=1, bias=False),
        )

    def forward(self, latents: Tensor) -> Tensor:
        """Return the N × C × S × S reconstruction."""
        with self.lowered(latents):
            return self.blocks(self.bottleneck(latents)).to(latents.dtype)
