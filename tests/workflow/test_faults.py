"""What docs/faults.md promises: stops, kills, full disks, read-only folders, faulty datasets.

`make test-faults` sets MEDAE_KILLS to the number of kills, and runs what takes minutes as well.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from image_files import write_noise
from jobs import command, packing_job, scoring_job, training_job, write_packed
from PIL import Image
from small_project import ONE_MODEL, SMALL, copy_project, own_entry, wait_for

pytestmark = pytest.mark.workflow
takes_minutes = pytest.mark.skipif("MEDAE_KILLS" not in os.environ, reason="in make test-faults")


def run(arguments, **options):
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=300, **options)
    return done.returncode, done.stdout + done.stderr


def files_below(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# --- stopping and going on -----------------------------------------------------------------------

EPOCHS = 200


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    return write_packed(tmp_path_factory.mktemp("packed") / "packed.h5")


@pytest.fixture(scope="module")
def undisturbed(packed, tmp_path_factory):
    """The folder of a training that nothing stopped."""
    folder = tmp_path_factory.mktemp("undisturbed")
    job = training_job(packed, folder / "model", epochs=EPOCHS, seeds=[0])
    assert run(command("train_autoencoder", job, folder / "job.json"))[0] == 0
    return folder / "model"


def results_of(model):
    names = (f"seed0/{n}" for n in ("checkpoint.safetensors", "history.tsv", "resume.safetensors"))
    return {name: (model / name).read_bytes() for name in names}


def test_a_training_that_is_told_to_stop_goes_on_to_the_same_weights(packed, undisturbed, tmp_path):
    model = tmp_path / "model"
    job = training_job(packed, model, epochs=EPOCHS, seeds=[0])
    arguments = command("train_autoencoder", job, tmp_path / "job.json")
    log = Path(job["log"][0])
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) as process:
        wait_for(log.exists, process)
        time.sleep(0.2)
        process.terminate()
        screen = process.stderr.read()
    assert process.returncode == 1
    for text in (screen, log.read_text()):
        assert "stopped by SIGTERM after epoch" in text
        assert "Run the same command again" in text and "Traceback" not in text
    assert files_below(model) == ["log.txt", "seed0/resume.safetensors"]
    code, text = run(arguments)
    assert code == 0 and "Resuming" in text
    assert results_of(model) == results_of(undisturbed)


def test_two_trainings_at_once_in_one_folder_both_end_well(packed, undisturbed, tmp_path):
    model = tmp_path / "model"
    processes = []
    for number in range(2):
        job = training_job(packed, model, epochs=EPOCHS, seeds=[0])
        job["log"] = [str(tmp_path / f"{number}.txt")]
        arguments = command("train_autoencoder", job, tmp_path / f"{number}.json")
        processes.append(subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True))
    for process in processes:
        assert process.communicate()[1].count("Traceback") == 0
        assert process.returncode == 0
    assert results_of(model) == results_of(undisturbed)
    assert files_below(model) == sorted(results_of(undisturbed))


def test_the_script_stops_at_an_unusable_state_where_configured(packed, tmp_path):
    job = training_job(packed, tmp_path / "model", unusable_state="stop")
    state = tmp_path / "model/seed0/resume.safetensors"
    state.parent.mkdir(parents=True)
    state.write_bytes(b"")
    code, text = run(command("train_autoencoder", job, tmp_path / "job.json"))
    assert code == 1
    assert str(state) in text and "training.unusable_state" in text and "Traceback" not in text
    assert state.read_bytes() == b""


@takes_minutes
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_a_signal_to_all_of_snakemake_is_answered_by_the_training(number, fresh):
    """As a batch system, or Ctrl-C in a terminal, sends it."""
    longer = SMALL["training"] | {"epochs": 300}
    fresh.configure(training=longer, grid=ONE_MODEL["grid"])
    target = "results/small/models/phantom/all/ae/d4/seed1/checkpoint.safetensors"
    process = fresh.start(target)
    log = fresh.results / "logs/train_autoencoder/phantom/all/ae/d4.log"
    wait_for(log.exists, process)
    time.sleep(1)
    os.killpg(process.pid, number)
    assert process.wait() != 0
    assert f"stopped by {number.name}" in log.read_text()
    fresh.run(target)
    assert "Resuming" in log.read_text()


# --- kill -9 -------------------------------------------------------------------------------------

# Rules, and about the seconds that their jobs take.
STAGES = dict(generate_phantom=1.5, pack_dataset=1, audit_dataset=2, train_autoencoder=5)
STAGES |= dict(score_images=4, compute_metrics=2, bootstrap_metrics=2)
STAGES |= dict(tabulate_latent_dimension=2, plot_methods=3)
SHORT = {rule: STAGES[rule] for rule in ("train_autoencoder", "tabulate_latent_dimension")}


def kill_at(project, stage, delay, *targets):
    """Kill all of Snakemake, `delay` seconds after a job of `stage` began; return whether it ran.

    Snakemake copies a job's script into its own folder before it starts it.
    """

    def begun():
        return set(project.folder.glob(f".snakemake/scripts/*.{stage}.py"))

    before = begun()
    process = project.start(*targets, "--until", stage)
    wait_for(lambda: begun() - before, process, seconds=300)
    time.sleep(delay)
    running = process.poll() is None
    if running:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return running


def test_only_the_lock_of_a_dead_run_is_taken_over(fresh):
    target = "results/small/raw/phantom"
    owner = fresh.start(target)
    locks = fresh.folder / ".snakemake/locks"
    wait_for(lambda: list(locks.glob("*.output.lock")), owner)
    os.killpg(owner.pid, signal.SIGSTOP)
    assert "Directory cannot be locked" in fresh.fails(target)
    os.killpg(owner.pid, signal.SIGKILL)
    owner.wait()
    (locks / "another machine").touch()
    assert "Directory cannot be locked" in fresh.fails(target)
    (locks / "another machine").unlink()
    progress = [sys.executable, "workflow/progress.py", sys.executable, "-m", "snakemake"]
    arguments = [*progress, "--cores", "1", target, "--configfile", "config/small.yaml"]
    code, text = run(arguments, cwd=fresh.folder)  # as make does
    assert code == 0 and "Taking over the lock" in text
    assert (fresh.folder / target / "train").is_dir()


def final_files(project, names):
    paths = [path for name in names for path in project.results.glob(name)]
    return {str(path.relative_to(project.results)): path.read_bytes() for path in paths}


def test_kill_9_at_a_random_moment_of_every_stage_changes_no_result(root, finished, tmp_path):
    kills = int(os.environ.get("MEDAE_KILLS", len(SHORT)))
    seed = int(os.environ.get("MEDAE_KILL_SEED", random.SystemRandom().randrange(10**6)))
    print(f"MEDAE_KILL_SEED={seed}")  # noqa: T201 - shown when the test fails
    draw = random.Random(seed)
    names = ["metrics.tsv", "models/**/checkpoint.safetensors", "models/**/history.tsv"]
    if kills == len(SHORT):
        stages, grid, reference = SHORT, SMALL["grid"], finished
        names += ["tables/latent_dimension.*"]
        targets = ["results/small/tables/latent_dimension.tsv"]
    else:
        stages, grid = STAGES, [*SMALL["grid"], {"methods": ["vae"], "latent_dims": [4]}]
        names += ["tables/*", "intervals/*", "figures/*.png"]
        targets = []
        reference = run_whole(copy_project(root, tmp_path / "reference"), grid)
    expected = final_files(reference, names)
    for number in range(2 + kills):
        project = copy_project(root, tmp_path / f"killed{number}")
        project.configure(grid=grid)
        for stage, seconds in stages.items():
            delay = draw.uniform(0, seconds)
            killed = kills > 0 and kill_at(project, stage, delay, *targets)
            kills -= killed
            print(f"{stage}: {delay:.2f} s, killed: {killed}")  # noqa: T201
        run_whole(project, grid, *targets)
        found = final_files(project, names)
        assert found.keys() == expected.keys()
        assert [name for name in expected if found[name] != expected[name]] == []
        if not kills:
            return
    raise AssertionError(f"{kills} kills are left, since the stages ended before")


def run_whole(project, grid, *targets):
    project.configure(grid=grid)
    project.run(*targets)
    return project


# --- full disks ----------------------------------------------------------------------------------

MOUNT = 'mount -t tmpfs -o size=100k tmpfs "$1" || exit 77; folder=$1; shift; '
RUN = '"$@"; code=$?; echo "left:" $(ls -AR "$folder"); exit $code'


def on_a_small_disk(folder, arguments):
    """Run a command where `folder` is a disk of 100 kB; return its code and what it printed.

    Of the system of mounts that only this command sees, so that nothing is left to unmount.
    """
    folder.mkdir()
    prefix = ["unshare", "--mount"] + (["--user", "--map-root-user"] if os.geteuid() else [])
    shell = ["sh", "-c", MOUNT + RUN, "sh", str(folder)]
    try:
        code, text = run([*prefix, *shell, *arguments])
    except OSError as error:
        pytest.skip(f"no disk of a given size: {error}")
    if code == 77 or "unshare failed" in text:
        pytest.skip("no disk of a given size: mounting is not permitted")
    return code, text


@pytest.fixture
def images(tmp_path):
    """A folder of 60 images of 64 × 64 pixels."""
    parts = ("train/normal", "test/normal", "test/abnormal")
    write_noise(tmp_path / "images", (f"{part}/{i}.png" for part in parts for i in range(20)))
    return tmp_path / "images"


def check_full_disk(script, job, tmp_path, *, name):
    """Run a job that fills `tmp_path`/disk by its file `name`; it has to end with a sentence."""
    log = tmp_path / "log.txt"
    arguments = command(script, job | {"log": [str(log)]}, tmp_path / "job.json")
    code, text = on_a_small_disk(tmp_path / "disk", arguments)
    assert code == 1, text
    assert f"{name}: No space left on device. Free some space" in text
    assert "Traceback" not in text
    assert "partial" not in text.split("left:")[1]
    assert "No space left on device. Free" in log.read_text()


def test_a_full_disk_during_packing(images, tmp_path):
    job = packing_job(images, tmp_path / "disk")
    check_full_disk("pack_dataset", job, tmp_path, name="packed.h5")


def test_a_full_disk_during_training(packed, tmp_path):
    job = training_job(packed, tmp_path / "disk")
    check_full_disk("train_autoencoder", job, tmp_path, name="resume.safetensors")


def test_a_full_disk_during_scoring(packed, undisturbed, tmp_path):
    checkpoint = undisturbed / "seed0/checkpoint.safetensors"
    job = scoring_job(packed, [str(checkpoint)], tmp_path / "disk")
    check_full_disk("score_images", job, tmp_path, name="maps.h5")


# --- folders that cannot be written --------------------------------------------------------------


@pytest.fixture
def unprivileged():
    """The start of a command that takes root's right to write anywhere from it."""
    if os.geteuid():
        return []
    if not shutil.which("setpriv"):
        pytest.skip("root writes anywhere, and there is no setpriv to give that up")
    return ["setpriv", "--bounding-set=-all"]


