"""Tabulate what is chosen without labels, and what that costs against a choice by test labels.

Inputs: `selections` and `curves`, the tables of select_settings.py of each dataset; `scores`, the
tables of metrics by score of all settings, with models trained on all normal images.
Parameters: `names` and `methods`, the display names of datasets and methods; `recommended`, the
selector that the text names.
Outputs: the tables as Markdown, as an HTML page, and as a TSV with the columns COLUMNS: of each
choice the AUC, the oracle's and the regret, in percent and percentage points. The oracle is the
best candidate of the family with the same score on the same test images by their labels, the regret
its AUC less that of the choice, means over seeds. The selector `by_lot` stands for a candidate
drawn by lot, with the mean over all.
Fails when a candidate of the curves has no metrics, or a dataset or a method no display name.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from medae.base.errors import InputError
from medae.base.files import read_table, write_table, write_text
from medae.evaluation.splits import LEAK_FREE_SPLIT, PUBLISHED_SPLIT
from medae.evaluation.summary import display_name
from medae.report.tables import (
    MISSING,
    Section,
    format_percent,
    html_page,
    html_sections,
    markdown_sections,
)
from medae.theory.score_metrics import PLAIN_SCORE, read_score_metrics
from medae.theory.score_names import display_name as score_name
from medae.theory.selectors import SELECTORS

TITLE = "Settings chosen without labels"
PARTS = ["auc", "oracle_method", "oracle_latent_dim", "oracle_auc", "regret"]
SPLITS = {LEAK_FREE_SPLIT: "leak-free", PUBLISHED_SPLIT: "published"}
KEY = ["dataset", "family", "selector", "score", "method", "latent_dim", "criterion"]
CANDIDATE = ["dataset", "family", "method", "latent_dim"]
TABLE = ["dataset", "family", "score"]
COLUMNS = [*KEY, *(f"{part}_{split}" for split in SPLITS for part in PARTS)]
BY_LOT = "by_lot"
LABELS = SELECTORS | {BY_LOT: "by lot (mean of all)"}
HEADER = ["Selector", "Chosen", "AUC, leak-free", "Regret", "AUC, published", "Regret", "Why"]
ALIGN = "llrrrrl"
SUMMARY_HEADER = ["Model", "Score", "Selector", "Chose on", "Mean regret, leak-free", "Worst"]
SUMMARY_HEADER += ["Mean regret, published", "Worst"]
SUMMARY_ALIGN = "lllcrlrl"
CHOSEN = "chosen without labels"  # a kind of score in the summary, beside the plain one
EXPLANATION = (
    "Selectors see held-out normal images and synthetic anomalies made of these, no abnormal image "
    "and no test image; the models whose AUC is given are trained on all normal training images. "
    "AUC in percent, mean over seeds. Regret: percentage points to the best candidate of the "
    "family by the test labels (oracle), with the same score. Leak-free: the test images without a "
    "copy in training."
)


def tabulate_selection(
    *,
    selections: Sequence[Path],
    curves: Sequence[Path],
    scores: Sequence[Path],
    names: Mapping[str, str],
    methods: Mapping[str, str],
    recommended: str,
    markdown: Path,
    html: Path,
    table: Path,
) -> None:
    """Write the three forms of the table."""
    if recommended not in SELECTORS:
        raise InputError(
            f"There is no selector {recommended!r} to recommend. Known are {', '.join(SELECTORS)}."
        )
    chosen = pd.concat([read_table(path) for path in selections], ignore_index=True)
    candidates = pd.concat([read_table(path) for path in curves])[CANDIDATE].drop_duplicates()
    aucs = percent_aucs(read_score_metrics(scores))
    order = {key: place for place, key in enumerate(names)}
    for dataset in chosen["dataset"].unique():
        display_name(dataset, names)
    chosen = chosen.sort_values("dataset", key=lambda keys: keys.map(order), kind="stable")
    judged = judge(chosen, aucs=aucs, candidates=candidates)
    summary = summarise_regrets(judged)
    texts = [EXPLANATION, describe_recommended(summary, recommended, names=names, methods=methods)]
    sections = [
        Section(
            "Over all datasets",
            header=SUMMARY_HEADER,
            rows=summary_rows(summary, methods=methods, names=names),
            align=SUMMARY_ALIGN,
        )
    ]
    for (dataset, family, score), rows in judged.groupby(TABLE, sort=False):
        sections.append(
            Section(
                f"{names[dataset]}: {display_method(family, methods)}, {score_name(score)}",
                text=describe_oracles(rows, methods=methods),
                header=HEADER,
                rows=printed_rows(rows, methods=methods),
                align=ALIGN,
            )
        )
    text = " ".join(texts)
    write_text(f"{text}\n\n{markdown_sections(sections)}", markdown)
    write_text(html_page(TITLE, text, html_sections(sections)), html)
    write_table(judged[COLUMNS], table)


def percent_aucs(metrics: pd.DataFrame) -> pd.Series:
    """Return the AUC in percent, mean over seeds, by dataset, method, d, score and split."""
    rows = metrics[metrics["metric"] == "auc"]
    return 100 * rows.set_index(["dataset", "method", "latent_dim", "score", "split"])["value"]


def judge(chosen: pd.DataFrame, *, aucs: pd.Series, candidates: pd.DataFrame) -> pd.DataFrame:
    """Return the choices with what the test labels say of them, and a row of BY_LOT for each score.

    `chosen` are rows of select_settings.py, `candidates` have the columns CANDIDATE, `aucs` come
    from `percent_aucs`. nan where nothing is chosen, and on a test set that lacks a class.
    """
    rows = []
    for (dataset, family, score), part in chosen.groupby(TABLE, sort=False):
        own = candidates.query("dataset == @dataset and family == @family")
        settings = list(own[["method", "latent_dim"]].itertuples(index=False, name=None))
        values = {
            split: np.array([aucs.get((dataset, *one, score, split), np.nan) for one in settings])
            for split in SPLITS
        }
        lacking = np.isnan(values[PUBLISHED_SPLIT])
        if lacking.any():
            method, size = settings[int(np.argmax(lacking))]
            raise InputError(
                f"The candidate {method} with d = {size} has no AUC with the score {score} on "
                f"{dataset}, so a choice cannot be compared with it. Add it to the grid and the "
                "score to the score variants, or take it out of the selection's candidates."
            )
        for row in part.to_dict("records"):
            found = None
            if isinstance(row["method"], str) and row["method"]:
                found = settings.index((row["method"], row["latent_dim"]))
            rows.append(row | _compare(values, settings, found))
        by_lot = {"selector": BY_LOT, "method": "", "latent_dim": 0, "criterion": ""}
        shared = {"dataset": dataset, "family": family, "score": score}
        rows.append(shared | by_lot | _compare(values, settings, slice(None)))
    return pd.DataFrame(rows)[COLUMNS]


def _compare(
    values: Mapping[str, np.ndarray],
    settings: Sequence[tuple[str, int]],
    found: int | slice | None,
) -> dict[str, object]:
    """Return the columns PARTS of both splits for the candidates `found`, of which the mean is."""
    row: dict[str, object] = {}
    for split, aucs in values.items():
        if np.isnan(aucs).any():
            row |= {f"{part}_{split}": np.nan for part in PARTS}
            continue
        best = int(np.argmax(aucs))
        method, size = settings[best]
        auc = np.nan if found is None else float(np.mean(aucs[found]))
        parts = [auc, method, size, aucs[best], aucs[best] - auc]
        row |= {f"{part}_{split}": value for part, value in zip(PARTS, parts, strict=True)}
    return row


def summarise_regrets(judged: pd.DataFrame) -> pd.DataFrame:
    """Return a row per family, kind of score and selector: regrets over datasets.

    The kind of score is PLAIN_SCORE, or CHOSEN: the one that was chosen for the dataset, which
    can be the plain one. Columns: family, score, selector, n_chosen, n_datasets, and for each split
    mean, worst and worst_dataset of the regret; nan where nothing was chosen.
    """
    last = judged.groupby("dataset")["score"].transform(lambda scores: scores.unique()[-1])
    kinds = {PLAIN_SCORE: judged["score"] == PLAIN_SCORE, CHOSEN: judged["score"] == last}
    several = (last != PLAIN_SCORE).any()
    rows = []
    for kind, taken in kinds.items() if several else [(PLAIN_SCORE, kinds[PLAIN_SCORE])]:
        for (family, selector), part in judged[taken].groupby(["family", "selector"], sort=False):
            row = {"family": family, "score": kind, "selector": selector}
            row["n_datasets"] = len(part)
            row["n_chosen"] = int(part[f"auc_{PUBLISHED_SPLIT}"].notna().sum())
            for split in SPLITS:
                regrets = part.set_index("dataset")[f"regret_{split}"].astype(float).dropna()
                row[f"mean_{split}"] = regrets.mean()
                row[f"worst_{split}"] = regrets.max()
                row[f"worst_dataset_{split}"] = regrets.idxmax() if len(regrets) else ""
            rows.append(row)
    frame = pd.DataFrame(rows)
    places = {family: place for place, family in enumerate(judged["family"].unique())}
    return frame.sort_values("family", key=lambda keys: keys.map(places), kind="stable")


def describe_recommended(
    summary: pd.DataFrame, recommended: str, *, names: Mapping[str, str], methods: Mapping[str, str]
) -> str:
    """Return the sentence on the recommended selector, with the first family's regrets."""
    family = summary["family"].iloc[0]
    parts = []
    for row in summary[summary["family"] == family].to_dict("records"):
        if row["selector"] == recommended and row["n_chosen"]:
            split = LEAK_FREE_SPLIT
            if np.isnan(row[f"mean_{split}"]):
                split = PUBLISHED_SPLIT
            mean, worst = (f"{row[f'{part}_{split}']:.1f}" for part in ("mean", "worst"))
            parts.append(
                f"with the score {score_kind(row['score'])} a mean regret of {mean} points on the "
                f"{SPLITS[split]} test sets (worst {worst}, {names[row[f'worst_dataset_{split}']]})"
            )
    found = "; ".join(parts) if parts else "it chose nothing here"
    return f"Recommended: {SELECTORS[recommended]} ({display_method(family, methods)}: {found})."


