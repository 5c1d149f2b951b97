"""The figure of the retraining control: panels, lines and the nearest training image."""

import numpy as np
import pandas as pd
import pytest
from plot_training_sets import COLORS, NOTHING, draw, plot_training_sets

from medae.base.files import write_table
from medae.evaluation.metrics import METRIC_COLUMNS
from medae.report.retraining import retrained_rows

NAMES = {"scans": "Scans $", "clean": "Clean", "other": "Other"}
SIZES = {"all": 100, "without_twins": 40, "without_random": 40}
VALUES = {  # (dataset, method, d): published AUC by training set
    ("scans", "ae", 4): (0.8, 0.5, 0.6),
    ("scans", "ae", 16): (0.9, 0.55, 0.65),
    ("scans", "pca", 1): (0.3, 0.2, 0.25),
    ("scans", "pca", 16): (0.7, 0.4, 0.5),
    ("scans", "vae", 16): (0.77, 0.4, 0.5),
    ("scans", "nearest", 0): (0.85, 0.35, 0.45),
    ("other", "pca", 1): (0.5, 0.4, 0.4),
    ("other", "pca", 2): (0.6, 0.5, 0.5),
}


@pytest.fixture
def metrics():
    rows = [
        (*key[:1], name, *key[1:], seed, split, "auc", value + shift, SIZES[name], 5, 6)
        for key, values in VALUES.items()
        for name, value in zip(SIZES, values, strict=True)
        for split, shift in (("published", 0), ("leak_free", -0.1))
        for seed in (0, 1)
    ]
    clean = [
        ("clean", name, "ae", dim, 0, "published", "auc", 0.6, 100, 5, 6)
        for name in SIZES
        for dim in (4, 16)
    ]
    return pd.DataFrame(rows + clean, columns=METRIC_COLUMNS)


def test_panels_lines_and_the_nearest(metrics):
    figure = draw(retrained_rows(metrics), NAMES)
    labels = [axes.get_label() for axes in figure.axes]
    assert labels == ["scans ae", "scans pca", "other pca"]
    panel = figure.axes[0]
    lines = {line.get_label(): line for line in panel.get_lines() if len(line.get_xdata())}
    for place, name in enumerate(("all", "without twins", "without random images")):
        line = lines[name]
        assert list(line.get_xdata()) == [4, 16]
        expected = [100 * VALUES["scans", "ae", d][place] for d in (4, 16)]
        assert list(line.get_ydata()) == pytest.approx(expected)
        assert line.get_color() == list(COLORS.values())[place]
    dotted = [line for line in panel.get_lines() if line.get_linestyle() == ":"]
    levels = [line.get_ydata()[0] for line in dotted if len(line.get_ydata())]
    assert levels == pytest.approx([85, 35, 45])
    assert not [line for line in figure.axes[2].get_lines() if line.get_linestyle() == ":"]
    texts = [text.get_text() for text in panel.texts]
    assert texts == ["100 / 40 / 40 training images"]


def test_panels_have_common_axes(metrics):
    figure = draw(retrained_rows(metrics), NAMES)
    assert len({axes.get_xlim() for axes in figure.axes}) == 1
    assert len({axes.get_ylim() for axes in figure.axes}) == 1


def test_the_legend_names_each_line_once(metrics):
    (legend,) = draw(retrained_rows(metrics), NAMES).legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "all",
        "without twins",
        "without random images",
        "nearest training image",
    ]


def test_without_twins_the_figure_is_a_sentence(metrics, tmp_path):
    clean = metrics[metrics["dataset"] == "clean"]
    assert [text.get_text() for text in draw(retrained_rows(clean), NAMES).texts] == [NOTHING]
    write_table(clean, tmp_path / "metrics.tsv")
    outputs = {end: tmp_path / f"f.{end}" for end in ("pdf", "png")}
    plot_training_sets(metrics=tmp_path / "metrics.tsv", names=NAMES, **outputs)
    assert all(path.stat().st_size for path in outputs.values())


def test_the_files(metrics, tmp_path):
    write_table(metrics, tmp_path / "metrics.tsv")
    made = []
    for run in ("one", "two"):
        outputs = {end: tmp_path / f"{run}.{end}" for end in ("pdf", "png")}
        plot_training_sets(metrics=tmp_path / "metrics.tsv", names=NAMES, **outputs)
        made.append([path.read_bytes() for path in outputs.values()])
    assert made[0] == made[1]
    assert np.all([part[:4] in (b"%PDF", b"\x89PNG") for part in made[0]])
