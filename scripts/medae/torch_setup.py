"""Device, seeds and determinism: what must be set before a network runs."""

import os
import random

import numpy as np
import torch

from medae.errors import InputError


def select_device(name: str) -> torch.device:
    """Return the device called `name`; `auto` takes CUDA, then MPS, then the CPU.

    Raises InputError when the named device is not there.
    """
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        name = next(device for device, there in available.items() if there)
    if not available[name]:
        raise InputError(
            f"training.device is '{name}', but torch {torch.__version__} finds no such device on "
            "this machine. Set it to 'auto' or 'cpu', or install a torch build for that device."
        )
    return torch.device(name)


def make_deterministic(torch_threads: int) -> None:
    """Fix the number of CPU threads, which changes sums, and refuse non-deterministic kernels."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS needs it to be exact
    torch.set_num_threads(torch_threads)
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False


def seed_everything(seed: int) -> None:
    """Seed python, numpy and torch on every device."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def epoch_generators(
    seed: int, epoch: int, device: torch.device
) -> tuple[torch.Generator, torch.Generator]:
    """Return the generators of the batch order (on the CPU) and of noise (on `device`).

    They depend on (seed, epoch) alone, so that a resumed training needs no stored random state
    and the order of images is the same on every device.
    """
    order, noise = np.random.SeedSequence((seed, epoch)).generate_state(2, np.uint64)
    return (
        torch.Generator().manual_seed(int(order)),
        torch.Generator(device).manual_seed(int(noise)),
    )
