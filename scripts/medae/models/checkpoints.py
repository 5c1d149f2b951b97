"""Checkpoints: safetensors files that rebuild their model by themselves; no pickle anywhere.

A file holds tensors and one metadata entry, `medae`, whose JSON text is the description. One entry,
because safetensors writes several in random order and files would differ from run to run. The
description has the SHA-256 of itself and the tensors: safetensors notices a file that is cut short,
but not a changed byte.
"""

import hashlib
import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from medae.base.errors import InputError
from medae.base.files import atomic_path
from medae.data.packed import PackedDataset
from medae.models import methods

FORMAT = 1


def save_tensors(path: Path, tensors: dict[str, Tensor], description: dict) -> None:
    """Write tensors and a JSON-able description atomically."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    whole = {"format": FORMAT, **description}
    text = json.dumps(whole | {"sha256": _digest(plain, whole)})
    with atomic_path(path) as temporary:
        temporary.write_bytes(save(plain, metadata={"medae": text}))


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict]:
    """Return (tensors on the CPU, description) of a file of `save_tensors`.

    Raises InputError when the file is missing, cut short, damaged, or not of this format.
    """
    try:
        with safe_open(path, framework="pt") as file:
            description = json.loads(file.metadata()["medae"])
            if description["format"] != FORMAT:
                raise KeyError(f"format {description['format']}, expected {FORMAT}")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if description.pop("sha256") != _digest(tensors, description):
            raise ValueError("its contents do not match its checksum")
        return tensors, description
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path} is not a whole checkpoint of this workflow ({error}). Delete it and run the "
            "workflow again, which makes it anew."
        ) from error


def _digest(tensors: dict[str, Tensor], description: dict) -> str:
    """Return the SHA-256 of tensors on the CPU, in the order of their names, and a description."""
    digest = hashlib.sha256(json.dumps(description).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def save_checkpoint(path: Path, model: nn.Module, description: dict) -> None:
    """Write the weights of `model`; `description` names `method` and `arguments`."""
    save_tensors(path, model.state_dict(), description)


def load_checkpoint(
    path: Path, device: torch.device, data: PackedDataset | None = None
) -> tuple[nn.Module, dict]:
    """Return (the model in evaluation mode on `device`, its description).

    Raises InputError as `load_tensors` does, when the weights do not fit the method, and when the
    model was trained on other images than those of `data`.
    """
    tensors, description = load_tensors(path)
    if data and description["dataset_sha256"] != data.attributes["source_sha256"]:
        raise InputError(
            f"{path} was trained on other images than those of the packed dataset "
            f"'{data.attributes['dataset']}'. Delete the checkpoint and run the workflow again."
        )
    model = methods.build(description["method"], **description["arguments"])
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise InputError(
            f"{path} does not fit the method '{description['method']}' of this version: {error}. "
            "Delete it and run the workflow again."
        ) from error
    return model.to(device, memory_format=torch.channels_last).eval(), description
