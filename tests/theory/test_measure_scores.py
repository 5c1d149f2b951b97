"""The scores of a setting and their metrics, from the files that scoring and packing leave."""

import h5py
import numpy as np
import pandas as pd
import pytest
from measure_scores import measure_pixels, measure_scores, noise_floor

from medae.base.errors import InputError
from medae.base.files import read_table, write_table
from medae.data.packed import ATTRIBUTES, packed_writer
from medae.duplicates.audit import IMAGE_COLUMNS
from medae.evaluation.matching import matched_auc, variance_strata
from medae.evaluation.metrics import image_metrics, pixel_metrics
from medae.theory.score_metrics import SCORE_METRIC_COLUMNS
from medae.theory.score_names import parse_variant
from medae.theory.scores import measure_moments, score_images

N_TRAIN, N_TEST, SIDE = 5, 40, 8
TRAIN_IDS = [f"train/{i:02}" for i in range(N_TRAIN)]
TEST_IDS = [f"p{i // 2}/{i:02}" for i in range(N_TEST)]
LABELS = np.arange(N_TEST) // 2 % 2
VARIANTS = ["information_w3_x10", "mse", "mse_w3", "relative", "information_w3", "ncc", "variance"]
TWINS = [0, 1, 7]
FLOOR = 0.02


def make_images(seed=0):
    """Test images (uint8), their masks, and reconstructions of both seeds."""
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (N_TEST, 1, SIDE, SIDE), dtype=np.uint8)
    masks = np.zeros((N_TEST, SIDE, SIDE), dtype=np.uint8)
    masks[LABELS == 1, 2:4, 3:6] = 1
    floats = images.astype(np.float32) / np.float32(127.5) - 1
    noise = random.normal(0, 0.2, (2, *images.shape)) * (1 + LABELS[:, None, None, None])
    return images, masks, floats, (floats + noise).astype(np.float32)


@pytest.fixture
def setting(tmp_path):
    class Setting:
        audit = tmp_path / "images.tsv"
        packed = tmp_path / "packed.h5"
        scores = (tmp_path / "s0.tsv", tmp_path / "s1.tsv")
        maps = (tmp_path / "m0.h5", tmp_path / "m1.h5")
        tables = (tmp_path / "v0.tsv", tmp_path / "v1.tsv")
        metrics = tmp_path / "metrics.tsv"
        images, masks, floats, again = make_images()

        def pack(self, masks=None):
            with packed_writer(
                self.packed,
                channels=1,
                image_size=SIDE,
                train_ids=TRAIN_IDS,
                test_ids=TEST_IDS,
                test_labels=LABELS,
                masks=masks is not None,
            ) as writer:
                writer.append("train", np.zeros((N_TRAIN, 1, SIDE, SIDE), dtype=np.uint8))
                writer.append("test", self.images, masks)
                writer.attributes = {name: kind() for name, kind in ATTRIBUTES.items()}

        def write_audit(self, twins):
            ids = [*TRAIN_IDS, *TEST_IDS]
            frame = pd.DataFrame("", index=range(len(ids)), columns=IMAGE_COLUMNS)
            frame = frame.assign(id=ids, copy_group=range(len(ids)))
            frame["split"] = ["train"] * N_TRAIN + ["test"] * N_TEST
            frame["twin"] = [int(place - N_TRAIN in twins) for place in range(len(ids))]
            write_table(frame, self.audit)

        def write_scores(self, path, train=FLOOR, test=1.0):
            frame = pd.DataFrame({"split": ["train"] * N_TRAIN + ["test"] * N_TEST})
            frame["id"] = [*TRAIN_IDS, *TEST_IDS]
            frame["label"] = [0] * N_TRAIN + list(LABELS)
            frame["score"] = frame["reconstruction_error"] = [train] * N_TRAIN + [test] * N_TEST
            write_table(frame, path)

        def run(self, **changes):
            arguments = {
                "packed": self.packed,
                "audit": self.audit,
                "scores": self.scores,
                "maps": self.maps,
                "dataset": "toy",
                "method": "ae",
                "latent_dim": 16,
                "seeds": [3, 7],
                "variants": VARIANTS,
                "group_pattern": None,
                "replicates": 60,
                "seed": 0,
                "pixels": "metrics",
                "tables": self.tables,
                "metrics": self.metrics,
            }
            measure_scores(**arguments | changes)
            return read_table(self.metrics)

    made = Setting()
    made.pack(made.masks)
    made.write_audit(TWINS)
    for place in range(2):
        made.write_scores(made.scores[place])
        with h5py.File(made.maps[place], "w") as file:
            file["reconstructions"] = made.again[place]
            file.create_dataset("ids", data=TEST_IDS, dtype=h5py.string_dtype())
    return made


