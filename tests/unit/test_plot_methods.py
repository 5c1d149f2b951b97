"""The figure of methods: what it draws, and where."""

import numpy as np
import pandas as pd
import pytest
from plot_methods import BELOW, arrange, draw, plot_methods, select

from medae.errors import InputError
from medae.files import read_table, write_table
from medae.intervals import INTERVAL_COLUMNS
from medae.metrics import METRIC_COLUMNS

NAMES = {"brats": "BraTS2021", "xray": "X-ray"}
METHODS = {"ae": "AE", "vae": "VAE", "memae": "MemAE", "ceae": "CeAE"}
VALUES = {  # (dataset, method, d, metric): value of either seed
    ("brats", "ae", 16, "auc"): (0.80, 0.82),
    ("brats", "ae", 4, "auc"): (0.85, 0.87),
    ("brats", "vae", 16, "auc"): (0.70, 0.74),
    ("brats", "vae", 16, "ap_pix"): (0.40, 0.44),
    ("xray", "vae", 16, "auc"): (0.60, 0.60),
    ("xray", "vae", 16, "ap"): (0.55, 0.55),
}


@pytest.fixture
def metrics():
    rows = [
        (dataset, method, dim, seed, "published", metric, value, 5, 6)
        for (dataset, method, dim, metric), values in VALUES.items()
        for seed, value in enumerate(values)
    ]
    return pd.DataFrame(rows, columns=METRIC_COLUMNS)


@pytest.fixture
def intervals():
    rows = []
    for (dataset, method, dim, metric), values in VALUES.items():
        value = np.mean(values)
        numbers = [value, value - 0.03, value + 0.02, *[np.nan] * 4, 2000, 11]
        rows.append([dataset, method, dim, "published", metric, *numbers])
    return pd.DataFrame(rows, columns=INTERVAL_COLUMNS)


@pytest.fixture
def paper(root):
    return read_table(root / "workflow/resources/paper_values.tsv")


@pytest.fixture
def figure(metrics, intervals, paper):
    tables = select(metrics, intervals, paper, methods=list(METHODS), latent_dim=16)
    return draw(tables, names=NAMES, methods=METHODS)


def panel(figure, label):
    return next(axes for axes in figure.axes if axes.get_label() == label)


def test_a_panel_per_dataset_and_metric(figure):
    labels = ["brats auc", "xray auc", "brats ap", "xray ap", "brats ap_pix", "brats dice_max"]
    assert [axes.get_label() for axes in figure.axes] == labels
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == [
        "AE",
        "VAE",
        "AE[$d_{\\mathrm{optimal}}$]\n(oracle)",
    ]
    assert panel(figure, "xray auc").get_title() == "X-ray"


def test_means_intervals_and_seeds_are_in_percent(figure):
    axes = panel(figure, "brats auc")
    seeds, spans = axes.collections[:2]
    assert sorted(seeds.get_offsets()[:, 0]) == pytest.approx([70, 74, 80, 82, 85, 87])
    ends = [segment[:, 0].tolist() for segment in spans.get_segments()]
    expected = [[78, 83], [69, 74], [83, 88]]
    assert [sorted(map(round, pair)) for pair in ends] == expected
    lines = {line.get_label(): line for line in axes.lines}
    assert lines["this run, mean over seeds"].get_xdata() == pytest.approx([81, 72])
    oracle = lines["oracle: $d$ chosen by test AUC"]
    assert oracle.get_xdata() == pytest.approx([86])
    assert oracle.get_markerfacecolor() == "white"
    assert [text.get_text() for text in axes.texts if "$d$" in text.get_text()] == ["$d$ = 4"]


def test_published_numbers_stand_below_ours(figure):
    """Of BraTS: AE, VAE and the paper's own oracle, d = 16; methods that we lack are left out."""
    axes = panel(figure, "brats auc")
    published = axes.containers[0].lines[0]
    assert sorted(published.get_xdata()) == [80.6, 82.6, 82.6]
    places = dict(zip(["ae", "vae", "oracle"], axes.get_yticks(), strict=True))
    below = np.subtract(sorted(published.get_ydata()), sorted(places.values()))
    assert below == pytest.approx(BELOW)
    assert not panel(figure, "xray auc").containers  # the paper has no such dataset


def test_the_first_method_is_on_top(figure):
    low, high = panel(figure, "brats auc").get_ylim()
    assert low > high


def test_one_seed_has_no_dots(metrics, intervals, paper):
    tables = select(
        metrics[metrics["seed"] == 0], intervals, paper, methods=list(METHODS), latent_dim=16
    )
    axes = panel(draw(tables, names=NAMES, methods=METHODS), "xray auc")
    assert axes.get_legend_handles_labels()[1] == [
        "95 % interval over test images",
        "this run (1 seed)",
    ]


def test_pixel_panels_fill_the_last_rows():
    assert arrange(["a", "b"], ["a"]) == [
        [("a", "auc"), ("b", "auc")],
        [("a", "ap"), ("b", "ap")],
        [("a", "ap_pix"), ("a", "dice_max")],
    ]
    assert arrange(["a"], []) == [[("a", "auc")], [("a", "ap")]]
    rows = arrange(list("abcde"), ["e"])
    assert [len(row) for row in rows] == [3] * 5
    assert rows[2] == [("d", "auc"), ("e", "auc"), None]
    assert rows[4] == [("e", "ap_pix"), ("e", "dice_max"), None]


def test_equal_calls_write_equal_files(metrics, intervals, root, tmp_path):
    metrics = metrics.query("dataset == 'xray' and metric == 'auc'")
    write_table(metrics, tmp_path / "metrics.tsv")
    write_table(intervals, tmp_path / "intervals.tsv")
    for name in ("one", "two"):
        plot_methods(
            metrics=tmp_path / "metrics.tsv",
            intervals=[tmp_path / "intervals.tsv"],
            paper=root / "workflow/resources/paper_values.tsv",
            names=NAMES,
            methods=METHODS,
            latent_dim=16,
            pdf=tmp_path / f"{name}.pdf",
            png=tmp_path / f"{name}.png",
        )
    assert (tmp_path / "one.pdf").read_bytes() == (tmp_path / "two.pdf").read_bytes()
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_nothing_to_draw(metrics, intervals, paper):
    with pytest.raises(InputError, match="no metrics of ceae with d = 64"):
        select(
            metrics[metrics["method"] == "vae"], intervals, paper, methods=["ceae"], latent_dim=64
        )
