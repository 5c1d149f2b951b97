"""The script that trains: the seeds of a setting one after the other, and its files."""

import numpy as np
import pytest
import torch
from packed_files import write_packed
from small_models import stop_at
from train_autoencoder import train_autoencoder

from medae.base.errors import InputError
from medae.base.files import read_table
from medae.models.checkpoints import load_tensors

METHOD = {"width": 4, "hidden_dim": 8}
TRAINING = {"batch_size": 8, "device": "cpu", "learning_rate": 1e-3, "precision": "float32"}
TRAINING |= {"snapshots": [], "torch_threads": 1}
SEEDS = [3, 1]


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    return noise(tmp_path_factory.mktemp("packed") / "noise.h5", 24)


def noise(path, count):
    images = np.random.default_rng(0).integers(0, 256, (count, 1, 32, 32), np.uint8)
    return write_packed(path, images, images[:2], [0, 1])


def run(packed, folder, *, seeds=SEEDS, stop=lambda: None, **training):
    """Train 3 epochs into `folder`; return tensors and description of each checkpoint."""
    checkpoints = [folder / f"seed{seed}/checkpoint.safetensors" for seed in seeds]
    train_autoencoder(
        packed=packed,
        training_rows=None,
        modules=[],
        dataset="noise",
        training_set="all",
        module="vae",
        method="my_vae",
        latent_dim=2,
        options=METHOD,
        seeds=seeds,
        epochs=3,
        training=TRAINING | training,
        unusable_state="restart",
        cuda_graphs=True,
        checkpoints=checkpoints,
        histories=[path.with_name("history.tsv") for path in checkpoints],
        snapshots=[path.with_name("snapshots.safetensors") for path in checkpoints]
        if "snapshots" in training
        else [],
        stop=stop,
    )
    return [load_tensors(path) for path in checkpoints]


def test_each_seed_has_a_checkpoint_that_says_what_it_is(packed, tmp_path):
    for seed, (_, description) in zip(SEEDS, run(packed, tmp_path), strict=True):
        assert description["seed"] == seed
        assert (description["method"], description["n_train"]) == ("vae", 24)
        sizes = {"image_size": 32, "channels": 1, "latent_dim": 2}
        defaults = {"kl_weight": 0.005, "score_at": "mean"}
        assert description["arguments"] == sizes | METHOD | defaults
        assert description["intensity_range"] == [0, 4095]
        assert description["batch_size_used"] == TRAINING["batch_size"]
        assert len(read_table(tmp_path / f"seed{seed}/history.tsv")) == 3
    (first, _), (second, _) = run(packed, tmp_path / "initial", learning_rate=0.0)
    name = "encoder.blocks.0.weight"
    assert not torch.equal(first[name], second[name])


def test_the_precision_is_named_as_it_was_and_snapshots_lie_beside_the_checkpoint(packed, tmp_path):
    found = run(packed, tmp_path, precision="auto", snapshots=[1, 3])
    for seed, (tensors, description) in zip(SEEDS, found, strict=True):
        assert description["training"]["precision"] == "float32"
        snapshots, _ = load_tensors(tmp_path / f"seed{seed}/snapshots.safetensors")
        assert len(snapshots) == 2 * len(tensors)
        assert all(torch.equal(snapshots[f"3.{name}"], tensors[name]) for name in tensors)


def test_the_precision_is_that_of_the_networks(packed, tmp_path):
    ((exact, _),), ((rounded, _),) = (
        run(packed, tmp_path / name, seeds=[0], precision=name) for name in ("float32", "bfloat16")
    )
    assert not all(torch.equal(value, rounded[name]) for name, value in exact.items())


def test_a_state_of_other_settings_is_named_and_leaves_nothing(packed, tmp_path, caplog):
    with pytest.raises(InputError, match="my_vae d=2 seed=3: stopped by SIGTERM after epoch 1 of"):
        run(packed, tmp_path, stop=stop_at(2))
    other = noise(tmp_path / "other.h5", 20)
    expected = run(other, tmp_path / "b")
    run(other, tmp_path)
    assert "the choice of training images" in caplog.text and "n_train: 24 there, 20" in caplog.text
    found, _ = load_tensors(tmp_path / "seed3/checkpoint.safetensors")
    assert all(torch.equal(found[name], value) for name, value in expected[0][0].items())
