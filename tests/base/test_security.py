"""Nothing that comes from a file is run, whatever its content or its name; no rule has a shell."""

import pickle
import re
from pathlib import Path

import h5py
import numpy as np
import pytest
from image_files import pack_folder, write_noise

from medae.base.errors import InputError
from medae.base.files import read_table, write_table
from medae.data.packed import read_packed
from medae.models.checkpoints import load_tensors
from medae.models.score_files import read_maps, read_scores, score_table, write_maps

ROOT = Path(__file__).parents[2]
RULES = [ROOT / "workflow/Snakefile", *sorted((ROOT / "workflow").rglob("*.smk"))]


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.name)
def test_no_rule_has_a_shell_command(path):
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"^\s*(shell|run)\s*:|\bshell\(", text, flags=re.MULTILINE)


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("read", [load_tensors, read_packed, read_table])
def test_a_pickle_in_place_of_a_file_is_refused_and_not_run(read, tmp_path):
    path, trace = tmp_path / "file", tmp_path / "trace"
    content = pickle.dumps(Bomb(trace))
    path.write_bytes(content)
    with pytest.raises(InputError, match=str(path)):
        read(path)
    assert not trace.exists()
    pickle.loads(content)
    assert trace.exists()


def test_objects_in_an_hdf5_file_are_not_unpickled(tmp_path, packed_dataset):
    path, trace = tmp_path / "maps.h5", tmp_path / "trace"
    with h5py.File(path, "w") as file:
        file.create_dataset("ids", data=packed_dataset.test_ids, dtype=h5py.string_dtype())
        file["maps"] = np.void(pickle.dumps(Bomb(trace)))
    with pytest.raises(InputError, match="Cannot read the anomaly maps"):
        read_maps(path, packed_dataset)
    assert not trace.exists()


# --- names of images -----------------------------------------------------------------------------

ODD_NAMES = ["a b", "-rf", "$(touch trace)", ";touch trace", "| touch trace", 'say "a"', "it's"]
ODD_NAMES += ["tab\tstop", "line\nbreak", "return\r", "back\\slash", "a..b", "{wildcard}", "NA"]
ODD_NAMES += ["=1+1", "<b>x", "é ☃ \U0001f9e0 \u202e", "*?[x]"]


@pytest.fixture
def odd_dataset(tmp_path):
    """A folder of images whose names, and the folder's own, mean something to a shell."""
    root = tmp_path / "my 'images'; $(touch trace)"
    parts = ("train/normal", "test/normal", "test/abnormal")
    write_noise(root, (f"{part}/{name}.png" for part in parts for name in ODD_NAMES), (16, 16))
    return root


@pytest.fixture
def packed_dataset(odd_dataset, tmp_path):
    pack_folder(odd_dataset, tmp_path / "packed.h5", masks=False, source=odd_dataset.name)
    return read_packed(tmp_path / "packed.h5")


def test_odd_names_come_through_packing_scores_and_maps(packed_dataset, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = {path.name for path in tmp_path.rglob("*")}
    data = packed_dataset
    assert set(data.train_ids) >= {f"train/normal/{name}.png" for name in ODD_NAMES}
    scores = np.arange(len(data.train_ids) + len(data.test_ids), dtype=float)
    write_table(score_table(data, scores=scores, errors=scores), Path("scores.tsv"))
    table = read_scores(Path("scores.tsv"), data)
    assert list(table["id"]) == [*data.train_ids, *data.test_ids]
    assert np.array_equal(table["score"], scores)
    maps = data.test_images[:, 0] / 255
    write_maps(Path("maps.h5"), data, maps=maps, reconstructions=None)
    assert np.allclose(read_maps(Path("maps.h5"), data), maps)
    assert {path.name for path in tmp_path.rglob("*")} - before == {"scores.tsv", "maps.h5"}
