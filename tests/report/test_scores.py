"""The table and the figure of scores, and which score and which AP other tables show."""

import pandas as pd
import pytest
from metric_frames import drawn, metric_rows, metric_table, paper_table, tabulated
from plot_scores import plot_scores
from tabulate_scores import tabulate_scores

from medae.evaluation.bootstrap import TEST_COLUMNS
from medae.evaluation.summary import one_precision
from medae.report import figures
from medae.report.rows import NothingToShowError

NAMES = {"scans": "Scans", "xray": "X-ray"}
METHODS = {"ae": "AE", "vae": "VAE", "pca": "PCA"}
METHODS |= {"total_variation": "Low TV", "local_variance": "Low σ²"}
SPLITS = ("published", "leak_free")
PAPER = paper_table(
    ("table1", "theirs", "ae", 4, "auc", 70.0, 1.0),
    ("table1", "theirs", "ae", 4, "ap", 9.0, 1.0),
)


@pytest.fixture
def metrics():
    """Scans have a leak-free test set; the information score is 0.2 better than squared error."""
    groups = []
    for split in SPLITS:
        for dim, score, value in [
            (4, "squared_error", 0.5),
            (4, "information", 0.7),
            (4, "information_w17", 0.6),
            (16, "squared_error", 0.55),
            (16, "information", 0.75),
        ]:
            value -= 0.1 * (split == "leak_free")
            rows = {"dataset": "scans", "dim": dim, "score": score, "split": split}
            groups.append(metric_rows([value - 0.01, value + 0.01], **rows))
            groups.append(metric_rows([value, value], **rows, metric="auc_matched"))
        for method, value in (("total_variation", 0.66), ("local_variance", 0.64)):
            rows = {"dim": 0, "dataset": "scans", "score": "image", "split": split}
            groups.append(metric_rows([value], method=method, **rows))
        for score, value in (("squared_error", 0.3), ("information", 0.4)):
            rows = {"dim": 4, "dataset": "scans", "score": score, "split": split}
            groups.append(metric_rows([value], method="pca", **rows))
    others = [metric_rows([0.9], method="vae", dim=8)]
    others.append(metric_rows([0.8], method="total_variation", dim=0, score="image"))
    return metric_table(*groups, *others)


def test_the_table_marks_the_score_that_was_chosen_and_shows_own_maps(metrics):
    choices = pd.DataFrame(
        {"dataset": ["scans"] * 2, "score": ["squared_error", "information_w17"]}
    )
    tables = {"metrics": metrics, "tests": [], "selections": [choices]}
    options = {"names": NAMES, "methods": METHODS, "own_maps": ["vae"], "latent_dim": 4}
    options["dataset_notes"] = {}
    text = tabulated(tabulate_scores, tables, "markdown", "html", **options)["markdown"]
    row = "| AE | 4 | information, 17 × 17 † | 60.0 ± 1.4 | 50.0 ± 1.4 | 60.0 ± 0.0 | 50.0 ± 0.0 |"
    assert row in text and text.count("†") == 2  # and in the explanation
    assert "| PCA | 4 | information | 40.0 | 40.0 | – | – |" in text
    assert "| VAE | 8 | own map | 90.0 |" in text  # the only d that it has


