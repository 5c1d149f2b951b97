"""The workflow through Snakemake on a small phantom: results, re-runs, resuming, faults."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile

import h5py
import numpy as np
import pandas as pd
import pytest
import yaml
from image_files import write_noise
from PIL import Image
from record_provenance import leaked_patients
from sklearn.metrics import average_precision_score, roc_auc_score
from small_project import ONE_MODEL, SMALL, own_entry, wait_for

from medae.base.files import read_table
from medae.models.checkpoints import load_tensors

pytestmark = pytest.mark.workflow

OWN_THRESHOLD = {"copy_threshold": 0.998}
KEEPING = ONE_MODEL | {"scoring": {"keep_maps": True}}
WITH_LATEX = ["latent_dimension", "methods"]
TABLES = [*WITH_LATEX, "paper_comparison", "scores", "audit", "training_sets"]
FIGURES = ["latent_dimension", "scores", "reconstruction_error", "score_histograms_phantom"]
FIGURES += ["audit_phantom", "copies_phantom", "methods", "examples_latent_dimension_phantom"]
FILES = ["metrics.tsv", "provenance.json", "gallery/phantom.html"]
FILES += [f"tables/{name}.{end}" for name in TABLES for end in ("md", "tsv", "html")]
FILES += [f"tables/{name}.tex" for name in WITH_LATEX]
FILES += [f"figures/{name}.{end}" for name in FIGURES for end in ("pdf", "png")]


def metrics_of(project):
    return pd.read_csv(project.results / "metrics.tsv", sep="\t")


def test_results_are_there(finished):
    assert [name for name in FILES if not (finished.results / name).stat().st_size] == []
    for path in finished.results.glob("tables/*.tex"):
        assert path.read_text(encoding="utf-8").isascii()  # pdflatex has no Greek letters
    assert not [path for path in finished.results.rglob("*") if "partial" in path.name]


def test_metrics_are_those_of_the_scores(finished):
    metrics = metrics_of(finished)
    key = ["dataset", "training_set", "method", "latent_dim", "score", "seed", "split"]
    assert not metrics.duplicated([*key, "metric"]).any()
    trained = metrics.query("method == 'ae' and split == 'published'").set_index("metric")
    groups = trained.groupby(key)["value"]
    assert len(groups) == 2 * 4  # two scores
    for (*_, size, name, seed, _), values in groups:
        folder = finished.results / f"scores/phantom/all/ae/d{size}/seed{seed}"
        scores = read_table(folder / "scores.tsv")
        test = scores[scores["split"] == "test"]
        if name != "squared_error":
            test = read_table(folder / "others.tsv").rename(columns={name: "score"})
        assert values["auc"] == pytest.approx(roc_auc_score(test["label"], test["score"]))
        assert values["ap"] == pytest.approx(average_precision_score(test["label"], test["score"]))
        if name != "squared_error":
            continue
        for metric, rows in {
            "error_train_normal": scores[scores["split"] == "train"],
            "error_test_normal": test[test["label"] == 0],
            "error_test_abnormal": test[test["label"] == 1],
        }.items():
            assert values[metric] == pytest.approx(rows["reconstruction_error"].mean())
        assert {"ap_pix", "dice_max"} <= set(values.index)


def test_temporary_maps_are_gone_and_latents_kept(finished):
    assert not list(finished.results.rglob("maps.h5"))
    paths = list(finished.results.rglob("latents.h5"))
    assert len(paths) == 4
    for path in paths:
        with h5py.File(path) as file:
            dim = int(path.parts[-3].removeprefix("d"))
            assert file["train"].shape == (16, dim)
            assert file["test"].shape == (12, dim)
            assert np.isfinite(file["train"][:]).all()


def test_checkpoints_carry_their_seed_and_settings(finished):
    paths = list(finished.results.rglob("checkpoint.safetensors"))
    assert len(paths) == 4
    for path in paths:
        description = load_tensors(path)[1]
        assert path.parent.name == f"seed{description['seed']}"
        assert path.parent.parent.name == f"d{description['arguments']['latent_dim']}"
        assert description["training"]["torch_threads"] == 1
        assert description["epochs"] == 2


def test_provenance_names_code_packages_and_times(finished):
    record = json.loads((finished.results / "provenance.json").read_text())
    assert record["packages"]["torch"].startswith("2.")
    assert record["stages"]["train_autoencoder"]["jobs"] == 2
    assert record["configuration"]["seeds"] == [0, 1]
    assert list(record["configuration"]["registry"]) == ["phantom"]
    assert record["hardware"]["cores"] >= 1
    assert record["test_images_of_training_patients"] == {"phantom": 0}


def test_a_finished_run_has_nothing_to_do(finished):
    assert finished.planned() == {}


def test_report_holds_every_item_with_its_caption(finished_copy):
    finished_copy.run("--report", "results/small/report.html")
    text = (finished_copy.results / "report.html").read_text(encoding="utf-8")
    for name in (path for path in FILES if path.endswith((".html", ".png"))):
        assert name.rpartition("/")[2] in text
    captions = ["seed(s); best in bold", "similarity to the nearest training image"]
    assert all(words in text for words in captions)


# --- what an edit re-runs ------------------------------------------------------------------------

WITH_RSNA = SMALL["registry"] | {"rsna": {"epochs": 3}}
EXAMPLES = {"score_images", "select_examples", "plot_examples", "write_gallery"}
EXAMPLES |= {"record_provenance"}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"methods": {"vae": {"kl_weight": 1.0}}, "registry": WITH_RSNA}, set()),
        ({"training": SMALL["training"] | {"unusable_state": "stop"}}, {"record_provenance"}),
        ({"figures": {"reference": {"method": "ae", "latent_dim": 2}}}, EXAMPLES),
        ({"audit": {"moved": False}}, {"audit_dataset"}),
        ({"baselines": {"latent_dims": [3]}}, {"score_baselines"}),
        ({"scoring": {"scores": ["information", "relative"]}}, {"compute_metrics"}),
    ],
)
def test_editing_a_key_reruns_what_uses_it_and_trains_nothing(finished_copy, changes, expected):
    finished_copy.configure(**changes)
    planned = set(finished_copy.planned())
    assert "train_autoencoder" not in planned
    assert expected <= planned
    assert expected - {"record_provenance"} or planned == expected


def test_more_seeds_train_only_those(finished_copy):
    model = finished_copy.results / "models/phantom/all/ae/d4"
    before = (model / "seed0/checkpoint.safetensors").read_bytes()
    finished_copy.configure(seeds=[*SMALL["seeds"], 7])
    finished_copy.run("results/small/models/phantom/all/ae/d4/seed7/checkpoint.safetensors")
    assert (model / "seed0/checkpoint.safetensors").read_bytes() == before
    log = (finished_copy.results / "logs/train_autoencoder/phantom/all/ae/d4.log").read_text()
    assert re.findall(r"Resuming .*/seed(\d)/.* after epoch 2", log) == ["0", "1"]
    assert "seed=7: epoch 2" in log and "seed=0: epoch" not in log


def touched(project, *names):
    """Edit files below scripts/; return the rules that then run."""
    for name in names:
        path = project.folder / "scripts" / name
        path.write_text(path.read_text() + "\n# edited\n")
    return set(project.planned())


def test_editing_code_reruns_what_uses_it_only(finished_copy):
    """Another method, the methods' registry, a module, a script that a loop of rules names, any."""
    methods = ("medae/models/methods/vae.py", "medae/models/methods/__init__.py")
    assert touched(finished_copy, *methods) == set()
    assert touched(finished_copy, "medae/report/figures.py") - {"record_provenance"} == {
        *("plot_audit", "plot_duplicates", "plot_latent_dimension", "plot_reconstruction_error"),
        *("plot_score_histograms", "plot_examples", "plot_methods", "plot_scores"),
    }
    assert "tabulate_audit" in touched(finished_copy, "report/tabulate_audit.py")
    assert "pack_dataset" in touched(finished_copy, "data/pack_dataset.py")


