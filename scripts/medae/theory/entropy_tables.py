"""Tables of entropy, of code lengths and of images' dimensions, read together."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from medae.base.errors import InputError
from medae.base.files import read_table
from medae.theory.probe_files import ENTROPY_COLUMNS

IMAGES = "images"
"""Value of column `method` for what was measured of the images themselves."""

CODED = "stream_bits"
"""The quantity that only methods whose latents are whole numbers with a prior have."""


def read_entropy(paths: Sequence[Path]) -> pd.DataFrame:
    """Return the rows of all tables, in the order of `paths`, with the columns ENTROPY_COLUMNS.

    A quantity that two tables have of one model, as the rate of the test images, is taken once.
    Raises InputError when a file is no such table, or none has a row of a model.
    """
    tables = []
    for path in paths:
        table = read_table(path)
        if list(table.columns) != ENTROPY_COLUMNS:
            raise InputError(
                f"{path} is no table of entropies: its columns are not "
                f"{', '.join(ENTROPY_COLUMNS)}. Delete it and run the workflow again; it will be "
                "made anew."
            )
        tables.append(table)
    rows = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=ENTROPY_COLUMNS)
    if (rows["method"] == IMAGES).all():
        raise InputError(
            "No entropy of a model was measured, so there is nothing to show. Check that the "
            "configuration has models that are trained on all training images."
        )
    return rows.drop_duplicates(ENTROPY_COLUMNS[:-1], ignore_index=True)


def by_model(rows: pd.DataFrame) -> pd.DataFrame:
    """Return a row per dataset, method, latent_dim and seed, with a column per quantity.

    `rows` are those of `read_entropy`; the images' own are left out. What a model has not is nan.
    """
    models = rows[rows["method"] != IMAGES]
    wide = models.pivot(index=ENTROPY_COLUMNS[:4], columns="quantity", values="value")
    return wide.rename_axis(columns=None).reset_index()


def coded_methods(models: pd.DataFrame) -> list[str]:
    """Return the methods of `by_model` whose latents were coded, in the order of their rows."""
    if CODED not in models:
        return []
    return list(models.loc[models[CODED].notna(), "method"].unique())
