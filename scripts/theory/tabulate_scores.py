"""Tabulate what the scores of `medae.theory.scores` tell, beside baselines without a network.

Inputs: `scores`, the tables of measure_scores.py; `metrics`, the collected table of metrics, and
`intervals`, one table per dataset, of which the baselines' rows are used; `selections`, tables of
select_settings.py, of some datasets or of none.
Parameters: `names` and `methods`, the display names of datasets and methods, in table order;
`latent_dim`, the d of the rows that are printed, or a method's largest where it has no such d.
Outputs: a section per dataset as Markdown and as an HTML page, in percent; and all numbers, of all
d, as a TSV. The leak-free test set stands first, as it is the one to judge by.
Fails when a table is of another kind or a dataset has no display name.
"""

import html as html_text
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from medae.base.files import read_table, write_table, write_text
from medae.evaluation.splits import LEAK_FREE_SPLIT, PUBLISHED_SPLIT
from medae.evaluation.summary import display_name, summarise
from medae.models.baselines import BASELINES
from medae.report.comparison import read_intervals
from medae.report.tables import MISSING, html_page, html_table, markdown_table
from medae.theory.score_metrics import SETTING, best_baseline, chosen_scores, read_score_metrics
from medae.theory.score_names import CONTROL
from medae.theory.score_names import display_name as score_name

TITLE = "Scores by information"
ABOUT = (
    "Percent; mean over seeds, in brackets the 95 % bootstrap interval over test images. "
    "Leak-free: the test images without a copy in training; the published test set is for "
    "comparison with others. AUC matched: among images of like variance. ⌈Dice⌉: best Dice over "
    "all thresholds, chosen on the test set. Best of a column in bold. All models were trained on "
    "all normal images. Where the noise floor ε is not named, it is the model's mean error on "
    "normal training images."
)
MARKED = "† chosen without labels, by synthetic anomalies in held-out training images."
COLUMNS = {  # (metric, split): title
    ("auc", LEAK_FREE_SPLIT): "AUC leak-free",
    ("auc", PUBLISHED_SPLIT): "AUC published",
    ("auc_matched", LEAK_FREE_SPLIT): "AUC matched, leak-free",
    ("ap", LEAK_FREE_SPLIT): "AP leak-free",
    ("ap_pix", LEAK_FREE_SPLIT): "AP_pix leak-free",
    ("dice_max", LEAK_FREE_SPLIT): "⌈Dice⌉ leak-free",
}
WITH_INTERVAL = "auc"
BASELINE = ""  # score of a baseline
KEY = ["method", "latent_dim", "score"]


class Form(NamedTuple):
    """How a text is written in one of the two formats."""

    bold: str
    escape: Callable[[str], str]


MARKDOWN = Form("**{}**", str)
HTML = Form("<strong>{}</strong>", html_text.escape)


def tabulate_scores(
    *,
    scores: Sequence[Path],
    metrics: Path,
    intervals: Sequence[Path],
    selections: Sequence[Path],
    names: Mapping[str, str],
    methods: Mapping[str, str],
    latent_dim: int,
    markdown: Path,
    table: Path,
    html: Path,
) -> None:
    """Write the three forms of the table."""
    models = read_score_metrics(scores)
    for dataset in models["dataset"].unique():
        display_name(dataset, names)
    baselines = read_baselines(metrics, intervals)
    rows = pd.concat([models, baselines[baselines["dataset"].isin(models["dataset"])]])
    chosen = chosen_scores(selections)
    rows["chosen"] = (rows["score"] == rows["dataset"].map(chosen)).astype(int)
    markdown_parts, html_parts = [f"{ABOUT}\n"], []
    for dataset in [key for key in names if key in set(models["dataset"])]:
        own = rows[rows["dataset"] == dataset]
        shown = printed_rows(own, methods=methods, latent_dim=latent_dim)
        text = describe(shown, methods=methods)
        header, align = make_header(shown)
        lines = {form: make_lines(shown, header, methods, form) for form in (MARKDOWN, HTML)}
        markdown_parts += [f"## {names[dataset]}\n", f"{text}\n"]
        markdown_parts.append(markdown_table(header, lines[MARKDOWN], align))
        html_parts.append(f"<h2>{html_text.escape(names[dataset])}</h2>")
        html_parts.append(f"<p>{html_text.escape(text)}</p>")
        html_parts.append(html_table(header, lines[HTML], align))
    write_text("\n".join(markdown_parts), markdown)
    write_text(html_page(TITLE, ABOUT, "\n".join(html_parts)), html)
    percent = {f"{key}_percent": 100 * rows[key] for key in ("value", "low", "high")}
    columns = [*SETTING, *percent, "n_normal", "n_abnormal", "chosen"]
    write_table(rows.assign(**percent)[columns], table)


def read_baselines(metrics: Path, intervals: Sequence[Path]) -> pd.DataFrame:
    """Return the baselines' rows, in the form of `read_score_metrics`, the score being BASELINE."""
    rows = read_table(metrics)
    own = rows["method"].isin(list(BASELINES)) & (rows["training_set"] == "all")
    means = summarise(rows[own]).rename(columns={"mean": "value"})
    drawn = read_intervals(intervals)
    # Where both test sets are the same, there are intervals of one.
    known = set(drawn.loc[drawn["split"] == LEAK_FREE_SPLIT, "dataset"])
    same = drawn[~drawn["dataset"].isin(known)].assign(split=LEAK_FREE_SPLIT)
    keys = ["dataset", "training_set", "method", "latent_dim", "split", "metric"]
    drawn = pd.concat([drawn, same])[[*keys, "low", "high"]]
    joined = means.merge(drawn, on=keys, how="left", validate="1:1").assign(score=BASELINE)
    return joined[[*SETTING, "value", "low", "high", "n_normal", "n_abnormal"]]


