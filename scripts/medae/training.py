"""Training of one model: the loop, its history, and a state from which it can go on."""

import logging
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn
from tqdm import tqdm

from medae.checkpoints import load_tensors, save_tensors
from medae.errors import InputError
from medae.torch_setup import epoch_generators, is_out_of_memory, smaller_batch

log = logging.getLogger(__name__)

CHECK_SUMS = {  # settings that a message names instead of showing them
    "code_sha256": "the code",
    "dataset_sha256": "the dataset's images",
    "rows_sha256": "the choice of training images",
}


def normalise(images: Tensor) -> Tensor:
    """Return uint8 images N × C × H × W as float32 in [-1, 1], channels last in memory."""
    return images.to(dtype=torch.float32, memory_format=torch.channels_last).div_(127.5).sub_(1.0)


def batches(order: Tensor, batch_size: int) -> list[Tensor]:
    """Split `order` into batches; a last batch of one image joins the one before it.

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


def train_epoch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: Tensor,
    *,
    batch_size: int,
    seed: int,
    epoch: int,
) -> dict[str, float]:
    """Train one epoch in place; return the loss and its parts, averaged over images.

    `images` is uint8, N × C × H × W, on the model's device. Losses stay on the device until the
    epoch's end, so that no batch waits for the host. Raises FloatingPointError when a loss is not
    finite.
    """
    order, noise = epoch_generators(seed, epoch, images.device)
    shuffled = torch.randperm(len(images), generator=order).to(images.device)
    parts = batches(shuffled, batch_size)
    history = []
    model.train()
    for batch in parts:
        losses = model.loss(normalise(images[batch]), noise)
        optimizer.zero_grad(set_to_none=True)
        losses["loss"].backward()
        optimizer.step()
        history.append(torch.stack([value.detach() for value in losses.values()]))
    table = torch.stack(history).cpu().double()  # MPS has no float64
    bad = (~table.isfinite().all(dim=1)).nonzero()
    if len(bad):
        raise FloatingPointError(
            f"The loss is not finite at epoch {epoch + 1}, batch {int(bad[0]) + 1} of {len(parts)}"
        )
    sizes = torch.tensor([len(batch) for batch in parts], dtype=torch.float64)
    means = (table * sizes[:, None]).sum(dim=0) / sizes.sum()
    return dict(zip(losses, means.tolist(), strict=True))


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
    model: nn.Module,
    images: Tensor,
    *,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
    settings: dict,
    state: Path,
    unusable_state: str = "restart",
    label: str = "training",
    save_seconds: float = 60,
    stop: Callable[[], str | None] = lambda: None,
) -> tuple[pd.DataFrame, int]:
    """Train `model` in place with Adam; return its history, a row per epoch, and the batch size.

    `images` is uint8, N × C × H × W, on the model's device. Every `save_seconds` the weights and
    the optimiser go to the file `state`; a `state` with equal `settings` is where the training
    starts, with the batch size of the state, and with the same end, bit for bit on the CPU, as one
    that was never interrupted. Another state is named, and training starts afresh or, where
    `unusable_state` is `stop`, raises InputError.

    `stop` is asked before every epoch; when it names a signal, the state is saved and InputError
    raised. InputError also when the loss stops being finite.
    """
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate, fused=True)
    history: list[dict] = []
    if found := _read_state(state, settings, unusable_state):
        tensors, description = found
        _restore(model, optimizer, tensors)
        history, batch_size = description["history"], description["batch_size"]
        log.info("Resuming %s after epoch %d.", state, len(history))
    description = {"settings": settings, "batch_size": batch_size, "history": history}
    saved = shown = time.monotonic()
    for epoch in _progress(range(len(history), epochs), epochs, label):
        if name := stop():
            _save_state(state, model, optimizer, description)
            raise InputError(
                f"{label}: stopped by {name} after epoch {epoch} of {epochs}; {state} holds its "
                "state. Run the same command again: it goes on from there, to the same weights."
            )
        try:
            losses = train_epoch(
                model, optimizer, images, batch_size=batch_size, seed=seed, epoch=epoch
            )
        except FloatingPointError as error:
            raise InputError(
                f"{error} ({label}). The training stopped and wrote no checkpoint. Lower "
                "training.learning_rate, or look for corrupt images in the dataset."
            ) from error
        history.append({"epoch": epoch + 1, **losses})
        now = time.monotonic()
        if now - shown > 30 or epoch + 1 == epochs:
            log.info("%s: epoch %d of %d, loss %.6f", label, epoch + 1, epochs, losses["loss"])
            shown = now
        if now - saved > save_seconds or epoch + 1 == epochs:
            _save_state(state, model, optimizer, description)
            saved = now
    return pd.DataFrame(history), batch_size


def train_within_memory(
    build: Callable[[], nn.Module],
    images: Tensor,
    *,
    batch_size: int,
    state: Path,
    label: str,
    **options,
) -> tuple[nn.Module, pd.DataFrame, int]:
    """Return the model of `build`, trained, and what `train` returns, whose arguments these are.

    Whenever the device's memory doesn't suffice, training starts afresh with half the batch size.
    Raises InputError when it doesn't suffice for two images, and as `train` does.
    """
    while True:
        try:
            model = build()
            history, used = train(
                model, images, batch_size=batch_size, state=state, label=label, **options
            )
            return model, history, used
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        # Outside the handler, which keeps what the failed step had allocated.
        batch_size = smaller_batch(batch_size, least=2, what=label)
        state.unlink(missing_ok=True)
