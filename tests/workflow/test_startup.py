"""What is settled before any rule: the user's files, the order of keys, the listed modules."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from itertools import product
from pathlib import Path

import pytest

from medae.base.errors import InputError
from medae.workflow.content import images_digest
from medae.workflow.startup import SCRIPTS, imported_modules


@pytest.fixture
def digest(tmp_path, monkeypatch):
    """A function that returns the digest of a folder with masks, and the names that were read."""
    monkeypatch.setattr("medae.workflow.content.SETTLED", 0)
    files = ["train/normal/a", "train/normal/b", "test/normal/a", "test/abnormal/a", "test/mask/a"]
    for number, name in enumerate(files):
        path = tmp_path / "data" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"%d" % number)
    time.sleep(0.02)  # until the clock of the disk goes on
    read = []

    def digest(root=tmp_path / "data", *, masks=True, **options):
        read.clear()

        def file_digest(stream, kind):
            read.append(Path(stream.name).relative_to(root).as_posix())
            return hashlib.new(kind, stream.read())

        with monkeypatch.context() as patch:
            patch.setattr("medae.workflow.content.hashlib.file_digest", file_digest)
            options = {"layout": "folder", "expected": None} | options
            return images_digest(root, masks=masks, cache=tmp_path / "cache.json", **options)

    digest.root, digest.read = tmp_path / "data", read
    return digest


def test_the_digest_is_of_content_and_reads_only_what_has_changed(digest, tmp_path):
    first = digest()
    assert len(digest.read) == 5
    assert digest() == first and digest.read == []
    file = digest.root / "train/normal/a.png"
    os.utime(file, (1, 1))
    (digest.root / "notes.txt").write_text("not packed")
    (digest.root / "train/normal/Thumbs.db").touch()
    assert digest() == first and digest.read == ["train/normal/a.png"]
    shutil.copytree(digest.root, tmp_path / "moved")
    (tmp_path / "linked").symlink_to("moved")
    assert digest(tmp_path / "moved") == digest(tmp_path / "linked") == first
    assert digest(masks=False) not in (first, digest(tmp_path / "moved"))


def test_the_order_of_a_folder_does_not_count_and_masks_of_volumes_do(tmp_path, monkeypatch):
    """Without pixel metrics too, since masks say which slices are abnormal."""
    for part, kind in product(("train/a", "train/b", "test/c"), ("flair", "seg")):
        path = tmp_path / "data" / part / f"x_{kind}.nii"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(part + kind)

    def digest(run):
        options = {"layout": "volumes", "masks": False, "expected": None}
        return images_digest(tmp_path / "data", cache=tmp_path / f"{run}.json", **options)

    first, listed = digest(1), Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda path: reversed(list(listed(path))))
    assert digest(2) == first
    (tmp_path / "data/test/c/x_seg.nii").write_text("corrected")
    assert digest(3) != first


def test_a_label_that_changes_alone_counts(tmp_path):
    """The same images under the same names: stale, they would keep the AUC of the wrong label."""
    (tmp_path / "data/images").mkdir(parents=True)
    for name in "abcd":
        (tmp_path / f"data/images/{name}.png").write_text(name)

    def digest(normal, abnormal):
        lists = {"train": {"0": ["a.png", "b.png"]}, "test": {"0": [normal], "1": [abnormal]}}
        (tmp_path / "data/data.json").write_text(json.dumps(lists))
        options = {"layout": "split_json", "masks": False, "expected": None}
        return images_digest(tmp_path / "data", cache=tmp_path / "cache.json", **options)

    first = digest("c.png", "d.png")
    assert digest("d.png", "c.png") != first == digest("c.png", "d.png")


@pytest.mark.parametrize("name", ["train/normal/a.png", "test/mask/a.png"])
def test_a_file_of_equal_name_size_and_time_is_another_one(digest, name):
    first, file = digest(), digest.root / name
    status = file.stat()
    file.write_bytes(b"x")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    second = digest()
    assert second != first and digest.read == [name]
    other = file.with_name("other")
    other.write_bytes(b"y")
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(file)
    assert digest() not in (first, second)


def test_a_file_that_is_younger_than_the_clocks_tick_is_read_again(digest, monkeypatch):
    monkeypatch.setattr("medae.workflow.content.SETTLED", 10**15)
    assert digest() == digest() and len(digest.read) == 5


def test_names_and_numbers_of_images_count(digest):
    first = digest()
    (digest.root / "train/normal/b.png").rename(digest.root / "train/normal/c.png")
    assert digest() != first
    with pytest.raises(InputError, match="2 instead of 3 of train"):
        digest(expected={"train": 3})


SCRIPT_FILES = sorted(
    p for p in SCRIPTS.rglob("*.py") if "medae" not in p.relative_to(SCRIPTS).parts
)

NETWORK_SCRIPTS = {"copy_weights", "score_snapshots", "train_autoencoder", "score_images"}
NETWORK_SCRIPTS |= {"score_folder", "measure_entropy"}


# Each in a fork of a process that has what most of them import, and nothing of the project.
IMPORT_EACH = """
import json, os, sys
import h5py, matplotlib.figure, numpy, pandas
assert "torch" not in sys.modules
for path in sys.argv[2:]:
    if not os.fork():
        folder, name = os.path.split(path)
        sys.path[:0] = [sys.argv[1], folder]
        __import__(name.removesuffix(".py"))
        files = [m.__file__ for n, m in sys.modules.items() if n.startswith("medae.")]
        print(json.dumps([files, "torch" in sys.modules]), flush=True)
        os._exit(0)
    assert os.wait()[1] == 0, path
"""


def test_listed_modules_are_those_that_are_imported():
    """A script's imports, seen by the interpreter, are the files that its rule lists."""
    command = [sys.executable, "-c", IMPORT_EACH, SCRIPTS, *SCRIPT_FILES]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    # What the `__main__` block imports is listed, and not loaded here.
    tail = {SCRIPTS / "medae/base/scripts.py", *imported_modules(SCRIPTS / "medae/base/scripts.py")}
    for script, line in zip(SCRIPT_FILES, done.stdout.splitlines(), strict=True):
        files, has_torch = json.loads(line)
        # torch takes seconds to import
        assert has_torch == (script.stem in NETWORK_SCRIPTS), script.stem
        loaded = {Path(path) for path in files if "__init__" not in path}
        listed = set(imported_modules(script))
        assert loaded <= listed, f"{script.stem}: {loaded - listed}"
        assert listed - loaded <= tail, f"{script.stem}: {listed - loaded - tail}"
