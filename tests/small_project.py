"""A copy of the project in which Snakemake runs on small data."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yaml

SMALL = {
    "run": "small",
    "datasets": ["phantom"],
    "grid": [{"methods": ["ae"], "latent_dims": [2, 4]}],
    "seeds": [0, 1],
    "baselines": {"latent_dims": [2]},
    "training": {"epochs": 2, "batch_size": 8, "device": "cpu"},
    "figures": {"reference": {"method": "ae", "latent_dim": 4}},
    "registry": {
        "phantom": {
            "generator": {"train_normal": 16, "test_normal": 6, "test_abnormal": 6},
            "expected": {"train": 16, "test_normal": 6, "test_abnormal": 6},
        }
    },
}
ONE_MODEL = {"grid": [{"methods": ["ae"], "latent_dims": [4]}], "seeds": [0]}
ENVIRONMENT = os.environ | {"PYTHONHASHSEED": "0", "COLUMNS": "200"}


def own_entry(path: Path | str | None, *, masks: bool = False) -> dict:
    """Return a registry entry for a folder of images, or for a `folder` of the caller's."""
    entry = {"name": "Mine", "layout": "folder", "channels": 1}
    place = {} if path is None else {"path": str(path)}
    return entry | {"masks": masks, "epochs": 1} | place


@dataclass
class Project:
    """A project folder and the way to call Snakemake in it."""

    folder: Path

    @property
    def results(self) -> Path:
        return self.folder / "results" / "small"

    def configure(self, name: str = "small.yaml", **changes) -> None:
        """Write config/<name>: SMALL with top-level keys replaced."""
        text = yaml.safe_dump(SMALL | changes, sort_keys=False)
        (self.folder / "config" / name).write_text(text)

    def snakemake(self, *arguments: str, config: str = "config/small.yaml", cores: int = 2):
        return subprocess.run(
            command(*arguments, config=config, cores=cores),
            cwd=self.folder,
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            check=False,
            timeout=1800,
        )

    def run(self, *arguments: str, **options) -> str:
        """Run Snakemake to a good end; return what it printed."""
        done = self.snakemake(*arguments, **options)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def fails(self, *arguments: str, **options) -> str:
        """Run Snakemake, which has to fail with a sentence; return what it printed."""
        done = self.snakemake(*arguments, **options)
        text = done.stdout + done.stderr
        assert done.returncode != 0 and "Traceback" not in text, text
        return text

    def start(self, *arguments: str, cores: int = 2) -> subprocess.Popen:
        """Start Snakemake as the leader of a process group."""
        return subprocess.Popen(
            command(*arguments, config="config/small.yaml", cores=cores),
            cwd=self.folder,
            env=ENVIRONMENT,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def planned(self, *arguments: str, **options) -> dict[str, int]:
        """Return the rules that a dry run would run, with their numbers of jobs."""
        lines = self.run(*arguments, "--dry-run", "--quiet", "host", **options).splitlines()
        if "job" not in " ".join(lines).split():
            return {}
        start = next(i for i, line in enumerate(lines) if line.split() == ["job", "count"])
        rows = [line.split() for line in lines[start + 2 :]]
        rows = rows[: next(i for i, row in enumerate(rows) if row[:1] == ["total"])]
        return {rule: int(count) for rule, count in rows if rule != "all"}


def command(*arguments: str, config: str, cores: int) -> list[str]:
    """Return Snakemake's command line."""
    start = [sys.executable, "-m", "snakemake", "--cores", str(cores)]
    return [*start, *arguments, "--configfile", config]


def wait_for(condition: Callable[[], object], process: subprocess.Popen, seconds: float = 120):
    """Wait until `condition` is true, or `process` has ended."""
    deadline = time.monotonic() + seconds
    while not condition() and process.poll() is None:
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def copy_project(root: Path, folder: Path) -> Project:
    """Copy what the workflow needs; times are kept, so that nothing looks newer than it is."""
    for name in ("workflow", "scripts", "config", "envs"):
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(root / name, folder / name, ignore=ignore)
    project = Project(folder)
    project.configure()
    return project
