"""Datasets that are meant to have no abnormal, or no test images at all, through Snakemake."""

import numpy as np
import pytest
from image_files import write_noise
from small_project import ONE_MODEL, SMALL, own_entry

from medae.base.files import read_table

pytestmark = pytest.mark.workflow

CLASSES = {
    "one_class": {"test_abnormal": 0},
    "train_only": {"test_normal": 0, "test_abnormal": 0},
}


@pytest.fixture
def project(fresh, tmp_path):
    parts = ("one_class/train/normal", "one_class/test/normal", "train_only/train/normal")
    write_noise(tmp_path, (f"{part}/{i}.png" for part in parts for i in range(8)), (32, 32))
    (tmp_path / "one_class/test/abnormal").mkdir()  # one that is there, but empty
    return fresh


def configure(project, tmp_path, *names, **changes):
    entries = {
        key: own_entry(tmp_path / key) | {"name": key, "expected": expected}
        for key, expected in CLASSES.items()
    }
    project.configure(
        datasets=list(names),
        registry=SMALL["registry"] | entries,
        **ONE_MODEL,
        image_size=32,
        training=SMALL["training"] | {"snapshots": [1, 2]},
        **changes,
    )


def test_models_scores_audit_and_gallery_are_made_without_a_class(project, tmp_path):
    configure(project, tmp_path, "phantom", *CLASSES)
    project.run(cores=1)
    metrics = read_table(project.results / "metrics.tsv").query(
        "method == 'ae' & split != 'leak_free'"
    )
    found = {key: set(rows["metric"]) for key, rows in metrics.groupby("dataset")}
    assert found["one_class"] == {"error_train_normal", "error_test_normal"}
    assert found["train_only"] == {"error_train_normal"}
    assert {"auc", "ap", "error_test_abnormal"} <= found["phantom"]
    scores = read_table(project.results / "scores/train_only/all/ae/d4/seed0/scores.tsv")
    assert list(scores["split"]) == ["train"] * 8
    assert np.isfinite(scores["score"]).all()
    for name in ("methods", "latent_dimension", "scores"):
        text = (project.results / f"tables/{name}.md").read_text()
        assert "one_class has no abnormal test images" in text
        assert "train_only has no normal and no abnormal test images" in text
        shown = read_table(project.results / f"tables/{name}.tsv")
        assert set(shown["dataset"]) == {"phantom"}
    snapshots = read_table(project.results / "tables/snapshots.tsv")
    assert snapshots[["dataset", "epoch"]].to_numpy().tolist() == [["phantom", 1], ["phantom", 2]]
    audit = (project.results / "tables/audit.md").read_text()
    assert "| Test images, normal + abnormal | 6 + 6 | 8 + 0 | 0 + 0 |" in audit
    pages = [(project.results / f"gallery/{key}.html").read_text() for key in CLASSES]
    assert "8 normal and" in pages[0] and "no test images" in pages[1]

    # Where no dataset can be ranked, what shows ranks says so.
    configure(project, tmp_path, *CLASSES, run="unranked")
    names = ["methods", "latent_dimension", "scores"]
    tables = [f"results/unranked/tables/{name}.md" for name in names]
    figures = [f"results/unranked/figures/{name}.png" for name in names]
    project.run(*tables, *figures, cores=1)
    for name in tables:
        assert "no dataset of this run has both" in (project.folder / name).read_text()
