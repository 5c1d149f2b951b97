"""Train a method with one latent dimension on a dataset's normal images, all seeds in one job.

Inputs: the packed dataset; the table of the training set, unless it is `all`; the modules whose
text is part of the settings. Outputs: per seed a checkpoint and the history of its loss. Beside a
checkpoint, `resume.safetensors` holds the state of an unfinished training until all seeds are done;
seeds that are trained together have one, beside the first.
On SIGTERM, SIGUSR1 or Ctrl-C the state is saved after the epoch, and the job fails; the next one
goes on from it.
Fails when the loss is not finite, when the device is not there, on a damaged packed dataset, and,
where so configured, on a state that cannot be used.
"""

import hashlib
import logging
import platform
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

import medae
from medae.base.files import write_table
from medae.base.hardware import processor_name
from medae.data.packed import read_packed
from medae.duplicates.training_sets import read_training_rows
from medae.models import methods
from medae.models.checkpoints import save_checkpoint
from medae.models.networks import set_precision
from medae.models.seed_groups import make_group
from medae.models.signals import stop_requests
from medae.models.torch_setup import make_deterministic, seed_everything, select_device, to_device
from medae.models.training import train_within_memory

log = logging.getLogger(__name__)


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
    cuda_graphs: bool,
    checkpoints: list[Path],
    histories: list[Path],
    stop: Callable[[], str | None],
) -> None:
    """Train and write one checkpoint and one history per seed, in the order of `seeds`.

    `method` is a module of medae/models/methods and `name` what the grid calls it with these `options`.
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
    images = to_device(data.train_images, device)
    used = [
        read_training_rows(training_rows, data, training_set=training_set, seed=seed).nonzero()[0]
        for seed in seeds
    ]
    members = [
        Member(seed, torch.from_numpy(rows), checkpoint, history)
        for seed, rows, checkpoint, history in zip(seeds, used, checkpoints, histories, strict=True)
    ]
    groups = split(members, together=training["seeds_together"])
    for group in groups:
        train_group(
            group,
            images,
            build=partial(methods.build, method, **arguments),
            precision=getattr(torch, training["precision"]),
            description=description,
            epochs=epochs,
            batch_size=training["batch_size"],
            learning_rate=training["learning_rate"],
            unusable_state=unusable_state,
            cuda_graphs=cuda_graphs,
            label=f"{dataset} {training_set} {name} d={latent_dim}",
            stop=stop,
        )
    for member in members:
        member.state.unlink(missing_ok=True)


@dataclass(frozen=True)
class Member:
    """The training of one seed."""

    seed: int
    rows: Tensor  # indices of its training images
    checkpoint: Path
    history: Path

    @property
    def state(self) -> Path:
        """The state of an unfinished training; a group's is that of its first member."""
        return self.checkpoint.with_name("resume.safetensors")

    @property
    def settings(self) -> dict:
        """What of the settings is its own."""
        digest = hashlib.sha256(self.rows.numpy().tobytes()).hexdigest()
        return {"seed": self.seed, "n_train": len(self.rows), "rows_sha256": digest}


def split(members: list[Member], *, together: bool) -> list[list[Member]]:
    """Return which members are trained as one: all, or each alone.

    Members with training sets of different sizes have other numbers of steps, so they stay alone.
    """
    if together and len({len(member.rows) for member in members}) == 1:
        return [members]
    if together:
        log.info("The training sets of the seeds differ in size, so each seed is trained alone.")
    return [[member] for member in members]


def train_group(
    members: list[Member],
    images: Tensor,
    *,
    build: Callable[[], nn.Module],
    precision: torch.dtype,
    description: dict,
    batch_size: int,
    label: str,
    **options,
) -> None:
    """Train the models of `members` as one, and write their checkpoints and histories.

    `images` are all training images, uint8 N × C × H × W, on the device; `options` are those of
    `train`.
    """

    def model(seed: int) -> nn.Module:
        seed_everything(seed)
        made = build()
        set_precision(made, precision)
        return made.to(images.device, memory_format=torch.channels_last)

    def group() -> nn.Module:
        return make_group([model(member.seed) for member in members])

    trained, histories, used = train_within_memory(
        group,
        images,
        torch.stack([member.rows for member in members]),
        seeds=[member.seed for member in members],
        batch_size=batch_size,
        settings=description | {"seeds": {str(m.seed): m.settings for m in members}},
        state=members[0].state,
        label=f"{label} seed={','.join(str(member.seed) for member in members)}",
        **options,
    )
    for member, made, history in zip(members, trained.models(), histories, strict=True):
        write_table(history, member.history)
        settings = description | member.settings | {"batch_size_used": used}
        settings["trained_together"] = [member.seed for member in members]
        save_checkpoint(member.checkpoint, made, settings)


if __name__ == "__main__":
    from medae.base.logs import script_logging

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
            cuda_graphs=snakemake.config["training"]["cuda_graphs"],
            checkpoints=[Path(path) for path in snakemake.output.checkpoints],
            histories=[Path(path) for path in snakemake.output.histories],
            stop=stop,
        )
