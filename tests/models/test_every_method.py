"""What every file in medae/models/methods has to pass; the list of methods is the folder's."""

import importlib
from collections import ChainMap

import numpy as np
import pytest
import torch
from drawn_losses import drawn_losses
from small_models import (
    CPU,
    arguments,
    equal,
    fit,
    make_images,
    make_model,
    one_by_one,
    scores_of,
    step_through,
    stop_at,
)

from medae.base.errors import InputError
from medae.models import methods, steps
from medae.models.checkpoints import load_checkpoint, save_checkpoint
from medae.models.networks import normalise, set_precision

PARAMETERS = [
    ("ae", 1, 1, 2_320_449),
    ("ae", 16, 1, 2_351_184),
    ("ae", 128, 1, 2_580_672),
    ("ae", 16, 3, 2_352_208),
    ("vae", 16, 1, 2_367_584),
    ("memae", 16, 1, 2_351_584),
    ("ceae", 16, 1, 2_351_184),
    ("ae_l1", 16, 1, 2_351_184),
    ("ae_ssim", 16, 1, 2_351_184),
    ("ae_spatial", 16, 1, 382_016),
    ("constrained_ae", 16, 1, 2_351_184),
    ("aeu", 16, 1, 2_351_440),
    ("ae_grad", 16, 1, 2_351_184),
    ("vae_rec", 16, 1, 2_367_584),
    ("vae_combi", 16, 1, 2_367_584),
]


@pytest.fixture(params=methods.METHODS)
def method(request):
    return request.param


# --- its class ---


@pytest.mark.parametrize(("name", "latent_dim", "channels", "expected"), PARAMETERS)
def test_parameter_counts_are_the_reference_codes(name, latent_dim, channels, expected):
    model = methods.build(name, image_size=64, channels=channels, latent_dim=latent_dim)
    assert sum(parameter.numel() for parameter in model.parameters()) == expected


def test_the_file_says_what_the_class_is(method):
    known = methods.METHODS[method]
    module = importlib.import_module(f"medae.models.methods.{method}")
    class_ = getattr(module, known.class_name)
    assert class_.__module__ == module.__name__
    assert class_.display_name == known.display_name
    assert vars(class_).get("note", "") == known.note
    assert vars(class_).get("trained_as", "") == known.trained_as
    options = (vars(one).get("options", {}) for one in class_.__mro__)
    assert known.options == ChainMap(*options, methods.SIZES)


@pytest.mark.parametrize("channels", [1, 3])
def test_shapes(method, channels):
    sizes = arguments(method) | {"channels": channels, "latent_dim": 5}
    model = methods.build(method, **sizes).eval()
    images = torch.rand(4, channels, 16, 16) * 2 - 1
    latents = model.encode(images)
    assert latents.shape == (4, 5)
    assert model.decode(latents).shape == images.shape


# --- its loss ---


def test_loss_is_a_finite_scalar_that_reaches_every_parameter(method):
    model = make_model(method)
    losses = drawn_losses(model, normalise(make_images()))
    assert all(value.ndim == 0 and value.isfinite() for value in losses.values())
    losses["loss"].backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_bfloat16_is_of_the_networks_alone(method, tmp_path):
    """Weights, gradients, latents and losses stay float32; losses of equal weights are close.

    After a few steps they need not be: a method can amplify the rounding, as where it encodes its
    reconstructions, which are nearly alike at first.
    """
    model, _ = fit(tmp_path / "a", method=method)
    lower, _ = fit(tmp_path / "b", method=method, precision="bfloat16")
    assert not equal(model, lower)
    images = normalise(make_images())
    losses = drawn_losses(lower, images)
    assert {value.dtype for value in losses.values()} == {torch.float32}
    assert lower.encode(images).dtype == torch.float32
    losses["loss"].backward()
    assert {p.grad.dtype for p in lower.parameters()} == {torch.float32}
    set_precision(lower, "float32")
    exact = drawn_losses(lower, images)
    for name, value in losses.items():
        assert value.item() == pytest.approx(exact[name].item(), rel=0.02, abs=1e-3)
        assert value.item() != exact[name].item()


