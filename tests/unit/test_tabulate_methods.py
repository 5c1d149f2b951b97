"""The table of methods with its statistics, from metrics and intervals to four forms."""

import re
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from tabulate_methods import format_probability, in_percent, tabulate_methods

from medae.comparison import (
    add_statistics,
    compared_rows,
    oracle_dimensions,
    read_intervals,
)
from medae.errors import InputError
from medae.files import read_table, write_table
from medae.intervals import INTERVAL_COLUMNS
from medae.metrics import METRIC_COLUMNS
from medae.tables import summarise

NAMES = {"scans": "Scans", "xray": "X-ray", "unused": "Unused"}
METHODS = {"ae": "AE", "vae": "VAE", "memae": "MemAE", "ceae": "CeAE"}
COUNTS = {"scans": (30, 40), "xray": (5, 6)}


def metric_rows(values, method="ae", dim=16, dataset="xray", metric="auc"):
    """Rows of one setting and metric, one per value; seeds count from 0."""
    return [
        (dataset, method, dim, seed, "published", metric, value, *COUNTS[dataset])
        for seed, value in enumerate(values)
    ]


def interval_row(value, method="ae", dim=16, dataset="xray", metric="auc", difference=None):
    """A row of intervals: ± 0.05, ± 0.02 for the difference; `difference` is (value, p)."""
    test = [np.nan] * 4
    if difference is not None:
        test = [difference[0], difference[0] - 0.02, difference[0] + 0.02, difference[1]]
    setting = [dataset, method, dim, "published", metric]
    return [
        *setting,
        value,
        value - 0.05,
        value + 0.05,
        *test,
        2000,
        7 if dataset == "xray" else 70,
    ]


def metric_table(*groups):
    return pd.DataFrame([row for group in groups for row in group], columns=METRIC_COLUMNS)


def interval_table(*rows):
    return pd.DataFrame(list(rows), columns=INTERVAL_COLUMNS)


@pytest.fixture
def metrics():
    return metric_table(
        metric_rows([0.60, 0.62]),
        metric_rows([0.70, 0.70], dim=4),
        metric_rows([0.65, 0.65], dim=8),
        metric_rows([0.50, 0.50], metric="ap"),
        metric_rows([0.45, 0.45], metric="ap", dim=4),
        metric_rows([0.99, 0.99], metric="ap", dim=8),
        metric_rows([0.63, 0.65], "vae"),
        metric_rows([0.54, 0.56], "vae", metric="ap"),
        metric_rows([0.90, 0.90], "vae", dim=4),
        metric_rows([0.58, 0.58], "ceae"),
        metric_rows([0.80, 0.80], dataset="scans"),
        metric_rows([0.30, 0.32], dataset="scans", metric="dice_max"),
        metric_rows([0.70, 0.72], "vae", dataset="scans"),
        metric_rows([0.01, 0.01], metric="error_train_normal"),
    )


@pytest.fixture
def intervals():
    return {
        "xray": interval_table(
            interval_row(0.61),
            interval_row(0.70, dim=4, difference=(0.09, 0.001)),
            interval_row(0.50, metric="ap"),
            interval_row(0.45, metric="ap", dim=4, difference=(-0.05, 0.2)),
            interval_row(0.64, "vae", difference=(0.03, 0.02)),
            interval_row(0.55, "vae", metric="ap", difference=(0.05, 0.0004)),
            interval_row(0.58, "ceae", difference=(-0.03, 0.03)),
            interval_row(0.66, "other", difference=(0.05, 0.004)),
        ),
        "scans": interval_table(
            interval_row(0.80, dataset="scans"),
            interval_row(0.71, "vae", dataset="scans", difference=(-0.09, 0.004)),
        ),
    }


