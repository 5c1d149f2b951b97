"""Methods with a rate: priors against integrals, counts and values by hand."""

import math

import numpy as np
import pytest
import torch
from drawn_losses import drawn_losses
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import logistic

from medae.models import methods
from medae.models.methods.entropy_ae import GAIN, LEAST_SCALE, FactorisedPrior


def make_prior(weights, means, scales):
    """Return the prior of given weights, means and scales, each d × mixtures."""
    weights, means, scales = (torch.tensor(part) for part in (weights, means, scales))
    prior = FactorisedPrior(latent_dim=weights.shape[0], mixtures=weights.shape[1])
    with torch.no_grad():
        prior.logits.copy_(weights.log() / GAIN)
        prior.means.copy_(means)
        prior.log_scales.copy_((scales - LEAST_SCALE).log() / GAIN)
    return prior


def build(latent_dim=4, **options):
    torch.manual_seed(0)
    return methods.build(
        "entropy_ae", image_size=16, channels=1, latent_dim=latent_dim, hidden_dim=32, **options
    )


def train(model, images, steps):
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(steps):
        losses = model.loss(images, model.noise(images.shape, generator))
        optimizer.zero_grad()
        losses["loss"].backward()
        optimizer.step()
    return {name: value.item() for name, value in losses.items()}


def blobs(count, seed=0):
    """Return images of a bright square that moves along one diagonal."""
    places = np.random.default_rng(seed).integers(0, 12, count)
    images = -torch.ones(count, 1, 16, 16)
    for image, place in zip(images, places, strict=True):
        image[0, place : place + 4, place : place + 4] = 1.0
    return images


def test_bits_by_hand_for_one_logistic():
    prior = make_prior([[1.0]], [[0.0]], [[1.0]])
    # σ(½) − σ(−½) = tanh(¼); σ(3/2) − σ(½) from the values of σ.
    expected = [-math.log2(math.tanh(0.25)), -math.log2(0.8175744762 - 0.6224593312)]
    bits = prior.bits(torch.tensor([[0.0], [1.0]]))
    np.testing.assert_allclose(bits[:, 0].detach(), expected, rtol=1e-5)


@settings(max_examples=25, deadline=None)
@given(
    value=st.floats(-8, 8),
    weight=st.floats(0.05, 0.95),
    means=st.tuples(st.floats(-5, 5), st.floats(-5, 5)),
    scales=st.tuples(st.floats(0.3, 4), st.floats(0.3, 4)),
)
def test_bits_are_the_integral_of_the_density_over_a_bin(value, weight, means, scales):
    prior = make_prior([[weight, 1 - weight]], [list(means)], [list(scales)])

    def density(x):
        parts = logistic.pdf(x, loc=means, scale=scales)
        return weight * parts[0] + (1 - weight) * parts[1]

    mass = quad(density, value - 0.5, value + 0.5)[0]
    bits = prior.bits(torch.tensor([[value]], dtype=torch.float32))
    assert bits.item() == pytest.approx(-math.log2(mass), rel=1e-3, abs=1e-4)


def test_masses_of_all_bins_sum_to_one():
    prior = make_prior([[0.2, 0.8]], [[-1.3, 2.4]], [[0.7, 0.1]])
    numbers = torch.arange(-60.0, 61.0)[:, None]
    masses = 2 ** -prior.bits(numbers + prior.centres)
    assert masses.sum().item() == pytest.approx(1, abs=1e-5)


def test_bits_and_gradients_are_finite_however_far_out():
    prior = make_prior([[0.5, 0.5]], [[0.0, 1.0]], [[0.1, 2.0]])
    values = torch.tensor([[-1e6], [-300.0], [0.0], [300.0], [1e6]], requires_grad=True)
    bits = prior.bits(values)
    bits.sum().backward()
    assert bits.isfinite().all()
    assert values.grad.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in prior.parameters())
    # Far out the widest logistic decides: 1 / (2 ln 2) bits more for each bin, on either side.
    slope = 1 / (2 * math.log(2))
    expected = [-slope, -slope, slope, slope]
    np.testing.assert_allclose(values.grad[[0, 1, 3, 4], 0], expected, rtol=1e-4)


def test_bins_are_centred_at_the_heaviest_component():
    prior = make_prior([[0.3, 0.7], [0.6, 0.4]], [[0.0, 3.4], [-2.2, 1.0]], [[1.0, 1.0]] * 2)
    assert prior.centres.tolist() == pytest.approx([3.4, -2.2], abs=1e-5)
    assert not prior.centres.requires_grad


