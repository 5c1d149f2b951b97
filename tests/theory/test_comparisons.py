"""The four comparisons, on tables made by hand."""

from inspect import signature
from itertools import product

import compare_entropy
import compare_factors
import compare_selection
import numpy as np
import pandas as pd
import pytest

from medae.base.errors import InputError
from medae.base.files import read_table, write_table
from medae.evaluation.bootstrap import INTERVAL_COLUMNS
from medae.evaluation.metrics import METRIC_COLUMNS
from medae.theory.plan import ENTROPY_COLUMNS, SELECTION_COLUMNS
from medae.theory.selectors import SELECTORS

NAMES = {"b": "Second $", "a": "First"}
METHODS = {"ae": "AE", "low": "Low λ", "high": "High λ", "contrast": "Contrast", "pca": "PCA"}
SIZES = [1, 4, 16]
SPLITS = ["published", "leak_free"]
ENDS = {"markdown": "md", "html": "html", "table": "tsv", "pdf": "pdf", "png": "png"}
AUCS = {"a": [0.5, 0.6, 0.7], "b": [0.4, 0.9, 0.5]}  # published, of the autoencoder, by SIZES
BETTER = {"information_w9": 0.05, "variance": -0.1}  # AUC less that of the squared error
CHOICES = {"one_standard_error": 16, "knee": 4, "synthetic_auc": 1, "intrinsic_dimension": 0}


@pytest.fixture
def files(tmp_path):
    """Return the folder with metrics.tsv, entropy.tsv and selection.tsv."""
    metrics, entropy, chosen = [], [], []
    for dataset, split, (place, size), seed in product("ab", SPLITS, enumerate(SIZES), (0, 1)):
        cleaned = (dataset, split) == ("a", "leak_free")  # b has no duplicates
        counts = (3 if cleaned else 6, 5)
        auc = AUCS[dataset][place] - 0.2 * cleaned + (0.01 if seed else -0.01)
        key = (dataset, "all", "ae", size, "squared_error", seed, split)
        metrics += [
            (*key, "auc", auc, 9, *counts),
            (*key, "error_test_normal", 0.02 / size, 9, *counts),
            (dataset, "without_twins", *key[2:], "auc", 0.1, 9, *counts),
        ]
        for score, better in BETTER.items():
            row = (dataset, "all", "ae", size, score, seed, split)
            metrics.append((*row, "auc", auc + better, 9, *counts))
    for dataset, size in product("ab", SIZES):
        for quantity, value in (("gaussian_bits", 3), ("knn_bits", 2), ("dims_in_use", 1)):
            entropy += [(dataset, "ae", size, seed, quantity, value * size) for seed in (0, 1)]
    for dataset, score in (("a", "squared_error"), ("a", "information_w9"), ("b", "squared_error")):
        for selector, size in CHOICES.items():
            method = "ae" if size else ""
            chosen.append((dataset, "ae", selector, score, method, size, f"because {size}"))
    for rate, method in ((2.0, "low"), (1.0, "high")):
        for quantity in ("gaussian_bits", "rate_bits", "stream_bits"):
            entropy.append(("a", method, 16, 0, quantity, 9 * rate))
        metrics.append(
            ("a", "all", method, 16, "squared_error", 0, "published", "auc", 0.6, 9, 6, 5)
        )
    for name, rows, columns in (
        ("metrics", metrics, METRIC_COLUMNS),
        ("entropy", entropy, ENTROPY_COLUMNS),
        ("selection", chosen, SELECTION_COLUMNS),
    ):
        write_table(pd.DataFrame(rows, columns=columns), tmp_path / f"{name}.tsv")
    return tmp_path


def run(function, folder, **arguments):
    """Call a comparison; return its table and its Markdown."""
    keys = ENDS.keys() & signature(function).parameters.keys()
    output = {key: folder / f"out.{ENDS[key]}" for key in keys}
    function(**arguments, **output)
    return read_table(output["table"]), output["markdown"].read_text()


def run_entropy(files, **changes):
    options = {"entropy": [files / "entropy.tsv"], "metrics": files / "metrics.tsv"}
    options |= {"names": NAMES, "methods": METHODS} | changes
    return run(compare_entropy.compare_entropy, files, **options)


