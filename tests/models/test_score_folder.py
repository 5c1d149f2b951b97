"""Scoring by hand: the workflow's scores for the same files, and refusals that leave nothing."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
import torch
from dicom_files import PATIENT, dicom
from image_files import pack_folder
from PIL import Image
from score_folder import PANELS, draw_picture, read_images, score_folder
from score_images import score_images

from medae.base.errors import InputError
from medae.base.files import read_table, write_table
from medae.data.images import Preparation, load_file, percentile_range
from medae.data.layouts import Record
from medae.data.packed import read_packed
from medae.models import methods
from medae.models.checkpoints import load_checkpoint, save_checkpoint
from medae.models.decision import DECISION_COLUMNS

BATCH_SIZE = 4  # smaller than a folder
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

    def __init__(self, folder):
        results, setting = folder / "results/run", "mine/all/ae/d2/seed0"
        self.model = results / "models" / setting / "checkpoint.safetensors"
        self.scores = results / "scores" / setting / "scores.tsv"
        self.images, self.train = folder / "images", folder / "images/train/normal"
        self.packed, self.out = folder / "packed.h5", folder / "out"

    def make(self, kind):
        channels, value_range, *_ = KINDS[kind]
        counts = {"train/normal": 5, "test/normal": 3, "test/abnormal": 3}
        for seed, (part, count) in enumerate(counts.items()):
            write_images(self.images / part, count, kind, seed)
        options = {"channels": channels, "masks": False, "intensity_range": value_range}
        pack_folder(self.images, self.packed, **options)
        data = read_packed(self.packed)
        torch.manual_seed(0)
        arguments = SIZES | {"channels": channels}
        description = {"method": "ae", "arguments": arguments, "dataset": "mine", "seed": 0}
        description |= {"dataset_sha256": data.attributes["source_sha256"]}
        description |= {"intensity_range": value_range}
        description |= {
            "training": {"torch_threads": torch.get_num_threads(), "precision": "float32"}
        }
        save_checkpoint(self.model, methods.build("ae", **arguments), description)
        score_images(
            packed=self.packed,
            checkpoints=[self.model],
            device="cpu",
            torch_threads=torch.get_num_threads(),
            batch_size=BATCH_SIZE,
            scores=[self.scores],
            latents=[self.scores.with_name("latents.h5")],
            maps=[self.scores.with_name("maps.h5")],
        )

    def score(self, images=None, **changes):
        arguments = {"model": self.model, "out": self.out, "device": "cpu"}
        score_folder(images=images or self.train, **arguments | changes)
        table = read_table(self.out / "scores.tsv")
        column = "information" if "information" in table else "score"
        assert table[column].is_monotonic_decreasing  # the worst first
        return table.sort_values("id", ignore_index=True)

    def expected(self, part):
        table = read_table(self.scores)
        return table[table["id"].str.startswith(f"{part}/")].reset_index()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    Run(folder).make("grey")
    return folder


@pytest.fixture
def run(finished, tmp_path):
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    return Run(tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_files_get_the_scores_of_the_workflow(kind, tmp_path, monkeypatch):
    monkeypatch.setattr("medae.models.scoring.CPU_BATCH", BATCH_SIZE)
    run = Run(tmp_path)
    run.make(kind)
    for part in ("train/normal", "test/normal", "test/abnormal"):
        found, expected = run.score(run.images / part), run.expected(part)
        assert list(found.columns) == ["id", "score", "percentile"]
        assert [f"{part}/{name}" for name in found["id"]] == list(expected["id"])
        if part == "train/normal":  # in the same batches as in the workflow
            assert np.array_equal(found["score"], expected["score"])
        np.testing.assert_allclose(found["score"], expected["score"], rtol=1e-6)
        assert found["score"].std() > 1e-3
        shutil.rmtree(run.out)


def test_dicom_without_an_ending_gets_the_score_of_its_values_and_no_patient(tmp_path):
    run = Run(tmp_path)
    run.make("12 bit")
    for path in sorted((run.images / "test/abnormal").iterdir()):
        file = tmp_path / "scans" / f"IM{path.stem}"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(dicom(np.array(Image.open(path)), WindowCenter=9, WindowWidth=3))
    found, expected = run.score(tmp_path / "scans"), run.expected("test/abnormal")
    assert list(found["id"]) == ["IM00", "IM01", "IM02"]
    np.testing.assert_allclose(found["score"], expected["score"], rtol=1e-6)
    written = [path for path in run.out.rglob("*") if path.is_file()]
    assert len(written) > 3  # the table and pictures
    for path in written:
        assert PATIENT.encode() not in path.read_bytes()
        assert b"4711" not in path.read_bytes() or path.suffix == ".png"


def test_percentiles_count_training_images_by_hand(run):
    scores = np.sort(run.expected("train/normal")["score"])
    table = read_table(run.scores)
    # Two lie below the third of five scores, the others above all; test images don't count.
    table.loc[table["split"] == "train", "score"] = [*scores[1:3] - 1e-6, 9, 9, 9]
    table.loc[table["split"] == "test", "score"] = -1.0
    write_table(table, run.scores)
    assert sorted(run.score()["percentile"]) == pytest.approx([0, 20, 40, 40, 40])


def test_without_information_images_are_flagged_by_the_models_own_score(run):
    """By information: tests/workflow/test_decision_workflow.py."""
    scores = np.sort(run.expected("train/normal")["score"])
    row = dict.fromkeys(DECISION_COLUMNS, 0.05) | {"score": "squared_error", "n_images": 19}
    row["threshold"] = scores[2] + 1e-6
    write_table(pd.DataFrame([row]), run.model.with_name("decision.tsv"))
    run.score()
    assert read_table(run.out / "scores.tsv")["flagged"].tolist() == [1, 1, 0, 0, 0]


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


def test_a_picture_shows_the_image_its_reconstruction_and_its_map():
    random = np.random.default_rng(0)
    image, again = random.uniform(-1, 1, (2, 1, 8, 8))
    error = random.uniform(0, 0.4, (8, 8))
    figure = draw_picture(image, again, error, vmax=0.3, title="a")
    shown = {one.get_label(): [i.get_array() for i in one.get_images()] for one in figure.axes}
    expected = {PANELS[0]: [image], PANELS[1]: [again], PANELS[2]: [error]}
    expected[PANELS[3]] = [image, error]
    for panel, arrays in expected.items():
        for found, array in zip(shown[panel], arrays, strict=True):
            grey = array is not error
            np.testing.assert_allclose(
                found[..., 0] if grey else found, (array[0] + 1) / 2 if grey else array
            )


def test_a_model_without_its_run_gives_the_same_scores_and_no_percentiles(run, tmp_path):
    with_run = run.score()
    link = tmp_path / "link.safetensors"
    link.symlink_to(run.model)
    shutil.rmtree(run.out)
    assert run.score(model=link).equals(with_run)
    alone = shutil.copy(run.model, tmp_path)
    shutil.rmtree(run.out)
    found = run.score(model=Path(alone))
    assert np.array_equal(found["score"], with_run["score"])
    assert found["percentile"].isna().all() and with_run["percentile"].notna().all()


def test_a_file_and_folders_in_folders_are_scored(run):
    whole = run.score(run.images)
    expected = run.expected("train/normal").set_index("id")["score"]
    found = whole.set_index("id")["score"]
    assert list(whole["id"]) == sorted(whole["id"]) and len(whole) == 11
    np.testing.assert_allclose(found[expected.index], expected, rtol=1e-6)
    assert (run.out / "pictures/test/abnormal/01.png.png").is_file()
    shutil.rmtree(run.out)
    one = run.score(run.train / "03.png")
    assert list(one["id"]) == ["03.png"]
    np.testing.assert_allclose(one["score"], expected["train/normal/03.png"], rtol=1e-6)


def test_bad_files_are_skipped_and_listed(run):
    damage(run.train / "02.png")
    (run.train / "x.dcm").write_bytes(bytes(128) + b"DICM" + b"?" * 99)
    (run.train / "y.nii.gz").write_bytes(b"\x1f\x8b")
    constant = nibabel.Nifti1Image(np.ones((8, 8, 2), np.float32), np.eye(4))
    nibabel.save(constant, run.train / "z.nii")
    with pytest.raises(
        InputError, match=r"Skipped 4 of the files, such as '02.png' \(not readable.*"
    ):
        run.score()
    skipped = read_table(run.out / "skipped.tsv")
    assert list(skipped["id"]) == ["02.png", "x.dcm", "y.nii.gz", "z.nii"]
    assert skipped["reason"].iloc[-1].startswith("no slice has more than one value")
    assert skipped["reason"].str.contains("Replace the file by an intact copy").all()
    table = read_table(run.out / "scores.tsv")
    assert sorted(table["id"]) == ["00.png", "01.png", "03.png", "04.png"]
    assert len(list((run.out / "pictures").iterdir())) == 4


def test_files_of_another_scale_are_not_scored_as_if_they_were_of_the_models(tmp_path, caplog):
    run = Run(tmp_path)
    run.make("12 bit")
    folder = tmp_path / "narrow"
    write_images(folder, 2)
    with pytest.raises(InputError, match=r"8-bit values, for which .*4095.0\] is not meant"):
        run.score(folder)
    folder = tmp_path / "dark"
    write_images(folder, 3)
    for path in folder.iterdir():
        array = np.asarray(Image.open(path)).astype(np.uint16)
        Image.fromarray(array).save(path)  # 8 of 12 bits
    assert run.score(folder)["score"].notna().all()
    assert "a small part of [0, 4095]" in caplog.text
    assert "save the images as those were that it was trained on" in caplog.text
    assert "registry" not in caplog.text


def test_volumes_and_shapes_are_read_as_the_model_had_them(tmp_path):
    run = Run(tmp_path)
    run.make("12 bit")
    network, description = load_checkpoint(run.model, torch.device("cpu"))
    preparation = Preparation("percentiles", "pad", "coronal")
    description["intensity_range"] = json.loads(preparation.as_json())
    save_checkpoint(run.model, network, description)
    values = np.random.default_rng(0).normal(0, 900, (20, 5, 12)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(values, np.diag([-1.0, -1, 1, 1])), tmp_path / "v.nii.gz")
    assert list(run.score(tmp_path / "v.nii.gz")["id"]) == [f"v.nii.gz/00{i}" for i in range(5)]
    record = Record("test", "v", 0, tmp_path / "v.nii.gz", slice=2)
    options = {"channels": 1, "image_size": 16, "preparation": preparation}
    (loaded,) = load_file([record], root=tmp_path, **options)
    low, high = percentile_range(values.transpose(1, 2, 0)[:, ::-2, ::2])
    upright = np.clip((values[:, 2].T[::-1] - low) / (high - low) * 255, 0, 255)
    small = np.asarray(Image.fromarray(upright).resize((16, 10), Image.Resampling.BILINEAR))
    expected = np.pad(np.rint(small), ((3, 3), (0, 0)))
    assert np.abs(loaded.image.pixels[0] - expected).max() <= 1
    _, pixels, _ = read_images(tmp_path / "v.nii.gz", **options)
    np.testing.assert_array_equal(pixels[2], loaded.image.pixels)


# --- refusals ---


def damage(path):
    path.write_bytes(path.read_bytes()[:-9])


def damaged_images(run):
    for path in run.train.iterdir():
        path.write_text("no image")


def deeper_image(run):
    Image.fromarray(np.full((9, 9), 4095, np.uint16)).save(run.train / "deep.png")


def results_in_the_way(run):
    run.out.mkdir()
    (run.out / "notes.md").write_text("mine")


REFUSED = {
    "no model": (lambda run: run.model.unlink(), r"checkpoint\.safetensors is no model\. Name"),
    "damaged model": (lambda run: damage(run.model), "is not a whole checkpoint"),
    "no folder": (lambda run: shutil.rmtree(run.train), "no file or folder .*train/normal"),
    "several scales": (deeper_image, "different scales: .*save the images as those were that it"),
    "damaged images": (
        damaged_images,
        r"Cannot use 5 of the files .*'00\.png', '01\.png', .* \('00\.png': not readable",
    ),
    "damaged scores": (lambda run: run.scores.write_text("id\na\n"), "has the columns"),
    "results in the way": (results_in_the_way, "not an empty folder"),
}


@pytest.mark.parametrize(("spoil", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_scored_leaves_nothing(spoil, message, run, tmp_path):
    spoil(run)
    before = {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")}
    with pytest.raises(InputError, match=message) as caught:
        run.score()
    assert "\n" not in str(caught.value)
    assert {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")} == before


def test_the_command_line(run, root, tmp_path):
    arguments = [root / "scripts/score_folder.py", run.images / "test/normal", run.model]
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    table = read_table(tmp_path / "results/scored/normal/scores.tsv").sort_values("id")
    np.testing.assert_allclose(table["score"], run.expected("test/normal")["score"], rtol=1e-6)
