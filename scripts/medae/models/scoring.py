"""Scoring: what a trained model says of every image; the model is never changed."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medae.models.networks import normalise
from medae.models.torch_setup import is_out_of_memory, smaller_batch

CPU_BATCH, CUDA_BATCH = 64, 1024  # images; a GPU is idle with small ones

AnomalyMap = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Images, latents and reconstructions → maps N × h × w, whose means are the images' scores."""


class Scores(NamedTuple):
    """What a model says of the images at `rows`, float32 but for errors and scores (float64)."""

    rows: slice
    latents: np.ndarray  # N × d
    reconstructions: np.ndarray  # N × C × H × W
    errors: np.ndarray  # mean squared errors of the reconstructions on the [-1, 1] scale, N
    maps: np.ndarray  # anomaly maps, N × H × W
    scores: np.ndarray  # N, higher for the more abnormal


def squared_error(images: Tensor, latents: Tensor, reconstructions: Tensor) -> Tensor:
    """Return squared errors averaged over channels, N × H × W: the map of most methods."""
    return (images - reconstructions).square().mean(dim=1)


def batch_size_on(device: torch.device) -> int:
    """Return how many images to score at a time."""
    return CUDA_BATCH if device.type == "cuda" else CPU_BATCH


def score_batches(
    model: nn.Module, images: np.ndarray, *, device: torch.device, batch_size: int | None = None
) -> Iterator[Scores]:
    """Yield the scores of uint8 images N × C × H × W, batch by batch in their order.

    Without a `batch_size` it is what suits the device. The map is that of the method, the squared
    error where it has none of its own.

    The model must be in evaluation mode, so that an image's score does not depend on its batch;
    raises ValueError otherwise. When memory runs out the batches go on half as large; InputError
    when a single image is too much.
    """
    if model.training:
        raise ValueError("score_batches needs a model in evaluation mode")
    chosen = getattr(model, "anomaly_map", squared_error)
    size = batch_size or batch_size_on(device)
    start = 0
    fetch = None  # of the batch before, whose results travel while the device goes on
    while start < len(images):
        rows = slice(start, start + size)
        try:
            following = _launch(model, images, rows, device, chosen)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            following = None
        if fetch:
            yield fetch()
        fetch = following
        if fetch:
            start = rows.stop
        else:  # outside the handler, which keeps what the failed batch had allocated
            size = smaller_batch(size, least=1, what="Scoring")
    if fetch:
        yield fetch()


def _launch(
    model: nn.Module, images: np.ndarray, rows: slice, device: torch.device, anomaly_map: AnomalyMap
) -> Callable[[], Scores]:
    """Start the scoring of the images at `rows`; return what waits for the results."""
    differentiable = getattr(model, "needs_gradient", False)
    pixels = torch.from_numpy(images[rows])
    if device.type == "cuda":
        pixels = pixels.pin_memory()  # else the host waits for the copy
    with torch.inference_mode(not differentiable), torch.set_grad_enabled(differentiable):
        batch = normalise(pixels.to(device, non_blocking=True)).requires_grad_(differentiable)
        latents = model.encode(batch)
        reconstructions = model.decode(latents)
        maps = anomaly_map(batch, latents, reconstructions).detach()
        errors = squared_error(batch, latents, reconstructions).detach()
    found = latents.detach(), reconstructions.detach(), errors, maps
    arrived = [tensor.to("cpu", non_blocking=device.type == "cuda") for tensor in found]
    event = torch.cuda.Event() if device.type == "cuda" else None
    if event:
        event.record()

    def fetch() -> Scores:
        if event:
            event.synchronize()
        # Copies, since page-locked memory would pile up over a large folder of images.
        latents, reconstructions, errors, maps = (
            (tensor.clone() for tensor in arrived) if event else arrived
        )
        scores = _means(maps)
        if maps.shape[1:] != batch.shape[2:]:
            maps = F.interpolate(maps[:, None], batch.shape[2:], mode="bilinear")[:, 0]
        return Scores(
            rows=rows,
            latents=latents.numpy(),
            reconstructions=reconstructions.contiguous().numpy(),
            errors=_means(errors),
            maps=maps.numpy(),
            scores=scores,
        )

    return fetch


def _means(maps: Tensor) -> np.ndarray:
    return maps.double().mean(dim=(1, 2)).numpy()
