"""The baselines: nearest training image, principal components, and numbers of an image."""

import logging

import numpy as np
import pandas as pd
import pytest
from packed_files import write_audit, write_packed
from score_baselines import score_baselines
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score

from medae.base.files import read_table, write_table
from medae.data.packed import as_floats, read_packed
from medae.evaluation.metrics import METRIC_COLUMNS
from medae.models import baselines
from medae.models.baselines import BASELINES
from medae.models.information import local_variance, score_reconstructions
from medae.models.score_files import read_maps, read_other_scores


def floats(count, side=8, *, channels=1, seed=0):
    shape = (count, channels, side, side)
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


@pytest.mark.parametrize(("channels", "block"), [(1, 1), (3, 7), (1, 100)])
def test_nearest_equals_brute_force(channels, block, monkeypatch):
    monkeypatch.setattr(baselines, "BLOCK", block)
    train, test = floats(30, channels=channels), floats(20, channels=channels, seed=1)
    test[3] = train[17] * 0.9
    distances = np.square(test[:, None] - train[None]).sum(axis=(2, 3, 4))
    found = BASELINES["nearest"].fit(train, 0).reconstruct(test)
    np.testing.assert_array_equal(found, train[distances.argmin(axis=1)])
    np.testing.assert_array_equal(found[3], train[17])


# Fewer and more images than pixels.
@pytest.mark.parametrize(("count", "side", "channels"), [(20, 8, 1), (100, 4, 1), (40, 4, 3)])
@pytest.mark.parametrize("latent_dim", [1, 3, 10])
def test_components_equal_sklearn(count, side, channels, latent_dim):
    train, test = floats(count, side, channels=channels), floats(9, side, channels=channels, seed=1)
    theirs = PCA(latent_dim, svd_solver="full").fit(train.reshape(count, -1))
    expected = theirs.inverse_transform(theirs.transform(test.reshape(9, -1)))
    # Fitted for more components than are used, as the script does.
    found = BASELINES["pca"].fit(train, 12).reconstruct(test, latent_dim=latent_dim)
    assert found.shape == test.shape
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.reshape(9, -1), expected, atol=1e-5)


def test_more_components_than_the_images_have(caplog):
    train, test = floats(6), floats(4, seed=1)
    model = BASELINES["pca"].fit(train, 50)
    with caplog.at_level(logging.WARNING):
        found = model.reconstruct(test, latent_dim=50)
    assert "d = 50, but the training images have 5 components" in caplog.text
    np.testing.assert_allclose(model.reconstruct(train, latent_dim=50), train, atol=1e-5)
    np.testing.assert_allclose(found, model.reconstruct(test, latent_dim=5), atol=1e-6)


def test_images_that_are_all_alike_have_no_component():
    train = np.repeat(floats(1), 5, axis=0)
    found = BASELINES["pca"].fit(train, 3).reconstruct(floats(2, seed=1), latent_dim=3)
    np.testing.assert_allclose(found, train[:2], atol=1e-6)


def score(folder, runs, **options):
    """Score a dataset with baselines; return the table of each run, and the metrics."""
    paths = [folder / f"{i}.tsv" for i in range(len(runs))]
    given = {"training_sets": {}, "mapped": [], "informed": [], "others": [], "maps": []} | options
    files = {"packed": folder / "p.h5", "audit": folder / "images.tsv"}
    files |= {"scores": paths, "metrics": folder / "metrics.tsv"}
    score_baselines(**files, dataset="toy", runs=runs, share=None, **given)
    return [read_table(path) for path in paths], read_table(files["metrics"], METRIC_COLUMNS)


