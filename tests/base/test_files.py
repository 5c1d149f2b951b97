"""Files that appear whole or not at all."""

import errno
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pandas as pd
import pytest

from medae.base.errors import InputError
from medae.base.files import (
    atomic_folder,
    atomic_path,
    check_writable,
    read_table,
    write_table,
    write_text,
)


def test_a_block_that_fails_leaves_the_earlier_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    write_text("first", path)
    with pytest.raises(KeyboardInterrupt), atomic_path(path) as temporary:
        temporary.write_text("second")
        raise KeyboardInterrupt
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


def test_two_writers_at_once_leave_the_file_of_one_of_them(tmp_path):
    path = tmp_path / "a.txt"
    texts = [str(number) * 200_000 for number in range(4)]
    seen = set()
    write_text(texts[0], path)
    with ThreadPoolExecutor(len(texts)) as pool:
        writers = [
            pool.submit(lambda text=text: [write_text(text, path) for _ in range(20)])
            for text in texts
        ]
        while not all(writer.done() for writer in writers):
            seen.add(path.read_text())
    assert all(writer.exception() is None for writer in writers)
    assert seen <= set(texts)
    assert path.read_text() in texts
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_names_the_file(tmp_path):
    with pytest.raises(OSError) as caught, atomic_path(tmp_path / "a.txt"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.filename == str(tmp_path / "a.txt")


def test_another_failure_keeps_its_own_words(tmp_path):
    with pytest.raises(OSError, match="^image file is truncated$"), atomic_path(tmp_path / "a"):
        raise OSError("image file is truncated")
    with pytest.raises(OSError) as caught, atomic_path(tmp_path / "a"):
        raise FileNotFoundError(errno.ENOENT, "No such file", "other")
    assert caught.value.filename == "other"


def test_a_folder_appears_whole_and_replaces_an_empty_one_only(tmp_path):
    path = tmp_path / "new" / "set"
    with pytest.raises(KeyboardInterrupt), atomic_folder(path) as folder:
        (folder / "a").touch()
        raise KeyboardInterrupt
    assert list(path.parent.iterdir()) == []
    path.mkdir()
    with atomic_folder(path) as folder:
        (folder / "a").touch()
        assert list(path.iterdir()) == []
    assert [item.name for item in path.iterdir()] == ["a"]
    assert path.stat().st_mode == path.parent.stat().st_mode
    with pytest.raises(InputError, match="not an empty folder"), atomic_folder(path):
        raise AssertionError("the block must not run")
    assert list(path.parent.iterdir()) == [path]


def test_files_are_as_readable_as_others(tmp_path):
    write_text("x", tmp_path / "a")
    (tmp_path / "b").write_text("x")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_a_damaged_table_is_named(tmp_path):
    (tmp_path / "a.tsv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="a.tsv"):
        read_table(tmp_path / "a.tsv")
    table = pd.DataFrame({"a": ["NA", "return\r"], "b": [0, 1]})
    write_table(table, tmp_path / "a.tsv")
    assert read_table(tmp_path / "a.tsv", ["a", "b"]).equals(table)
    with pytest.raises(InputError, match=r"a.tsv has the columns \['a', 'b'\] instead of \['x'\]"):
        read_table(tmp_path / "a.tsv", ["x"])


def test_a_folder_that_cannot_be_written_is_found(tmp_path, monkeypatch):
    closed = tmp_path / "a" / "closed"
    closed.mkdir(parents=True)
    check_writable(tmp_path)
    access = os.access
    monkeypatch.setattr(os, "access", lambda p, mode: str(p) != str(closed) and access(p, mode))
    with pytest.raises(PermissionError) as caught:
        check_writable(tmp_path)
    assert caught.value.filename == str(closed)


FULL_DISKS = """
import resource, sys
from pathlib import Path
from medae.base.hdf5 import new_hdf5

for limit in (2_000, 20_000, 60_000, 120_000, 150_000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    try:
        with new_hdf5(Path(sys.argv[1])) as file:
            for name in "abcd":
                file.create_dataset(name, (40, 1000), "u1", chunks=(7, 1000))[:] = 1
    except OSError as error:
        print(error.strerror)
"""


def test_a_full_disk_under_an_hdf5_file_is_an_error_and_no_crash(tmp_path):
    """A limit on the size of files, which anyone can set, fails as a full disk does."""
    command = [sys.executable, "-c", FULL_DISKS, str(tmp_path / "a.h5")]
    scripts = os.fspath(next(path for path in sys.path if path.endswith("scripts")))
    done = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": scripts}, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "File too large\n" * 5, "")
