"""The figures of entropy, and the comparison with a known number of factors."""

import numpy as np
import pandas as pd
import pytest
from plot_entropy import draw_entropy, draw_metrics, plot_entropy, sweep_bits
from plot_factors import (
    compare_factors,
    describe,
    dimension_follows,
    entropy_follows,
    plot_factors,
    smallest_within,
    standard_error,
    within_factor,
)

from medae.base.errors import InputError
from medae.base.files import write_table
from medae.evaluation.bootstrap import INTERVAL_COLUMNS
from medae.evaluation.metrics import METRIC_COLUMNS
from medae.theory.entropy_tables import by_model
from medae.theory.probe_files import ENTROPY_COLUMNS

NAMES = {"scans": "Scans $", "xray": "X-ray"}
METHODS = {"ae": "AE", "vae": "VAE", "light": "λ = 1", "heavy": "λ = 2"}
BITS = {  # (dataset, method, d): gaussian_bits, knn_bits, rate_bits, stream_bits
    ("scans", "ae", 2): (10, 9, None, None),
    ("scans", "ae", 8): (40, 30, None, None),
    ("scans", "ae", 1): (0, 0, None, None),
    ("scans", "vae", 8): (20, 19, 25, None),
    ("scans", "light", 32): (90, 80, 70, 71),
    ("scans", "heavy", 32): (30, 20, 15, 16),
    ("xray", "ae", 8): (50, 44, None, None),
}
QUANTITIES = ["gaussian_bits", "knn_bits", "rate_bits", "stream_bits"]
METRICS = {"auc": 0.6, "ap": 0.5, "error_test_normal": 0.01, "error_test_abnormal": 0.02}


@pytest.fixture
def entropy():
    rows = [
        (*key, seed, quantity, value + seed * (value > 0))
        for key, values in BITS.items()
        for quantity, value in zip(QUANTITIES, values, strict=True)
        if value is not None
        for seed in (0, 1)
    ]
    rows.append(("scans", "images", 0, 0, "twonn", 5.0))
    return pd.DataFrame(rows, columns=ENTROPY_COLUMNS)


@pytest.fixture
def metrics():
    rows = [
        (dataset, "all", method, dim, seed, "published", metric, value + dim / 1000, 9, 5, 6)
        for dataset, method, dim in BITS
        for seed in (0, 1)
        for metric, value in METRICS.items()
    ]
    return pd.DataFrame(rows, columns=METRIC_COLUMNS)


def lines_of(axes):
    return {
        line.get_label(): line for line in axes.get_lines() if not line.get_label().startswith("_")
    }


def test_entropy_against_d(entropy):
    figure = draw_entropy(by_model(entropy), NAMES, METHODS)
    assert [axes.get_label() for axes in figure.axes] == ["scans", "xray"]
    lines = lines_of(figure.axes[0])
    swept = lines["AE: Gaussian"]
    assert list(swept.get_xdata()) == [1, 2, 8]
    assert list(swept.get_ydata()) == [0, 10.5, 40.5]
    assert swept.get_linestyle() == "-"
    assert list(lines["VAE: rate"].get_ydata()) == [25.5]
    both = lines["Entropy AE: rate"]
    assert sorted(both.get_ydata()) == [15.5, 70.5]
    assert both.get_linestyle() == "None"
    assert not {"AE: rate", "Entropy AE: Gaussian", "Entropy AE: nearest neighbours"} & set(lines)
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim()
    assert lines["VAE: rate"].get_color() == both.get_color() != swept.get_color()


def test_the_axis_of_bits_is_the_estimate_or_for_coded_methods_the_rate(entropy):
    swept = sweep_bits(by_model(entropy), METHODS).query("seed == 0")
    keys = zip(swept["sweep"], swept["latent_dim"], swept["bits"], strict=True)
    # Without d = 1 (no bits), the VAE (one size), and X-ray (one size).
    autoencoders = [("AE", 2, 10), ("AE", 8, 40)]
    assert sorted(keys) == [*autoencoders, ("Entropy AE", 32, 15), ("Entropy AE", 32, 70)]
    assert set(swept["dataset"]) == {"scans"}


