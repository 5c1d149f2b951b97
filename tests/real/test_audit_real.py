"""The audit on real images: known copies of Brain Tumor, and copies planted in clean datasets."""

from pathlib import Path

import pytest
import yaml
from compare_with_phash import found, load, thresholds_of
from copies import FOUND, KINDS, MISSED, recalls
from pack_dataset import pack_dataset
from packed_files import audit

CONFIG = Path(__file__).parents[2] / "config"
OPTIONS = yaml.safe_load((CONFIG / "config.yaml").read_text(encoding="utf-8"))["audit"]
REGISTRY = yaml.safe_load((CONFIG / "datasets.yaml").read_text(encoding="utf-8"))["registry"]
pytestmark = pytest.mark.real_data


def entry_of(dataset, data):
    entry = REGISTRY[dataset]
    if not (data / entry["folder"]).is_dir():
        pytest.skip(f"{data / entry['folder']} is not there")
    return entry


@pytest.fixture(scope="module", params=["lgg", "pediatric_cxr"])
def clean(request, real_data):
    """A dataset whose splits share no patient: images, and the threshold that it calibrates."""
    entry = entry_of(request.param, real_data)
    train, test, labels, ids = load(entry, real_data)
    calibrated, _ = thresholds_of(entry, OPTIONS, train, test, labels, ids, moved=True)
    return train, test, labels[len(train) :], calibrated


def test_planted_copies_are_found(clean):
    train, _, _, threshold = clean
    shares = recalls(train, count=100, threshold=threshold)
    assert set(shares) == set(KINDS)
    for kind in FOUND[:-1]:
        assert shares[kind] >= 0.99, kind
    for kind in MISSED:
        assert shares[kind] < 0.5, kind


def test_few_images_of_other_patients_are_called_copies(clean):
    train, test, labels, threshold = clean
    for label in (0, 1):
        ours, *theirs = found(train, test[labels == label], thresholds=[threshold], moved=True)
        assert ours <= 0.002
        assert theirs[-1] > 0.2  # perceptual hashes at the usual distance of 10


@pytest.mark.parametrize(("moved", "normal", "unmoved"), [(True, 526, 437), (False, 437, 437)])
def test_test_images_of_brain_tumor_that_training_has(moved, normal, unmoved, real_data, tmp_path):
    entry = entry_of("brain_tumor", real_data)
    packed = tmp_path / "packed.h5"
    pack_dataset(
        root=real_data / entry["folder"],
        packed=packed,
        dataset="brain_tumor",
        image_size=64,
        intensity_range=None,
        source=entry["url"],
        workers=1,
        **{key: entry[key] for key in ("layout", "channels", "masks", "expected")},
    )
    options = {"moved": moved, "thresholds": OPTIONS["thresholds"]}
    images, _, table = audit(packed, tmp_path, **options, threshold=OPTIONS["threshold"])
    table = table.set_index("threshold").loc[0.99]
    assert table["test_normal"] == normal
    assert table["test_normal_unmoved"] == unmoved
    assert table["test_abnormal"] == 0
    images = images.query("split == 'test'")
    assert images["twin"].sum() == normal
    assert images["identical"].sum() == 94
