"""Train a method with one latent dimension on a dataset's normal images, all seeds in one job.

Inputs: the packed dataset; the table of the training set, unless it is `all`; the modules whose
text is part of the settings. Outputs: per seed a checkpoint and the history of its loss. Beside a
checkpoint, `resume.safetensors` holds the state of an unfinished training until all seeds are done.
On SIGTERM, SIGUSR1 or Ctrl-C the state is saved after the epoch, and the job fails; the next one
goes on from it.
Fails when the loss is not finite, when the device is not there, on a damaged packed dataset, and,
where so configured, on a state that cannot be used.
"""

import hashlib
import platform
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

import medae
from medae import methods
from medae.checkpoints import save_checkpoint
from medae.files import write_table
from medae.hardware import processor_name
from medae.networks import set_precision
from medae.packed import read_packed
from medae.signals import stop_requests
from medae.torch_setup import make_deterministic, seed_everything, select_device, to_device
from medae.training import train_within_memory
from medae.training_sets import read_training_rows


def train_autoencoder(
    *,
    packed: Path,
    training_rows: Path | None,
    modules: list[Path],
    dataset: str,
    training_set: str,
    method: str,
    name: str,
    latent_dim: int,
    options: dict,
    seeds: list[int],
    epochs: int,
    training: dict,
    unusable_state: str,
    checkpoints: list[Path],
    histories: list[Path],
    stop: Callable[[], str | None],
) -> None:
    """Train and write one checkpoint and one history per seed, in the order of `seeds`.

    `method` is a module of medae/methods and `name` what the grid calls it with these `options`.
    """
    device = select_device(training["device"])
    make_deterministic(training["torch_threads"])
    data = read_packed(packed)
    arguments = {
        "image_size": data.train_images.shape[-1],
        "channels": data.train_images.shape[1],
        "latent_dim": latent_dim,
        **options,
    }
    code = hashlib.sha256(b"".join(Path(module).read_bytes() for module in sorted(modules)))
    description = {
        "method": method,
        "arguments": arguments,
        "dataset": dataset,
        "dataset_sha256": data.attributes["source_sha256"],
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
    states = [path.with_name("resume.safetensors") for path in checkpoints]
    for seed, checkpoint, history, state in zip(seeds, checkpoints, histories, states, strict=True):
        rows = read_training_rows(training_rows, data, training_set=training_set, seed=seed)
        images = to_device(data.train_images[rows], device)
        used = hashlib.sha256(rows.tobytes()).hexdigest()
        settings = description | {"seed": seed, "n_train": len(images), "rows_sha256": used}

        def build(seed: int = seed) -> nn.Module:
            seed_everything(seed)
            model = methods.build(method, **arguments)
            set_precision(model, getattr(torch, training["precision"]))
            return model.to(device, memory_format=torch.channels_last)

        model, losses, batch_size = train_within_memory(
            build,
            images,
            epochs=epochs,
            batch_size=training["batch_size"],
            learning_rate=training["learning_rate"],
            seed=seed,
            settings=settings,
            state=state,
            unusable_state=unusable_state,
            label=f"{dataset} {training_set} {name} d={latent_dim} seed={seed}",
            stop=stop,
        )
        write_table(losses, history)
        save_checkpoint(checkpoint, model, settings | {"batch_size_used": batch_size})
    for state in states:
        state.unlink(missing_ok=True)


if __name__ == "__main__":
    from medae.logs import script_logging

    with script_logging(snakemake.log[0]), stop_requests() as stop:
        train_autoencoder(
            packed=Path(snakemake.input.packed),
            training_rows=Path(path) if (path := snakemake.input.training_rows) else None,
            modules=[Path(path) for path in snakemake.input.modules],
            dataset=snakemake.wildcards.dataset,
            training_set=snakemake.wildcards.training_set,
            method=snakemake.params.method,
            name=snakemake.wildcards.method,
            latent_dim=int(snakemake.wildcards.latent_dim),
            options=snakemake.params.options,
            seeds=snakemake.params.seeds,
            epochs=snakemake.params.epochs,
            training=snakemake.params.training,
            # Not among the params: another value there would train every model anew.
            unusable_state=snakemake.config["training"]["unusable_state"],
            checkpoints=[Path(path) for path in snakemake.output.checkpoints],
            histories=[Path(path) for path in snakemake.output.histories],
            stop=stop,
        )
