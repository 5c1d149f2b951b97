"""The audit of a whole dataset: its three tables by hand, and the recall of planted copies."""

import logging

import numpy as np
import pytest
from copies import FOUND, KINDS, MISSED, as_packed, nearest_similarities, recalls
from packed_files import audit, write_packed

from medae.base.errors import InputError
from medae.data.phantom import PhantomOptions, make_image
from medae.duplicates.audit import IMAGE_COLUMNS, PAIR_COLUMNS, calibrate
from medae.duplicates.similarity import comparable, move


@pytest.fixture
def copied(tmp_path):
    """Four training and five test images of noise, with three copies and one constant pair.

    Test image 0 is train 1 rotated, 1 (abnormal) is train 2 itself, 2 is test 0 brightened;
    train 3 and test 4 are of one grey value, and equal.
    """
    random = np.random.default_rng(0)
    train = random.integers(0, 100, (4, 1, 16, 16), dtype=np.uint8)
    test = random.integers(0, 100, (5, 1, 16, 16), dtype=np.uint8)
    test[0] = move(train[1], 5)
    test[1] = train[2]
    test[2] = 2 * test[0] + 1
    train[3] = test[4] = 7
    return write_packed(tmp_path / "p.h5", train, test, [0, 1, 0, 1, 0])


