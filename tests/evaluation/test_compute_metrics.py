"""The metrics of a setting, from the files that scoring and packing leave."""

import h5py
import numpy as np
import pandas as pd
import pytest
from compute_metrics import compute_metrics

from medae.base.errors import InputError
from medae.base.files import read_table, write_table
from medae.data.packed import ATTRIBUTES, packed_writer
from medae.duplicates.audit import IMAGE_COLUMNS
from medae.evaluation.metrics import METRIC_COLUMNS

TRAIN_IDS = ["train/a.png", "train/NA"]
TEST_IDS = ["test/1.png", "test/2.png", "test/ü 3.png", "test/4.png"]
LABELS = [0, 1, 0, 1]
SCORES = [0.1, 0.4, 0.2, 0.15]
IMAGE_METRICS = ["auc", "ap", "error_train_normal", "error_test_normal", "error_test_abnormal"]
PIXEL_METRICS = ["auc_pix", "ap_pix", "dice_max", "dice_max_threshold"]


def masks_and_maps():
    """Masks with three abnormal pixels; maps that miss one of them."""
    masks = np.zeros((4, 4, 4), dtype=np.uint8)
    masks[1, 0, :2] = masks[3, 3, 3] = 1
    return masks, np.where(masks, [[[0.0]], [[0.5]], [[0.0]], [[0.1]]], 0.2).astype(np.float32)


def write_packed(path, masks=None, labels=LABELS):
    with packed_writer(
        path,
        channels=1,
        image_size=4,
        train_ids=TRAIN_IDS,
        test_ids=TEST_IDS,
        test_labels=labels,
        masks=masks is not None,
    ) as writer:
        writer.append("train", np.zeros((2, 1, 4, 4), dtype=np.uint8))
        writer.append("test", np.zeros((4, 1, 4, 4), dtype=np.uint8), masks)
        writer.attributes = {name: kind() for name, kind in ATTRIBUTES.items()}


def write_scores(path, scores=SCORES, test_ids=TEST_IDS, labels=LABELS, train_ids=TRAIN_IDS):
    frame = pd.DataFrame(
        {
            "split": ["train"] * len(train_ids) + ["test"] * len(test_ids),
            "id": [*train_ids, *test_ids],
            "label": [0] * len(train_ids) + list(labels),
            "score": [0.01] * len(train_ids) + list(scores),
        }
    )
    write_table(frame.assign(reconstruction_error=2 * frame["score"]), path)


def write_audit(path, twins=()):
    """The audit of the packed file, with twins at these positions of the test set."""
    ids = [*TRAIN_IDS, *TEST_IDS]
    frame = pd.DataFrame("", index=range(len(ids)), columns=IMAGE_COLUMNS)
    frame["split"] = ["train"] * len(TRAIN_IDS) + ["test"] * len(TEST_IDS)
    frame["id"] = ids
    frame["twin"] = [int(place - len(TRAIN_IDS) in twins) for place in range(len(ids))]
    write_table(frame, path)


def write_maps(path, maps, ids=TEST_IDS):
    with h5py.File(path, "w") as file:
        file["maps"] = maps
        file.create_dataset("ids", data=ids, dtype=h5py.string_dtype())


@pytest.fixture
def setting(tmp_path):
    """Files of a dataset with masks, two seeds, and how to run on them."""

    class Setting:
        audit = tmp_path / "images.tsv"
        scores = (tmp_path / "s0.tsv", tmp_path / "s1.tsv")
        maps = (tmp_path / "m0.h5", tmp_path / "m1.h5")
        packed = tmp_path / "packed.h5"
        output = tmp_path / "metrics.tsv"

        def run(self, **changes):
            arguments = {
                "scores": self.scores,
                "maps": self.maps,
                "packed": self.packed,
                "audit": self.audit,
                "training_rows": None,
                "dataset": "toy",
                "training_set": "all",
                "method": "ae",
                "latent_dim": 16,
                "seeds": [3, 7],
                "output": self.output,
            }
            compute_metrics(**arguments | changes)
            return read_table(self.output)

        def run_published(self, **changes):
            return self.run(**changes).query("split == 'published'").reset_index(drop=True)

    masks, maps = masks_and_maps()
    write_packed(Setting.packed, masks)
    write_audit(Setting.audit)
    write_scores(Setting.scores[0])
    write_scores(Setting.scores[1], [0.1, 0.4, 0.2, 0.25])
    write_maps(Setting.maps[0], maps)
    write_maps(Setting.maps[1], 1 - maps)
    return Setting()


