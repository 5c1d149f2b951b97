"""Other scores of a model's reconstructions, and their metrics, from the files of a setting."""

import h5py
import numpy as np
import pandas as pd
import pytest
from compute_metrics import compute_metrics
from packed_files import write_audit, write_packed

from medae.base.errors import InputError
from medae.base.files import read_table, write_table
from medae.data.packed import read_packed
from medae.evaluation.metrics import METRIC_COLUMNS
from medae.evaluation.ranking import (
    image_metrics,
    pixel_metrics,
    stratified_auc,
    variance_strata,
)
from medae.models.information import local_variance, noise_floor, score_reconstructions
from medae.models.score_files import score_table, write_maps

N_TRAIN, N_TEST, SIDE, SHARE = 5, 40, 8, 0.3
FLOORS = [0.02, 0.05]  # of the seeds
LABELS = np.arange(N_TEST) // 2 % 2
NAMES = ["information_w3_x10", "squared_error_w3", "relative", "information", "variance"]
TWIN = np.isin(np.arange(N_TEST), [0, 1, 7])


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
        self.maps = np.square(self.again - self.floats)[:, :, 0]
        train = np.zeros((N_TRAIN, 1, SIDE, SIDE), dtype=np.uint8)
        self.data = read_packed(
            write_packed(folder / "packed.h5", train, images, LABELS, masks=self.masks)
        )
        ids = self.data.train_ids, self.data.test_ids
        write_audit(folder / "audit.tsv", *ids, twin=TWIN.astype(int).tolist())
        for place, (floor, maps) in enumerate(zip(FLOORS, self.maps, strict=True)):
            scores = np.r_[np.full(N_TRAIN, floor), maps.mean(axis=(1, 2))]
            table = score_table(self.data, scores=scores, errors=scores)
            write_table(table, folder / f"scores{place}.tsv")
            made = {"maps": maps, "reconstructions": self.again[place]}
            write_maps(folder / f"maps{place}.h5", self.data, **made)

    def run(self, **changes):
        each = {name: [self.folder / f"{name}{i}.{end}" for i in range(2)] for name, end in FILES}
        options = {"dataset": "toy", "method": "ae", "latent_dim": 16, "seeds": [3, 7]}
        options |= {"packed": self.folder / "packed.h5", "audit": self.folder / "audit.tsv"}
        options |= {"training_set": "all", "training_rows": None, "share": SHARE}
        options |= {"score_names": NAMES, "metrics": self.folder / "metrics.tsv"}
        compute_metrics(**each | options | changes)
        return read_table(self.folder / "metrics.tsv")


FILES = [("scores", "tsv"), ("maps", "h5"), ("others", "tsv")]


@pytest.fixture
def setting(tmp_path):
    return Setting(tmp_path)


def test_values_are_those_of_the_modules(setting):
    table = setting.run()
    assert list(table.columns) == METRIC_COLUMNS
    errors = table[table["metric"].str.startswith("error")]
    assert set(errors["score"]) == {"squared_error"}  # once, not for every score
    values = table.drop(errors.index).set_index(["seed", "score", "split", "metric"])["value"]
    local = local_variance(setting.floats, 9)
    alike = {
        "auc_matched": setting.floats.var(axis=(1, 2, 3), dtype=float),
        "auc_matched_local": np.log2(local + local.mean() / 10).mean(axis=(1, 2)),
    }
    for place, seed in enumerate([3, 7]):
        scores = read_table(setting.folder / f"others{place}.tsv")
        assert scores.columns.tolist() == ["id", "label", *NAMES]
        assert scores["id"].tolist() == setting.data.test_ids
        pair = {"images": setting.floats, "reconstructions": setting.again[place]}
        found = {name: score_reconstructions(name, **pair, floor=FLOORS[place]) for name in NAMES}
        for name, (own, _) in found.items():
            np.testing.assert_allclose(scores[name], own, rtol=1e-8)
        found["squared_error"] = setting.maps[place].mean(axis=(1, 2)), setting.maps[place]
        for name, (own, maps) in found.items():
            for split, chosen in (("published", TWIN | True), ("leak_free", ~TWIN)):
                part = {"labels": LABELS[chosen], "scores": own[chosen]}
                expected = image_metrics(**part, what="", share=SHARE)
                for metric, variances in alike.items():
                    strata = variance_strata(variances[chosen])
                    expected[metric] = stratified_auc(**part, strata=strata)
                maps = maps.astype(np.float32)
                expected |= pixel_metrics(masks=setting.masks[chosen], maps=maps[chosen], what="")
                measured = values.loc[seed, name, split].to_dict()
                assert measured == pytest.approx(expected, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize(
    ("name", "others"), [("information", [2, 3, 4]), ("information_held_out", [0, 1, 2])]
)
def test_the_floor_is_of_the_images_that_were_used_or_held_out(name, others, setting):
    """Image 2 is neither: it is left out of a training set alone."""
    rows = {"held_out": [0, 0, 0, 1, 1], "group": 0, "seed3": [1, 1, 0, 0, 0], "seed7": 1}
    write_table(pd.DataFrame({"id": setting.data.train_ids, **rows}), setting.folder / "rows.tsv")
    table = read_table(setting.folder / "scores0.tsv")
    table.loc[others, "reconstruction_error"] = 9.0
    write_table(table, setting.folder / "scores0.tsv")
    chosen = {"training_set": "without_random", "training_rows": setting.folder / "rows.tsv"}
    setting.run(**chosen, score_names=[name])
    pair = {"images": setting.floats, "reconstructions": setting.again[0]}
    own, _ = score_reconstructions("information", **pair, floor=FLOORS[0])
    scores = read_table(setting.folder / "others0.tsv")
    np.testing.assert_allclose(scores[name], own, rtol=1e-8)


@pytest.mark.parametrize("error", [0.0, np.nan, np.inf])
def test_no_floor_is_an_input_error(error):
    table = pd.DataFrame({"split": ["train", "test"], "reconstruction_error": [error, 1.0]})
    with pytest.raises(InputError, match=r"training images in s\.tsv is (0|nan|inf), so it"):
        noise_floor(table, what="s.tsv")


def test_bad_inputs_are_refused(setting):
    with h5py.File(setting.folder / "maps1.h5", "a") as file:
        file["reconstructions"][0] = np.inf
    with pytest.raises(InputError, match=r"published test images in relative of .*not finite"):
        setting.run(score_names=["relative"])
