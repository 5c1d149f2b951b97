"""Scoring by hand: the workflow's scores for the same files, and refusals that leave nothing."""

import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from pack_dataset import pack_dataset
from PIL import Image
from score_folder import PANELS, draw_pictures, percentiles, run_of, score_folder
from score_images import score_model

from medae.base.errors import InputError
from medae.base.files import read_table, write_table
from medae.data.packed import read_packed
from medae.models import methods
from medae.models.checkpoints import save_checkpoint

CPU = torch.device("cpu")
SIZES = {"image_size": 16, "latent_dim": 2, "width": 4, "hidden_dim": 8}
KINDS = {  # what the files are: (channels, intensity range, array type, greatest value, suffix)
    "grey": (1, None, np.uint8, 255, "png"),
    "12 bit": (1, [0, 4095], np.uint16, 4095, "tiff"),
    "colour": (3, None, np.uint8, 255, "bmp"),
}


def write_images(folder, count, kind="grey", seed=0):
    channels, _, dtype, high, suffix = KINDS[kind]
    folder.mkdir(parents=True)
    random = np.random.default_rng(seed)
    for i in range(count):
        shape = (20 + i % 3, 24, channels)[: 3 if channels > 1 else 2]
        array = random.integers(0, high, shape, endpoint=True).astype(dtype)
        Image.fromarray(array).save(folder / f"{i:02}.{suffix}")


class Run:
    """A run with one untrained model: its images, packed dataset, checkpoint and scores."""

    def __init__(self, folder, kind="grey", train=5, test=3):
        self.folder, self.images = folder / "results/run", folder / "images"
        setting = "mine/all/ae/d2/seed0"
        self.model = self.folder / "models" / setting / "checkpoint.safetensors"
        self.packed = self.folder / "packed/mine_16px.h5"
        self.scores = self.folder / "scores" / setting / "scores.tsv"
        self.out = folder / "new/out"
        self.train = self.images / "train/normal"
        channels, value_range, *_ = KINDS[kind]
        counts = {"train/normal": train, "test/normal": 3, "test/abnormal": test}
        for seed, (part, count) in enumerate(counts.items()):
            write_images(self.images / part, count, kind, seed)
        pack_dataset(
            root=self.images,
            output=self.packed,
            dataset="mine",
            layout="folder",
            channels=channels,
            image_size=16,
            masks=False,
            expected=None,
            intensity_range=value_range,
            modality="none",
            source="none",
            workers=1,
        )
        data = read_packed(self.packed)
        torch.manual_seed(0)
        arguments = SIZES | {"channels": channels}
        description = {"method": "ae", "arguments": arguments, "dataset": "mine", "seed": 0}
        description |= {"dataset_sha256": data.attributes["source_sha256"]}
        description |= {"training": {"torch_threads": torch.get_num_threads()}}
        save_checkpoint(self.model, methods.build("ae", **arguments), description)
        score_model(
            data=data,
            checkpoint=self.model,
            device=CPU,
            batch_size=64,
            table=self.scores,
            latents=self.scores.with_name("latents.h5"),
            maps=self.scores.with_name("maps.h5"),
        )

    def score(self, images=None, **changes):
        arguments = {"model": self.model, "out": self.out, "intensity_range": None, "device": "cpu"}
        score_folder(images=images or self.train, **arguments | changes)
        return read_table(self.out / "scores.tsv")

    def expected(self, part):
        table = read_table(self.scores)
        return table[table["id"].str.startswith(f"{part}/")].reset_index()


@pytest.fixture
def run(tmp_path):
    deterministic = torch.are_deterministic_algorithms_enabled()
    yield Run(tmp_path)
    torch.use_deterministic_algorithms(deterministic)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_files_get_the_scores_of_the_workflow(kind, tmp_path):
    run = Run(tmp_path, kind, train=70, test=66)
    for part, exact in (("train/normal", True), ("test/normal", False), ("test/abnormal", True)):
        found, expected = run.score(run.images / part), run.expected(part)
        assert list(found.columns) == ["id", "score", "percentile"]
        assert [f"{part}/{name}" for name in found["id"]] == list(expected["id"])
        if exact:  # the batches are the workflow's, at least the first one
            assert np.array_equal(found["score"][:64], expected["score"][:64])
        np.testing.assert_allclose(found["score"], expected["score"], rtol=1e-6)
        assert found["score"].std() > 1e-3
        shutil.rmtree(run.out)


