"""The metrics of a setting, from the files that scoring and packing leave."""

from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from compute_metrics import compute_metrics
from packed_files import write_audit, write_maps, write_packed, write_scores
from sklearn.metrics import average_precision_score, roc_auc_score

from medae.base.errors import InputError
from medae.base.files import read_table, write_table
from medae.data.known import UNKNOWN
from medae.evaluation.metrics import METRIC_COLUMNS
from medae.evaluation.summary import summarise
from medae.models.decision import decide

TRAIN_IDS = ["train/a.png", "train/NA", "train/c.png"]
TEST_IDS = ["test/1.png", "test/2.png", "test/ü 3.png", "test/4.png"]
LABELS = [0, 1, 0, 1]
SCORES = [0.1, 0.4, 0.2, 0.15]
IMAGE_METRICS = ["auc", "ap", "ap_share", "auc_matched", "auc_matched_local"]
IMAGE_METRICS += ["error_train_normal", "error_test_normal", "error_test_abnormal"]
PIXEL_METRICS = ["auc_pix", "ap_pix", "dice_max", "dice_max_threshold"]

# Masks with three abnormal pixels, and maps that miss one of them.
MASKS = np.zeros((4, 4, 4), dtype=np.uint8)
MASKS[1, 0, :2] = MASKS[3, 3, 3] = 1
MAPS = np.where(MASKS, [[[0.0]], [[0.5]], [[0.0]], [[0.1]]], 0.2).astype(np.float32)


class Setting:
    """A dataset, the scores and maps of two seeds, and how to measure them."""

    def __init__(self, folder):
        self.audit, self.packed = folder / "images.tsv", folder / "packed.h5"
        self.scores = [folder / "s0.tsv", folder / "s1.tsv"]
        self.maps = [folder / "m0.h5", folder / "m1.h5"]
        self.training_rows, self.output = folder / "rows.tsv", folder / "metrics.tsv"
        self.pack()
        self.find_twins(0, 0, 0, 0)
        self.score(0)
        self.score(1, scores=[0.1, 0.4, 0.2, 0.25])
        write_maps(self.maps[0], MAPS, TEST_IDS)
        write_maps(self.maps[1], 1 - MAPS, TEST_IDS)

    def pack(self, masks=MASKS):
        images = np.zeros((4, 1, 4, 4), dtype=np.uint8)
        ids = {"train_ids": TRAIN_IDS, "test_ids": TEST_IDS}
        write_packed(self.packed, images[:3], images, LABELS, masks=masks, **ids)

    def find_twins(self, *twin):
        write_audit(self.audit, TRAIN_IDS, TEST_IDS, twin=twin)

    def score(self, run, *, scores=SCORES, train_ids=TRAIN_IDS, test_ids=TEST_IDS, labels=LABELS):
        train = [0.01, 0.02, 0.06][: len(train_ids)]
        write_scores(self.scores[run], train_ids, test_ids, labels, train, scores)

    def measure(self, **changes):
        others = [self.output.with_name(f"others{i}.tsv") for i in range(2)]
        arguments = {key: vars(self)[key] for key in ("scores", "maps", "packed", "audit")}
        arguments |= {"training_rows": None, "training_set": "all", "seeds": [3, 7]}
        setting = {"dataset": "toy", "method": "ae", "latent_dim": 16, "share": None}
        setting |= {"score_names": [], "others": others}
        arguments |= setting | changes
        arguments["others"] = others[: len(arguments["seeds"])]
        compute_metrics(**arguments, metrics=self.output)
        return read_table(self.output)


@pytest.fixture
def setting(tmp_path):
    return Setting(tmp_path)


