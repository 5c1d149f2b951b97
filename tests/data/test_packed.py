import io
import json
import logging
import os
import shutil
import subprocess
import tracemalloc
from types import SimpleNamespace

import h5py
import numpy as np
import pack_dataset as script
import pytest
from image_files import pack_folder
from packed_files import write_packed
from PIL import Image

import medae.data.packed
from medae.base.errors import InputError
from medae.data.images import Preparation, decode_image, decode_mask
from medae.data.known import UNKNOWN
from medae.data.packed import packed_writer, read_packed

# The attributes that the caller of packed_writer sets.
GIVEN = {"dataset": "toy", "source": "toy", "source_sha256": "0" * 64, "intensity_range": "null"}


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def image(seed, size=(20, 30)):
    return np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)


def dataset(root, *, names=("a.png", "b.png", "c.png"), masks=True, reverse=False):
    """A dataset of layout `folder`; `reverse` creates the files in the opposite order."""
    groups = ["train/normal", "test/normal", "test/abnormal"]
    files = {
        f"{g}/{name}": image(i * 100 + j)
        for i, g in enumerate(groups)
        for j, name in enumerate(names)
    }
    if masks:
        for j, name in enumerate(names):
            files[f"test/mask/{name}"] = (image(900 + j) > 200).astype(np.uint8) * 255
    for name in sorted(files, reverse=reverse):
        save(root / name, files[name])
    return root


def pack(root, output, **changes):
    pack_folder(root, output, **changes)
    return read_packed(output)