@pytest.fixture
def tabulate(tmp_path):
    def run(metrics, intervals, names=NAMES, latent_dim=16, notes=("A note on z = μ.",)):
        write_table(metrics, tmp_path / "metrics.tsv")
        paths = [tmp_path / f"intervals_{key}.tsv" for key in intervals]
        for path, table in zip(paths, intervals.values(), strict=True):
            write_table(table, path)
        outputs = {name: tmp_path / name for name in ("markdown", "latex", "html", "table")}
        tabulate_methods(
            metrics=tmp_path / "metrics.tsv",
            intervals=paths,
            names=names,
            methods=METHODS,
            latent_dim=latent_dim,
            notes=notes,
            **outputs,
        )
        return {name: path.read_text(encoding="utf-8") for name, path in outputs.items()} | {
            "rows": read_table(outputs["table"])
        }

    return run


# --- the oracle ---


def test_oracle_is_the_best_d_by_mean_auc(metrics):
    assert oracle_dimensions(summarise(metrics)) == {"xray": 4}  # scans has a single d


def test_of_equally_good_d_the_oracle_takes_the_least():
    table = metric_table(*(metric_rows([0.7, 0.8], dim=dim) for dim in (32, 2, 64)))
    assert oracle_dimensions(summarise(table)) == {"xray": 2}


def test_the_papers_best_d_follow_from_its_values(root):
    paper = read_table(root / "workflow/resources/paper_values.tsv")
    best = {"rsna": 4, "vindr": 4, "brain_tumor": 32, "brats": 16}
    assert oracle_dimensions(paper) == best
    assert set(paper["method"]) == {"ae", "vae", "memae", "ceae"}


def test_compared_rows_are_one_d_and_the_oracle():
    table = pd.DataFrame(
        [("a", "ae", 16), ("a", "ae", 4), ("b", "ae", 4), ("b", "vae", 16), ("a", "vae", 4)],
        columns=["dataset", "method", "latent_dim"],
    )
    assert compared_rows(table, latent_dim=16, oracle={"a": 4}).to_numpy().tolist() == [
        ["a", "ae", 16],
        ["b", "vae", 16],
        ["a", "ae_d_optimal", 4],
    ]


# --- the statistics ---


def test_holm_within_a_dataset_and_metric(metrics, intervals):
    oracle = {"xray": 4}
    shown = compared_rows(summarise(metrics), latent_dim=16, oracle=oracle)
    drawn = compared_rows(pd.concat(intervals.values()), latent_dim=16, oracle=oracle)
    table = add_statistics(shown, drawn).set_index(["dataset", "method", "metric"])
    # Two methods in X-ray's AUC: 2 · 0.02 and then, not below it, 0.03; families of one stay.
    assert table["p_holm"]["xray", "vae", "auc"] == pytest.approx(0.04)
    assert table["p_holm"]["xray", "ceae", "auc"] == pytest.approx(0.04)
    assert table["p_holm"]["xray", "vae", "ap"] == pytest.approx(0.0004)
    assert table["p_holm"]["scans", "vae", "auc"] == pytest.approx(0.004)
    untested = [("xray", "ae", "auc"), ("xray", "ae_d_optimal", "auc"), ("scans", "ae", "auc")]
    columns = ["difference", "difference_low", "difference_high", "p_value", "p_holm"]
    assert table.loc[untested, columns].isna().all(axis=None)
    assert table["low"]["xray", "ae_d_optimal", "auc"] == pytest.approx(0.65)
    assert np.isnan(table["low"]["scans", "ae", "dice_max"])  # has no interval


def test_tests_against_another_reference_are_left_out(metrics, intervals):
    shown = compared_rows(summarise(metrics), latent_dim=4, oracle={})
    drawn = compared_rows(pd.concat(intervals.values()), latent_dim=4, oracle={})
    table = add_statistics(shown, drawn)  # the reference has d = 16
    assert len(table) == 3
    assert table[["difference", "p_value", "p_holm"]].isna().all(axis=None)


