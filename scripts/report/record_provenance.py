"""Record how a run's results were made: code, packages, configuration, hardware, time by stage."""

import json
import platform
import subprocess
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import pandas as pd

import medae
from medae.base.files import read_table, write_text
from medae.base.hardware import machine

PACKAGES = ["snakemake", "torch", "numpy", "pandas", "scikit-learn", "scikit-dimension"]
PACKAGES += ["constriction", "kneed", "matplotlib", "h5py", "seaborn", "pillow", "simplejpeg"]
PACKAGES += ["pydicom", "nibabel", "nilearn", "scipy", "safetensors"]


def git_state(folder: Path) -> dict:
    """Return the commit of the code and whether it was changed; empty outside a checkout."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return {
            "commit": git("rev-parse", "HEAD"),
            "modified": bool(git("status", "--porcelain", "--untracked-files=no")),
        }
    except (OSError, subprocess.CalledProcessError):
        return {}


def stage_times(benchmarks: Path) -> dict:
    """Return jobs, summed wall seconds and the largest memory in MiB of each rule."""
    tables = {}
    for path in sorted(benchmarks.rglob("*.tsv")):
        rule = path.relative_to(benchmarks).parts[0].removesuffix(".tsv")
        tables.setdefault(rule, []).append(read_table(path))
    stages = {}
    for rule, parts in tables.items():
        jobs = pd.concat(parts)
        memory = pd.to_numeric(jobs["max_rss"], errors="coerce").fillna(0)  # NA of a short job
        stages[rule] = {
            "jobs": len(jobs),
            "wall_seconds": round(float(jobs["s"].sum()), 2),
            "max_rss_mib": round(float(memory.max()), 1),
        }
    return stages


def checkpoint_description(path: Path) -> dict:
    """Return what a checkpoint says of its training, read without torch."""
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return json.loads(header["__metadata__"]["medae"])


def distinct_trainings(descriptions: Sequence[dict]) -> list[dict]:
    """Return the distinct devices, versions and code that trainings name."""
    keys = ("method", "device", "device_name", "versions", "code_sha256", "training")
    parts = [{key: description[key] for key in keys} for description in descriptions]
    found = {json.dumps(part, sort_keys=True): part for part in parts}
    return [found[key] for key in sorted(found)]


def smaller_batches(descriptions: Sequence[dict]) -> list[dict]:
    """Return the trainings whose batches were smaller than configured, for lack of memory."""
    keys = ("dataset", "training_set", "method", "seed", "batch_size_used")
    return [
        {key: one[key] for key in keys} | {"latent_dim": one["arguments"]["latent_dim"]}
        for one in descriptions
        if one["batch_size_used"] != one["training"]["batch_size"]
    ]


def leaked_patients(audit: Path) -> int:
    """Return the number of test images of patients who have images in training too."""
    images = read_table(audit)
    return int(images.loc[images["split"] == "test", "patient_in_both"].sum())


def record_provenance(
    *,
    audits: Sequence[Path],
    configuration: dict,
    configfiles: str,
    benchmarks: str,
    checkpoints: Sequence[Path],
    provenance: Path,
) -> None:
    """Write the record as JSON; `benchmarks` is the folder of the rules' benchmark files.

    `audits` are images.tsv of the configuration's datasets, in their order.
    """
    descriptions = [checkpoint_description(path) for path in checkpoints]
    record = {
        "command": f"snakemake --cores all --configfile {configfiles}",
        "code": {"version": medae.__version__, **git_state(Path(__file__).parent)},
        "packages": {"python": platform.python_version()} | {p: version(p) for p in PACKAGES},
        "hardware": machine(),
        "trainings": distinct_trainings(descriptions),
        "trained_with_smaller_batches": smaller_batches(descriptions),
        "test_images_of_training_patients": dict(
            zip(configuration["datasets"], map(leaked_patients, audits), strict=True)
        ),
        "stages": stage_times(Path(benchmarks)),
        "configuration": configuration,
    }
    write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", provenance)


if __name__ == "__main__":
    from medae.base.scripts import run_script

    run_script(record_provenance, snakemake)
