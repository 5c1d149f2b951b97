"""Scoring: what a trained model says of every image; the model is never changed."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from medae.models.networks import normalise
from medae.models.torch_setup import is_out_of_memory, smaller_batch


@dataclass(frozen=True)
class Scores:
    """What a model says of the images at `rows`, all float32 but the scores.

    Latents N × d, reconstructions N × C × H × W, anomaly maps N × H × W, scores N (float64).
    Maps are squared errors on the [-1, 1] scale, averaged over channels; an image's score is the
    mean of its map, higher for the more abnormal.
    """

    rows: slice
    latents: np.ndarray
    reconstructions: np.ndarray
    maps: np.ndarray
    scores: np.ndarray


def anomaly_map(images: Tensor, reconstructions: Tensor) -> Tensor:
    """Return squared errors averaged over channels, N × H × W."""
    return (images - reconstructions).square().mean(dim=1)


@torch.inference_mode()
def score_batches(
    model: nn.Module, images: np.ndarray, *, batch_size: int, device: torch.device
) -> Iterator[Scores]:
    """Yield the scores of uint8 images N × C × H × W, batch by batch in their order.

    The model must be in evaluation mode, so that an image's score does not depend on its batch;
    raises ValueError otherwise. When memory runs out the batches go on half as large; InputError
    when a single image is too much.
    """
    if model.training:
        raise ValueError("score_batches needs a model in evaluation mode")
    start = 0
    while start < len(images):
        rows = slice(start, start + batch_size)
        try:
            scores = _score(model, images, rows, device)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            scores = None
        if scores is None:  # outside the handler, which keeps what the failed batch had allocated
            batch_size = smaller_batch(batch_size, least=1, what="Scoring")
            continue
        yield scores
        start = rows.stop


def _score(model: nn.Module, images: np.ndarray, rows: slice, device: torch.device) -> Scores:
    batch = normalise(torch.from_numpy(images[rows]).to(device))
    latents = model.encode(batch)
    reconstructions = model.decode(latents)
    maps = anomaly_map(batch, reconstructions)
    return Scores(
        rows=rows,
        latents=latents.cpu().numpy(),
        reconstructions=reconstructions.cpu().contiguous().numpy(),
        maps=maps.cpu().numpy(),
        scores=maps.cpu().double().mean(dim=(1, 2)).numpy(),  # MPS has no float64
    )
