"""The metrics of one set of scores on both splits, by hand."""

import logging
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from medae.data.packed import PackedDataset
from medae.evaluation.measuring import measure

# Three training images; test images: normal 0.1, 0.4, 0.3, abnormal 0.35, 0.5.
TABLE = pd.DataFrame(
    {
        "split": ["train"] * 3 + ["test"] * 5,
        "id": list("abcvwxyz"),
        "label": [0, 0, 0, 0, 0, 0, 1, 1],
        "score": [9.0, 9.0, 9.0, 0.1, 0.4, 0.3, 0.35, 0.5],
        "reconstruction_error": [1.0, 2.0, 6.0, 3.0, 4.0, 8.0, 10.0, 20.0],
    }
)
TRUTH = PackedDataset(
    train_images=np.zeros((3, 1, 2, 2), np.uint8),
    train_ids=list("abc"),
    test_images=np.zeros((5, 1, 2, 2), np.uint8),
    test_ids=list("vwxyz"),
    test_labels=np.array([0, 0, 0, 1, 1], np.uint8),
    test_masks=None,
    attributes={},
)
LEAK_FREE = np.array([True, False, True, True, True])
TRAINED_ON = np.array([True, False, True])


def measured(**changes):
    arguments = {"truth": TRUTH, "leak_free": LEAK_FREE, "trained_on": TRAINED_ON}
    arguments |= {"scores_images": True, "maps": None, "what": "toy"}
    return measure(changes.pop("table", TABLE), **arguments | changes)


def values(rows, split):
    rows = rows[rows["split"] == split]
    return dict(zip(rows["metric"], rows["value"], strict=True))


def test_both_splits_by_hand():
    rows = measured()
    # Six pairs of abnormal and normal: only 0.35 against 0.4 is wrong. AP: 1/2 + 1/2 · 2/3.
    assert values(rows, "published") == pytest.approx(
        {
            "auc": 5 / 6,
            "ap": 5 / 6,
            "error_train_normal": 3.5,  # of the images that were used
            "error_test_normal": 5.0,
            "error_test_abnormal": 15.0,
        }
    )
    # Without the image of 0.4 all are right.
    assert values(rows, "leak_free") == pytest.approx(
        {
            "auc": 1.0,
            "ap": 1.0,
            "error_train_normal": 3.5,
            "error_test_normal": 5.5,
            "error_test_abnormal": 15.0,
        }
    )
    counts = rows.groupby("split")[["n_train", "n_normal", "n_abnormal"]].agg(["min", "max"])
    assert counts.loc["published"].tolist() == [2, 2, 3, 3, 2, 2]
    assert counts.loc["leak_free"].tolist() == [2, 2, 2, 2, 2, 2]


def test_pixel_metrics_of_both_splits():
    masks = np.zeros((5, 2, 2), np.uint8)
    masks[3:, 0, 0] = 1
    maps = np.zeros((5, 2, 2), np.float32)
    maps[3:, 0, 0] = 1.0
    maps[1, 1, 1] = 2.0  # the worst false alarm, in an image with a twin
    rows = measured(truth=replace(TRUTH, test_masks=masks), maps=maps)
    # Of 20 pixels: the false alarm first, then both abnormal ones: AP 2/3, Dice 4 / (3 + 2).
    assert values(rows, "published")["ap_pix"] == pytest.approx(2 / 3)
    assert values(rows, "published")["dice_max"] == pytest.approx(4 / 5)
    assert values(rows, "leak_free")["ap_pix"] == values(rows, "leak_free")["dice_max"] == 1


def test_scores_that_do_not_count_and_errors_that_are_not_there():
    masks = np.ones((5, 2, 2), np.uint8)
    masks[:3] = 0
    rows = measured(
        table=TABLE.assign(reconstruction_error=np.nan),
        truth=replace(TRUTH, test_masks=masks),
        scores_images=False,
        maps=masks.astype(np.float32),
    )
    assert set(rows["metric"]) == {"auc_pix", "ap_pix", "dice_max", "dice_max_threshold"}
    rows = measured(table=TABLE.assign(reconstruction_error=np.nan))
    assert set(rows["metric"]) == {"auc", "ap"}


@pytest.mark.parametrize("left", [[0, 0, 0, 1, 1], [1, 1, 1, 0, 0]])
def test_a_leak_free_set_of_one_class_is_left_out(left, caplog):
    with caplog.at_level(logging.WARNING):
        rows = measured(leak_free=np.array(left, dtype=bool))
    assert set(rows["split"]) == {"published"}
    assert "a class has no test image without a twin" in caplog.text
