"""Measure the entropy of the latent vectors of one setting, all seeds in one job.

Quantities: `gaussian_bits` and `knn_bits`, H(Z) in bits per image (medae.theory.entropy), empty
with too few images for d; `rate_bits` and `rate_test_bits`, mean bits per training and test image
by the method's own prior, if it has one; `stream_bits`, the length of a lossless code of the test
images' latents, header included, where latents are whole numbers; `participation_ratio` and
`dims_in_use`, numbers of directions; `level`, the noise (inf where the mean latent would do), and
`reconstruction_error`, that without noise, in squared [-1, 1] intensity units; `n_images`. The
models were trained on all images; one of each copy group counts here. Fails when a checkpoint is
damaged or does not fit the dataset, or when a decoded stream is not what was coded.
"""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.func import jvp, vmap

from medae.base.errors import InputError
from medae.base.files import write_table
from medae.data.packed import PackedDataset, read_packed
from medae.duplicates.audit import read_audit
from medae.models.checkpoints import load_checkpoint
from medae.models.networks import normalise
from medae.models.scoring import batch_size_on
from medae.models.torch_setup import (
    allow_tf32,
    is_out_of_memory,
    make_deterministic,
    select_device,
    smaller_batch,
)
from medae.theory.coding import decode_latents, encode_latents, symbol_numbers, symbol_tables
from medae.theory.entropy import (
    IN_USE_BITS,
    Channel,
    direction_bits,
    first_of_groups,
    gaussian_bits,
    knn_bits,
    level_for_rise,
    level_grid,
    participation_ratio,
)
from medae.theory.plan import ENTROPY_COLUMNS

logger = logging.getLogger(__name__)

SEED = 0  # of the noise and of the choice of images for the metric
LEVELS = 24  # of noise, at which the error is measured
# With 2.4 images per dimension both estimates of H(Z) are 7 % low, with fewer they collapse.
IMAGES_PER_DIMENSION = 2


class Network:
    """A trained model in evaluation mode, which is left as it is, as functions of arrays."""

    def __init__(self, model: nn.Module, *, device: torch.device, batch_size: int):
        self.model, self.device, self.batch_size = model, device, batch_size

    def images(self, images: np.ndarray) -> Tensor:
        """Return uint8 images as the model takes them."""
        return normalise(torch.from_numpy(images).to(self.device))

    def encode(self, images: np.ndarray) -> np.ndarray:
        """Return latents n × d of uint8 images."""
        return self.batched(lambda rows: self.model.encode(self.images(images[rows])), len(images))

    def mean_error(self, latents: np.ndarray, images: np.ndarray) -> float:
        """Return the mean squared error of what is decoded from `latents`."""

        def errors(rows: slice) -> Tensor:
            z = torch.from_numpy(latents[rows].astype(np.float32)).to(self.device)
            difference = self.model.decode(z) - self.images(images[rows])
            return difference.square().flatten(1).mean(dim=1)

        return float(self.batched(errors, len(images)).mean(dtype=np.float64))

    def mean_rate(self, images: np.ndarray) -> float:
        """Return the mean code length of uint8 images by the method's prior, bits per image."""
        found = self.batched(lambda rows: self.model.rate(self.images(images[rows])), len(images))
        return float(found.mean(dtype=np.float64))

    def decoder_metric(self, latents: np.ndarray) -> np.ndarray:
        """Return the mean over latents n × d of JᵀJ / P, J the decoder's Jacobian, float64 d × d.

        P is the number of output values. J is exact, by forward differentiation along each latent,
        a batch of directions at a time; one image's Jacobian is in memory at once.
        """
        d = latents.shape[1]
        directions = torch.eye(d, dtype=torch.from_numpy(latents).dtype, device=self.device)
        metric = np.zeros((d, d))
        for latent in torch.from_numpy(latents).to(self.device):

            def columns(rows: slice, latent: Tensor = latent) -> Tensor:
                def along(direction: Tensor) -> Tensor:
                    return jvp(self.model.decode, (latent[None],), (direction[None],))[1].flatten()

                return vmap(along)(directions[rows])

            jacobian = self.batched(columns, d).astype(np.float64)
            metric += jacobian @ jacobian.T / jacobian.shape[1]
        return metric / len(latents)

    @torch.no_grad()
    def batched(self, compute: Callable[[slice], Tensor], count: int) -> np.ndarray:
        """Return what `compute` gives for the rows 0 to `count`, batch by batch.

        Batches stay smaller once memory ran out; InputError when a single row is too much.
        """
        found: list[np.ndarray] = []
        start = 0
        while start < count:
            rows = slice(start, min(start + self.batch_size, count))
            try:
                part = compute(rows).cpu().numpy()
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                part = None
            if part is None:  # outside the handler, which keeps what the failed batch allocated
                self.batch_size = smaller_batch(self.batch_size, least=1, what="Measuring entropy")
                continue
            found.append(part)
            start = rows.stop
        return np.concatenate(found)


