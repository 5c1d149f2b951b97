"""The core without the theory: nothing imports it, and what is left is whole."""

import re
import shutil
import subprocess
import sys

import pytest
from small_project import copy_project

pytestmark = pytest.mark.workflow

STAGES = ["base", "data", "duplicates", "models", "evaluation", "report"]
THEORY = ["scripts/theory", "scripts/medae/theory", "workflow/theory", "config/theory.yaml"]


@pytest.fixture
def core(root, tmp_path):
    """The project without its theory."""
    project = copy_project(root, tmp_path / "project")
    for name in ("tests", "pyproject.toml"):
        source = root / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, project.folder / name)
    for name in [*THEORY, "tests/theory"]:
        path = project.folder / name
        assert path.exists()
        (shutil.rmtree if path.is_dir() else type(path).unlink)(path)
    return project


def test_the_core_is_planned_and_imported_without_the_theory(core):
    """By Snakemake, and by its tests where they are collected."""
    assert sum(core.planned().values()) > 20
    command = [sys.executable, "-m", "pytest", "-q", "--collect-only", "-p", "no:cacheprovider"]
    tests = [*(f"tests/{stage}" for stage in STAGES), "tests/workflow/test_grid.py"]
    done = subprocess.run([*command, *tests], cwd=core.folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]


def test_no_file_of_the_core_imports_the_theory(root):
    files = [*root.glob("scripts/**/*.py"), *root.glob("workflow/rules/*.smk")]
    for path in [*files, root / "workflow/Snakefile"]:
        if "theory" not in path.relative_to(root).parts:
            assert "medae.theory" not in path.read_text(), path


def test_imports_run_one_way(root):
    """As docs/architecture.md has it: a stage imports those before it, and itself."""
    scripts = root / "scripts"
    for place, stage in enumerate(STAGES):
        for path in [*scripts.glob(f"medae/{stage}/**/*.py"), *scripts.glob(f"{stage}/*.py")]:
            found = set(re.findall(r"^ *from medae\.(\w+)", path.read_text(), re.M))
            assert found <= set(STAGES[: place + 1]), path
