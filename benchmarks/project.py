"""What the benchmark times of this project: the functions that the workflow's scripts call.

Each does what its namesake in plain_loop.py does, and yields alike.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from plain_loop import BATCH

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts/data"))

from pack_dataset import pack_dataset

from medae.evaluation.ranking import pixel_metrics
from medae.models import methods
from medae.models.networks import set_precision
from medae.models.scoring import score_batches
from medae.models.steps import Stepper
from medae.models.torch_setup import seed_everything, to_device
from medae.models.training import new_optimizer, train_epoch

ROOT = Path(__file__).resolve().parents[1]
SIZE = 64  # pixels; paper
Timed = Iterator[int | None]


def autoencoder() -> torch.nn.Module:
    """Return the paper's autoencoder for grey images, the same weights every time."""
    seed_everything(0)
    return methods.build("ae", image_size=SIZE, channels=1, latent_dim=16)


def train(pixels: np.ndarray, *, build, epochs: int, device, precision: str = "float32") -> Timed:
    """Train on uint8 images N × C × H × W, after one epoch that isn't timed."""
    model = build().to(device, memory_format=torch.channels_last)
    set_precision(model, getattr(torch, precision))
    optimizer = new_optimizer(model, learning_rate=1e-3, device=device)
    stepper = Stepper(model, optimizer, to_device(pixels, device))
    rows = torch.arange(len(pixels))
    train_epoch(stepper, rows, batch_size=BATCH, seed=0, epoch=0)
    yield
    for epoch in range(1, epochs + 1):
        train_epoch(stepper, rows, batch_size=BATCH, seed=0, epoch=epoch)
    yield epochs * len(pixels)


def score(pixels: np.ndarray, *, build, device) -> Timed:
    """Score uint8 images N × C × H × W."""
    model = build().to(device, memory_format=torch.channels_last).eval()
    yield
    for _ in score_batches(model, pixels, batch_size=BATCH, device=device):
        pass
    yield len(pixels)


def pack(folder: Path, *, image_size: int) -> Timed:
    """Pack a dataset in the layout `folder`."""
    files = sum(1 for _ in folder.rglob("*.png"))
    yield
    pack_dataset(
        root=folder,
        packed=folder.with_suffix(".h5"),
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
    yield files


def rank_pixels(masks: np.ndarray, maps: np.ndarray) -> Timed:
    """Compute the pixel metrics of maps N × H × W."""
    yield
    pixel_metrics(masks=masks, maps=maps, what="the benchmark")
    yield masks.size
