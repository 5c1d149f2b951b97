"""Time this project against the plain loop, side by side, and write the table of ratios.

    python benchmarks/run.py --out results/bench [--repeats 5] [--images 1024] [--many 100000]

Every repeat runs both, one after the other, in processes of their own and in alternating order;
the ratio of a repeat is of these two, so that what else the machine does cancels out mostly.
Outputs: bench.md, bench.tsv (a row per comparison and repeat), provenance.json. Works the same on a
GPU, where the networks run if there is one.
"""

import argparse
import sys
import tempfile
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

import numpy as np
import pandas as pd
import plain_loop
import project
import roofline
import torch
from generate_phantom import generate_phantom
from PIL import Image
from processes import CORES, device, provenance, rate, with_peak_memory

from medae.base.files import write_table, write_text
from medae.report.tables import markdown_table

SIZE = project.CONFIG["image_size"]
LATENT_DIM = 16
SEEDS = len(project.CONFIG["seeds"])
FILE_SIDES = [128, 512]  # of the images that are packed


@dataclass(frozen=True)
class Comparison:
    """One line of the table: the same function of plain_loop and project, and how it is run.

    The plain loop is one process with all cores; the project may be `jobs` processes with `threads`
    each, whose rates add up.
    """

    name: str
    unit: str
    function: str
    arguments: tuple
    options: dict
    own: dict = field(default_factory=dict)  # options of the project alone
    jobs: int = 1
    threads: int = CORES


build = partial(project.autoencoder, image_size=SIZE, latent_dim=LATENT_DIM)


def run_side(module: str, case: Comparison) -> float:
    """Run one side of a comparison in fresh processes; return its rate."""
    own = module == "project"
    options = case.options | (case.own if own else {})
    jobs, threads = (case.jobs, case.threads) if own else (1, CORES)
    return rate(
        module,
        case.function,
        arguments=case.arguments,
        options=options,
        jobs=jobs,
        threads=threads,
    )


def compare(cases: list[Comparison], repeats: int) -> pd.DataFrame:
    """Return a row per comparison and repeat: both rates and their ratio."""
    rows = []
    for repeat in range(repeats):
        for case in cases:
            order = ["plain", "project"] if repeat % 2 else ["project", "plain"]
            rates = {module: run_side(module, case) for module in order}
            ratio = rates["project"] / rates["plain"]
            rows.append({"name": case.name, "unit": case.unit, "repeat": repeat, **rates})
            rows[-1]["ratio"] = ratio
            print(f"{repeat + 1}/{repeats}  {case.name}: {ratio:.2f}", flush=True)
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
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        product, copy = roofline.machine_limits(device, dtype)
        cells = [f"{flop / 1e6:.0f}", f"{product / 1e9:.0f}", f"{product / flop:,.0f}"]
        moved = traffic if dtype == torch.float32 else traffic / 2
        cells += [f"{moved / 1e6:.1f}", f"{copy / 1e9:.1f}", f"{copy / moved:,.0f}"]
        lines.append([name, *cells])
    return lines


def no_wait() -> None:
    """Stand in for the barrier of processes that start together."""


def packing_memory(folder: Path, counts: list[int]) -> list[list[str]]:
    """Return the lines of packing by number of images: images/s and the process' peak memory."""
    lines = []
    rng = np.random.default_rng(0)
    for count in counts:
        root = folder / f"many{count}"
        for name, share in (("train/normal", 0.8), ("test/normal", 0.1), ("test/abnormal", 0.1)):
            (root / name).mkdir(parents=True)
            for index in range(int(share * count)):
                pixels = rng.integers(0, 256, (32, 32), np.uint8)
                Image.fromarray(pixels).save(root / name / f"{index}.png", compress_level=0)
        speed, peak = with_peak_memory(project.pack, root, image_size=32, wait=no_wait)
        lines.append([f"{count:,}", f"{speed:,.0f}", f"{peak:.0f}"])
    return lines