# --- its training ---


@pytest.mark.parametrize(
    ("method", "precision"),
    [*((name, "float32") for name in methods.METHODS), ("ae", "tf32"), ("ae", "bfloat16")],
)
def test_resumed_training_equals_an_uninterrupted_one(method, precision, tmp_path):
    options = {"method": method, "precision": precision}
    whole, history = fit(tmp_path / "a", epochs=4, **options)
    with pytest.raises(InputError, match="stopped by"):
        fit(tmp_path / "b", epochs=4, stop=stop_at(3), **options)
    resumed, again = fit(tmp_path / "b", epochs=4, **options)
    assert equal(whole, resumed)
    assert history.equals(again)


def test_a_recorded_training_equals_one_without(method, monkeypatch, caplog, tmp_path):
    """The recording is replaced by what it does on the CPU: warm-up steps, then the same step."""
    replayed = []

    def record(taken, seen):
        for _ in range(steps.WARM_UP):
            one_by_one(taken, seen)
        return lambda new: replayed.append(1) or one_by_one(taken, new)

    monkeypatch.setattr(steps, "record", record)
    ((plain,), (recorded,)) = (
        step_through(tmp_path / str(r), method, records=r) for r in (False, True)
    )
    assert equal(plain.trainee.model, recorded.trainee.model)
    assert plain.history == recorded.history
    # Full and short batches: once to compare, then all after the first.
    assert len(replayed) == (1 + 3 * 3 - 1) + (1 + 3 - 1)
    assert caplog.text == ""


def test_a_loss_reads_no_value(method, monkeypatch):
    """On CUDA it would wait for the device, and could not be recorded."""
    model, images = make_model(method), normalise(make_images())
    noise = model.noise(images.shape, torch.Generator().manual_seed(0))

    def refuse(*_):
        raise AssertionError("a value was read")

    for name in ("item", "tolist", "numpy", "cpu", "__bool__", "__float__", "__int__", "__index__"):
        monkeypatch.setattr(torch.Tensor, name, refuse)
    model.loss(images, noise)["loss"].backward()


# --- its scores ---


@pytest.fixture
def trained(method, tmp_path):
    """The model as it is read again from its checkpoint."""
    model, _ = fit(tmp_path, method=method)
    path = tmp_path / "checkpoint.safetensors"
    save_checkpoint(path, model, {"method": method, "arguments": arguments(method)})
    loaded, _ = load_checkpoint(path, CPU)
    assert equal(model, loaded) and not loaded.training
    return loaded


def test_scores_do_not_depend_on_batch_size_or_order(trained):
    images = make_images().numpy()
    whole = scores_of(trained, images, 13)
    assert whole["maps"].shape == (13, 16, 16) and whole["scores"].std() > 0
    assert whole["maps"].min() >= 0
    for batch_size in (1, 4, 64):
        part = scores_of(trained, images, batch_size)
        np.testing.assert_allclose(part["scores"], whole["scores"], rtol=1e-5)
        np.testing.assert_allclose(part["maps"], whole["maps"], rtol=1e-3, atol=1e-5)
    order = np.random.default_rng(1).permutation(13)
    shuffled = scores_of(trained, images[order], 4)
    np.testing.assert_allclose(shuffled["scores"], whole["scores"][order], rtol=1e-5)
    if hasattr(trained, "rate"):
        images = normalise(make_images())
        with torch.no_grad():
            alone = torch.cat([trained.rate(image[None]) for image in images])
            np.testing.assert_allclose(trained.rate(images), alone, rtol=1e-4)
        assert alone.shape == (13,) and alone.min() >= 0


def test_scoring_leaves_the_model_alone_and_repeats(trained):
    before = {key: value.clone() for key, value in trained.state_dict().items()}
    first, again = (scores_of(trained, make_images().numpy(), 4) for _ in range(2))
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert all(torch.equal(before[key], value) for key, value in trained.state_dict().items())
    assert all(parameter.grad is None for parameter in trained.parameters())
