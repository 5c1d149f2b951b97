"""The table of the retraining control: differences by hand, and what is left out."""

from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from tabulate_training_sets import NOTHING, measure_losses, tabulate_training_sets

from medae.base.errors import InputError
from medae.base.files import read_table, write_table
from medae.evaluation.metrics import METRIC_COLUMNS
from medae.report.retraining import retrained_rows, training_sizes
from medae.report.tables import format_points

NAMES = {"scans": "Scans & more", "clean": "Clean"}
METHODS = {"ae": "AE", "nearest": "Nearest", "contrast": "Low contrast"}
SIZES = {"all": 100, "without_twins": 40, "without_random": 41}


def rows(training_set, values, *, dataset="scans", method="ae", dim=4, metric="auc", split=None):
    """Rows of one model and metric, one per value; seeds count from 0; both splits without one."""
    size = SIZES[training_set] if dataset == "scans" else 100
    images = {"published": (5, 6), "leak_free": (2, 6) if dataset == "scans" else (5, 6)}
    return [
        (
            dataset,
            training_set,
            method,
            dim,
            seed,
            key,
            metric,
            value,
            size - seed % 2,
            *images[key],
        )
        for key in ([split] if split else images)
        for seed, value in enumerate(values)
    ]


def frame(*groups):
    return pd.DataFrame([row for group in groups for row in group], columns=METRIC_COLUMNS)


@pytest.fixture
def metrics():
    return frame(
        rows("all", [0.90, 0.92], split="published"),
        rows("without_twins", [0.50, 0.54], split="published"),
        rows("without_random", [0.60, 0.62], split="published"),
        rows("all", [0.4], split="leak_free"),
        rows("without_twins", [0.3], split="leak_free"),
        rows("all", [0.8], dim=16, split="published"),
        rows("without_random", [0.7], dim=16, split="published"),
        rows("all", [0.85], method="nearest", dim=0, metric="ap", split="published"),
        rows("without_twins", [0.35], method="nearest", dim=0, metric="ap", split="published"),
        rows("all", [0.1], metric="error_test_normal"),
        rows("without_twins", [0.2], metric="error_test_normal"),
        rows("all", [0.77], method="contrast", dim=0),
        rows("all", [0.6], dataset="clean"),
        rows("without_twins", [0.6], dataset="clean"),
    )


@pytest.fixture
def run(tmp_path):
    def tabulate(metrics, names=NAMES):
        write_table(metrics, tmp_path / "metrics.tsv")
        outputs = {name: tmp_path / f"t.{name}" for name in ("markdown", "html", "table")}
        tabulate_training_sets(
            metrics=tmp_path / "metrics.tsv", names=names, methods=METHODS, **outputs
        )
        return outputs

    return tabulate


def test_only_models_with_several_training_sets_are_compared(metrics):
    kept = retrained_rows(metrics)
    assert set(kept["dataset"]) == {"scans"}  # in the other one nothing is left out
    assert set(kept["method"]) == {"ae", "nearest"}
    assert set(kept["metric"]) == {"auc", "ap"}


def test_sizes_of_training_sets(metrics):
    kept = retrained_rows(metrics)
    sizes = training_sizes(kept[kept["method"] == "ae"])
    assert sizes == {"all": "99–100", "without_twins": "39–40", "without_random": "40–41"}


def test_losses_by_hand(metrics):
    losses = measure_losses(retrained_rows(metrics)).set_index(
        ["method", "latent_dim", "split", "metric"]
    )
    full = losses.loc["ae", 4, "published", "auc"]
    means = [full[f"mean_{name}"] for name in SIZES]
    assert means == pytest.approx([91.0, 52.0, 61.0])
    assert full["std_without_twins"] == pytest.approx(4 / np.sqrt(2))
    assert [full[f"n_seeds_{name}"] for name in SIZES] == [2, 2, 2]
    assert [full[f"n_train_{name}"] for name in SIZES] == [100, 40, 41]
    differences = ["loss_by_twins", "loss_by_fewer", "twins_beyond_fewer"]
    assert full[differences].tolist() == pytest.approx([39.0, 30.0, 9.0])
    part = losses.loc["ae", 4, "leak_free", "auc"]
    assert part["loss_by_twins"] == pytest.approx(10.0)
    assert part[differences[1:]].isna().all()
    assert (part["n_normal"], part["n_abnormal"]) == (2, 6)


def test_markdown(metrics, run):
    text = run(metrics)["markdown"].read_text(encoding="utf-8")
    first, _, *lines = text.splitlines()
    assert "Scans & more: all 99–100, without twins 39–40, without random images 40–41." in first
    assert "Scans & more 5 + 6, leak-free 2 + 6" in first
    assert lines == [
        "## Published test set",
        "",
        "| Dataset | Metric | Method | d | All | Without twins | Without random images "
        "| Loss by twins | Loss by fewer images | Difference of the losses |",
        "| :-- | :-- | :-- | --: | :-: | :-: | :-: | --: | --: | --: |",
        "| Scans & more | AUC | AE | 16 | 80.0 | – | 70.0 | – | +10.0 | – |",
        "| Scans & more | AUC | AE | 4 | 91.0 ± 1.4 | 52.0 ± 2.8 | 61.0 ± 1.4 | +39.0 | +30.0 "
        "| +9.0 |",
        "| Scans & more | AP | Nearest | – | 85.0 | 35.0 | – | +50.0 | – | – |",
        "",
        "## Leak-free test set",
        "",
        *lines[2:4],
        "| Scans & more | AUC | AE | 4 | 40.0 | 30.0 | – | +10.0 | – | – |",
    ]


def test_html_and_tsv(metrics, run):
    outputs = run(metrics)
    text = outputs["html"].read_text(encoding="utf-8")
    page = ElementTree.fromstring(text.partition("<meta")[0] + text[text.index("<title>") :])
    assert [heading.text for heading in page.findall(".//h2")] == [
        "Published test set",
        "Leak-free test set",
    ]
    assert "Scans &amp; more" in text
    table = read_table(outputs["table"])
    assert len(table) == 4
    assert {"dataset", "method", "latent_dim", "split", "metric"} <= set(table)


@pytest.mark.parametrize("which", ["clean", "one training set"])
def test_without_twins_the_table_is_a_sentence(which, metrics, run):
    chosen = metrics["dataset"] == "clean" if which == "clean" else metrics["training_set"] == "all"
    outputs = run(metrics[chosen])
    assert outputs["markdown"].read_text(encoding="utf-8") == f"{NOTHING}\n"
    assert NOTHING in outputs["html"].read_text(encoding="utf-8")
    table = read_table(outputs["table"])
    assert len(table) == 0
    assert "loss_by_twins" in table


def test_a_dataset_needs_a_name(metrics, run):
    with pytest.raises(InputError, match="no display name"):
        run(metrics, names={"clean": "Clean"})


def test_points():
    assert [format_points(value) for value in (1.25, -0.04, np.nan)] == ["+1.2", "+0.0", "–"]


def test_a_model_without_the_full_training_set_is_compared_too():
    """Both smaller sets have the same size; that images are left out shows in the other model."""
    sizes = {"all": 10, "without_twins": 4, "without_random": 4}
    rows = pd.DataFrame(
        [
            {"dataset": "a", "method": method, "latent_dim": 2, "metric": "auc"}
            | {"training_set": kind, "n_train": sizes[kind]}
            for method, kinds in (("ae", list(sizes)[1:]), ("pca", list(sizes)))
            for kind in kinds
        ]
    )
    assert len(retrained_rows(rows)) == 5
    assert retrained_rows(rows.assign(n_train=10)).empty