def test_percentiles_count_training_images_by_hand(run):
    training = np.array([0.4, 0.1, 0.2, 0.3])
    assert list(percentiles(np.array([0.05, 0.1, 0.25, 0.4, 9]), training)) == [0, 25, 50, 100, 100]
    table = read_table(run.scores)
    table.loc[table["split"] == "train", "score"] = np.arange(5) / 5
    table.loc[table["split"] == "test", "score"] = -1.0  # do not count
    write_table(table, run.scores)
    found = run.score()
    expected = 20 * (np.floor(5 * found["score"]) + 1)
    assert 0 < found["score"].max() < 1
    np.testing.assert_allclose(found["percentile"], expected, rtol=1e-8)


def test_every_image_gets_a_picture(run):
    folder = run.images / "test/normal"
    (folder / "00.png").rename(folder / f"a $b^ 'c'\n{'d' * 200}.png")
    table = run.score(folder)
    assert table["id"].str.contains("\n").sum() == 1
    pictures = sorted((run.out / "pictures").iterdir())
    assert [path.name for path in pictures] == [f"{name}.png" for name in table["id"]]
    sizes = {Image.open(path).size for path in pictures}
    assert len(sizes) == 1
    assert len({path.read_bytes() for path in pictures}) == len(pictures)


def test_pictures_show_each_image_on_one_scale():
    random = np.random.default_rng(0)
    images, again = random.uniform(-1, 1, (2, 3, 1, 8, 8))
    maps = np.stack([np.full((8, 8), value) for value in (0.1, 0.2, 0.4)])
    figures = draw_pictures(images, again, maps, ["a\n", "b\n", "c\n"])
    for i, figure in enumerate(figures):
        axes = {one.get_label(): one.get_images() for one in figure.axes}
        grey = (np.repeat(np.moveaxis(images[i], 0, -1), 3, axis=-1) + 1) / 2
        np.testing.assert_allclose(axes[PANELS[0]][0].get_array(), grey)
        np.testing.assert_allclose(axes[PANELS[1]][0].get_array()[..., 0], (again[i, 0] + 1) / 2)
        np.testing.assert_allclose(axes[PANELS[3]][0].get_array(), grey)
        for layer in (axes[PANELS[2]][0], axes[PANELS[3]][1]):
            assert np.array_equal(layer.get_array(), maps[i])
            assert layer.get_clim() == (0, 0.4)
        np.testing.assert_allclose(axes[PANELS[3]][1].get_alpha(), maps[i] / 0.4)
        assert figure.get_suptitle() == "abc"[i] + "\n"


def test_a_folder_is_scored_twice_to_the_same_bytes(run):
    run.score(run.images / "test/normal")
    first = {path.name: path.read_bytes() for path in run.out.rglob("*.*")}
    shutil.rmtree(run.out)
    run.score(run.images / "test/normal")
    assert {path.name: path.read_bytes() for path in run.out.rglob("*.*")} == first


# --- a model without its run ---


def test_the_run_is_found_by_the_folders_of_the_checkpoint(run):
    found = run_of(run.model)
    assert found[0] == run.folder.resolve()
    assert str(found[1]) == "mine/all/ae/d2/seed0"
    link = run.folder.parent / "link.safetensors"
    link.symlink_to(run.model)
    assert run_of(link) == found
    assert run_of(run.folder.parent / "checkpoint.safetensors") is None


def test_a_model_without_its_run_needs_the_range_and_has_no_percentiles(tmp_path):
    run = Run(tmp_path, "12 bit")
    with_run = run.score()
    alone = shutil.copy(run.model, tmp_path)
    shutil.rmtree(run.out)
    with pytest.raises(InputError, match=r"packed/mine_16px\.h5, which is not there\. Give"):
        run.score(model=type(run.model)(alone))
    found = run.score(model=type(run.model)(alone), intensity_range="[0, 4095]")
    assert np.array_equal(found["score"], with_run["score"])
    assert found["percentile"].isna().all()
    shutil.rmtree(run.out)
    other = run.score(model=type(run.model)(alone), intensity_range="null")
    assert not np.isclose(other["score"], with_run["score"]).any()


def test_a_run_without_scores_gives_no_percentiles(run):
    run.scores.unlink()
    assert run.score()["percentile"].isna().all()


