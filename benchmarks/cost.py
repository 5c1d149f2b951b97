"""What a training costs, by image size and latent dimension: measured, fitted, extrapolated.

    python benchmarks/cost.py --out results/bench [--repeats 3]

Time is measured as in a grid, with a training of one thread on every core, so an extrapolation to
many trainings divides by the number of cores. On a GPU there is one at a time.
Outputs: cost.md, steps.tsv (the seconds of training steps), cost.json.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

import numpy as np
import pandas as pd
import project
import roofline
import torch
import yaml
from plain_loop import BATCH
from processes import CORES, device, provenance, rate, with_peak_memory
from scipy.optimize import nnls

from medae.base.files import write_table, write_text
from medae.models.checkpoints import save_checkpoint
from medae.models.torch_setup import make_deterministic
from medae.report.tables import markdown_table
from medae.workflow.grid import settings

FITTED = [(32, 16), (64, 1), (64, 16), (64, 256), (64, 1024), (128, 16), (128, 256)]
CHECKED = [(96, 64)]  # image size and d of a point that the fit does not see
# Image size, d and number of images at which memory is measured; the last is not fitted.
MEMORY_POINTS = [(32, 16, 16384), (64, 16, 512), (64, 16, 16384), (64, 1024, 512), (128, 16, 512)]
MEMORY_POINTS += [(128, 256, 4096), (96, 64, 4096)]
PRECISIONS = ["float32", "bfloat16"]
USEFUL_FLOPS = 10e12  # of a modern GPU per second on layers this small; assumed, not measured


@dataclass(frozen=True)
class Model:
    """A cost that is a sum of terms with coefficients ≥ 0, fitted to the least relative error."""

    terms: Callable[..., Sequence[float]]
    coefficients: np.ndarray

    def __call__(self, *point) -> float:
        """Return the cost at a point."""
        return float(np.dot(self.terms(*point), self.coefficients))


def fit(terms: Callable[..., Sequence[float]], points: Sequence, costs: Sequence[float]) -> Model:
    """Return the model whose terms at `points` come closest to `costs`."""
    wanted = np.asarray(costs, dtype=float)
    rows = np.array([terms(*point) for point in points], dtype=float) / wanted[:, None]
    scale = rows.max(axis=0)  # terms are of very different size
    return Model(terms, nnls(rows / scale, np.ones(len(rows)))[0] / scale)


def parameters(image_size: int, latent_dim: int) -> int:
    """Return the number of weights of the paper's autoencoder."""
    model = project.autoencoder(image_size=image_size, latent_dim=latent_dim)
    return sum(weight.numel() for weight in model.parameters())


def step_terms(image_size: int, latent_dim: int) -> tuple[float, ...]:
    """A step has a fixed part, one that goes with its pixels, and one with its weights."""
    return 1.0, BATCH * image_size**2, parameters(image_size, latent_dim)


def memory_terms(image_size: int, latent_dim: int, images: int) -> tuple[float, ...]:
    """Memory has those parts as well, and the training images, one byte a pixel."""
    return *step_terms(image_size, latent_dim), images * image_size**2


def noise_images(count: int, image_size: int) -> np.ndarray:
    """Return uint8 noise N × 1 × S × S; what is in the images changes no time."""
    return np.random.default_rng(0).integers(0, 256, (count, 1, image_size, image_size), np.uint8)


def step_seconds(image_size: int, latent_dim: int, *, precision: str, device) -> float:
    """Return the seconds of a training step while every core trains."""
    jobs = CORES if device.type == "cpu" else 1
    count = 8 * BATCH  # as many steps an epoch at all sizes
    build = partial(project.autoencoder, image_size=image_size, latent_dim=latent_dim)
    options = {"build": build, "epochs": 3, "device": device, "precision": precision}
    images = (noise_images(count, image_size),)
    arguments = {"arguments": images, "options": options, "jobs": jobs, "threads": 1}
    return jobs * BATCH / rate("project", "train", **arguments)


