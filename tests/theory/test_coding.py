"""The code of latents: what goes in comes out, at the length that the prior says."""

import math
import struct

import code_latents
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medae.base.errors import InputError
from medae.data.packed import packed_writer, read_packed
from medae.models import methods
from medae.models.checkpoints import save_checkpoint
from medae.theory.coding import LIMIT, decode_latents, encode_latents, symbol_numbers, symbol_tables
from medae.theory.probe_files import ENTROPY_COLUMNS


def laplace_masses(scales):
    """Return the masses of numbers with P ∝ exp(−|n| / scale), numbers × d."""
    weights = np.exp(-np.abs(symbol_numbers())[:, None] / np.asarray(scales, dtype=float))
    return weights / weights.sum(axis=0)


def draw(masses, count, seed=0):
    random = np.random.default_rng(seed)
    columns = [random.choice(symbol_numbers(), size=count, p=column) for column in masses.T]
    return np.stack(columns, axis=1)


def ideal_bits(masses, latents):
    return -sum(np.log2(masses[latents[:, j] + LIMIT, j]).sum() for j in range(masses.shape[1]))


def test_stream_comes_back_and_is_as_long_as_the_masses_say():
    masses = laplace_masses([0.2, 1.0, 6.0, 20.0])
    latents = draw(masses, 2000, seed=1)
    stream, outside = encode_latents(latents, symbol_tables(masses))
    assert outside == 0
    assert np.array_equal(decode_latents(stream, symbol_tables(masses)), latents)
    expected = ideal_bits(masses, latents)
    assert expected <= 8 * len(stream) + 1 < 1.01 * expected


def test_length_under_a_wrong_prior_is_the_cross_entropy():
    latents = draw(laplace_masses([2.0, 2.0]), 3000)
    wrong = laplace_masses([8.0, 1.5])
    stream, _ = encode_latents(latents, symbol_tables(wrong))
    assert np.array_equal(decode_latents(stream, symbol_tables(wrong)), latents)
    assert 8 * len(stream) == pytest.approx(ideal_bits(wrong, latents), rel=0.01)


def test_numbers_without_a_mass_escape_and_come_back_in_their_places():
    masses = laplace_masses([0.3, 0.3, 0.3])
    latents = np.zeros((50, 3), dtype=np.int64)
    latents[3, 0], latents[4, 0], latents[7, 2], latents[49, 1] = 9999, -2_000_000_000, 600, -77
    stream, outside = encode_latents(latents, symbol_tables(masses))
    assert outside == 4
    assert struct.unpack_from("<II4i", stream) == (50, 4, 9999, -2_000_000_000, -77, 600)
    assert np.array_equal(decode_latents(stream, symbol_tables(masses)), latents)


def test_a_prior_without_a_likely_number_escapes_everything():
    masses = np.zeros((2 * LIMIT + 1, 1))
    latents = np.arange(20)[:, None]
    stream, outside = encode_latents(latents, symbol_tables(masses))
    assert outside == 20
    assert np.array_equal(decode_latents(stream, symbol_tables(masses)), latents)