@pytest.mark.parametrize("text", ["", "3", "[1]", "[1, 2, 3]", '"ab"', "0 4095", "[null, 1]"])
def test_a_range_that_is_none_is_refused(text, run):
    with pytest.raises(InputError, match="is neither null nor"):
        run.score(intensity_range=text)


# --- refusals ---


def damage(path):
    path.write_bytes(path.read_bytes()[:-9])


def wrong_range(run):
    return {"intensity_range": "[0, 4095]"}


def no_model(run):
    run.model.unlink()


def damaged_model(run):
    damage(run.model)


def no_checkpoint(run):
    (run.folder / "notes.md").touch()
    return {"model": run.folder / "notes.md"}


def no_folder(run):
    shutil.rmtree(run.train)


def empty_folder(run):
    for path in run.train.iterdir():
        path.unlink()


def folder_within(run):
    shutil.copytree(run.images / "test/normal", run.train / "more")


def damaged_images(run):
    damage(run.train / "02.png")
    (run.train / "03.png").write_text("no image")


def other_colours(run):
    Image.new("LAB", (16, 16)).save(run.train / "lab.tif")


def damaged_scores(run):
    run.scores.write_text("id\tscore\na\t1.0\n")


def training_without_scores(run):
    write_table(read_table(run.scores).assign(score=np.nan), run.scores)


def damaged_dataset(run):
    damage(run.packed)


def another_dataset(run):
    (run.train / "00.png").unlink()
    run.packed.unlink()
    pack_dataset(
        root=run.images,
        output=run.packed,
        layout="folder",
        **{"dataset": "mine", "channels": 1, "image_size": 16, "masks": False, "expected": None},
        **{"intensity_range": None, "modality": "none", "source": "none", "workers": 1},
    )


def a_file_in_the_way(run):
    run.out.parent.mkdir()
    run.out.write_text("mine")


def results_in_the_way(run):
    run.out.mkdir(parents=True)
    (run.out / "notes.md").write_text("mine")


REFUSED = {
    wrong_range: r"was trained with null, as .*mine_16px\.h5 says",
    no_model: r"checkpoint\.safetensors is no model\. Name a file",
    damaged_model: "is not a whole checkpoint",
    no_checkpoint: r"notes\.md is no model",
    no_folder: r"no folder .*train/normal",
    empty_folder: "There is no image in",
    folder_within: "has folders with images in it",
    damaged_images: r"2 of 5 images .*'02\.png', '03\.png' \('02\.png': not readable",
    other_colours: r"1 of 6 images .*'lab\.tif': ",
    damaged_scores: "is not a table of scores",
    training_without_scores: "is not a table of scores",
    damaged_dataset: "is not a whole packed dataset",
    another_dataset: "was trained on other images",
    a_file_in_the_way: "has something in it already",
    results_in_the_way: "has something in it already",
}


@pytest.mark.parametrize(
    ("spoil", "message"), REFUSED.items(), ids=[spoil.__name__ for spoil in REFUSED]
)
def test_what_cannot_be_scored_leaves_nothing(spoil, message, run, tmp_path):
    changes = spoil(run) or {}
    before = {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")}
    with pytest.raises(InputError, match=message) as caught:
        run.score(**changes)
    assert "\n" not in str(caught.value)
    assert {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")} == before


def test_a_failure_while_writing_leaves_nothing(run, monkeypatch):
    def fail(*args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", fail)
    run.out.mkdir(parents=True)
    with pytest.raises(OSError, match="No space"):
        run.score()
    assert [path.name for path in run.out.parent.iterdir()] == ["out"]
    assert not any(run.out.iterdir())


def test_the_command_line(run, root, tmp_path):
    def call(*arguments):
        return subprocess.run(
            [sys.executable, root / "scripts/score_folder.py", *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )

    images = run.images / "test/normal"
    done = call(images, run.model)
    assert done.returncode == 0, done.stderr
    table = read_table(tmp_path / "results/scored/normal/scores.tsv")
    np.testing.assert_allclose(table["score"], run.expected("test/normal")["score"], rtol=1e-6)
    again = call(images, run.model)
    assert again.returncode == 1
    assert "has something in it already" in again.stderr
    assert "Traceback" not in again.stderr
    assert call(images).returncode == 2
