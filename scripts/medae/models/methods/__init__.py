"""The registry of methods: the name in the configuration → the class in the module of that name.

A method is a `torch.nn.Module` in `methods/<name>.py` with

- keyword-only arguments `image_size`, `channels`, `latent_dim` and its own options, which are the
  keys of `methods.<name>` in the configuration;
- `noise(shape, generator)` → what the loss of a batch of `shape` N × C × H × W takes at random, one
  tensor on the generator's device, or None; the only source of randomness;
- `loss(images, noise)` → dict of scalars, `loss` being the one that is minimised and the others its
  parts. It is also called under `torch.func.vmap`, for the models of several seeds at once, and
  recorded as a CUDA graph, so all that it does is operations on tensors of its own device: no
  branches on values, no `.item()`, no random draws, no counters that it keeps;
- `encode(images)` → latents N × d and `decode(latents)` → reconstructions N × C × H × W, both
  without randomness in evaluation mode;
- optionally `rate(images)` → bits per image, N: what a code of the latent would need under a prior
  that the method has, without randomness in evaluation mode.

Images are N × C × H × W in [-1, 1]. Only the name is imported here, so that an edit to one method
leaves the others' trained models valid.
"""

from importlib import import_module
from typing import NamedTuple


class Entry(NamedTuple):
    """What the registry knows of a method: its class, and its name in tables and figures."""

    class_name: str
    display_name: str


REGISTRY = {
    "ae": Entry("AutoEncoder", "AE"),
    "vae": Entry("VariationalAutoEncoder", "VAE"),
    "memae": Entry("MemoryAutoEncoder", "MemAE"),
    "ceae": Entry("ContextAutoEncoder", "CeAE"),
    "entropy_ae": Entry("EntropyAutoEncoder", "Entropy AE"),
}


def build(method: str, **arguments):
    """Return a new model of `method`, initialised from torch's current random state."""
    module = import_module(f"medae.models.methods.{method}")
    return getattr(module, REGISTRY[method].class_name)(**arguments)
