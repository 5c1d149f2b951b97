"""What is shown of the audits, as tables and as a figure: numbers by hand, words, and forms."""

from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from metric_frames import drawn, panel, tabulated
from plot_audit import FLOOR, LEFT, distance, plot_audit
from tabulate_audit import dataset_cells, measure_audit, tabulate_audit

from medae.duplicates.audit import IMAGE_COLUMNS, leak_free

# Training a1 a2 b3, normal test a4 (a twin of a1) c5, abnormal test c6.
IMAGES = pd.DataFrame(
    {
        "split": ["train"] * 3 + ["test"] * 3,
        "id": ["a1", "a2", "b3", "a4", "c5", "c6"],
        "label": [0, 0, 0, 0, 0, 1],
        "brightness": [10.0, 20.0, 30.0, 20.0, 40.0, 30.0],
        "contrast": [1.0, 1.0, 1.0, 2.0, 3.0, 2.5],
        "total_variation": [5.0, 6.0, 7.0, 5.0, 8.0, 1.0],
        "nearest": ["a4", "a4", "a4", "a1", "a1", "a1"],
        "similarity": [0.995, 0.5, 0.4, 0.995, 0.3, 0.2],
        "symmetry": "unmoved",
        "unmoved_similarity": [0.9, 0.5, 0.4, 0.9, 0.3, 0.2],
        "identical": 0,
        "patient_in_both": [1, 1, 0, 1, 0, 0],
        "other_patient_similarity": np.nan,
        "twin": [1, 0, 0, 1, 0, 0],
        "copy_group": [0, 1, 2, 0, 3, 4],
    }
)[IMAGE_COLUMNS]
COUNTS = ["test_normal", "test_abnormal", "train", "test_normal_unmoved", "test_abnormal_unmoved"]
COUNTS += ["train_unmoved", "train_copies", "test_copies", "copy_groups", "train_in_groups"]
THRESHOLDS = pd.DataFrame(
    [
        [0.9, 2, 1, 2, 1, 0, 1, 3, 2, 1, 3, 0, "listed"],
        [0.9876543, 1, 0, 1, 0, 0, 0, 0, 0, 1, 1, 1, "calibrated"],
        [0.999, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, "listed"],
    ],
    columns=["threshold", *COUNTS, "used", "origin"],
)
NAMES = {"scans": "Scans & more", "xray": "X-ray"}


def tabulate(moved=True):
    clean = THRESHOLDS.assign(**dict.fromkeys(COUNTS, 0), origin="configured")
    images = [IMAGES, IMAGES.assign(twin=0, patient_in_both=0)]
    tables = {"images": images, "thresholds": [THRESHOLDS, clean]}
    options = {"names": NAMES, "group_patterns": ["([abc])", None], "moved": moved}
    return tabulated(tabulate_audit, tables, "markdown", "html", **options)


def test_the_three_tables():
    texts = tabulate()
    text = texts["markdown"]
    for row in (
        "|  | Scans & more | X-ray |",
        "| Training images | 3 | 3 |",
        "| Test images, normal + abnormal | 2 + 1 | 2 + 1 |",
        "| Patients, training + test | 2 + 2, 1 in both | – |",
        "| Threshold | 0.9877, calibrated | 0.9877, configured |",
        "| Normal test images with a twin | 1 (50.0 %), 0 unmoved | 0 |",
        "| Abnormal test images with a twin | 0 | 0 |",
        "| Training images with a twin | 1 (33.3 %), 0 unmoved | 0 |",
        "| Training images in a copy group with a test image | 1 | 0 |",
        "| Copy groups | 1 | 0 |",
        "| Abnormal test images with a normal copy | 0 | 0 |",
        "| Leak-free test images, normal + abnormal | 1 + 1 | 2 + 1 |",
        "| Scans & more | 0.9000 | 2 (1) | 1 (0) | 2 (1) | 3 | 2 | 1 |",
        "| Scans & more | 0.9877, used | 1 (0) | 0 | 1 (0) | 0 | 0 | 1 |",
        "| Scans & more | training images | 20.0 ± 10.0 | 1.0 ± 0.0 | 6.0 ± 1.0 |",
        "| X-ray | normal test images | 30.0 ± 14.1 | 2.5 ± 0.7 | 6.5 ± 2.1 |",
        # Brightness 30 against 20 and 40; contrast 2.5 against 2 and 3; variation 1 is the lowest.
        "| Scans & more | AUC: abnormal test against normal test | 50.0 | 50.0 | 100.0 |",
        # 20 and 40 against 10, 20, 30: lower in 1, equal in 1 of 6 pairs.
        "| Scans & more | AUC: normal test against training | 25.0 | 0.0 | 41.7 |",
    ):
        assert f"{row}\n" in text
    assert text.count(", used |") == 2
    text = texts["html"]
    page = ElementTree.fromstring(text.partition("<meta")[0] + text[text.index("<title>") :])
    tables = page.findall(".//table")
    assert [len(table.findall(".//tr")) for table in tables] == [15, 7, 11]


