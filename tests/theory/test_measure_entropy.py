"""Entropy of models: the metric by brute force, a linear decoder by theory, the coded stream."""

import copy
from unittest.mock import Mock

import measure_entropy
import numpy as np
import pytest
import torch
from drawn_losses import drawn_losses
from measure_entropy import Network, entropy_of
from packed_files import write_audit, write_packed
from torch import nn

from medae.base.errors import InputError
from medae.base.files import read_table
from medae.data.packed import read_packed
from medae.models import methods
from medae.models.checkpoints import save_checkpoint
from medae.models.torch_setup import make_deterministic
from medae.theory.coding import decode_latents
from medae.theory.plan import ENTROPY_COLUMNS

CPU = torch.device("cpu")
SIZES = {"image_size": 16, "channels": 1, "latent_dim": 5, "width": 4, "hidden_dim": 32}
GROUPS = [0, 1, 0, 2, 1, *range(3, 58)]  # of 60 training images: 58 distinct ones


class Linear(nn.Module):
    """Projects on orthonormal directions and back: all that is lost is at right angles."""

    def __init__(self, latent_dim, pixels):
        super().__init__()
        random = np.random.default_rng(0)
        matrix = np.linalg.qr(random.standard_normal((pixels, latent_dim)))[0]
        self.matrix = nn.Parameter(torch.from_numpy(matrix.astype(np.float32)))

    def encode(self, images):
        return images.flatten(1) @ self.matrix

    def decode(self, latents):
        side = int(self.matrix.shape[0] ** 0.5)
        return (latents @ self.matrix.T).unflatten(1, (1, side, side))


def noise_images(n, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, 1, 16, 16), dtype=np.uint8)


def trained_looking(method, **options):
    """Return a model in evaluation mode whose BatchNorm has seen images."""
    torch.manual_seed(0)
    model = methods.build(method, **SIZES | options)
    images = torch.from_numpy(noise_images(64)).float() / 127.5 - 1
    with torch.no_grad():
        for _ in range(20):
            drawn_losses(model, images)
    return model.eval()


def network(model, batch_size=8):
    return Network(model, device=CPU, batch_size=batch_size)


