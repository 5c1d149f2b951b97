"""Device, seeds and determinism: what must be set before a network runs."""

import contextlib
import ctypes
import gc
import logging
import os
import random

import numpy as np
import torch

from medae.base.errors import InputError

logger = logging.getLogger(__name__)

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h
KEPT_BYTES = 2**30

# torch has a class for CUDA's allocator alone.
OUT_OF_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "ALLOC_FAILED",
    "STATUS_NOT_INITIALIZED",  # of cuBLAS and cuDNN, where their own memory doesn't fit
)


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


def is_out_of_memory(error: RuntimeError) -> bool:
    """Return whether an error of torch says that the device's memory doesn't suffice."""
    return isinstance(error, torch.OutOfMemoryError) or any(
        words in str(error) for words in OUT_OF_MEMORY
    )


def to_device(images: np.ndarray, device: torch.device) -> torch.Tensor:
    """Return the images on the device; raises InputError when its memory doesn't hold them."""
    try:
        return torch.from_numpy(images).to(device)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise InputError(
            f"{len(images)} images ({images.nbytes / 2**20:.0f} MiB) do not fit into the memory of "
            f"the device '{device}'. End what else runs on it, or set training.device to 'cpu'."
        ) from error


def smaller_batch(batch_size: int, *, least: int, what: str) -> int:
    """Return half the batch size, for a device that ran out of memory, and log it as a warning.

    Raises InputError when `batch_size` is already the `least` one.
    """
    if batch_size <= least:
        raise InputError(
            f"{what}: out of memory even with {least} image(s) at a time. End what else runs on "
            "the device, set training.device to 'cpu', or lower image_size or the method's width."
        )
    smaller = max(batch_size // 2, least)
    logger.warning(
        "%s: out of memory with batches of %d images; now %d.", what, batch_size, smaller
    )
    free_memory()
    return smaller


def free_memory() -> None:
    """Give back what failed on the GPU; errors refer to themselves through their frames."""
    gc.collect()
    torch.cuda.empty_cache()


def make_deterministic(torch_threads: int) -> None:
    """Fix the number of CPU threads, which changes sums, and refuse non-deterministic kernels."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS needs it to be exact
    torch.set_num_threads(torch_threads)
    # As use_deterministic_algorithms(True), which would also import torch's compiler to set it up,
    # and that takes as long as torch itself; nothing is compiled here.
    torch.set_deterministic_debug_mode("error")
    # Else every new tensor is filled with NaN first: a pass over memory that changes no result.
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.backends.cudnn.benchmark = False
    allow_tf32("float32")
    _keep_freed_memory()


def resolve_precision(name: str, device: torch.device) -> str:
    """Return the precision to train in; `auto` is tf32 on a CUDA device that has it, else float32.

    That is what torch, and with it the reference code, does if nobody says anything. Raises
    InputError for a precision that a CUDA device lacks: it would compute in another one.
    """
    if device.type != "cuda":
        return "float32" if name == "auto" else name
    native = {
        "float32": True,
        "tf32": torch.cuda.is_tf32_supported(),
        "bfloat16": torch.cuda.is_bf16_supported(including_emulation=False),
    }
    if name == "auto":
        return "tf32" if native["tf32"] else "float32"
    if not native[name]:
        raise InputError(
            f"training.precision is '{name}', which this GPU cannot compute. Set it to 'float32' "
            "or 'auto', or training.device to 'cpu'."
        )
    return name


def allow_tf32(precision: str) -> None:
    """Let convolutions on CUDA round what they multiply to TF32 if `precision` is tf32.

    Matrix products never do, as in torch's default.
    """
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = False


def _keep_freed_memory() -> None:
    """Let glibc reuse the memory of freed tensors instead of giving it back after every layer.

    Pages that come from the system are zeroed one by one, which a training on the CPU feels.
    Without glibc nothing happens.
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        mallopt(M_MMAP_THRESHOLD, KEPT_BYTES)
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)


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
