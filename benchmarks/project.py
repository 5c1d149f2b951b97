"""What the benchmark times of this project: the functions that the workflow's scripts call.

Each does what its namesake in plain_loop.py does, and yields alike.
"""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from plain_loop import BATCH

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts/data"))

from pack_dataset import pack_dataset

from medae.evaluation.ranking import pixel_metrics
from medae.models import methods, steps
from medae.models.networks import normalise, set_precision
from medae.models.scoring import score_batches
from medae.models.steps import Stepper
from medae.models.torch_setup import allow_tf32, seed_everything, to_device
from medae.models.training import Member, Training, train_epoch

ROOT = Path(__file__).resolve().parents[1]
SIZE = 64  # pixels; paper
Timed = Iterator[int | None]


def autoencoder() -> torch.nn.Module:
    """Return the paper's autoencoder for grey images, the same weights every time."""
    seed_everything(0)
    return methods.build("ae", image_size=SIZE, channels=1, latent_dim=16)


def _normalise_nchw(images: torch.Tensor) -> torch.Tensor:
    return images.float().div_(127.5).sub_(1.0)


def epochs_of(
    pixels: np.ndarray,
    *,
    build,
    device,
    precision: str = "float32",
    models: int = 1,
    cuda_graphs: bool = True,
    channels_last: bool = True,
    compiled: bool = False,
) -> Callable[[], None]:
    """Return what trains models on uint8 images N × C × H × W at once, for one epoch a call.

    False `channels_last` and true `compiled` are trials of what the project does not do.
    """
    allow_tf32(precision)
    images = to_device(pixels, device)
    steps.normalise = normalise if channels_last else _normalise_nchw
    memory_format = torch.channels_last if channels_last else torch.contiguous_format

    def new_model() -> torch.nn.Module:
        model = build().to(device, memory_format=memory_format)
        set_precision(model, precision)
        if compiled:
            model.loss = torch.compile(model.loss)
        return model

    rows = torch.arange(len(pixels))
    members = [
        Member(
            Training(new_model, rows, seed, {}, Path("never written"), "benchmark"),
            images,
            batch_size=BATCH,
            learning_rate=1e-3,
        )
        for seed in range(models)
    ]
    stepper = Stepper([member.trainee for member in members], cuda_graphs=cuda_graphs)
    return lambda: train_epoch(members, stepper)


def train(pixels: np.ndarray, *, epochs: int, models: int = 1, **options) -> Timed:
    """Train as `epochs_of` does, after one epoch that isn't timed."""
    epoch = epochs_of(pixels, models=models, **options)
    epoch()
    yield
    for _ in range(epochs):
        epoch()
    yield epochs * len(pixels) * models


def score(
    pixels: np.ndarray,
    *,
    build,
    device,
    precision: str = "float32",
    batch_size: int | None = None,
    rounds: int = 1,
) -> Timed:
    """Score uint8 images N × C × H × W `rounds` times, after one that isn't timed."""
    allow_tf32(precision)
    model = build().to(device, memory_format=torch.channels_last).eval()
    for timed in (1, rounds):
        for _ in range(timed):
            for _ in score_batches(model, pixels, batch_size=batch_size, device=device):
                pass
        yield len(pixels) * timed


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
        source="none",
        workers=torch.get_num_threads(),
    )
    yield files


def rank_pixels(masks: np.ndarray, maps: np.ndarray) -> Timed:
    """Compute the pixel metrics of maps N × H × W."""
    yield
    pixel_metrics(masks=masks, maps=maps, what="the benchmark")
    yield masks.size
