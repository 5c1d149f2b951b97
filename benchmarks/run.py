"""Time this project against the plain loop, side by side, and write the table of ratios.

    python benchmarks/run.py [--out results/bench] [--repeats 5] [--images 1000] [--trials]

Every repeat runs both, one after the other, in processes of their own and in alternating order;
the ratio of a repeat is of these two, so that what else the machine does mostly cancels out.
Outputs: bench.md, bench.tsv (a row per comparison and repeat), provenance.json. On a machine with a
GPU only networks are timed, once by default, the plain loop once per repeat, and outputs go to a
folder with the card's name. --trials times instead what may be faster and is not part of the
project, and adds a profile of a step.
"""

import argparse
import json
import re
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import plain_loop
import project
import roofline
import torch
from generate_phantom import generate_phantom
from PIL import Image
from processes import CORES, rate

from medae.base.files import write_table, write_text
from medae.base.hardware import machine
from medae.models.scoring import CUDA_BATCH
from medae.report.tables import markdown_table

FILE_SIDES = [128, 512]  # of the images that are packed
PRECISIONS = {"cpu": ["float32", "bfloat16"], "cuda": ["tf32", "float32", "bfloat16"]}
AT_ONCE = [1, 3, 8, 24]  # models on a GPU
IMAGES_TIMED = 60_000  # in a training on a GPU


@dataclass(frozen=True)
class Comparison:
    """One line of the table: the same function of plain_loop and project, and how it is run.

    The plain loop is one process with all cores; the project may be `jobs` processes that share
    them.
    """

    name: str
    function: str
    arguments: tuple
    options: dict
    own: dict = field(default_factory=dict)  # options of the project alone
    jobs: int = 1
    unit: str = "images/s"

    def rate(self, side: str) -> float:
        """Run one side; return its items per second."""
        if side == "plain":
            return rate(side, self.function, self.arguments, self.options)
        return rate(side, self.function, self.arguments, self.options | self.own, self.jobs)


def comparisons(folder: Path, images: int, device: torch.device, trials: bool) -> list[Comparison]:
    """Write the inputs to `folder`; return what is compared."""
    write_inputs(folder, images)
    pixels = training_images(folder)
    network = {"build": project.autoencoder, "device": device}
    if device.type == "cuda":
        return gpu_comparisons(pixels, network, trials)
    training = network | {"epochs": 2}
    if trials:
        return [
            Comparison(f"trial: {option} {value}", "train", (pixels,), training, {option: value})
            for option, value in {"compiled": True, "channels_last": False}.items()
        ]
    found = [
        Comparison(
            f"{name}, {precision}", "train", (pixels,), training, {"precision": precision}, n
        )
        for name, n in [
            ("training, one job", 1),
            (f"grid, {CORES} jobs of one thread side by side", CORES),
        ]
        for precision in PRECISIONS["cpu"]
    ]
    found.append(Comparison("scoring", "score", (pixels,), network))
    for side in FILE_SIDES:
        name = f"packing files of {side} × {side} pixels"
        found.append(Comparison(name, "pack", (folder / f"{side}",), {"image_size": project.SIZE}))
    rng = np.random.default_rng(0)
    masks = (rng.random((images, project.SIZE, project.SIZE)) < 0.02).astype(np.uint8)
    maps = (rng.gamma(1.0, 0.01, masks.shape) * (1 + masks)).astype(np.float32)
    found.append(Comparison("pixel metrics", "rank_pixels", (masks, maps), {}, unit="pixels/s"))
    return found