def test_hand_computed_values(setting):
    assert len(setting.run()) == 2 * 2 * 9
    table = setting.run_published()
    assert list(table.columns) == METRIC_COLUMNS
    for column, value in [
        ("dataset", "toy"),
        ("training_set", "all"),
        ("method", "ae"),
        ("latent_dim", 16),
        ("split", "published"),
        ("n_train", 2),
        ("n_normal", 2),
        ("n_abnormal", 2),
    ]:
        assert set(table[column]) == {value}
    values = table.pivot(index="metric", columns="seed", values="value")
    assert values.columns.tolist() == [3, 7]
    assert values[3][IMAGE_METRICS].tolist() == pytest.approx([3 / 4, 5 / 6, 0.02, 0.3, 0.55])
    assert values[7][["auc", "ap"]].tolist() == [1.0, 1.0]
    # 2 of 3 abnormal pixels at 0.5, then 61 normal ones at 0.2, then the last abnormal at 0.1
    assert values[3][PIXEL_METRICS].tolist() == pytest.approx(
        [2 / 3, 2 / 3 + 1 / 3 * 3 / 64, 2 * 2 / (2 + 3), 0.5]
    )
    # reversed: at 0.9 one of one, then 61 normal ones, then two more
    assert values[7][["auc_pix", "dice_max", "dice_max_threshold"]].tolist() == pytest.approx(
        [1 / 3, 2 / (1 + 3), 0.9]
    )


def test_the_leak_free_split_leaves_out_images_with_a_twin(setting):
    """Without the second normal image (0.2): scores 0.1 against 0.4 and 0.15, all right."""
    write_audit(setting.audit, twins=[2])
    table = setting.run(scores=setting.scores[:1], maps=setting.maps[:1], seeds=[3])
    counts = table.groupby("split")[["n_normal", "n_abnormal"]].first()
    assert counts.loc["published"].tolist() == [2, 2]
    assert counts.loc["leak_free"].tolist() == [1, 2]
    values = table.pivot(index="metric", columns="split", values="value")
    assert values["published"]["auc"] == 3 / 4
    assert values["leak_free"]["auc"] == values["leak_free"]["ap"] == 1
    assert values["leak_free"]["error_test_normal"] == pytest.approx(0.2)
    assert values["leak_free"]["error_train_normal"] == pytest.approx(0.02)
    # 2 of 3 abnormal pixels at 0.5, then 45 normal ones at 0.2, then the last abnormal at 0.1
    assert values["leak_free"]["ap_pix"] == pytest.approx(2 / 3 + 1 / 3 * 3 / 48)


@pytest.mark.parametrize("twins", [[0, 2], [1, 3], [0, 1, 2, 3]])
def test_a_class_of_which_all_images_have_twins_leaves_the_published_split(setting, twins):
    write_audit(setting.audit, twins=twins)
    assert set(setting.run()["split"]) == {"published"}


def test_errors_of_training_images_are_of_those_that_were_used(setting, tmp_path):
    rows = tmp_path / "without_random.tsv"
    write_table(pd.DataFrame({"id": ["a", "b", "c"], "seed3": 1, "seed7": 1}), rows)
    with pytest.raises(InputError, match=r"without_random\.tsv is not the training set"):
        setting.run(training_set="without_random", training_rows=rows)
    table = pd.DataFrame({"id": TRAIN_IDS, "seed3": [1, 0], "seed7": [1, 1]})
    write_table(table, rows)
    with pytest.raises(InputError, match=r"Of the 2 training images of '' 1 are left"):
        setting.run(training_set="without_random", training_rows=rows)


