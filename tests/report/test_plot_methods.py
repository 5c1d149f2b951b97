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
METHODS = {"ae": "AE", "vae": "VAE", "memae": "MemAE", "ceae": "CeAE", "nearest": "Nearest image"}
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
SPLITS = {"published": VALUES, "leak_free": LEAK_FREE}


@pytest.fixture
def metrics():
    rows = [
        (dataset, "all", method, dim, "squared_error", seed, split, metric, value, 9, normal, 6)
        for (split, table), normal in zip(SPLITS.items(), (5, 2), strict=True)
        for (dataset, method, dim, metric), values in table.items()
        for seed, value in enumerate(values)
    ]
    return pd.DataFrame(rows, columns=METRIC_COLUMNS)


@pytest.fixture
def intervals():
    rows = []
    for split, table in SPLITS.items():
        for (dataset, method, dim, metric), values in table.items():
            value = np.mean(values)
            numbers = [value, value - 0.03, value + 0.02, *[np.nan] * 4, 2000, 11]
            rows.append([dataset, "all", method, dim, "squared_error", split, metric, *numbers])
    return pd.DataFrame(rows, columns=INTERVAL_COLUMNS)


@pytest.fixture
def paper(root):
    return read_table(root / "workflow/resources/paper_values.tsv")


@pytest.fixture
def figure(metrics, intervals, paper):
    return drawn_from(metrics, intervals, paper)


def drawn_from(*tables, methods=METHODS):
    metrics, intervals, paper = tables
    return drawn(
        plot_methods,
        {"metrics": metrics, "intervals": [intervals], "paper": paper},
        names=NAMES,
        papers=dict(zip(NAMES, NAMES, strict=True)),
        methods=methods,
        latent_dim=16,
        dataset_notes={"xray": "X-rays are small."},
    )


def line_names(axes):
    return [text.get_text() for text in axes.get_yticklabels()]


def test_a_panel_per_dataset_and_metric(figure):
    labels = ["brats auc", "xray auc", "brats ap", "xray ap", "brats ap_pix", "brats dice_max"]
    assert [axes.get_label() for axes in figure.axes] == labels
    names = ["AE", "VAE", "AE, best $d$ (oracle)", "Nearest image", "Low contrast"]
    assert line_names(figure.axes[0]) == names
    assert line_names(panel(figure, "brats ap_pix")) == ["VAE", "Intensity as map"]
    assert panel(figure, "xray auc").get_title() == "X-ray"


def test_dollars_in_a_name_start_no_formula(metrics, intervals, paper):
    figure = drawn_from(metrics, intervals, paper, methods=METHODS | {"vae": "V $x$"})
    assert line_names(figure.axes[0])[1:3] == [r"V \$x\$", "AE, best $d$ (oracle)"]


def marks(axes, label):
    (found,) = [line for line in axes.lines if line.get_label() == label]
    return found


def test_means_intervals_and_seeds_are_in_percent_on_both_test_sets(figure):
    axes = panel(figure, "brats auc")
    published, leak_free = (marks(axes, f"{key} test set") for key in ("published", "leak-free"))
    assert published.get_xdata() == pytest.approx([81, 64, 66, 72, 86])
    assert leak_free.get_xdata() == pytest.approx([96, 41, 45])  # the d of the published best
    assert published.get_marker() != leak_free.get_marker()
    assert leak_free.get_markerfacecolor() == "white"
    spans, seeds, others, other_seeds = axes.collections[:4]
    ends = [sorted(segment[:, 0].round(6)) for segment in spans.get_segments()]
    assert ends == [[78, 83], [61, 66], [63, 68], [69, 74], [83, 88]]
    ends = [sorted(segment[:, 0].round(6)) for segment in others.get_segments()]
    assert ends == [[93, 98], [38, 43], [42, 47]]
    expected = [64, 66, 70, 74, 80, 82, 85, 87]
    assert sorted(seeds.get_offsets()[:, 0]) == pytest.approx(expected)
    assert sorted(other_seeds.get_offsets()[:, 0]) == pytest.approx([41, 45, 45, 94, 98])
    assert [text.get_text() for text in axes.texts if "$d$" in text.get_text()] == ["$d$ = 4"]


def test_every_mark_is_at_its_methods_line(figure):
    axes = panel(figure, "brats auc")
    assert axes.yaxis_inverted()  # the first method is on top
    ae, vae, oracle, nearest, contrast = axes.get_yticks()
    lines = {"published": [ae, contrast, nearest, vae, oracle], "leak-free": [ae, nearest, oracle]}
    for key, places in lines.items():
        offset = marks(axes, f"{key} test set").get_ydata() - places
        assert offset == pytest.approx(offset[0])
        assert 0.1 < abs(offset[0]) < 0.4


def test_without_a_leak_free_set_ours_are_at_the_tick(metrics, intervals, paper):
    published = metrics[metrics["split"] == "published"]
    axes = panel(drawn_from(published, intervals, paper), "brats auc")
    assert sorted(marks(axes, "published test set").get_ydata()) == axes.get_yticks().tolist()
    assert axes.containers[0].lines[0].get_ydata().min() > 0


def test_the_papers_numbers_stand_between(figure):
    """Of BraTS: AE, VAE and the paper's own oracle, d = 16; methods that we lack are left out."""
    axes = panel(figure, "brats auc")
    paper = axes.containers[0].lines[0]
    assert sorted(paper.get_xdata()) == [80.6, 82.6, 82.6]
    assert sorted(paper.get_ydata()) == axes.get_yticks()[:3].tolist()
    assert not panel(figure, "xray auc").containers  # the paper has no such dataset


def test_one_seed_has_no_ticks(metrics, intervals, paper):
    figure = drawn_from(metrics[metrics["seed"] == 0], intervals, paper)
    legend = panel(figure, "xray auc").get_legend_handles_labels()[1]
    assert legend == ["published test set", "chance"]
    title = figure.legends[0].get_title().get_text()
    assert title.startswith("this run (1 seed) with 95 % intervals over test images")
    assert title.endswith("X-rays are small.")
