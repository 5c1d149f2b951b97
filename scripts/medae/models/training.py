"""Training: the loop, its history, and a state from which each model can go on."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor, nn
from tqdm import tqdm

from medae.base.errors import InputError
from medae.models.checkpoints import load_tensors, save_tensors
from medae.models.steps import Batch, Stepper, Trainee
from medae.models.torch_setup import (
    epoch_generators,
    free_memory,
    is_out_of_memory,
    smaller_batch,
)

logger = logging.getLogger(__name__)

HIDDEN_SETTINGS = {  # settings that a message names instead of showing them
    "code_sha256": "the code",
    "dataset_sha256": "the dataset's images",
    "rows_sha256": "the choice of training images",
}


def batches(order: Tensor, batch_size: int) -> list[Tensor]:
    """Split an order of N images into batches; a last one of one image joins that before it.

    BatchNorm cannot be trained on a single image. Raises InputError for fewer than two images.
    """
    if len(order) < 2:
        raise InputError(
            f"The training set has {len(order)} image(s); at least 2 are needed. Add normal "
            "training images to the dataset."
        )
    parts = list(order.split(batch_size))
    if len(parts[-1]) == 1:
        parts[-2:] = [torch.cat(parts[-2:])]
    return parts


class Training(NamedTuple):
    """What one model is trained from, and where its state lies."""

    build: Callable[[], nn.Module]  # returns the new model, on the device of the images
    rows: Tensor  # of the images that it trains on, N, on the CPU
    seed: int
    settings: dict  # what decides the weights, epochs too; a state of other settings isn't used
    state: Path
    label: str


class Trained(NamedTuple):
    """What comes out of a training."""

    model: nn.Module
    history: pd.DataFrame  # a row per epoch
    batch_size: int
    snapshots: dict[int, dict[str, Tensor]]  # epoch -> weights after it, on the CPU
    fault: str | None = None  # why it ended before its last epoch


class Member:
    """A model in training, at the epoch that it has reached."""

    def __init__(
        self,
        training: Training,
        images: Tensor,
        *,
        batch_size: int,
        learning_rate: float,
        snapshots: Sequence[int] = (),
        unusable_state: str = "restart",
    ) -> None:
        """Start at the training's state, where it has one, else with a new model.

        Raises InputError when `unusable_state` is `stop` and the state cannot be used.
        """
        self.training = training
        model = training.build()
        optimizer = new_optimizer(model, learning_rate=learning_rate, device=images.device)
        self.trainee = Trainee(model, optimizer, images)
        self.history: list[dict] = []
        self.batch_size = batch_size
        self.snapshot_epochs = snapshots
        self.snapshots: dict[int, dict[str, Tensor]] = {}
        self.fault: str | None = None
        if found := _read_state(training.state, training.settings, unusable_state):
            tensors, description = found
            self.snapshots = _restore(model, optimizer, tensors)
            self.history, self.batch_size = description["history"], description["batch_size"]
            logger.info("Resuming %s after epoch %d.", training.state, len(self.history))

    def batches(self) -> Iterator[Batch]:
        """Yield the batches of the next epoch."""
        model, images = self.trainee.model, self.trainee.images
        epoch = len(self.history)
        order, noise = epoch_generators(self.training.seed, epoch, images.device)
        rows = self.training.rows
        shuffled = rows[torch.randperm(len(rows), generator=order)].to(images.device)
        model.train()
        for part in batches(shuffled, self.batch_size):
            yield part, model.noise(torch.Size([len(part), *images.shape[1:]]), noise)

    def end_epoch(self, losses: list[Tensor]) -> None:
        """Add the epoch to the history, averaged over images; a loss that is not finite is a fault.

        `losses` has those of each batch.
        """
        table = torch.stack(losses).cpu().double()  # batches × losses; MPS has no float64
        epoch = len(self.history) + 1
        bad = (~table.isfinite().all(dim=1)).nonzero()
        if len(bad):
            self.fault = (
                f"The loss is not finite at epoch {epoch}, batch {bad[0].item() + 1} of "
                f"{len(losses)}, seed {self.training.seed} ({self.training.label}). The training "
                "stopped and wrote no checkpoint. Lower training.learning_rate, or look for "
                "corrupt images in the dataset."
            )
            return
        sizes = [len(part) for part in batches(self.training.rows, self.batch_size)]
        weights = torch.tensor(sizes, dtype=torch.float64)
        means = (table * weights[:, None]).sum(dim=0) / weights.sum()
        self.history.append(
            {"epoch": epoch, **dict(zip(self.trainee.names, means.tolist(), strict=True))}
        )
        if epoch in self.snapshot_epochs:
            weights = self.trainee.model.state_dict()
            self.snapshots[epoch] = {k: v.cpu().clone() for k, v in weights.items()}

    def save(self, *, finished: bool = False) -> None:
        """Write the state; one of a finished training needs no optimiser."""
        if self.history:
            loss = self.history[-1]["loss"]
            logger.info("%s: epoch %d, loss %.6f", self.training.label, len(self.history), loss)
        model, optimizer = self.trainee.model, self.trainee.optimizer
        tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
        if not finished:
            tensors |= {
                f"optimizer.{index}.{name}": value
                for index, state in optimizer.state_dict()["state"].items()
                for name, value in state.items()
            }
        tensors |= {
            f"snapshot.{epoch}.{name}": value
            for epoch, weights in self.snapshots.items()
            for name, value in weights.items()
        }
        description = {
            "settings": self.training.settings,
            "batch_size": self.batch_size,
            "history": self.history,
            "finished": finished,
        }
        save_tensors(self.training.state, tensors, description)


def train_epoch(members: Sequence[Member], stepper: Stepper) -> None:
    """Train the next epoch of each member, whose models `stepper` has in the same order.

    Losses stay on the device until the epoch's end, so that no batch waits for the host.
    """
    losses: list[list[Tensor]] = [[] for _ in members]
    for parts in zip_longest(*(member.batches() for member in members)):
        for kept, found in zip(losses, stepper(parts), strict=True):
            if found is not None:
                kept.append(found)
    for member, found in zip(members, losses, strict=True):
        member.end_epoch(found)


def new_optimizer(
    model: nn.Module, *, learning_rate: float, device: torch.device
) -> torch.optim.Optimizer:
    """Return Adam for the weights of `model` on `device`; its steps can be recorded on CUDA."""
    recordable = device.type == "cuda"
    return torch.optim.Adam(model.parameters(), lr=learning_rate, fused=True, capturable=recordable)


def _read_state(path: Path, settings: dict, unusable_state: str) -> tuple[dict, dict] | None:
    """Return tensors and description of a training's state; None where there is none to use.

    A file that is damaged or has other settings is named with the reason, in a warning or, where
    `unusable_state` is `stop`, by InputError; but a finished training's is no loss.
    """
    try:
        tensors, description = load_tensors(path)
        differences = _differences(description.get("settings", {}), settings)
        if not differences:
            return tensors, description
        fault = f"{path} was made with other settings or other code ({'; '.join(differences)})."
        if description.get("finished"):
            logger.info("Starting from scratch: %s", fault)
            return None
    except InputError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return None
        fault = str(error)
    if unusable_state == "stop":
        raise InputError(
            f"{fault} This training stops there, as training.unusable_state is 'stop'; with "
            "'restart', or without that file, it starts from scratch."
        )
    logger.warning("Starting from scratch: %s", fault)
    return None


def _differences(there: dict, now: dict, prefix: str = "") -> list[str]:
    """Return which settings differ, with both values."""
    found = []
    for key in sorted(there.keys() | now.keys()):
        old, new = there.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            found += _differences(old, new, f"{prefix}{key}.")
        elif old != new:
            found.append(HIDDEN_SETTINGS.get(key, f"{prefix}{key}: {old} there, {new} now"))
    return found


def _restore(
    model: nn.Module, optimizer: torch.optim.Optimizer, tensors: dict
) -> dict[int, dict[str, Tensor]]:
    """Put the tensors of a state into the model and its optimiser; return the snapshots."""
    parts: dict[str, dict] = {"model": {}, "optimizer": {}, "snapshot": {}}
    parameters = list(model.parameters())
    for key, value in tensors.items():
        part, _, name = key.partition(".")
        if part == "model":
            parts[part][name] = value
            continue
        number, _, name = name.partition(".")
        if part == "optimizer" and name != "step":
            # Adam's fused kernel walks memory, so moments must be laid out as their parameter.
            value = torch.empty_like(parameters[int(number)]).copy_(value)
        parts[part].setdefault(int(number), {})[name] = value
    model.load_state_dict(parts["model"])
    optimizer.load_state_dict(optimizer.state_dict() | {"state": parts["optimizer"]})
    return parts["snapshot"]


def _train_together(
    trainings: Sequence[Training],
    images: Tensor,
    *,
    epochs: int,
    cuda_graphs: bool,
    save_seconds: float,
    stop: Callable[[], str | None],
    **options,
) -> list[Trained]:
    """Train models side by side, as `train` does, on a device whose memory holds them."""
    members = [Member(training, images, **options) for training in trainings]
    saved = time.monotonic()
    label = members[0].training.label
    label += f" and {len(members) - 1} more" if len(members) > 1 else ""
    done = sum(len(member.history) for member in members)
    stepper: Stepper | None = None
    # A bar on a terminal only; logs get lines.
    with tqdm(
        desc=label, unit="epoch", disable=None, initial=done, total=epochs * len(members)
    ) as bar:
        while active := [m for m in members if len(m.history) < epochs and not m.fault]:
            if name := stop():
                for member in active:
                    member.save()
                reached = " ".join(
                    f"{m.training.label}: stopped by {name} after epoch {len(m.history)} of "
                    f"{epochs}; {m.training.state} holds its state."
                    for m in active
                )
                raise InputError(
                    f"{reached} Run the same command again: it goes on from there, to the same "
                    "weights."
                )
            if stepper is None or len(stepper.trainees) != len(active):
                trainees = [member.trainee for member in active]
                stepper = Stepper(trainees, cuda_graphs=cuda_graphs)
            train_epoch(active, stepper)
            bar.update(len(active))
            now = time.monotonic()
            due = now - saved > save_seconds
            saved = now if due else saved
            for member in active:
                finished = len(member.history) == epochs
                if not member.fault and (due or finished):
                    member.save(finished=finished)
    return [
        Trained(m.trainee.model, pd.DataFrame(m.history), m.batch_size, m.snapshots, m.fault)
        for m in members
    ]


def train(
    trainings: Sequence[Training],
    images: Tensor,
    *,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    snapshots: Sequence[int] = (),
    at_once: int | None = None,
    unusable_state: str = "restart",
    cuda_graphs: bool = True,
    save_seconds: float = 60,
    stop: Callable[[], str | None] = lambda: None,
) -> list[Trained]:
    """Train models with Adam; return them in the order of `trainings`.

    `images` is uint8, N × C × H × W, on the models' device. On CUDA all are trained side by side,
    elsewhere one after the other, or `at_once` of them; a model's weights are the same in any
    company, bit for bit. Every `save_seconds` the weights and the optimiser of each go to its
    state; a state with equal settings is where its training starts, with the batch size of the
    state, and with the same end, bit for bit on the CPU, as one that was never interrupted. Another
    state is named, and training starts from scratch or, where `unusable_state` is `stop`, raises
    InputError. `snapshots` are epochs after which the weights are kept.

    When the device's memory doesn't suffice, fewer are trained at once, and a model alone from
    scratch with half the batch size. `stop` is asked before every epoch; when it names a signal,
    states are saved and InputError raised. InputError also when memory doesn't suffice for two
    images, when steps on CUDA cannot be recorded as a graph, which `cuda_graphs` asks for, and,
    once the others have come to their end, when a loss has stopped being finite.
    """
    at_once = at_once or (len(trainings) if images.device.type == "cuda" else 1)
    results: list[Trained] = []
    size = batch_size
    while len(results) < len(trainings):
        group = trainings[len(results) :][:at_once]
        try:
            results += _train_together(
                group,
                images,
                epochs=epochs,
                batch_size=size,
                learning_rate=learning_rate,
                snapshots=snapshots,
                unusable_state=unusable_state,
                cuda_graphs=cuda_graphs,
                save_seconds=save_seconds,
                stop=stop,
            )
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        else:
            size = batch_size
            continue
        # Outside the handler, which keeps what the failed step had allocated.
        if len(group) > 1:
            at_once = len(group) // 2
            logger.warning(
                "%s: out of memory with %d models at once; now %d.",
                group[0].label, len(group), at_once,
            )  # fmt: skip
            free_memory()
        else:
            size = smaller_batch(size, least=2, what=group[0].label)
            group[0].state.unlink(missing_ok=True)
    if faults := [trained.fault for trained in results if trained.fault]:
        raise InputError(" ".join(faults))
    return results
