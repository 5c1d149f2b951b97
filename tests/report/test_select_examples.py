"""The choice of images by rank, and the file of examples."""

import h5py
import numpy as np
import pytest
from gallery_files import LABELS, SETTINGS, write_gallery_files
from select_examples import select_examples

from medae.data.packed import read_packed
from medae.models.information import INFORMATION
from medae.models.score_files import read_maps, read_scores, rescore
from medae.report.choosing import choose_images


def select(folder, *, reference=SETTINGS[3], **options):
    """Write inputs and the file of examples; return it with the inputs."""
    files = write_gallery_files(folder, **options)
    inputs = {key: files[key] for key in ("packed", "scores", "maps", "settings")}
    select_examples(
        **inputs, reference=reference, information=True, examples=folder / "examples.h5"
    )
    return folder / "examples.h5", files


@pytest.mark.parametrize(
    ("scores", "picked"),
    [
        ([5, 5, 5, 5, 5], "ace"),  # ties are ordered by id
        ([1, 5, 3, 2, 4], "acb"),
        ([3, 2], "bba"),
        ([3], "aaa"),
        ([0, 1] * 6, "akl"),  # even positions first
    ],
)
def test_lowest_median_and_highest_of_each_class(scores, picked):
    labels = np.array([0] * len(scores) + [1])
    chosen = choose_images(labels, np.array([*scores, 0.0]), count=3)
    expected = ["abcdefghijkl".index(letter) for letter in picked]
    assert chosen == {"normal": expected, "abnormal": [len(scores)] * 3}


def test_images_are_evenly_spaced_by_rank():
    labels = np.array([0] * 7 + [1] * 2)
    scores = np.array([6, 0, 5, 1, 4, 2, 3, 9, 8.0])
    chosen = choose_images(labels, scores, count=4)
    assert chosen == {"normal": [1, 5, 4, 0], "abnormal": [8, 8, 8, 7]}


def test_an_empty_class_is_left_out():
    assert choose_images(np.array([0]), np.array([0.0]), count=3) == {"normal": [0, 0, 0]}


@pytest.mark.parametrize(("channels", "masks"), [(1, True), (3, False)])
def test_file_holds_the_images_that_the_reference_chooses(tmp_path, channels, masks):
    path, files = select(tmp_path / "one", channels=channels, masks=masks)
    data = read_packed(files["packed"])
    judged = read_scores(files["scores"][3], data).query("split == 'test'")["score"].to_numpy()
    chosen = choose_images(LABELS, judged, count=3)
    rows = [*chosen["normal"], *chosen["abnormal"]]
    with h5py.File(path) as file:
        roles = ["lowest", "median", "highest"]
        expected = [f"{name} {role}" for name in ("normal", "abnormal") for role in roles]
        assert list(file["roles"].asstr()) == expected
        assert list(file["labels"]) == [0, 0, 0, 1, 1, 1]
        assert list(file["scores"]) == judged[rows].tolist()
        assert file.attrs["reference"] == "vae/d16"
        assert file["images"].dtype == np.float32
        assert np.allclose(file["images"], data.test_images[rows] / 127.5 - 1, atol=1e-6)
        assert ("masks" in file) == masks
        if masks:
            assert np.array_equal(file["masks"], data.test_masks[rows])
        for setting, maps in zip(SETTINGS, files["maps"], strict=True):
            group = file[f"{setting['method']}/d{setting['latent_dim']}"]
            for key in ("maps", "reconstructions"):
                assert group[key].dtype == np.float32
                assert np.array_equal(group[key], read_maps(maps, data, name=key)[rows])
        found = rescore(
            INFORMATION,
            table=read_scores(files["scores"][3], data),
            maps=files["maps"][3],
            truth=data,
            trained_on=np.ones(len(data.train_ids), bool),
            held_out=np.zeros(len(data.train_ids), bool),
            what="",
        )
        assert np.array_equal(file["vae/d16/information"], found[1][rows])
        assert "information" not in file["ae/d1"]
    again, _ = select(tmp_path / "two", channels=channels, masks=masks)
    assert again.read_bytes() == path.read_bytes()
