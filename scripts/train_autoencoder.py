"""Train a method with one latent dimension on a dataset's normal images, all seeds in one job.

Inputs: the packed dataset; the modules whose text is part of the settings. Outputs: per seed a
checkpoint and the history of its loss. Beside a checkpoint, `resume.safetensors` holds the state
of an unfinished training until all seeds are done.
Fails when the loss is not finite, when the device is not there, or on a damaged packed dataset.
"""

import hashlib
import platform
from pathlib import Path

import torch

import medae
from medae import methods
from medae.checkpoints import save_checkpoint
from medae.files import write_table
from medae.hardware import processor_name
from medae.packed import read_packed
from medae.torch_setup import make_deterministic, seed_everything, select_device
from medae.training import train


def train_autoencoder(
    *,
    packed: Path,
    modules: list[Path],
    dataset: str,
    method: str,
    latent_dim: int,
    options: dict,
    seeds: list[int],
    epochs: int,
    training: dict,
    checkpoints: list[Path],
    histories: list[Path],
) -> None:
    """Train and write one checkpoint and one history per seed, in the order of `seeds`."""
    device = select_device(training["device"])
    make_deterministic(training["torch_threads"])
    data = read_packed(packed)
    images = torch.from_numpy(data.train_images).to(device)
    arguments = {
        "image_size": images.shape[-1],
        "channels": images.shape[1],
        "latent_dim": latent_dim,
        **options,
    }
    code = hashlib.sha256(b"".join(Path(module).read_bytes() for module in sorted(modules)))
    description = {
        "method": method,
        "arguments": arguments,
        "dataset": dataset,
        "dataset_sha256": data.attributes["source_sha256"],
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
        seed_everything(seed)
        model = methods.build(method, **arguments)
        model = model.to(device, memory_format=torch.channels_last)
        settings = description | {"seed": seed}
        losses = train(
            model,
            images,
            epochs=epochs,
            batch_size=training["batch_size"],
            learning_rate=training["learning_rate"],
            seed=seed,
            settings=settings,
            state=state,
            label=f"{dataset} {method} d={latent_dim} seed={seed}",
        )
        write_table(losses, history)
        save_checkpoint(checkpoint, model, settings)
    for state in states:
        state.unlink(missing_ok=True)


if __name__ == "__main__":
    from medae.logs import script_logging

    with script_logging(snakemake.log[0]):
        train_autoencoder(
            packed=Path(snakemake.input.packed),
            modules=[Path(path) for path in snakemake.input.modules],
            dataset=snakemake.wildcards.dataset,
            method=snakemake.wildcards.method,
            latent_dim=int(snakemake.wildcards.latent_dim),
            options=snakemake.params.options,
            seeds=snakemake.params.seeds,
            epochs=snakemake.params.epochs,
            training=snakemake.params.training,
            checkpoints=[Path(path) for path in snakemake.output.checkpoints],
            histories=[Path(path) for path in snakemake.output.histories],
        )
