"""The core without the theory: nothing imports it, and what is left runs."""

import shutil
import subprocess
import sys

import pytest
from small_project import copy_project

pytestmark = pytest.mark.workflow

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


def test_the_core_runs_without_the_theory(core):
    assert sum(core.planned().values()) > 20
    rooms = ["base", "data", "duplicates", "models", "evaluation", "report"]
    units = [f"tests/{room}" for room in rooms]
    command = [sys.executable, "-m", "pytest", "-q", "--exitfirst", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "--collect-only", *units], cwd=core.folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-3000:]
    quick = ["tests/evaluation", "tests/workflow/test_grid.py"]
    done = subprocess.run([*command, *quick], cwd=core.folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]


def test_no_file_of_the_core_imports_the_theory(root):
    for path in [*root.glob("scripts/**/*.py"), *root.glob("workflow/rules/*.smk")]:
        if "theory" not in path.relative_to(root).parts:
            assert "medae.theory" not in path.read_text(), path
