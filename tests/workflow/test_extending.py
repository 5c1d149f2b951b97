"""docs/extending.md, followed to the letter in a copy of the project."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from image_files import write_noise

from medae.base.files import read_table
from medae.models.checkpoints import load_tensors

pytestmark = pytest.mark.workflow

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)
CREATE = re.compile(r"(?:^|\s)Create `([^`]+)`[^\n]*(?:\n[^\n]+)*\n\n\Z")
CLASSES = {"train/normal": 12, "test/normal": 4, "test/abnormal": 4}  # patients


def follow(document: Path, heading: str, project: Path) -> None:
    """Do what the section of a document says: create files, apply changes, run commands.

    A block of another kind is written to the file that the paragraph before it says to create.
    """
    text = document.read_text(encoding="utf-8")
    section = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", text, re.M | re.S)[1]
    done = []
    for block in BLOCK.finditer(section):
        kind, content = block.groups()
        if kind == "diff":
            run(["git", "apply", "-"], project, text=content)
        elif kind == "sh":
            run(["bash", "-e", "-x", "-c", content], project)
        else:
            path = project / CREATE.search(section[: block.start()])[1]
            assert not path.exists(), path
            path.write_text(content, encoding="utf-8")
        done.append(kind)
    assert done.count("sh") == 1 and done[-1] == "sh" and "yaml" in done


def run(command: list[str], folder: Path, text: str = "") -> None:
    done = subprocess.run(
        command, cwd=folder, input=text, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def project(fresh, root) -> Path:
    """A copy of the project with its documents, tests and environment."""
    ignore = shutil.ignore_patterns("__pycache__")
    for name in ("tests", "docs"):
        shutil.copytree(root / name, fresh.folder / name, ignore=ignore)
    for name in ("README.md", "pyproject.toml"):
        shutil.copy2(root / name, fresh.folder / name)
    (fresh.folder / ".venv").symlink_to(sys.prefix)
    return fresh.folder


def test_a_method_as_the_document_adds_it(project, root):
    before = {path: path.read_bytes() for path in project.rglob("*.*") if path.is_file()}
    follow(root / "docs/extending.md", "A method", project)
    table = project / "results/denoising/tables/methods.md"
    assert "Denoising AE" in table.read_text(encoding="utf-8")
    (model,) = project.glob(
        "results/denoising/models/phantom/all/denoising_ae/*/*/checkpoint.safetensors"
    )
    assert load_tensors(model)[1]["arguments"]["noise_sigma"] == 0.2
    assert all(path.read_bytes() == content for path, content in before.items())


def test_a_dataset_as_the_document_adds_it(project, root):
    names = (
        f"{place}_p{number}{patient:02}_{name}.png"
        for number, (place, patients) in enumerate(CLASSES.items())
        for patient in range(patients)
        for name in "ab"
    )
    write_noise(project / "data/Ward", names, (48, 40))
    follow(root / "docs/extending.md", "A dataset", project)
    metrics = read_table(project / "results/ward/metrics.tsv").query("method == 'ae'")
    numbers = metrics[["n_train", "n_normal", "n_abnormal"]].drop_duplicates()
    assert numbers.to_numpy().tolist() == [[24, 8, 8]]
    audit = read_table(project / "results/ward/audit/ward/images.tsv")
    assert audit["other_patient_similarity"].notna().any()  # group_pattern finds the patients
