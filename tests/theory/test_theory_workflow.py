"""All of the theory through Snakemake, on small data."""

import shutil

import pandas as pd
import pytest
from small_project import copy_project

from medae.base.files import read_table

pytestmark = pytest.mark.workflow

PHANTOM = {
    "generator": {"train_normal": 40, "test_normal": 12, "test_abnormal": 12},
    "expected": {"train": 40, "test_normal": 12, "test_abnormal": 12},
}
SELECTION = {
    "datasets": ["phantom"],
    "share": 0.3,
    "seed": 0,
    "anomalies": ["cut_paste", "dark_blob", "bright_blob"],
    "no_anomalies": {"phantom": ["bright_blob"]},
    "recommended": "synthetic_auc",
}
SMALL_THEORY = {
    "grid": [
        {"methods": ["ae"], "latent_dims": [2, 4]},
        {"methods": ["low", "high"], "latent_dims": [8], "datasets": ["phantom"]},
    ],
    "datasets": ["phantom", "few"],
    "variants": {
        "low": {"method": "entropy_ae", "name": "Low λ", "options": {"rate_weight": 1e-5}},
        "high": {"method": "entropy_ae", "name": "High λ", "options": {"rate_weight": 1e-2}},
    },
    "seeds": [0],
    "baselines": {"methods": ["contrast", "pca"], "latent_dims": [4], "training_sets": ["all"]},
    "theory": {
        "entropy": {"rise": 0.1, "metric_images": 4},
        "selection": SELECTION,
        "factors": {"phantom": 16, "few": 2},
    },
    "scoring": {"scores": ["relative", "information", "variance"]},
    "bootstrap": {"replicates": 100},
    "registry": {
        "phantom": PHANTOM,
        "few": PHANTOM
        | {"name": "Few factors", "layout": "folder", "channels": 1}
        | {"masks": True, "epochs": 2},
    },
}
COMPARED = ["entropy", "selection", "factors"]
CHOICES = ["selection/phantom.tsv", "selection/phantom_curves.tsv"]
TARGETS = [f"results/small/tables/{name}.md" for name in (*COMPARED, "methods")]


@pytest.fixture(scope="module")
def theory(root, tmp_path_factory):
    """A project in which all of the theory has run on small data; tests leave it as it is."""
    project = copy_project(root, tmp_path_factory.mktemp("theory"))
    project.configure(**SMALL_THEORY)
    assert {f"compare_{name}" for name in COMPARED} <= project.planned().keys()  # in a whole run
    project.run(*TARGETS)
    return project


def test_results_are_there_and_complete(theory):
    names = [f"tables/{name}.{end}" for name in COMPARED for end in ("md", "tsv", "html")]
    names += [f"figures/{name}.{end}" for name in COMPARED[:1] for end in ("pdf", "png")]
    for name in names:
        assert (theory.results / name).stat().st_size > 0, name
    assert theory.planned(*TARGETS) == {}
    assert "AE[d_auto]" in (theory.results / "tables/methods.md").read_text()
    kinds = read_table(theory.results / "scores/phantom_validation/all/ae/d2/seed0/others.tsv")
    kinds = kinds["id"].str.extract("synthetic/(.*?)/")[0].dropna()
    assert set(kinds) == {"cut_paste", "dark_blob"}


def test_every_model_has_an_entropy_and_those_with_a_rate_have_it(theory):
    tables = [read_table(path) for path in theory.results.glob("entropy/phantom/all/*/*.tsv")]
    found = pd.concat(tables).set_index(["method", "latent_dim", "quantity"])["value"]
    for setting in (("ae", 2), ("ae", 4), ("low", 8), ("high", 8)):
        assert found[(*setting, "gaussian_bits")] >= 0
        for quantity in ("rate_bits", "stream_bits"):
            assert ((*setting, quantity) in found.index) == (setting[0] != "ae")
    assert found["high", 8, "rate_bits"] < found["low", 8, "rate_bits"]


def test_no_selector_sees_the_test_set(theory, root, tmp_path):
    """Normal and abnormal test images change places: the same choices, byte for byte."""
    project = copy_project(root, tmp_path / "project")
    images = project.folder / "images"
    shutil.copytree(theory.results / "raw/phantom", images)
    (images / "test/normal").rename(images / "test/other")
    (images / "test/abnormal").rename(images / "test/normal")
    (images / "test/other").rename(images / "test/abnormal")
    registry = SMALL_THEORY["registry"] | {"phantom": PHANTOM | {"path": "images"}}
    project.configure(**SMALL_THEORY | {"registry": registry})
    project.run(*(f"results/small/{name}" for name in CHOICES))
    for name in CHOICES:
        assert (project.results / name).read_bytes() == (theory.results / name).read_bytes(), name


def test_a_fault_is_named_before_any_job(fresh):
    changed = SMALL_THEORY["theory"] | {"factors": {"phantom": 16}}
    fresh.configure(**SMALL_THEORY | {"theory": changed})
    assert "theory.factors needs two datasets or more" in fresh.fails("--dry-run")
    fresh.configure(**SMALL_THEORY | {"theory": {"factor": {}}})
    text = fresh.fails("--dry-run")
    assert "unknown key 'factor' (did you mean 'factors'?) in theory" in text