@pytest.mark.parametrize("name", ["results", "results/small/logs"])
def test_results_that_are_read_only_are_noticed_before_any_job(name, fresh, unprivileged):
    (fresh.folder / name).mkdir(parents=True)
    (fresh.folder / name).chmod(0o555)
    arguments = [sys.executable, "-m", "snakemake", "--cores", "1"]
    options = ["results/small/packed/phantom_64px.h5", "--configfile", "config/small.yaml"]
    code, text = run([*unprivileged, *arguments, *options], cwd=fresh.folder)
    assert code == 1
    assert f"Cannot use {name}" in text and "Permission denied. Let the user" in text
    assert "Traceback" not in text and not (fresh.results / "raw").exists()


# --- datasets ------------------------------------------------------------------------------------


def noise(rng, _):
    return rng.integers(0, 256, (64, 64), np.uint8)


def one_value(_, number):
    return np.full((64, 64), 10 * number, np.uint8)


def other_sizes(rng, number):
    return rng.integers(0, 256, (20 + 7 * number, 90 - 5 * number), np.uint8)


def own_dataset(project, *, counts=(10, 5, 5), image=noise, name="my images", suffix=".png"):
    """Configure a dataset of (training, normal test, abnormal test) images."""
    rng = np.random.default_rng(0)
    root = project.folder / name
    for part, count in zip(("train/normal", "test/normal", "test/abnormal"), counts, strict=True):
        (root / part).mkdir(parents=True)
        for number in range(count):
            path = root / part / f"{number}{suffix}"
            Image.fromarray(image(rng, number + 1)).save(path, "PNG")
    registry = {"mine": own_entry(root)}
    project.configure(datasets=["mine"], grid=ONE_MODEL["grid"], registry=registry)


