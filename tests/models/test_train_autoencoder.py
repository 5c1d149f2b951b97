"""The script that trains: all seeds of a setting together or one after the other, its files."""

import logging
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from medae.base.errors import InputError
from medae.base.files import read_table
from medae.models.checkpoints import load_tensors

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow"))

from jobs import METHOD, TRAINING, write_packed
from train_autoencoder import Member, split, train_autoencoder

SEEDS = [3, 1]


@pytest.fixture(autouse=True)
def deterministic():
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    return write_packed(tmp_path_factory.mktemp("packed") / "noise.h5")


def run(packed, folder, *, together, epochs=3, stop=lambda: None, method="vae"):
    """Train into `folder`; return the description of each checkpoint and its tensors."""
    checkpoints = [folder / f"seed{seed}/checkpoint.safetensors" for seed in SEEDS]
    train_autoencoder(
        packed=packed,
        training_rows=None,
        modules=[],
        dataset="noise",
        training_set="all",
        method=method,
        name=method,
        latent_dim=2,
        options=METHOD,
        seeds=SEEDS,
        epochs=epochs,
        training=TRAINING | {"seeds_together": together},
        unusable_state="restart",
        cuda_graphs=True,
        checkpoints=checkpoints,
        histories=[path.with_name("history.tsv") for path in checkpoints],
        stop=stop,
    )
    return [load_tensors(path) for path in checkpoints]


def stop_after(epochs):
    """A `stop` that names a signal once this many epochs are done."""
    asked = []
    return lambda: "SIGTERM" if asked.append(1) or len(asked) > epochs else None


def states(folder):
    return sorted(path.parent.name for path in folder.rglob("resume.safetensors"))


def test_seeds_together_write_what_seeds_alone_write(packed, tmp_path):
    alone = run(packed, tmp_path / "alone", together=False)
    together = run(packed, tmp_path / "together", together=True)
    for seed, (expected, by_itself), (found, description) in zip(
        SEEDS, alone, together, strict=True
    ):
        assert by_itself["trained_together"] == [seed]
        assert description["trained_together"] == SEEDS
        assert description["seed"] == by_itself["seed"] == seed
        assert description["rows_sha256"] == by_itself["rows_sha256"]
        assert {k: v.shape for k, v in found.items()} == {k: v.shape for k, v in expected.items()}
        first, second = (
            read_table(tmp_path / name / f"seed{seed}/history.tsv")
            for name in ("alone", "together")
        )
        # In float32 Adam turns another last bit of a tiny gradient into a step the other way.
        np.testing.assert_allclose(second, first, rtol=0.01)
    assert states(tmp_path) == []


def test_an_interrupted_group_goes_on_to_the_same_weights(packed, tmp_path):
    whole = run(packed, tmp_path / "whole", together=True)
    with pytest.raises(InputError, match="seed=3,1: stopped by SIGTERM after epoch 2 of 3"):
        run(packed, tmp_path / "b", together=True, stop=stop_after(2))
    assert states(tmp_path) == ["seed3"]
    resumed = run(packed, tmp_path / "b", together=True)
    for (expected, _), (found, _) in zip(whole, resumed, strict=True):
        assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert states(tmp_path) == []


@pytest.mark.parametrize("together", [False, True])
def test_a_state_of_the_other_way_is_named_and_leaves_nothing(together, packed, tmp_path, caplog):
    with pytest.raises(InputError, match="SIGTERM"):
        run(packed, tmp_path, together=not together, stop=stop_after(4 if together else 1))
    before = states(tmp_path)
    assert before == (["seed1", "seed3"] if together else ["seed3"])
    run(packed, tmp_path, together=together)
    assert f"training.seeds_together: {not together} there, {together} now" in caplog.text
    assert "seeds.1: only" in caplog.text and "sha256" not in caplog.text
    assert states(tmp_path) == []


def test_training_sets_of_other_sizes_stay_alone(caplog):
    caplog.set_level(logging.INFO)

    def members(*sizes):
        return [Member(s, torch.arange(size), Path(), Path()) for s, size in enumerate(sizes)]

    equal, other = members(4, 4), members(4, 5)
    assert split(equal, together=True) == [equal]
    assert split(equal, together=False) == [[equal[0]], [equal[1]]]
    assert caplog.text == ""
    assert split(other, together=True) == [[other[0]], [other[1]]]
    assert "differ in size" in caplog.text
