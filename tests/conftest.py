"""Fixtures that several tests share."""

import logging
import os
import shutil
from pathlib import Path

import pytest
from small_project import Project, copy_project


@pytest.fixture(autouse=True)
def _log_level():
    """The level of the log after a test as before it; a script's tail sets it."""
    level = logging.getLogger().level
    yield
    logging.getLogger().setLevel(level)


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's root folder."""
    return Path(__file__).parents[1]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of the real datasets, named by MEDAE_DATA."""
    folder = os.environ.get("MEDAE_DATA")
    if not folder:
        pytest.skip("MEDAE_DATA does not name a folder with the real datasets")
    return Path(folder).resolve()


@pytest.fixture(scope="session")
def finished(root, tmp_path_factory) -> Project:
    """A project whose small run is done; tests must leave it as it is."""
    project = copy_project(root, tmp_path_factory.mktemp("finished"))
    project.run()
    return project


@pytest.fixture
def finished_copy(finished, tmp_path) -> Project:
    """A copy of the finished project, to edit."""
    shutil.copytree(finished.folder, tmp_path / "project", symlinks=True)
    return Project(tmp_path / "project")


@pytest.fixture
def fresh(root, tmp_path) -> Project:
    """A project in which nothing has run."""
    return copy_project(root, tmp_path / "project")
