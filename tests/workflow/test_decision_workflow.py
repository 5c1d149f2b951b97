"""Held-out images, the threshold that they give, and what it flags, through Snakemake."""

import subprocess
import sys

import numpy as np
import pytest
from small_project import ONE_MODEL

from medae.base.files import read_table
from medae.models.checkpoints import load_tensors
from medae.models.decision import threshold_at

pytestmark = pytest.mark.workflow

SETTING = "phantom/all/ae/d4/seed0"


def test_from_held_out_images_to_flagged_files(fresh):
    counts = {"train": 60, "test_normal": 6, "test_abnormal": 6}
    generator = {"train_normal": 60, "test_normal": 6, "test_abnormal": 6}
    changes = {
        **ONE_MODEL,
        "image_size": 32,
        "registry": {"phantom": {"generator": generator, "expected": counts}},
        "scoring": {"scores": ["information", "information_held_out"]},
        "decision": {"held_out": 0.4, "false_positive_rate": 0.1},
    }
    fresh.configure(**changes)
    shown = ["tables/scores.md", "figures/score_histograms_phantom.png"]
    fresh.run(*(f"results/small/{name}" for name in shown), cores=1)
    drawn = read_table(fresh.results / "audit/phantom/all.tsv")
    held = (drawn["held_out"] == 1).to_numpy()
    assert held.sum() == pytest.approx(24, abs=2)
    model = fresh.results / "models" / SETTING / "checkpoint.safetensors"
    trained = model.stat().st_mtime_ns
    assert load_tensors(model)[1]["n_train"] == (~held).sum()  # no model has seen them

    table = read_table(fresh.results / "scores" / SETTING / "scores.tsv")
    train = table[table["split"] == "train"]
    decision = read_table(model.with_name("decision.tsv")).set_index("score")
    assert list(decision.index) == ["squared_error", "information"]
    own = train.loc[held, "score"].to_numpy()
    assert decision.loc["squared_error", "threshold"] == pytest.approx(threshold_at(own, 0.1))
    floor = train.loc[~held, "reconstruction_error"].mean()
    assert decision["noise_floor"].tolist() == pytest.approx([floor] * 2)
    assert (decision["low"] <= decision["threshold"]).all()
    assert (decision["threshold"] <= decision["high"]).all()

    # ε of held-out images is another than that of images that were trained on.
    others = read_table(fresh.results / "scores" / SETTING / "others.tsv")
    assert not np.allclose(others["information"], others["information_held_out"])

    metrics = read_table(fresh.results / "metrics.tsv").query("split == 'published'")
    metrics = metrics.set_index(["score", "metric"])["value"]
    for name, column in (("squared_error", table["score"]), ("information", others["information"])):
        test = others.assign(score=column.to_numpy()[-len(others) :])
        flagged = (test["score"] > decision.loc[name, "threshold"]).groupby(test["label"]).mean()
        found = metrics[name][["false_positive_rate", "sensitivity"]]
        assert found.tolist() == flagged.tolist()
    printed = (fresh.results / "tables/scores.md").read_text()
    assert "| False-positive rate | Sensitivity |" in printed

    # The held-out files themselves: at most one in ten is flagged, by the information score.
    folder = fresh.folder / "held_out"
    folder.mkdir()
    root = fresh.results / "raw/phantom"
    for name in drawn.loc[held, "id"]:
        (folder / name.replace("/", "_")).write_bytes((root / name).read_bytes())
    command = [sys.executable, "scripts/score_folder.py", str(folder), str(model), "--out", "out"]
    scored = subprocess.run(command, cwd=fresh.folder, capture_output=True, text=True, check=False)
    assert scored.returncode == 0, scored.stderr
    found = read_table(fresh.folder / "out/scores.tsv")
    assert list(found.columns) == ["id", "score", "percentile", "information", "flagged"]
    assert found["information"].is_monotonic_decreasing
    threshold = decision.loc["information", "threshold"]
    rank = int(np.ceil(0.9 * (held.sum() + 1)))
    assert sorted(found["information"])[rank - 1] == pytest.approx(threshold, abs=1e-5)
    apart = (found["information"] - threshold).abs() > 1e-5  # not the image that is the threshold
    assert (found["flagged"] == (found["information"] > threshold))[apart].all()
    assert "which at most 10 % of normal images" in scored.stderr

    fresh.configure(**changes | {"decision": {"held_out": 0.4, "false_positive_rate": 0.2}})
    fresh.run(f"results/small/models/{SETTING}/decision.tsv", cores=1)
    assert model.stat().st_mtime_ns == trained  # another threshold of the same model
    decision = read_table(model.with_name("decision.tsv")).set_index("score")
    assert decision.loc["information", "threshold"] < threshold
