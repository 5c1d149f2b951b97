"""Entropy, scores by information and the choice without labels, through Snakemake."""

import shutil

import pandas as pd
import pytest
from small_project import copy_project

from medae.base.files import read_table

pytestmark = pytest.mark.workflow

THEORY = {
    "grid": [
        {"methods": ["ae"], "latent_dims": [2, 4]},
        {"methods": ["low", "high"], "latent_dims": [8]},
        {"methods": ["vae"], "latent_dims": [4]},
    ],
    "variants": {
        "low": {"method": "entropy_ae", "name": "Low λ", "options": {"rate_weight": 1e-5}},
        "high": {"method": "entropy_ae", "name": "High λ", "options": {"rate_weight": 1e-2}},
    },
    "seeds": [0],
    "baselines": {"methods": ["contrast", "pca"], "latent_dims": [4], "training_sets": ["all"]},
    "entropy": {"enabled": True, "metric_images": 4},
    "scores": ["mse", "relative", "information_w9", "variance_w9"],
    "selection": {"datasets": ["phantom"], "share": 0.3},
    "bootstrap": {"replicates": 100},
    "registry": {
        "phantom": {
            "generator": {"train_normal": 40, "test_normal": 12, "test_abnormal": 12},
            "expected": {"train": 40, "test_normal": 12, "test_abnormal": 12},
        }
    },
}
TABLES = ["entropy", "scores", "selection", "methods"]
FIGURES = ["entropy", "entropy_metrics", "scores", "score_maps_phantom", "selection"]
SELECTION = ["selection/phantom.tsv", "selection/phantom_curves.tsv"]


@pytest.fixture(scope="module")
def theory(root, tmp_path_factory):
    """A project whose small run with all of the theory is done; tests leave it as it is."""
    project = copy_project(root, tmp_path_factory.mktemp("theory"))
    project.configure(**THEORY)
    done = project.snakemake()
    assert done.returncode == 0, done.stdout + done.stderr
    return project


def test_results_are_there_and_complete(theory):
    names = [f"tables/{name}.{end}" for name in TABLES for end in ("md", "tsv", "html")]
    names += [f"figures/{name}.{end}" for name in FIGURES for end in ("pdf", "png")]
    for name in names:
        assert (theory.results / name).stat().st_size > 0, name
    assert theory.planned() == {}
    entropy = read_table(theory.results / "tables/entropy.tsv")
    assert set(entropy["method"]) >= {"ae", "vae", "low", "high"}
    assert "AE[d_auto]" in (theory.results / "tables/methods.md").read_text()


def test_every_model_has_an_entropy_and_those_with_a_rate_have_it(theory):
    tables = [read_table(path) for path in theory.results.glob("entropy/phantom/all/*/*.tsv")]
    found = pd.concat(tables).set_index(["method", "latent_dim", "quantity"])["value"]
    for setting in (("ae", 2), ("ae", 4), ("low", 8), ("high", 8), ("vae", 4)):
        assert found[(*setting, "gaussian_bits")] >= 0
        assert ((*setting, "rate_bits") in found.index) == (setting[0] != "ae")
    assert found["high", 8, "rate_bits"] < found["low", 8, "rate_bits"]


def test_the_coded_stream_is_as_long_as_the_rate(theory):
    for method in ("low", "high"):
        table = read_table(theory.results / f"coded/phantom/all/{method}/d8.tsv")
        values = table.set_index("quantity")["value"]
        assert values["stream_bits"] > 0


def test_squared_error_is_the_score_of_the_other_tables(theory):
    ours = read_table(theory.results / "score_metrics/phantom/all/ae/d4.tsv")
    main = read_table(theory.results / "metrics.tsv").query("method == 'ae' and latent_dim == 4")
    for metric in ("auc", "ap", "ap_pix", "dice_max"):
        mine = ours.query("score == 'mse' and metric == @metric and split == 'published'")["value"]
        other = main.query("metric == @metric and split == 'published'")["value"]
        assert mine.item() == pytest.approx(other.item(), rel=1e-6), metric


def test_no_selector_sees_the_test_set(theory, root, tmp_path):
    """Normal and abnormal test images change places: the same choices, byte for byte."""
    project = copy_project(root, tmp_path / "project")
    images = project.folder / "images"
    shutil.copytree(theory.results / "raw/phantom", images)
    (images / "test/normal").rename(images / "test/other")
    (images / "test/abnormal").rename(images / "test/normal")
    (images / "test/other").rename(images / "test/abnormal")
    entry = THEORY["registry"]["phantom"] | {"path": "images"}
    project.configure(**THEORY | {"registry": {"phantom": entry}})
    done = project.snakemake(*(f"results/small/{name}" for name in SELECTION))
    assert done.returncode == 0, done.stdout + done.stderr
    for name in SELECTION:
        assert (project.results / name).read_bytes() == (theory.results / name).read_bytes(), name