@pytest.mark.parametrize("module", ["training", "methods/ae"])
def test_editing_what_trains_retrains_and_what_follows(finished_copy, module):
    planned = touched(finished_copy, f"medae/models/{module}.py")
    assert {"train_autoencoder", "score_images", "compute_metrics"} <= planned
    assert not planned & {"generate_phantom", "pack_dataset"}


def test_code_that_packs_the_same_bytes_trains_nothing(fresh):
    """As docs/faults.md says; the packed file is larger than Snakemake's default limit of 1 MB."""
    fresh.configure(image_size=256, **ONE_MODEL)
    fresh.run("--until", "train_autoencoder")
    assert (fresh.results / "packed/phantom_256px.h5").stat().st_size > 10**6
    assert "train_autoencoder" in touched(fresh, "medae/data/layouts.py")
    fresh.run("--until", "pack_dataset")
    assert "train_autoencoder" not in fresh.planned()


def test_a_failed_retraining_is_not_forgotten(finished_copy):
    """The failed job loses its checkpoints; the old metrics must not pass for the new ones."""
    diverging = {"epochs": 3, "batch_size": 8, "device": "cpu", "learning_rate": 1.0e38}
    finished_copy.configure(training=diverging)
    assert "loss is not finite" in finished_copy.fails()
    assert "train_autoencoder" in finished_copy.planned()


