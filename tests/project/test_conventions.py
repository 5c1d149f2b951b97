"""What services outside read, and what has to agree: versions, locks, citations."""

import os
import re
import tomllib
from datetime import date
from pathlib import Path

import yaml

import medae


def load(path: Path) -> dict:
    # BaseLoader leaves all values text: YAML 1.1 would make `on` true, and dates dates
    return yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)


def test_the_catalog_is_told_what_the_workflow_has(root):
    """https://snakemake.github.io/snakemake-workflow-catalog, "standardized usage"."""
    usage = load(root / ".snakemake-workflow-catalog.yml")["usage"]
    assert usage == {"software-stack-deployment": {"conda": "true", "report": "true"}}
    assert (root / "config/README.md").exists()
    assert re.search(r'^report: "', (root / "workflow/Snakefile").read_text(), re.M)


def test_github_runs_what_has_to_pass_on_a_clean_checkout(root):
    workflow = load(root / ".github/workflows/test.yml")
    assert workflow["permissions"] == {"contents": "read"}
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    assert [step["run"] for step in steps if "run" in step] == [".ci/run"]
    assert os.access(root / ".ci/run", os.X_OK)
    setup = next(step["with"] for step in steps if "setup-python" in step.get("uses", ""))
    oldest = tomllib.loads((root / "pyproject.toml").read_text())["project"]["requires-python"]
    assert oldest == f">={setup['python-version']}"
    assert (root / setup["cache-dependency-path"]).exists()


def test_the_citation_has_what_its_format_asks_for(root):
    """Citation File Format 1.2.0; the paper is the one that README names."""
    citation = load(root / "CITATION.cff")
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= citation.keys()
    assert date.fromisoformat(citation["date-released"])
    for work in (citation, *citation["references"]):
        assert work["title"] and work["authors"] and work["type"]
    number = re.search(r"arxiv\.org/abs/([\d.]+)", (root / "README.md").read_text())[1]
    identifiers = [each for work in citation["references"] for each in work["identifiers"]]
    assert f"arXiv:{number}" in [each["value"] for each in identifiers]


def test_versions_agree(root):
    citation = load(root / "CITATION.cff")
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
    *pins, from_pypi = load(root / "envs/environment.yaml")["dependencies"]
    for pin in (*pins, *(pin.replace("==", "=") for pin in from_pypi["pip"])):
        name, _, version = pin.partition("=")
        if name not in ("python", "pip"):
            assert lock[other.get(name, name)] == version, pin
