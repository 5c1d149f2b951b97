"""README and its neighbours against the files and code that they speak of."""

import re

import pytest
import yaml

QUOTE = re.compile(r"<!-- begin (\S+) -->\n(.*?)<!-- end -->", re.DOTALL)
DOCUMENTS = ["README.md", "config/README.md", "CONTRIBUTING.md", "CHANGELOG.md"]
DOCUMENTS += ["docs/audit.md", "docs/faults.md", "docs/slurm.md", "docs/theory.md"]
DOCUMENTS += [
    "docs/speed.md",
    "results/reference/theory/README.md",
    "results/reference/bench/README.md",
]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_quoted_files_are_quoted_word_for_word(root, document):
    for path, text in QUOTE.findall((root / document).read_text(encoding="utf-8")):
        assert text == (root / path).read_text(encoding="utf-8"), path


def test_the_readme_quotes_results(root):
    assert QUOTE.findall((root / "README.md").read_text(encoding="utf-8"))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_linked_files_exist(root, document):
    text = (root / document).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        if "://" not in target:
            assert ((root / document).parent / target).exists(), target


def test_make_targets_of_the_readme_exist(root):
    makefile = (root / "Makefile").read_text()
    for target in re.findall(r"\bmake ([a-z]+)", (root / "README.md").read_text()):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_every_configuration_has_a_line(root):
    text = (root / "config/README.md").read_text()
    for path in (root / "config").glob("*.yaml"):
        assert f"`{path.name}`" in text


def test_every_dataset_has_a_licence_line(root):
    registry = yaml.safe_load((root / "config/datasets.yaml").read_text())["registry"]
    text = (root / "README.md").read_text()
    for key, entry in registry.items():
        assert f"| `{key}` |" in text
        assert entry["license"] and entry["citation"]


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


def test_versions_agree(root):
    import tomllib

    import medae

    citation = yaml.safe_load((root / "CITATION.cff").read_text())
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    changelog = (root / "CHANGELOG.md").read_text()
    assert medae.__version__ == project["version"] == citation["version"]
    assert re.search(rf"^## {re.escape(medae.__version__)} ", changelog, re.MULTILINE)


def test_reference_results_name_their_command(root):
    for folder in (root / "results/reference").iterdir():
        text = (folder / "README.md").read_text(encoding="utf-8")
        assert "snakemake" in text, folder
        assert (folder / "provenance.json").exists(), folder


def test_the_picture_of_the_workflow_is_the_drawn_one(root):
    drawn = re.compile(r"```mermaid\n.*?```", re.DOTALL)
    pictures = [drawn.findall((root / p).read_text()) for p in ("README.md", "docs/rulegraph.md")]
    assert pictures[0] == pictures[1] and len(pictures[0]) == 1
