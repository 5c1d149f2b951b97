"""Training of one model: the loop, its history, and a state from which it can go on."""

import logging
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn
from tqdm import tqdm

from medae.base.errors import InputError
from medae.models.checkpoints import load_tensors, save_tensors
from medae.models.steps import Stepper
from medae.models.torch_setup import epoch_generators, is_out_of_memory, smaller_batch

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


def train_epoch(
    stepper: Stepper, rows: Tensor, *, batch_size: int, seed: int, epoch: int
) -> dict[str, float]:
    """Train one epoch in place; return the loss and its parts, averaged over images.

    The model of `stepper` trains on the images at `rows`, N, on the CPU. Losses stay on the device
    until the epoch's end, so that no batch waits for the host. Raises FloatingPointError when a
    loss is not finite.
    """
    images, model = stepper.images, stepper.model
    order, noise = epoch_generators(seed, epoch, images.device)
    shuffled = rows[torch.randperm(len(rows), generator=order)]
    parts = batches(shuffled.to(images.device), batch_size)
    model.train()
    history = [
        stepper(part, model.noise(torch.Size([len(part), *images.shape[1:]]), noise))
        for part in parts
    ]
    table = torch.stack(history).cpu().double()  # batches × losses; MPS has no float64
    bad = (~table.isfinite().all(dim=1)).nonzero()
    if len(bad):
        raise FloatingPointError(
            f"The loss is not finite at epoch {epoch + 1}, batch {bad[0].item() + 1} of "
            f"{len(parts)}, seed {seed}"
        )
    sizes = torch.tensor([len(part) for part in parts], dtype=torch.float64)
    means = (table * sizes[:, None]).sum(dim=0) / sizes.sum()
    return dict(zip(stepper.names, means.tolist(), strict=True))


def new_optimizer(
    model: nn.Module, *, learning_rate: float, device: torch.device
) -> torch.optim.Optimizer:
    """Return Adam for the weights of `model` on `device`; its steps can be recorded on CUDA."""
    recordable = device.type == "cuda"
    return torch.optim.Adam(model.parameters(), lr=learning_rate, fused=True, capturable=recordable)


def _save_state(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, description: dict
) -> None:
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    tensors |= {
        f"optimizer.{index}.{name}": value
        for index, state in optimizer.state_dict()["state"].items()
        for name, value in state.items()
    }
    save_tensors(path, tensors, description)


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


def train(
    model: nn.Module,
    images: Tensor,
    rows: Tensor,
    *,
    seed: int,
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
) -> tuple[pd.DataFrame, int]:
    """Train a model in place with Adam; return its history, a row per epoch, and the batch size.

    `images` is uint8, N × C × H × W, on the model's device; it trains on those at `rows`, which are
    on the CPU. Every `save_seconds` the weights and the optimiser go to the file `state`; a `state`
    with equal `settings` is where the training starts, with the batch size of the state, and with
    the same end, bit for bit on the CPU, as one that was never interrupted. Another state is named,
    and training starts from scratch or, where `unusable_state` is `stop`, raises InputError.

    `stop` is asked before every epoch; when it names a signal, the state is saved and InputError
    raised. InputError also when a loss stops being finite, and when a step on CUDA cannot be
    recorded as a graph, which `cuda_graphs` asks for.
    """
    optimizer = new_optimizer(model, learning_rate=learning_rate, device=images.device)
    history: list[dict] = []
    if found := _read_state(state, settings, unusable_state):
        tensors, description = found
        _restore(model, optimizer, tensors)
        history, batch_size = description["history"], description["batch_size"]
        logger.info("Resuming %s after epoch %d.", state, len(history))
    stepper = Stepper(model, optimizer, images, cuda_graphs=cuda_graphs)
    description = {"settings": settings, "batch_size": batch_size, "history": history}
    saved = time.monotonic()
    bar = {"desc": label, "unit": "epoch", "disable": None}  # on a terminal only; logs get lines
    for epoch in tqdm(range(len(history), epochs), initial=len(history), total=epochs, **bar):
        if name := stop():
            _save_state(state, model, optimizer, description)
            raise InputError(
                f"{label}: stopped by {name} after epoch {epoch} of {epochs}; {state} holds its "
                "state. Run the same command again: it goes on from there, to the same weights."
            )
        try:
            losses = train_epoch(stepper, rows, batch_size=batch_size, seed=seed, epoch=epoch)
        except FloatingPointError as error:
            raise InputError(
                f"{error} ({label}). The training stopped and wrote no checkpoint. Lower "
                "training.learning_rate, or look for corrupt images in the dataset."
            ) from error
        history.append({"epoch": epoch + 1, **losses})
        now = time.monotonic()
        if now - saved > save_seconds or epoch + 1 == epochs:
            logger.info("%s: epoch %d of %d, loss %.6f", label, epoch + 1, epochs, losses["loss"])
            _save_state(state, model, optimizer, description)
            saved = now
    return pd.DataFrame(history), batch_size


def train_within_memory(
    build: Callable[[], nn.Module],
    images: Tensor,
    rows: Tensor,
    *,
    batch_size: int,
    state: Path,
    label: str,
    **options,
) -> tuple[nn.Module, pd.DataFrame, int]:
    """Return the model of `build`, trained, and what `train` returns, whose arguments these are.

    Whenever the device's memory doesn't suffice, training starts from scratch with half the batch
    size. Raises InputError when it doesn't suffice for two images, and as `train` does.
    """
    options |= {"state": state, "label": label}
    while True:
        try:
            model = build()
            return model, *train(model, images, rows, batch_size=batch_size, **options)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        # Outside the handler, which keeps what the failed step had allocated.
        batch_size = smaller_batch(batch_size, least=2, what=label)
        state.unlink(missing_ok=True)
