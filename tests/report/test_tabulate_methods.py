"""The table of methods with its statistics, from metrics and intervals to four forms."""

import numpy as np
import pandas as pd
import pytest
from metric_frames import metric_rows, metric_table, table_lines, tabulated
from tabulate_methods import tabulate_methods

from medae.base.files import read_table
from medae.evaluation.bootstrap import INTERVAL_COLUMNS
from medae.evaluation.summary import summarise
from medae.report.rows import oracle_dimensions, row_labels

NAMES = {"scans": "Scans", "xray": "X-ray", "unused": "Unused"}
METHODS = {
    "ae": "AE",
    "ae_information": "AE (information)",
    "vae": "VAE",
    "memae": "MemAE",
    "ceae": "CeAE",
}
METHODS |= {"nearest": "Nearest image", "pca": "PCA"}
GROUPS = {("scans", "published"): 70, ("scans", "leak_free"): 45, ("xray", "published"): 7}


def metrics_of(values, method="ae", dim=16, **options):
    return metric_rows(values, method=method, dim=dim, n_train=90, **options)


def interval_row(
    value, method="ae", dim=16, dataset="xray", metric="auc", difference=None, split="published"
):
    """A row of intervals: ± 0.05, ± 0.02 for the difference; `difference` is (value, p)."""
    test = [np.nan] * 4
    if difference is not None:
        test = [difference[0], difference[0] - 0.02, difference[0] + 0.02, difference[1]]
    setting = [dataset, "all", method, dim, "squared_error", split, metric]
    interval = [value, value - 0.05, value + 0.05]
    return [*setting, *interval, *test, 2000, GROUPS[dataset, split]]


@pytest.fixture
def metrics():
    return metric_table(
        metrics_of([0.60, 0.62]),
        metrics_of([0.70, 0.70], dim=4),
        metrics_of([0.65, 0.65], dim=8),
        metrics_of([0.50, 0.50], metric="ap"),
        metrics_of([0.45, 0.45], metric="ap", dim=4),
        metrics_of([0.99, 0.99], metric="ap", dim=8),
        metrics_of([0.63, 0.65], "vae"),
        metrics_of([0.54, 0.56], "vae", metric="ap"),
        metrics_of([0.90, 0.90], "vae", dim=4),
        metrics_of([0.58, 0.58], "ceae"),
        metrics_of([0.80, 0.80], dataset="scans"),
        metrics_of([0.30, 0.32], dataset="scans", metric="dice_max"),
        metrics_of([0.70, 0.72], "vae", dataset="scans"),
        metrics_of([0.79], "nearest", 0, dataset="scans"),
        metrics_of([0.42, 0.44], dataset="scans", split="leak_free"),
        metrics_of([0.40, 0.40], "vae", dataset="scans", split="leak_free"),
        metrics_of([0.31], "nearest", 0, dataset="scans", split="leak_free"),
        metrics_of([0.20], "pca", 16),
        metrics_of([0.90], "pca", 64),
        metrics_of([0.01, 0.01], metric="error_train_normal"),
    )


@pytest.fixture
def intervals():
    found = {
        "xray": [
            interval_row(0.61),
            interval_row(0.70, dim=4, difference=(0.09, 0.001)),
            interval_row(0.50, metric="ap"),
            interval_row(0.45, metric="ap", dim=4, difference=(-0.05, 0.2)),
            interval_row(0.64, "vae", difference=(0.03, 0.02)),
            interval_row(0.55, "vae", metric="ap", difference=(0.05, 0.00099)),
            interval_row(0.58, "ceae", difference=(-0.03, 0.03)),
            interval_row(0.66, "other", difference=(0.05, 0.004)),
            interval_row(0.20, "pca", difference=(-0.41, 0.001)),
        ],
        "scans": [
            interval_row(0.80, dataset="scans"),
            interval_row(0.71, "vae", dataset="scans", difference=(-0.09, 0.004)),
            interval_row(0.79, "nearest", 0, "scans", difference=(-0.01, 0.3)),
            interval_row(0.43, dataset="scans", split="leak_free"),
            interval_row(0.40, "vae", 16, "scans", "auc", (-0.03, 0.03), "leak_free"),
            interval_row(0.31, "nearest", 0, "scans", "auc", (-0.12, 0.01), "leak_free"),
        ],
    }
    return {key: pd.DataFrame(rows, columns=INTERVAL_COLUMNS) for key, rows in found.items()}


