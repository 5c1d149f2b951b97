"""The public copies of RSNA: which images are taken, from a made-up tree of the two collections."""

import json

import numpy as np
import pytest
import yaml
from PIL import Image
from rebuild_rsna import NAMES, SPLIT, read_split, rebuild_rsna

from medae.base.errors import InputError
from medae.data.layouts import CLASSES, count_classes, read_layout

TABLE = "class\tnumbers\ntrain\t1503-1505\ntrain\t10000\ntest_normal\t1\ntest_abnormal\t7,9\n"
TRAIN = (1503, 1504, 1505, 10000)


def write_image(path, value, size=16):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((size, size, 3), value, np.uint8)).save(path)


@pytest.fixture
def collections(tmp_path):
    """Two collections with images that aren't wanted, and masks with the images' names."""
    radiography, qu_ex = tmp_path / "radiography", tmp_path / "qu_ex"
    for value, number in enumerate((1501, *TRAIN)):
        write_image(radiography / f"Normal/images/Normal-{number}.png", value)
        write_image(radiography / f"Normal/masks/Normal-{number}.png", 255)
    for part, name, value in [
        ("Train/Normal", "Normal (1).png", 50),
        ("Val/Non-COVID", "non_COVID (7).png", 60),
        ("Test/Non-COVID", "non_COVID (9).png", 70),
        ("Test/Non-COVID", "non_COVID (8).png", 80),
    ]:
        write_image(qu_ex / part / "images" / name, value)
        write_image(qu_ex / part / "lung masks" / name, 255)
    split = tmp_path / "split.tsv"
    split.write_text(TABLE)
    return {"radiography": radiography, "qu_ex": qu_ex, "split": split, "out": tmp_path / "out"}


def test_the_named_images_become_a_dataset(collections):
    rebuild_rsna(**collections)
    records = read_layout(collections["out"], "split_json")
    assert count_classes(records) == {"train": 4, "test_normal": 1, "test_abnormal": 2}
    values = {}
    for record in records:
        with Image.open(record.image) as image:
            assert (image.size, image.mode) == ((128, 128), "L")
            values[record.image.name] = image.getpixel((0, 0))
    assert values == {f"normal_{n:05d}.png": value for value, n in enumerate(TRAIN, 1)} | {
        "test_normal_00001.png": 50,
        "test_opacity_00007.png": 60,
        "test_opacity_00009.png": 70,
    }


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda p: (p / "Train/Normal/images/Normal (1).png").unlink(), "no image 'Normal"),
        (lambda p: write_image(p / "Lung/Normal (1).png", 51), "different images"),
        (lambda p: (p / "Train/Normal/images/Normal (1).png").write_bytes(b"x"), "Cannot read"),
    ],
)
def test_a_bad_collection_is_named_and_nothing_is_written(collections, break_it, message):
    break_it(collections["qu_ex"])
    with pytest.raises(InputError, match=message):
        rebuild_rsna(**collections)
    assert not collections["out"].exists()


def test_the_split_is_that_of_the_rebuilt_set(real_data):
    """The list that the project carries names the files of the set that results were made of."""
    lists = json.loads((real_data / "RSNA/data.json").read_text())
    for name, numbers in read_split(SPLIT).items():
        split, label = CLASSES[name]
        assert [NAMES[name][2].format(n) for n in numbers] == sorted(lists[split][str(label)])


def test_the_split_has_the_registered_numbers(root):
    registry = yaml.safe_load((root / "config/datasets.yaml").read_text())["registry"]
    numbers = {name: len(set(found)) for name, found in read_split(SPLIT).items()}
    assert numbers == registry["rsna_public"]["expected"]
