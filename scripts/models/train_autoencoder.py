"""Train a method with one latent dimension on a dataset's normal images, all seeds in one job.

Beside a checkpoint, `resume.safetensors` holds the state of its training, and stays: Snakemake
deletes the outputs before a job and of one that fails, so with more seeds, or after a failure,
those that are done are rebuilt from their states.
On SIGTERM, SIGUSR1 or Ctrl-C the state is saved after the epoch, and the job fails.
Fails when the loss is not finite, when the device is not there, on a damaged packed dataset, and,
where so configured, on a state that cannot be used.
"""

import hashlib
import json
import platform
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import nn

import medae
from medae.base.files import write_table
from medae.base.hardware import processor_name
from medae.data.packed import read_packed
from medae.duplicates.training_sets import read_training_rows
from medae.models import methods
from medae.models.checkpoints import save_checkpoint, save_tensors
from medae.models.networks import set_precision
from medae.models.signals import stop_requests
from medae.models.torch_setup import (
    allow_tf32,
    make_deterministic,
    resolve_precision,
    seed_everything,
    select_device,
    to_device,
)
from medae.models.training import Training, train


def train_autoencoder(
    *,
    packed: Path,
    training_rows: Path | None,
    modules: list[Path],
    dataset: str,
    training_set: str,
    method: str,
    module: str,
    latent_dim: int,
    options: dict,
    seeds: list[int],
    epochs: int,
    training: dict,
    unusable_state: str,
    cuda_graphs: bool,
    checkpoints: list[Path],
    histories: list[Path],
    snapshots: list[Path],
    stop: Callable[[], str | None],
) -> None:
    """Train and write one checkpoint and one history per seed, in the order of `seeds`.

    `snapshots`, if any, take the weights after the epochs `training["snapshots"]`.

    `module` is a file of medae/models/methods and `method` what the grid calls it with these
    `options`. The text of `modules` is part of the settings; `training_rows` is the table of the
    training set, None for all images.
    """
    device = select_device(training["device"])
    make_deterministic(training["torch_threads"])
    precision = resolve_precision(training["precision"], device)
    allow_tf32(precision)
    data = read_packed(packed)
    arguments = {
        "image_size": data.train_images.shape[-1],
        "channels": data.train_images.shape[1],
        "latent_dim": latent_dim,
        **methods.METHODS[module].defaults,
        **options,
    }
    code = hashlib.sha256(b"".join(Path(path).read_bytes() for path in sorted(modules)))
    description = {
        "method": module,
        "arguments": arguments,
        "dataset": dataset,
        "dataset_sha256": data.attributes["source_sha256"],
        "intensity_range": json.loads(data.attributes["intensity_range"]),
        "training_set": training_set,
        "epochs": epochs,
        "training": training | {"precision": precision},
        "device": device.type,
        "device_name": (
            torch.cuda.get_device_name(device) if device.type == "cuda" else processor_name()
        ),
        "versions": {
            "medae": medae.__version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
        "code_sha256": code.hexdigest(),
    }
    images = to_device(data.train_images, device)

    def build(seed: int) -> nn.Module:
        seed_everything(seed)
        model = methods.build(module, **arguments)
        set_precision(model, precision)
        return model.to(device, memory_format=torch.channels_last)

    trainings = []
    for seed, checkpoint in zip(seeds, checkpoints, strict=True):
        used = read_training_rows(training_rows, data, training_set=training_set, seed=seed)
        rows = torch.from_numpy(used.nonzero()[0])
        digest = hashlib.sha256(rows.numpy().tobytes()).hexdigest()
        trainings.append(
            Training(
                build=partial(build, seed),
                rows=rows,
                seed=seed,
                settings=description | {"seed": seed, "n_train": len(rows), "rows_sha256": digest},
                state=checkpoint.with_name("resume.safetensors"),
                label=f"{dataset} {training_set} {method} d={latent_dim} seed={seed}",
            )
        )
    found = train(
        trainings,
        images,
        epochs=epochs,
        batch_size=training["batch_size"],
        learning_rate=training["learning_rate"],
        snapshots=training["snapshots"],
        unusable_state=unusable_state,
        cuda_graphs=cuda_graphs,
        stop=stop,
    )
    for number, trained in enumerate(found):
        settings = trainings[number].settings | {"batch_size_used": trained.batch_size}
        write_table(trained.history, histories[number])
        save_checkpoint(checkpoints[number], trained.model, settings)
        if snapshots:
            weights = {
                f"{epoch}.{name}": value
                for epoch, tensors in trained.snapshots.items()
                for name, value in tensors.items()
            }
            save_tensors(snapshots[number], weights, settings)


if __name__ == "__main__":
    from medae.base.scripts import run_script

    # The keys that are not among the params: another value would train every model again.
    recorded = {"epochs", *snakemake.params.training}
    config = snakemake.config["training"].items()
    unrecorded = {key: value for key, value in config if key not in recorded}
    with stop_requests() as stop:
        run_script(train_autoencoder, snakemake, stop=stop, **unrecorded)
