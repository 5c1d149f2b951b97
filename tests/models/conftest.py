"""Fixtures that the tests of models share."""

import pytest
import torch

from medae.models.torch_setup import make_deterministic


@pytest.fixture(autouse=True)
def deterministic():
    """Compute as the workflow does, in this folder's tests alone."""
    threads = torch.get_num_threads()
    make_deterministic(1)
    yield
    torch.set_deterministic_debug_mode("default")
    torch.set_num_threads(threads)
