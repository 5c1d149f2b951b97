"""The networks and losses of the methods, against the paper's sizes and hand-computed values."""

import importlib
import math

import numpy as np
import pytest
import torch
import yaml
from drawn_losses import drawn_losses

from medae.models import methods
from medae.models.methods.ceae import draw_corners, mask_square
from medae.models.methods.memae import attention_entropy, hard_shrink
from medae.models.methods.vae import kl_divergence

PARAMETERS = [
    ("ae", 1, 1, 2_320_449),
    ("ae", 2, 1, 2_322_498),
    ("ae", 4, 1, 2_326_596),
    ("ae", 8, 1, 2_334_792),
    ("ae", 16, 1, 2_351_184),
    ("ae", 32, 1, 2_383_968),
    ("ae", 64, 1, 2_449_536),
    ("ae", 128, 1, 2_580_672),
    ("ae", 16, 3, 2_352_208),
    ("vae", 16, 1, 2_367_584),
    ("memae", 16, 1, 2_351_584),
    ("ceae", 16, 1, 2_351_184),
]


def build(method, latent_dim=3, channels=1, image_size=32, **options):
    torch.manual_seed(0)
    sizes = {"image_size": image_size, "channels": channels, "latent_dim": latent_dim}
    return methods.build(method, **sizes, **options)


@pytest.fixture(params=sorted(methods.REGISTRY))
def method(request):
    return request.param


@pytest.mark.parametrize(("name", "latent_dim", "channels", "expected"), PARAMETERS)
def test_parameter_counts_are_the_reference_codes(name, latent_dim, channels, expected):
    model = build(name, latent_dim, channels, image_size=64)
    assert sum(parameter.numel() for parameter in model.parameters()) == expected


@pytest.mark.parametrize("channels", [1, 3])
def test_shapes(method, channels):
    model = build(method, 5, channels).eval()
    images = torch.rand(4, channels, 32, 32) * 2 - 1
    latents = model.encode(images)
    assert latents.shape == (4, 5)
    assert model.decode(latents).shape == images.shape


def test_loss_is_a_finite_scalar_that_reaches_every_parameter(method):
    model = build(method)
    losses = drawn_losses(model, torch.rand(4, 1, 32, 32) * 2 - 1)
    assert all(value.ndim == 0 and value.isfinite() for value in losses.values())
    losses["loss"].backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_loss_takes_its_randomness_from_the_generator_only(method):
    images = torch.rand(4, 1, 32, 32) * 2 - 1
    model = build(method)
    values = []
    for global_seed in (1, 2):
        torch.manual_seed(global_seed)
        values.append(drawn_losses(model, images)["loss"].item())
    assert values[0] == values[1]


def test_module_is_named_after_its_method(method):
    module = importlib.import_module(f"medae.models.methods.{method}")
    assert getattr(module, methods.REGISTRY[method].class_name).__module__ == module.__name__


def test_every_method_has_a_schema_entry_and_defaults_in_the_configuration(method, root):
    schema = yaml.safe_load((root / "workflow/schemas/config.schema.yaml").read_text())
    entry = schema["properties"]["methods"]["properties"][method]
    config = yaml.safe_load((root / "config/config.yaml").read_text())["methods"][method]
    defaults = {key: value["default"] for key, value in entry["properties"].items()}
    assert config == defaults
    assert method in schema["$defs"]["method"]["enum"]
    build(method, **config)


def test_autoencoder_loss_is_the_mean_squared_error():
    model = build("ae")
    images = torch.rand(4, 1, 32, 32) * 2 - 1
    with torch.no_grad():
        reconstruction = model(images)
        loss = drawn_losses(model, images)["loss"]
    expected = np.mean((reconstruction.numpy() - images.numpy()) ** 2)
    assert loss.item() == pytest.approx(expected, rel=1e-6)


def test_kl_divergence_by_hand():
    mean = torch.tensor([[0.0, 1.0]])
    log_variance = torch.tensor([[0.0, math.log(4.0)]])
    # First dimension: 0. Second: ½ (μ² + σ² − 1 − log σ²) = ½ (1 + 4 − 1 − log 4). Mean of both.
    expected = 0.5 * (0.0 + 0.5 * (4 - math.log(4)))
    assert kl_divergence(mean, log_variance).item() == pytest.approx(expected, rel=1e-6)


