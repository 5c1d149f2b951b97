"""Files that services outside read: the workflow catalog, GitHub Actions, citation managers."""

import os
import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
import yaml

PAGES = ["README.md", "docs/configuration.md", "docs/extending.md", "docs/files.md"]
PAGES += ["docs/rulegraph.md", "docs/audit.md", "docs/slurm.md", "docs/theory.md", "docs/speed.md"]


def load(path: Path) -> dict:
    # BaseLoader leaves all values text: YAML 1.1 would make `on` true, and dates dates
    return yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)


def rule_texts(root: Path) -> Iterator[str]:
    """Yield the text of every rule of workflow/rules."""
    for path in (root / "workflow/rules").glob("*.smk"):
        yield from re.split(r"^rule \w+:$", path.read_text(encoding="utf-8"), flags=re.M)[1:]


def test_the_catalog_is_told_what_the_workflow_has(root):
    """https://snakemake.github.io/snakemake-workflow-catalog, "standardized usage"."""
    usage = load(root / ".snakemake-workflow-catalog.yml")["usage"]
    assert usage == {"software-stack-deployment": {"conda": "true", "report": "true"}}
    assert (root / "workflow/Snakefile").exists() and (root / "config/README.md").exists()
    assert re.search(r'^report: "', (root / "workflow/Snakefile").read_text(), re.M)
    texts = list(rule_texts(root))
    assert len(texts) > 40
    for text in texts:
        assert '    conda:\n        "../../envs/environment.yaml"\n' in text, text
    assert (root / "envs/environment.yaml").exists()


def test_github_runs_what_has_to_pass_on_a_clean_checkout(root):
    workflow = load(root / ".github/workflows/test.yml")
    assert {"push", "pull_request"} <= workflow["on"].keys()
    assert workflow["permissions"] == {"contents": "read"}
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    assert [step["run"] for step in steps if "run" in step] == [".ci/run"]
    assert os.access(root / ".ci/run", os.X_OK)
    for step in steps:
        assert "run" in step or re.fullmatch(r"actions/[\w-]+@v\d+\.\d+\.\d+", step["uses"])


def test_github_takes_the_python_and_the_lock_of_the_project(root):
    steps = load(root / ".github/workflows/test.yml")["jobs"]["test"]["steps"]
    setup = next(step["with"] for step in steps if "setup-python" in step.get("uses", ""))
    oldest = re.search(r'^requires-python = ">=(.+)"$', (root / "pyproject.toml").read_text(), re.M)
    assert setup["python-version"] == oldest[1]
    assert (root / setup["cache-dependency-path"]).exists()


def test_the_citation_has_what_its_format_asks_for(root):
    """Citation File Format 1.2.0: required keys, types and forms of what is there."""
    citation = load(root / "CITATION.cff")
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= citation.keys()
    assert citation["type"] in ("software", "dataset")
    assert date.fromisoformat(citation["date-released"])
    assert citation["license"] in (root / "pyproject.toml").read_text()  # an SPDX identifier
    for work in (citation, *citation["references"]):
        assert work["title"] and work["authors"] and work["type"]
        for author in work["authors"]:
            assert author.keys() in ({"name"}, {"family-names", "given-names"})
        for identifier in work.get("identifiers", []):
            assert identifier["type"] in ("doi", "url", "swh", "other") and identifier["value"]


def test_the_paper_is_cited_as_the_readme_does(root):
    number = re.search(r"arxiv\.org/abs/([\d.]+)", (root / "README.md").read_text())[1]
    references = load(root / "CITATION.cff")["references"]
    values = [each["value"] for work in references for each in work["identifiers"]]
    assert f"arXiv:{number}" in values


def headings(path: Path) -> set[str]:
    """Return the anchors that GitHub gives the headings of a document."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)
    found = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


def links(path: Path) -> list[tuple[str, str]]:
    """Return file and anchor of the links of a document to files of the project."""
    found = re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)", path.read_text(encoding="utf-8"))
    return [(file, anchor) for file, anchor in found if "://" not in file]


@pytest.mark.parametrize("document", PAGES)
def test_links_of_a_page_lead_somewhere(root, document):
    path = root / document
    found = links(path)
    assert found
    for file, anchor in found:
        target = path.parent / file if file else path
        assert target.exists(), file
        assert not anchor or anchor in headings(target), f"{file}#{anchor}"