def cases(folder: Path, images: int, device: torch.device) -> tuple[list[Comparison], np.ndarray]:
    """Write the inputs to `folder`; return the comparisons, and the training images."""
    for side in FILE_SIDES:
        count = max(images * FILE_SIDES[0] // side, 2)
        counts = {"train_normal": count, "test_normal": 2, "test_abnormal": 2}
        generate_phantom(output=folder / f"{side}", image_size=side, parameters=counts)
    files = sorted((folder / f"{FILE_SIDES[0]}/train/normal").glob("*.png"))
    pixels = np.stack([Image.open(path).resize((SIZE, SIZE), Image.BILINEAR) for path in files])
    pixels = np.ascontiguousarray(pixels[:, None])
    rng = np.random.default_rng(0)
    masks = (rng.random((images, SIZE, SIZE)) < 0.02).astype(np.uint8)
    maps = (rng.gamma(1.0, 0.01, masks.shape) * (1 + masks)).astype(np.float32)
    shared = {"build": build, "device": device}
    training = {**shared, "epochs": 2}
    side_by_side = {"jobs": CORES, "threads": 1} if device.type == "cpu" else {}
    train = partial(Comparison, unit="images/s", function="train", arguments=(pixels,))
    found = [
        train(
            name=f"training, one job, {precision}", options=training, own={"precision": precision}
        )
        for precision in ("float32", "bfloat16")
    ]
    found += [
        train(
            name=f"training, {SEEDS} seeds as one model, {precision}",
            options=training,
            own={"precision": precision, "members": SEEDS},
        )
        for precision in ("float32", "bfloat16")
    ]
    if side_by_side:
        found += [
            train(
                name=f"grid, {CORES} jobs of one thread side by side, {precision}",
                options=training,
                own={"precision": precision},
                **side_by_side,
            )
            for precision in ("float32", "bfloat16")
        ]
    return [
        *found,
        Comparison("scoring", "images/s", "score", (pixels,), shared),
        *(
            Comparison(
                name=f"packing files of {side} × {side} pixels",
                unit="images/s",
                function="pack",
                arguments=(folder / f"{side}",),
                options={"image_size": SIZE},
            )
            for side in FILE_SIDES
        ),
        Comparison("pixel metrics", "pixels/s", "rank_pixels", (masks, maps), {}),
    ], pixels


def run(*, out: Path, repeats: int, images: int, many: int) -> None:
    """Measure, print and write everything."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        compared, pixels = cases(folder, images, device())
        table = compare(compared, repeats)
        flop, traffic = roofline.work(build, torch.from_numpy(pixels[: plain_loop.BATCH]))
        roof = limits(flop, traffic, device())
        memory = packing_memory(folder, [many // 10, many])
    header = ["What", "Unit", "Plain loop", "This project", "Ratio", "Range"]
    work = ["Precision", "MFLOP per image", "Matrix product, GFLOP/s", "Images/s at most by FLOP"]
    work += ["MB moved per image", "Copy, GB/s", "Images/s at most by memory"]
    parts = [
        "# Benchmark\n",
        f"Rates are medians of {repeats} repeats; a ratio is of two runs one after the other, the "
        "median and the range over repeats. Plain loop: benchmarks/plain_loop.py with all cores.\n",
        markdown_table(header, summary(table), "llrrrr"),
        "\nWhat a training step has to do, counted, and what the machine does at best; memory as "
        "if no two operations shared a pass over it (bfloat16: half of it).\n",
        markdown_table(work, roof, "lrrrrrr"),
        "\nPacking many images of 32 × 32 pixels.\n",
        markdown_table(["Images", "Images/s", "Peak memory, MiB"], memory, "rrr"),
    ]
    out.mkdir(parents=True, exist_ok=True)
    write_text("\n".join(parts), out / "bench.md")
    write_table(table, out / "bench.tsv")
    command = f"make bench BENCH='--repeats {repeats} --images {images} --many {many}'"
    write_text(provenance(command), out / "provenance.json")
    print("\n".join(parts))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=project.ROOT / "results/bench")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--images", type=int, default=1024)
    parser.add_argument("--many", type=int, default=100_000)
    run(**vars(parser.parse_args()))
