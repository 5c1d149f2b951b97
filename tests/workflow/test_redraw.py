"""What `make redraw` promises: committed tables follow from committed metrics."""

import re
import shutil

import pytest

pytestmark = pytest.mark.workflow


def test_committed_tables_are_those_of_the_committed_metrics(fresh, root):
    """By the Makefile's rules; in a copy, where results/redrawn is as there."""
    committed = root / "results/reference/paper_public"
    redrawn = fresh.folder / "results/redrawn"
    for name in ("intervals", "tests"):
        shutil.copytree(committed / name, redrawn / name)
    shutil.copy(committed / "metrics.tsv", redrawn)
    rules = re.findall(r"(?:tabulate|compare)_\w+", (root / "Makefile").read_text())
    config = ("--config", "run=redrawn", "--allowed-rules", *rules)
    fresh.run(*rules, *config, config="config/paper_public.yaml")
    for name in ("latent_dimension", "methods", "paper_comparison", "scores"):
        for end in ("tsv", "md"):
            path = redrawn / f"tables/{name}.{end}"
            assert path.read_bytes() == (committed / f"tables/{name}.{end}").read_bytes(), path.name