@settings(max_examples=40, deadline=None)
@given(
    scales=st.lists(st.floats(0.05, 100), min_size=1, max_size=4),
    count=st.integers(1, 40),
    spread=st.integers(0, 2_000_000),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_latents_come_back(scales, count, spread, seed):
    tables = symbol_tables(laplace_masses(scales))
    random = np.random.default_rng(seed)
    latents = random.integers(-spread, spread + 1, size=(count, len(scales)))
    latents //= random.choice([1, 1000, 1_000_000], size=latents.shape)
    assert np.array_equal(decode_latents(encode_latents(latents, tables)[0], tables), latents)


def test_stream_is_the_same_every_time():
    masses = laplace_masses([1.0, 3.0])
    latents = draw(masses, 100)
    streams = {encode_latents(latents, symbol_tables(masses))[0] for _ in range(3)}
    assert len(streams) == 1


@pytest.mark.parametrize("fault", [math.nan, -0.5, 2.0])
def test_masses_that_are_no_distribution_are_refused(fault):
    masses = laplace_masses([1.0, 1.0])
    masses[LIMIT, 1] = fault
    with pytest.raises(InputError, match="no distribution"):
        symbol_tables(masses)


def test_numbers_beyond_32_bits_are_refused():
    with pytest.raises(InputError, match="overflowed"):
        encode_latents(np.array([[2**31]]), symbol_tables(laplace_masses([1.0])))


ARGUMENTS = {"image_size": 16, "channels": 1, "latent_dim": 6, "hidden_dim": 32, "width": 4}


@pytest.fixture
def packed(tmp_path):
    path = tmp_path / "packed.h5"
    random = np.random.default_rng(0)
    ids = [f"{number:03}.png" for number in range(300)]
    split = {"train_ids": ids[:2], "test_ids": ids, "test_labels": [0] * 150 + [1] * 150}
    with packed_writer(path, channels=1, image_size=16, masks=False, **split) as writer:
        writer.append("train", random.integers(0, 256, (2, 1, 16, 16), dtype=np.uint8))
        writer.append("test", random.integers(0, 256, (300, 1, 16, 16), dtype=np.uint8))
        texts = ["dataset", "modality", "layout", "source", "source_sha256", "resize_filter"]
        writer.attributes |= dict.fromkeys([*texts, "intensity_range"], "made")
        writer.attributes["identical_train_test"] = 0
    return path


def write_checkpoint(path, *, method="entropy_ae", spread=40.0, source="made"):
    torch.manual_seed(0)
    model = methods.build(method, **ARGUMENTS)
    with torch.no_grad():
        if method == "entropy_ae":  # latents that reach further than the prior expects
            model.encoder.bottleneck[-1].weight.mul_(spread)
            model.prior.log_scales.add_(0.1)
    described = {"method": method, "arguments": ARGUMENTS, "dataset_sha256": source}
    save_checkpoint(path, model, described)


def run(packed, tmp_path, checkpoints):
    code_latents.code_latents(
        packed=packed,
        checkpoints=checkpoints,
        device=torch.device("cpu"),
        batch_size=64,
        dataset="made",
        method="entropy_ae_small",
        latent_dim=6,
        seeds=list(range(len(checkpoints))),
        output=tmp_path / "stream.tsv",
    )
    return pd.read_csv(tmp_path / "stream.tsv", sep="\t")


@pytest.mark.parametrize("spread", [0.0, 40.0])
def test_script_finds_the_stream_as_long_as_the_rate(packed, tmp_path, spread):
    write_checkpoint(tmp_path / "model.safetensors", spread=spread)
    table = run(packed, tmp_path, [tmp_path / "model.safetensors"] * 2)
    assert list(table) == ENTROPY_COLUMNS
    assert table["method"].unique().tolist() == ["entropy_ae_small"]
    values = table.set_index(["seed", "quantity"])["value"].unstack()
    assert values.loc[0].to_dict() == values.loc[1].to_dict()
    assert values.loc[0, "stream_bits"] == pytest.approx(values.loc[0, "rate_test_bits"], rel=0.05)


def test_script_counts_the_numbers_that_the_prior_had_not(packed, tmp_path):
    write_checkpoint(tmp_path / "model.safetensors", spread=3000.0)
    values = run(packed, tmp_path, [tmp_path / "model.safetensors"]).set_index("quantity")["value"]
    assert values["symbols_outside"] > 100


def test_script_refuses_other_images_and_methods_without_a_prior(packed, tmp_path):
    write_checkpoint(tmp_path / "model.safetensors", source="other")
    with pytest.raises(InputError, match="other images"):
        run(packed, tmp_path, [tmp_path / "model.safetensors"])
    write_checkpoint(tmp_path / "model.safetensors", method="ae")
    with pytest.raises(InputError, match="no prior"):
        run(packed, tmp_path, [tmp_path / "model.safetensors"])


def test_script_fails_when_what_comes_back_differs(packed, tmp_path, monkeypatch):
    write_checkpoint(tmp_path / "model.safetensors")
    monkeypatch.setattr(
        code_latents, "decode_latents", lambda stream, tables: decode_latents(stream, tables) + 1
    )
    with pytest.raises(InputError, match="come back"):
        run(packed, tmp_path, [tmp_path / "model.safetensors"])


def test_rate_of_the_table_is_the_models(packed, tmp_path):
    write_checkpoint(tmp_path / "model.safetensors")
    values = run(packed, tmp_path, [tmp_path / "model.safetensors"]).set_index("quantity")["value"]
    torch.manual_seed(0)
    model = methods.build("entropy_ae", **ARGUMENTS).eval()
    with torch.no_grad():
        model.encoder.bottleneck[-1].weight.mul_(40.0)
        model.prior.log_scales.add_(0.1)
        images = torch.from_numpy(read_packed(packed).test_images) / 127.5 - 1
        expected = model.rate(images).mean().item()
    assert values["rate_test_bits"] == pytest.approx(expected, rel=1e-4)
