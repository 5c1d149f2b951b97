"""Training of a group of models: the loop, its history, and a state from which it can go on."""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn
from tqdm import tqdm

from medae.base.errors import InputError
from medae.models.checkpoints import load_tensors, save_tensors
from medae.models.steps import Stepper
from medae.models.torch_setup import epoch_generators, is_out_of_memory, smaller_batch

log = logging.getLogger(__name__)

CHECK_SUMS = {  # settings that a message names instead of showing them
    "code_sha256": "the code",
    "dataset_sha256": "the dataset's images",
    "rows_sha256": "the choice of training images",
}


def batches(orders: Tensor, batch_size: int) -> list[Tensor]:
    """Split orders of N images, … × N, into batches; a last one of one image joins that before it.

    BatchNorm cannot be trained on a single image. Raises InputError for fewer than two images.
    """
    count = orders.shape[-1]
    if count < 2:
        raise InputError(
            f"The training set has {count} image(s); at least 2 are needed. Add normal "
            "training images to the dataset."
        )
    parts = list(orders.split(batch_size, dim=-1))
    if parts[-1].shape[-1] == 1:
        parts[-2:] = [torch.cat(parts[-2:], dim=-1)]
    return parts


def train_epoch(
    stepper: Stepper, rows: Tensor, *, batch_size: int, seeds: Sequence[int], epoch: int
) -> list[dict[str, float]]:
    """Train one epoch in place; return each model's loss and its parts, averaged over images.

    The group of `stepper` has a model for each of the K `seeds`, which trains on the images at its
    `rows`, K × N, on the CPU. Losses stay on the device until the epoch's end, so that no batch
    waits for the host. Raises FloatingPointError when a loss is not finite.
    """
    images, group = stepper.images, stepper.group
    generators = [epoch_generators(seed, epoch, images.device) for seed in seeds]
    orders = [
        row[torch.randperm(len(row), generator=order)]
        for row, (order, _) in zip(rows, generators, strict=True)
    ]
    parts = batches(torch.stack(orders).to(images.device), batch_size)
    history = []
    group.train()
    for batch in parts:
        shape = torch.Size([batch.shape[1], *images.shape[1:]])
        noise = group.noise(shape, [generator for _, generator in generators])
        history.append(stepper(batch, noise))
    table = torch.stack(history).cpu().double()  # batches × losses × K; MPS has no float64
    bad = (~table.isfinite().all(dim=1)).nonzero()
    if len(bad):
        batch, member = bad[0].tolist()
        raise FloatingPointError(
            f"The loss is not finite at epoch {epoch + 1}, batch {batch + 1} of {len(parts)}, "
            f"seed {seeds[member]}"
        )
    sizes = torch.tensor([batch.shape[1] for batch in parts], dtype=torch.float64)
    means = (table * sizes[:, None, None]).sum(dim=0) / sizes.sum()
    return [dict(zip(stepper.names, values, strict=True)) for values in means.T.tolist()]


def new_optimizer(
    group: nn.Module, *, learning_rate: float, device: torch.device
) -> torch.optim.Optimizer:
    """Return Adam for the weights of `group` on `device`; its steps can be recorded on CUDA."""
    parameters, recordable = group.parameters(), device.type == "cuda"
    return torch.optim.Adam(parameters, lr=learning_rate, fused=True, capturable=recordable)


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    return {
        f"optimizer.{index}.{name}": value
        for index, state in optimizer.state_dict()["state"].items()
        for name, value in state.items()
    }


def _save_state(path, model, optimizer, description) -> None:
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    save_tensors(path, tensors | _optimizer_tensors(optimizer), description)


def _read_state(path: Path, settings: dict, unusable_state: str) -> tuple[dict, dict] | None:
    """Return tensors and description of a training's state; None where there is none to use.

    A file that is damaged or has other settings is named with the reason, in a warning or, where
    `unusable_state` is `stop`, by InputError.
    """
    try:
        tensors, description = load_tensors(path)
        differences = _differences(description.get("settings", {}), settings)
        if not differences:
            return tensors, description
        fault = f"{path} was made with other settings or other code ({'; '.join(differences)})."
    except InputError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return None
        fault = str(error)
    if unusable_state == "stop":
        raise InputError(
            f"{fault} This training stops there, as training.unusable_state is 'stop'; with "
            "'restart', or without that file, it starts afresh."
        )
    log.warning("Starting afresh: %s", fault)
    return None


def _differences(there: dict, now: dict, prefix: str = "") -> list[str]:
    """Return which settings differ, with both values."""
    found = []
    for key in sorted(there.keys() | now.keys()):
        old, new = there.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            found += _differences(old, new, f"{prefix}{key}.")
        elif isinstance(old, dict) or isinstance(new, dict):
            found.append(f"{prefix}{key}: {'only now' if old is None else 'only there'}")
        elif old != new:
            found.append(CHECK_SUMS.get(key, f"{prefix}{key}: {old} there, {new} now"))
    return found


