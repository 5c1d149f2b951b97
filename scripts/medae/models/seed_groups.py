"""Models that are trained in one loop: one by itself, or those of several seeds as one."""

import copy
from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn
from torch.func import functional_call, stack_module_state, vmap


def make_group(models: Sequence[nn.Module]) -> "Alone | Together":
    """Return the models of one or several seeds as what is trained."""
    return Alone(models[0]) if len(models) == 1 else Together(models)


def draw_noise(model: nn.Module, shape: torch.Size, generators: Sequence[Generator]):
    """Return the noise of K batches of `shape` N × C × H × W, K × …, from a generator each.

    None for a method without noise.
    """
    noise = [model.noise(shape, generator) for generator in generators]
    return None if noise[0] is None else torch.stack(noise)


class Alone(nn.Module):
    """A group of one model: what it computes is to the bit what the model computes by itself."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def noise(self, shape: torch.Size, generators: Sequence[Generator]) -> Tensor | None:
        """Return the noise of a batch of `shape`, 1 × …, or None."""
        return draw_noise(self.model, shape, generators)

    def loss(self, images: Tensor, noise: Tensor | None) -> dict[str, Tensor]:
        """Return the losses, each of shape 1, of images 1 × N × C × H × W."""
        losses = self.model.loss(images[0], None if noise is None else noise[0])
        return {name: value[None] for name, value in losses.items()}

    def models(self) -> list[nn.Module]:
        """Return the model."""
        return [self.model]


class Together(nn.Module):
    """K models of one method with stacked weights: an operation on all takes one call.

    On a GPU that small networks cannot fill, K models cost little more than one. Their sums are
    taken in another order than those of a model alone, so the last bits differ. Each model has its
    own batch and noise, and none sees another's.
    """

    def __init__(self, models: Sequence[nn.Module]) -> None:
        """Take over the weights of `models`, which differ in nothing else."""
        super().__init__()
        self.stacked = copy.deepcopy(models[0])  # its structure, with tensors K × …
        self.size = len(models)
        weights = {}
        for tensors in stack_module_state(list(models)):
            weights |= tensors
        for name, tensor in self._tensors(self.stacked).items():
            tensor.data = weights[name].detach()

    @staticmethod
    def _tensors(module: nn.Module) -> dict[str, Tensor]:
        return dict(module.named_parameters()) | dict(module.named_buffers())

    def forward(self, images: Tensor, noise: Tensor | None) -> dict[str, Tensor]:
        """Return the losses of the model whose weights stand in for the stacked ones."""
        return self.stacked.loss(images, noise)

    def noise(self, shape: torch.Size, generators: Sequence[Generator]) -> Tensor | None:
        """Return the noise of K batches of `shape`, K × …, or None."""
        return draw_noise(self.stacked, shape, generators)

    def loss(self, images: Tensor, noise: Tensor | None) -> dict[str, Tensor]:
        """Return the losses, each of shape K, of images K × N × C × H × W.

        Raises RuntimeError when a method draws random numbers in its loss.
        """

        def one(tensors: dict[str, Tensor], images: Tensor, noise: Tensor | None):
            return functional_call(self, tensors, (images, noise))

        dimensions = (0, 0, None if noise is None else 0)
        return vmap(one, in_dims=dimensions)(self._tensors(self), images, noise)

    def models(self) -> list[nn.Module]:
        """Return K models of their own with the weights of now."""
        found = []
        for member in range(self.size):
            model = copy.deepcopy(self.stacked)
            for tensor in self._tensors(model).values():
                tensor.data = tensor.data[member].clone()
            found.append(model)
        return found
