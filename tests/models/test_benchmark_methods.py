"""The reference benchmark's other methods: losses, anomaly maps and latents by hand."""

import math

import numpy as np
import pytest
import torch
from drawn_losses import drawn_losses
from small_models import SIZES, equal, fit, make_images, make_model, scores_of

from medae.models import methods
from medae.models.methods.ae_ssim import similarity
from medae.models.networks import normalise

IMAGES = make_images().numpy()


def fixed(method, reconstructions, latents=((0.0, 0.0),)):
    """Return a model that encodes to `latents` and whose decoder gives `reconstructions`."""
    model = make_model(method)
    model.encode = lambda images: torch.tensor(latents)
    model.decoder.forward = lambda latents: torch.tensor(reconstructions)
    return model


# --- absolute error ---


def test_absolute_and_squared_error_by_hand():
    images = torch.tensor([[[[0.0, 0.0]], [[-1.0, 0.0]]]])  # errors ½, 0 and 2, 1 in two channels
    for method, loss in (("ae", (0.25 + 4 + 1) / 4), ("ae_l1", (0.5 + 2 + 1) / 4)):
        model = fixed(method, [[[[0.5, 0.0]], [[1.0, -1.0]]]])
        assert drawn_losses(model, images)["loss"].item() == pytest.approx(loss)
    assert model.anomaly_map(images, None, model(images)).tolist() == [[[1.25, 0.5]]]


# --- structural similarity ---


def windowed_similarity(a, b):
    """SSIM of two images H × W, window by window, in float64."""
    offsets = np.arange(-5, 6)
    weights = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * 1.5**2))
    weights /= weights.sum()
    found = np.empty((a.shape[0] - 10, a.shape[1] - 10))
    for i, j in np.ndindex(found.shape):
        p, q = (x[i : i + 11, j : j + 11].astype(np.float64) for x in (a, b))
        m, n = (weights * p).sum(), (weights * q).sum()
        variances = (weights * ((p - m) ** 2 + (q - n) ** 2)).sum()
        covariance = (weights * (p - m) * (q - n)).sum()
        found[i, j] = (2 * m * n + 0.01**2) * (2 * covariance + 0.03**2)
        found[i, j] /= (m**2 + n**2 + 0.01**2) * (variances + 0.03**2)
    return found


def test_similarity_equals_a_brute_force():
    rng = np.random.default_rng(0)
    first = rng.random((2, 3, 20, 17), np.float32)
    first[:, 1] /= 100  # where means are small, its constants count
    second = np.clip(first + 0.2 * rng.normal(size=first.shape), 0, 1).astype(np.float32)
    found = similarity(torch.from_numpy(first), torch.from_numpy(second))
    assert found.shape == (2, 3, 10, 7) and found.std() > 0.01
    for index in np.ndindex(2, 3):
        expected = windowed_similarity(first[index], second[index])
        np.testing.assert_allclose(found[index], expected, atol=2e-5)


def test_similarity_is_of_images_in_0_to_1_and_the_score_is_its_complement():
    reconstruction = np.random.default_rng(1).normal(size=(1, 1, 16, 16)).astype(np.float32)
    model = fixed("ae_ssim", reconstruction.tolist())
    assert np.abs(reconstruction).max() > 1  # so it is clamped
    image = normalise(torch.from_numpy(IMAGES[:1]))
    first, second = (np.clip((x[0, 0] + 1) / 2, 0, 1) for x in (image.numpy(), reconstruction))
    expected = 1 - windowed_similarity(first, second)
    np.testing.assert_allclose(model.anomaly_map(image, None, model(image))[0], expected, atol=1e-5)
    assert drawn_losses(model, image)["loss"].item() == pytest.approx(expected.mean(), abs=1e-5)
    found = scores_of(model.eval(), IMAGES[:1], 1)
    assert found["maps"].shape == (1, 16, 16)
    assert found["scores"][0] == pytest.approx(expected.mean(), abs=1e-5)


def test_similarity_above_1_by_rounding_is_no_negative_anomaly():
    generator = torch.Generator().manual_seed(0)
    image = 0.1 * torch.rand(1, 1, 64, 64, generator=generator)
    again = image + 2e-7
    assert similarity((image + 1) / 2, (again + 1) / 2).max() > 1
    found = make_model("ae_ssim").anomaly_map(image, None, again)
    assert 0 == found.min() < found.max() < 1e-3


# --- constraint on the latent ---


def test_constraint_by_hand():
    model = make_model("constrained_ae")
    image, reconstruction = torch.zeros(1, 1, 1, 2), torch.tensor([[[[1.0, 3.0]]]])
    model.encode = lambda x: x.flatten(1) + 1  # z = (1, 1), encoder(x̂) = (2, 4)
    model.decode = lambda latents: reconstruction
    losses = {key: value.item() for key, value in drawn_losses(model, image).items()}
    assert losses == {"loss": 10, "mse": (1 + 9) / 2, "latent_mse": (1 + 9) / 2}