def test_metrics_against_entropy(entropy, metrics):
    figure = draw_metrics(sweep_bits(by_model(entropy), METHODS), metrics, NAMES)
    labels = [axes.get_label() for axes in figure.axes]
    assert labels == ["scans auc", "scans ap", "scans error_test_normal"]
    curves = [line for line in figure.axes[0].get_lines() if len(line.get_xdata())]
    assert [list(line.get_xdata()) for line in curves] == [[10.5, 40.5], [15.5, 70.5]]
    assert list(curves[0].get_ydata()) == pytest.approx([60.2, 60.8])
    errors = [line for line in figure.axes[2].get_lines() if len(line.get_xdata())]
    assert sorted(line.get_linestyle() for line in errors) == ["-", "-", "--", "--"]
    normal = next(line for line in errors if line.get_linestyle() == "-")
    assert list(normal.get_ydata()) == pytest.approx([0.012, 0.018])
    assert all(axes.get_xscale() == "log" for axes in figure.axes)
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts[:2] == ["AE (by $d$, bits: Gaussian)", "Entropy AE (by λ, bits: rate)"]


def test_without_a_sweep_the_figure_says_so(entropy, metrics):
    one = entropy[entropy["dataset"] == "xray"]
    figure = draw_metrics(sweep_bits(by_model(one), METHODS), metrics, NAMES)
    assert not figure.axes
    assert "several entropies" in figure.texts[0].get_text()


def test_files_are_the_same_every_time(entropy, metrics, tmp_path):
    write_table(entropy, tmp_path / "entropy.tsv")
    write_table(metrics, tmp_path / "metrics.tsv")
    made = []
    for run in "ab":
        paths = {
            f"{figure}_{end}": tmp_path / f"{run}{figure}.{end}"
            for figure in ("entropy", "metrics")
            for end in ("pdf", "png")
        }
        plot_entropy(
            entropy=[tmp_path / "entropy.tsv"],
            metrics=tmp_path / "metrics.tsv",
            names=NAMES,
            methods=METHODS,
            **paths,
        )
        made.append([path.read_bytes() for path in paths.values()])
    assert made[0] == made[1]


FACTORS = {"phantom": 16, "phantom_2": 2, "phantom_8": 8, "phantom_4": 4}
AUC = {  # dataset: AUC by d
    "phantom_2": {1: 0.80, 2: 0.90, 4: 0.91, 32: 0.70},
    "phantom_4": {1: 0.60, 2: 0.70, 4: 0.90, 32: 0.70},
    "phantom_8": {1: 0.60, 2: 0.70, 4: 0.86, 32: 0.88},
    "phantom": {1: 0.60, 2: 0.65, 4: 0.80, 32: 0.90},
}
BEST = [2, 4, 32, 32]  # within 0.0102 (0.04 / 2 / 1.96) of the highest


@pytest.fixture
def known():
    metrics = [
        (dataset, "all", "ae", d, 0, "published", "auc", value, 9, 5, 6)
        for dataset, values in AUC.items()
        for d, value in values.items()
    ]
    intervals = [
        (dataset, "all", "ae", d, "published", metric, 0.5, 0.3, high, *[np.nan] * 4, 2000, 11)
        for dataset, values in AUC.items()
        for d in values
        for metric, high in (("auc", 0.34), ("ap", 0.9))
    ]
    entropy = [
        (dataset, "ae", d, 0, quantity, value * k * d)
        for dataset, k in FACTORS.items()
        for d in (1, 32)
        for quantity, value in (("gaussian_bits", 3), ("knn_bits", 2), ("twonn", 1))
    ]
    images = [("phantom", "images", 0, 0, "mle", 9.0)]
    return {
        "models": by_model(pd.DataFrame(entropy + images, columns=ENTROPY_COLUMNS)),
        "images": pd.DataFrame(images, columns=ENTROPY_COLUMNS),
        "metrics": pd.DataFrame(metrics, columns=METRIC_COLUMNS),
        "intervals": pd.DataFrame(intervals, columns=INTERVAL_COLUMNS),
        "factors": FACTORS,
    }


