"""The table of the last epochs: each is scored with its own weights."""

import numpy as np
import pytest
import torch
from packed_files import write_packed
from score_snapshots import score_snapshots
from sklearn.metrics import roc_auc_score

from medae.base.files import read_table
from medae.models.checkpoints import save_tensors
from medae.models.methods import build
from medae.models.networks import normalise
from medae.report.rows import NothingToShowError

SIZES = {"image_size": 16, "channels": 1, "latent_dim": 2, "width": 4, "hidden_dim": 8}
IMAGES = np.random.default_rng(0).integers(0, 256, (12, 1, 16, 16), np.uint8)
LABELS = [0, 1] * 6


def score(folder, models, labels):
    """Score the snapshots of a training, models by epoch, into t.md, t.html and t.tsv."""
    packed = write_packed(folder / "noise.h5", IMAGES, IMAGES, labels)
    weights = {f"{e}.{k}": v for e, model in models.items() for k, v in model.state_dict().items()}
    snapshots = folder / "snapshots.safetensors"
    description = {"method": "ae", "arguments": SIZES, "training": {"precision": "float32"}}
    save_tensors(snapshots, weights, description)
    run = {"dataset": "noise", "training_set": "all", "method": "ae", "latent_dim": 2, "seed": 0}
    score_snapshots(
        packed=[packed],
        snapshots=[snapshots],
        names={"noise": "Noise"},
        methods={"ae": "AE"},
        runs=[run],
        device="cpu",
        torch_threads=1,
        markdown=folder / "t.md",
        html=folder / "t.html",
        table=folder / "t.tsv",
    )


def test_each_epoch_is_scored_with_its_own_weights(tmp_path):
    models = {}
    for epoch in (10, 9):  # numbers, not texts, are in order
        torch.manual_seed(epoch)
        models[epoch] = build("ae", **SIZES).eval()
    score(tmp_path, models, LABELS)
    table = read_table(tmp_path / "t.tsv")
    assert list(table["epoch"]) == [9, 10]
    images = normalise(torch.from_numpy(IMAGES))
    aucs = []
    for epoch, row in zip([9, 10], table.to_dict("records"), strict=True):
        with torch.no_grad():
            errors = (models[epoch](images) - images).square().mean(dim=(1, 2, 3)).numpy()
        aucs.append(roc_auc_score(LABELS, errors))
        assert row["auc"] == pytest.approx(aucs[-1])
        assert row["normal_error"] == pytest.approx(errors[::2].mean(), rel=1e-4)
    low, high = sorted(aucs)
    text = (tmp_path / "t.md").read_text()
    assert f"| 9 to 10, 2 | {100 * aucs[1]:.1f} | {100 * low:.1f} to {100 * high:.1f} |" in text


def test_a_dataset_without_abnormal_test_images_has_no_table(tmp_path):
    with pytest.raises(NothingToShowError, match="Nothing to rank"):
        score(tmp_path, {1: build("ae", **SIZES)}, [0] * 12)
