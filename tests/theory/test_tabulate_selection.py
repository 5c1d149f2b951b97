"""The tables of choices without labels: AUC, oracle and regret by hand."""

from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from tabulate_selection import BY_LOT, COLUMNS, tabulate_selection

from medae.base.errors import InputError
from medae.base.files import read_table, write_table
from medae.theory.score_metrics import SCORE_METRIC_COLUMNS

NAMES = {"b": "Second & last", "a": "First"}
METHODS = {"ae": "AE", "entropy_ae": "Entropy AE", "low": "λ = 1e-5", "high": "λ = 1e-3"}
AUC = {  # (dataset, method, d, score): leak-free and published, percent
    ("a", "ae", 1, "mse"): (50, 60),
    ("a", "ae", 4, "mse"): (70, 65),
    ("a", "ae", 16, "mse"): (60, 70),
    ("a", "ae", 1, "ncc"): (80, 80),
    ("a", "ae", 4, "ncc"): (75, 90),
    ("a", "ae", 16, "ncc"): (70, 85),
    ("a", "high", 128, "mse"): (55, 50),
    ("a", "low", 128, "mse"): (65, 62),
    ("a", "high", 128, "ncc"): (1, 2),
    ("a", "low", 128, "ncc"): (3, 4),
    ("b", "ae", 1, "mse"): (None, 90),
    ("b", "ae", 4, "mse"): (None, 80),
}
CHOICES = [  # (dataset, family, selector, score, method, d, why)
    ("a", "ae", "knee", "mse", "", 0, "no knee"),
    ("a", "ae", "synthetic_auc", "mse", "ae", 16, "why a"),
    ("a", "ae", "knee", "ncc", "", 0, "no knee"),
    ("a", "ae", "synthetic_auc", "ncc", "ae", 4, "why b"),
    ("a", "entropy_ae", "synthetic_auc", "mse", "high", 128, "why c"),
    ("a", "entropy_ae", "synthetic_auc", "ncc", "low", 128, "why d"),
    ("b", "ae", "knee", "mse", "ae", 4, "why e"),
    ("b", "ae", "synthetic_auc", "mse", "ae", 1, "why f"),
]


@pytest.fixture
def run(tmp_path):
    def tabulate(auc=AUC, recommended="synthetic_auc", names=NAMES, methods=METHODS):
        columns = ["dataset", "family", "selector", "score", "method", "latent_dim", "criterion"]
        chosen = pd.DataFrame(CHOICES, columns=columns)
        curves = pd.DataFrame([key[:3] for key in AUC], columns=["dataset", "method", "latent_dim"])
        curves["family"] = np.where(curves["method"] == "ae", "ae", "entropy_ae")
        rows = [
            (*key[:3], seed, key[3], split, metric, value / 100 + shift, None, None, 5, 6)
            for key, values in auc.items()
            for split, value in zip(("leak_free", "published"), values, strict=True)
            if value is not None
            for seed, shift in ((0, -0.01), (1, 0.01))
            for metric in ("auc", "ap")
        ]
        metrics = pd.DataFrame(rows, columns=SCORE_METRIC_COLUMNS)
        metrics.loc[metrics["metric"] == "ap", "value"] = 0.123
        paths = {name: [] for name in ("selections", "curves", "scores")}
        for dataset in ("a", "b"):
            tables = {"selections": chosen, "curves": curves, "scores": metrics}
            for name, table in tables.items():
                path = tmp_path / f"{name}_{dataset}.tsv"
                write_table(table[table["dataset"] == dataset], path)
                paths[name].append(path)
        outputs = {name: tmp_path / f"t.{name}" for name in ("markdown", "html", "table")}
        tabulate_selection(
            **paths, names=names, methods=methods, recommended=recommended, **outputs
        )
        return outputs

    return tabulate