def test_latents_are_whole_numbers_and_decoded_at_the_middles_of_their_bins():
    model = build().eval()
    images = torch.rand(5, 1, 16, 16) * 2 - 1
    with torch.no_grad():
        model.prior.means.add_(0.37)
        model.encoder.bottleneck[-1].weight.mul_(20)
        latents = model.encode(images)
        values = latents + model.prior.centres
        assert (values - model.encoder(images)).abs().max() <= 0.5 + 1e-5
        torch.testing.assert_close(model.decode(latents), model.decoder(values))
    assert torch.equal(latents, latents.round())
    assert len(latents.unique()) > 1


def test_rate_is_the_sum_of_bits_and_does_not_depend_on_the_batch():
    model = build().eval()
    images = torch.rand(6, 1, 16, 16)
    with torch.no_grad():
        rate = model.rate(images)
        bits = model.bits(model.encode(images))
        alone = torch.cat([model.rate(image[None]) for image in images])
    assert rate.shape == (6,)
    torch.testing.assert_close(rate, bits.sum(dim=1))
    torch.testing.assert_close(rate, alone)


def test_rate_bounds_the_empirical_entropy_from_above():
    """A cross-entropy is at least the entropy, whatever the prior; here per dimension."""
    model = build(latent_dim=3).eval()
    numbers = torch.randn(5000, 3, generator=torch.Generator().manual_seed(1)) * 2
    latents = numbers.round()
    with torch.no_grad():
        bits = model.bits(latents).mean(dim=0)
    for column, spent in zip(latents.T, bits, strict=True):
        shares = column.unique(return_counts=True)[1] / len(column)
        assert spent >= -(shares * shares.log2()).sum()


def test_loss_weighs_the_rate_at_noise_within_half_a_bin():
    model = build(rate_weight=0.25).eval()
    images = torch.rand(4, 1, 16, 16)
    with torch.no_grad():
        losses = drawn_losses(model, images, seed=3)
        values = model.encoder(images)
        noise = torch.rand(4, 4, generator=torch.Generator().manual_seed(3)) - 0.5
        rate = model.prior.bits(values + noise).sum(dim=1).mean()
        mse = (model.decoder(values + noise) - images).square().mean()
    assert losses["rate"].item() == pytest.approx(rate.item(), rel=1e-5)
    assert losses["mse"].item() == pytest.approx(mse.item(), rel=1e-5)
    expected = losses["mse"].item() + 0.25 * losses["rate"].item()
    assert losses["loss"].item() == pytest.approx(expected)


def test_training_lowers_the_rate_the_more_the_rate_weighs():
    images = blobs(32)
    rates = []
    for rate_weight in (1e-5, 1e-3, 1e-1):
        model = build(latent_dim=8, rate_weight=rate_weight, width=4)
        train(model, images, 60)
        with torch.no_grad():
            rates.append(model.eval().rate(images).mean().item())
    assert rates[0] > rates[1] + 1 > rates[2] + 2


def test_prior_learns_the_entropy_of_a_known_distribution():
    """A cross-entropy is least at the truth: uniform noise on 8 numbers has 3 bits."""
    prior = FactorisedPrior(latent_dim=1, mixtures=3)
    random = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(prior.parameters(), lr=1e-2)
    for _ in range(800):
        numbers = torch.randint(-4, 4, (256, 1), generator=random).float()
        loss = prior.bits(numbers).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    bits = prior.bits(torch.arange(-4.0, 4.0)[:, None]).mean().item()
    assert 3 <= bits < 3.25


def test_variational_rate_by_hand():
    model = methods.build("vae", image_size=16, channels=1, latent_dim=2, hidden_dim=32)
    mean = torch.tensor([[0.0, 1.0], [0.0, 0.0]])
    log_variance = torch.tensor([[0.0, math.log(4.0)], [0.0, 0.0]])
    model.posterior = lambda images: (mean, log_variance)
    # ½ (μ² + σ² − 1 − log σ²) = ½ (1 + 4 − 1 − log 4) nats; a posterior that is the prior has none.
    expected = [0.5 * (4 - math.log(4)) / math.log(2), 0.0]
    np.testing.assert_allclose(model.rate(torch.zeros(2, 1, 16, 16)), expected, atol=1e-6)


def test_variational_rate_is_the_expected_log_ratio_of_posterior_and_prior():
    model = methods.build("vae", image_size=16, channels=1, latent_dim=2, hidden_dim=32)
    mean, deviation = torch.tensor([[1.5, -0.5]]), torch.tensor([[0.3, 2.0]])
    model.posterior = lambda images: (mean, 2 * deviation.log())
    posterior = torch.distributions.Normal(mean, deviation)
    torch.manual_seed(0)
    draws = posterior.sample((200_000,))
    ratio = posterior.log_prob(draws) - torch.distributions.Normal(0, 1).log_prob(draws)
    expected = ratio.sum(dim=2).mean().item() / math.log(2)
    assert model.rate(torch.zeros(1, 1, 16, 16)).item() == pytest.approx(expected, rel=0.02)
