"""The table of scores, and what is read for it and for its figure."""

import re
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from tabulate_scores import tabulate_scores

from medae.base.errors import InputError
from medae.base.files import read_table, write_table
from medae.evaluation.bootstrap import INTERVAL_COLUMNS
from medae.evaluation.metrics import METRIC_COLUMNS
from medae.theory.score_metrics import (
    SCORE_METRIC_COLUMNS,
    best_baseline,
    chosen_scores,
    read_score_metrics,
)

NAMES = {"scans": "Scans <1>", "xray": "X-ray"}
METHODS = {"ae": "AE", "contrast": "Low contrast", "pca": "PCA", "intensity": "Intensity", "v": "V"}
COUNTS = {"published": (30, 40), "leak_free": (10, 40)}


def score_rows(score, values, *, metric="auc", method="ae", dim=16, dataset="scans", seed=0):
    """A row per split; `values` are leak-free and published; intervals are ± 0.05."""
    splits = ["leak_free", "published"]
    return [
        (dataset, method, dim, seed, score, split, metric, value, value - 0.05, value + 0.05)
        + (COUNTS[split] if dataset == "scans" else (5, 6))
        for split, value in zip(splits, values, strict=True)
    ]


@pytest.fixture
def files(tmp_path):
    tables = {
        "ae16": [
            *score_rows("mse", (0.5, 0.9)),
            *score_rows("mse", (0.42, 0.8), seed=1),
            *score_rows("information_w9", (0.7, 0.85)),
            *score_rows("information_w9", (0.72, 0.85), metric="auc_matched"),
            *score_rows("variance_w9", (0.66, 0.6)),
        ],
        "ae4": score_rows("mse", (0.99, 0.99), dim=4),
        "v": [
            *score_rows("mse", (0.44, 0.5), method="v", dim=64),
            *score_rows("mse", (0.43, 0.5), method="v", dim=8),
        ],
        "xray": [
            *score_rows("mse", (0.6, 0.6), dataset="xray"),
            *score_rows("mse", (0.21, 0.21), dataset="xray", metric="ap_pix"),
        ],
    }
    for name, rows in tables.items():
        write_table(pd.DataFrame(rows, columns=SCORE_METRIC_COLUMNS), tmp_path / f"{name}.tsv")
    baselines = [
        ("scans", "contrast", 0, "auc", (0.65, 0.7), (30, 10)),
        ("scans", "pca", 16, "auc", (0.3, 0.95), (30, 10)),
        ("scans", "pca", 4, "auc", (0.9, 0.95), (30, 10)),
        ("xray", "contrast", 0, "auc", (0.61, 0.61), (5, 5)),
        ("xray", "intensity", 0, "ap_pix", (0.3, 0.3), (5, 5)),
        ("xray", "ae", 16, "auc", (0.1, 0.1), (5, 5)),
    ]
    metrics, intervals = [], []
    for dataset, method, dim, metric, values, counts in baselines:
        for split, value, n in zip(["leak_free", "published"], values, counts[::-1], strict=True):
            setting = (dataset, "all", method, dim)
            metrics.append((*setting, 0, split, metric, value, 90, n, 40))
            if dataset == "scans" or split == "published":
                row = (*setting, split, metric, value, value - 0.1, value + 0.1)
                intervals.append((*row, *[np.nan] * 4, 2000, 60))
    write_table(pd.DataFrame(metrics, columns=METRIC_COLUMNS), tmp_path / "metrics.tsv")
    write_table(pd.DataFrame(intervals, columns=INTERVAL_COLUMNS), tmp_path / "intervals.tsv")
    chosen = [("scans", "mse"), ("scans", "information_w9")]
    write_table(pd.DataFrame(chosen, columns=["dataset", "score"]), tmp_path / "selection.tsv")
    return tmp_path, [tmp_path / f"{name}.tsv" for name in tables]


@pytest.fixture
def tabulate(files):
    folder, scores = files

    def run(selections=("selection.tsv",), names=NAMES):
        outputs = {name: folder / name for name in ("markdown", "html", "table")}
        tabulate_scores(
            scores=scores,
            metrics=folder / "metrics.tsv",
            intervals=[folder / "intervals.tsv"],
            selections=[folder / name for name in selections],
            names=names,
            methods=METHODS,
            latent_dim=16,
            **outputs,
        )
        return {name: path.read_text(encoding="utf-8") for name, path in outputs.items()} | {
            "rows": read_table(outputs["table"])
        }

    return run


