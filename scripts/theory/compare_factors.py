"""Compare the best d and the entropy of the latent vector with a known number of factors.

Inputs: the table of compare_entropy.py, the collected table of metrics (full test set, all
training images), and the bootstrap intervals of the datasets concerned. `factors` has the number k
of scalars that a dataset's normal images vary in. Whether the best d and the entropy follow k is
answered yes or no, by the criterion in CRITERION.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import pandas as pd
from scipy.stats import norm

from medae.base.errors import InputError
from medae.base.files import read_table, write_table
from medae.evaluation.bootstrap import CONFIDENCE
from medae.evaluation.splits import PUBLISHED_SPLIT
from medae.report.rows import by_score, read_intervals
from medae.report.tables import Section, write_sections
from medae.theory.plan import AUTOENCODER

TITLE = "Known numbers of factors"
BITS = {"gaussian_bits": "Gaussian", "knn_bits": "nearest neighbours"}
FACTOR = 2  # how far d may be from k, either way
SHARE = 0.75  # of the numbers of factors, for which it must not be further
CRITERION = (
    "The criterion was fixed before the run. The best d of a dataset is the smallest whose AUC "
    "(full test set, mean over seeds) is within one standard error of the highest; the error "
    "is that of the highest AUC, from its bootstrap interval over test images. The best d follows "
    f"k if it never falls as k rises, and is within a factor {FACTOR} of k for at least three "
    "quarters of the k. The entropy follows k if at the largest d both estimates of H(Z) rise with "
    "every step of k."
)


def compare_factors(
    *,
    entropy: Path,
    metrics: Path,
    intervals: Sequence[Path],
    factors: Mapping[str, int],
    markdown: Path,
    html: Path,
    table: Path,
) -> None:
    """Write the table, and the answers as Markdown and as a page."""
    rows = compare(
        autoencoders(read_table(entropy)),
        aucs=autoencoders(by_score(read_table(metrics))),
        intervals=autoencoders(read_intervals(intervals)),
        factors=factors,
    )
    write_sections(TITLE, [Section(text=describe(rows))], markdown=markdown, html=html)
    write_table(rows, table)


def autoencoders(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the autoencoder on all training images; of metrics the published AUC."""
    wanted = {"method": AUTOENCODER, "training_set": "all", "split": PUBLISHED_SPLIT}
    wanted |= {"metric": "auc"}
    wanted = {key: value for key, value in wanted.items() if key in table}
    return table[(table[list(wanted)] == pd.Series(wanted)).all(axis=1)]


def compare(
    entropy: pd.DataFrame,
    *,
    aucs: pd.DataFrame,
    intervals: pd.DataFrame,
    factors: Mapping[str, int],
) -> pd.DataFrame:
    """Return a row per dataset of `factors`, by rising k; the columns are those of the TSV.

    All tables are those of `autoencoders`. Raises InputError when a dataset is not in one of them.
    """
    widths = intervals.set_index(["dataset", "latent_dim"])[["low", "high"]]
    errors = (widths["high"] - widths["low"]) / (2 * norm.ppf((1 + CONFIDENCE) / 2))
    rows = []
    for dataset in sorted(factors, key=factors.__getitem__):
        means = aucs[aucs["dataset"] == dataset].groupby("latent_dim")["value"].mean()
        own = entropy[entropy["dataset"] == dataset].sort_values("latent_dim")
        if means.empty or own.empty or (dataset, means.idxmax()) not in errors.index:
            raise InputError(
                f"The autoencoder has no AUC, no interval of it or no entropy on {dataset}, whose "
                "number of factors is known. Delete the tables of metrics, intervals and entropy, "
                "and run the workflow again."
            )
        k, error = factors[dataset], errors[dataset, means.idxmax()]
        best = int(means.index[means >= means.max() - error].min())
        largest = own.iloc[-1]
        rows.append(
            {
                "dataset": dataset,
                "factors": k,
                "best_d": best,
                "within_factor_2": k <= FACTOR * best and best <= FACTOR * k,
                "auc": means[best],
                "highest_auc_d": means.idxmax(),
                "highest_auc": means.max(),
                "standard_error": error,
                "largest_d": largest["latent_dim"],
                **largest[[*BITS, "participation_ratio"]],
            }
        )
    return pd.DataFrame(rows)


def dimension_follows(table: pd.DataFrame) -> bool:
    """Return the first half of CRITERION for the rows of `compare`."""
    grows = all(one <= other for one, other in pairwise(table["best_d"]))
    return grows and bool(table["within_factor_2"].mean() >= SHARE)


def entropy_follows(table: pd.DataFrame) -> bool:
    """Return the second half of CRITERION; an estimate that is missing does not rise."""
    return all(one < other for key in BITS for one, other in pairwise(table[key]))


def describe(table: pd.DataFrame) -> str:
    """Return the paragraph with the criterion and both answers."""
    ks, sizes, largest = (
        ", ".join(map(str, values))
        for values in (table["factors"], table["best_d"], sorted(set(table["largest_d"])))
    )
    bits = "; ".join(
        f"{label} {', '.join(f'{value:.1f}' for value in table[key])}"
        for key, label in BITS.items()
    )
    answers = ["yes" if test(table) else "no" for test in (dimension_follows, entropy_follows)]
    return (
        f"{CRITERION} Does the best d follow the number of factors? {answers[0]}: for k = {ks} it "
        f"is {sizes}, within a factor {FACTOR} of k for {int(table['within_factor_2'].sum())} of "
        f"{len(table)}. Does the entropy of the latent vector follow it? {answers[1]}: at d = "
        f"{largest} it is, in bits per image, {bits}."
    )


if __name__ == "__main__":
    from medae.base.scripts import run_script

    run_script(compare_factors, snakemake)