def test_hand_computed_values(setting):
    table = setting.measure()
    assert list(table.columns) == METRIC_COLUMNS
    assert len(table) == 2 * 2 * 12
    same = table.drop(columns=["seed", "split", "metric", "value"]).drop_duplicates()
    assert same.to_numpy().tolist() == [["toy", "all", "ae", 16, "squared_error", 3, 2, 2]]
    published, leak_free = (
        table[table["split"] == split].pivot(index="metric", columns="seed", values="value")
        for split in ("published", "leak_free")
    )
    assert published.equals(leak_free)  # no image has a twin
    expected = [3 / 4, 5 / 6, 5 / 6, 3 / 4, 3 / 4, 0.06, 0.3, 0.55]  # all images are alike
    assert published[3][IMAGE_METRICS].tolist() == pytest.approx(expected)
    assert published[7][["auc", "ap"]].tolist() == [1.0, 1.0]
    # 2 of 3 abnormal pixels at 0.5, then 61 normal ones at 0.2, then the last abnormal at 0.1
    expected = [2 / 3, 2 / 3 + 1 / 3 * 3 / 64, 2 * 2 / (2 + 3), 0.5]
    assert published[3][PIXEL_METRICS].tolist() == pytest.approx(expected)
    # reversed: at 0.9 one of one, then 61 normal ones, then two more
    found = published[7][["auc_pix", "dice_max", "dice_max_threshold"]]
    assert found.tolist() == pytest.approx([1 / 3, 2 / (1 + 3), 0.9])


def test_the_leak_free_split_leaves_out_images_with_a_twin(setting):
    """Without the second normal image (0.2): scores 0.1 against 0.4 and 0.15, all right."""
    setting.find_twins(0, 0, 1, 0)
    table = setting.measure(scores=setting.scores[:1], maps=setting.maps[:1], seeds=[3])
    counts = table.groupby("split")[["n_normal", "n_abnormal"]].first()
    assert counts.loc["published"].tolist() == [2, 2]
    assert counts.loc["leak_free"].tolist() == [1, 2]
    values = table.pivot(index="metric", columns="split", values="value")
    assert values["published"]["auc"] == 3 / 4
    leak_free = values["leak_free"]
    assert leak_free["auc"] == leak_free["ap"] == 1
    assert leak_free["error_test_normal"] == pytest.approx(0.2)
    assert leak_free["error_train_normal"] == pytest.approx(0.06)
    # 2 of 3 abnormal pixels at 0.5, then 45 normal ones at 0.2, then the last abnormal at 0.1
    assert leak_free["ap_pix"] == pytest.approx(2 / 3 + 1 / 3 * 3 / 48)


@pytest.mark.parametrize("twin", [[1, 0, 1, 0], [0, 1, 0, 1], [1, 1, 1, 1]])
def test_a_leak_free_split_without_a_class_is_left_out(setting, twin, caplog):
    setting.find_twins(*twin)
    assert set(setting.measure()["split"]) == {"published"}
    assert "without leaked images the test set lacks a class" in caplog.text


def test_a_leak_free_split_without_an_abnormal_pixel_is_left_out(setting):
    setting.pack(MASKS * np.array([0, 1, 0, 0], np.uint8)[:, None, None])
    setting.find_twins(0, 1, 0, 0)
    assert set(setting.measure()["split"]) == {"published"}


def test_errors_of_training_images_are_of_those_that_were_used(setting):
    write_table(
        pd.DataFrame({"id": TRAIN_IDS, "seed3": [1, 0, 1], "seed7": 1}), setting.training_rows
    )
    table = setting.measure(training_set="without_random", training_rows=setting.training_rows)
    errors = table[table["metric"] == "error_train_normal"].set_index(["seed", "split"])
    assert errors.loc[3, "value"].tolist() == pytest.approx([0.07, 0.07])
    assert errors.loc[7, "value"].tolist() == pytest.approx([0.06, 0.06])
    assert errors["n_train"].tolist() == [2, 2, 3, 3]


