"""The registry's further datasets, packed from small made-up copies in their real layouts."""

import json

import numpy as np
import pytest
import yaml
from pack_dataset import pack_dataset
from PIL import Image

from medae.data.packed import read_packed

COLOURS = {"train": (200, 30, 40), "normal": (20, 180, 60), "abnormal": (10, 20, 220)}


def save(path, part):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (90, 70), COLOURS[part]).save(path, quality=95)


def make_lag(root):
    lists = {"train": {"0": ["a.jpg", "b.jpg"]}, "test": {"0": ["c.jpg"], "1": ["d.jpg"]}}
    for name, part in zip("abcd", ["train", "train", "normal", "abnormal"], strict=True):
        save(root / "images" / f"{name}.jpg", part)
    (root / "data.json").write_text(json.dumps(lists))


def make_camelyon16(root):
    for name in ("1.png", "2.png"):
        save(root / "train/good" / name, "train")
    save(root / "test/good/3.png", "normal")
    save(root / "test/Ungood/4.png", "abnormal")


def make_isic(root):
    head = "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC"
    nevus, melanoma = "0.0,1.0,0.0,0.0,0.0,0.0,0.0", "1.0,0.0,0.0,0.0,0.0,0.0,0.0"
    parts = {
        "Training": [("ISIC_1", nevus, "train"), ("ISIC_2", nevus, "train")],
        "Test": [("ISIC_3", nevus, "normal"), ("ISIC_4", melanoma, "abnormal")],
    }
    parts["Training"].append(("ISIC_0", melanoma, "abnormal"))  # not normal, so not trained on
    for part, rows in parts.items():
        name = f"ISIC2018_Task3_{part}"
        for image, _, colour in rows:
            save(root / f"{name}_Input" / f"{image}.jpg", colour)
        table = root / f"{name}_GroundTruth" / f"{name}_GroundTruth.csv"
        table.parent.mkdir()
        table.write_text("\n".join([head, *(f"{image},{label}" for image, label, _ in rows)]))


@pytest.mark.parametrize("key", ["lag", "isic", "camelyon16"])
def test_a_further_dataset_packs_from_its_layout(root, tmp_path, key):
    entry = yaml.safe_load((root / "config/datasets.yaml").read_text())["registry"][key]
    {"lag": make_lag, "isic": make_isic, "camelyon16": make_camelyon16}[key](tmp_path / "raw")
    pack_dataset(
        root=tmp_path / "raw",
        packed=tmp_path / "x.h5",
        dataset=key,
        layout=entry["layout"],
        channels=entry["channels"],
        image_size=64,
        masks=entry["masks"],
        expected={"train": 2, "test_normal": 1, "test_abnormal": 1},
        intensity_range=None,
        modality=entry["modality"],
        source=entry["url"],
        workers=1,
    )
    packed = read_packed(tmp_path / "x.h5")
    assert packed.train_images.shape == (2, 1 if key == "lag" else 3, 64, 64)
    assert sorted(packed.test_labels) == [0, 1]
    if key != "lag":
        for image, label in zip(packed.test_images, packed.test_labels, strict=True):
            expected = np.array(COLOURS["abnormal" if label else "normal"])
            assert np.abs(image[:, 32, 32].astype(int) - expected).max() <= 4
