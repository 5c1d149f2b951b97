"""Set the scores of every network beside each other, and beside what sees no network.

A dataset's printed table has each method at `latent_dim`, or at its largest where it has no such d;
the TSV has all d. Below it stand the paired tests of the information score at every d.
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import pandas as pd

from medae.base.files import read_table, write_table
from medae.evaluation.bootstrap import TEST_COLUMNS
from medae.evaluation.metrics import FLAGGED_METRICS, METRIC_COLUMNS
from medae.evaluation.summary import (
    TABLE_METRICS,
    distinct_splits,
    read_tables,
    sort_rows,
    summarise,
)
from medae.models.baselines import BASELINES, LINEAR
from medae.models.information import INFORMATION, NO_RECONSTRUCTION, PLAIN_SCORE, display_name
from medae.report.grids import ENDINGS, describe_test_sets
from medae.report.rows import SPLIT_NAMES, check_ranked
from medae.report.tables import (
    MISSING,
    Section,
    format_percent,
    format_probability,
    in_percent,
    or_sentence,
    write_sections,
)

TITLE = "Scores of the same reconstructions"
ABOUT = (
    "Percent, mean ± standard deviation over seeds where there are several; models of all training "
    "images. Strata: AUC within ten strata of the images' variance, or of "
    "their low local variance, on which the control still depends a little. AP_pix and ⌈Dice⌉ "
    "(best over all thresholds, chosen on the test set) are of anomaly maps. Information "
    "is ½ log2((D + ε) / (σ² + ε)) over windows, with ε the model's mean error on normal training "
    "images where it is not named. If a baseline without a reconstruction does as well as a score, "
    "the score owes nothing to the model."
)
DECIDED = (
    "False-positive rate and sensitivity are the shares of normal and abnormal test images above "
    "the threshold from held-out training images. A rate far above the intended one says that "
    "normal test images are not like those of training."
)
CHOSEN = "† chosen without labels, by synthetic anomalies in held-out images."
TESTED = (
    "Paired tests of the information score, by the bootstrap over test images: differences in "
    "points with 95 % intervals, and two-sided p with Holm's correction over both. The best "
    "control is the one without a reconstruction that has the highest value on these very images."
)
TESTED_LINEAR = (
    "To PCA with the same d, scored by information too: what the network adds; p alone, without "
    "correction."
)
OWN_MAP = "own map"  # as the name of a score
TESTED_OWN_MAPS = "A method with an anomaly map of its own is compared with that."
SHOWN = ["auc", "auc_matched", "auc_matched_local", *FLAGGED_METRICS, "ap_pix", "dice_max"]
LABELS = {key: metric.label for key, metric in TABLE_METRICS.items()} | {
    "auc_matched": "AUC, strata of contrast",
    "auc_matched_local": "AUC, strata of smoothness",
    "false_positive_rate": "False-positive rate",
    "sensitivity": "Sensitivity",
}
TEST_HEADER = ["Metric", "Test set", "Method", "d", "To squared error", "95 % interval", "p"]
TEST_HEADER += ["To the best control", "95 % interval", "p", "Control"]
TEST_HEADER += ["To PCA", "95 % interval", "p"]
TESTED_METRICS = ["auc", "auc_matched_local", "ap_pix", "dice_max"]


def tabulate_scores(
    *,
    metrics: Path,
    tests: Sequence[Path],
    selections: Sequence[Path],
    names: Mapping[str, str],
    methods: Mapping[str, str],
    own_maps: Collection[str],
    latent_dim: int,
    dataset_notes: Mapping[str, str],
    markdown: Path,
    html: Path,
    table: Path,
) -> None:
    """Write the tables; `selections` are tables of choices without labels, if there are any.

    `own_maps` are the methods whose own score is not the squared error.
    """
    rows = read_table(metrics, METRIC_COLUMNS).query("training_set == 'all'")
    check_ranked(rows)
    rows = rows[rows["metric"].isin([*SHOWN, "ap", "ap_share"])]
    summary = summarise(distinct_splits(rows))
    chosen = {}
    for path in selections:
        choices = read_table(path)
        chosen |= dict(zip(choices["dataset"], choices["score"], strict=True))  # the last one
    summary["chosen"] = (summary["score"] == summary["dataset"].map(chosen)).astype(int)
    summary["order"] = summary["method"].map(list(methods).index)
    summary["baseline"] = summary["method"].isin(list(BASELINES))
    summary["place"] = (summary["score"] != PLAIN_SCORE).astype(int)
    by = ["dataset", "baseline", "order", "latent_dim", "place", "score", "split"]
    summary = sort_rows(summary, by=by, names=names)
    tested = read_tables(tests, TEST_COLUMNS)
    decided = bool({*rows["metric"]} & {*FLAGGED_METRICS})
    text = [ABOUT, *[DECIDED] * decided, *[CHOSEN] * bool(chosen), *describe_test_sets(rows, names)]
    sections = [Section(text=" ".join([*text, *dataset_notes.values()]))]
    for dataset, part in summary.groupby("dataset", sort=False):
        options = {"own_maps": own_maps, "latent_dim": latent_dim}
        sections.append(score_section(part, names[dataset], methods, **options))
        own = tested[(tested["dataset"] == dataset) & (tested["score"] == INFORMATION)]
        own = own[(own["method"] != LINEAR) | (own["latent_dim"] == latent_dim)]
        if len(own):
            own = sort_rows(own, by=["metric", "split", "method", "latent_dim"], names=names)
            linear = LINEAR in set(own["against"])
            width = len(TEST_HEADER) - 3 * (not linear)
            lines = [line[:width] for line in lines_of_tests(own, methods)]
            shape = {
                "header": TEST_HEADER[:width],
                "rows": lines,
                "align": "lllrrcrrcrlrcr"[:width],
            }
            text = [TESTED, *[TESTED_LINEAR] * linear]
            text += [TESTED_OWN_MAPS] * bool({*own["method"]} & {*own_maps})
            sections.append(Section("Tests", " ".join(text), level=3, **shape))
    write_sections(TITLE, sections, markdown=markdown, html=html)
    keys = ["dataset", "method", "latent_dim", "score", "split", "metric"]
    numbers = {"value_percent": 100 * summary["mean"], "std_percent": 100 * summary["std"]}
    columns = [*keys, *numbers, "n_seeds", "n_normal", "n_abnormal", "chosen"]
    write_table(summary.assign(**numbers)[columns], table)


def score_section(
    rows: pd.DataFrame,
    name: str,
    methods: Mapping[str, str],
    *,
    own_maps: Collection[str],
    latent_dim: int,
) -> Section:
    """Return one dataset's table, without columns that no row has."""
    sizes = rows.groupby("method")["latent_dim"].agg(set)
    printed = {key: latent_dim if latent_dim in own else max(own) for key, own in sizes.items()}
    rows = rows[rows["latent_dim"] == rows["method"].map(printed)]
    found = set(zip(rows["metric"], rows["split"], strict=True))
    columns = [(metric, split) for metric in SHOWN for split in ENDINGS if (metric, split) in found]
    lines = []
    keys = ["method", "latent_dim", "score"]
    for (method, size, score), part in rows.groupby(keys, sort=False):
        cells = part.set_index(["metric", "split"])
        if score == NO_RECONSTRUCTION:
            shown = MISSING
        else:
            own_map = score == PLAIN_SCORE and method in own_maps
            shown = OWN_MAP if own_map else display_name(score)
            shown += " †" * bool(part["chosen"].any())
        values = [
            format_percent(*cells.loc[column, ["mean", "std"]].mul(100))
            if column in cells.index
            else MISSING
            for column in columns
        ]
        lines.append([methods[method], str(size or MISSING), shown, *values])
    titles = [LABELS[metric] + ENDINGS[split] for metric, split in columns]
    header = ["Method", "d", "Score", *titles]
    return Section(name, header=header, rows=lines, align="lrl" + "c" * len(columns))


