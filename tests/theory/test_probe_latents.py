"""Probes of models: the metric by brute force, the errors of a linear decoder, and the files."""

import copy

import numpy as np
import pandas as pd
import pytest
import torch
from drawn_losses import drawn_losses
from probe_latents import Batches, decoder_metric, probe_latents, probe_model
from torch import nn

from medae.base.errors import InputError
from medae.base.files import write_table
from medae.data.packed import PackedDataset
from medae.duplicates.audit import IMAGE_COLUMNS
from medae.models import methods
from medae.models.checkpoints import save_checkpoint
from medae.theory.entropy import Channel
from medae.theory.probe_files import Probe, first_of_groups, read_probe, write_probe

CPU = torch.device("cpu")
SIZES = {"image_size": 16, "channels": 1, "latent_dim": 5, "width": 4, "hidden_dim": 32}


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


def noise_images(n, side=16, seed=0):
    random = np.random.default_rng(seed)
    return random.integers(0, 256, (n, 1, side, side), dtype=np.uint8)


def trained_looking(method, **options):
    """Return a model in evaluation mode whose BatchNorm has seen images."""
    torch.manual_seed(0)
    model = methods.build(method, **SIZES | options)
    images = torch.from_numpy(noise_images(64)).float() / 127.5 - 1
    with torch.no_grad():
        for _ in range(20):
            drawn_losses(model, images)
    return model.eval()


def probe(model, images, **changes):
    arguments = {"test_images": images[:3], "device": CPU, "batch_size": 8}
    arguments |= {"metric_images": 6, "levels": 12}
    return probe_model(model, images, **arguments | changes)


@pytest.mark.parametrize("method", sorted(methods.REGISTRY))
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
        found = decoder_metric(model.decode, latents.numpy(), device=CPU, batches=Batches(2))
    assert np.abs(expected).max() > 1e-12
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def test_the_errors_of_a_linear_decoder_are_those_of_the_theory():
    n, d = 600, 4
    model = Linear(d, 16 * 16)
    found = probe(model, noise_images(n), batch_size=200, levels=10)
    assert found.metric == pytest.approx(np.eye(d) / 256, abs=1e-7)
    gains = Channel.fit(found.latents, found.metric).gains
    assert gains == pytest.approx(
        np.linalg.eigvalsh(np.cov(found.latents.T, bias=True))[::-1] / 256
    )
    for level, error in zip(found.levels, found.errors, strict=True):
        theory = (gains / (1 + gains / level)).sum()  # sμ / (s + μ), and μ where s is inf
        assert error - found.error == pytest.approx(theory, rel=0.1, abs=1e-6)
    assert found.errors[-1] - found.error == pytest.approx(gains.sum(), rel=1e-4)