def test_intervals_of_another_kind_are_refused(intervals, tmp_path):
    write_table(intervals["xray"].drop(columns="low"), tmp_path / "i.tsv")
    with pytest.raises(InputError, match=r"i\.tsv has the columns"):
        read_intervals([tmp_path / "i.tsv"])


def test_printed_numbers():
    assert in_percent(0.6149) == "61.5"
    assert in_percent(0.02, 0.0449, sign="+") == "+2.0 to +4.5"
    assert in_percent(-0.0001, sign="+") == "+0.0"
    assert in_percent(0.5, np.nan) == "–"
    assert format_probability(0.0404) == "0.040"
    assert format_probability(0.00099) == "<0.001"
    assert format_probability(np.nan) == "–"


# --- the forms ---

GOLDEN = """\
Percent; mean ± standard deviation over 2 seeds. Best of a column in bold, second underlined. \
⌈Dice⌉: best Dice over all thresholds, chosen on the test set. Test images (normal + abnormal): \
Scans 30 + 40, X-ray 5 + 6. All methods have latent dimension d = 16, except AE[d_optimal], an \
oracle: the d with the best mean test AUC, so chosen with the test labels (X-ray d = 4). A note on \
z = μ.

| Method | Scans AUC | Scans ⌈Dice⌉ | X-ray AUC | X-ray AP |
| --: | :-: | :-: | :-: | :-: |
| AE | **80.0 ± 0.0** | 31.0 ± 1.4 | 61.0 ± 1.4 | <ins>50.0 ± 0.0</ins> |
| VAE | <ins>71.0 ± 1.4</ins> | – | <ins>64.0 ± 1.4</ins> | **55.0 ± 1.4** |
| CeAE | – | – | 58.0 ± 0.0 | – |
| AE[d_optimal] (oracle: d by test AUC) | – | – | **70.0 ± 0.0** | 45.0 ± 0.0 |

## Statistics

Intervals are percentiles of 2000 bootstrap replicates over the test images (Scans: 70 images; \
X-ray: 7 groups of images); in each of them a metric is averaged over the seeds. The networks stay \
as they were trained. Differences to the AE with d = 16 are in percentage points; p is two-sided \
and paired (the same replicates for both), with Holm's correction over the methods of a dataset \
and metric. The oracle is not tested, and its interval leaves out that its d was chosen on the \
same images.

| Dataset | Metric | Method | d | Value | 95 % interval | Difference to AE | 95 % interval | \
p (Holm) |
| :-- | :-- | :-- | --: | --: | :-: | --: | :-: | --: |
| Scans | AUC | AE | 16 | 80.0 | 75.0 to 85.0 | – | – | – |
| Scans | AUC | VAE | 16 | 71.0 | 66.0 to 76.0 | -9.0 | -11.0 to -7.0 | 0.004 |
| Scans | ⌈Dice⌉ | AE | 16 | 31.0 | – | – | – | – |
| X-ray | AUC | AE | 16 | 61.0 | 56.0 to 66.0 | – | – | – |
| X-ray | AUC | VAE | 16 | 64.0 | 59.0 to 69.0 | +3.0 | +1.0 to +5.0 | 0.040 |
| X-ray | AUC | CeAE | 16 | 58.0 | 53.0 to 63.0 | -3.0 | -5.0 to -1.0 | 0.040 |
| X-ray | AUC | AE[d_optimal] (oracle: d by test AUC) | 4 | 70.0 | 65.0 to 75.0 | – | – | – |
| X-ray | AP | AE | 16 | 50.0 | 45.0 to 55.0 | – | – | – |
| X-ray | AP | VAE | 16 | 55.0 | 50.0 to 60.0 | +5.0 | +3.0 to +7.0 | <0.001 |
| X-ray | AP | AE[d_optimal] (oracle: d by test AUC) | 4 | 45.0 | 40.0 to 50.0 | – | – | – |
"""


