"""The profiles in workflow/profiles against the workflow's rules."""

import re
import subprocess
import sys

import pytest
import yaml

PROFILES = ["default", "gpu", "slurm"]
SLURM_RESOURCES = {"slurm_partition", "gpu", "slurm_extra"}


@pytest.fixture(scope="module")
def rules(root) -> dict[str, str]:
    """The text of every rule of workflow/rules, by name."""
    text = "\n".join(path.read_text() for path in sorted((root / "workflow/rules").glob("*.smk")))
    parts = re.split(r"^rule (\w+):\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def read(root, name: str) -> dict:
    return yaml.safe_load((root / f"workflow/profiles/{name}/config.yaml").read_text())


def local_rules(root) -> set[str]:
    text = (root / "workflow/rules/data.smk").read_text()
    return set(re.findall(r"\w+", re.search(r"^localrules:\n((?:    .*\n)+)", text, re.M)[1]))


def test_every_profile_is_tested(root):
    assert sorted(path.name for path in (root / "workflow/profiles").iterdir()) == PROFILES


@pytest.mark.parametrize("name", PROFILES)
def test_snakemake_accepts_the_profile(root, tmp_path, name):
    profile = root / "workflow/profiles" / name
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
def test_profiles_name_rules_of_the_workflow(root, rules, name):
    assert set(read(root, name).get("set-resources", {})) <= set(rules)


def test_downloads_stay_on_the_login_node(root):
    assert local_rules(root) == {"download_dataset"}
    assert read(root, "slurm")["local-cores"] == 1


def test_slurm_profile_has_an_entry_for_every_rule(root, rules):
    """A rule's own mem_mb and runtime would hide the profile's defaults and never grow."""
    assert set(read(root, "slurm")["set-resources"]) == set(rules) - local_rules(root)


def test_slurm_profile_asks_for_more_with_each_attempt(root):
    profile = read(root, "slurm")
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


def test_slurm_profile_asks_for_no_less_than_the_rules(root, rules):
    for rule, resources in read(root, "slurm")["set-resources"].items():
        for name in ("mem_mb", "runtime"):
            own = int(re.search(rf"\b{name}=(\d+)", rules[rule])[1])
            assert eval(resources[name], {"attempt": 1}) >= own, (rule, name)


def test_only_trainings_take_a_gpu_from_slurm(root):
    resources = read(root, "slurm")["set-resources"]
    assert {rule for rule, own in resources.items() if "gpu" in own} == {"train_autoencoder"}
    partitions = {rule: own["slurm_partition"] for rule, own in resources.items()}
    assert {rule for rule, name in partitions.items() if name == "gpu"} == {"train_autoencoder"}


def test_no_rule_retries_inside_its_allocation(rules):
    """A rule's own `retries` are done in the same Slurm job, with the memory that it has."""
    assert not [rule for rule, text in rules.items() if re.search(r"^    retries:", text, re.M)]
