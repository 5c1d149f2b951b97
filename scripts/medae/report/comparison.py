"""What the table and the figure of methods compare: networks, AEs with a chosen d, and baselines.

Networks and PCA are at one d, the other baselines have none. The AE with the best d is an oracle:
its d is chosen by the test labels, as in the paper's Table 2, so its numbers are an upper bound and
not what a user would get. Its rows have the key ORACLE in place of the method's; those of the AE
whose d was chosen without labels, where a run does that, have SELECTED.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from medae.base.errors import InputError
from medae.base.files import read_table
from medae.evaluation.bootstrap import INTERVAL_COLUMNS, holm
from medae.evaluation.summary import CELL
from medae.models.baselines import BASELINES

AUTOENCODER = "ae"
ORACLE = "ae_d_optimal"
SELECTED = "ae_d_auto"
TESTS = ["difference", "difference_low", "difference_high", "p_value"]


def oracle_dimensions(summary: pd.DataFrame) -> dict[str, int]:
    """Return each dataset's d with the highest mean test AUC of the autoencoder; of ties the least.

    `summary` has the columns dataset, method, latent_dim, metric and mean, which are those of
    `summarise` (give its rows of one split) and of the paper's values. Datasets with fewer than two
    d, where nothing was chosen, are left out.
    """
    chosen = summary[(summary["method"] == AUTOENCODER) & (summary["metric"] == "auc")]
    chosen = chosen.sort_values(["mean", "latent_dim"], ascending=[False, True])
    best = chosen.groupby("dataset")["latent_dim"].agg(["first", "size"])
    return best.loc[best["size"] > 1, "first"].to_dict()


def selected_dimensions(paths: Sequence[Path], *, selector: str) -> dict[str, int]:
    """Return each dataset's d of the autoencoder that `selector` chose for the squared error.

    `paths` are the tables of select_settings.py. Datasets where it chose nothing are left out.
    """
    found: dict[str, int] = {}
    for path in paths:
        table = read_table(path)
        chosen = table.query("family == @AUTOENCODER and selector == @selector and score == 'mse'")
        chosen = chosen[chosen["latent_dim"] > 0]
        found |= dict(zip(chosen["dataset"], chosen["latent_dim"].astype(int), strict=True))
    return found


def compared_rows(
    table: pd.DataFrame, *, latent_dim: int, picked: Mapping[str, Mapping[str, int]]
) -> pd.DataFrame:
    """Return the rows of `table` at `latent_dim` or without d, then autoencoders with a chosen d.

    `table` has the columns dataset, method and latent_dim; `picked` has each dataset's d by the key
    that these rows get as their method: ORACLE, as `oracle_dimensions` gives it, and SELECTED.
    """
    parts = [table[table["latent_dim"].isin([latent_dim, 0])]]
    for key, sizes in picked.items():
        chosen = table["latent_dim"] == table["dataset"].map(sizes)
        chosen &= table["method"] == AUTOENCODER
        parts.append(table[chosen].assign(method=key))
    return pd.concat(parts, ignore_index=True)


def row_labels(methods: Mapping[str, str], *, picked: Mapping[str, str]) -> dict[str, str]:
    """Return the display names of methods and of `picked` (ORACLE, SELECTED), in the rows' order.

    Networks come first, then those with a chosen d, then the baselines.
    """
    networks = {key: name for key, name in methods.items() if key not in BASELINES}
    return {**networks, **picked, **methods}


def read_intervals(paths: Sequence[Path]) -> pd.DataFrame:
    """Read tables of intervals, one per dataset, as one; InputError for a table of another kind."""
    tables = []
    for path in paths:
        table = read_table(path)
        if list(table.columns) != INTERVAL_COLUMNS:
            raise InputError(
                f"{path} has the columns {list(table.columns)} instead of {INTERVAL_COLUMNS}. "
                "Delete it and run the workflow again; it will be made again."
            )
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def add_statistics(cells: pd.DataFrame, drawn: pd.DataFrame) -> pd.DataFrame:
    """Add intervals, differences to the autoencoder, p_value and p_holm to the table's cells.

    `cells` are rows of `summarise` and `drawn` those of the tables of intervals, both through
    `compared_rows`. Tests are kept where the reference of the bootstrap, the setting without a
    difference, is the autoencoder of this table, and never for the oracle. A family of Holm's
    correction is all tests of one dataset, split and metric.
    """
    joined = cells.merge(drawn.drop(columns="value"), on=CELL, how="left", validate="1:1")
    reference = drawn[(drawn["method"] == AUTOENCODER) & drawn["difference"].isna()]
    tested = joined["dataset"].isin(reference["dataset"]) & (joined["method"] != ORACLE)
    joined.loc[~tested, TESTS] = float("nan")
    joined["p_holm"] = float("nan")
    for _, family in joined[joined["p_value"].notna()].groupby(["dataset", "split", "metric"]):
        joined.loc[family.index, "p_holm"] = holm(family["p_value"])
    return joined
