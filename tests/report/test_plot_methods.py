"""The figure of methods: what it draws, and where."""

import numpy as np
import pandas as pd
import pytest
from metric_frames import drawn, panel
from plot_methods import plot_methods

from medae.base.files import read_table
from medae.evaluation.bootstrap import INTERVAL_COLUMNS
from medae.evaluation.metrics import METRIC_COLUMNS

NAMES = {"brats": "BraTS2021", "xray": "X-ray"}
METHODS = {"ae": "AE", "vae": "V $x$", "memae": "MemAE", "ceae": "CeAE", "nearest": "Nearest image"}
METHODS |= {"contrast": "Low contrast", "intensity": "Intensity as map"}
VALUES = {  # (dataset, method, d, metric): value of either seed
    ("brats", "ae", 16, "auc"): (0.80, 0.82),
    ("brats", "ae", 4, "auc"): (0.85, 0.87),
    ("brats", "vae", 16, "auc"): (0.70, 0.74),
    ("brats", "vae", 16, "ap_pix"): (0.40, 0.44),
    ("xray", "vae", 16, "auc"): (0.60, 0.60),
    ("xray", "vae", 16, "ap"): (0.55, 0.55),
    ("brats", "nearest", 0, "auc"): (0.66,),
    ("brats", "contrast", 0, "auc"): (0.64,),
    ("brats", "intensity", 0, "ap_pix"): (0.30,),
}
LEAK_FREE = {  # of BraTS only: its leak-free test set is another one
    ("brats", "ae", 16, "auc"): (0.94, 0.98),
    ("brats", "ae", 4, "auc"): (0.45, 0.45),
    ("brats", "nearest", 0, "auc"): (0.41,),
}
INFORMATION = {("brats", "ae", 16, "auc"): (0.90, 0.92), ("brats", "vae", 16, "auc"): (0.88, 0.88)}
TABLES = [  # score, test set, its normal images, values
    ("squared_error", "published", 5, VALUES),
    ("squared_error", "leak_free", 2, LEAK_FREE),
    ("information", "published", 5, INFORMATION),
]


@pytest.fixture
def metrics():
    rows = [
        (dataset, "all", method, dim, score, seed, split, metric, value, 9, normal, 6)
        for score, split, normal, table in TABLES
        for (dataset, method, dim, metric), values in table.items()
        for seed, value in enumerate(values)
    ]
    return pd.DataFrame(rows, columns=METRIC_COLUMNS)


@pytest.fixture
def intervals():
    rows = []
    for score, split, _, table in TABLES:
        for (dataset, method, dim, metric), values in table.items():
            value = np.mean(values)
            numbers = [value, value - 0.03, value + 0.02, *[np.nan] * 4, 2000, 11]
            rows.append([dataset, "all", method, dim, score, split, metric, *numbers])
    return pd.DataFrame(rows, columns=INTERVAL_COLUMNS)


@pytest.fixture
def paper(root):
    return read_table(root / "workflow/resources/paper_values.tsv")


@pytest.fixture
def figure(metrics, intervals, paper):
    return drawn_from(metrics, intervals, paper)


def drawn_from(*tables):
    metrics, intervals, paper = tables
    return drawn(
        plot_methods,
        {"metrics": metrics, "intervals": [intervals], "paper": paper},
        names=NAMES,
        papers=dict(zip(NAMES, NAMES, strict=True)),
        methods=METHODS,
        latent_dim=16,
        dataset_notes={"xray": "X-rays are small."},
    )


def line_names(axes):
    return [text.get_text() for text in axes.get_yticklabels()]


