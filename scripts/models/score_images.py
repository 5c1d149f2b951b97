"""Score the images of a dataset with the trained models of one setting, all seeds in one job.

Per seed: `scores.tsv` (split, id, label, score, reconstruction_error), `latents.h5` (train and
test, N × d) and `maps.h5` (anomaly maps and reconstructions of the test images). When the device's
memory doesn't suffice, batches get smaller, which changes no score beyond rounding.
Fails when a checkpoint is damaged or does not fit the dataset.
"""

from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
import torch

from medae.base.errors import InputError
from medae.base.files import atomic_path, write_table
from medae.base.hdf5 import new_hdf5
from medae.data.packed import PackedDataset, read_packed
from medae.models.checkpoints import load_checkpoint
from medae.models.score_files import score_table
from medae.models.scoring import score_batches
from medae.models.torch_setup import make_deterministic, select_device

TEXT = h5py.string_dtype()


def score_images(
    *,
    packed: Path,
    checkpoints: Sequence[Path],
    device: str,
    torch_threads: int,
    batch_size: int,
    scores: Sequence[Path],
    latents: Sequence[Path],
    maps: Sequence[Path],
) -> None:
    """Score the images with the model of each checkpoint; the files are in their order."""
    chosen = select_device(device)
    make_deterministic(torch_threads)
    data = read_packed(packed)
    for files in zip(checkpoints, scores, latents, maps, strict=True):
        checkpoint, table, latents_file, maps_file = files
        score_model(
            data=data,
            checkpoint=checkpoint,
            device=chosen,
            batch_size=batch_size,
            table=table,
            latents=latents_file,
            maps=maps_file,
        )


def score_model(
    *,
    data: PackedDataset,
    checkpoint: Path,
    device: torch.device,
    batch_size: int,
    table: Path,
    latents: Path,
    maps: Path,
) -> None:
    """Score train and test images with one model and write its three files."""
    model, description = load_checkpoint(checkpoint, device)
    if description["dataset_sha256"] != data.attributes["source_sha256"]:
        raise InputError(
            f"{checkpoint} was trained on other images than those of the packed dataset "
            f"'{data.attributes['dataset']}'. Delete the checkpoint and run the workflow again."
        )
    splits = {
        "train": (data.train_images, data.train_ids),
        "test": (data.test_images, data.test_ids),
    }
    scores, errors = [], []
    with (
        atomic_path(latents) as latents_path,
        atomic_path(maps) as maps_path,
        new_hdf5(latents_path) as latents_file,
        new_hdf5(maps_path) as maps_file,
    ):
        shape = data.test_images.shape
        all_maps = maps_file.create_dataset("maps", (shape[0], *shape[2:]), "f4")
        all_reconstructions = maps_file.create_dataset("reconstructions", shape, "f4")
        maps_file.create_dataset("ids", data=data.test_ids, dtype=TEXT)
        for split, (images, ids) in splits.items():
            z = []
            for batch in score_batches(model, images, batch_size=batch_size, device=device):
                z.append(batch.latents)
                scores.append(batch.scores)
                errors.append(batch.errors)
                if split == "test":
                    all_maps[batch.rows] = batch.maps
                    all_reconstructions[batch.rows] = batch.reconstructions
            z = np.concatenate(z)
            all_latents = latents_file.create_dataset(split, z.shape, "f4")
            latents_file.create_dataset(f"{split}_ids", data=ids, dtype=TEXT)
            all_latents[:] = z
    write_table(
        score_table(data, scores=np.concatenate(scores), errors=np.concatenate(errors)), table
    )


if __name__ == "__main__":
    from medae.base.scripts import run_script

    run_script(score_images, snakemake)
