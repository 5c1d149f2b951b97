"""Set what is chosen without labels beside a choice by test labels.

Inputs: `selections` and `curves`, the tables of select_latent_dim.py of each dataset; `metrics`,
the collected table of metrics, of which models trained on all normal images are used.
The TSV has of each choice the AUC, the oracle's and the regret, in percent and percentage points.
The oracle is the d with the highest AUC by the test labels, with the same score on the same images;
the regret is its AUC less that of the choice, means over seeds. The selector `by_lot` stands for a
d at random: the mean over all.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from medae.base.errors import InputError
from medae.evaluation.splits import PUBLISHED_SPLIT
from medae.models.information import PLAIN_SCORE, display_name
from medae.report.tables import MISSING, Section, format_percent
from medae.theory.columns import CURVE_COLUMNS, SELECTION_COLUMNS
from medae.theory.results import (
    SPLITS,
    chosen_scores,
    known,
    read_score_metrics,
    read_tables,
    write_comparison,
)
from medae.theory.selectors import SELECTORS

TITLE = "Latent dimensions chosen without labels"
PARTS = ["auc", "oracle_latent_dim", "oracle_auc", "regret"]
SHOWN_COLUMNS = [*SELECTION_COLUMNS, *(f"{part}_{split}" for split in SPLITS for part in PARTS)]
AT_RANDOM = "by_lot"
LABELS = SELECTORS | {AT_RANDOM: "at random (mean of all)"}
CHOICES = ["Dataset", "Score", "Selector", "Chosen d", "AUC, leak-free", "Regret"]
CHOICES += ["AUC, published", "Regret", "Why"]
SUMMARY = ["Score", "Selector", "Chose on", "Mean regret, leak-free", "Worst"]
SUMMARY += ["Mean regret, published", "Worst"]
CHOSEN = "chosen without labels"  # a kind of score in the summary, beside the plain one
EXPLANATION = (
    "Selectors see held-out normal images and synthetic anomalies made of these, no abnormal image "
    "and no test image; the models whose AUC is given are trained on all normal training images. "
    "AUC in percent, mean over seeds. Regret: percentage points to the best d by the test labels, "
    "with the same score. Leak-free: the test images without a duplicate in training."
)


def compare_selection(
    *,
    selections: Sequence[Path],
    curves: Sequence[Path],
    metrics: Path,
    names: Mapping[str, str],
    recommended: str,
    output: Mapping[str, Path],
) -> None:
    """Write the table; `recommended` is the selector that the text names."""
    chosen = read_tables(selections, SELECTION_COLUMNS)
    points = read_tables(curves, CURVE_COLUMNS)
    judges = read_score_metrics(metrics)
    order = known(chosen["dataset"], names, what="dataset")
    chosen = chosen.sort_values("dataset", key=lambda c: c.map(order.index), kind="stable")
    judged = judge(chosen, metrics=judges, candidates=points)
    sections = [
        Section("Over all datasets", "", SUMMARY, summary_lines(judged, names), "llrrlrl"),
        Section("Choices", "", CHOICES, choice_lines(judged, names), "lllrrrrrl"),
    ]
    text = f"{EXPLANATION} Recommended: {SELECTORS[recommended]}."
    write_comparison(sections, title=TITLE, text=text, rows=judged, output=output)


def judge(chosen: pd.DataFrame, *, metrics: pd.DataFrame, candidates: pd.DataFrame) -> pd.DataFrame:
    """Return the choices with what the test labels say of them, and a row AT_RANDOM per score.

    `chosen` are rows of select_latent_dim.py, `candidates` have the columns dataset and latent_dim,
    `metrics` come from `read_score_metrics`. nan where nothing is chosen, and on a test set that
    lacks a class.
    """
    rows = []
    for (dataset, score), part in chosen.groupby(["dataset", "score"], sort=False):
        own = metrics[(metrics["dataset"] == dataset) & (metrics["score"] == score)]
        aucs = own.pivot(index="latent_dim", columns="split", values="value_percent")
        sizes = candidates.loc[candidates["dataset"] == dataset, "latent_dim"].unique()
        if lacking := set(sizes) - set(aucs.index):
            raise InputError(
                f"The autoencoder with d = {min(lacking)} has no AUC with the score {score} on "
                f"{dataset}, so a choice cannot be compared with it. Delete the tables of scores "
                "and choices of this dataset, and run the workflow again."
            )
        at_random = part.iloc[0].to_dict() | {"selector": AT_RANDOM, "method": ""}
        at_random |= {"latent_dim": 0, "criterion": ""}
        for row in [*part.to_dict("records"), at_random]:
            for split in aucs:
                found = aucs.loc[sorted(sizes), split]
                auc = found.get(row["latent_dim"], np.nan)
                auc = found.mean() if row["selector"] == AT_RANDOM else auc
                parts = [auc, found.idxmax(), found.max(), found.max() - auc]
                row |= {f"{part}_{split}": one for part, one in zip(PARTS, parts, strict=True)}
            rows.append(row)
    return pd.DataFrame(rows, columns=SHOWN_COLUMNS)


def summary_lines(judged: pd.DataFrame, names: Mapping[str, str]) -> list[list[str]]:
    """Return the regrets over datasets by kind of score and selector, in the order of SUMMARY.

    The kind of score is the plain one, or CHOSEN: the one that was chosen for the dataset, which
    can be the plain one.
    """
    last = judged["dataset"].map(chosen_scores(judged))
    kinds = {display_name(PLAIN_SCORE): judged["score"] == PLAIN_SCORE}
    if (last != PLAIN_SCORE).any():
        kinds[CHOSEN] = judged["score"] == last
    lines = []
    for kind, taken in kinds.items():
        for selector, part in judged[taken].groupby("selector", sort=False):
            count = part[f"auc_{PUBLISHED_SPLIT}"].count()
            cells = [kind, LABELS[selector], f"{count} of {len(part)}"]
            for split in SPLITS:
                regrets = part.set_index("dataset")[f"regret_{split}"].dropna()
                worst = MISSING
                if len(regrets):
                    worst = f"{regrets.max():.1f} ({names[regrets.idxmax()]})"
                cells += [format_percent(regrets.mean(), np.nan), worst]
            lines.append(cells)
    return lines


def choice_lines(judged: pd.DataFrame, names: Mapping[str, str]) -> list[list[str]]:
    """Return the cells of all choices, in the order of CHOICES."""
    numbers = [f"{part}_{split}" for split in SPLITS for part in ("auc", "regret")]
    lines = []
    for row in judged.to_dict("records"):
        cells = [names[row["dataset"]], display_name(row["score"]), LABELS[row["selector"]]]
        cells += [
            str(row["latent_dim"] or MISSING),
            *(format_percent(row[n], np.nan) for n in numbers),
        ]
        lines.append([*cells, row["criterion"]])
    return lines


if __name__ == "__main__":
    from medae.base.scripts import run_script

    files = {key: Path(path) for key, path in snakemake.output.items()}
    run_script(compare_selection, snakemake, output=files)