def test_regrets_by_hand(run):
    table = read_table(run()["table"])
    assert list(table.columns) == COLUMNS
    rows = table.set_index(["dataset", "family", "score", "selector"])
    assert rows.index.is_unique
    values = ["auc_leak_free", "regret_leak_free", "auc_published", "regret_published"]
    expected = {
        ("a", "ae", "mse", "synthetic_auc"): (60, 10, 70, 0),
        ("a", "ae", "mse", BY_LOT): (60, 10, 65, 5),
        ("a", "ae", "ncc", "synthetic_auc"): (75, 5, 90, 0),
        ("a", "entropy_ae", "mse", "synthetic_auc"): (55, 10, 50, 12),
        ("a", "entropy_ae", "ncc", "synthetic_auc"): (3, 0, 4, 0),
        ("a", "ae", "mse", "knee"): (np.nan,) * 4,
        ("b", "ae", "mse", "knee"): (np.nan, np.nan, 80, 10),
        ("b", "ae", "mse", BY_LOT): (np.nan, np.nan, 85, 5),
    }
    for key, numbers in expected.items():
        assert rows.loc[key, values].tolist() == pytest.approx(list(numbers), nan_ok=True)
    oracle = rows.loc["a", "ae", "mse", "synthetic_auc"]
    assert (oracle["oracle_latent_dim_leak_free"], oracle["oracle_auc_leak_free"]) == (4, 70)
    assert (oracle["oracle_latent_dim_published"], oracle["oracle_auc_published"]) == (16, 70)
    assert len(table) == len(CHOICES) + 5


def test_summary_by_hand(run):
    text = run()["markdown"].read_text(encoding="utf-8")
    lines = text.partition("## Over all datasets")[2].partition("##")[0].splitlines()
    cells = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")][2:]
    rows = {tuple(line[:3]): line[3:] for line in cells}
    plain, chosen = ("AE", "squared error"), ("AE", "chosen without labels")
    assert rows[*plain, "synthetic anomalies"] == [
        *("2 of 2", "10.0", "10.0 (First)"),
        *("0.0", "0.0 (Second & last)"),
    ]
    # On the second dataset the chosen score is the plain one.
    assert rows[*chosen, "synthetic anomalies"][:4] == ["2 of 2", "5.0", "5.0 (First)", "0.0"]
    assert rows[*plain, "knee of the held-out error"] == [
        *("1 of 2", "–", "–"),
        *("10.0", "10.0 (Second & last)"),
    ]
    assert rows["Entropy AE", "squared error", "synthetic anomalies"][0] == "1 of 1"
    assert rows[*plain, "by lot (mean of all)"] == [
        *("2 of 2", "10.0", "10.0 (First)"),
        *("5.0", "5.0 (Second & last)"),
    ]


def test_the_recommended_selector_is_described(run):
    text = run()["markdown"].read_text(encoding="utf-8")
    assert (
        "Recommended: synthetic anomalies (AE: with the score squared error a mean regret of 10.0 "
        "points on the leak-free test sets (worst 10.0, First); with the score chosen without "
        "labels a mean regret of 5.0 points on the leak-free test sets (worst 5.0, First))."
    ) in text
    text = run(recommended="combined")["markdown"].read_text(encoding="utf-8")
    assert "it chose nothing here" in text


def test_the_table_of_a_dataset(run):
    text = run()["markdown"].read_text(encoding="utf-8")
    assert text.index("## Second & last: AE") < text.index("## First: AE, squared error")
    section = text.partition("## First: AE, squared error\n\n")[2].partition("\n##")[0]
    first, _, _, _, *lines = section.strip().splitlines()
    assert first == (
        "Best by the test labels (oracle): leak-free d = 4, 70.0; published d = 16, 70.0."
    )
    assert lines == [
        "| knee of the held-out error | – | – | – | – | – | no knee |",
        "| synthetic anomalies | d = 16 | 60.0 | 10.0 | 70.0 | 0.0 | why a |",
        "| by lot (mean of all) | – | 60.0 | 10.0 | 65.0 | 5.0 |  |",
    ]
    assert "| synthetic anomalies | λ = 1e-3 | 55.0 | 10.0 | 50.0 | 12.0 | why c |" in text
    assert "Best by the test labels (oracle): published d = 1, 90.0." in text


def test_html(run):
    text = run()["html"].read_text(encoding="utf-8")
    page = ElementTree.fromstring(text.partition("<meta")[0] + text[text.index("<title>") :])
    assert len(page.findall(".//table")) == 1 + 5


def test_what_is_lacking_is_said(run):
    without = {key: value for key, value in AUC.items() if key != ("a", "ae", 1, "ncc")}
    with pytest.raises(InputError, match="candidate ae with d = 1 has no AUC with the score ncc"):
        run(auc=without)
    with pytest.raises(InputError, match="no display name"):
        run(names={"a": "First"})
    with pytest.raises(InputError, match="The method high .* no display name"):
        run(methods={key: name for key, name in METHODS.items() if key != "high"})
    with pytest.raises(InputError, match="no selector 'best' to recommend"):
        run(recommended="best")
