"""Scoring: the squared error by hand, and methods that bring an anomaly map of their own."""

import numpy as np
import pytest
import torch
from small_models import SIZES, make_images, make_model, scores_of
from torch.nn import functional as F

from medae.base.errors import InputError
from medae.models.methods.ae import AutoEncoder
from medae.models.scoring import squared_error

IMAGES = make_images().numpy()


def test_score_by_hand():
    found = scores_of(make_model().eval(), IMAGES, 4)
    squared = (IMAGES / 127.5 - 1 - found["reconstructions"]) ** 2
    np.testing.assert_allclose(found["maps"], squared[:, 0], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found["scores"], squared.mean(axis=(1, 2, 3)), rtol=1e-5)
    assert np.array_equal(found["errors"], found["scores"])


def test_map_of_a_colour_image_is_the_mean_over_channels():
    images = torch.zeros(1, 3, 1, 1)
    reconstruction = torch.tensor([1.0, 2.0, 4.0]).view(1, 3, 1, 1)
    assert squared_error(images, None, reconstruction).item() == pytest.approx((1 + 4 + 16) / 3)


def test_scoring_in_training_mode_is_refused():
    with pytest.raises(ValueError, match="evaluation mode"):
        scores_of(make_model().train(), IMAGES, 4)


@pytest.mark.parametrize("largest", [5, 1])
def test_out_of_memory_in_scoring_goes_on_with_smaller_batches(largest, monkeypatch, caplog):
    model = make_model().eval()
    whole = scores_of(model, IMAGES, 8)
    original = AutoEncoder.decode

    def decode(self, latents):
        if len(latents) > largest:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return original(self, latents)

    monkeypatch.setattr(AutoEncoder, "decode", decode)
    found = scores_of(model, IMAGES, 8)
    assert "Scoring: out of memory with batches of 8 images; now 4." in caplog.text
    for name, values in whole.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-3, atol=1e-5)
    monkeypatch.setattr(AutoEncoder, "decode", lambda *_: decode(model, [0] * 9))
    with pytest.raises(InputError, match="even with 1"):
        scores_of(model, IMAGES, 8)


# --- methods with a map of their own ---


class Blocks(AutoEncoder):
    """The absolute error in 3 × 3 blocks of 4 × 4 pixels, weighed by the first latent."""

    def anomaly_map(self, images, latents, reconstructions):
        errors = F.avg_pool2d((images - reconstructions).abs(), 4, stride=6).mean(dim=1)
        return errors * latents[:, 0].exp()[:, None, None]


def test_the_score_is_the_mean_of_the_map_before_it_is_resized():
    torch.manual_seed(0)
    found = scores_of(Blocks(**SIZES).eval(), IMAGES, 4)
    difference = np.abs(IMAGES / 127.5 - 1 - found["reconstructions"])[:, 0]
    places = np.array([0, 6, 12])
    small = np.array(
        [[difference[:, i : i + 4, j : j + 4].mean((1, 2)) for j in places] for i in places]
    )
    small = np.moveaxis(small, -1, 0) * np.exp(found["latents"][:, 0])[:, None, None]
    np.testing.assert_allclose(found["scores"], small.mean(axis=(1, 2)), rtol=1e-5)
    assert found["maps"].shape == (13, 16, 16)
    across = (np.arange(16) + 0.5) * 3 / 16 - 0.5  # where pixels lie, in blocks
    for resized, blocks in zip(found["maps"], small, strict=True):
        np.testing.assert_allclose(resized[0], np.interp(across, range(3), blocks[0]), rtol=1e-4)