def gpu_comparisons(pixels: np.ndarray, network: dict, trials: bool) -> list[Comparison]:
    """Return what is compared on a GPU."""
    epochs = max(IMAGES_TIMED // len(pixels), 2)
    plain = network | {"epochs": max(epochs // 8, 2)}

    def training(name: str, **own) -> Comparison:
        rounds = max(epochs // own.get("models", 1) ** 0.5, 2)
        own = {"precision": "tf32", "epochs": int(rounds)} | own
        return Comparison(f"training, {name}", "train", (pixels,), plain, own)

    if trials:
        return [
            training(f"{models} at once, {option} {value}", models=models, **{option: value})
            for option, value in [("channels_last", False), ("compiled", True)]
            for models in ((1, 3, 8) if option == "compiled" else AT_ONCE)
        ]
    found = [training("one model, eager", cuda_graphs=False)]
    for precision in PRECISIONS["cuda"]:
        found += [
            training(f"{models} at once, {precision}", models=models, precision=precision)
            for models in (AT_ONCE if precision == "tf32" else AT_ONCE[:2])
        ]
    for size in (64, None):
        own = {"batch_size": size, "precision": "tf32", "rounds": 20}
        name = f"scoring, batches of {size or CUDA_BATCH:,}"
        found.append(Comparison(name, "score", (pixels,), network, own))
    return found


def write_inputs(folder: Path, images: int) -> None:
    """Write generated images of each side."""
    for side in FILE_SIDES:
        count = max(images * FILE_SIDES[0] // side, 2)
        counts = {"train_normal": count, "test_normal": 2, "test_abnormal": 2}
        generate_phantom(images=folder / f"{side}", image_size=side, parameters=counts)


def training_images(folder: Path) -> np.ndarray:
    """Return the training images among the inputs, uint8 N × 1 × S × S."""
    files = sorted((folder / f"{FILE_SIDES[0]}/train/normal").glob("*.png"))
    size = (project.SIZE, project.SIZE)
    return np.stack([Image.open(path).resize(size, Image.BILINEAR) for path in files])[:, None]


def compare(cases: list[Comparison], repeats: int, *, once: bool, out: Path) -> pd.DataFrame:
    """Return a row per comparison and repeat, with both rates and their ratio.

    The table `out` grows with every row. With `once` the plain loop's function is timed once in a
    repeat, for all of its comparisons.
    """
    rows = []
    for repeat in range(repeats):
        known: dict[str, float] = {}
        for case in cases:
            sides = ["plain", "project"] if repeat % 2 else ["project", "plain"]
            found = {
                side: known[case.function]
                if side == "plain" and case.function in known
                else case.rate(side)
                for side in sides
            }
            if once:
                known[case.function] = found["plain"]
            ratio = found["project"] / found["plain"]
            print(f"{repeat + 1}/{repeats}  {case.name}: {ratio:.2f}", flush=True)
            rows.append({"name": case.name, "unit": case.unit, "repeat": repeat, **found})
            rows[-1]["ratio"] = ratio
            write_table(pd.DataFrame(rows), out)
    return pd.DataFrame(rows)


def summary(table: pd.DataFrame) -> list[list[str]]:
    """Return the lines of the printed table: median rates, median ratio and its range."""
    lines = []
    for name, part in table.groupby("name", sort=False):
        plain, own = (f"{part[key].median():,.0f}" for key in ("plain", "project"))
        ratios = part["ratio"]
        spread = f"{ratios.min():.2f} to {ratios.max():.2f}"
        lines.append([name, part["unit"].iloc[0], plain, own, f"{ratios.median():.2f}", spread])
    return lines


def limits(flop: float, traffic: float, device: torch.device) -> list[list[str]]:
    """Return the lines of the roofline: work per image, the machine's best, images/s at most."""
    lines = []
    torch.set_num_threads(CORES)
    for precision in PRECISIONS[device.type]:
        product, copy = roofline.machine_limits(device, precision)
        moved = traffic / 2 if precision == "bfloat16" else traffic
        cells = [f"{flop / 1e6:.0f}", f"{product / 1e9:.0f}", f"{product / flop:,.0f}"]
        cells += [f"{moved / 1e6:.1f}", f"{copy / 1e9:.1f}", f"{copy / moved:,.0f}"]
        lines.append([precision, *cells])
    return lines


def run(*, out: Path | None, repeats: int | None, images: int, trials: bool) -> None:
    """Measure, print and write everything."""
    on_gpu = torch.cuda.is_available()
    device = torch.device("cuda" if on_gpu else "cpu")
    card = torch.cuda.get_device_name() if on_gpu else None
    name = "_".join(re.findall(r"\w+", card.lower())) if card else ""
    out = out or project.ROOT / "results/bench" / name
    repeats = repeats or (1 if on_gpu else 5)
    with tempfile.TemporaryDirectory() as folder:
        cases = comparisons(Path(folder), images, device, trials)
        out.mkdir(parents=True, exist_ok=True)
        table = compare(cases, repeats, once=on_gpu, out=out / "bench.tsv")
        batch = torch.from_numpy(training_images(Path(folder))[: plain_loop.BATCH])
    header = ["What", "Unit", "Plain loop", "This project", "Ratio", "Range"]
    work = ["Precision", "MFLOP per image", "Matrix product, GFLOP/s", "Images/s at most by FLOP"]
    work += ["MB moved per image", "Copy, GB/s", "Images/s at most by memory"]
    roof = limits(*roofline.work(project.autoencoder, batch), device)
    parts = [
        "# Benchmark\n",
        f"{card or 'CPU'}. Rates are medians of {repeats} repeat(s); a ratio is of two runs one "
        "after the other, the median and the range over repeats. Plain loop: "
        "benchmarks/plain_loop.py with all cores.\n",
        markdown_table(header, summary(table), "llrrrr"),
        "\nWhat a training step has to do, counted, and what the machine does at best; memory as "
        "if no two operations shared a pass over it (bfloat16: half of it).\n",
        markdown_table(work, roof, "lrrrrrr"),
    ]
    if trials:
        precision = PRECISIONS[device.type][0]
        step = project.epochs_of(
            batch.numpy(), build=project.autoencoder, device=device, precision=precision
        )
        parts.append(f"\n```\n{roofline.kernels(step, device)}```\n")
    write_text("\n".join(parts), out / "bench.md")
    git = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    done = subprocess.run(git, cwd=project.ROOT, capture_output=True, text=True, check=False)
    options = f"--repeats {repeats} --images {images}{' --trials' if trials else ''}"
    record = {
        "command": f"make bench BENCH='{options}'",
        "commit": done.stdout.strip() or None,
        "torch": torch.__version__,
        "device": card or "cpu",
        "hardware": machine(),
    }
    write_text(json.dumps(record, indent=2) + "\n", out / "provenance.json")
    print("\n".join(parts))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--repeats", type=int)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--trials", action="store_true")
    run(**vars(parser.parse_args()))