def tabulate(metrics, intervals, notes=("A note on z = μ.",), chosen=(), score="squared_error"):
    selections = []
    for dataset, size in chosen:
        rows = [(dataset, "ae", "knee", "squared_error", "ae", 128, "")]
        for name in ("squared_error", "ncc"):
            rows.append((dataset, "ae", "one_se", name, "ae", size, ""))
        keys = ["dataset", "family", "selector", "score", "method", "latent_dim", "criterion"]
        selections.append(pd.DataFrame(rows, columns=keys))
    return tabulated(
        tabulate_methods,
        {"metrics": metrics, "intervals": list(intervals.values()), "selections": selections},
        *("markdown", "latex", "html"),
        names=NAMES,
        methods=METHODS,
        reference={"method": "ae", "latent_dim": 16, "score": score},
        selector="one_se",
        notes=notes,
        dataset_notes={"scans": "Scans are large."},
    )


# --- the oracle ---


def test_oracle_is_the_best_d_by_mean_auc_and_the_least_of_equally_good_ones(metrics):
    published = summarise(metrics[metrics["split"] == "published"])
    assert oracle_dimensions(published) == {"xray": 4}  # scans has a single d
    table = metric_table(*(metrics_of([0.7, 0.8], dim=dim) for dim in (32, 2, 64)))
    assert oracle_dimensions(summarise(table)) == {"xray": 2}


def test_baselines_come_last_by_either_score():
    methods = dict.fromkeys(["ae", "ae_information", "nearest", "pca", "pca_information"], "")
    labels = row_labels(methods, picked={"oracle": ""})
    after = ["nearest", "pca", "pca_information"]
    assert list(labels) == ["ae", "ae_information", "oracle", *after]


def test_the_papers_best_d_follow_from_its_values(root):
    paper = read_table(root / "workflow/resources/paper_values.tsv")
    best = {"rsna": 4, "vindr": 4, "brain_tumor": 32, "brats": 16}
    assert oracle_dimensions(paper) == best
    assert set(paper["method"]) == {"ae", "vae", "memae", "ceae"}
    assert not paper.duplicated(["table", "dataset", "method", "latent_dim", "metric"]).any()


def test_the_d_that_was_chosen_without_labels_is_a_row_with_tests(metrics, intervals):
    found = tabulate(metrics, intervals, chosen=[("xray", 4)])
    assert "AE[d_auto] (d without labels)" in found["markdown"]
    assert "`one_se` chose on held-out normal images (X-ray d = 4)" in found["markdown"]
    rows = found["rows"].query("metric == 'auc' and split == 'published' and dataset == 'xray'")
    rows = rows.set_index("method")
    assert rows.loc["ae_d_auto", "latent_dim"] == 4
    assert rows.loc["ae_d_auto", "mean_percent"] == rows.loc["ae_d_optimal", "mean_percent"]
    assert rows.loc["ae_d_auto", "p_value"] == 0.001
    assert "d_auto" not in tabulate(metrics, intervals, chosen=[("xray", 0)])["markdown"]


# --- the forms ---