def _restore(model: nn.Module, optimizer: torch.optim.Optimizer, tensors: dict) -> None:
    """Put the tensors of a state into the model and its optimiser."""
    model.load_state_dict(
        {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}
    )
    parameters = list(model.parameters())
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer."):
            _, index, name = key.split(".")
            if name != "step":
                # Adam's fused kernel walks memory, so moments must be laid out as their parameter.
                value = torch.empty_like(parameters[int(index)]).copy_(value)
            state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict(optimizer.state_dict() | {"state": state})


def _progress(epochs: range, total: int, label: str) -> Iterable[int]:
    """Yield epochs with a bar on a terminal; a log gets plain lines from `train` instead."""
    return tqdm(epochs, initial=epochs.start, total=total, desc=label, unit="epoch", disable=None)


def train(
    group: nn.Module,
    images: Tensor,
    rows: Tensor,
    *,
    seeds: Sequence[int],
    epochs: int,
    batch_size: int,
    learning_rate: float,
    settings: dict,
    state: Path,
    unusable_state: str = "restart",
    cuda_graphs: bool = True,
    label: str = "training",
    save_seconds: float = 60,
    stop: Callable[[], str | None] = lambda: None,
) -> tuple[list[pd.DataFrame], int]:
    """Train a group of K models in place with Adam, a model for each of the `seeds`.

    Returns a history for each, with a row per epoch, and the batch size.

    `images` is uint8, N × C × H × W, on the group's device; a model trains on those at its `rows`,
    K × n. Every `save_seconds` the weights and the optimiser go to the file `state`; a `state` with
    equal `settings` is where the training starts, with the batch size of the state, and with the
    same end, bit for bit on the CPU, as one that was never interrupted. Another state is named, and
    training starts afresh or, where `unusable_state` is `stop`, raises InputError.

    `stop` is asked before every epoch; when it names a signal, the state is saved and InputError
    raised. InputError also when a loss stops being finite, and when a step on CUDA cannot be
    recorded as a graph, which `cuda_graphs` asks for.
    """
    optimizer = new_optimizer(group, learning_rate=learning_rate, device=images.device)
    history: list[list[dict]] = []
    if found := _read_state(state, settings, unusable_state):
        tensors, description = found
        _restore(group, optimizer, tensors)
        history, batch_size = description["history"], description["batch_size"]
        log.info("Resuming %s after epoch %d.", state, len(history))
    stepper = Stepper(group, optimizer, images, cuda_graphs=cuda_graphs)
    description = {"settings": settings, "batch_size": batch_size, "history": history}
    saved = shown = time.monotonic()
    for epoch in _progress(range(len(history), epochs), epochs, label):
        if name := stop():
            _save_state(state, group, optimizer, description)
            raise InputError(
                f"{label}: stopped by {name} after epoch {epoch} of {epochs}; {state} holds its "
                "state. Run the same command again: it goes on from there, to the same weights."
            )
        try:
            losses = train_epoch(stepper, rows, batch_size=batch_size, seeds=seeds, epoch=epoch)
        except FloatingPointError as error:
            raise InputError(
                f"{error} ({label}). The training stopped and wrote no checkpoint. Lower "
                "training.learning_rate, or look for corrupt images in the dataset."
            ) from error
        history.append([{"epoch": epoch + 1, **values} for values in losses])
        now = time.monotonic()
        if now - shown > 30 or epoch + 1 == epochs:
            shown_losses = ", ".join(f"{values['loss']:.6f}" for values in losses)
            log.info("%s: epoch %d of %d, loss %s", label, epoch + 1, epochs, shown_losses)
            shown = now
        if now - saved > save_seconds or epoch + 1 == epochs:
            _save_state(state, group, optimizer, description)
            saved = now
    return [pd.DataFrame(values) for values in zip(*history, strict=True)], batch_size


def train_within_memory(
    build: Callable[[], nn.Module],
    *data: Tensor,
    batch_size: int,
    state: Path,
    label: str,
    **options,
) -> tuple[nn.Module, list[pd.DataFrame], int]:
    """Return the group of `build`, trained, and what `train` returns, whose arguments these are.

    Whenever the device's memory doesn't suffice, training starts afresh with half the batch size.
    Raises InputError when it doesn't suffice for two images, and as `train` does.
    """
    while True:
        try:
            group = build()
            histories, used = train(
                group, *data, batch_size=batch_size, state=state, label=label, **options
            )
            return group, histories, used
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        # Outside the handler, which keeps what the failed step had allocated.
        batch_size = smaller_batch(batch_size, least=2, what=label)
        state.unlink(missing_ok=True)
