"""The core without the theory: nothing imports it, and what is left is whole."""

import re
import shutil

import pytest
from small_project import copy_project

pytestmark = pytest.mark.workflow

STAGES = ["base", "data", "duplicates", "models", "evaluation", "report", "workflow"]
THEORY = ["scripts/theory", "scripts/medae/theory", "workflow/theory", "config/theory.yaml"]


@pytest.fixture
def core(root, tmp_path):
    """The project without its theory."""
    project = copy_project(root, tmp_path / "project")
    for name in THEORY:
        path = project.folder / name
        assert path.exists()
        (shutil.rmtree if path.is_dir() else type(path).unlink)(path)
    return project


def test_the_core_is_planned_without_the_theory(core):
    assert sum(core.planned().values()) > 20


def test_imports_run_one_way(root):
    """As docs/architecture.md has it: a stage imports those before it, and itself; none theory."""
    scripts = root / "scripts"
    for place, stage in enumerate(STAGES):
        files = [*scripts.glob(f"medae/{stage}/**/*.py"), *scripts.glob(f"{stage}/*.py")]
        if stage == "workflow":  # and what belongs to no stage
            files += [*scripts.glob("*.py"), *root.glob("workflow/rules/*.smk")]
            files.append(root / "workflow/Snakefile")
        for path in files:
            text = path.read_text()
            found = set(re.findall(r"^ *(?:from|import) medae[. ](?:import )?(\w+)", text, re.M))
            assert found <= set(STAGES[: place + 1]), path
