"""Jobs of the workflow's scripts without Snakemake, in processes of their own.

As a program: `jobs.py SCRIPT JOB.json` runs a script with the input, output, params … of a job.
"""

import json
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np

SCRIPTS = Path(__file__).parents[2] / "scripts"
TRAINING = {"batch_size": 8, "device": "cpu", "learning_rate": 1e-3, "precision": "float32"}
TRAINING |= {"snapshots": [], "torch_threads": 1}


def write_packed(path: Path) -> Path:
    """Write a packed dataset of 24 images of noise to train and as many to test."""
    import packed_files

    images = np.random.default_rng(0).integers(0, 256, (24, 1, 32, 32), np.uint8)
    return packed_files.write_packed(path, images, images[::-1], [0, 1] * 12)


def training_job(packed: Path, folder: Path, *, epochs: int = 3, seeds=(0, 1), **training) -> dict:
    """Return the job that trains into `folder`; `training` changes keys of the configuration."""
    config = {"unusable_state": training.pop("unusable_state", "restart"), "cuda_graphs": True}
    return {
        "input": {
            "packed": str(packed),
            "training_rows": "",
            "modules": [str(path) for path in sorted((SCRIPTS / "medae" / "models").rglob("*.py"))],
        },
        "output": {
            "checkpoints": [str(folder / f"seed{s}/checkpoint.safetensors") for s in seeds],
            "histories": [str(folder / f"seed{s}/history.tsv") for s in seeds],
            "snapshots": [],
        },
        "params": {
            "module": "ae",
            "options": {"width": 4, "hidden_dim": 8},
            "seeds": list(seeds),
            "epochs": epochs,
            "training": TRAINING | training,
        },
        "wildcards": dict(dataset="noise", training_set="all", method="ae", latent_dim="2"),
        "config": {"training": config},
        "log": [str(folder / "log.txt")],
    }


def scoring_job(packed: Path, checkpoints: list[str], folder: Path) -> dict:
    """Return the job that scores with `checkpoints` into `folder`."""
    names = {"scores": "scores.tsv", "latents": "latents.h5", "maps": "maps.h5"}
    return {
        "input": {"packed": str(packed), "checkpoints": checkpoints},
        "output": {
            key: [str(folder / f"{number}/{name}") for number in range(len(checkpoints))]
            for key, name in names.items()
        },
        "params": {"batch_size": 8, "device": "cpu", "torch_threads": 1},
        "log": [str(folder / "log.txt")],
    }


def packing_job(images: Path, folder: Path) -> dict:
    """Return the job that packs the folder `images` into `folder`."""
    return {
        "input": {},
        "output": {"packed": str(folder / "packed.h5")},
        "params": {
            "root": str(images),
            "dataset": "noise",
            "image_size": 64,
            "entry": {"layout": "folder", "channels": 1, "masks": False},
        },
        "threads": 2,
        "log": [str(folder / "log.txt")],
    }


def command(script: str, job: dict, path: Path) -> list[str]:
    """Write the job to `path` and return the command that runs it."""
    path.write_text(json.dumps(job))
    return [sys.executable, __file__, script, str(path)]


def main(script: str, job: Path) -> None:
    """Run a script as Snakemake does."""
    parts = json.loads(job.read_text())
    namespaces = {
        key: SimpleNamespace(**parts[key])
        for key in ("input", "output", "params", "wildcards")
        if key in parts
    }
    snakemake = SimpleNamespace(**parts | namespaces)
    sys.path.insert(0, str(SCRIPTS))
    path = str(next(SCRIPTS.rglob(f"{script}.py")))
    runpy.run_path(path, init_globals={"snakemake": snakemake}, run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
