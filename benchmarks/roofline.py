"""How fast training could be: its work per image against what the machine does at best.

Work is counted, not estimated: floating-point operations of forward and backward pass by torch's
counter, and the bytes of all tensors that its operations read and write, as if no two operations
were fused and nothing stayed in a cache. The machine's best is a large matrix product and a copy.
"""

import time
from collections.abc import Callable

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from medae.models.networks import normalise

SIDE = {"cpu": 2048, "cuda": 8192}  # of the matrices, large enough to keep the device busy
COPIED = 2**28  # bytes


class ByteCounter(TorchDispatchMode):
    """Counts the bytes of the tensors that operations take and return; views are free."""

    def __init__(self):
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if not function.is_view:
            tensors = tree_leaves((args, kwargs, result))
            self.bytes += sum(t.nbytes for t in tensors if isinstance(t, torch.Tensor))
        return result


def work(build: Callable, pixels: torch.Tensor) -> tuple[float, float]:
    """Return FLOP and bytes per image of one training step on uint8 images N × C × H × W."""
    model = build().to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), fused=True)

    def step() -> None:
        noise = model.noise(pixels.shape, torch.Generator())
        model.loss(normalise(pixels), noise)["loss"].backward()
        optimizer.step()

    step()  # Adam makes its moments
    with FlopCounterMode(display=False) as flops:
        step()
    with ByteCounter() as traffic:
        step()
    return flops.get_total_flops() / len(pixels), traffic.bytes / len(pixels)


def seconds(step: Callable[[], object], device: torch.device, repeats: int = 5) -> float:
    """Return the least time of a step among `repeats`."""
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return best


def kernels(step: Callable[[], object], device: torch.device, rows: int = 12) -> str:
    """Return torch's table of the operations that take longest in ten steps."""
    for _ in range(2):  # the second one may be recorded as a CUDA graph
        step()
    activities = [torch.profiler.ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=activities) as profile:
        for _ in range(10):
            step()
        if device.type == "cuda":
            torch.cuda.synchronize()
    key = f"self_{device.type}_time_total"
    return profile.key_averages().table(sort_by=key, row_limit=rows, max_name_column_width=60)


def machine_limits(device: torch.device, precision: str) -> tuple[float, float]:
    """Return FLOP/s of a matrix product in `precision`, and bytes/s that a copy moves."""
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    side = SIDE[device.type]
    a = torch.randn(side, side, device=device, dtype=dtype)
    source = torch.zeros(COPIED, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    product = 2 * side**3 / seconds(lambda: a @ a, device)
    return product, 2 * COPIED / seconds(lambda: target.copy_(source), device)
