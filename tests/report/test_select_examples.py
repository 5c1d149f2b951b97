import runpy
import time
from types import SimpleNamespace

import h5py
import numpy as np
import pandas as pd
import pytest
from select_examples import choose, select_examples

from medae.base.errors import InputError
from medae.base.files import write_table
from medae.data.packed import packed_writer

ROLES = [f"{c} {r}" for c in ("normal", "abnormal") for r in ("lowest", "median", "highest")]
IDS = ["a/1.png", "a/2.png", "a/3.png", "a/4.png", "b/1.png", "b/2.png", "b/3.png", "b/4.png"]
LABELS = np.array([0, 0, 0, 0, 1, 1, 1, 1], np.uint8)
# normal, ascending: 3, 1, 4, 2; abnormal: b/1 and b/3 are equal, then b/2, b/4
SCORES = {"ae/d4": [0.2, 0.9, 0.1, 0.5, 0.3, 0.6, 0.3, 0.8], "vae/d16": list(range(8))}
SETTINGS = [{"method": "ae", "latent_dim": 4}, {"method": "vae", "latent_dim": 16}]
CHOSEN = [2, 0, 1, 4, 6, 7]  # positions in IDS


def write_inputs(folder, *, masks=True, channels=1, test_ids=IDS, scored_ids=IDS, mapped_ids=IDS):
    rng = np.random.default_rng(0)
    shape = (channels, 8, 8)
    images = rng.integers(0, 256, (len(IDS), *shape), dtype=np.uint8)
    outlines = np.zeros((len(IDS), 8, 8), np.uint8)
    outlines[4:, 2:5, 2:5] = 1
    names = {"train_ids": ["t/1.png"], "test_ids": test_ids, "test_labels": LABELS}
    with packed_writer(
        folder / "packed.h5", channels=channels, image_size=8, masks=masks, **names
    ) as writer:
        writer.append("train", images[:1])
        writer.append("test", images, outlines if masks else None)
        texts = ["dataset", "modality", "layout", "source", "source_sha256", "resize_filter"]
        writer.attributes = dict.fromkeys(texts, "toy")
        writer.attributes |= {"intensity_range": "null", "identical_train_test": 0}
    files = {"packed": folder / "packed.h5", "scores": [], "maps": []}
    for setting in SETTINGS:
        name = f"{setting['method']}/d{setting['latent_dim']}"
        where = folder / name
        where.mkdir(parents=True)
        table = {"split": ["train"] + ["test"] * len(IDS), "id": ["t/1.png", *scored_ids]}
        table |= {"label": [0, *LABELS], "score": [0.0, *SCORES[name]]}
        frame = pd.DataFrame(table).assign(reconstruction_error=0.0)
        write_table(frame, where / "scores.tsv")
        with h5py.File(where / "maps.h5", "w") as file:
            file.create_dataset("ids", data=mapped_ids, dtype=h5py.string_dtype())
            file["maps"] = rng.random((len(IDS), 8, 8), dtype=np.float32)
            file["reconstructions"] = rng.random((len(IDS), *shape), dtype=np.float32)
        files["scores"].append(where / "scores.tsv")
        files["maps"].append(where / "maps.h5")
    return files, images, outlines


def select(files, examples, reference=SETTINGS[0]):
    select_examples(**files, settings=SETTINGS, reference=reference, examples=examples)
    return examples


def test_rule_by_hand():
    chosen = choose(ids=IDS, labels=LABELS, scores=np.array(SCORES["ae/d4"]))
    assert list(chosen) == ROLES
    assert list(chosen.values()) == CHOSEN


@pytest.mark.parametrize(
    ("scores", "picked"),
    [
        ([5, 5, 5, 5, 5], "ace"),  # only the ids decide
        ([1, 5, 3, 2, 4], "eac"),  # only the scores decide
        ([0, 0, 1, 1, 1], "cad"),  # ascending: c e | a b d
    ],
)
def test_ties_are_ordered_by_id(scores, picked):
    ids = ["e", "c", "a", "d", "b", "z"]
    chosen = choose(ids=ids, labels=np.array([0] * 5 + [1]), scores=np.array([*scores, 0]))
    assert [ids[chosen[f"normal {r}"]] for r in ("lowest", "median", "highest")] == list(picked)