def times(repeats: int, device: torch.device) -> pd.DataFrame:
    """Return the median seconds of a step by precision, image size and d."""
    points = [*FITTED, *CHECKED]
    rows = []
    for repeat in range(repeats):
        for precision in PRECISIONS:
            for size, d in points:
                seconds = step_seconds(size, d, precision=precision, device=device)
                rows.append((precision, size, d, repeat, seconds))
        print(f"{repeat + 1}/{repeats}  steps of {len(points)} sizes", flush=True)
    keys = ["precision", "image_size", "latent_dim"]
    table = pd.DataFrame(rows, columns=[*keys, "repeat", "seconds"])
    return table.groupby(keys, sort=False)["seconds"].median().reset_index()


def step_models(table: pd.DataFrame) -> dict[str, Model]:
    """Return the model of a step's seconds for each precision of `times`."""
    models = {}
    for precision, part in table.groupby("precision", sort=False):
        seconds = part.set_index(["image_size", "latent_dim"])["seconds"]
        models[precision] = fit(step_terms, FITTED, seconds[FITTED])
    return models


def _take_two_steps(image_size: int, latent_dim: int, images: int) -> None:
    """Take two steps with all images in memory, as a job does that trains."""
    make_deterministic(1)
    build = partial(project.autoencoder, image_size=image_size, latent_dim=latent_dim)
    pixels = noise_images(images, image_size)
    project.take_steps(pixels, build=build, steps=2, device=torch.device("cpu"))


def memory(points: Sequence[tuple[int, int, int]] = MEMORY_POINTS) -> tuple[list[float], Model]:
    """Return the peak memory of a training on the CPU at `points` in MiB, and what is fitted.

    The last point is not fitted.
    """
    peaks = [with_peak_memory(_take_two_steps, *point)[1] for point in points]
    return peaks, fit(memory_terms, points[:-1], peaks[:-1])


def checkpoint_bytes(image_size: int, latent_dim: int) -> int:
    """Return the size of a checkpoint."""
    model = project.autoencoder(image_size=image_size, latent_dim=latent_dim)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "checkpoint.safetensors")
        save_checkpoint(path, model, {})
        return path.stat().st_size


def time_lines(table: pd.DataFrame) -> list[list[str]]:
    """Return the lines of the table of times: measured, by the model, and the difference."""
    models = step_models(table)
    lines = []
    for row in table.itertuples():
        point = (row.image_size, row.latent_dim)
        expected = models[row.precision](*point)
        note = "" if point in FITTED else "not fitted"
        cells = [f"{parameters(*point) / 1e6:.1f}", f"{1e3 * row.seconds:.1f}"]
        cells += [f"{1e3 * expected:.1f}", f"{expected / row.seconds - 1:+.0%}", note]
        lines.append([row.precision, *map(str, point), *cells])
    return lines


def memory_lines(peaks: Sequence[float], model: Model) -> list[list[str]]:
    """Return the lines of the table of memory and checkpoints."""
    lines = []
    for point, peak in zip(MEMORY_POINTS, peaks, strict=True):
        size, d, images = point
        expected = model(*point)
        note = "" if point in MEMORY_POINTS[:-1] else "not fitted"
        cells = [f"{images:,}", f"{peak:.0f}", f"{expected:.0f}", f"{expected / peak - 1:+.0%}"]
        cells += [f"{checkpoint_bytes(size, d) / 1e6:.1f}", note]
        lines.append([str(size), str(d), *cells])
    return lines


