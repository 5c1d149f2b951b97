"""What the benchmark times of this project: the functions that the workflow's scripts call.

Each returns items per second, as its namesake in plain_loop.py.
"""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import yaml
from pack_dataset import pack_dataset
from plain_loop import BATCH

from medae.evaluation.metrics import pixel_metrics
from medae.models import methods
from medae.models.networks import set_precision
from medae.models.scoring import score_batches
from medae.models.seed_groups import make_group
from medae.models.steps import Stepper
from medae.models.torch_setup import seed_everything, to_device
from medae.models.training import new_optimizer, train_epoch

Wait = Callable[[], None]


ROOT = Path(__file__).resolve().parents[1]
CONFIG = yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8"))


def autoencoder(*, image_size: int, latent_dim: int) -> torch.nn.Module:
    """Return the paper's autoencoder for grey images, the same weights every time."""
    seed_everything(0)
    sizes = {"image_size": image_size, "channels": 1, "latent_dim": latent_dim}
    return methods.build("ae", **sizes, **CONFIG["methods"]["ae"])


def _ready(pixels: np.ndarray, *, build, device, precision: str, members: int) -> Stepper:
    """Return what trains `members` models on uint8 images N × C × H × W."""
    models = [build().to(device, memory_format=torch.channels_last) for _ in range(members)]
    group = make_group(models)
    set_precision(group, getattr(torch, precision))
    optimizer = new_optimizer(group, learning_rate=1e-3, device=device)
    return Stepper(group, optimizer, to_device(pixels, device))


def take_steps(pixels: np.ndarray, *, build, steps: int, device) -> None:
    """Take full training steps with all of `pixels` in memory."""
    stepper = _ready(pixels, build=build, device=device, precision="float32", members=1)
    rows = torch.arange(steps * BATCH)[None]
    train_epoch(stepper, rows, batch_size=BATCH, seeds=[0], epoch=0)


def train(
    pixels: np.ndarray,
    *,
    build,
    epochs: int,
    device,
    wait: Wait,
    precision: str = "float32",
    members: int = 1,
) -> float:
    """Train on uint8 images N × C × H × W, `members` models together; return images per second.

    An image counts once for each model.
    """
    stepper = _ready(pixels, build=build, device=device, precision=precision, members=members)
    rows = torch.arange(len(pixels)).expand(members, -1)

    def epoch(number: int) -> None:
        train_epoch(stepper, rows, batch_size=BATCH, seeds=range(members), epoch=number)

    epoch(0)
    wait()
    start = time.perf_counter()
    for number in range(epochs):
        epoch(1 + number)
    return members * epochs * len(pixels) / (time.perf_counter() - start)


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
