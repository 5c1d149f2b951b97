"""Measure the entropy of the latent vectors of one setting, one block of rows per seed.

Input: a probe.h5 per seed. Parameter `rise`: the share by which the reconstruction error may rise
through noise on the latent; it sets the precision at which the entropy is measured (medae.theory.entropy).
Output: a table with the columns ENTROPY_COLUMNS of medae.theory.probe_files and these quantities:
gaussian_bits and knn_bits, bits per image by the two estimates; rate_bits and rate_test_bits, mean
bits per training and test image by the method's own prior, if it has one; effective_rank,
participation_ratio and dims_in_use, numbers of directions; twonn and mle, intrinsic dimensions of
the latents in units of the output; level, the noise (inf where the mean latent would do), and
reconstruction_error, that without noise, in squared [-1, 1] intensity units; n_images.
A value is empty where it cannot be measured, see `measure_probe`; H(Z) with too few images for d.
Fails when a probe is damaged or is of another latent dimension.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from medae.base.files import write_table
from medae.theory.entropy import (
    IN_USE_BITS,
    Channel,
    direction_bits,
    effective_rank,
    gaussian_bits,
    knn_bits,
    level_for_rise,
    participation_ratio,
)
from medae.theory.intrinsic_dimension import intrinsic_dimensions
from medae.theory.probe_files import ENTROPY_COLUMNS, Probe, read_probe

logger = logging.getLogger(__name__)

# With 2.4 images per dimension both estimates of H(Z) are 7 % low, with fewer they collapse.
IMAGES_PER_DIMENSION = 2


def measure_entropy(
    *,
    probes: Sequence[Path],
    dataset: str,
    method: str,
    latent_dim: int,
    seeds: Sequence[int],
    rise: float,
    output: Path,
) -> None:
    """Write the table; `probes` are in the order of `seeds`."""
    rows = []
    for seed, path in zip(seeds, probes, strict=True):
        found = measure_probe(read_probe(path, latent_dim=latent_dim), rise=rise)
        logger.info("seed %d: %s", seed, found)
        rows += [(dataset, method, latent_dim, seed, *item) for item in found.items()]
    write_table(pd.DataFrame(rows, columns=ENTROPY_COLUMNS), output)


def measure_probe(probe: Probe, *, rise: float) -> dict[str, float]:
    """Return all quantities of one model."""
    channel = Channel.fit(probe.latents, probe.metric)
    gains = channel.gains
    level = level_for_rise(probe.levels, probe.errors, error=probe.error, rise=rise)
    n, d = probe.latents.shape
    enough = n >= IMAGES_PER_DIMENSION * d
    found = {
        "gaussian_bits": gaussian_bits(gains, level) if enough else float("nan"),
        "knn_bits": knn_bits(channel, probe.latents, level=level) if enough else float("nan"),
    }
    for name, rate in (("rate_bits", probe.rate_train), ("rate_test_bits", probe.rate_test)):
        if rate is not None:
            found[name] = float(rate.mean())
    return found | {
        "effective_rank": effective_rank(gains),
        "participation_ratio": participation_ratio(gains),
        "dims_in_use": np.count_nonzero(direction_bits(gains, level) >= IN_USE_BITS),
        **intrinsic_dimensions(channel.coordinates(probe.latents)),
        "level": level,
        "reconstruction_error": probe.error,
        "n_images": len(probe.latents),
    }


if __name__ == "__main__":
    from medae.base.logs import script_logging

    with script_logging(snakemake.log[0]):
        measure_entropy(
            probes=[Path(path) for path in snakemake.input.probes],
            dataset=snakemake.wildcards.dataset,
            method=snakemake.wildcards.method,
            latent_dim=int(snakemake.wildcards.latent_dim),
            seeds=list(snakemake.params.seeds),
            rise=snakemake.params.rise,
            output=Path(snakemake.output.table),
        )