@pytest.mark.parametrize(("count", "places"), [(1, [0, 0, 0]), (2, [0, 0, 1]), (3, [0, 1, 2])])
def test_small_classes(count, places):
    labels = np.array([0] * count + [1])
    chosen = choose(ids=list("abcd")[: count + 1], labels=labels, scores=np.arange(count + 1.0))
    assert [chosen[f"normal {role}"] for role in ("lowest", "median", "highest")] == places
    assert {chosen[f"abnormal {role}"] for role in ("lowest", "median", "highest")} == {count}


@pytest.mark.parametrize(("label", "missing"), [(0, "abnormal"), (1, "normal")])
def test_empty_class_is_named(label, missing):
    with pytest.raises(InputError, match=f"no {missing} test image"):
        choose(ids=["a"], labels=np.array([label]), scores=np.array([0.0]))


@pytest.mark.parametrize("channels", [1, 3])
def test_file_holds_the_chosen_images_of_every_setting(tmp_path, channels):
    files, images, outlines = write_inputs(tmp_path, channels=channels)
    with h5py.File(select(files, tmp_path / "examples.h5")) as file:
        assert list(file["ids"].asstr()) == [IDS[i] for i in CHOSEN]
        assert list(file["roles"].asstr()) == ROLES
        assert list(file["labels"]) == [0, 0, 0, 1, 1, 1]
        assert list(file["scores"]) == [0.1, 0.2, 0.9, 0.3, 0.3, 0.8]
        assert file.attrs["reference"] == "ae/d4"
        assert file["images"].dtype == np.float32
        assert np.allclose(file["images"], images[CHOSEN] / 127.5 - 1, atol=1e-6)
        assert np.array_equal(file["masks"], outlines[CHOSEN])
        for (name, scores), maps in zip(SCORES.items(), files["maps"], strict=True):
            assert list(file[name].attrs["scores"]) == [scores[i] for i in CHOSEN]
            with h5py.File(maps) as source:
                for key in ("maps", "reconstructions"):
                    assert file[name][key].dtype == np.float32
                    assert np.array_equal(file[name][key], source[key][()][CHOSEN])


def test_the_reference_chooses(tmp_path):
    files, *_ = write_inputs(tmp_path)
    with h5py.File(select(files, tmp_path / "examples.h5", SETTINGS[1])) as file:
        assert list(file["ids"].asstr()) == [IDS[i] for i in (0, 1, 3, 4, 5, 7)]
        assert file.attrs["reference"] == "vae/d16"


def test_dataset_without_masks(tmp_path):
    files, *_ = write_inputs(tmp_path, masks=False)
    with h5py.File(select(files, tmp_path / "examples.h5")) as file:
        assert "masks" not in file


def test_equal_inputs_give_equal_bytes(tmp_path):
    files, *_ = write_inputs(tmp_path)
    one = select(files, tmp_path / "one.h5").read_bytes()
    time.sleep(1.1)  # times in HDF5 files count whole seconds
    assert select(files, tmp_path / "two.h5").read_bytes() == one


@pytest.mark.parametrize(("what", "file"), [("scored_ids", "scores"), ("mapped_ids", "maps")])
def test_files_about_other_images_are_named(tmp_path, what, file):
    files, *_ = write_inputs(tmp_path, **{what: IDS[::-1]})
    with pytest.raises(InputError, match=f"ae/d4/{file}") as error:
        select(files, tmp_path / "examples.h5")
    assert "run the workflow again" in str(error.value)
    assert not list(tmp_path.glob("*examples*"))


def test_lists_of_different_lengths_are_refused(tmp_path):
    files, *_ = write_inputs(tmp_path)
    files["maps"].pop()
    with pytest.raises(ValueError, match="zip"):
        select(files, tmp_path / "examples.h5")
    assert not list(tmp_path.glob("*examples*"))


def test_script_maps_snakemake_to_files(tmp_path, root):
    files, *_ = write_inputs(tmp_path)
    inputs = {
        key: [str(p) for p in f] if isinstance(f, list) else str(f) for key, f in files.items()
    }
    snakemake = SimpleNamespace(
        input=SimpleNamespace(**inputs),
        params=SimpleNamespace(
            settings=[setting | {"seed": 0} for setting in SETTINGS], reference=SETTINGS[0]
        ),
        output=SimpleNamespace(examples=str(tmp_path / "out" / "toy.h5")),
        log=[str(tmp_path / "a.log")],
    )
    path = root / "scripts/report/select_examples.py"
    runpy.run_path(str(path), {"snakemake": snakemake}, run_name="__main__")
    expected = select(files, tmp_path / "direct.h5").read_bytes()
    assert (tmp_path / "out" / "toy.h5").read_bytes() == expected
