"""Train a method with one latent dimension on a dataset's normal images, one seed after the other.

Beside a checkpoint, `resume.safetensors` holds the state of its training until all seeds are done:
Snakemake deletes the outputs of a job that fails, and the next one rebuilds them from the states.
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
from medae.models.checkpoints import save_checkpoint
from medae.models.networks import set_precision
from medae.models.signals import stop_requests
from medae.models.torch_setup import make_deterministic, seed_everything, select_device, to_device
from medae.models.training import train_within_memory


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
    stop: Callable[[], str | None],
) -> None:
    """Train and write one checkpoint and one history per seed, in the order of `seeds`.

    `module` is a file of medae/models/methods and `method` what the grid calls it with these
    `options`. The text of `modules` is part of the settings; `training_rows` is the table of the
    training set, None for all images.
    """
    device = select_device(training["device"])
    make_deterministic(training["torch_threads"])
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
        "training": training,
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
        set_precision(model, getattr(torch, training["precision"]))
        return model.to(device, memory_format=torch.channels_last)

    states = [path.with_name("resume.safetensors") for path in checkpoints]
    for seed, *files in zip(seeds, states, checkpoints, histories, strict=True):
        state, checkpoint, history = files
        used = read_training_rows(training_rows, data, training_set=training_set, seed=seed)
        rows = torch.from_numpy(used.nonzero()[0])
        digest = hashlib.sha256(rows.numpy().tobytes()).hexdigest()
        settings = description | {"seed": seed, "n_train": len(rows), "rows_sha256": digest}
        model, table, batch_size = train_within_memory(
            partial(build, seed),
            images,
            rows,
            seed=seed,
            epochs=epochs,
            batch_size=training["batch_size"],
            learning_rate=training["learning_rate"],
            settings=settings,
            state=state,
            unusable_state=unusable_state,
            cuda_graphs=cuda_graphs,
            label=f"{dataset} {training_set} {method} d={latent_dim} seed={seed}",
            stop=stop,
        )
        write_table(table, history)
        save_checkpoint(checkpoint, model, settings | {"batch_size_used": batch_size})
    for state in states:
        state.unlink(missing_ok=True)


if __name__ == "__main__":
    from medae.base.scripts import run_script

    # The keys that are not among the params: another value would train every model again.
    recorded = {"epochs", *snakemake.params.training}
    config = snakemake.config["training"].items()
    unrecorded = {key: value for key, value in config if key not in recorded}
    with stop_requests() as stop:
        run_script(train_autoencoder, snakemake, stop=stop, **unrecorded)
