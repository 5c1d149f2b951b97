"""The demo's DAG through the slurm profile on a real Slurm of one node, with faults in trainings.

Run by `make test-slurm`: as root, it installs and starts Slurm and ends it again.
"""

import os
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest
import yaml
from small_project import copy_project

CLUSTER = Path(__file__).with_name("cluster.sh")
GPUS = 2  # as cluster.sh has it
# faults/sitecustomize.py makes some trainings fail, by latent dimension.
FAULTS = {3: "exit", 4: "cancel", 5: "time", 6: "memory"}
CHANGES = {
    "grid": [{"methods": ["ae"], "latent_dims": [2, *FAULTS]}],
    "bootstrap": {"replicates": 100},
    "figures": {"reference": {"method": "ae", "latent_dim": 2}},
}
# One minute is the least that Slurm counts, so only the training that shall be over it gets it.
TRAINING = {
    "mem_mb": "1200 * attempt",
    "runtime": "(1 if wildcards.latent_dim == '5' else 20) * attempt",
    "slurm_extra": "'--signal=TERM@1'",
}
TARGETS = ["metrics.tsv", "intervals/phantom.tsv"] + [
    f"tables/{name}"
    for name in ("latent_dimension.md", "methods.md", "methods.tsv", "paper_comparison.tsv")
]


def configured_copy(root: Path, folder: Path) -> Path:
    project = copy_project(root, folder)
    project.configure(**CHANGES)
    return project.folder


def start(folder: Path, *arguments: str, **environment: str) -> subprocess.Popen:
    """Start Snakemake; its output goes to a file, so that two can run at once."""
    command = [sys.executable, "-m", "snakemake", *arguments, "--configfile", "config/small.yaml"]
    with (folder / "output.txt").open("w") as output:
        return subprocess.Popen(
            command,
            cwd=folder,
            env=os.environ | {"COLUMNS": "200"} | environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )


@pytest.fixture(scope="module")
def cluster():
    done = subprocess.run([CLUSTER, "up"], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(done.stderr, pytrace=False)
    yield
    subprocess.run([CLUSTER, "down"], check=True)


@pytest.fixture(scope="module")
def profile(root) -> dict:
    return yaml.safe_load((root / "workflow/profiles/slurm/config.yaml").read_text())


@pytest.fixture(scope="module")
def local(root, tmp_path_factory) -> Path:
    """A folder in which the same configuration runs without Slurm; `finished` waits for its end."""
    return configured_copy(root, tmp_path_factory.mktemp("local"))


@pytest.fixture(scope="module")
def finished(root, cluster, profile, local, tmp_path_factory) -> Path:
    """A project folder whose run through Slurm has ended well."""
    folder = configured_copy(root, tmp_path_factory.mktemp("slurm"))
    profile["set-resources"]["train_autoencoder"] |= TRAINING
    (folder / "workflow/profiles/slurm/config.yaml").write_text(yaml.safe_dump(profile))
    (folder / "faults").mkdir()
    through_slurm = start(
        folder,
        *("--workflow-profile", "workflow/profiles/slurm"),
        *("--slurm-init-seconds-before-status-checks", "2"),
        PYTHONPATH=str(CLUSTER.with_name("faults")),
        MEDAE_FAULTS=str(folder / "faults"),
    )
    on_this_machine = start(local, "--cores", "1", *(f"results/small/{name}" for name in TARGETS))
    try:
        for run, place in [(on_this_machine, local), (through_slurm, folder)]:
            assert run.wait(timeout=900) == 0, (place / "output.txt").read_text()
    finally:
        on_this_machine.kill()
        through_slurm.kill()
    return folder


@pytest.fixture(scope="module")
def jobs(finished) -> dict[str, list[dict]]:
    """Slurm's own record of the run's jobs: for each comment its attempts, in their order."""
    name = re.search(r"SLURM run ID: (\S+)", (finished / "output.txt").read_text())[1]
    command = ["scontrol", "--oneliner", "show", "job"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = defaultdict(list)
    for line in text.splitlines():
        job = dict(part.split("=", 1) for part in line.split() if "=" in part)
        if job["JobName"] == name:
            found[job["Comment"]].append(job)
    for attempts in found.values():
        attempts.sort(key=lambda job: int(job["JobId"]))
    return dict(found)


def trainings(jobs) -> dict[int, list[dict]]:
    return {d: jobs[f"rule_train_autoencoder_wildcards_phantom_all_ae_{d}"] for d in [2, *FAULTS]}


THEORY = {"measure_entropy", "select_latent_dim"}  # off in this configuration


def test_every_rule_went_through_slurm_to_its_partition(jobs, profile):
    rules = {comment.removeprefix("rule_").split("_wildcards_")[0] for comment in jobs}
    assert set(profile["set-resources"]) - THEORY <= rules
    assert {"generate_phantom", "collect_metrics", "tabulate_methods"} <= rules
    for comment, attempts in jobs.items():
        gpu = comment.startswith("rule_train_autoencoder_")
        for job in attempts:
            assert job["Partition"] == ("gpu" if gpu else "cpu"), comment
            assert job.get("TresPerJob") == ("gres:gpu:1" if gpu else None), comment


def test_trainings_queue_on_the_gpus(jobs):
    attempts = [job for attempts in trainings(jobs).values() for job in attempts]
    firsts = [attempts[0] for attempts in trainings(jobs).values()]
    # Slurm writes times so that they order as texts.
    assert max(job["SubmitTime"] for job in firsts) < min(job["EndTime"] for job in firsts)
    at_once = [
        sum(other["StartTime"] <= job["StartTime"] < other["EndTime"] for other in attempts)
        for job in attempts
    ]
    assert max(at_once) == GPUS


@pytest.mark.parametrize(
    ("d", "state"), [(3, "FAILED"), (4, "CANCELLED"), (5, "TIMEOUT"), (6, "FAILED")]
)
def test_a_failed_training_is_submitted_again_with_more(jobs, d, state):
    first, second = trainings(jobs)[d]
    assert (first["JobState"], second["JobState"]) == (state, "COMPLETED")
    assert (first["MinMemoryNode"], second["MinMemoryNode"]) == ("1200M", "2400M")
    limits = ("00:01:00", "00:02:00") if FAULTS[d] == "time" else ("00:20:00", "00:40:00")
    assert (first["TimeLimit"], second["TimeLimit"]) == limits


def test_the_training_itself_gets_the_signal_before_its_time_is_over(finished, jobs):
    assert "SIGTERM" in (finished / "faults/time.txt").read_text()


def test_the_rest_of_the_grid_goes_on(jobs):
    (healthy,) = trainings(jobs)[2]
    (scoring,) = jobs["rule_score_images_wildcards_phantom_all_ae_2"]
    assert healthy["JobState"] == scoring["JobState"] == "COMPLETED"
    # While the training that runs out of time is tried again, the others are scored.
    assert scoring["EndTime"] < trainings(jobs)[5][-1]["EndTime"]


def test_results_are_those_of_a_run_without_slurm(finished, local):
    for name in TARGETS:
        ours, theirs = (folder / "results/small" / name for folder in (finished, local))
        assert ours.read_bytes() == theirs.read_bytes(), name
