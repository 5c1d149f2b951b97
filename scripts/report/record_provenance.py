"""Record how a run's results were made: code, packages, configuration, hardware, time by stage."""

import json
import platform
import subprocess
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import medae
from medae.base.files import read_table, write_text
from medae.base.hardware import machine

PACKAGES = ["snakemake", "torch", "numpy", "pandas", "scikit-learn", "scikit-dimension"]
PACKAGES += ["constriction", "kneed", "matplotlib", "h5py", "seaborn", "pillow", "nilearn"]
PACKAGES += ["safetensors"]


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
    stages: dict[str, dict] = {}
    for path in sorted(benchmarks.rglob("*.tsv")):
        rule = path.relative_to(benchmarks).parts[0].removesuffix(".tsv")
        table = read_table(path)
        stage = stages.setdefault(rule, {"jobs": 0, "wall_seconds": 0.0, "max_rss_mib": 0.0})
        stage["jobs"] += len(table)
        stage["wall_seconds"] = round(stage["wall_seconds"] + float(table["s"].sum()), 2)
        memory = table["max_rss"].astype(str).str.replace("NA", "0").astype(float).max()
        stage["max_rss_mib"] = max(stage["max_rss_mib"], round(float(memory), 1))
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
    found = []
    for description in descriptions:
        configured = description["training"]["batch_size"]
        if description["batch_size_used"] != configured:
            keys = ("dataset", "training_set", "method", "seed", "batch_size_used")
            named = {key: description[key] for key in keys}
            found.append(named | {"latent_dim": description["arguments"]["latent_dim"]})
    return found


def record_provenance(
    *,
    configuration: dict,
    configfiles: str,
    benchmarks: str,
    checkpoints: Sequence[Path],
    provenance: Path,
) -> None:
    """Write the record as JSON; `benchmarks` is the folder of the rules' benchmark files."""
    descriptions = [checkpoint_description(path) for path in checkpoints]
    record = {
        "command": f"snakemake --cores all --configfile {configfiles}",
        "code": {"version": medae.__version__, **git_state(Path(__file__).parent)},
        "packages": {"python": platform.python_version()} | {p: version(p) for p in PACKAGES},
        "hardware": machine(),
        "trainings": distinct_trainings(descriptions),
        "trained_with_smaller_batches": smaller_batches(descriptions),
        "stages": stage_times(Path(benchmarks)),
        "configuration": configuration,
    }
    write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", provenance)


if __name__ == "__main__":
    from medae.base.scripts import run_script

    run_script(record_provenance, snakemake)