def write(path, *, masks=True):
    """Write a packed file of noise; returns what went into it."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (79, 1, 8, 8), dtype=np.uint8)
    content = SimpleNamespace(
        train=images[:70],
        test=images[70:],
        labels=[i % 2 for i in range(9)],
        masks=rng.integers(0, 2, (9, 8, 8), dtype=np.uint8) if masks else None,
        train_ids=[f"t/{i:03}.png" for i in range(70)],
        test_ids=["Größe μ 脳.png", "two\nlines.png", *(f"z{i}.png" for i in range(7))],
    )
    write_packed(path, **vars(content), **GIVEN)
    return content


@pytest.mark.parametrize("masks", [True, False])
def test_what_is_written_is_read(tmp_path, masks):
    content = write(tmp_path / "new" / "x.h5", masks=masks)
    packed = read_packed(tmp_path / "new" / "x.h5")
    np.testing.assert_array_equal(packed.train_images, content.train)
    np.testing.assert_array_equal(packed.test_images, content.test)
    np.testing.assert_array_equal(packed.test_labels, content.labels)
    assert packed.train_images.dtype == packed.test_labels.dtype == np.uint8
    assert (packed.train_ids, packed.test_ids) == (content.train_ids, content.test_ids)
    assert all(type(name) is str for name in packed.test_ids)
    if masks:
        np.testing.assert_array_equal(packed.test_masks, content.masks)
    else:
        assert packed.test_masks is None
    assert packed.attributes == GIVEN | {"schema_version": 1}
    json.dumps(packed.attributes)  # plain Python values


def test_a_writer_that_fails_or_is_not_fed_leaves_nothing(tmp_path):
    arguments = {"channels": 1, "image_size": 8, "masks": False, "train_ids": ["a", "b"]}
    arguments |= {"test_ids": ["c"], "test_labels": [0]}
    with (
        pytest.raises(ValueError, match=r"1 of 2 images of train"),
        packed_writer(tmp_path / "x.h5", **arguments) as writer,
    ):
        writer.append("train", np.zeros((1, 1, 8, 8), np.uint8))
    with pytest.raises(RuntimeError), packed_writer(tmp_path / "x.h5", **arguments):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def assert_refused(path, match):
    with pytest.raises(InputError, match=match) as caught:
        read_packed(path)
    assert str(path) in str(caught.value)
    assert "Delete it and run the workflow again" in str(caught.value)


def test_files_that_are_missing_empty_or_foreign_are_refused(tmp_path):
    path = tmp_path / "x.h5"
    assert_refused(path, r"No such file")
    for content in (b"", b"\x89PNG" * 1000):
        path.write_bytes(content)
        assert_refused(path, r"not a whole packed dataset")
    with h5py.File(path, "w") as file:
        file["train/images"] = np.zeros((3, 1, 8, 8), np.uint8)
        file.attrs["schema_version"] = 1
    assert_refused(path, r"checksum")


def test_files_of_another_version_are_refused(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(medae.data.packed, "SCHEMA_VERSION", 2)
        write(tmp_path / "x.h5")
        assert read_packed(tmp_path / "x.h5").attributes["schema_version"] == 2
    assert_refused(tmp_path / "x.h5", r"schema version 1: its schema_version is 2")
    with monkeypatch.context() as patch:
        patch.delitem(medae.data.packed.ATTRIBUTES, "source")
        write(tmp_path / "x.h5")
    assert_refused(tmp_path / "x.h5", r"source")


def test_a_file_that_is_cut_or_has_a_flipped_bit_anywhere_is_refused(tmp_path):
    path = tmp_path / "x.h5"
    write(path)
    data = path.read_bytes()
    for length in [*range(0, len(data), len(data) // 50), len(data) - 1]:
        path.write_bytes(data[:length])
        assert_refused(path, r"checksum")
    for position in [*range(0, 600, 5), *range(600, len(data), 397)]:
        flipped = bytearray(data)
        flipped[position] ^= 1 << position % 8
        path.write_bytes(flipped)
        assert_refused(path, r"checksum")


@pytest.mark.parametrize("channels", [1, 3])
def test_a_dataset_is_packed_in_order(tmp_path, channels):
    root = dataset(tmp_path / "toy", names=("b.png", "a.png", "ü c.png"))
    packed = pack(root, tmp_path / "x.h5", channels=channels)
    assert packed.train_ids == [f"train/normal/{name}" for name in ("a.png", "b.png", "ü c.png")]
    assert packed.test_ids == sorted(packed.test_ids)
    assert packed.test_labels.tolist() == [1, 1, 1, 0, 0, 0]
    ids = packed.train_ids + packed.test_ids
    images = np.concatenate([packed.train_images, packed.test_images])
    for name, pixels in zip(ids, images, strict=True):
        data = (root / name).read_bytes()
        expected = decode_image(data, channels=channels, image_size=16, preparation=Preparation())
        np.testing.assert_array_equal(pixels, expected.pixels)
    assert not packed.test_masks[3:].any()
    for name, mask in zip(packed.test_ids[:3], packed.test_masks, strict=False):
        data = (root / name.replace("abnormal", "mask")).read_bytes()
        np.testing.assert_array_equal(mask, decode_mask(data, image_size=16).pixels)


def test_the_bytes_depend_on_the_images_only(tmp_path, monkeypatch):
    names = [f"{i}.png" for i in range(20)]
    first = dataset(tmp_path / "first" / "toy", names=names)
    other = dataset(tmp_path / "second" / "toy", names=names, reverse=True)
    for path in other.rglob("*.png"):
        os.utime(path, (1, 1))
    pack(first, tmp_path / "a.h5", workers=1)
    monkeypatch.setattr(script, "BLOCK_BYTES", 7 * 2 * 16 * 16)
    pack(other, tmp_path / "b.h5", workers=4)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


@pytest.mark.skipif(not shutil.which("sha256sum"), reason="needs coreutils")
def test_the_source_sum_can_be_checked_with_coreutils(tmp_path):
    names = "a b.png", "ä.png", "A.png", "two\nlines.png", "back\\slash.png"
    root = dataset(tmp_path / "toy", names=names)
    packed = pack(root, tmp_path / "x.h5")
    command = "find * -type f -print0 | xargs -0 sha256sum | LC_ALL=C sort -k 2 | sha256sum"
    printed = subprocess.run(
        command, shell=True, cwd=root, capture_output=True, check=True, text=True
    ).stdout
    assert packed.attributes["source_sha256"] == printed.split()[0]
    save(root / "test/mask/ä.png", (image(5) > 9).astype(np.uint8))
    changed = pack(root, tmp_path / "x.h5")
    assert changed.attributes["source_sha256"] != packed.attributes["source_sha256"]


def truncate(path):
    path.write_bytes(path.read_bytes()[:-60])


def test_all_bad_files_are_reported_by_kind_and_nothing_remains(tmp_path):
    root = dataset(tmp_path / "toy", names=[f"{i}.png" for i in range(8)])
    for i in range(7):
        truncate(root / f"train/normal/{i}.png")
    truncate(root / "test/normal/0.png")
    (root / "test/abnormal/3.png").write_text("<html>404</html>")
    save(root / "test/mask/5.png", image(0, (30, 20)))
    save(root / "test/normal/i.tif", image(0).astype(np.int32))
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError) as caught:
        pack(root, tmp_path / "out" / "x.h5")
    message = str(caught.value)
    assert message.startswith(f"Cannot use 11 of the files in {root}: 'test/normal/0.png', ")
    assert "'train/normal/3.png' and 3 more ('test/normal/0.png': " in message
    assert "'test/abnormal/3.png' ('test/abnormal/3.png': not readable as an image" in message
    assert "'test/mask/5.png' ('test/mask/5.png': 20 × 30 pixels, its image 30 × 20)" in message
    assert (
        "('test/normal/i.tif': 32-bit values, which have no black and white of their own). Set"
        in message
    )
    assert "Export each mask at the size of its image." in message
    assert list((tmp_path / "out").iterdir()) == []


def test_masks_are_packed_when_the_registry_says_so(tmp_path):
    bare = dataset(tmp_path / "bare", masks=False)
    with pytest.raises(InputError, match=r"has masks, but there are none"):
        pack(bare, tmp_path / "x.h5", masks=True)
    full = dataset(tmp_path / "full")
    packed = pack(full, tmp_path / "x.h5", masks=False)
    assert packed.test_masks is None
    truncate(full / "test/mask/a.png")  # not read
    assert pack(full, tmp_path / "x.h5", masks=False).attributes == packed.attributes


FLAT = np.full((20, 30), 7)
SMALL_PARTS = {  # greatest value of uniform noise, type, and the range that is advised
    "12 of 16 bits": (4095, np.uint16, "[0, 4095]"),
    "14 of 16 bits": (16383, np.uint16, "[0, 16383]"),
    "most of 16 bits": (40000, np.uint16, None),
    "dark 8 bits": (50, np.uint8, "[0, 63]"),
    "most of 8 bits": (200, np.uint8, None),
}


@pytest.mark.parametrize("kind", SMALL_PARTS)
def test_images_that_use_a_small_part_of_their_range_are_noticed(tmp_path, caplog, kind):
    high, dtype, fitting = SMALL_PARTS[kind]
    root = tmp_path / "toy"
    for i, group in enumerate(["train/normal", "test/normal", "test/abnormal"]):
        for j in range(3):
            noise = np.random.default_rng(10 * i + j).integers(0, high + 1, (20, 30))
            noise[3, 4] = np.iinfo(dtype).max  # one bright marker in each hides nothing
            save(root / group / f"{j}.png", noise.astype(dtype))
    save(root / "test/normal/b.png", FLAT.astype(dtype))
    with caplog.at_level(logging.WARNING):
        pack(root, tmp_path / "x.h5", masks=False)
    assert "1 images have the same value in all pixels: 'test/normal/b.png'" in caplog.text
    assert ("a small part of" in caplog.text) == (fitting is not None)
    if fitting:
        assert f"a small part of [0, {np.iinfo(dtype).max}]" in caplog.text
        assert f"set `intensity_range: {fitting}` in the" in caplog.text
        caplog.clear()
        packed = pack(root, tmp_path / "x.h5", masks=False, intensity_range=json.loads(fitting))
        assert json.loads(packed.attributes["intensity_range"]) == json.loads(fitting)
        assert packed.train_images.mean() > 70
        assert "a small part of" not in caplog.text


def test_files_of_8_and_of_more_bits_are_not_mixed_in_silence(tmp_path):
    root = dataset(tmp_path / "toy", masks=False)
    values = np.random.default_rng(0).integers(0, 4096, (20, 30), dtype=np.uint16)
    save(root / "test/normal/z.png", values)
    with pytest.raises(InputError, match=r"9 of 8 bits, such as .*; 1 of more than 8 bits, such "):
        pack(root, tmp_path / "x.h5", masks=False)
    with pytest.raises(InputError, match=r"use 9 of .*8-bit values, for which .*\[0.0, 4095.0\]"):
        pack(root, tmp_path / "x.h5", masks=False, intensity_range=[0, 4095])
    packed = pack(root, tmp_path / "x.h5", masks=False, intensity_range="percentiles")
    assert packed.attributes["intensity_range"] == '"percentiles"'
    means = [image.mean() for image in (*packed.train_images, *packed.test_images)]
    assert np.ptp(means) < 20  # uniform noise, all of it


def test_some_abnormal_images_may_lack_a_mask_and_some_normal_ones_have_one(tmp_path, caplog):
    root = dataset(tmp_path / "toy")
    (root / "test/mask/b.png").unlink()
    (root / "test/mask/c.png").rename(root / "test/mask/c_mask.png")
    save(root / "test/normal/d.png", image(5))
    save(root / "test/mask/d.png", np.zeros((20, 30), np.uint8))
    packed = pack(root, tmp_path / "x.h5")
    assert "1 abnormal images have no mask" in caplog.text
    unknown = (packed.test_masks == UNKNOWN).all(axis=(1, 2))
    assert [packed.test_ids[i] for i in np.flatnonzero(unknown)] == ["test/abnormal/b.png"]
    assert packed.test_masks[~unknown].max() == 1
    save(root / "test/mask/d.png", (image(9) > 99).astype(np.uint8))
    with pytest.raises(InputError, match=r"'test/mask/d.png': a mask of a normal image that is"):
        pack(root, tmp_path / "x.h5")


def test_masks_that_are_inverted_are_refused(tmp_path, caplog):
    root = dataset(tmp_path / "toy")
    inverted = (image(1) > 10).astype(np.uint8) * 255
    save(root / "test/mask/a.png", inverted)
    pack(root, tmp_path / "x.h5")
    assert "1 images have a mask that marks more than 90% of them: 'test/abn" in caplog.text
    save(root / "test/mask/b.png", inverted)
    with pytest.raises(InputError, match=r"2 of 3 masks .* more than 90% .*Black has to be"):
        pack(root, tmp_path / "x.h5")


@pytest.mark.parametrize("fit", ["squash", "pad", "crop"])
def test_images_that_are_far_from_square(tmp_path, fit):
    root = tmp_path / "toy"
    for group in ["train/normal", "test/normal", "test/abnormal"]:
        for i in range(2):
            wide = np.zeros((16, 32), np.uint8)
            wide[:, 8:24] = 200 + i  # the middle square
            save(root / group / f"{i}.png", wide)
    save(root / "test/mask/0.png", wide)
    save(root / "test/mask/1.png", wide)
    packed = pack(root, tmp_path / "x.h5", fit=fit)
    bright = packed.test_images[0, 0] > 100
    expected = np.zeros((16, 16), dtype=bool)
    rows, columns = {
        "squash": (slice(0, 16), slice(4, 12)),
        "pad": (slice(4, 12), slice(4, 12)),
        "crop": (slice(0, 16), slice(0, 16)),
    }[fit]
    expected[rows, columns] = True
    np.testing.assert_array_equal(bright, expected)
    np.testing.assert_array_equal(packed.test_masks[0], expected)
    kept = Preparation.from_json(json.loads(packed.attributes["intensity_range"]))
    assert kept == Preparation(fit=fit)


def test_masks_that_are_or_become_empty_are_logged_and_all_empty_ones_refused(tmp_path, caplog):
    root = dataset(tmp_path / "toy")
    save(root / "test/mask/a.png", np.zeros((20, 30), np.uint8))
    tiny = np.zeros((20, 30), np.uint8)
    tiny[0, 0] = 255
    save(root / "test/mask/b.png", tiny)
    with caplog.at_level(logging.WARNING):
        pack(root, tmp_path / "x.h5", image_size=8)
    assert "1 images are abnormal but have an empty mask: 'test/abnormal/a.png'" in caplog.text
    assert "nothing is left at this size: 'test/abnormal/b.png'" in caplog.text
    save(root / "test/mask/c.png", tiny)
    with pytest.raises(InputError, match="All masks in .* are empty"):
        pack(root, tmp_path / "x.h5", image_size=8)


def test_memory_does_not_grow_with_the_number_of_images(tmp_path, monkeypatch):
    def peak(n_train):
        root = dataset(tmp_path / f"toy{n_train}", masks=False)
        stream = io.BytesIO()
        Image.fromarray(image(0)).save(stream, "PNG")
        for i in range(n_train):
            (root / f"train/normal/x{i}.png").write_bytes(stream.getvalue())
        tracemalloc.start()
        pack_folder(root, tmp_path / "x.h5", masks=False, image_size=128, workers=1)
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    packed_images = 128 * 128 * 300
    monkeypatch.setattr(script, "BLOCK_BYTES", 8 * 128 * 128)
    peak(10)  # imports and caches
    assert peak(310) - peak(10) < 0.4 * packed_images
