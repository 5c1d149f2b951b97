"""Score the images of a dataset with the trained models of one setting, all seeds in one job.

Per seed: `scores.tsv` (split, id, label, score, reconstruction_error), `latents.h5` (train and
test, N × d) and `maps.h5` (anomaly maps and reconstructions of the test images). When the device's
memory doesn't suffice, batches get smaller, which changes no score beyond rounding. Where training
images are held out, `decision.tsv` beside the checkpoint has a threshold of each score.
Fails when a checkpoint is damaged or does not fit the dataset.
"""

from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from medae.base.files import atomic_path, write_table
from medae.base.hdf5 import new_hdf5
from medae.data.packed import as_floats, read_packed
from medae.duplicates.held_out import check_enough, read_held_out
from medae.duplicates.training_sets import read_training_rows
from medae.models.checkpoints import load_checkpoint
from medae.models.decision import decide
from medae.models.information import PLAIN_SCORE, noise_floor, score_reconstructions
from medae.models.score_files import score_table
from medae.models.scoring import score_batches
from medae.models.torch_setup import allow_tf32, make_deterministic, select_device

TEXT = h5py.string_dtype()


def score_images(
    *,
    packed: Path,
    checkpoints: Sequence[Path],
    device: str,
    torch_threads: int,
    batch_size: int | None,
    scores: Sequence[Path],
    latents: Sequence[Path],
    maps: Sequence[Path],
    training_rows: Path | None = None,
    score_names: Sequence[str] = (),
    false_positive_rate: float = 0,
    decisions: Sequence[Path] = (),
) -> None:
    """Score the images with the model of each checkpoint; the files are in their order.

    `training_rows` is the table of the training set; `decisions`, if any, take the thresholds at
    `false_positive_rate` of the model's own score and of those of `score_names`.
    """
    chosen = select_device(device)
    make_deterministic(torch_threads)
    data = read_packed(packed)
    splits = {
        "train": (data.train_images, data.train_ids),
        "test": (data.test_images, data.test_ids),
    }
    n_test, _, *size = data.test_images.shape
    for number, files in enumerate(zip(checkpoints, scores, latents, maps, strict=True)):
        checkpoint, table, latents_path, maps_path = files
        model, description = load_checkpoint(checkpoint, chosen, data)
        allow_tf32(description["training"]["precision"])
        found = []
        with (
            atomic_path(latents_path) as latents_temporary,
            atomic_path(maps_path) as maps_temporary,
            new_hdf5(latents_temporary) as latents_file,
            new_hdf5(maps_temporary) as maps_file,
        ):
            maps_file.create_dataset("maps", (n_test, *size), "f4")
            maps_file.create_dataset("reconstructions", data.test_images.shape, "f4")
            maps_file.create_dataset("ids", data=data.test_ids, dtype=TEXT)
            for split, (images, ids) in splits.items():
                if not ids:  # a dataset may be meant to have no test images
                    continue
                z = []
                for batch in score_batches(model, images, batch_size=batch_size, device=chosen):
                    z.append(batch.latents)
                    found.append((batch.scores, batch.errors))
                    if split == "test":
                        maps_file["maps"][batch.rows] = batch.maps
                        maps_file["reconstructions"][batch.rows] = batch.reconstructions
                latents_file[split] = np.concatenate(z)
                latents_file.create_dataset(f"{split}_ids", data=ids, dtype=TEXT)
        values, errors = map(np.concatenate, zip(*found, strict=True))
        scored = score_table(data, scores=values, errors=errors)
        write_table(scored, table)
        if decisions:
            seed, training_set = description["seed"], description["training_set"]
            used = read_training_rows(training_rows, data, training_set=training_set, seed=seed)
            held, groups = read_held_out(training_rows)
            check_enough(len(groups), len(held), rate=false_positive_rate)
            own = scored[: len(used)]
            floor = noise_floor(own[used], what=str(table))
            of_held_out = {PLAIN_SCORE: own.loc[held, "score"].to_numpy()}
            if score_names:
                images = data.train_images[held]
                parts = score_batches(model, images, batch_size=batch_size, device=chosen)
                about = {"images": as_floats(images), "floor": floor}
                about["reconstructions"] = np.concatenate([part.reconstructions for part in parts])
                of_held_out |= {
                    name: score_reconstructions(name, **about)[0] for name in score_names
                }
            options = {"rate": false_positive_rate, "floor": floor}
            rows = [decide(name, one, groups, **options) for name, one in of_held_out.items()]
            write_table(pd.DataFrame(rows), decisions[number])


if __name__ == "__main__":
    from medae.base.scripts import run_script

    run_script(score_images, snakemake)
