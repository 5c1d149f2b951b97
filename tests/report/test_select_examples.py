import h5py
import numpy as np
import pytest
from gallery_files import IDS, LABELS, SETTINGS, write_gallery_files
from select_examples import choose, select_examples

from medae.base.errors import InputError
from medae.data.packed import read_packed
from medae.models.score_files import read_maps, read_scores

ROLES = [f"{c} {r}" for c in ("normal", "abnormal") for r in ("lowest", "median", "highest")]


def select(folder, *, reference=SETTINGS[0], **options):
    """Write inputs and the file of examples; return it with the inputs."""
    files = write_gallery_files(folder, **options)
    inputs = {key: files[key] for key in ("packed", "scores", "maps", "settings")}
    select_examples(**inputs, reference=reference, examples=folder / "examples.h5")
    return folder / "examples.h5", files


@pytest.mark.parametrize(
    ("scores", "picked"),
    [
        ([5, 5, 5, 5, 5], "ace"),  # ties are ordered by id
        ([1, 5, 3, 2, 4], "acb"),
        ([0, 0, 1, 1, 1], "ace"),  # ascending: a b | c d e
        ([3, 2], "bba"),
        ([3], "aaa"),
    ],
)
def test_lowest_median_and_highest_of_each_class(scores, picked):
    labels = np.array([0] * len(scores) + [1])
    chosen = choose(labels, np.array([*scores, 0.0]))
    assert list(chosen) == ROLES
    assert [*chosen.values()] == ["abcde".index(x) for x in picked] + [len(scores)] * 3


@pytest.mark.parametrize(("label", "missing"), [(0, "abnormal"), (1, "normal")])
def test_empty_class_is_named(label, missing):
    with pytest.raises(InputError, match=f"no {missing} test image"):
        choose(np.array([label]), np.array([0.0]))


@pytest.mark.parametrize(("channels", "masks"), [(1, True), (3, False)])
def test_file_holds_the_chosen_images_of_every_setting(tmp_path, channels, masks):
    path, files = select(tmp_path, channels=channels, masks=masks)
    data = read_packed(files["packed"])
    tables = [read_scores(one, data).query("split == 'test'")["score"] for one in files["scores"]]
    rows = list(choose(LABELS, tables[0].to_numpy()).values())
    with h5py.File(path) as file:
        assert list(file["ids"].asstr()) == [IDS[i] for i in rows]
        assert list(file["roles"].asstr()) == ROLES
        assert list(file["labels"]) == [0, 0, 0, 1, 1, 1]
        assert list(file["scores"]) == tables[0].iloc[rows].tolist()
        assert file.attrs["reference"] == "ae/d1"
        assert file["images"].dtype == np.float32
        assert np.allclose(file["images"], data.test_images[rows] / 127.5 - 1, atol=1e-6)
        assert ("masks" in file) == masks
        if masks:
            assert np.array_equal(file["masks"], data.test_masks[rows])
        for setting, scores, maps in zip(SETTINGS, tables, files["maps"], strict=True):
            group = file[f"{setting['method']}/d{setting['latent_dim']}"]
            assert list(group.attrs["scores"]) == scores.iloc[rows].tolist()
            for key in ("maps", "reconstructions"):
                assert group[key].dtype == np.float32
                assert np.array_equal(group[key], read_maps(maps, data, name=key)[rows])


def test_the_reference_chooses(tmp_path):
    path, _ = select(tmp_path, reference=SETTINGS[3])
    with h5py.File(path) as file:
        assert file.attrs["reference"] == "vae/d16"
        assert list(file["scores"]) == list(file["vae/d16"].attrs["scores"])
        assert list(file["scores"][:3]) == sorted(file["scores"][:3])


def test_equal_inputs_give_equal_bytes(tmp_path):
    one, two = (select(tmp_path / name)[0] for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()


def test_files_about_other_images_are_named(tmp_path):
    with pytest.raises(InputError, match="ae1/scores") as error:
        select(tmp_path, scored=IDS[::-1])
    assert "run the workflow again" in str(error.value)
    assert not list(tmp_path.glob("*examples*"))