@takes_minutes
@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"counts": (10, 1, 1)}, id="one image per class"),
        pytest.param({"image": one_value}, id="constant images"),
        pytest.param({"image": other_sizes}, id="different sizes"),
        pytest.param({"name": "it's; $(touch trace)", "suffix": " \n'é\" {x}.png"}, id="odd names"),
    ],
)
def test_a_dataset_that_is_unusual_runs_to_the_end(options, fresh):
    own_dataset(fresh, **options)
    fresh.run()
    assert (fresh.results / "tables/latent_dimension.tsv").exists()
    assert not list(fresh.folder.rglob("trace"))


# --- the machine ---------------------------------------------------------------------------------


def test_a_home_that_is_not_there_and_an_environment_under_a_path_with_a_space(fresh, tmp_path):
    (tmp_path / "an environment").symlink_to(sys.prefix)
    python = tmp_path / "an environment/bin" / Path(sys.executable).name
    command = [python, "-m", "snakemake", "--cores", "1", "results/small/raw/phantom"]
    environment = {key: value for key, value in os.environ.items() if "XDG" not in key}
    options = {"cwd": fresh.folder, "env": environment | {"HOME": "/proc/none"}}
    code, text = run([*command, "--configfile", "config/small.yaml"], **options)
    assert code == 0, text


def make(root, folder, *arguments):
    """Run the project's Makefile in `folder`, whose Python prints what it is given."""
    (folder / "bin").mkdir()
    (folder / "bin/python").write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
    (folder / "bin/python").chmod(0o755)
    (folder / "envs").mkdir()
    for name in ("envs/requirements.txt", ".ready"):
        (folder / name).touch()
    return run(["make", "--silent", "-f", root / "Makefile", "ENV=.", *arguments], cwd=folder)


def test_paths_given_to_make_are_data(root, tmp_path):
    odd = """a "b" $(touch trace) `touch trace` $HOME it's; touch trace"""
    code, text = make(root, tmp_path, "score", f"IMAGES={odd}", f"MODEL={odd}1", f"OUT={odd}2")
    expected = ["scripts/score_folder.py", "--out", f"{odd}2", "--", odd, f"{odd}1"]
    assert (code, text.splitlines()) == (0, expected)
    assert not (tmp_path / "trace").exists()
    code, text = run(["make", "--silent", "-f", root / "Makefile", "run", "ENV=."], cwd=tmp_path)
    assert code == 2 and "make run CONFIG=config/mine.yaml" in text
