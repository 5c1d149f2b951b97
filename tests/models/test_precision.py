"""Precisions: what convolutions multiply in tf32, and what is chosen by the device."""

import struct
from unittest.mock import patch

import pytest
import torch
from small_models import CPU, make_images, make_model
from torch.nn import functional as F

from medae.base.errors import InputError
from medae.models.networks import RoundedConvolutions, normalise
from medae.models.torch_setup import allow_tf32, resolve_precision


def rounded(values):
    """Round to 10 bits of mantissa by their decimal value, ties away from zero, one by one."""
    found = []
    for value in values.flatten().tolist():
        (bits,) = struct.unpack("<I", struct.pack("<f", value))
        exponent = ((bits >> 23) & 0xFF) - 127
        step = 2.0 ** (exponent - 10)
        magnitude = int(abs(value) / step + 0.5) * step
        found.append(magnitude if value >= 0 else -magnitude)
    return torch.tensor(found).view_as(values)


@pytest.mark.parametrize("convolution", [F.conv2d, F.conv_transpose2d])
def test_convolutions_multiply_rounded_numbers_forward_and_backward(convolution):
    generator = torch.Generator().manual_seed(0)
    images, weights = (
        torch.randn(size, generator=generator, requires_grad=True)
        for size in [(2, 3, 8, 8), (3, 3, 4, 4)]
    )
    with RoundedConvolutions():
        found = convolution(images, weights, None, 2, 1)
    gradient = torch.randn(found.shape, generator=generator)
    found.backward(gradient)
    low = [rounded(tensor.detach()).requires_grad_() for tensor in (images, weights)]
    expected = convolution(*low, None, 2, 1)
    expected.backward(rounded(gradient))
    assert torch.equal(found, expected)
    assert torch.equal(images.grad, low[0].grad) and torch.equal(weights.grad, low[1].grad)
    assert not torch.equal(found, convolution(images, weights, None, 2, 1))


def test_tf32_changes_a_network_by_about_a_thousandth():
    images = normalise(make_images())
    exact, lower = (make_model("ae", precision=p)(images) for p in ("float32", "tf32"))
    assert 1e-5 < (exact - lower).abs().max() / exact.abs().max() < 1e-2


def test_auto_is_what_torch_does_on_the_device():
    assert resolve_precision("auto", CPU) == "float32"
    assert resolve_precision("bfloat16", CPU) == "bfloat16"
    for supported, expected in [(True, "tf32"), (False, "float32")]:
        with patch("torch.cuda.is_tf32_supported", return_value=supported):
            assert resolve_precision("auto", torch.device("cuda")) == expected


@pytest.mark.parametrize("precision", ["tf32", "bfloat16"])
def test_a_gpu_that_lacks_a_precision_is_refused(precision):
    cuda = torch.device("cuda")
    supports = f"torch.cuda.is_{precision.replace('bfloat', 'bf')}_supported"
    with patch(supports, return_value=True):
        assert resolve_precision(precision, cuda) == precision
    with (
        patch(supports, return_value=False),
        pytest.raises(InputError, match=f"'{precision}', which this GPU cannot compute. Set it to"),
    ):
        resolve_precision(precision, cuda)


@pytest.mark.parametrize(("precision", "allowed"), [("tf32", True), ("float32", False)])
def test_cudas_convolutions_round_only_for_tf32(precision, allowed):
    allow_tf32(precision)
    assert torch.backends.cudnn.allow_tf32 == allowed
    assert not torch.backends.cuda.matmul.allow_tf32
    allow_tf32("float32")