def test_a_panel_per_test_set_and_metric(figure):
    labels = [f"{key} {m}" for m in ("auc", "ap") for key in ("brats", "brats leak_free", "xray")]
    labels += ["brats ap_pix", "brats dice_max"]
    assert [axes.get_label() for axes in figure.axes] == labels
    names = ["AE", r"V \$x\$", "AE, best $d$ (oracle)", "Nearest image", "Low contrast"]
    assert line_names(figure.axes[0]) == names
    assert line_names(panel(figure, "brats ap_pix")) == [r"V \$x\$", "Intensity as map"]
    assert panel(figure, "xray auc").get_title() == "X-ray"
    assert panel(figure, "brats leak_free auc").get_title() == "BraTS2021, leak-free"
    assert "2 + 6 images" in [
        text.get_text() for text in panel(figure, "brats leak_free auc").texts
    ]


def marks(axes, label):
    (found,) = [line for line in axes.lines if line.get_label() == label]
    return found


def ends(spans):
    return [sorted(segment[:, 0].round(6)) for segment in spans.get_segments()]


def test_means_intervals_and_seeds_of_both_scores_are_in_percent(figure):
    axes = panel(figure, "brats auc")
    own, information = marks(axes, "own score"), marks(axes, "information")
    assert own.get_xdata() == pytest.approx([81, 64, 66, 72, 86])
    assert information.get_xdata() == pytest.approx([91, 88])
    assert own.get_marker() != information.get_marker()
    spans, seeds, others, other_seeds = axes.collections[:4]
    assert ends(spans) == [[78, 83], [61, 66], [63, 68], [69, 74], [83, 88]]
    assert ends(others) == [[88, 93], [85, 90]]
    expected = [64, 66, 70, 74, 80, 82, 85, 87]
    assert sorted(seeds.get_offsets()[:, 0]) == pytest.approx(expected)
    assert sorted(other_seeds.get_offsets()[:, 0]) == pytest.approx([88, 88, 90, 92])
    assert [text.get_text() for text in axes.texts if "$d$" in text.get_text()] == ["$d$ = 4"]


def test_the_leak_free_set_has_the_d_that_is_best_on_the_full_one(figure):
    axes = panel(figure, "brats leak_free auc")
    assert marks(axes, "own score").get_xdata() == pytest.approx([96, 41, 45])
    assert ends(axes.collections[0]) == [[93, 98], [38, 43], [42, 47]]


def test_every_mark_is_at_its_methods_line(figure):
    axes = panel(figure, "brats auc")
    assert axes.yaxis_inverted()  # the first method is on top
    ae, vae, oracle, nearest, contrast = axes.get_yticks()
    lines = {"own score": [ae, contrast, nearest, vae, oracle], "information": [ae, vae]}
    for key, places in lines.items():
        offset = marks(axes, key).get_ydata() - places
        assert offset == pytest.approx(offset[0])
        assert 0.1 < abs(offset[0]) < 0.4


def test_without_information_ours_are_at_the_tick(metrics, intervals, paper):
    plain = metrics[metrics["score"] == "squared_error"]
    axes = panel(drawn_from(plain, intervals, paper), "brats auc")
    assert sorted(marks(axes, "own score").get_ydata()) == axes.get_yticks().tolist()
    assert axes.containers[0].lines[0].get_ydata().min() > 0


def test_the_papers_numbers_stand_between(figure):
    """Of BraTS: AE, VAE and the paper's own oracle, d = 16; methods that we lack are left out."""
    axes = panel(figure, "brats auc")
    paper = axes.containers[0].lines[0]
    assert sorted(paper.get_xdata()) == [80.6, 82.6, 82.6]
    assert sorted(paper.get_ydata()) == axes.get_yticks()[:3].tolist()
    for key in ("xray", "brats leak_free"):  # the paper has no such test set
        assert not panel(figure, f"{key} auc").containers


def test_one_seed_has_no_ticks(metrics, intervals, paper):
    figure = drawn_from(metrics[metrics["seed"] == 0], intervals, paper)
    legend = panel(figure, "xray auc").get_legend_handles_labels()[1]
    assert legend == ["own score", "chance"]
    title = figure.legends[0].get_title().get_text()
    assert title.startswith("this run (1 seed) with 95 % intervals over test images")
    assert title.endswith("X-rays are small.")