@pytest.mark.parametrize("method", sorted(methods.REGISTRY))
def test_probing_leaves_the_model_and_repeats(method):
    model = trained_looking(method)
    images = noise_images(20, seed=1)
    before = copy.deepcopy(model.state_dict())
    first, again = probe(model, images), probe(model, images)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not model.training
    for name in ("latents", "metric", "levels", "errors"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    other = probe(model, images, batch_size=3)
    np.testing.assert_allclose(other.errors, first.errors, rtol=1e-4)
    np.testing.assert_allclose(other.metric, first.metric, atol=1e-5 * np.abs(first.metric).max())
    with torch.no_grad():
        inputs = torch.from_numpy(images).float() / 127.5 - 1
        error = (model.decode(model.encode(inputs)) - inputs).square().mean().item()
        assert first.error == pytest.approx(error, rel=1e-5)
        if hasattr(model, "rate"):
            rate = model.rate(inputs).numpy()
            np.testing.assert_allclose(first.rate_train, rate, rtol=1e-4)
            np.testing.assert_allclose(first.rate_test, rate[:3], rtol=1e-4)
        else:
            assert first.rate_train is None and first.rate_test is None


def test_the_metric_is_not_of_the_first_images():
    # Sorted by name, those can all be of one patient.
    model, images = trained_looking("ae"), noise_images(20, seed=1)
    metric = probe(model, images, metric_images=6).metric
    first = probe(model, images[:6], metric_images=6).metric
    assert not np.allclose(metric, first, rtol=1e-3)


def test_one_image_and_one_latent_at_a_time():
    whole = probe(trained_looking("ae", latent_dim=1), noise_images(5), metric_images=99)
    single = probe(trained_looking("ae", latent_dim=1), noise_images(5), batch_size=1)
    assert whole.metric.shape == (1, 1)
    np.testing.assert_allclose(single.errors, whole.errors, rtol=1e-4)


def test_batches_get_smaller_when_memory_runs_out(caplog):
    def compute(rows):
        if rows.stop - rows.start > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return torch.arange(rows.start, rows.stop)

    batches = Batches(8)
    assert np.concatenate(list(batches.run(10, compute))).tolist() == list(range(10))
    assert batches.size == 2
    assert len(caplog.records) == 2
    assert len(list(batches.run(4, compute))) == 2  # and stay so

    def fail(rows):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(InputError, match="Probing: out of memory"):
        list(batches.run(2, fail))

    def break_down(rows):
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        list(Batches(2).run(2, break_down))


AUDIT = pd.DataFrame(
    {"split": ["train"] * 6 + ["test"] * 2, "copy_group": [0, 1, 0, 2, 1, 3, 0, 4]}
)


def test_one_image_of_each_copy_group():
    assert first_of_groups(AUDIT, np.ones(6, dtype=bool)).tolist() == [0, 1, 3, 5]
    used = np.array([False, True, True, True, True, False])
    assert first_of_groups(AUDIT, used).tolist() == [2, 1, 3]


def write_inputs(folder, sha="toy"):
    """Write an audit, a training set and a checkpoint; return the arguments of probe_latents."""
    ids = [f"train/{i}.png" for i in range(6)], [f"test/{i}.png" for i in range(2)]
    data = PackedDataset(
        train_images=noise_images(6),
        train_ids=ids[0],
        test_images=noise_images(2, seed=1),
        test_ids=ids[1],
        test_labels=np.array([0, 1], np.uint8),
        test_masks=None,
        attributes={"dataset": "toy", "source_sha256": "toy"},
    )
    table = AUDIT.assign(id=ids[0] + ids[1]).reindex(columns=IMAGE_COLUMNS)
    write_table(table, folder / "images.tsv")
    rows = pd.DataFrame({"id": ids[0], "seed0": 1, "seed7": [0, 1, 1, 1, 1, 0]})
    write_table(rows, folder / "rows.tsv")
    description = {"method": "ae", "arguments": SIZES, "dataset_sha256": sha}
    save_checkpoint(folder / "checkpoint.safetensors", trained_looking("ae"), description)
    return {
        "data": data,
        "audit": folder / "images.tsv",
        "training_rows": folder / "rows.tsv",
        "training_set": "without_random",
        "checkpoints": [folder / "checkpoint.safetensors"] * 2,
        "seeds": [0, 7],
        "device": CPU,
        "batch_size": 4,
        "metric_images": 2,
        "levels": 5,
        "outputs": [folder / "0/probe.h5", folder / "7/probe.h5"],
    }


def test_the_files_of_all_seeds(tmp_path):
    arguments = write_inputs(tmp_path)
    probe_latents(**arguments)
    first, second = (read_probe(path, latent_dim=5) for path in arguments["outputs"])
    assert first.latents.shape == (4, 5) and second.latents.shape == (3, 5)
    # In the packed order of each group's first image: rows 0 1 3 5, and 2 1 3.
    np.testing.assert_allclose(second.latents[1:], first.latents[1:3], rtol=1e-4, atol=1e-6)
    assert first.rate_train is None
    written = [path.read_bytes() for path in arguments["outputs"]]
    probe_latents(**arguments)
    assert [path.read_bytes() for path in arguments["outputs"]] == written


def test_a_checkpoint_of_other_images_is_refused(tmp_path):
    with pytest.raises(InputError, match="trained on other images"):
        probe_latents(**write_inputs(tmp_path, sha="else"))


def test_a_probe_survives_its_file_and_damage_is_named(tmp_path):
    probe = Probe(
        latents=np.ones((3, 2), np.float32),
        metric=np.eye(2),
        levels=np.array([0.1, np.inf]),
        errors=np.array([0.2, 0.3]),
        error=0.125,
        rate_train=np.array([1.0, 2.0, 3.0]),
    )
    path = tmp_path / "probe.h5"
    write_probe(path, probe)
    back = read_probe(path, latent_dim=2)
    assert back.error == 0.125 and back.rate_test is None
    for name in ("latents", "metric", "levels", "errors", "rate_train"):
        np.testing.assert_array_equal(getattr(back, name), getattr(probe, name))
    with pytest.raises(InputError, match="not those of 3 latent dimensions"):
        read_probe(path, latent_dim=3)
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(InputError, match="Delete the file"):
        read_probe(path, latent_dim=2)
    with pytest.raises(InputError, match="Cannot read"):
        read_probe(tmp_path / "none.h5", latent_dim=2)
