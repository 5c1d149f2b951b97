"""Score the images of a dataset with the trained models of one setting, all seeds in one job.

Inputs: the packed dataset and one checkpoint per seed. Outputs per seed: `scores.tsv` (split, id,
label, score, reconstruction_error), `latents.h5` (train and test, N × d) and `maps.h5` (anomaly
maps and reconstructions of the test images).
Fails when a checkpoint is damaged or does not fit the dataset.
"""

from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import torch

from medae.checkpoints import load_checkpoint
from medae.errors import InputError
from medae.files import atomic_path, write_table
from medae.packed import PackedDataset, read_packed
from medae.scoring import score_batches
from medae.torch_setup import make_deterministic, select_device

TEXT = h5py.string_dtype()


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
        "train": (data.train_images, data.train_ids, 0),
        "test": (data.test_images, data.test_ids, data.test_labels),
    }
    frames = []
    with (
        atomic_path(latents) as latents_path,
        atomic_path(maps) as maps_path,
        h5py.File(latents_path, "w") as latents_file,
        h5py.File(maps_path, "w") as maps_file,
    ):
        shape = data.test_images.shape
        all_maps = maps_file.create_dataset("maps", (shape[0], *shape[2:]), "f4")
        all_reconstructions = maps_file.create_dataset("reconstructions", shape, "f4")
        maps_file.create_dataset("ids", data=data.test_ids, dtype=TEXT)
        for split, (images, ids, labels) in splits.items():
            scores = np.empty(len(images))
            z_shape = (len(images), description["arguments"]["latent_dim"])
            z = latents_file.create_dataset(split, z_shape, "f4")
            latents_file.create_dataset(f"{split}_ids", data=ids, dtype=TEXT)
            for batch in score_batches(model, images, batch_size=batch_size, device=device):
                z[batch.rows] = batch.latents
                scores[batch.rows] = batch.scores
                if split == "test":
                    all_maps[batch.rows] = batch.maps
                    all_reconstructions[batch.rows] = batch.reconstructions
            frame = {"split": split, "id": ids, "label": labels, "score": scores}
            frames.append(pd.DataFrame(frame).assign(reconstruction_error=scores))
    write_table(pd.concat(frames), table)


if __name__ == "__main__":
    from medae.logs import script_logging

    with script_logging(snakemake.log[0]):
        chosen = select_device(snakemake.params.device)
        make_deterministic(snakemake.params.torch_threads)
        packed = read_packed(Path(snakemake.input.packed))
        outputs = snakemake.output
        per_seed = zip(
            snakemake.input.checkpoints, outputs.scores, outputs.latents, outputs.maps, strict=True
        )
        for checkpoint, scores, latents, maps in per_seed:
            score_model(
                data=packed,
                checkpoint=Path(checkpoint),
                device=chosen,
                batch_size=snakemake.params.batch_size,
                table=Path(scores),
                latents=Path(latents),
                maps=Path(maps),
            )