def test_values_are_those_of_the_modules(setting):
    table = setting.run()
    assert list(table.columns) == SCORE_METRIC_COLUMNS
    assert table["score"].drop_duplicates().tolist() == VARIANTS
    values = table.set_index(["seed", "score", "split", "metric"])["value"].sort_index()
    unseen = ~np.isin(np.arange(N_TEST), TWINS)
    variances = setting.floats.var(axis=(1, 2, 3), dtype=float)
    for place, seed in enumerate([3, 7]):
        scores = read_table(setting.tables[place])
        assert scores.columns.tolist() == ["split", "id", "label", *VARIANTS]
        assert scores["id"].tolist() == TEST_IDS
        for name in VARIANTS:
            kind, window, multiple = parse_variant(name)
            pair = {"images": setting.floats, "reconstructions": setting.again[place]}
            moments = measure_moments(**pair, window=window)
            own, maps = score_images(kind, **pair, moments=moments, epsilon=multiple * FLOOR)
            np.testing.assert_allclose(scores[name], own, rtol=1e-8)
            for split, chosen in (("published", unseen | True), ("leak_free", unseen)):
                part = {"labels": LABELS[chosen], "scores": own[chosen]}
                expected = image_metrics(**part, what="")
                strata = variance_strata(variances[chosen])
                (expected["auc_matched"],) = matched_auc(**part, strata=strata)
                maps = maps.astype(np.float32)
                pixels = pixel_metrics(masks=setting.masks[chosen], maps=maps[chosen], what="")
                expected |= {key: pixels[key] for key in ("ap_pix", "dice_max")}
                assert values[seed, name, split].to_dict() == pytest.approx(expected, abs=1e-8)


def test_intervals_hold_the_mean_over_seeds(setting):
    table = setting.run(replicates=300)
    means = table.groupby(["score", "split", "metric"])["value"].transform("mean")
    known = table["metric"].isin(["auc", "ap", "auc_matched"])
    assert (table["low"] <= means)[known].all()
    assert (means <= table["high"])[known].all()
    assert table.loc[~known, ["low", "high"]].isna().all(axis=None)
    for _, seeds in table[known].groupby(["score", "split", "metric"]):
        assert len(seeds) == 2
        assert (seeds[["low", "high"]].nunique() == 1).all()


def test_intervals_of_pixels_and_of_patients(setting):
    plain = setting.run()
    grouped = setting.run(group_pattern=r"(p\d+)/", pixels="intervals")
    assert grouped["low"].notna().all()
    assert grouped["value"].equals(plain["value"])
    assert not grouped["low"].equals(plain["low"])


def test_the_same_run_gives_the_same_bytes(setting):
    setting.run()
    first = [path.read_bytes() for path in (*setting.tables, setting.metrics)]
    setting.run()
    assert [path.read_bytes() for path in (*setting.tables, setting.metrics)] == first


def test_the_floor_is_of_training_images_only(setting):
    setting.run()
    first = [path.read_bytes() for path in (*setting.tables, setting.metrics)]
    for path in setting.scores:
        setting.write_scores(path, test=50.0)
    setting.run()
    assert [path.read_bytes() for path in (*setting.tables, setting.metrics)] == first
    before = read_table(setting.tables[0])
    setting.write_scores(setting.scores[0], train=3 * FLOOR)
    setting.run()
    after = read_table(setting.tables[0])
    changed = [name for name in VARIANTS if not before[name].equals(after[name])]
    assert changed == [name for name in VARIANTS if not name.startswith("mse")]


@pytest.mark.parametrize("error", [0.0, np.nan, np.inf])
def test_no_floor_is_an_input_error(error):
    table = pd.DataFrame({"split": ["train", "test"], "reconstruction_error": [error, 1.0]})
    with pytest.raises(InputError, match=r"training images in s\.tsv is (0|nan|inf), so it"):
        noise_floor(table, what="s.tsv")


def test_without_twins_the_leak_free_set_is_the_published_one(setting):
    setting.write_audit([])
    table = setting.run()
    parts = [
        table[table["split"] == split].drop(columns="split") for split in ("published", "leak_free")
    ]
    pd.testing.assert_frame_equal(*(part.reset_index(drop=True) for part in parts))


@pytest.mark.parametrize("label", [0, 1, None])
def test_a_class_of_twins_only_leaves_the_published_split(setting, label):
    setting.write_audit(np.flatnonzero(label == LABELS) if label is not None else range(N_TEST))
    assert set(setting.run()["split"]) == {"published"}


def test_without_masks_there_are_no_pixel_metrics(setting):
    setting.pack()
    assert set(setting.run()["metric"]) == {"auc", "ap", "auc_matched"}


def test_other_images_and_names_are_refused(setting):
    with pytest.raises(InputError, match="'ssim' is no score"):
        setting.run(variants=["ssim"])
    with pytest.raises(ValueError, match="zip"):
        setting.run(seeds=[3])
    with h5py.File(setting.maps[1], "a") as file:
        file["ids"][0] = "other"
    with pytest.raises(InputError, match=r"m1\.h5 lists 40 images"):
        setting.run()


def test_scores_that_are_not_finite_are_refused(setting):
    with h5py.File(setting.maps[1], "a") as file:
        file["reconstructions"][0] = np.inf
    with pytest.raises(InputError, match=r"published test images by .* in .*m1\.h5 are not finite"):
        setting.run(variants=["mse"])


def test_equal_pixels_cross_a_threshold_together():
    random = np.random.default_rng(1)
    maps = random.integers(0, 5, (6, 4, 4)).astype(np.float32)
    masks = random.integers(0, 2, (6, 4, 4)).astype(np.uint8)

    class Part:
        split, groups, weights = "leak_free", None, None
        chosen = np.array([True, False, True, True, False, True])

    found = measure_pixels(maps, masks=masks, parts=[Part], drawn=False)["leak_free"]
    expected = pixel_metrics(masks=masks[Part.chosen], maps=maps[Part.chosen], what="")
    assert {key: value for key, (value, _) in found.items()} == pytest.approx(
        {key: expected[key] for key in found}
    )
