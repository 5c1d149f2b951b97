"""The tables of theory: reading them as one, and writing a comparison in its three forms."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import pandas as pd

from medae.base.errors import InputError
from medae.base.files import read_table, write_table
from medae.evaluation.metrics import METRIC_COLUMNS
from medae.evaluation.splits import LEAK_FREE_SPLIT, PUBLISHED_SPLIT
from medae.evaluation.summary import stacked
from medae.report.tables import Section, write_sections
from medae.theory.plan import AUTOENCODER

SPLITS = {LEAK_FREE_SPLIT: "leak-free", PUBLISHED_SPLIT: "published"}


def read_tables(paths: Sequence[Path], columns: Sequence[str]) -> pd.DataFrame:
    """Return the rows of all tables, in the order of `paths`; InputError for other columns."""
    tables = [read_table(path, columns) for path in paths]
    return stacked([pd.DataFrame(columns=list(columns)), *tables])


def read_score_metrics(path: Path) -> pd.DataFrame:
    """Return the AUCs of the autoencoder by all of its scores, means over seeds, from metrics.tsv.

    Of models of all training images; columns dataset, latent_dim, score, split, value_percent.
    """
    metrics = read_table(path, METRIC_COLUMNS)
    own = (metrics["method"] == AUTOENCODER) & (metrics["training_set"] == "all")
    groups = metrics[own & (metrics["metric"] == "auc")]
    means = groups.groupby(["dataset", "latent_dim", "score", "split"], as_index=False)["value"]
    means = means.mean()
    return means.assign(value_percent=100 * means["value"])


def chosen_scores(selections: pd.DataFrame) -> dict[str, str]:
    """Return by dataset the score that was chosen without labels.

    `selections` have rows for the squared error and, where another score was chosen, for that.
    """
    return selections.groupby("dataset")["score"].last().to_dict()


def known(keys: Collection[str], names: Mapping[str, str], *, what: str) -> list[str]:
    """Return those of `names` that occur in `keys`; InputError for a key without a name."""
    if unknown := set(keys) - set(names):
        raise InputError(
            f"The {what} {min(unknown)} has results but no name. Delete the tables of what the "
            "configuration no longer has, and run the workflow again."
        )
    return [key for key in names if key in set(keys)]


def write_comparison(
    sections: Sequence[Section],
    *,
    title: str,
    text: str,
    rows: pd.DataFrame,
    output: Mapping[str, Path],
) -> None:
    """Write the sections below `text` as Markdown and as a page, and all `rows` as a TSV.

    `output` has the paths `markdown`, `html` and `table`.
    """
    sections = [Section(text=text), *sections]
    write_sections(title, sections, markdown=output["markdown"], html=output["html"])
    write_table(rows, output["table"])
