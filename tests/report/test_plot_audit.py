"""The figure of the audit: what it draws, and where."""

import numpy as np
import pandas as pd
import pytest
from plot_audit import FLOOR, LEFT, distance, draw, plot_audit

from medae.base.files import write_table

THRESHOLDS = pd.DataFrame(
    {"threshold": [0.98, 0.99, 0.999], "used": [0, 1, 0], "origin": ["", "configured", ""]}
)


def images(patients=False):
    """Two training images, four normal and two abnormal test images."""
    table = pd.DataFrame(
        {
            "split": ["train"] * 2 + ["test"] * 6,
            "label": [0, 0, 0, 0, 0, 0, 1, 1],
            "similarity": [0.9, 0.1, 1.0, 0.995, 0.9, 0.0, 0.7, -0.2],
            "unmoved_similarity": [0.9, 0.1, 0.8, 0.995, 0.9, 0.0, 0.7, -0.2],
            "identical": [0, 0, 0, 0, 0, 1, 0, 0],
            "other_patient_similarity": [0.6, 0.7, 0.5, 0.5, 0.5, 0.5, np.nan, np.nan],
        }
    )
    return table if patients else table.assign(other_patient_similarity=np.nan)


def drawn(**options):
    arguments = {"thresholds": THRESHOLDS, "name": "Scans $1", "moved": True}
    return draw(**{"images": images()} | arguments | options)


def panel(figure, label):
    return next(axes for axes in figure.axes if axes.get_label() == label)


def legend(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_distance_stays_in_the_axis():
    assert distance(np.array([1.0, 0.9, 0.0, -1.0])) == pytest.approx([FLOOR, 0.1, LEFT, LEFT])


def test_shares_of_each_class_are_percent_of_it():
    axes = panel(drawn(images=images(patients=True)), "shares")
    assert legend(axes) == [
        "normal test images (n = 4)",
        "abnormal test images (n = 2)",
        "normal images, to other patients (n = 6)",
        "threshold 0.9900 (configured)",
    ]
    filled = [patch for patch in axes.patches if patch.get_fill()]
    heights = [sorted(set(np.round(patch.get_xy()[:, 1], 9))) for patch in filled]
    assert heights == [[0, 25], [0, 50]]
    assert axes.get_xlim() == (LEFT, FLOOR)  # reversed


def test_without_patients_there_is_no_line_for_them():
    assert len(legend(panel(drawn(), "shares"))) == 3


def counts_at(line, threshold):
    places, counts = line.get_data()
    return counts[np.searchsorted(places, 1 - threshold + 1e-9, side="right") - 1]


def test_numbers_of_twins_by_threshold():
    axes = panel(drawn(), "counts")
    moved, unmoved = axes.get_lines()[:2]
    # The image with identical pixels counts at every threshold, whatever its similarity.
    assert [counts_at(moved, t) for t in (0.9, 0.99, 0.999)] == [4, 3, 2]
    assert [counts_at(unmoved, t) for t in (0.9, 0.99, 0.999)] == [3, 2, 1]
    axes = panel(drawn(moved=False), "counts")
    assert legend(axes) == ["with a twin", "threshold 0.9900 (configured)"]


def test_thresholds_are_lines():
    for axes in drawn().axes:
        lines = [line.get_xdata()[0] for line in axes.get_lines() if len(line.get_xdata()) == 2]
        assert sorted(lines) == pytest.approx(sorted([0.02, 0.01, 0.001, 0.01]))


def test_the_files(tmp_path):
    write_table(images(), tmp_path / "images.tsv")
    write_table(THRESHOLDS, tmp_path / "thresholds.tsv")
    made = []
    for run in ("one", "two"):
        outputs = {end: tmp_path / f"{run}.{end}" for end in ("pdf", "png")}
        plot_audit(
            images=tmp_path / "images.tsv",
            thresholds=tmp_path / "thresholds.tsv",
            name="Scans $1",
            moved=True,
            **outputs,
        )
        made.append([path.read_bytes() for path in outputs.values()])
    assert made[0] == made[1]
    assert made[0][0].startswith(b"%PDF")