def measure_entropy(
    *,
    packed: Path,
    audit: Path,
    checkpoints: Sequence[Path],
    dataset: str,
    method: str,
    latent_dim: int,
    seeds: Sequence[int],
    device: str,
    torch_threads: int,
    batch_size: int | None,
    metric_images: int,
    rise: float,
    table: Path,
) -> None:
    """Write the table; `checkpoints` are in the order of `seeds`.

    `metric_images` is the number of training images at which the decoder's Jacobian is taken, and
    `rise` the share by which noise on the latent may raise the reconstruction error: it sets the
    precision at which the entropy is measured.
    """
    make_deterministic(torch_threads)
    chosen = select_device(device)
    data = read_packed(packed)
    images = data.train_images[first_of_groups(read_audit(audit, data))]
    logger.info("%d of %d training images are no duplicates", len(images), len(data.train_ids))
    rows = []
    for seed, checkpoint in zip(seeds, checkpoints, strict=True):
        model, description = load_checkpoint(checkpoint, chosen, data)
        allow_tf32(description["training"]["precision"])
        network = Network(model, device=chosen, batch_size=batch_size or batch_size_on(chosen))
        found = entropy_of(network, images, metric_images=metric_images, rise=rise)
        if hasattr(model, "rate"):
            found["rate_bits"] = network.mean_rate(images)
            if data.test_ids:
                found["rate_test_bits"] = network.mean_rate(data.test_images)
        if hasattr(model, "bits") and data.test_ids:
            found["stream_bits"] = stream_bits(network, data, what=checkpoint)
        logger.info("seed %d: %s", seed, found)
        rows += [(dataset, method, latent_dim, seed, *item) for item in found.items()]
    write_table(pd.DataFrame(rows, columns=ENTROPY_COLUMNS), table)


def entropy_of(
    network: Network, images: np.ndarray, *, metric_images: int, rise: float
) -> dict[str, float]:
    """Return the quantities that need no prior, on training images (uint8, n × C × H × W)."""
    latents = network.encode(images)
    n, d = latents.shape
    random = np.random.default_rng(SEED)
    chosen = np.sort(random.permutation(n)[:metric_images])
    channel = Channel.fit(latents, network.decoder_metric(latents[chosen]))
    gains = channel.gains
    noise = random.standard_normal((n, len(gains)))  # the same at all levels
    error = network.mean_error(latents, images)
    levels = level_grid(gains, error=error, count=LEVELS)
    received = (channel.transmit(latents, level=level, noise=noise) for level in levels)
    errors = np.array([network.mean_error(z, images) for z in received])
    level = level_for_rise(levels, errors, error=error, rise=rise)
    found = {"gaussian_bits": float("nan"), "knn_bits": float("nan")}
    if n >= IMAGES_PER_DIMENSION * d:
        found["gaussian_bits"] = gaussian_bits(gains, level)
        found["knn_bits"] = knn_bits(channel, latents, level=level)
    return found | {
        "participation_ratio": participation_ratio(gains),
        "dims_in_use": np.count_nonzero(direction_bits(gains, level) >= IN_USE_BITS),
        "level": level,
        "reconstruction_error": error,
        "n_images": n,
    }


def stream_bits(network: Network, data: PackedDataset, *, what: Path) -> float:
    """Return the length of the test latents' code, in bits per image, after decoding it again.

    All latents are one stream, decoded from the stream and the prior alone; `what` names the
    checkpoint in errors.
    """
    latents = network.encode(data.test_images).astype(np.int64)
    numbers = torch.from_numpy(symbol_numbers()).to(network.device, torch.float32)
    with torch.inference_mode():
        bits = network.model.bits(numbers[:, None].expand(-1, latents.shape[1])).cpu().numpy()
    tables = symbol_tables(np.exp2(-bits.astype(np.float64)))
    stream = encode_latents(latents, tables)
    if not np.array_equal(decode_latents(stream, tables), latents):
        raise InputError(
            f"The latents that {what} gives for the test images are not those that come back from "
            "their code, so its length means nothing. Run the workflow again on the CPU."
        )
    return 8 * len(stream) / len(latents)


if __name__ == "__main__":
    from medae.base.scripts import run_script

    run_script(measure_entropy, snakemake)
