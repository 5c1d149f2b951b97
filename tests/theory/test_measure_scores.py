"""The scores of a setting and their metrics, from the files that scoring and packing leave."""

import h5py
import numpy as np
import pandas as pd
import pytest
from measure_scores import measure_scores, noise_floor
from toy_files import write_audit, write_packed

from medae.base.errors import InputError
from medae.base.files import read_table, write_table
from medae.evaluation.ranking import image_metrics, pixel_metrics
from medae.evaluation.stratified import stratified_auc, variance_strata
from medae.models.score_files import score_table
from medae.theory.columns import SCORE_METRIC_COLUMNS
from medae.theory.scores import score_images

N_TRAIN, N_TEST, SIDE, FLOOR = 5, 40, 8, 0.02
LABELS = np.arange(N_TEST) // 2 % 2
NAMES = ["information_w3_x10", "mse", "mse_w3", "relative", "information_w3", "variance"]
TWINS = [0, 1, 7]


class Setting:
    """The files of one setting with two seeds."""

    def __init__(self, folder):
        self.folder = folder
        random = np.random.default_rng(0)
        images = random.integers(0, 256, (N_TEST, 1, SIDE, SIDE), dtype=np.uint8)
        self.masks = np.zeros((N_TEST, SIDE, SIDE), dtype=np.uint8)
        self.masks[LABELS == 1, 2:4, 3:6] = 1
        self.floats = images.astype(np.float32) / np.float32(127.5) - 1
        noise = random.normal(0, 0.2, (2, *images.shape)) * (1 + LABELS[:, None, None, None])
        self.again = (self.floats + noise).astype(np.float32)
        train = np.zeros((N_TRAIN, 1, SIDE, SIDE), dtype=np.uint8)
        split = {"train": train, "test": images, "labels": LABELS, "masks": self.masks}
        self.data = write_packed(folder / "packed.h5", **split)
        write_audit(folder / "audit.tsv", self.data, twins=TWINS)
        for place in range(2):
            self.write_scores(place)
            with h5py.File(folder / f"maps{place}.h5", "w") as file:
                file["reconstructions"] = self.again[place]
                file.create_dataset("ids", data=self.data.test_ids, dtype=h5py.string_dtype())

    def write_scores(self, place, train=FLOOR, test=1.0):
        errors = np.repeat([train, test], [N_TRAIN, N_TEST])
        table = score_table(self.data, scores=errors, errors=errors)
        write_table(table, self.folder / f"scores{place}.tsv")

    def run(self, **changes):
        each = {name: [self.folder / f"{name}{i}.{end}" for i in range(2)] for name, end in FILES}
        options = {"dataset": "toy", "method": "ae", "latent_dim": 16, "seeds": [3, 7]}
        options |= {"packed": self.folder / "packed.h5", "audit": self.folder / "audit.tsv"}
        options |= {"names": NAMES, "pixels": True, "metrics": self.folder / "metrics.tsv"}
        measure_scores(**each | options | changes)
        written = [*each["variants"], self.folder / "metrics.tsv"]
        return read_table(written[-1]), [path.read_bytes() for path in written]


FILES = [("scores", "tsv"), ("maps", "h5"), ("variants", "tsv")]


@pytest.fixture
def setting(tmp_path):
    return Setting(tmp_path)


def test_values_are_those_of_the_modules(setting):
    table, _ = setting.run()
    assert list(table.columns) == SCORE_METRIC_COLUMNS
    values = table.set_index(["seed", "score", "split", "metric"])["value"].sort_index()
    unseen = ~np.isin(np.arange(N_TEST), TWINS)
    variances = setting.floats.var(axis=(1, 2, 3), dtype=float)
    for place, seed in enumerate([3, 7]):
        scores = read_table(setting.folder / f"variants{place}.tsv")
        assert scores.columns.tolist() == ["split", "id", "label", *NAMES]
        assert scores["id"].tolist() == setting.data.test_ids
        for name in NAMES:
            pair = {"images": setting.floats, "reconstructions": setting.again[place]}
            own, maps = score_images(name, **pair, floor=FLOOR)
            np.testing.assert_allclose(scores[name], own, rtol=1e-8)
            maps = maps.astype(np.float32)
            for split, chosen in (("published", unseen | True), ("leak_free", unseen)):
                part = {"labels": LABELS[chosen], "scores": own[chosen]}
                expected = image_metrics(**part, what="")
                strata = variance_strata(variances[chosen])
                (expected["auc_matched"],) = stratified_auc(**part, strata=strata)
                pixels = pixel_metrics(masks=setting.masks[chosen], maps=maps[chosen], what="")
                expected |= {key: pixels[key] for key in ("ap_pix", "dice_max")}
                assert values[seed, name, split].to_dict() == pytest.approx(expected, abs=1e-8)


def test_the_floor_is_of_training_images_only(setting):
    _, first = setting.run()
    before = read_table(setting.folder / "variants0.tsv")
    for place in range(2):
        setting.write_scores(place, test=50.0)
    assert setting.run()[1] == first
    setting.write_scores(0, train=3 * FLOOR)
    setting.run()
    after = read_table(setting.folder / "variants0.tsv")
    changed = [name for name in NAMES if not before[name].equals(after[name])]
    assert changed == [name for name in NAMES if not name.startswith("mse")]


@pytest.mark.parametrize("error", [0.0, np.nan, np.inf])
def test_no_floor_is_an_input_error(error):
    table = pd.DataFrame({"split": ["train", "test"], "reconstruction_error": [error, 1.0]})
    with pytest.raises(InputError, match=r"training images in s\.tsv is (0|nan|inf), so it"):
        noise_floor(table, what="s.tsv")


def test_a_class_of_twins_only_leaves_the_published_split_and_pixels_can_be_left_out(setting):
    write_audit(setting.folder / "audit.tsv", setting.data, twins=np.flatnonzero(LABELS))
    table, _ = setting.run(pixels=False)
    assert set(table["split"]) == {"published"}
    assert set(table["metric"]) == {"auc", "ap", "auc_matched"}


def test_bad_inputs_are_refused(setting):
    with pytest.raises(InputError, match="'ssim' is no score"):
        setting.run(names=["ssim"])
    with h5py.File(setting.folder / "maps1.h5", "a") as file:
        file["reconstructions"][0] = np.inf
    with pytest.raises(InputError, match=r"published test images in mse in .*not finite"):
        setting.run(names=["mse"])
    with h5py.File(setting.folder / "maps1.h5", "a") as file:
        file["ids"][0] = "other"
    with pytest.raises(InputError, match=r"maps1\.h5 lists 40 images"):
        setting.run()