SCANS = """\
## Scans <1>

Test images (normal + abnormal): leak-free 10 + 40, published 30 + 40. Scores of models with a \
higher leak-free AUC than the best baseline without a network, Low contrast (65.0): 1 of 3. With a \
higher one than the best control, the variance of the image without any reconstruction (66.0): 1 \
of 3. Where the control is as good, the model has no part in it. † chosen without labels, by \
synthetic anomalies in held-out training images.

| Method | d | Score | AUC leak-free | AUC published | AUC matched, leak-free |
| :-- | --: | :-- | --: | --: | --: |
| AE | 16 | squared error | 46.0 [45.0, 55.0] | 85.0 [85.0, 95.0] | – |
| AE | 16 | information, 9 × 9 † | **70.0 [65.0, 75.0]** | 85.0 [80.0, 90.0] | **72.0** |
| AE | 16 | low variance, no reconstruction, 9 × 9 | 66.0 [61.0, 71.0] | 60.0 [55.0, 65.0] | – |
| V | 64 | squared error | 44.0 [39.0, 49.0] | 50.0 [45.0, 55.0] | – |
| PCA | 16 | – | 30.0 [20.0, 40.0] | **95.0 [85.0, 105.0]** | – |
| Low contrast | – | – | 65.0 [55.0, 75.0] | 70.0 [60.0, 80.0] | – |
"""
XRAY = """\
## X-ray

Test images (normal + abnormal): leak-free 5 + 6, published 5 + 6. Scores of models with a higher \
leak-free AUC than the best baseline without a network, Low contrast (61.0): 0 of 1.

| Method | d | Score | AUC leak-free | AUC published | AP_pix leak-free |
| :-- | --: | :-- | --: | --: | --: |
| AE | 16 | squared error | 60.0 [55.0, 65.0] | 60.0 [55.0, 65.0] | 21.0 |
| Low contrast | – | – | **61.0 [51.0, 71.0]** | **61.0 [51.0, 71.0]** | – |
| Intensity | – | – | – | – | **30.0** |
"""


def test_markdown(tabulate):
    assert tabulate()["markdown"].endswith(f"{SCANS}\n{XRAY}")


def test_html(tabulate):
    text = tabulate()["html"]
    ElementTree.fromstring(text.partition("<meta")[0] + text[text.index("<title>") :])
    assert text.count("<table>") == 2
    assert "<h2>Scans &lt;1&gt;</h2>" in text
    assert "<strong>70.0 [65.0, 75.0]</strong></td>" in text
    assert text.count("<tr>") == 7 + 4


def test_tsv_has_every_d(tabulate):
    rows = tabulate()["rows"]
    dims = set(rows[["method", "latent_dim"]].itertuples(index=False, name=None))
    assert dims == {("ae", 16), ("ae", 4), ("v", 64), ("v", 8)} | {
        ("contrast", 0),
        ("pca", 16),
        ("pca", 4),
        ("intensity", 0),
    }
    chosen = rows[rows["chosen"] == 1]
    assert set(chosen["dataset"] + chosen["score"]) == {"scansinformation_w9"}
    seeds = rows.query("score == 'mse' and method == 'ae' and latent_dim == 16")
    assert seeds["value_percent"].tolist() == pytest.approx([46, 85, 60, 60, 21, 21])


def test_without_choices_nothing_is_marked(tabulate):
    texts = tabulate(selections=[])
    assert "†" not in texts["markdown"]
    assert (texts["rows"]["chosen"] == 0).all()


def test_a_dataset_without_a_name_is_refused(tabulate):
    with pytest.raises(InputError, match="scans has metrics but no display name"):
        tabulate(names={"xray": "X-ray"})


# --- what is read ---


def test_other_tables_are_refused(files):
    folder, _ = files
    with pytest.raises(InputError, match=r"metrics\.tsv has the columns"):
        read_score_metrics([folder / "metrics.tsv"])
    write_table(pd.DataFrame({"dataset": ["a"]}), folder / "other.tsv")
    with pytest.raises(InputError, match=r"other\.tsv is no table of choices"):
        chosen_scores([folder / "other.tsv"])
    table = pd.DataFrame({"dataset": "a", "score": ["mse", "ncc", "relative"]})
    write_table(table, folder / "other.tsv")
    with pytest.raises(InputError, match=re.escape("more than one chosen score of a: ncc, rel")):
        chosen_scores([folder / "other.tsv"])


def test_the_squared_error_can_be_chosen(tmp_path):
    write_table(pd.DataFrame({"dataset": "a", "score": ["mse", "mse"]}), tmp_path / "a.tsv")
    assert chosen_scores([tmp_path / "a.tsv"]) == {"a": "mse"}
    assert chosen_scores([]) == {}


def test_the_leak_free_auc_decides_between_baselines():
    columns = ["method", "split", "metric", "value"]
    rows = [
        ("nearest", "published", "auc", 0.9),
        ("nearest", "leak_free", "auc", 0.3),
        ("contrast", "published", "auc", 0.6),
        ("contrast", "leak_free", "auc", 0.4),
        ("contrast", "leak_free", "ap", 1.0),
        ("intensity", "leak_free", "auc", 0.95),
        ("ae", "leak_free", "auc", 0.99),
    ]
    table = pd.DataFrame(rows, columns=columns)
    best = {"published": 0.6, "leak_free": 0.4}
    assert best_baseline(table) == ("contrast", best)
    published = table[table["split"] == "published"]
    assert best_baseline(published) == ("nearest", {"published": 0.9})
    assert best_baseline(table[table["method"] == "ae"]) is None