def test_variational_loss_adds_the_weighted_kl():
    model = build("vae", kl_weight=0.5)
    losses = drawn_losses(model, torch.rand(4, 1, 32, 32))
    assert losses["loss"].item() == pytest.approx(losses["mse"].item() + 0.5 * losses["kl"].item())


def test_variational_training_samples_around_the_mean_with_its_variance():
    model = build("vae", latent_dim=2)
    seen = []
    model.decode = lambda latents: seen.append(latents) or torch.zeros(4096, 1, 32, 32)
    mean = torch.tensor([1.0, -2.0]).expand(4096, 2)
    model.posterior = lambda images: (mean, torch.tensor([0.0, math.log(9.0)]).expand(4096, 2))
    drawn_losses(model, torch.zeros(4096, 1, 32, 32))
    assert seen[0].mean(dim=0).tolist() == pytest.approx([1, -2], abs=0.15)
    assert seen[0].std(dim=0).tolist() == pytest.approx([1, 3], rel=0.05)


def test_variational_scoring_at_mean_and_at_a_repeatable_sample():
    images = torch.rand(6, 1, 32, 32)
    at_mean, at_sample = build("vae").eval(), build("vae", score_at="sample").eval()
    with torch.no_grad():
        assert torch.equal(at_mean.encode(images), at_mean.posterior(images)[0])
        sample = at_sample.encode(images)
        assert not torch.allclose(sample, at_mean.encode(images))
        assert torch.allclose(sample.flip(0), at_sample.encode(images.flip(0)), atol=1e-6)


def test_hard_shrink_by_hand():
    attention = torch.tensor([[0.6, 0.3, 0.1]])
    # 0.1 ≤ 0.2 falls away; relu(a − λ)·a/|a − λ| leaves 0.6 and 0.3, which then sum to one.
    expected = [[0.6 / 0.9, 0.3 / 0.9, 0.0]]
    np.testing.assert_allclose(hard_shrink(attention, 0.2).numpy(), expected, rtol=1e-6)


def test_hard_shrink_without_survivors_stays_finite():
    assert torch.equal(hard_shrink(torch.full((1, 4), 0.25), 0.5), torch.zeros(1, 4))


def test_attention_entropy_by_hand():
    attention = torch.tensor([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]])
    assert attention_entropy(attention).item() == pytest.approx(math.log(2) / 2, abs=1e-6)


def test_memory_addressing_by_hand():
    model = build("memae", latent_dim=2, memory_slots=2, shrink_threshold=0.0)
    with torch.no_grad():
        model.memory.copy_(torch.eye(2))
        attention = model.attention(torch.tensor([[math.log(3.0), 0.0]]))
    np.testing.assert_allclose(attention.numpy(), [[0.75, 0.25]], rtol=1e-5)


def test_memory_starts_uniform_within_its_bound():
    memory = build("memae", latent_dim=16, memory_slots=500).memory.detach()
    assert memory.abs().max() <= 0.25
    assert memory.abs().max() > 0.24
    assert memory.mean().abs() < 0.01


def test_masked_square_by_hand():
    images = torch.zeros(200, 1, 16, 16)
    drawn = draw_corners(images.shape, 5, torch.Generator().manual_seed(0))
    masked = mask_square(images, 5, drawn)
    assert torch.equal(images, torch.zeros_like(images))
    assert set(masked.unique().tolist()) == {-1.0, 0.0}
    corners = set()
    for image, corner in zip(masked[:, 0], drawn, strict=True):
        rows, columns = (image == -1).nonzero(as_tuple=True)
        assert len(rows) == 25
        assert rows.max() - rows.min() == 4
        assert columns.max() - columns.min() == 4
        assert corner.tolist() == [rows.min(), columns.min()]
        corners.add(tuple(corner.tolist()))
    assert {row for row, _ in corners} == {column for _, column in corners} == set(range(12))


def test_context_loss_compares_with_the_whole_image():
    model = build("ceae")
    images = torch.rand(4, 1, 32, 32)
    with torch.no_grad():
        loss = drawn_losses(model, images, seed=3)["loss"]
        corners = draw_corners(images.shape, 10, torch.Generator().manual_seed(3))
        masked = mask_square(images, 10, corners)
        expected = (model(masked) - images).square().mean()
    assert loss.item() == pytest.approx(expected.item())