def test_all_baselines_of_a_dataset(tmp_path):
    """The first test image is the first training image, which one training set leaves out."""
    train, test = (np.random.default_rng(i).integers(0, 256, (4, 1, 16, 16), "u1") for i in (0, 1))
    test[0] = train[0]
    masks = np.zeros((4, 16, 16), np.uint8)
    masks[2:, :4] = 1
    truth = read_packed(write_packed(tmp_path / "p.h5", train, test, [0, 0, 1, 1], masks=masks))
    write_audit(tmp_path / "images.tsv", truth.train_ids, truth.test_ids, twin=[1, 0, 0, 0])
    table = pd.DataFrame({"id": truth.train_ids, "seed0": [0, 1, 1, 1]})
    write_table(table, tmp_path / "without_twins.tsv")
    sources = [("all", "nearest"), ("without_twins", "nearest"), ("all", "pca")]
    sources += [("all", "contrast"), ("all", "intensity")]
    runs = [
        {"training_set": name, "method": method, "latent_dim": 2 * (method == "pca"), "seed": 0}
        for name, method in sources
    ]
    runs.append(runs[2] | {"latent_dim": 4})  # no error on the four training images
    options = {"training_sets": {"without_twins": tmp_path / "without_twins.tsv"}}
    options |= {"mapped": runs[:1], "maps": [tmp_path / "maps.h5"]}
    others = [tmp_path / f"others{d}.tsv" for d in (2, 4)]
    options |= {"informed": [runs[2], runs[-1]], "others": others}
    tables, metrics = score(tmp_path, runs, **options)
    first = [one.query("split == 'test'")["score"].iloc[0] for one in tables]
    assert first[0] == 0 < first[1]
    assert first[3] == pytest.approx(-test[0].var())
    assert first[4] == pytest.approx(test[0].mean() / 127.5 - 1, abs=1e-6)
    assert not read_maps(tmp_path / "maps.h5", truth)[0].any()
    informed = metrics["score"] == "information"
    assert set(metrics.loc[informed, "method"]) == {"pca"}
    assert set(metrics.loc[informed, "latent_dim"]) == {2}
    model = BASELINES["pca"].fit(as_floats(train), 2)
    again, own = (model.reconstruct(as_floats(one), latent_dim=2) for one in (train, test))
    floor = np.square(as_floats(train) - again).mean()
    values, _ = score_reconstructions(
        "information", images=as_floats(test), reconstructions=own, floor=floor
    )
    assert read_other_scores(others[0], truth)["information"].tolist() == pytest.approx(values)
    assert not len(read_other_scores(others[1], truth).columns)
    auc = metrics[informed & (metrics["metric"] == "auc")].set_index("split")["value"]
    assert auc["published"] == pytest.approx(roc_auc_score([0, 0, 1, 1], values))
    metrics = metrics[~informed]
    found = (
        metrics[metrics["latent_dim"] < 4]
        .groupby(["training_set", "method", "split"])["metric"]
        .agg(set)
    )
    assert len(found) == 2 * len(sources)
    pixels = {"auc_pix", "ap_pix", "dice_max", "dice_max_threshold"}
    for split in ("published", "leak_free"):
        assert found["all", "contrast", split] >= {"auc", "ap", "ap_share"}
        assert found["all", "intensity", split] == pixels
        assert found["all", "nearest", split] > pixels | {"auc", "ap", "error_test_normal"}
    assert set(metrics.loc[metrics["training_set"] == "without_twins", "n_train"]) == {3}


def test_low_local_variance_is_the_information_score_without_a_reconstruction():
    """Its ε is a share of the training images' mean local variance, whatever is scored."""
    train, test = floats(6, 12), floats(5, 12, seed=1)
    mean = local_variance(train, 9).mean()
    about = {"images": test, "reconstructions": test}
    for ending, share in {"_low": 0.01, "": 0.1, "_high": 1.0}.items():
        found = BASELINES[f"local_variance{ending}"].pixel_map(test, train)
        _, expected = score_reconstructions("variance", **about, floor=share * mean)
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    flat = np.zeros_like(train)
    assert np.isfinite(BASELINES["local_variance"].pixel_map(flat, flat)).all()