def test_entropy_is_set_beside_errors_and_auc(files):
    table, text = run_entropy(files)
    keys = list(table[["dataset", "method", "latent_dim"]].itertuples(index=False, name=None))
    assert keys[:3] == [("b", "ae", 16), ("b", "ae", 4), ("b", "ae", 1)]
    assert keys[-2:] == [("a", "low", 16), ("a", "high", 16)]
    row = table.set_index(["dataset", "method", "latent_dim"]).loc["a", "ae", 4]
    assert row["gaussian_bits"] == 12 and row["error_test_normal"] == pytest.approx(0.005)
    assert (row["auc_published"], row["auc_leak_free"]) == pytest.approx((0.6, 0.4))
    assert "| AE | 4 | 12.0 | 8.0 | – | – | 4 | 50 | 40.0 | 60.0 |" in text
    assert "| AE | 4 | 12.0 | 8.0 | 4 | 50 | 90.0 | 90.0 |" in text  # b has no rate
    assert text.index("Second $") < text.index("First")


def test_entropy_figure_has_a_line_for_all_rates(files):
    table, _ = run_entropy(files)
    figure = compare_entropy.draw(table, NAMES, METHODS)
    panels = {axes.get_label(): axes for axes in figure.axes}
    assert list(panels) == ["b auc", "b error", "a auc", "a error"]
    lines = {line.get_label(): line for line in panels["a error"].lines}
    assert list(lines["Entropy AE, by λ"].get_xdata()) == [9, 18]
    assert list(lines["AE"].get_xdata()) == [3, 12, 48]
    # AE and entropy AE, published and leak-free; where the sets are the same, one line.
    assert [line.get_linestyle() for line in panels["a auc"].lines] == ["-", "--"] * 2
    assert len([line for line in panels["b auc"].lines if len(line.get_xdata())]) == 1


def run_selection(files, **changes):
    options = {"selections": [files / "selection.tsv"], "metrics": files / "metrics.tsv"}
    options |= {"names": NAMES, "recommended": "knee"}
    return run(compare_selection.compare_selection, files, **options | changes)


def test_regrets_by_hand(files):
    table, text = run_selection(files)
    rows = table.set_index(["dataset", "score", "selector"])
    knee = rows.loc["a", "squared_error", "knee"]
    assert (knee["auc_leak_free"], knee["oracle_auc_leak_free"]) == pytest.approx((40, 50))
    assert (knee["oracle_latent_dim_leak_free"], knee["regret_leak_free"]) == pytest.approx(
        (16, 10)
    )
    assert rows.loc[
        ("b", "squared_error", "one_standard_error"), "regret_published"
    ] == pytest.approx(40)
    assert rows.loc[("b", "squared_error", "by_lot"), "auc_published"] == pytest.approx(60)
    assert np.isnan(rows.loc[("a", "squared_error", "intrinsic_dimension"), "regret_published"])
    # Means over datasets: 10 and 0 of the knee; of the chosen scores (information on a) the same.
    assert "| squared error | knee of the held-out error | 2 of 2 | 5.0 | 10.0 (First) |" in text
    assert "| chosen without labels | knee of the held-out error | 2 of 2 | 5.0 |" in text
    nothing = SELECTORS["intrinsic_dimension"]
    assert f"| squared error | {nothing} | 0 of 2 | – | – | – | – |" in text
    assert "| First | information, 9 × 9 | at random (mean of all) | – | 45.0 | 10.0 |" in text
    assert f"Recommended: {SELECTORS['knee']}." in text


@pytest.mark.parametrize("lacking", ["a", "ab"])
def test_choices_on_a_test_set_that_lacks_a_class_have_no_regret(files, lacking):
    table = read_table(files / "metrics.tsv")
    ranked = (table["metric"] == "auc") & table["dataset"].isin(list(lacking))
    write_table(table[~ranked], files / "metrics.tsv")
    table, text = run_selection(files)
    without = table["dataset"].isin(list(lacking))
    assert table.loc[without, ["auc_published", "regret_leak_free"]].isna().all(axis=None)
    knee = table[table["selector"] == "knee"].set_index(["dataset", "score"])
    assert list(knee["latent_dim"]) == [4] * 3
    if lacking == "a":
        assert knee.loc[("b", "squared_error"), "regret_published"] == 0
        assert "| squared error | knee of the held-out error | 1 of 2 | 0.0 |" in text
    else:
        assert "| squared error | knee of the held-out error | 0 of 2 | – | – | – | – |" in text