@pytest.mark.parametrize("method", sorted(methods.METHODS))
def test_the_metric_equals_finite_differences(method):
    model = trained_looking(method).double()
    latents = torch.randn(3, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    step = 1e-6
    expected = np.zeros((5, 5))
    with torch.no_grad():
        for z in latents:
            columns = [
                (model.decode((z + e)[None]) - model.decode((z - e)[None])).flatten() / (2 * step)
                for e in step * torch.eye(5, dtype=torch.float64)
            ]
            jacobian = torch.stack(columns, dim=1).numpy()
            expected += jacobian.T @ jacobian / 256 / 3
    found = network(model, batch_size=2).decoder_metric(latents.numpy())
    assert np.abs(expected).max() > 1e-12
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("rise", [0.001, 0.1, 0.3])
def test_a_linear_decoder_has_the_entropy_of_the_theory(rise):
    model, images = Linear(4, 256), noise_images(600)
    found = entropy_of(network(model, 200), images, metric_images=6, rise=rise)
    inputs = torch.from_numpy(images).float() / 127.5 - 1
    with torch.no_grad():
        latents = model.encode(inputs)
        error = (model.decode(latents) - inputs).square().mean().item()
    gains = np.linalg.eigvalsh(np.cov(latents.numpy().T, bias=True))[::-1] / 256
    level = found["level"]
    if rise * error < gains.sum():
        risen = (gains / (1 + gains / level)).sum()  # sμ / (s + μ)
        assert risen == pytest.approx(rise * error, rel=0.1)
    else:  # the mean latent would do
        assert level == np.inf
        assert found["gaussian_bits"] == found["knn_bits"] == found["dims_in_use"] == 0
    bits = 0.5 * np.log2(1 + gains / level)
    assert found["gaussian_bits"] == pytest.approx(bits.sum())
    assert found["knn_bits"] == pytest.approx(bits.sum(), abs=0.3)
    assert found["dims_in_use"] == (bits >= 0.1).sum()
    assert found["participation_ratio"] == pytest.approx(gains.sum() ** 2 / (gains**2).sum())
    assert found["reconstruction_error"] == pytest.approx(error)
    assert found["n_images"] == 600


@pytest.mark.parametrize(("n", "measured"), [(8, True), (7, False)])
def test_too_few_images_have_no_entropy(n, measured):
    found = entropy_of(network(Linear(4, 256)), noise_images(n), metric_images=2, rise=0.001)
    assert np.isfinite(found["gaussian_bits"]) == measured
    assert found["n_images"] == n


@pytest.mark.parametrize("method", ["ae", "entropy_ae"])
def test_measuring_leaves_the_model_and_repeats(method):
    model, images = trained_looking(method), noise_images(20, seed=1)
    before = copy.deepcopy(model.state_dict())
    first, again, other = (
        entropy_of(network(model, size), images, metric_images=6, rise=1e-3) for size in (8, 8, 3)
    )
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not model.training
    assert first == again
    assert other == pytest.approx(first, rel=1e-2)


def test_batches_get_smaller_when_memory_runs_out(caplog):
    def compute(rows):
        if rows.stop - rows.start > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return torch.arange(rows.start, rows.stop)

    small = network(None)
    assert small.batched(compute, 10).tolist() == list(range(10))
    assert small.batch_size == 2  # and stays so
    assert len(caplog.records) == 2

    for error, raised, text in (
        (torch.OutOfMemoryError("CUDA out of memory"), InputError, "Measuring entropy: out of"),
        (RuntimeError("shapes do not match"), RuntimeError, "shapes"),
    ):
        with pytest.raises(raised, match=text):
            small.batched(Mock(side_effect=error), 2)


@pytest.fixture
def measure(tmp_path):
    """Measure a checkpoint of a method, for two seeds; return quantity by seed."""
    make_deterministic(1)  # as the script does, so that models are the same before and after it
    test = noise_images(300, seed=1)
    labels = np.repeat([0, 1], 150)
    packed = write_packed(tmp_path / "toy.h5", noise_images(60), test, labels, source_sha256="toy")
    data = read_packed(packed)
    groups = [*GROUPS, *range(100, 400)]
    write_audit(tmp_path / "images.tsv", data.train_ids, data.test_ids, copy_group=groups)

    def run(method="ae", spread=None):
        model = trained_looking(method)
        if spread is not None:  # latents that reach further than the prior expects
            with torch.no_grad():
                model.encoder.bottleneck[-1].weight.mul_(spread)
                model.prior.log_scales.add_(0.1)
        description = {"method": method, "arguments": SIZES, "dataset_sha256": "toy"}
        description["training"] = {"precision": "float32"}
        save_checkpoint(tmp_path / "model.safetensors", model, description)
        measure_entropy.measure_entropy(
            packed=packed,
            audit=tmp_path / "images.tsv",
            checkpoints=[tmp_path / "model.safetensors"] * 2,
            dataset="toy",
            method=f"{method}_small",
            latent_dim=5,
            seeds=[0, 7],
            device="cpu",
            torch_threads=1,
            batch_size=64,
            metric_images=4,
            rise=0.1,
            table=tmp_path / "entropy.tsv",
        )
        table = read_table(tmp_path / "entropy.tsv", ENTROPY_COLUMNS)
        assert set(table["method"]) == {f"{method}_small"}
        return table.pivot(index="seed", columns="quantity", values="value")

    return run


def test_the_table(measure):
    found = measure()
    assert found.loc[0].equals(found.loc[7])
    assert (found["n_images"] == 57 + 1).all()  # one of each copy group
    assert (found["gaussian_bits"] >= 0).all() and (found["reconstruction_error"] > 0).all()
    assert not {"rate_bits", "stream_bits"} & set(found)


@pytest.mark.parametrize("spread", [0.0, 40.0])
def test_the_stream_is_as_long_as_the_rate(measure, spread):
    found = measure("entropy_ae", spread=spread).loc[0]
    assert found["stream_bits"] == pytest.approx(found["rate_test_bits"], rel=0.05)


def test_rates_are_the_models(measure):
    model, found = trained_looking("entropy_ae"), measure("entropy_ae").loc[0]
    with torch.no_grad():
        for images, seed, name in ((300, 1, "rate_test_bits"), (60, 0, "rate_bits")):
            rows = noise_images(images, seed=seed)
            rows = rows if seed else np.delete(rows, [2, 4], axis=0)  # without duplicates
            expected = model.rate(torch.from_numpy(rows) / 127.5 - 1).mean().item()
            assert found[name] == pytest.approx(expected, rel=1e-4)


def test_a_stream_that_comes_back_wrong_is_refused(measure, monkeypatch):
    monkeypatch.setattr(measure_entropy, "decode_latents", lambda *code: decode_latents(*code) + 1)
    with pytest.raises(InputError, match="come back"):
        measure("entropy_ae")