def test_patients_in_both_are_warned_of_and_not_leak_free():
    text = tabulate()["markdown"]
    assert "WARNING: 1 test images of Scans & more are of patients who have images" in text
    assert text.count("WARNING") == 1
    images = IMAGES.assign(twin=0)
    numbers = measure_audit(images, THRESHOLDS, "([abc])")["dataset"]["all"]
    assert (numbers["leak_free_normal"], numbers["leak_free_abnormal"]) == (1, 1)
    assert leak_free(images).tolist() == [False, True, True]


def test_an_abnormal_image_with_a_normal_copy_is_counted():
    images = IMAGES.assign(copy_group=[0, 1, 2, 0, 3, 3])
    assert measure_audit(images, THRESHOLDS, None)["dataset"]["all"]["label_conflicts"] == 1


def test_words_follow_the_configuration():
    assert "ways to mirror" in tabulate()["markdown"]
    text = tabulate(moved=False)["markdown"]
    assert "mirror" not in text and "unmoved" not in text
    assert "| Normal test images with a twin | 1 (50.0 %) | 0 |" in text
    assert "| Scans & more | 0.9000 | 2 | 1 | 2 | 3 | 2 | 1 |\n" in text


def test_the_tsv_and_images_without_a_patients_name():
    table = tabulate()["rows"]
    keys = ["dataset", "table", "row", "quantity"]
    assert list(table.columns) == [*keys, "value"]
    assert not table.duplicated(keys).any()
    values = table.set_index(keys)["value"]
    assert values["scans", "threshold", "0.9", "train_copies"] == 3
    assert values["scans", "dataset", "all", "threshold"] == pytest.approx(0.9876543)
    assert values["scans", "dataset", "all", "patients_in_both"] == 1
    assert values["xray", "dataset", "all", "threshold_is_calibrated"] == 0
    some = measure_audit(IMAGES, THRESHOLDS, "([ab])")["dataset"]["all"]
    assert (some["train_unnamed"], some["test_unnamed"]) == (0, 2)
    cells = dataset_cells(some, moved=True)["Patients, training + test"]
    assert cells == "2 + 3, 1 in both; 0 + 2 images whose patient is not known"
    numbers = measure_audit(IMAGES, THRESHOLDS, None)["dataset"]["all"]
    assert not [quantity for quantity in numbers if "patients" in quantity]


# --- the figure ---

LINES = THRESHOLDS.assign(threshold=[0.98, 0.99, 0.999], origin="configured")


def images():
    """Two training images, four normal and two abnormal test images."""
    rows = [
        ("train", 0, 0.9, 0.9, 0, 0.6),
        ("train", 0, 0.1, 0.1, 0, 0.7),
        ("test", 0, 1.0, 0.8, 0, 0.5),
        ("test", 0, 0.995, 0.995, 0, 0.5),
        ("test", 0, 0.9, 0.9, 0, 0.5),
        ("test", 0, 0.0, 0.0, 1, 0.5),
        ("test", 1, 0.7, 0.7, 0, np.nan),
        ("test", 1, -0.2, -0.2, 0, np.nan),
    ]
    columns = ["split", "label", "similarity", "unmoved_similarity", "identical"]
    return pd.DataFrame(rows, columns=[*columns, "other_patient_similarity"])


def audit_panel(label, *, patients=False, moved=True):
    table = images() if patients else images().assign(other_patient_similarity=np.nan)
    tables = {"images": table, "thresholds": LINES}
    figure = drawn(plot_audit, tables, name="Scans $1", moved=moved)
    return panel(figure, label)


def legend(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_shares_of_each_class_are_percent_of_it():
    axes = audit_panel("shares", patients=True)
    assert legend(axes) == [
        "normal test images (n = 4)",
        "abnormal test images (n = 2)",
        "normal images, to other patients (n = 6)",
        "threshold 0.9900 (configured)",
    ]
    heights = [sorted(set(np.round(patch.get_xy()[:, 1], 9))) for patch in axes.patches[:2]]
    assert heights == [[0, 25], [0, 50]]
    assert axes.get_xlim() == (LEFT, FLOOR)  # reversed
    assert distance(np.array([1.0, 0.9, -1.0])) == pytest.approx([FLOOR, 0.1, LEFT])
    lines = [line.get_xdata()[0] for line in axes.get_lines() if len(line.get_xdata()) == 2]
    assert sorted(lines) == pytest.approx(sorted([0.02, 0.01, 0.001, 0.01]))
    assert len(legend(audit_panel("shares"))) == 3


def counts_at(line, threshold):
    places, counts = line.get_data()
    return counts[np.searchsorted(places, 1 - threshold + 1e-9, side="right") - 1]


def test_numbers_of_twins_by_threshold():
    moved, unmoved = audit_panel("counts").get_lines()[:2]
    # The image with identical pixels counts at every threshold, whatever its similarity.
    assert [counts_at(moved, t) for t in (0.9, 0.99, 0.999)] == [4, 3, 2]
    assert [counts_at(unmoved, t) for t in (0.9, 0.99, 0.999)] == [3, 2, 1]
    axes = audit_panel("counts", moved=False)
    assert legend(axes) == ["with a copy in training", "threshold 0.9900 (configured)"]