def lines_of_tests(tests: pd.DataFrame, methods: Mapping[str, str]) -> list[list[str]]:
    """Return the lines of the tests of one dataset and score, in the order of TEST_HEADER."""
    lines = []
    tests = tests[tests["metric"].isin(TESTED_METRICS)]
    for key, part in tests.groupby(["metric", "split", "method", "latent_dim"], sort=False):
        metric, split, method, size = key
        line = [LABELS[metric], SPLIT_NAMES[split], methods[method], str(size)]
        others = {row.against: row for row in part.itertuples()}
        control = next((name for name in others if name not in (PLAIN_SCORE, LINEAR)), None)
        plain, best, linear = (cells_of_test(others.get(n)) for n in (PLAIN_SCORE, control, LINEAR))
        lines.append([*line, *plain, *best, methods.get(control, MISSING), *linear])
    return lines


def cells_of_test(row: tuple | None) -> list[str]:
    """Return difference, interval and p of a row of TEST_COLUMNS; dashes without one."""
    if row is None:
        return [MISSING] * 3
    interval = in_percent(row.low, row.high, sign="+")
    return [in_percent(row.difference, sign="+"), interval, format_probability(row.p_holm)]


if __name__ == "__main__":
    from medae.base.scripts import run_script

    run_script(or_sentence(tabulate_scores), snakemake)