# Holm's correction within a dataset, test set and metric. X-ray's AUC has three tests: PCA's
# 3 · 0.001, then 2 · 0.02 and, not below it, 0.03. Two tests of scans on each test set:
# 2 · 0.004 and 0.3, and 2 · 0.01 and 0.03.
TABLES = """\
| Method | Scans AUC | Scans AUC, leak-free | Scans ⌈Dice⌉ | X-ray AUC | X-ray AP |
| --: | :-: | :-: | :-: | :-: | :-: |
| AE | **80.0 ± 0.0** | **43.0 ± 1.4** | 31.0 ± 1.4 | 61.0 ± 1.4 | <ins>50.0 ± 0.0</ins> |
| VAE | 71.0 ± 1.4 | <ins>40.0 ± 0.0</ins> | – | <ins>64.0 ± 1.4</ins> | **55.0 ± 1.4** |
| CeAE | – | – | – | 58.0 ± 0.0 | – |
| AE[d_optimal] (oracle: d by test AUC) | – | – | – | **70.0 ± 0.0** | 45.0 ± 0.0 |
| Nearest image | <ins>79.0</ins> | 31.0 | – | – | – |
| PCA | – | – | – | 20.0 | – |
## Statistics
### Scans, full test set
| Metric | Method | d | Value | 95 % interval | Difference to AE | 95 % interval | p (Holm) |
| :-- | :-- | --: | --: | :-: | --: | :-: | --: |
| AUC | AE | 16 | 80.0 | 75.0 to 85.0 | – | – | – |
| AUC | VAE | 16 | 71.0 | 66.0 to 76.0 | -9.0 | -11.0 to -7.0 | 0.008 |
| AUC | Nearest image | – | 79.0 | 74.0 to 84.0 | -1.0 | -3.0 to +1.0 | 0.300 |
| ⌈Dice⌉ | AE | 16 | 31.0 | – | – | – | – |
### Scans, leak-free test set
| Metric | Method | d | Value | 95 % interval | Difference to AE | 95 % interval | p (Holm) |
| :-- | :-- | --: | --: | :-: | --: | :-: | --: |
| AUC | AE | 16 | 43.0 | 38.0 to 48.0 | – | – | – |
| AUC | VAE | 16 | 40.0 | 35.0 to 45.0 | -3.0 | -5.0 to -1.0 | 0.030 |
| AUC | Nearest image | – | 31.0 | 26.0 to 36.0 | -12.0 | -14.0 to -10.0 | 0.020 |
### X-ray, full test set
| Metric | Method | d | Value | 95 % interval | Difference to AE | 95 % interval | p (Holm) |
| :-- | :-- | --: | --: | :-: | --: | :-: | --: |
| AUC | AE | 16 | 61.0 | 56.0 to 66.0 | – | – | – |
| AUC | VAE | 16 | 64.0 | 59.0 to 69.0 | +3.0 | +1.0 to +5.0 | 0.040 |
| AUC | CeAE | 16 | 58.0 | 53.0 to 63.0 | -3.0 | -5.0 to -1.0 | 0.040 |
| AUC | AE[d_optimal] (oracle: d by test AUC) | 4 | 70.0 | 65.0 to 75.0 | – | – | – |
| AUC | PCA | 16 | 20.0 | 15.0 to 25.0 | -41.0 | -43.0 to -39.0 | 0.003 |
| AP | AE | 16 | 50.0 | 45.0 to 55.0 | – | – | – |
| AP | VAE | 16 | 55.0 | 50.0 to 60.0 | +5.0 | +3.0 to +7.0 | <0.001 |
| AP | AE[d_optimal] (oracle: d by test AUC) | 4 | 45.0 | 40.0 to 50.0 | – | – | – |
"""


def test_markdown_html_and_latex(metrics, intervals):
    others = metrics.assign(training_set="without_twins", value=0.0)  # are left out
    texts = tabulate(pd.concat([metrics, others]), intervals)
    assert table_lines(texts["markdown"]) == TABLES.splitlines()
    assert "&lt;0.001</td>" in texts["html"]


def test_one_dataset_one_seed_one_d(metrics, intervals):
    one = metrics.query("dataset == 'xray' and seed == 0 and latent_dim == 16")
    texts = tabulate(one, {"xray": intervals["xray"]}, notes=[])
    assert texts["markdown"].startswith("Percent; one seed.")
    assert "d_optimal" not in texts["markdown"]
    assert "The oracle" not in texts["markdown"]
    assert "d = 16. The last rows are baselines without a network. Scans" in texts["markdown"]
    assert texts["rows"]["std_percent"].isna().all()
    assert "| AUC | VAE | 16 | 63.0 | 59.0 to 69.0 | +3.0 |" in texts["markdown"]


def test_differences_to_the_autoencoder_by_information(metrics, intervals):
    texts = tabulate(metrics, intervals, score="information")
    assert "Differences to the AE (information) with d = 16 are in" in texts["markdown"]
    assert "| Difference to AE (information) |" in texts["markdown"]


def test_without_the_autoencoder_there_are_no_tests(metrics, intervals):
    alone = {key: table[table["method"] != "ae"].copy() for key, table in intervals.items()}
    for table in alone.values():
        table[["difference", "difference_low", "difference_high", "p_value"]] = np.nan
    texts = tabulate(metrics[metrics["method"] != "ae"], alone)
    assert "p is two-sided" not in texts["markdown"]
    assert "| AUC | VAE | 16 | 64.0 | 59.0 to 69.0 | – | – | – |" in texts["markdown"]
    assert texts["rows"]["p_holm"].isna().all()