def grid_lines(config: dict, models: dict[str, Model], flop: float, device) -> list[list[str]]:
    """Return the lines of the paper's grid, a row per dataset and the sum, extrapolated.

    `config` is config/config.yaml with the registry; `flop` are those of one image at d = 16.
    Every method counts as the autoencoder of its latent dimension.
    """
    side, seeds = config["image_size"], len(config["seeds"])
    at_once = CORES if device.type == "cpu" else 1
    rows = []
    for dataset in config["datasets"]:
        entry = config["registry"][dataset]
        train = entry["expected"]["train"]
        test = entry["expected"]["test_normal"] + entry["expected"]["test_abnormal"]
        chosen = [s.latent_dim for s in settings(config) if s.dataset == dataset]
        batches = (train - 2) // BATCH + 1  # a last single image joins the batch before it
        steps = seeds * entry["epochs"] * batches
        hours = [
            sum(steps * models[precision](side, d) for d in chosen) / at_once / 3600
            for precision in PRECISIONS
        ]
        images = len(chosen) * seeds * entry["epochs"] * train
        latents = seeds * sum(4 * d * (train + test) for d in chosen)
        disk = [
            side**2 * (train + test * (1 + entry["masks"])),  # packed
            seeds * sum(checkpoint_bytes(side, d) for d in chosen) + latents,
            # Maps and reconstructions: intervals need those of all seeds where there are masks,
            # figures those of one seed; the other seeds' go with their job's metrics.
            8 * side**2 * test * (seeds if entry["masks"] else 1) * len(chosen),
        ]
        on_gpu = images * flop / USEFUL_FLOPS / 3600
        rows.append([len(chosen) * seeds, images / 1e6, *hours, on_gpu, *np.divide(disk, 1e9)])
    table = np.array([*rows, np.sum(rows, axis=0)])
    names = [config["registry"][dataset]["name"] for dataset in config["datasets"]]
    formats = ["{:.0f}", "{:.0f}", "{:.1f}", "{:.1f}", "{:.1f}", "{:.2f}", "{:.2f}", "{:.2f}"]
    return [
        [name, *(form.format(value) for form, value in zip(formats, values, strict=True))]
        for name, values in zip([*names, "together"], table, strict=True)
    ]


def run(*, out: Path, repeats: int) -> None:
    """Measure, print and write everything."""
    registry = (project.ROOT / "config/datasets.yaml").read_text(encoding="utf-8")
    config = project.CONFIG | yaml.safe_load(registry)
    build = partial(project.autoencoder, image_size=config["image_size"], latent_dim=16)
    flop, _ = roofline.work(build, torch.from_numpy(noise_images(BATCH, config["image_size"])))
    where = device()
    table = times(repeats, where)
    models = step_models(table)
    peaks, of_memory = memory()
    formulas = [
        f"{precision}: {1e3 * c[0]:.2f} ms + {1e9 * c[1]:.2f} ns per pixel of the batch + "
        f"{1e9 * c[2]:.2f} ns per weight"
        for precision, c in ((key, model.coefficients) for key, model in models.items())
    ]
    c = of_memory.coefficients
    formula = (
        f"{c[0]:.0f} MiB + {2**20 * c[1]:.0f} bytes per pixel of the batch + "
        f"{2**20 * c[2]:.0f} bytes per weight + {2**20 * c[3]:.1f} bytes per pixel of all images"
    )
    time_head = ["Precision", "S", "d", "Million weights", "ms measured", "ms by the model"]
    memory_head = ["S", "d", "Images", "MiB measured", "MiB by the model", "Difference"]
    grid_head = ["Dataset", "Trainings", "Million images", "Hours, float32", "Hours, bfloat16"]
    grid_head += ["GPU hours, estimate", "GB packed", "GB of models and latents", "GB of maps"]
    machine = f"{CORES} trainings of one thread side by side" if where.type == "cpu" else "one GPU"
    parts = [
        "# Cost model\n",
        f"A training step of {BATCH} images of S × S pixels, {machine}, median of {repeats}. "
        f"Fitted: {'; '.join(formulas)}.\n",
        markdown_table([*time_head, "Difference", ""], time_lines(table), "lrrrrrrl"),
        "\nPeak memory of a training on the CPU, and the size of a checkpoint. Fitted: "
        f"{formula}.\n",
        markdown_table(
            [*memory_head, "Checkpoint, MB", ""], memory_lines(peaks, of_memory), "rrrrrrrl"
        ),
        f"\nThe paper's grid, extrapolated from these models to {machine}. The GPU's hours are an "
        f"estimate: FLOP counted, {USEFUL_FLOPS / 1e12:.0f} TFLOP/s assumed. Maps are kept until "
        "the last setting of their dataset is scored.\n",
        markdown_table(grid_head, grid_lines(config, models, flop, where), "lrrrrrrrr"),
    ]
    out.mkdir(parents=True, exist_ok=True)
    write_text("\n".join(parts), out / "cost.md")
    write_table(table, out / "steps.tsv")
    write_text(provenance(f"python benchmarks/cost.py --repeats {repeats}"), out / "cost.json")
    print("\n".join(parts))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=project.ROOT / "results/bench")
    parser.add_argument("--repeats", type=int, default=3)
    run(**vars(parser.parse_args()))
