"""What the files of methods say, and their own arithmetic against hand-computed values."""

import math

import numpy as np
import pytest
import torch
from drawn_losses import drawn_losses

from medae.base.errors import InputError
from medae.models import methods
from medae.models.methods import SIZES, read_methods
from medae.models.methods.memae import hard_shrink
from medae.models.methods.vae import kl_divergence


def build(method, latent_dim=3, **options):
    torch.manual_seed(0)
    return methods.build(method, image_size=32, channels=1, latent_dim=latent_dim, **options)


# --- files ---

KNOB = {"knob": {"type": "number", "default": 3, "description": "Of a method."}}
GOOD = f"""
class Helper: pass
class Good(Helper):
    display_name = "Good"
    options = {KNOB}
    note = "It is good."
    trained_as = "plain"
    def anomaly_map(self, images, latents, reconstructions): ...
"""
PLAIN = """
class Plain:
    display_name = "Plain"
"""
CHILD = """
from medae.models.methods.good import Good as Parent
class Child(Parent):
    display_name = "Child"
    options = {"more": {"default": 1, "description": "Of the child."}}
"""


def test_a_class_is_read_with_the_options_that_it_inherits(tmp_path):
    (tmp_path / "good.py").write_text(GOOD)
    (tmp_path / "child.py").write_text(CHILD)
    (tmp_path / "plain.py").write_text(PLAIN)
    (tmp_path / "_helper.py").write_text("1 / 0")
    found = read_methods(tmp_path)
    assert list(found) == ["child", "good", "plain"]
    assert found["good"] == ("Good", "Good", SIZES | KNOB, "It is good.", "plain", True)
    child = found["child"]
    assert (child.note, child.trained_as, child.own_map) == ("", "", True)
    assert found["plain"] == ("Plain", "Plain", SIZES, "", "", False)
    assert found["child"].defaults == {"width": 16, "hidden_dim": 1024, "knob": 3, "more": 1}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("class A(", "was never closed"),
        ("class A: pass", "0 of its classes have a display_name"),
        (GOOD + GOOD, "2 of its classes have a display_name"),
        (GOOD.replace("3,", "X,"), "malformed node or string on line 5"),
        (GOOD.replace("'default': 3, ", ""), "option knob needs a default and a description"),
        (GOOD.replace(str(KNOB), "[1]"), "have to be texts, and options a dict"),
        (GOOD.replace('"It is good."', "3"), "have to be texts, and options a dict"),
    ],
)
def test_a_file_that_is_no_method_is_named_with_the_fault(text, fault, tmp_path):
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(
        InputError, match=rf"mine\.py is not a method: .*{fault}.*__init__"
    ) as caught:
        read_methods(tmp_path)
    assert "\n" not in str(caught.value)


# --- arithmetic ---


def test_kl_divergence_by_hand():
    mean = torch.tensor([[0.0, 1.0]])
    log_variance = torch.tensor([[0.0, math.log(4.0)]])
    # First dimension: 0. Second: ½ (μ² + σ² − 1 − log σ²) = ½ (1 + 4 − 1 − log 4).
    expected = [[0, 0.5 * (4 - math.log(4))]]
    np.testing.assert_allclose(kl_divergence(mean, log_variance), expected, rtol=1e-6)
    model = build("vae", latent_dim=2, kl_weight=0.5)
    model.posterior = lambda images: (mean.expand(4, 2), log_variance.expand(4, 2))
    losses = drawn_losses(model, torch.rand(4, 1, 32, 32))
    assert losses["kl"].item() == pytest.approx(expected[0][1] / 2, rel=1e-6)
    assert losses["loss"].item() == pytest.approx(losses["mse"].item() + 0.5 * losses["kl"].item())
    bits = model.rate(torch.zeros(4, 1, 32, 32)).tolist()
    assert bits == pytest.approx([expected[0][1] / math.log(2)] * 4)


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
        elsewhere = images * (1 + 1e-6)  # another device divides a bit differently
        assert torch.allclose(sample, at_sample.encode(elsewhere), atol=1e-4)


def test_hard_shrink_by_hand():
    attention = torch.tensor([[0.6, 0.3, 0.1]])
    # 0.1 ≤ 0.2 falls away; relu(a − λ)·a/|a − λ| leaves 0.6 and 0.3, which then sum to one.
    expected = [[0.6 / 0.9, 0.3 / 0.9, 0.0]]
    np.testing.assert_allclose(hard_shrink(attention, 0.2).numpy(), expected, rtol=1e-6)
    assert torch.equal(hard_shrink(torch.full((1, 4), 0.25), 0.5), torch.zeros(1, 4))


def test_attention_entropy_by_hand():
    model = build("memae", memory_slots=3, entropy_weight=0.5)
    model.attention = lambda latents: torch.tensor([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]])
    losses = drawn_losses(model, torch.rand(2, 1, 32, 32))
    assert losses["entropy"].item() == pytest.approx(math.log(2) / 2, abs=1e-6)
    expected = losses["mse"].item() + 0.5 * losses["entropy"].item()
    assert losses["loss"].item() == pytest.approx(expected)


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
    model = build("ceae", mask_side=5)
    images = torch.zeros(200, 1, 16, 16)
    drawn = model.noise(images.shape, torch.Generator().manual_seed(0))
    masked = model.masked(images, drawn)
    assert not images.any()
    assert set(masked.unique().tolist()) == {-1.0, 0.0}
    for image, corner in zip(masked[:, 0], drawn, strict=True):
        rows, columns = (image == -1).nonzero(as_tuple=True)
        assert len(rows) == 25
        assert (rows.max() - rows.min(), columns.max() - columns.min()) == (4, 4)
        assert corner.tolist() == [rows.min(), columns.min()]
    assert all(set(places) == set(range(12)) for places in drawn.T.tolist())


def test_context_loss_compares_with_the_whole_image():
    model = build("ceae")
    images = torch.rand(4, 1, 32, 32)
    with torch.no_grad():
        loss = drawn_losses(model, images, seed=3)["loss"]
        corners = model.noise(images.shape, torch.Generator().manual_seed(3))
        expected = (model(model.masked(images, corners)) - images).square().mean()
    assert loss.item() == pytest.approx(expected.item())
