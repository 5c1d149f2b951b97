"""Methods with a rate: the prior against integrals and values by hand."""

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
        torch.testing.assert_close(model.bits(latents), model.prior.bits(values))
        torch.testing.assert_close(model.rate(images), model.bits(latents).sum(dim=1))
    assert torch.equal(latents, latents.round())
    assert len(latents.unique()) > 1


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
