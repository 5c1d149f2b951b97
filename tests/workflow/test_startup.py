"""What is settled before any rule: the user's files, the order of keys, the listed modules."""

import os
import subprocess
import sys

import pytest
import yaml

from medae.workflow.startup import SCRIPTS, fingerprint, imported_modules, sort_keys


def test_fingerprint_sees_files_through_links_and_nothing_else(tmp_path):
    real, linked = tmp_path / "server", tmp_path / "data"
    (real / "train").mkdir(parents=True)
    (real / "train" / "a.png").write_bytes(b"a")
    linked.mkdir()
    (linked / "train").symlink_to(real / "train")
    first = fingerprint(linked)
    assert first == fingerprint(linked) == fingerprint(real)
    (real / "train" / ".DS_Store").touch()
    assert fingerprint(linked) == first
    (real / "train" / "b.png").symlink_to("nowhere")
    second = fingerprint(linked)
    assert second != first
    (real / "train" / os.fsdecode(b"\xff.png")).touch()
    assert fingerprint(linked) != second


def test_sorted_keys_hide_the_order_of_merging():
    assert repr(sort_keys({"b": [{"d": 1, "c": 2}], "a": 1})) == repr(
        {"a": 1, "b": [{"c": 2, "d": 1}]}
    )


SCRIPT_FILES = sorted(p for p in SCRIPTS.rglob("*.py") if "medae" not in p.parts)


@pytest.mark.parametrize("script", SCRIPT_FILES, ids=lambda path: path.stem)
def test_listed_modules_are_those_that_are_imported(script):
    """A script's imports, seen by the interpreter, are the files that its rule lists."""
    code = (
        f"import sys; sys.path[:0] = [{str(SCRIPTS)!r}, {str(script.parent)!r}]; "
        f"import {script.stem}; "
        "print([m.__file__ for n, m in sys.modules.items() if n.startswith('medae.')])"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    loaded = {path for path in yaml.safe_load(printed.replace("'", '"')) if "__init__" not in path}
    listed = {str(path) for path in imported_modules(script)}
    assert loaded <= listed
    # What the `__main__` block imports is listed, and not loaded here.
    tail = imported_modules(SCRIPTS / "medae/base/scripts.py")
    assert listed - loaded <= {str(SCRIPTS / "medae/base/scripts.py"), *map(str, tail)}


NETWORK_SCRIPTS = {"train_autoencoder", "score_images", "score_folder", "measure_entropy"}


def test_torch_is_imported_only_where_networks_run():
    for script in SCRIPT_FILES:
        sources = [script, *imported_modules(script)]
        uses = any("import torch" in path.read_text() for path in sources)
        assert uses == (script.stem in NETWORK_SCRIPTS), script
