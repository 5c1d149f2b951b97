"""The held-out dataset: whole groups apart, exact masks, and nothing of the test split in it."""

import numpy as np
import pytest
from make_validation_set import make_validation_set
from packed_files import write_audit, write_packed

from medae.data.packed import read_packed
from medae.theory.synthetic import KINDS, find_foreground

SIZE, N_TRAIN, N_TEST = 16, 30, 10
PATTERN = r"patient(\d+)"
COPIES = np.array([0, 1, 2, 0, *range(3, 29)])  # images 0 and 3 are copies, of two patients
TRAIN_IDS = [f"train/patient{row // 3:02}_{row:02}.png" for row in range(N_TRAIN)]


def write_source(folder, *, test_seed=0, train_seed=0, masks=True):
    """Write the packed dataset and its audit; `test_seed` makes all of the test split."""
    train = np.random.default_rng(train_seed).integers(
        40, 255, (N_TRAIN, 1, SIZE, SIZE), dtype=np.uint8
    )
    garbage = np.random.default_rng(test_seed)
    test_masks = garbage.integers(0, 2, (N_TEST, SIZE, SIZE), dtype=np.uint8)
    test_ids = sorted(f"test/{number}.png" for number in garbage.integers(0, 10**6, N_TEST))
    write_packed(
        folder / "packed.h5",
        train,
        garbage.integers(0, 255, (N_TEST, 1, SIZE, SIZE), dtype=np.uint8),
        garbage.permutation([0] * 5 + [1] * 5),
        train_ids=TRAIN_IDS,
        test_ids=test_ids,
        masks=test_masks if masks else None,
        source_sha256=f"of everything {test_seed}",
    )
    groups = [*COPIES, *garbage.integers(0, 60, N_TEST)]
    twin = garbage.integers(0, 2, N_TEST).tolist()
    write_audit(folder / "images.tsv", TRAIN_IDS, test_ids, twin=twin, copy_group=groups)
    return train


def make(folder, **changes):
    files = {"source": folder / "packed.h5", "audit": folder / "images.tsv"}
    options = {"group_pattern": PATTERN, "share": 0.2, "seed": 0, "kinds": list(KINDS)}
    make_validation_set(**files, packed=folder / "out.h5", **options | changes)
    return folder / "out.h5"


@pytest.fixture
def source(tmp_path):
    return write_source(tmp_path)


def test_what_it_holds(source, tmp_path):
    made = read_packed(make(tmp_path))
    images = dict(zip(TRAIN_IDS, source, strict=True))
    assert made.train_ids == sorted(made.train_ids)
    assert made.test_ids == sorted(made.test_ids)
    for name, image in zip(made.train_ids, made.train_images, strict=True):
        assert np.array_equal(image, images[name])
    test = {name: row for row, name in enumerate(made.test_ids)}
    normal = [name for name in made.test_ids if not name.startswith("synthetic/")]
    assert sorted([*made.train_ids, *normal]) == TRAIN_IDS
    expected = [f"synthetic/{kind}/{name}" for kind in KINDS for name in normal]
    assert sorted([*expected, *normal]) == made.test_ids
    for name in normal:
        row = test[name]
        assert made.test_labels[row] == 0
        assert not made.test_masks[row].any()
        assert np.array_equal(made.test_images[row], images[name])
        for kind in KINDS:
            row = test[f"synthetic/{kind}/{name}"]
            assert made.test_labels[row] == 1
            changed = (made.test_images[row] != images[name]).any(axis=0)
            assert np.array_equal(made.test_masks[row] == 1, changed)
            assert not changed[~find_foreground(images[name])].any()
            assert changed.any()


def test_no_patient_and_no_copy_is_on_both_sides(source, tmp_path):
    for seed in range(10):
        made = read_packed(make(tmp_path, seed=seed))
        kept = np.isin(TRAIN_IDS, made.train_ids)
        rows = np.arange(N_TRAIN)
        assert not set(rows[kept] // 3) & set(rows[~kept] // 3)
        assert kept[0] == kept[3]
        assert 3 <= (~kept).sum() <= 9


def test_the_test_split_has_no_influence(source, tmp_path):
    first = make(tmp_path).read_bytes()
    packed = (tmp_path / "packed.h5").read_bytes()
    for number, masks in ((1, True), (2, False)):
        write_source(tmp_path, test_seed=number, masks=masks)
        assert (tmp_path / "packed.h5").read_bytes() != packed
        assert make(tmp_path).read_bytes() == first


def test_the_sum_tells_training_images_and_parameters_apart(source, tmp_path):
    several = [{}, {"seed": 1}, {"share": 0.4}, {"kinds": ["haze"]}, {}]
    sums = [
        read_packed(make(tmp_path, **changes)).attributes["source_sha256"] for changes in several
    ]
    assert sums[0] == sums[-1]
    assert len(set(sums)) == 4
    write_source(tmp_path, train_seed=1)
    assert read_packed(make(tmp_path)).attributes["source_sha256"] not in sums
