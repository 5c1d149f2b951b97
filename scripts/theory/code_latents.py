"""Code the latents of all test images losslessly, to check the rate of a method with a prior.

Inputs: the packed dataset and one checkpoint per seed, of a method whose latents are whole numbers
with a prior (`bits`). None of the test images was trained on. All their latents are coded as one
stream, decoded from the stream and the prior alone, and compared.
Output: a table with a row per seed and quantity: `stream_bits`, the stream's length in bits per
image, header included; `rate_test_bits`, the mean rate of the same images, which the length should
come close to; `symbols_outside`, how many of all numbers the prior's table had not.
Fails when the decoded latents differ, when a checkpoint is damaged or does not fit the dataset, or
when its method has no such prior.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from medae.base.errors import InputError
from medae.base.files import write_table
from medae.data.packed import PackedDataset, read_packed
from medae.models.checkpoints import load_checkpoint
from medae.models.scoring import score_batches
from medae.models.torch_setup import make_deterministic, select_device
from medae.theory.coding import (
    SymbolTable,
    decode_latents,
    encode_latents,
    symbol_numbers,
    symbol_tables,
)
from medae.theory.probe_files import ENTROPY_COLUMNS

logger = logging.getLogger(__name__)


def code_latents(
    *,
    packed: Path,
    checkpoints: Sequence[Path],
    device: torch.device,
    batch_size: int,
    dataset: str,
    method: str,
    latent_dim: int,
    seeds: Sequence[int],
    output: Path,
) -> None:
    """Write the table of all `seeds`; `checkpoints` are in their order."""
    data = read_packed(packed)
    rows = []
    for seed, path in zip(seeds, checkpoints, strict=True):
        model, description = load_checkpoint(path, device)
        if description["dataset_sha256"] != data.attributes["source_sha256"]:
            raise InputError(
                f"{path} was trained on other images than those of the packed dataset "
                f"'{data.attributes['dataset']}'. Delete the checkpoint and run the workflow again."
            )
        if not hasattr(model, "bits"):
            raise InputError(
                f"The method '{description['method']}' of {path} has no prior of whole-number "
                "latents, so there is nothing to code them with. Code those of 'entropy_ae' only."
            )
        found = measure_stream(model, data=data, batch_size=batch_size, device=device, what=path)
        logger.info("seed %d: %s", seed, found)
        rows += [(dataset, method, latent_dim, seed, *item) for item in found.items()]
    write_table(pd.DataFrame(rows, columns=ENTROPY_COLUMNS), output)


def measure_stream(
    model: nn.Module,
    *,
    data: PackedDataset,
    batch_size: int,
    device: torch.device,
    what: Path,
) -> dict[str, float]:
    """Return the quantities of one model, after coding and decoding the test images' latents."""
    found = score_batches(model, data.test_images, batch_size=batch_size, device=device)
    latents = np.concatenate([batch.latents for batch in found])
    with torch.inference_mode():
        rate = model.bits(torch.from_numpy(latents).to(device)).double().sum().item()
    latents = latents.astype(np.int64)
    stream, outside = encode_latents(latents, prior_tables(model, latents.shape[1], device=device))
    decoded = decode_latents(stream, prior_tables(model, latents.shape[1], device=device))
    if not np.array_equal(decoded, latents):
        raise InputError(
            f"The latents that {what} gives for the test images are not those that come back from "
            "their code, so its length means nothing. Run the workflow again on the CPU."
        )
    return {
        "stream_bits": 8 * len(stream) / len(latents),
        "rate_test_bits": rate / len(latents),
        "symbols_outside": float(outside),
    }


def prior_tables(model: nn.Module, latent_dim: int, *, device: torch.device) -> list[SymbolTable]:
    """Return the coder's tables of the model's prior, one per latent dimension."""
    numbers = torch.from_numpy(symbol_numbers()).to(device, torch.float32)
    with torch.inference_mode():
        bits = model.bits(numbers[:, None].expand(-1, latent_dim))
    return symbol_tables(np.exp2(-bits.cpu().numpy().astype(np.float64)))


if __name__ == "__main__":
    from medae.base.logs import script_logging

    with script_logging(snakemake.log[0]):
        chosen = select_device(snakemake.params.device)
        make_deterministic(snakemake.params.torch_threads)
        code_latents(
            packed=Path(snakemake.input.packed),
            checkpoints=[Path(path) for path in snakemake.input.checkpoints],
            device=chosen,
            batch_size=snakemake.params.batch_size,
            dataset=snakemake.wildcards.dataset,
            method=snakemake.wildcards.method,
            latent_dim=int(snakemake.wildcards.latent_dim),
            seeds=list(snakemake.params.seeds),
            output=Path(snakemake.output.table),
        )
