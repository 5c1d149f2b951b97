"""The profiles in workflow/profiles against the workflow's rules."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

FOLDER = Path(__file__).parents[2] / "workflow/profiles"
PROFILES = sorted(path.name for path in FOLDER.iterdir())
SLURM_RESOURCES = {"slurm_partition", "gpu", "slurm_extra"}


@pytest.fixture(scope="module")
def rules(root) -> set[str]:
    """The names of all rules, those of the theory too."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", root / "workflow/Snakefile"]
    command += ["--list-rules", "--configfile", root / "config/theory.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root)
    return set(done.stdout.split())


def read(name: str) -> dict:
    return yaml.safe_load((FOLDER / name / "config.yaml").read_text())


@pytest.mark.parametrize("name", PROFILES)
def test_snakemake_accepts_the_profile(root, tmp_path, name):
    profile = FOLDER / name
    command = [
        *(sys.executable, "-m", "snakemake", "--snakefile", root / "workflow/Snakefile"),
        *("--dry-run", "--cores", "1", "--directory", tmp_path, "--workflow-profile", profile),
        *("--configfile", root / "config/demo.yaml"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    assert f"Using workflow specific profile {profile}" in output


@pytest.mark.parametrize("name", PROFILES)
def test_profiles_name_rules_of_the_workflow(rules, name):
    assert set(read(name).get("set-resources", {})) <= rules


def test_rules_leave_resources_to_the_profiles(root):
    """A rule's own mem_mb and runtime would hide the profile's defaults and never grow.

    Its own `retries` would be done in the same Slurm job, with the memory that it has.
    """
    files = [*root.glob("workflow/rules/*.smk"), *root.glob("workflow/theory/*.smk")]
    for path in files:
        assert not re.search(r"^ +(resources|retries):", path.read_text(), re.M), path


def test_slurm_profile_asks_for_more_with_each_attempt():
    profile = read("slurm")
    attempts = range(1, profile["retries"] + 2)
    assert len(attempts) >= 3
    for rule, resources in [
        ("default-resources", profile["default-resources"]),
        *profile["set-resources"].items(),
    ]:
        assert set(resources) - SLURM_RESOURCES == {"mem_mb", "runtime"}, rule
        for name in ("mem_mb", "runtime"):
            asked = [eval(resources[name], {"attempt": attempt}) for attempt in attempts]
            assert asked == sorted(set(asked)) and asked[0] > 0, (rule, name, asked)
