"""What the benchmark times of this project: the functions that the workflow's scripts call.

Each returns items per second, as its namesake in plain_loop.py.
"""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from pack_dataset import pack_dataset
from plain_loop import BATCH

from medae.metrics import pixel_metrics
from medae.networks import set_precision
from medae.scoring import score_batches
from medae.torch_setup import to_device
from medae.training import train_epoch

Wait = Callable[[], None]


def train(pixels: np.ndarray, *, build, epochs: int, device, wait: Wait, precision: str) -> float:
    """Train on uint8 images N × C × H × W; return images per second."""
    model = build().to(device, memory_format=torch.channels_last)
    set_precision(model, getattr(torch, precision))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    images = to_device(pixels, device)

    def epoch(number: int) -> None:
        train_epoch(model, optimizer, images, batch_size=BATCH, seed=0, epoch=number)

    epoch(0)
    wait()
    start = time.perf_counter()
    for number in range(epochs):
        epoch(1 + number)
    return epochs * len(pixels) / (time.perf_counter() - start)


def score(pixels: np.ndarray, *, build, device, wait: Wait) -> float:
    """Score uint8 images N × C × H × W; return images per second."""
    model = build().to(device, memory_format=torch.channels_last).eval()
    wait()
    start = time.perf_counter()
    for _ in score_batches(model, pixels, batch_size=BATCH, device=device):
        pass
    return len(pixels) / (time.perf_counter() - start)


def pack(folder: Path, *, image_size: int, wait: Wait) -> float:
    """Pack a dataset in the layout `folder`; return images per second."""
    files = sum(1 for _ in folder.rglob("*.png"))
    wait()
    start = time.perf_counter()
    pack_dataset(
        root=folder,
        output=folder.with_suffix(".h5"),
        dataset="bench",
        layout="folder",
        channels=1,
        image_size=image_size,
        masks=False,
        expected=None,
        intensity_range=None,
        modality="none",
        source="none",
        workers=torch.get_num_threads(),
    )
    return files / (time.perf_counter() - start)


def rank_pixels(masks: np.ndarray, maps: np.ndarray, *, wait: Wait) -> float:
    """Compute the pixel metrics of maps N × H × W; return pixels per second."""
    wait()
    start = time.perf_counter()
    pixel_metrics(masks=masks, maps=maps, what="the benchmark")
    return masks.size / (time.perf_counter() - start)