def test_what_a_decision_flags_is_above_its_threshold(setting):
    """Normal images at 0.1 and 0.2, abnormal ones at 0.4 and 0.15 (seed 7: 0.25)."""
    setting.find_twins(0, 0, 1, 0)
    decisions = [setting.output.with_name(f"decision{i}.tsv") for i in range(2)]
    for path, threshold in zip(decisions, (0.1, 0.2), strict=True):  # scores of normal images
        row = decide("squared_error", np.full(20, threshold), np.arange(20), rate=0.05, floor=0.01)
        write_table(pd.DataFrame([row]), path)
    table = setting.measure(decisions=decisions)
    values = table.set_index(["seed", "split", "metric"])["value"].sort_index()
    names = ["false_positive_rate", "sensitivity"]
    assert values[3, "published"][names].tolist() == [1 / 2, 1]
    assert values[3, "leak_free"][names].tolist() == [0, 1]
    assert values[7, "published"][names].tolist() == [0, 1]


def test_without_maps_there_are_no_pixel_metrics(setting):
    setting.pack(masks=None)
    assert setting.measure()["metric"].tolist() == IMAGE_METRICS * 4


# --- files that don't belong together ---


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"test_ids": TEST_IDS[::-1]}, r"test part of .*s1\.tsv lists 4 .*order or repeats differ"),
        ({"test_ids": ["x", *TEST_IDS[1:]]}, r"only one of them has test/1\.png"),
        ({"train_ids": TRAIN_IDS[:1]}, r"training part of .*s1\.tsv lists 1 .* dataset 3"),
        ({"labels": [1, 0, 1, 0]}, r"test labels in .*s1\.tsv are not those"),
        ({"scores": [0.1, 0.2, np.inf, 0.3]}, r"1 of the 4 scores of published test images in"),
    ],
)
def test_scores_of_other_images_are_refused(setting, change, message):
    setting.score(1, **change)
    with pytest.raises(InputError, match=message):
        setting.measure()
    assert not setting.output.exists()


def test_maps_of_other_images_are_refused(setting):
    write_maps(setting.maps[1], MAPS, TEST_IDS[::-1])
    with pytest.raises(InputError, match=r"m1\.h5 lists 4 images.*not the same"):
        setting.measure()
    write_maps(setting.maps[1], MAPS[:, :2], TEST_IDS)
    with pytest.raises(InputError, match=r"m1\.h5: its maps have shape \(4, 2, 4\)"):
        setting.measure()


def without_ids(path):
    with h5py.File(path, "a") as file:
        del file["ids"]


@pytest.mark.parametrize("damage", [Path.unlink, without_ids])
def test_damaged_maps_are_named(setting, damage):
    damage(setting.maps[0])
    with pytest.raises(InputError, match=r"Cannot read the anomaly maps .*m0\.h5"):
        setting.measure()


def test_pixels_of_one_class_are_an_input_error(setting):
    setting.pack(np.zeros_like(MASKS))
    with pytest.raises(
        InputError, match=r"None of the 64 pixels of the published test .*s0\.tsv is abnormal"
    ):
        setting.measure()


def test_reconstruction_errors_must_be_finite(setting):
    table = read_table(setting.scores[0])
    table.loc[1, "reconstruction_error"] = np.inf
    write_table(table, setting.scores[0])
    with pytest.raises(InputError, match="errors of normal train images are not finite"):
        setting.measure()


def test_images_whose_mask_is_not_known_are_left_out_of_pixel_metrics(setting):
    before = setting.measure()
    masks, known = MASKS.copy(), [0, 2, 3]
    masks[1] = UNKNOWN
    setting.pack(masks=masks)
    table = setting.measure()
    found = table.query("seed == 3 and split == 'published'").set_index("metric")["value"]
    pixels = MASKS[known].ravel(), MAPS[known].ravel()
    expected = [roc_auc_score(*pixels), average_precision_score(*pixels)]
    assert found[["auc_pix", "ap_pix"]].tolist() == pytest.approx(expected)
    of_images = table["metric"].isin(IMAGE_METRICS)
    assert table[of_images].equals(before[of_images])
    assert len(summarise(table))  # one number of test images for all metrics