def test_constraint_reaches_the_encoder_from_both_sides():
    """Neither latent is held fixed."""
    model, images = make_model("constrained_ae"), normalise(make_images())
    seen, encode = [], model.encode
    model.encode = lambda x: seen.append(encode(x)) or seen[-1]
    model.decode = lambda latents: images.flip(0)  # so that no gradient passes through it
    latent_mse = drawn_losses(model, images)["latent_mse"]
    gradients = torch.autograd.grad(latent_mse, seen)
    assert all(gradient.abs().max() > 0 for gradient in gradients)


# --- predicted variance ---


def test_predicted_variance_by_hand():
    model = fixed("aeu", [[[[1.0, 0.0]], [[math.log(4), math.log(0.5)]]]])  # x̂, then log σ²
    image = torch.tensor([[[[-1.0, 1.0]]]])  # squared errors 4, 1; over σ²: 1, 2
    losses = {key: value.item() for key, value in drawn_losses(model, image).items()}
    log_variance = (math.log(4) + math.log(0.5)) / 2
    assert losses["error"] == pytest.approx(1.5)
    assert losses["log_variance"] == pytest.approx(log_variance)
    assert losses["loss"] == pytest.approx(1.5 + log_variance)
    reconstruction = model.decode(model.encode(image))
    assert reconstruction.tolist() == [[[[1, 0]]]]
    found = model.anomaly_map(image, model.encode(image), reconstruction)
    np.testing.assert_allclose(found, [[[1, 2]]], rtol=1e-6)


def test_predicted_variance_of_colour_is_each_channels():
    model = fixed("aeu", [[[[0.0]], [[0.0]], [[math.log(2)]], [[math.log(8)]]]])
    image = torch.tensor([[[[2.0]], [[4.0]]]])  # 4 / 2 and 16 / 8
    assert model.anomaly_map(image, model.encode(image), model(image)).item() == pytest.approx(2)


# --- spatial latent ---


def test_a_spatial_latent_is_an_image_in_a_row():
    model = methods.build("ae_spatial", image_size=64, channels=1, latent_dim=3, hidden_dim=8)
    model.eval()
    image = torch.zeros(1, 1, 64, 64)
    other = image.clone()
    other[..., 63, 63] = 1
    with torch.no_grad():
        latents = [model.encode(x) for x in (image, other)]
    changed = (latents[0] != latents[1]).view(3, 4, 4)  # a corner reaches the places next to it
    assert changed[:, 3, 3].all() and not changed[:, :2, :].any() and not changed[:, :, :2].any()


# --- scores of trained models ---


TRAINED_AS = {key: of.trained_as for key, of in methods.METHODS.items() if of.trained_as}


@pytest.mark.parametrize(("method", "of"), TRAINED_AS.items())
def test_a_score_of_a_trained_model_leaves_its_weights_and_errors(method, of, tmp_path):
    (first, history), (second, again) = (fit(tmp_path / name, method=name) for name in (method, of))
    assert equal(first, second) and history.equals(again)
    found, plain = (scores_of(model.eval(), IMAGES, 13) for model in (first, second))
    np.testing.assert_allclose(found["errors"], plain["errors"], rtol=1e-6)
    assert np.corrcoef(found["scores"], plain["scores"])[0, 1] < 0.999


def slopes(value, images):
    """|∂ value / ∂ pixel| by central differences in float64, as `images`."""
    found = np.empty(images.shape)
    for c, i, j in np.ndindex(images.shape[1:]):
        step = torch.zeros_like(images)
        step[:, c, i, j] = 1e-6
        with torch.no_grad():
            found[:, c, i, j] = ((value(images + step) - value(images - step)) / 2e-6).abs()
    return found


def error_of(model):
    return lambda x: (model.decode(model.encode(x)) - x).square().mean(dim=(1, 2, 3))


def kl_of(model):
    def kl(x):
        mean, log_variance = model.posterior(x)
        return 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).mean(dim=1)

    return kl


@pytest.mark.parametrize(
    ("method", "value", "weighed"),
    [("ae_grad", error_of, False), ("vae_rec", error_of, False), ("vae_combi", kl_of, True)],
)
def test_gradient_maps_equal_finite_differences(method, value, weighed):
    """They are means over channels, here two; BatchNorm has seen the images."""
    torch.manual_seed(0)
    model = methods.build(method, **SIZES | {"channels": 2})
    images = np.random.default_rng(0).integers(0, 256, (4, 2, 16, 16), np.uint8)
    floats = normalise(torch.from_numpy(images))
    with torch.no_grad():
        drawn_losses(model, floats)
    found = scores_of(model.eval(), images, 3)
    expected = slopes(value(model.double()), floats.double())
    if weighed:
        expected *= (floats.numpy() - found["reconstructions"]) ** 2
    expected = expected.mean(axis=1)
    scale = expected.max()
    assert scale > 0
    np.testing.assert_allclose(found["maps"] / scale, expected / scale, atol=1e-4)
    np.testing.assert_allclose(found["scores"], found["maps"].mean(axis=(1, 2)), rtol=1e-5)