def test_markdown(tabulate, metrics, intervals):
    assert tabulate(metrics, intervals)["markdown"] == GOLDEN


def test_html_has_both_tables(tabulate, metrics, intervals):
    text = tabulate(metrics, intervals)["html"]
    ElementTree.fromstring(text.partition("<meta")[0] + text[text.index("<title>") :])
    assert text.count("<table>") == text.count("</table>") == 2
    assert text.count("<tr>") == 5 + 11
    assert "&lt;0.001</td>" in text
    assert text.index("</table>") < text.index("<h2>Statistics</h2>")


def test_latex(tabulate, metrics, intervals):
    text = tabulate(metrics, intervals)["latex"]
    assert text.isascii()
    assert r"A note on z = $\mu$.}" in text
    assert r"AE[d\_optimal] (oracle: d by test AUC) & -- & -- & \textbf{70.0 $\pm$ 0.0} &" in text
    assert not re.search(r"(?<!\\)[_%#]", text)
    assert text.count("{") == text.count("}")


def test_tsv(tabulate, metrics, intervals):
    table = tabulate(metrics, intervals)["rows"]
    assert table[["method", "latent_dim", "dataset", "metric"]].to_numpy().tolist() == [
        ["ae", 16, "scans", "auc"],
        ["ae", 16, "scans", "dice_max"],
        ["ae", 16, "xray", "auc"],
        ["ae", 16, "xray", "ap"],
        ["vae", 16, "scans", "auc"],
        ["vae", 16, "xray", "auc"],
        ["vae", 16, "xray", "ap"],
        ["ceae", 16, "xray", "auc"],
        ["ae_d_optimal", 4, "xray", "auc"],
        ["ae_d_optimal", 4, "xray", "ap"],
    ]
    vae = table.loc[5]
    assert vae["mean_percent"] == pytest.approx(64)
    assert vae["std_percent"] == pytest.approx(np.sqrt(2), abs=1e-8)
    assert vae[["low_percent", "high_percent"]].tolist() == pytest.approx([59, 69])
    points = ["difference_points", "difference_low_points", "difference_high_points"]
    assert vae[points].tolist() == pytest.approx([3, 1, 5])
    assert vae[["p_value", "p_holm"]].tolist() == pytest.approx([0.02, 0.04])
    assert vae[["n_seeds", "replicates", "n_groups"]].tolist() == [2, 2000, 7]


def test_one_dataset_one_seed_one_d(tabulate, metrics, intervals):
    one = metrics.query("dataset == 'xray' and seed == 0 and latent_dim == 16")
    texts = tabulate(one, {"xray": intervals["xray"]}, notes=[])
    assert texts["markdown"].startswith("Percent; one seed.")
    assert "d_optimal" not in texts["markdown"]
    assert "The oracle" not in texts["markdown"]
    assert "All methods have latent dimension d = 16.\n" in texts["markdown"]
    assert texts["rows"]["std_percent"].isna().all()
    assert "| X-ray | AUC | VAE | 16 | 63.0 | 59.0 to 69.0 | +3.0 |" in texts["markdown"]


def test_without_the_autoencoder_there_are_no_tests(tabulate, metrics, intervals):
    alone = {key: table[table["method"] != "ae"].copy() for key, table in intervals.items()}
    for table in alone.values():
        table[["difference", "difference_low", "difference_high", "p_value"]] = np.nan
    texts = tabulate(metrics[metrics["method"] != "ae"], alone)
    assert "p is two-sided" not in texts["markdown"]
    assert "| X-ray | AUC | VAE | 16 | 64.0 | 59.0 to 69.0 | – | – | – |" in texts["markdown"]
    assert texts["rows"]["p_holm"].isna().all()


def test_no_method_at_this_d(tabulate, metrics, intervals):
    with pytest.raises(InputError, match="no results to put in the table by method"):
        tabulate(metrics[metrics["method"] == "vae"], intervals, latent_dim=64)
