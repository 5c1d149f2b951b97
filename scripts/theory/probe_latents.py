"""Probe the latent vectors of the trained models of one setting, all seeds in one job.

Inputs: the packed dataset, its audit, the table of the training set unless it is `all`, and one
checkpoint per seed. Parameters: `metric_images`, the number of training images at which the
decoder's Jacobian is taken, and `levels`, at how many levels of noise the error is measured.
Output per seed: probe.h5, see medae.theory.probe_files: latents, the decoder's metric, the error of
reconstruction at each level of noise (medae.theory.entropy), and the bits per image of a method with a
rate. All is of one used training image per copy group, but for the rate of the test images.
When the device's memory doesn't suffice, batches get smaller, which changes nothing beyond
rounding. Fails when a checkpoint is damaged or does not fit the dataset.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import jvp, vmap

from medae.base.errors import InputError
from medae.data.packed import PackedDataset, read_packed
from medae.duplicates.audit import read_audit
from medae.duplicates.training_sets import read_training_rows
from medae.models.checkpoints import load_checkpoint
from medae.models.networks import normalise
from medae.models.torch_setup import (
    is_out_of_memory,
    make_deterministic,
    select_device,
    smaller_batch,
)
from medae.theory.entropy import Channel, level_grid
from medae.theory.probe_files import Probe, first_of_groups, write_probe

logger = logging.getLogger(__name__)

SEED = 0  # of the noise and of the choice of images for the metric


class Batches:
    """Cuts rows into batches, which stay smaller once the device's memory didn't suffice."""

    def __init__(self, size: int):
        self.size = size

    def run(self, count: int, compute: Callable[[slice], Tensor]) -> Iterator[np.ndarray]:
        """Yield what `compute` returns for the rows 0 to `count`, batch by batch, on the CPU.

        Raises InputError when a single row is too much.
        """
        start = 0
        while start < count:
            rows = slice(start, min(start + self.size, count))
            try:
                found = compute(rows).cpu()
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                found = None
            if found is None:  # outside the handler, which keeps what the failed batch allocated
                self.size = smaller_batch(self.size, least=1, what="Probing")
                continue
            yield found.numpy()
            start = rows.stop


@torch.no_grad()
def probe_model(
    model: nn.Module,
    images: np.ndarray,
    *,
    test_images: np.ndarray,
    device: torch.device,
    batch_size: int,
    metric_images: int,
    levels: int,
) -> Probe:
    """Return the probe of a model in evaluation mode, which is left as it is.

    `images` (uint8, n × C × H × W) are normal training images without copies.
    """
    batches = Batches(batch_size)

    def encode(rows: slice) -> Tensor:
        return model.encode(normalise(torch.from_numpy(images[rows]).to(device)))

    def errors_of(latents: np.ndarray) -> float:
        def compute(rows: slice) -> Tensor:
            batch = normalise(torch.from_numpy(images[rows]).to(device))
            z = torch.from_numpy(latents[rows].astype(np.float32)).to(device)
            return (model.decode(z) - batch).square().flatten(1).mean(dim=1)

        found = np.concatenate(list(batches.run(len(latents), compute)))
        return float(found.mean(dtype=np.float64))

    latents = np.concatenate(list(batches.run(len(images), encode)))
    random = np.random.default_rng(SEED)
    order = random.permutation(len(images))[:metric_images]
    metric = decoder_metric(model.decode, latents[np.sort(order)], device=device, batches=batches)
    channel = Channel.fit(latents, metric)
    noise = random.standard_normal((len(latents), len(channel.gains)))  # the same at all levels
    error = errors_of(latents)
    grid = level_grid(channel.gains, error=error, count=levels)
    received = (channel.transmit(latents, level=level, noise=noise) for level in grid)
    return Probe(
        latents=latents,
        metric=metric,
        levels=grid,
        errors=np.array([errors_of(z) for z in received]),
        error=error,
        rate_train=rates(model, images, device=device, batches=batches),
        rate_test=rates(model, test_images, device=device, batches=batches),
    )


def decoder_metric(
    decode: Callable[[Tensor], Tensor],
    latents: np.ndarray,
    *,
    device: torch.device,
    batches: Batches,
) -> np.ndarray:
    """Return the mean over latents n × d of JᵀJ / P, J the Jacobian of `decode`, float64 d × d.

    P is the number of output values. J is exact, by forward differentiation along each latent, a
    batch of directions at a time; one image's Jacobian is in memory at once.
    """
    n, d = latents.shape
    directions = torch.eye(d, dtype=torch.from_numpy(latents).dtype, device=device)
    metric = np.zeros((d, d))
    for latent in torch.from_numpy(latents).to(device):

        def columns(rows: slice, latent: Tensor = latent) -> Tensor:
            def along(direction: Tensor) -> Tensor:
                return jvp(decode, (latent[None],), (direction[None],))[1].flatten()

            return vmap(along)(directions[rows])

        jacobian = np.concatenate(list(batches.run(d, columns))).astype(np.float64)
        metric += jacobian @ jacobian.T / jacobian.shape[1]
    return metric / n


def rates(
    model: nn.Module, images: np.ndarray, *, device: torch.device, batches: Batches
) -> np.ndarray | None:
    """Return the bits per image of uint8 images, shape (n,), or None without `model.rate`."""
    if not hasattr(model, "rate"):
        return None

    def compute(rows: slice) -> Tensor:
        return model.rate(normalise(torch.from_numpy(images[rows]).to(device)))

    return np.concatenate(list(batches.run(len(images), compute))).astype(np.float64)


def probe_latents(
    *,
    data: PackedDataset,
    audit: Path,
    training_rows: Path | None,
    training_set: str,
    checkpoints: Sequence[Path],
    seeds: Sequence[int],
    device: torch.device,
    batch_size: int,
    metric_images: int,
    levels: int,
    outputs: Sequence[Path],
) -> None:
    """Write one probe per checkpoint; `checkpoints` and `outputs` are in the order of `seeds`."""
    groups = read_audit(audit, data)
    for seed, checkpoint, output in zip(seeds, checkpoints, outputs, strict=True):
        model, description = load_checkpoint(checkpoint, device)
        if description["dataset_sha256"] != data.attributes["source_sha256"]:
            raise InputError(
                f"{checkpoint} was trained on other images than those of the packed dataset "
                f"'{data.attributes['dataset']}'. Delete the checkpoint and run the workflow again."
            )
        used = read_training_rows(training_rows, data, training_set=training_set, seed=seed)
        rows = first_of_groups(groups, used)
        logger.info("seed %d: %d images without copies of %d", seed, len(rows), used.sum())
        probe = probe_model(
            model,
            data.train_images[rows],
            test_images=data.test_images,
            device=device,
            batch_size=batch_size,
            metric_images=metric_images,
            levels=levels,
        )
        write_probe(output, probe)


if __name__ == "__main__":
    from medae.base.logs import script_logging

    with script_logging(snakemake.log[0]):
        make_deterministic(snakemake.params.torch_threads)
        probe_latents(
            data=read_packed(Path(snakemake.input.packed)),
            audit=Path(snakemake.input.audit),
            training_rows=Path(path) if (path := snakemake.input.training_rows) else None,
            training_set=snakemake.wildcards.training_set,
            checkpoints=[Path(path) for path in snakemake.input.checkpoints],
            seeds=list(snakemake.params.seeds),
            device=select_device(snakemake.params.device),
            batch_size=snakemake.params.batch_size,
            metric_images=snakemake.params.metric_images,
            levels=snakemake.params.levels,
            outputs=[Path(path) for path in snakemake.output.probes],
        )
