"""The tables of the audits: numbers by hand, words, and their three forms."""

from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score
from tabulate_audit import measure_audit, separability, tabulate_audit

from medae.base.errors import InputError
from medae.base.files import read_table, write_table
from medae.duplicates.audit import IMAGE_COLUMNS

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


def tabulate(folder, moved=True):
    write_table(IMAGES, folder / "images.tsv")
    write_table(THRESHOLDS, folder / "thresholds.tsv")
    clean = THRESHOLDS.assign(**dict.fromkeys(COUNTS, 0), origin="configured")
    write_table(clean, folder / "clean.tsv")
    write_table(IMAGES.assign(twin=0), folder / "clean_images.tsv")
    outputs = {name: folder / f"audit.{name}" for name in ("markdown", "html", "table")}
    tabulate_audit(
        images=[folder / "images.tsv", folder / "clean_images.tsv"],
        thresholds=[folder / "thresholds.tsv", folder / "clean.tsv"],
        names=NAMES,
        group_patterns=["([abc])", None],
        moved=moved,
        **outputs,
    )
    return outputs


def test_the_table_of_datasets(tmp_path):
    text = tabulate(tmp_path)["markdown"].read_text(encoding="utf-8")
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
        "| Leak-free test images, normal + abnormal | 1 + 1 | 2 + 1 |",
    ):
        assert f"{row}\n" in text


def test_the_table_of_thresholds(tmp_path):
    text = tabulate(tmp_path)["markdown"].read_text(encoding="utf-8")
    assert "| Scans & more | 0.9000 | 2 (1) | 1 (0) | 2 (1) | 3 | 2 | 1 |\n" in text
    assert "| Scans & more | 0.9877, used | 1 (0) | 0 | 1 (0) | 0 | 0 | 1 |\n" in text
    assert text.count(", used |") == 2


def test_the_table_of_classes(tmp_path):
    text = tabulate(tmp_path)["markdown"].read_text(encoding="utf-8")
    assert "| Scans & more | training images | 20.0 ± 10.0 | 1.0 ± 0.0 | 6.0 ± 1.0 |\n" in text
    assert "| X-ray | normal test images | 30.0 ± 14.1 | 2.5 ± 0.7 | 6.5 ± 2.1 |\n" in text
    # Brightness 30 against 20 and 40; contrast 2.5 against 2 and 3; variation 1 is the lowest.
    assert "| Scans & more | AUC: abnormal test against normal test | 50.0 | 50.0 | 100.0 |" in text
    # 20 and 40 against 10, 20, 30: lower in 1, equal in 1 of 6 pairs.
    assert "| Scans & more | AUC: normal test against training | 25.0 | 0.0 | 41.7 |" in text


def test_words_follow_the_configuration(tmp_path):
    text = tabulate(tmp_path)["markdown"].read_text(encoding="utf-8")
    assert "over the eight ways to mirror and rotate" in text
    assert "Unmoved: with a twin" in text
    text = tabulate(tmp_path, moved=False)["markdown"].read_text(encoding="utf-8")
    assert "mirror" not in text
    assert "unmoved" not in text
    assert "| Normal test images with a twin | 1 (50.0 %) | 0 |" in text
    assert "| Scans & more | 0.9000 | 2 | 1 | 2 | 3 | 2 | 1 |\n" in text


def test_html_has_the_same_tables(tmp_path):
    text = tabulate(tmp_path)["html"].read_text(encoding="utf-8")
    page = ElementTree.fromstring(text.partition("<meta")[0] + text[text.index("<title>") :])
    tables = page.findall(".//table")
    assert [len(table.findall(".//tr")) for table in tables] == [14, 7, 11]
    assert "Scans &amp; more" in text
    assert [heading.text for heading in page.findall(".//h2")] == [
        "Copies",
        "By threshold",
        "What separates the classes without a model",
    ]


def test_tsv_has_every_number(tmp_path):
    table = read_table(tabulate(tmp_path)["table"])
    assert list(table.columns) == ["dataset", "table", "row", "quantity", "value"]
    assert not table.duplicated(["dataset", "table", "row", "quantity"]).any()
    assert table["value"].notna().all() or set(table.loc[table["value"].isna(), "quantity"]) == {
        f"{name}_std" for name in ("brightness", "contrast", "total_variation")
    }  # of the only abnormal image
    values = table.set_index(["dataset", "table", "row", "quantity"])["value"]
    assert values["scans", "threshold", "0.9", "train_copies"] == 3
    assert values["scans", "dataset", "all", "threshold"] == pytest.approx(0.9876543)
    assert values["scans", "dataset", "all", "patients_in_both"] == 1
    assert values["xray", "dataset", "all", "threshold_is_calibrated"] == 0


def test_separability_equals_sklearn():
    random = np.random.default_rng(0)
    low, high = (pd.Series(random.integers(0, 9, n)) for n in (30, 40))
    labels = [1] * 30 + [0] * 40
    expected = roc_auc_score(labels, -np.concatenate([low, high]))
    assert separability(low, high) == pytest.approx(100 * expected)
    assert separability(low, low) == 50


def test_a_missing_table_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="Cannot read the table"):
        tabulate_audit(
            images=[tmp_path / "no.tsv"],
            thresholds=[tmp_path / "no.tsv"],
            names={"scans": "Scans"},
            group_patterns=[None],
            moved=True,
            markdown=tmp_path / "a.md",
            html=tmp_path / "a.html",
            table=tmp_path / "a.tsv",
        )
    assert not (tmp_path / "a.md").exists()


def test_no_patients_no_numbers_of_them():
    numbers = measure_audit(IMAGES, THRESHOLDS, None)
    assert not numbers["quantity"].str.contains("patients").any()
