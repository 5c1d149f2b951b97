"""The code of latents: what goes in comes out, at the length that the prior says."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medae.base.errors import InputError
from medae.theory.coding import LIMIT, decode_latents, encode_latents, symbol_numbers, symbol_tables


def laplace_masses(scales):
    """Return the masses of numbers with P ∝ exp(−|n| / scale), numbers × d."""
    weights = np.exp(-np.abs(symbol_numbers())[:, None] / np.asarray(scales, dtype=float))
    return weights / weights.sum(axis=0)


def test_stream_comes_back_and_is_as_long_as_the_masses_say():
    masses = laplace_masses([0.2, 1.0, 6.0, 20.0])
    random = np.random.default_rng(1)
    columns = [random.choice(symbol_numbers(), size=2000, p=column) for column in masses.T]
    latents = np.stack(columns, axis=1)
    stream = encode_latents(latents, symbol_tables(masses))
    assert np.array_equal(decode_latents(stream, symbol_tables(masses)), latents)
    expected = -np.log2(np.take_along_axis(masses, latents + LIMIT, axis=0)).sum()
    assert expected <= 8 * len(stream) + 1 < 1.01 * expected


@settings(max_examples=40, deadline=None)
@given(
    scales=st.lists(st.floats(0.05, 100), min_size=1, max_size=4),
    count=st.integers(1, 40),
    spread=st.integers(0, 2_000_000_000),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_latents_come_back(scales, count, spread, seed):
    tables = symbol_tables(laplace_masses(scales))
    random = np.random.default_rng(seed)
    latents = random.integers(-spread, spread + 1, size=(count, len(scales)))
    latents //= random.choice([1, 1000, 1_000_000_000], size=latents.shape)
    assert np.array_equal(decode_latents(encode_latents(latents, tables), tables), latents)


@pytest.mark.parametrize("fault", [math.nan, -0.5, 2.0])
def test_masses_that_are_no_distribution_are_refused(fault):
    masses = laplace_masses([1.0, 1.0])
    masses[LIMIT, 1] = fault
    with pytest.raises(InputError, match="no distribution"):
        symbol_tables(masses)


def test_numbers_beyond_32_bits_are_refused():
    with pytest.raises(InputError, match="overflowed"):
        encode_latents(np.array([[2**31]]), symbol_tables(laplace_masses([1.0])))