def test_the_tests_stand_below_the_table_with_a_dash_for_what_is_missing(metrics):
    about = {"dataset": "scans", "training_set": "all", "score": "information"}
    about |= {"split": "published", "low": -0.01, "high": 0.02, "p_value": 0.3}
    lines = [
        ("ae", 4, "auc", "squared_error", 0.1, 0.04),
        ("ae", 4, "auc", "total_variation", -0.2, 0.5),
        ("ae", 4, "auc", "pca", 0.3, 0.01),
        ("ae", 4, "auc_matched", "squared_error", 0.15, 0.04),  # in the TSV alone
        ("ae", 4, "auc_matched_local", "squared_error", 0.05, 0.6),
        ("ae", 4, "auc_matched_local", "pca", 0.06, 0.7),
        ("pca", 4, "auc", "squared_error", 0.4, 0.002),
    ]
    columns = ["method", "latent_dim", "metric", "against", "difference", "p_holm"]
    tests = pd.DataFrame(lines, columns=columns).assign(**about)[TEST_COLUMNS]
    tables = {"metrics": metrics, "tests": [tests], "selections": []}
    options = {"names": NAMES, "methods": METHODS, "own_maps": [], "latent_dim": 4}
    options["dataset_notes"] = {}
    text = tabulated(tabulate_scores, tables, "markdown", "html", **options)["markdown"]
    span, none = "-1.0 to +2.0", "– | – | –"
    assert [line for line in text.splitlines() if "full test set |" in line] == [
        f"| AUC | full test set | AE | 4 | +10.0 | {span} | 0.040 "
        f"| -20.0 | {span} | 0.500 | Low TV | +30.0 | {span} | 0.010 |",
        f"| AUC | full test set | PCA | 4 | +40.0 | {span} | 0.002 | {none} | – | {none} |",
        f"| AUC, strata of smoothness | full test set | AE | 4 | +5.0 | {span} | 0.600 "
        f"| {none} | – | +6.0 | {span} | 0.700 |",
    ]


def test_the_figure_has_both_scores_controls_and_the_papers_points(metrics):
    options = {"names": NAMES, "methods": METHODS, "dataset_notes": {}}
    options["papers"] = {"scans": "theirs", "xray": "xray"}
    with figures.house_style():
        figure = drawn(plot_scores, {"metrics": metrics, "paper": PAPER}, **options)
    panels = {axes.get_label(): axes for axes in figure.axes}
    assert list(panels) == ["scans published", "scans leak_free"]
    for name, shift in (("scans published", 0), ("scans leak_free", 10)):
        lines = {line.get_label(): line for line in panels[name].lines}
        assert list(lines["AE, squared error"].get_ydata()) == pytest.approx(
            [50 - shift, 55 - shift]
        )
        assert list(lines["AE, information"].get_ydata()) == pytest.approx([70 - shift, 75 - shift])
        assert [
            list(lines[f"PCA, {score}"].get_ydata()) for score in ("squared error", "information")
        ] == [[30], [40]]
        assert set(lines["Low TV, no model"].get_ydata()) == {66}
        assert set(lines["Low σ², no model"].get_ydata()) == {64}
        bars = [entry for entry in panels[name].containers if "paper" in entry.get_label()]
        assert len(bars) == (name == "scans published")
    limits = [panels[name].get_ylim() for name in ("scans published", "scans leak_free")]
    assert limits[0] == limits[1]


def test_an_autoencoder_that_ranks_nothing_has_no_figure(metrics):
    rows = metrics[~metrics["method"].str.startswith("ae")]
    options = {"names": NAMES, "methods": METHODS, "dataset_notes": {}, "papers": {}}
    with pytest.raises(NothingToShowError, match="ranks no test set"):
        drawn(plot_scores, {"metrics": rows, "paper": PAPER}, **options)


def test_one_ap_per_test_set():
    """At the published share where that says something else, on the whole table alike."""
    frame = metric_table(
        *(
            metric_rows([value], dataset="scans", split=split, metric=metric, method=method)
            for method, shift in (("ae", 0.0), ("vae", 0.1))
            for split, metric, value in [
                ("published", "ap", 0.5 + shift),
                ("published", "ap_share", 0.5 + shift),
                ("leak_free", "ap", 0.9),
                ("leak_free", "ap_share", 0.6 + shift),
                ("published", "auc", 0.5),
            ]
        )
    )
    kept = one_precision(frame)
    pairs = kept.groupby("method")[["split", "metric"]].apply(lambda rows: rows.to_numpy().tolist())
    expected = [["published", "ap"], ["leak_free", "ap_share"], ["published", "auc"]]
    assert pairs["ae"] == pairs["vae"] == expected
    old = frame[frame["metric"] != "ap_share"]
    assert one_precision(old).equals(old)
