"""Checkpoints: equal bytes, and refusal of what is not whole, of other code or no checkpoint."""

import json
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file
from small_models import CPU, SIZES

from medae.base.errors import InputError
from medae.models import methods
from medae.models.checkpoints import load_checkpoint, load_tensors, save_checkpoint, save_tensors

REFUSED = r"checkpoint\.safetensors is not a whole checkpoint of this workflow"


@pytest.fixture
def checkpoint(tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "checkpoint.safetensors"
    description = {"method": "ae", "arguments": SIZES, "seed": 0, "rate": 1e-3}
    save_checkpoint(path, methods.build("ae", **SIZES), description)
    return path


def test_bytes_repeat(checkpoint):
    first = checkpoint.read_bytes()
    model, description = load_checkpoint(checkpoint, CPU)
    save_checkpoint(checkpoint, model, description)
    assert checkpoint.read_bytes() == first


@pytest.mark.parametrize("cut", [None, 0, 1, 8, 100, -100, -1])
def test_a_checkpoint_that_is_missing_or_cut_short_is_refused(cut, checkpoint):
    content = checkpoint.read_bytes()
    checkpoint.unlink() if cut is None else checkpoint.write_bytes(content[:cut])
    with pytest.raises(InputError, match=REFUSED):
        load_tensors(checkpoint)


def test_a_changed_byte_is_refused_wherever_it_is(checkpoint):
    content = checkpoint.read_bytes()
    load_tensors(checkpoint)
    for place in [*range(0, len(content), 997), len(content) - 1]:
        changed = bytearray(content)
        changed[place] ^= 1
        checkpoint.write_bytes(changed)
        with pytest.raises(InputError, match=REFUSED):
            load_tensors(checkpoint)


@pytest.mark.parametrize("text", [None, {}, {"sha256": "0"}])
def test_a_file_of_others_or_without_its_check_sum_is_refused(text, checkpoint):
    tensors, description = load_tensors(checkpoint)
    metadata = None if text is None else {"medae": json.dumps(description | text)}
    save_file(tensors, checkpoint, metadata=metadata)
    with pytest.raises(InputError, match=REFUSED):
        load_tensors(checkpoint)


def test_another_format_is_refused(checkpoint):
    tensors, description = load_tensors(checkpoint)
    save_tensors(checkpoint, tensors, description | {"format": 99})
    with pytest.raises(InputError, match="format 99, expected 1"):
        load_tensors(checkpoint)


def test_a_checkpoint_of_another_shape_or_of_other_images_is_refused(checkpoint):
    model, description = load_checkpoint(checkpoint, CPU)
    data = SimpleNamespace(attributes={"dataset": "toy", "source_sha256": "a"})
    save_checkpoint(checkpoint, model, description | {"dataset_sha256": "a"})
    load_checkpoint(checkpoint, CPU, data)
    data.attributes["source_sha256"] = "b"
    with pytest.raises(InputError, match="trained on other images .* 'toy'"):
        load_checkpoint(checkpoint, CPU, data)
    save_checkpoint(checkpoint, model, description | {"arguments": SIZES | {"latent_dim": 5}})
    with pytest.raises(InputError, match="does not fit"):
        load_checkpoint(checkpoint, CPU)