def describe_oracles(rows: pd.DataFrame, *, methods: Mapping[str, str]) -> str:
    """Return the sentence on the oracles of one dataset, family and score."""
    first = rows.iloc[0]
    parts = []
    for split, title in SPLITS.items():
        if pd.notna(auc := first[f"oracle_auc_{split}"]):
            size = int(first[f"oracle_latent_dim_{split}"])
            model = _model(first["family"], first[f"oracle_method_{split}"], size, methods)
            parts.append(f"{title} {model}, {auc:.1f}")
    return f"Best by the test labels (oracle): {'; '.join(parts)}."


def printed_rows(rows: pd.DataFrame, *, methods: Mapping[str, str]) -> list[list[str]]:
    """Return the cells of the choices of one dataset, family and score, in the order of HEADER."""
    printed = []
    for row in rows.to_dict("records"):
        model = MISSING
        if isinstance(row["method"], str) and row["method"]:
            model = _model(row["family"], row["method"], row["latent_dim"], methods)
        cells = [LABELS[row["selector"]], model]
        for split in SPLITS:
            cells.append(format_percent(row[f"auc_{split}"], np.nan))
            cells.append(format_percent(row[f"regret_{split}"], np.nan))
        printed.append([*cells, row["criterion"]])
    return printed


def summary_rows(
    summary: pd.DataFrame, *, methods: Mapping[str, str], names: Mapping[str, str]
) -> list[list[str]]:
    """Return the cells of the summary, in the order of SUMMARY_HEADER."""
    printed = []
    for row in summary.to_dict("records"):
        cells = [display_method(row["family"], methods), score_kind(row["score"])]
        cells.append(LABELS[row["selector"]])
        cells.append(f"{row['n_chosen']} of {row['n_datasets']}")
        for split in SPLITS:
            worst = MISSING
            if row[f"worst_dataset_{split}"]:
                worst = f"{row[f'worst_{split}']:.1f} ({names[row[f'worst_dataset_{split}']]})"
            cells += [format_percent(row[f"mean_{split}"], np.nan), worst]
        printed.append(cells)
    return printed


def score_kind(kind: str) -> str:
    """Return how tables print the kind of score in the summary."""
    return score_name(kind) if kind == PLAIN_SCORE else kind


def display_method(method: str, methods: Mapping[str, str]) -> str:
    """Return the display name of a method's or family's key; InputError when `methods` lacks it."""
    if method not in methods:
        raise InputError(
            f"The method {method} was chosen from, but has no display name. Give it a `name` in "
            "the configuration's variants."
        )
    return methods[method]


def _model(family: str, method: str, latent_dim: int, methods: Mapping[str, str]) -> str:
    """Return "d = 16" where the family is one method, else the method's display name."""
    return f"d = {latent_dim}" if method == family else display_method(method, methods)


if __name__ == "__main__":
    from medae.base.logs import script_logging

    with script_logging(snakemake.log[0]):
        tabulate_selection(
            selections=[Path(path) for path in snakemake.input.selections],
            curves=[Path(path) for path in snakemake.input.curves],
            scores=[Path(path) for path in snakemake.input.scores],
            names=snakemake.params.names,
            methods=snakemake.params.methods,
            recommended=snakemake.params.recommended,
            markdown=Path(snakemake.output.markdown),
            html=Path(snakemake.output.html),
            table=Path(snakemake.output.table),
        )