def test_the_tables_by_hand(copied, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        images, pairs, thresholds = audit(copied, tmp_path)
    assert list(images.columns) == IMAGE_COLUMNS
    assert images["split"].tolist() == ["train"] * 4 + ["test"] * 5
    assert images["label"].tolist() == [0] * 4 + [0, 1, 0, 1, 0]
    assert images["identical"].tolist() == [0, 0, 1, 1, 0, 1, 0, 0, 1]
    assert images["twin"].tolist() == [0, 1, 1, 1, 1, 1, 1, 0, 1]
    assert images["copy_group"].tolist() == [0, 1, 2, 3, 1, 2, 1, 4, 3]
    by_id = images.set_index("id")
    assert by_id.loc["test/0.png", "nearest"] == "train/1.png"
    assert by_id.loc["test/0.png", "symmetry"] == "rotated by 270°"
    assert by_id.loc["test/2.png", "symmetry"] == "rotated by 270°"
    assert by_id.loc["train/1.png", "symmetry"] == "rotated by 90°"
    equal = "test images have the packed pixels of"
    assert f"2 {equal} a training image, such as 'test/1.png' those of 'train/" in caplog.text
    assert f"1 {equal} one of the other class, so one of the labels is wrong, such" in caplog.text
    copies = by_id.loc[["test/0.png", "test/1.png", "test/2.png"], "similarity"]
    assert copies.tolist() == pytest.approx([1, 1, 1], abs=1e-6)
    assert by_id.loc["test/0.png", "unmoved_similarity"] < 0.5
    assert by_id.loc["test/4.png", "similarity"] == 0
    assert by_id.loc["test/4.png", "brightness"] == 7
    assert by_id["other_patient_similarity"].isna().all()
    assert list(pairs.columns) == PAIR_COLUMNS
    found = {(row.id, row.other_id, row.symmetry) for row in pairs.itertuples()}
    assert found == {
        ("train/1.png", "test/0.png", "rotated by 90°"),
        ("train/1.png", "test/2.png", "rotated by 90°"),
        ("train/2.png", "test/1.png", "unmoved"),
        ("test/0.png", "test/2.png", "unmoved"),
    }
    assert thresholds["threshold"].tolist() == [0.98, 0.99, 0.999]
    assert thresholds["used"].tolist() == [0, 1, 0]
    assert thresholds["origin"].tolist() == ["listed", "configured", "listed"]
    for row in thresholds.to_dict("records"):
        assert (row["test_normal"], row["test_abnormal"], row["train"]) == (3, 1, 3)
        unmoved = [row[f"{name}_unmoved"] for name in ("test_normal", "test_abnormal", "train")]
        assert unmoved == [1, 1, 2]
        assert (row["train_copies"], row["test_copies"]) == (0, 2)
        assert (row["copy_groups"], row["train_in_groups"]) == (3, 3)
    assert "3 of 3 normal test images have a copy" in caplog.text
    assert "1 of 2 abnormal test images have a copy" in caplog.text


def test_without_moved_copies(copied, tmp_path):
    images, pairs, _ = audit(copied, tmp_path, moved=False)
    assert images["twin"].tolist() == [0, 0, 1, 1, 0, 1, 0, 0, 1]
    assert set(images["symmetry"]) == {"unmoved"}
    np.testing.assert_array_equal(images["similarity"], images["unmoved_similarity"])
    assert len(pairs) == 2


def test_the_threshold_is_calibrated_where_patients_are_known(tmp_path):
    random = np.random.default_rng(0)
    train, test = (random.integers(0, 200, (6, 1, 16, 16), dtype=np.uint8) for _ in range(2))
    ids = {f"{name}_ids": [f"p{i}_{name}.png" for i in range(6)] for name in ("train", "test")}
    packed = write_packed(tmp_path / "p.h5", train, test, [0] * 5 + [1], **ids)
    images, _, thresholds = audit(packed, tmp_path, group_pattern=r"p(\d)_")
    used = thresholds[thresholds["used"] == 1].iloc[0]
    assert used["origin"] == "calibrated"
    assert used["threshold"] == pytest.approx(images["other_patient_similarity"].max(), abs=1e-6)
    assert thresholds["threshold"].is_monotonic_increasing
    assert images["other_patient_similarity"].isna().tolist() == [False] * 11 + [True]
    # One patient in all: nothing to calibrate on.
    _, _, thresholds = audit(packed, tmp_path, group_pattern=r"(p)")
    assert thresholds.loc[thresholds["used"] == 1, "origin"].tolist() == ["configured"]


def test_the_list_of_pairs_ends_somewhere(copied, tmp_path, monkeypatch):
    monkeypatch.setattr("audit_dataset.LISTED_PAIRS", 2)
    images, pairs, _ = audit(copied, tmp_path)
    assert len(pairs) == 2
    assert images["twin"].sum() == 7


# --- planted copies ---


@pytest.fixture(scope="module")
def heads():
    """Phantom heads at 128 pixels: 80 training images and 40 of other heads."""

    def draw(group, count):
        options = {"options": PhantomOptions(), "group": group, "image_size": 128}
        return np.stack([make_image(index=i, **options).pixels for i in range(count)])

    return draw("train/normal", 80), draw("test/normal", 40)


@pytest.fixture(scope="module")
def threshold(heads):
    """The threshold that these heads calibrate, each being a patient."""
    images = comparable(as_packed(np.concatenate(heads)))
    known = {"labels": np.zeros(120, dtype=int), "patients": np.arange(120)}
    _, calibrated = calibrate(images, **known, configured=0.9999, moved=True)
    return calibrated


def test_other_heads_are_no_twins(heads, threshold):
    train, test = map(as_packed, heads)
    assert (nearest_similarities(train, test) < threshold).all()


def test_recall_by_kind(heads, threshold):
    shares = recalls(heads[0], count=80, threshold=threshold)
    assert set(shares) == set(KINDS)
    for kind in FOUND:
        assert shares[kind] == 1, kind
    for kind in MISSED:
        assert shares[kind] < 0.5, kind


def test_a_pattern_that_finds_no_patient_or_some_is_told(copied, tmp_path, caplog):
    with pytest.raises(
        InputError, match=r"group_pattern 'x\(y\)' finds no patient .*'train/0.png'"
    ):
        audit(copied, tmp_path, group_pattern="x(y)")
    _, _, thresholds = audit(copied, tmp_path, group_pattern=r"([0-2])\.png")
    assert "no patient in 1 of 4 train and 2 of 5 test images, such as 'train/3.png'" in caplog.text
    assert thresholds.query("used == 1")["origin"].tolist() == ["configured"]