def test_comparison_by_hand(known):
    table = compare_factors(**known)
    assert table["factors"].tolist() == [2, 4, 8, 16]
    assert table["best_d"].tolist() == BEST
    assert table["within_factor_2"].tolist() == [True, True, False, True]
    assert table["standard_error"].tolist() == pytest.approx([0.04 / 2 / 1.959964] * 4)
    assert table["highest_auc_d"].tolist() == [4, 4, 32, 32]
    assert table["auc"].tolist() == [0.90, 0.90, 0.88, 0.90]
    assert table["gaussian_bits"].tolist() == [3 * 32 * k for k in (2, 4, 8, 16)]
    assert table["images_mle"].tolist()[3] == 9
    assert table["images_mle"].isna().sum() == 3
    text = describe(table)
    assert "number of factors? **yes**: for k = 2, 4, 8, 16 it is 2, 4, 32, 32" in text
    assert "within a factor 2 of k for 3 of 4" in text
    assert "follow it? **yes**: at d = 32 it is, in bits per image, Gaussian 192.0, " in text


@pytest.mark.parametrize(
    ("best", "expected"),
    [
        ([2, 4, 8, 16], True),
        ([2, 4, 4, 8], True),
        ([1, 2, 4, 8], True),
        ([2, 4, 32, 32], True),
        ([8, 16, 16, 16], False),  # two of four are too far
        ([2, 8, 4, 16], False),  # falls
        ([16, 16, 16, 16], False),
    ],
)
def test_the_best_d_follows_only_if_it_never_falls_and_is_near(best, expected):
    table = pd.DataFrame({"factors": [2, 4, 8, 16], "best_d": best})
    pairs = zip(best, table["factors"], strict=True)
    table["within_factor_2"] = [within_factor(*pair) for pair in pairs]
    assert dimension_follows(table) == expected


@pytest.mark.parametrize(
    ("gaussian", "knn", "expected"),
    [
        ([1.0, 2, 3], [1.0, 2, 3], True),
        ([1.0, 2, 2], [1.0, 2, 3], False),
        ([1.0, 2, 3], [2.0, 1, 3], False),
        ([1.0, 2, 3], [1.0, np.nan, 3], False),
    ],
)
def test_the_entropy_follows_only_if_both_estimates_rise(gaussian, knn, expected):
    table = pd.DataFrame({"gaussian_bits": gaussian, "knn_bits": knn})
    assert entropy_follows(table) == expected


def test_smallest_within_an_error():
    means = pd.Series({8: 0.80, 1: 0.70, 4: 0.79, 2: 0.75})
    assert smallest_within(means, 0.02) == 4
    assert smallest_within(means, 0.0) == 8
    assert smallest_within(means, 0.2) == 1


def test_missing_results_are_named(known):
    with pytest.raises(InputError, match="on other"):
        compare_factors(**known | {"factors": {"other": 3}})
    short = known["intervals"].query("latent_dim != 32")
    with pytest.raises(InputError, match="0 rows for the AUC"):
        standard_error(short, dataset="phantom", latent_dim=32)


def test_factor_files(known, tmp_path):
    models = known["models"].melt(ENTROPY_COLUMNS[:4], var_name="quantity")
    write_table(models[ENTROPY_COLUMNS], tmp_path / "entropy.tsv")
    for name in ("metrics", "intervals"):
        write_table(known[name], tmp_path / f"{name}.tsv")
    outputs = {"table": "t.tsv", "markdown": "t.md", "pdf": "t.pdf", "png": "t.png"}
    outputs = {key: tmp_path / name for key, name in outputs.items()}
    plot_factors(
        entropy=[tmp_path / "entropy.tsv"],
        metrics=tmp_path / "metrics.tsv",
        intervals=[tmp_path / "intervals.tsv"],
        factors=FACTORS,
        names={key: key.title() for key in FACTORS},
        **outputs,
    )
    table = pd.read_csv(outputs["table"], sep="\t")
    assert table["name"].tolist() == ["Phantom_2", "Phantom_4", "Phantom_8", "Phantom"]
    assert outputs["markdown"].read_text().count("**yes**") == 2
    assert outputs["png"].stat().st_size > 10_000
    assert outputs["pdf"].stat().st_size > 5_000