def test_deleted_files_are_made_again(finished_copy):
    names = ["figures/latent_dimension.png", "tables/latent_dimension.tex", "metrics.tsv"]
    names.append("packed/phantom_64px.h5")
    for name in names:
        (finished_copy.results / name).unlink()
    reasons = re.findall("Reason: Missing output files: (.*)", finished_copy.run("--dry-run"))
    missing = {name for reason in reasons for name in re.split("[,;] ", reason)}
    assert {f"results/small/{name}" for name in names} <= missing


def test_a_named_folder_comes_before_the_generator(finished_copy):
    shutil.copytree(finished_copy.results / "raw/phantom", finished_copy.folder / "elsewhere")
    phantom = SMALL["registry"]["phantom"] | {"path": "elsewhere"}
    finished_copy.configure(registry={"phantom": phantom})
    planned = finished_copy.planned()
    assert "pack_dataset" in planned
    assert "generate_phantom" not in planned


def test_commands_of_the_readme_are_accepted(fresh, root):
    commands = [
        line.split()[1:]
        for line in (root / "README.md").read_text().splitlines()
        if line.strip().startswith(".venv/bin/snakemake") and "--report" not in line
    ]
    assert len(commands) >= 4
    for arguments in commands:
        done = subprocess.run(
            [sys.executable, "-m", "snakemake", "--dry-run", "--nolock", *arguments],
            cwd=fresh.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (arguments, done.stdout, done.stderr)


# --- configurations ------------------------------------------------------------------------------


def test_a_grid_without_the_plain_autoencoder_is_planned(fresh):
    planned = fresh.planned(config="config/memae.yaml")
    for rule in ("train_autoencoder", "score_images", "score_snapshots", "tabulate_methods"):
        assert planned[rule] == 1, rule
    grid = [{"methods": ["memae"], "latent_dims": [4]}]
    grid += [{"methods": ["ae"], "latent_dims": [4], "training_sets": ["without_twins"]}]
    grid.append({"methods": ["vae"], "latent_dims": [4], "datasets": ["lgg"]})
    fresh.configure(grid=grid, figures={"reference": {"method": "memae", "latent_dim": 4}})
    assert "Nothing is trained of the block {'datasets': ['lgg']" in fresh.run("--dry-run")
    for plan in (planned, fresh.planned()):
        assert not {"plot_scores", "tabulate_latent_dimension"} & set(plan)


def test_a_score_of_weights_that_the_grid_trains_is_not_trained_again(fresh):
    grid = [{"methods": ["ae_grad", "ae"], "latent_dims": [4]}]
    fresh.configure(grid=grid)
    fresh.run("--until", "copy_weights")
    models = fresh.results / "models/phantom/all"
    for seed in (0, 1):
        own, other = (models / f"{method}/d4/seed{seed}" for method in ("ae_grad", "ae"))
        assert (own / "history.tsv").read_bytes() == (other / "history.tsv").read_bytes()
        copy, of_copy = load_tensors(own / "checkpoint.safetensors")
        model, of_model = load_tensors(other / "checkpoint.safetensors")
        assert of_copy == of_model | {"method": "ae_grad"}
        assert copy.keys() == model.keys() and all(copy[key].equal(model[key]) for key in copy)
    assert "train_autoencoder" not in fresh.planned()
    fresh.configure(grid=grid, methods={"ae_grad": {"hidden_dim": 8}})
    assert fresh.planned()["train_autoencoder"] == 1  # the AE's are there


def test_the_projects_configurations_have_runs_of_their_own(root):
    runs = [
        yaml.safe_load(path.read_text()).get("run")
        for path in (root / "config").glob("*.yaml")
        if path.name != "datasets.yaml"
    ]
    assert len(runs) == len(set(runs)) and None not in runs


def test_two_configurations_cannot_share_a_run(finished):
    finished.configure("other.yaml")
    try:
        text = finished.fails("--dry-run", config="config/other.yaml")
    finally:
        (finished.folder / "config/other.yaml").unlink()
    assert "belongs to the configuration config/small.yaml, not to config/other.yaml" in text


def test_the_gallery_and_drawn_training_sets_are_made_only_where_asked_for(fresh):
    optional = {"write_gallery", "draw_training_set"}
    assert optional <= set(fresh.planned())
    fresh.configure(gallery=False, baselines=SMALL["baselines"] | {"training_sets": ["all"]})
    assert not optional & set(fresh.planned())


def test_the_papers_dry_run_plans_exactly_its_grid(fresh):
    planned = fresh.planned(config="config/config.yaml")
    once = ("download_dataset", "pack_dataset", "audit_dataset", "score_baselines")
    for rule in (*once, "bootstrap_metrics", "select_examples"):
        assert planned[rule] == 4, rule
    for rule in ("train_autoencoder", "score_images", "compute_metrics"):
        assert planned[rule] == 4 * 14, rule
    assert "generate_phantom" not in planned


# --- interruptions and faults --------------------------------------------------------------------


def test_killed_training_ends_with_the_same_weights(fresh):
    """Kill the training job and Snakemake after a state was saved; the re-run goes on from it."""
    fresh.configure(grid=ONE_MODEL["grid"], training=SMALL["training"] | {"epochs": 40})
    training = fresh.folder / "scripts/medae/models/training.py"
    training.write_text(
        training.read_text().replace("save_seconds: float = 60", "save_seconds: float = 0")
    )
    model = fresh.results / "models/phantom/all/ae/d4"
    target = "results/small/models/phantom/all/ae/d4/seed1/checkpoint.safetensors"
    process = fresh.start(target, cores=1)
    state = model / "seed0" / "resume.safetensors"
    wait_for(state.exists, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert state.exists()
    assert not (model / "seed1" / "checkpoint.safetensors").exists()

    fresh.run(target)
    log = (fresh.results / "logs/train_autoencoder/phantom/all/ae/d4.log").read_text()
    assert "Resuming" in log
    resumed = [(model / f"seed{s}" / "checkpoint.safetensors").read_bytes() for s in (0, 1)]
    shutil.rmtree(model)
    fresh.run(target)
    assert resumed == [(model / f"seed{s}" / "checkpoint.safetensors").read_bytes() for s in (0, 1)]


def test_datasets_that_cannot_be_had_or_used_say_why_and_stop_alone(fresh):
    for part in ("train/normal", "test/abnormal"):  # and no test/normal
        folder = fresh.folder / "my images" / part
        folder.mkdir(parents=True)
        Image.new("L", (64, 64), 7).save(folder / "a.png")
    mine = own_entry(fresh.folder / "my images")
    registry = SMALL["registry"] | {"mine": mine, "gone": own_entry("nowhere/x") | {"name": "B"}}
    fresh.configure(
        datasets=["mine", "gone", "rsna", "phantom"],
        registry=registry,
        downloads={"api": "http://127.0.0.1:9/api/records", "retries": 0},
        **ONE_MODEL,
    )
    text = fresh.fails()
    expected = ["nowhere/x", "my images", "has no image of test_normal", "by hand"]
    expected += ["RSNA.tar.gz", "12677223", "5d6b85ce4b2daad8f1760eb23c050a7d"]
    assert [words for words in expected if words not in text] == []
    log = (fresh.results / "logs/pack_dataset/mine.log").read_text()
    assert "has no image of test_normal" in log and "my images" in log
    assert not (fresh.folder / "data/RSNA.verified.json").exists()
    assert [path.name for path in fresh.results.glob("packed/*.h5")] == ["phantom_64px.h5"]
    assert (fresh.results / "metrics/phantom/all/ae/d4.tsv").exists()


def test_an_archive_in_the_data_folder_is_checked_unpacked_and_packed(fresh, finished):
    data = fresh.folder / "data"
    data.mkdir()
    archive = data / "Toy.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(finished.results / "raw/phantom", "Toy")
    entry = own_entry(None, masks=True) | {
        "folder": "Toy",
        "doi": "10.5281/zenodo.1",
        "archive": archive.name,
        "md5": hashlib.md5(archive.read_bytes()).hexdigest(),
    }
    fresh.configure(datasets=["toy"], registry={"toy": entry})
    target = "results/small/packed/toy_64px.h5"
    fresh.run(target)
    same = finished.results / "packed/phantom_64px.h5"
    with h5py.File(fresh.folder / target) as toy, h5py.File(same) as phantom:
        assert np.array_equal(toy["test/masks"][:], phantom["test/masks"][:])
    assert json.loads((data / "Toy.verified.json").read_text())["dataset"] == "toy"
    assert fresh.planned(target) == {}


def test_an_own_dataset_in_a_folder_runs_without_code(fresh, finished):
    """The folder layout, pointed at by `path`, as config/README.md shows."""
    source = fresh.folder / "my images"
    shutil.copytree(finished.results / "raw/phantom", source)
    registry = {"mine": own_entry(source, masks=True) | OWN_THRESHOLD}
    fresh.configure(datasets=["mine"], registry=registry, **KEEPING)
    fresh.run()
    used = read_table(fresh.results / "audit/mine/thresholds.tsv").query("used == 1")
    assert used["threshold"].item() == OWN_THRESHOLD["copy_threshold"]
    assert set(metrics_of(fresh)["dataset"]) == {"mine"}
    assert fresh.planned() == {}
    grown = [{"methods": ["ae"], "latent_dims": [4, 8]}]
    fresh.configure(datasets=["mine"], registry=registry, **KEEPING | {"grid": grown})
    planned = fresh.planned()
    assert planned["train_autoencoder"] == planned["score_images"] == 1  # maps are there
    assert "pack_dataset" not in planned
    what_users_do_to_images(fresh, source)


def what_users_do_to_images(project, source):
    """Times, places and descriptions train nothing again; other pixels and other settings do."""

    def configure(entry=None, **changes):
        registry = {"mine": own_entry(source, masks=True) | OWN_THRESHOLD | (entry or {})}
        project.configure(datasets=["mine"], registry=registry, **KEEPING | changes)

    def planned(**changes):
        configure(**changes)
        return set(project.planned())

    def stops(*words, **changes):
        configure(**changes)
        text = project.fails()
        assert all(word in text for word in words), text
        assert (project.results / "packed/mine_64px.h5").read_bytes() == packed

    packed = (project.results / "packed/mine_64px.h5").read_bytes()
    for path in source.rglob("*.png"):
        path.touch()
    (source / "notes.txt").write_text("not an image")
    source = shutil.copytree(source, project.folder / "moved" / "images")
    assert planned() == {"record_provenance"}
    assert planned(entry={"expected": {"train": 16}}) == {"record_provenance"}
    assert not planned(entry={"name": "Another"}) & {"pack_dataset", "train_autoencoder"}
    stops("16 instead of 17 of train", entry={"expected": {"train": 17}})
    hidden = source.rename(project.folder / "not mounted")
    stops("moved/images does not exist")
    hidden.rename(source)

    shutil.rmtree(project.folder / ".snakemake")  # as people unlock a folder
    longer = SMALL["training"] | {"epochs": 3}
    changed = planned(training=longer)
    assert "train_autoencoder" in changed and "pack_dataset" not in changed
    assert planned() == {"record_provenance"}
    one, other = sorted((source / "train/normal").iterdir())[:2]
    third = one.rename(source / "third.png")
    other.rename(one)
    third.rename(other)
    assert {"pack_dataset", "train_autoencoder"} <= planned()


# --- images seen in training ---------------------------------------------------------------------


def test_patients_in_training_and_test_are_warned_of_and_measured_apart(fresh):
    """Three of four normal test images and no abnormal one are of training patients.

    AP is given at the share of abnormal images that the paper's RSNA has too, one half.
    """
    source = fresh.folder / "patients"
    names = {"train/normal": "0123", "test/normal": "1234", "test/abnormal": "56"}
    write_noise(source, (f"{part}/p{i}.png" for part in names for i in names[part]))
    entry = own_entry(source) | {"group_pattern": r"/(p\d{1})[.]", "paper": "rsna"}
    fresh.configure(datasets=["mine"], registry={"mine": entry})
    audit, metrics = "audit/mine/images.tsv", "metrics/mine/baselines.tsv"
    files = [audit, metrics, "tables/audit.html"]
    text = fresh.run(*(f"results/small/{name}" for name in files))
    warning = "3 of 6 test images are of patients who have images in training too"
    assert warning in text
    assert warning in (fresh.results / "logs/audit_dataset/mine.log").read_text()
    assert "WARNING: 3 test images of Mine" in (fresh.results / files[2]).read_text()
    table = pd.read_csv(fresh.results / metrics, sep="\t")
    counts = table.groupby("split")[["n_normal", "n_abnormal"]].agg(["min", "max"])
    assert counts.loc["published"].tolist() == [4, 4, 2, 2]
    assert counts.loc["leak_free"].tolist() == [1, 1, 2, 2]
    assert leaked_patients(fresh.results / audit) == 3
    setting = fresh.results / "scores/mine/all/mean_intensity/d0/seed0"
    test = pd.read_csv(setting / "scores.tsv", sep="\t").query("split == 'test'")
    weights = np.where(test["label"] == 1, 1, 2 / 4)
    expected = average_precision_score(test["label"], test["score"], sample_weight=weights)
    rows = table.query("method == 'mean_intensity' and split == 'published'")
    found = rows.loc[rows["metric"] == "ap_share", "value"]
    assert found.tolist() == [pytest.approx(expected)]


def test_copies_are_found_left_out_and_measured_apart(fresh, finished):
    """Three training images lie in the test set too, one of them mirrored."""
    source = fresh.folder / "copies"
    shutil.copytree(finished.results / "raw/phantom", source)
    originals = sorted((source / "train/normal").iterdir())[:3]
    for number, path in enumerate(originals):
        image = np.asarray(Image.open(path))
        image = image[:, ::-1] if number == 2 else image
        Image.fromarray(image).save(source / "test/normal" / f"copy{number}.png")
    sets = ["all", "without_twins", "without_random"]
    fresh.configure(
        datasets=["mine"],
        grid=[{"methods": ["ae"], "latent_dims": [4], "training_sets": sets}],
        registry={"mine": own_entry(source, masks=True)},
        audit={"threshold": 0.999},
    )
    fresh.run()
    audit = pd.read_csv(fresh.results / "audit/mine/images.tsv", sep="\t").set_index("id")
    seen = audit[(audit["split"] == "test") & (audit["twin"] == 1)]
    assert list(seen.index) == [f"test/normal/copy{n}.png" for n in range(3)]
    assert list(seen["nearest"]) == [f"train/normal/{path.name}" for path in originals]
    assert list(seen["symmetry"]) == ["unmoved", "unmoved", "mirrored left-right"]
    metrics = metrics_of(fresh)
    assert set(metrics["training_set"]) == set(sets)
    counts = metrics.groupby("split")[["n_normal", "n_abnormal"]].agg(["min", "max"])
    assert counts.loc["published"].tolist() == [9, 9, 6, 6]
    assert counts.loc["leak_free"].tolist() == [6, 6, 6, 6]
    sizes = metrics.groupby("training_set")["n_train"].unique().map(list).to_dict()
    assert sizes == {"all": [16], "without_twins": [13], "without_random": [13]}
    nearest = metrics.query("method == 'nearest' and metric == 'error_test_normal'")
    error = nearest.set_index(["training_set", "split", "seed"])["value"]
    assert error["all", "published", 0] < error["without_twins", "published", 0]
    assert error["all", "leak_free", 0] <= error["without_twins", "leak_free", 0]
    kept = pd.read_csv(fresh.results / "audit/mine/without_twins.tsv", sep="\t").set_index("id")
    assert (kept["seed0"] == 0).sum() == 3 and (kept.loc[list(seen["nearest"])] == 0).all(axis=None)
    assert "audit_dataset" in touched(fresh, "medae/duplicates/audit.py")
    assert fresh.planned()["train_autoencoder"] == 2  # not that of all images