def test_an_audit_of_other_images_is_refused(setting):
    table = read_table(setting.audit)
    write_table(table[::-1], setting.audit)
    with pytest.raises(InputError, match=r"images\.tsv is not the audit of this packed dataset"):
        setting.run()


def test_without_maps_there_are_no_pixel_metrics(setting):
    table = setting.run(maps=[])
    assert table["metric"].tolist() == IMAGE_METRICS * 4
    write_packed(setting.packed)
    assert setting.run(maps=[]).equals(table)


def test_values_belong_to_their_seed(setting):
    one = setting.run()
    other = setting.run(scores=setting.scores[::-1], maps=setting.maps[::-1], seeds=[7, 3])
    keys = ["seed", "split", "metric"]
    assert one.sort_values(keys, ignore_index=True).equals(
        other.sort_values(keys, ignore_index=True)
    )


def test_a_file_per_seed_is_needed(setting):
    with pytest.raises(ValueError, match="zip"):
        setting.run(maps=setting.maps[:1])
    with pytest.raises(ValueError, match="zip"):
        setting.run(seeds=[1, 2, 3])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"test_ids": TEST_IDS[::-1]}, r"test part of .*s1\.tsv lists 4 .*order or repeats differ"),
        ({"test_ids": ["x", *TEST_IDS[1:]]}, r"only one of them has test/1\.png"),
        ({"train_ids": TRAIN_IDS[:1]}, r"training part of .*s1\.tsv lists 1 .* dataset 2"),
        ({"labels": [1, 0, 1, 0]}, r"test labels in .*s1\.tsv are not those"),
        ({"scores": [0.1, 0.2, np.inf, 0.3]}, r"1 of the 4 scores of published test images in"),
    ],
)
def test_scores_of_other_images_are_refused(setting, change, message):
    write_scores(setting.scores[1], **change)
    with pytest.raises(InputError, match=message):
        setting.run()
    assert not setting.output.exists()


def test_scores_with_other_columns_are_refused(setting):
    write_table(read_table(setting.scores[0]).drop(columns="label"), setting.scores[0])
    with pytest.raises(InputError, match=r"s0\.tsv has the columns"):
        setting.run()


def test_maps_of_other_images_are_refused(setting):
    _, maps = masks_and_maps()
    write_maps(setting.maps[1], maps, TEST_IDS[::-1])
    with pytest.raises(InputError, match=r"m1\.h5 lists 4 images.*not the same"):
        setting.run()
    write_maps(setting.maps[1], maps[:, :2])
    with pytest.raises(InputError, match=r"m1\.h5 has anomaly maps of shape \(4, 2, 4\)"):
        setting.run()
    write_packed(setting.packed)
    with pytest.raises(InputError, match=r"m0\.h5.*has no masks"):
        setting.run()


@pytest.mark.parametrize("damage", ["missing", "truncated", "incomplete", "other"])
def test_damaged_maps_are_named(setting, damage):
    path = setting.maps[0]
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:500])
    elif damage == "incomplete":
        with h5py.File(path, "a") as file:
            del file["ids"]
    else:
        path.write_text("not HDF5", encoding="utf-8")
    with pytest.raises(InputError, match=r"Cannot read the anomaly maps .*m0\.h5"):
        setting.run()


def test_one_class_is_an_input_error(setting):
    write_packed(setting.packed, labels=[0] * 4)
    for path in setting.scores:
        write_scores(path, labels=[0] * 4)
    with pytest.raises(InputError, match=r"All 4 published test images in .*s0\.tsv are normal"):
        setting.run(maps=[])


def test_empty_masks_are_an_input_error(setting):
    write_packed(setting.packed, np.zeros((4, 4, 4), dtype=np.uint8))
    with pytest.raises(
        InputError, match=r"All 64 pixels of the published test .*s0\.tsv are normal"
    ):
        setting.run()
