"""What has to agree: versions, licences, locks."""

import re
import tomllib

import yaml

import medae


def test_versions_agree(root):
    citation = yaml.safe_load((root / "CITATION.cff").read_text())
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    assert medae.__version__ == project["version"] == citation["version"]
    assert project["license"] == citation["license"]
    changelog = (root / "CHANGELOG.md").read_text()
    assert re.search(rf"^## {re.escape(medae.__version__)} ", changelog, re.MULTILINE)


def test_conda_environment_names_the_versions_of_the_lock(root):
    lines = (root / "envs/requirements.txt").read_text().splitlines()
    lock = dict(line.split("#")[0].strip().split("==") for line in lines if "==" in line)
    lock = {name.lower().replace("_", "-"): version for name, version in lock.items()}
    other = {"pytorch": "torch", "matplotlib-base": "matplotlib", "seaborn-base": "seaborn"}
    environment = yaml.safe_load((root / "envs/environment.yaml").read_text())
    *pins, from_pypi = environment["dependencies"]
    for pin in (*pins, *(pin.replace("==", "=") for pin in from_pypi["pip"])):
        name, _, version = pin.partition("=")
        if name not in ("python", "pip"):
            assert lock[other.get(name, name)] == version, pin
