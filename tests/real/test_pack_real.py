"""Packing of the three public datasets in the folder MEDAE_DATA; skipped without it."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from pack_dataset import pack_dataset

from medae.data.packed import read_packed

REGISTRY = yaml.safe_load(
    Path(__file__).parents[2].joinpath("config", "datasets.yaml").read_text(encoding="utf-8")
)["registry"]

pytestmark = pytest.mark.real_data


@pytest.fixture(scope="module", params=["brain_tumor", "lgg", "pediatric_cxr"])
def packed(request, real_data, tmp_path_factory):
    entry = REGISTRY[request.param]
    root = real_data / entry["folder"]
    if not root.is_dir():
        pytest.skip(f"{root} is not there")
    output = tmp_path_factory.mktemp("packed") / "x.h5"
    pack_dataset(
        root=root,
        packed=output,
        dataset=request.param,
        layout=entry["layout"],
        channels=entry["channels"],
        image_size=64,
        masks=entry["masks"],
        expected=entry["expected"],
        modality=entry["modality"],
        source=entry["url"],
        workers=2,
    )
    return read_packed(output)


def test_counts_shapes_and_values(packed):
    entry = REGISTRY[packed.attributes["dataset"]]
    expected = entry["expected"]
    n_test = expected["test_normal"] + expected["test_abnormal"]
    assert packed.train_images.shape == (expected["train"], 1, 64, 64)
    assert packed.test_images.shape == (n_test, 1, 64, 64)
    assert {name: packed.attributes[f"n_{name}"] for name in expected} == expected
    for images in (packed.train_images, packed.test_images):
        assert images.dtype == np.uint8
        assert images.min() == 0
        assert images.max() > 200
        assert (np.ptp(images, axis=(1, 2, 3)) > 30).all()  # none is blank


def test_images_that_are_in_training_and_test(packed):
    # 94 of the 600 normal test images of Brain Tumor are training images under another name.
    known = {"brain_tumor": 94, "lgg": 0, "pediatric_cxr": 0}
    dataset = packed.attributes["dataset"]
    assert packed.attributes["identical_train_test"] == known[dataset]
    train = {image.tobytes() for image in packed.train_images}
    copies = [image.tobytes() in train for image in packed.test_images]
    assert packed.test_labels[copies].tolist() == [0] * known[dataset]


def test_masks_lie_on_abnormal_images_only(packed):
    if packed.attributes["dataset"] != "lgg":
        assert packed.test_masks is None
        return
    areas = packed.test_masks.sum(axis=(1, 2))
    assert packed.test_masks.max() == 1
    assert not areas[packed.test_labels == 0].any()
    vanished = np.flatnonzero((packed.test_labels == 1) & (areas == 0))
    # Of one tumour slice, so few pixels are marked that none is left at 64 × 64.
    assert [packed.test_ids[i] for i in vanished] == [
        "test/tumor/TCGA_FG_7643_20021104_32_flair.png"
    ]
