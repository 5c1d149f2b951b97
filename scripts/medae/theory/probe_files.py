"""The file probe.h5: what the measurement of a model's latent entropy rests on, and its images."""

from dataclasses import dataclass, fields
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from medae.base.errors import InputError
from medae.base.files import atomic_path
from medae.base.hdf5 import new_hdf5

ENTROPY_COLUMNS = ["dataset", "method", "latent_dim", "seed", "quantity", "value"]
"""Columns of the tables of entropy: one row per quantity; latent_dim is 0 for the images."""


@dataclass(frozen=True)
class Probe:
    """What was measured of one model; see medae.theory.entropy for the words."""

    latents: np.ndarray
    """Of one training image per copy group, float32, shape (n, d)."""
    metric: np.ndarray
    """G, the mean of JᵀJ / P of the decoder, shape (d, d)."""
    levels: np.ndarray
    """Of noise at the output, squared [-1, 1] intensity units, ascending, the last inf."""
    errors: np.ndarray
    """Mean squared error over pixels and the n images at each level."""
    error: float
    """The one without noise."""
    rate_train: np.ndarray | None = None
    """Bits per image of the n images; None for a method without a rate."""
    rate_test: np.ndarray | None = None
    """Bits per image of all test images."""


def first_of_groups(audit: pd.DataFrame, used: np.ndarray) -> np.ndarray:
    """Return the rows of the used training images that are the first of their copy group.

    `audit` is that of `read_audit`, `used` says which training images count (bool). Copies would
    make the images look more alike than they are.
    """
    groups = audit.loc[audit["split"] == "train", "copy_group"].to_numpy()
    rows = np.flatnonzero(used)
    return rows[np.unique(groups[rows], return_index=True)[1]]


def write_probe(path: Path, probe: Probe) -> None:
    """Write a probe."""
    with atomic_path(path) as temporary, new_hdf5(temporary) as file:
        for field in fields(Probe):
            value = getattr(probe, field.name)
            if field.name == "error":
                file.attrs["error"] = value
            elif value is not None:
                file[field.name] = value


def read_probe(path: Path, *, latent_dim: int) -> Probe:
    """Return the probe in `path`; InputError when it is damaged or of another latent dimension."""
    try:
        with h5py.File(path, "r") as file:
            names = [field.name for field in fields(Probe)]
            arrays = {name: file[name][:] for name in names if name in file}
            probe = Probe(error=float(file.attrs["error"]), **arrays)
            shapes = probe.latents.shape[1:], probe.metric.shape, probe.levels.shape
            if shapes != ((latent_dim,), (latent_dim, latent_dim), probe.errors.shape):
                raise ValueError(f"its arrays are not those of {latent_dim} latent dimensions")
            return probe
    except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:  # all from damage
        raise InputError(
            f"Cannot read the measurements of a latent vector {path}: {error}. Delete the file and "
            "run the workflow again; it will be made again."
        ) from error