FACTORS = {"phantom": 16, "phantom_2": 2, "phantom_8": 8, "phantom_4": 4}
AUC = {  # dataset: AUC by d
    "phantom_2": {1: 0.80, 2: 0.90, 4: 0.91, 32: 0.70},
    "phantom_4": {1: 0.60, 2: 0.70, 4: 0.90, 32: 0.70},
    "phantom_8": {1: 0.60, 2: 0.70, 4: 0.86, 32: 0.88},
    "phantom": {1: 0.60, 2: 0.65, 4: 0.80, 32: 0.90},
}
BEST = [2, 4, 32, 32]  # within 0.0102 (0.04 / 2 / 1.96) of the highest


@pytest.fixture
def known(tmp_path):
    metrics, intervals, entropy = [], [], []
    for dataset, values in AUC.items():
        for d, auc in values.items():
            key = (dataset, "all", "ae", d)
            own = (*key, "squared_error")
            metrics.append((*own, 0, "published", "auc", auc, 9, 5, 6))
            metrics.append((*own, 0, "leak_free", "auc", auc - d / 99, 9, 5, 6))
            for metric, high in (("auc", 0.34), ("ap", 0.9)):
                row = (*own, "published", metric, 0.5, 0.3, high, *[np.nan] * 4, 2000, 11)
                intervals.append(row)
        k = FACTORS[dataset]
        entropy += [(dataset, "ae", d, 3.0 * k * d, 2.0 * k * d, k) for d in (32, 1)]
    columns = ["dataset", "method", "latent_dim", "gaussian_bits", "knn_bits"]
    for name, rows, names in (
        ("metrics", metrics, METRIC_COLUMNS),
        ("intervals", intervals, INTERVAL_COLUMNS),
        ("entropy", entropy, [*columns, "participation_ratio"]),
    ):
        write_table(pd.DataFrame(rows, columns=names), tmp_path / f"{name}.tsv")
    return tmp_path


def run_factors(known):
    options = {"entropy": known / "entropy.tsv", "metrics": known / "metrics.tsv"}
    options |= {"intervals": [known / "intervals.tsv"], "factors": FACTORS}
    return run(compare_factors.compare_factors, known, **options)


def test_factors_by_hand(known):
    table, text = run_factors(known)
    assert table["factors"].tolist() == [2, 4, 8, 16]
    assert table["best_d"].tolist() == BEST
    assert table["within_factor_2"].tolist() == [True, True, False, True]
    assert table["standard_error"].tolist() == pytest.approx([0.04 / 2 / 1.959964] * 4)
    assert table["gaussian_bits"].tolist() == [192, 384, 768, 1536]  # at the largest d
    assert "number of factors? yes: for k = 2, 4, 8, 16 it is 2, 4, 32, 32, within" in text
    assert "of k for 3 of 4" in text and "latent vector follow it? yes: at d = 32" in text


@pytest.mark.parametrize(
    ("best", "within", "expected"),
    [
        ([2, 4, 8, 16], [True] * 4, True),
        ([2, 4, 32, 32], [True, True, False, True], True),
        ([2, 16, 8, 8], [True, False, True, True], False),  # it falls
        ([1, 1, 1, 32], [True, False, False, True], False),
    ],
)
def test_the_best_d_follows_only_if_it_never_falls_and_is_near(best, within, expected):
    table = pd.DataFrame({"best_d": best, "within_factor_2": within})
    assert compare_factors.dimension_follows(table) == expected


@pytest.mark.parametrize(
    ("gaussian", "knn", "expected"),
    [([1, 2, 3], [1, 2, 3], True), ([1, 2, 3], [1, 2, 2], False), ([1, np.nan], [1, 2], False)],
)
def test_the_entropy_follows_only_if_both_estimates_rise(gaussian, knn, expected):
    table = pd.DataFrame({"gaussian_bits": gaussian, "knn_bits": knn})
    assert compare_factors.entropy_follows(table) == expected


@pytest.mark.parametrize("name", ["metrics", "intervals", "entropy"])
def test_missing_results_are_named(known, name):
    table = read_table(known / f"{name}.tsv")
    write_table(table[table["dataset"] != "phantom_8"], known / f"{name}.tsv")
    with pytest.raises(InputError, match="or no entropy on phantom_8"):
        run_factors(known)
