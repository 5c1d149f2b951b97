"""Fixtures that several tests share."""

import os
from pathlib import Path

import pytest


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
