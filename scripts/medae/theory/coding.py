"""A lossless code of whole-number latents under a prior, to measure how long it really is.

The coder is constriction's (asymmetric numeral systems; Bamler, arXiv:2201.01741). A dimension has
one table of masses for the numbers that its prior expects, and an escape for all others. The stream
holds what a receiver with the prior needs, and no more: the numbers of images and of escapes, the
escaped numbers as 32-bit integers, and the coder's words, all little-endian.
"""

import struct
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from constriction import stream as coders

from medae.base.errors import InputError

LIMIT = 512  # numbers from -LIMIT to LIMIT can be in a table
LEAST_MASS = 2.0**-22  # rarer numbers escape; the coder's own unit is 2^-24
HEADER = struct.Struct("<II")
INTEGERS = np.dtype("<i4")
WORDS = np.dtype("<u4")


class SymbolTable(NamedTuple):
    """The numbers of one dimension that have a mass, and the coder's model of them.

    Number `first` + i is symbol i of the coder, for i < `size`; symbol `size` is the escape.
    """

    first: int
    size: int
    model: coders.model.Categorical


def symbol_numbers() -> np.ndarray:
    """Return the numbers that a table can hold, int64, ascending, 2 · LIMIT + 1 of them."""
    return np.arange(-LIMIT, LIMIT + 1)


def symbol_tables(masses: np.ndarray) -> list[SymbolTable]:
    """Return the table of each dimension; `masses` of `symbol_numbers` have shape (numbers, d).

    A table reaches from the first to the last number with at least LEAST_MASS; what is left of 1
    is the escape's. Raises InputError when masses are not finite, negative, or sum to more than 1.
    """
    sums = masses.sum(axis=0)
    if not np.isfinite(masses).all() or (masses < 0).any() or (sums > 1 + 1e-3).any():
        raise InputError(
            "The prior of a model is no distribution: its masses are not finite, negative, or sum "
            f"to {np.max(sums):.6g}. Delete the model's checkpoint and train it again."
        )
    tables = []
    for column in masses.T:
        likely = np.flatnonzero(column >= LEAST_MASS)
        # Without a single likely number, as of a prior far away, all is escaped.
        kept = column[likely[0] : likely[-1] + 1] if len(likely) else column[:0]
        rest = max(1 - kept.sum(), LEAST_MASS)
        # The coder wants two symbols at least; the second escape is never used.
        probabilities = np.append(kept, [rest] if len(kept) else [rest, LEAST_MASS])
        model = coders.model.Categorical(probabilities.astype(np.float64), perfect=False)
        tables.append(SymbolTable(int(likely[0]) - LIMIT if len(likely) else 0, len(kept), model))
    return tables


def encode_latents(latents: np.ndarray, tables: Sequence[SymbolTable]) -> bytes:
    """Return the stream of whole-number `latents`, int, N × d.

    Raises InputError for a number that is no 32-bit integer.
    """
    bounds = np.iinfo(INTEGERS)
    if latents.size and not bounds.min <= latents.min() <= latents.max() <= bounds.max:
        raise InputError(
            f"Latents reach from {latents.min()} to {latents.max()}, beyond 32-bit integers. The "
            "network has overflowed: delete its checkpoint and train it again."
        )
    coder = coders.stack.AnsCoder()
    escaped = []
    for column, table in zip(reversed(latents.T), reversed(tables), strict=True):  # a stack
        symbols = column.astype(np.int64) - table.first
        outside = (symbols < 0) | (symbols >= table.size)
        symbols[outside] = table.size
        escaped.append(column[outside])
        coder.encode_reverse(symbols.astype(np.int32), table.model)
    numbers = np.concatenate(escaped[::-1]).astype(INTEGERS)
    words = coder.get_compressed().astype(WORDS)
    return HEADER.pack(len(latents), len(numbers)) + numbers.tobytes() + words.tobytes()


def decode_latents(stream: bytes, tables: Sequence[SymbolTable]) -> np.ndarray:
    """Return the latents, int64, N × d, of a stream of `encode_latents` with the same tables."""
    n_images, n_escaped = HEADER.unpack_from(stream)
    numbers = np.frombuffer(stream, INTEGERS, count=n_escaped, offset=HEADER.size)
    words = np.frombuffer(stream, WORDS, offset=HEADER.size + numbers.nbytes)
    coder = coders.stack.AnsCoder(words.astype(np.uint32))
    latents = np.empty((n_images, len(tables)), dtype=np.int64)
    used = 0
    for column, table in zip(latents.T, tables, strict=True):
        symbols = coder.decode(table.model, n_images)
        column[:] = symbols + table.first
        outside = np.flatnonzero(symbols >= table.size)
        column[outside] = numbers[used : used + len(outside)]
        used += len(outside)
    return latents