def printed_rows(
    rows: pd.DataFrame, *, methods: Mapping[str, str], latent_dim: int
) -> pd.DataFrame:
    """Return the rows at each method's printed d, methods in table order and baselines last."""
    sizes = rows.groupby("method")["latent_dim"].agg(set)
    printed = {
        key: 0 if 0 in own else latent_dim if latent_dim in own else max(own)
        for key, own in sizes.items()
    }
    shown = rows[rows["latent_dim"] == rows["method"].map(printed)]
    networks = [key for key in methods if key not in BASELINES]
    order = {key: place for place, key in enumerate([*networks, *BASELINES])}
    return shown.sort_values("method", key=lambda keys: keys.map(order), kind="stable")


def describe(shown: pd.DataFrame, *, methods: Mapping[str, str]) -> str:
    """Return the sentences above the table of one dataset."""
    counts = []
    for split in (LEAK_FREE_SPLIT, PUBLISHED_SPLIT):
        for first in shown[shown["split"] == split].head(1).itertuples():
            name = split.replace("_", "-")
            counts.append(f"{name} {first.n_normal:.0f} + {first.n_abnormal:.0f}")
    sentences = [f"Test images (normal + abnormal): {', '.join(counts)}."]
    sentences += [compare(shown, methods=methods)]
    sentences += [MARKED] * bool(shown["chosen"].any())
    return " ".join(sentence for sentence in sentences if sentence)


def compare(shown: pd.DataFrame, *, methods: Mapping[str, str]) -> str:
    """Return the sentence on how many scores of models beat the best baseline, if there is any."""
    best = best_baseline(shown)
    if best is None:
        return ""
    key, values = best
    split = LEAK_FREE_SPLIT if LEAK_FREE_SPLIT in values else PUBLISHED_SPLIT
    judged = shown[(shown["metric"] == "auc") & (shown["split"] == split)]
    control = judged["score"].str.startswith(CONTROL)
    models = judged[(judged["score"] != BASELINE) & ~control]
    better = int(np.count_nonzero(models["value"] > values[split]))
    where = split.replace("_", "-")
    text = (
        f"Scores of models with a higher {where} AUC than the best baseline without a network, "
        f"{methods.get(key, key)} ({100 * values[split]:.1f}): {better} of {len(models)}."
    )
    if control.any():
        level = judged.loc[control, "value"].max()
        better = int(np.count_nonzero(models["value"] > level))
        text += (
            " With a higher one than the best control, the variance of the image without any "
            f"reconstruction ({100 * level:.1f}): {better} of {len(models)}. Where the control is "
            "as good, the model has no part in it."
        )
    return text


def make_header(shown: pd.DataFrame) -> tuple[list[str], str]:
    """Return titles and alignment; metrics that no row has are left out."""
    known = set(zip(shown["metric"], shown["split"], strict=True))
    titles = [title for key, title in COLUMNS.items() if key in known]
    return ["Method", "d", "Score", *titles], "lrl" + "r" * len(titles)


def make_lines(
    shown: pd.DataFrame, header: Sequence[str], methods: Mapping[str, str], form: Form
) -> list[list[str]]:
    """Return the printed rows, the best of each column in bold."""
    columns = [key for key, title in COLUMNS.items() if title in header]
    cells = shown.set_index([*KEY, "metric", "split"])
    keys = shown[[*KEY, "chosen"]].drop_duplicates(KEY)
    numbers = np.full((len(keys), len(columns)), np.nan)
    texts = np.full(numbers.shape, MISSING, dtype=object)
    for i, key in enumerate(keys[KEY].itertuples(index=False, name=None)):
        for j, column in enumerate(columns):
            if (*key, *column) in cells.index:
                cell = cells.loc[(*key, *column)]
                numbers[i, j] = round(100 * cell["value"], 1)
                texts[i, j] = f"{numbers[i, j]:.1f}"
                if column[0] == WITH_INTERVAL and not np.isnan(cell["low"]):
                    texts[i, j] += f" [{100 * cell['low']:.1f}, {100 * cell['high']:.1f}]"
    best = np.nanmax(numbers, axis=0)
    lines = []
    for i, (method, d, score, chosen) in enumerate(keys.itertuples(index=False, name=None)):
        name = score_name(score) if score != BASELINE else MISSING
        line = [methods.get(method, method), str(d or MISSING), name + " †" * bool(chosen)]
        line = [form.escape(text) for text in line]
        line += [
            form.bold.format(text) if numbers[i, j] == best[j] else text
            for j, text in enumerate(texts[i])
        ]
        lines.append(line)
    return lines


if __name__ == "__main__":
    from medae.base.logs import script_logging

    with script_logging(snakemake.log[0]):
        tabulate_scores(
            scores=[Path(path) for path in snakemake.input.scores],
            metrics=Path(snakemake.input.metrics),
            intervals=[Path(path) for path in snakemake.input.intervals],
            selections=[Path(path) for path in snakemake.input.selections],
            names=snakemake.params.names,
            methods=snakemake.params.methods,
            latent_dim=snakemake.params.latent_dim,
            markdown=Path(snakemake.output.markdown),
            table=Path(snakemake.output.table),
            html=Path(snakemake.output.html),
        )
