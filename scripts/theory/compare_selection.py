"""Set what is chosen without labels beside a choice by test labels.

Inputs: `selections`, the choices of select_latent_dim.py on each dataset; `metrics`, the collected
table of metrics, of which autoencoders trained on all normal images are used.
The TSV has of each choice the AUC, the oracle's and the regret, in percent and percentage points.
The oracle is the d with the highest AUC by the test labels, with the same score on the same images;
the regret is its AUC less that of the choice, means over seeds. The selector `by_lot` stands for a
d at random: the mean over all.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from medae.base.files import read_table, write_table
from medae.evaluation.metrics import METRIC_COLUMNS
from medae.evaluation.splits import LEAK_FREE_SPLIT, PUBLISHED_SPLIT
from medae.evaluation.summary import read_tables, sort_rows
from medae.models.information import PLAIN_SCORE, display_name
from medae.report.tables import MISSING, Section, format_percent, write_sections
from medae.theory.plan import AUTOENCODER, SELECTION_COLUMNS
from medae.theory.selectors import SELECTORS

TITLE = "Latent dimensions chosen without labels"
SPLITS = [LEAK_FREE_SPLIT, PUBLISHED_SPLIT]
PARTS = ["auc", "oracle_latent_dim", "oracle_auc", "regret"]
SHOWN_COLUMNS = [*SELECTION_COLUMNS, *(f"{part}_{split}" for split in SPLITS for part in PARTS)]
AT_RANDOM = "by_lot"
LABELS = SELECTORS | {AT_RANDOM: "at random (mean of all)"}
CHOICES = ["Dataset", "Score", "Selector", "Chosen d", "AUC, leak-free", "Regret"]
CHOICES += ["AUC, full test set", "Regret", "Why"]
SUMMARY = ["Score", "Selector", "Chose on", "Mean regret, leak-free", "Worst"]
SUMMARY += ["Mean regret, full test set", "Worst"]
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
    metrics: Path,
    names: Mapping[str, str],
    recommended: str,
    markdown: Path,
    html: Path,
    table: Path,
) -> None:
    """Write the table; `recommended` is the selector that the text names."""
    chosen = read_tables(selections, SELECTION_COLUMNS)
    aucs = read_table(metrics, METRIC_COLUMNS).query("training_set == 'all' and metric == 'auc'")
    chosen = sort_rows(chosen, by=["dataset"], names=names)
    judged = judge(chosen, metrics=aucs[aucs["method"] == AUTOENCODER])
    text = f"{EXPLANATION} Recommended: {SELECTORS[recommended]}."
    sections = [
        Section(text=text),
        Section("Over all datasets", "", SUMMARY, summary_lines(judged, names), "llrrlrl"),
        Section("Choices", "", CHOICES, choice_lines(judged, names), "lllrrrrrl"),
    ]
    write_sections(TITLE, sections, markdown=markdown, html=html)
    write_table(judged, table)


def judge(chosen: pd.DataFrame, *, metrics: pd.DataFrame) -> pd.DataFrame:
    """Return the choices with what the test labels say of them, and a row AT_RANDOM per score.

    `chosen` are rows of select_latent_dim.py, `metrics` those of the autoencoder's AUC, of each d
    that was chosen among. nan where nothing is chosen, and on a test set that lacks a class.
    """
    rows = []
    for (dataset, score), part in chosen.groupby(["dataset", "score"], sort=False):
        own = metrics[(metrics["dataset"] == dataset) & (metrics["score"] == score)]
        aucs = 100 * own.pivot_table("value", "latent_dim", "split")  # means over seeds
        at_random = part.iloc[0].to_dict() | {"selector": AT_RANDOM, "method": ""}
        at_random |= {"latent_dim": 0, "criterion": ""}
        for row in [*part.to_dict("records"), at_random]:
            for split, found in aucs.items():
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
    last = judged.groupby("dataset")["score"].transform("last")
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

    run_script(compare_selection, snakemake)
