"""The benchmark harness at tiny size: both sides run, the table adds up, counts are right."""

import os
import sys
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn


@pytest.fixture(scope="module")
def bench(root):
    sys.path.insert(0, str(root / "benchmarks"))
    import overhead
    import plain_loop
    import project
    import roofline
    import run

    yield {
        "overhead": overhead,
        "plain": plain_loop,
        "project": project,
        "roofline": roofline,
        "run": run,
    }
    sys.path.remove(str(root / "benchmarks"))


@pytest.fixture(scope="module")
def cases(bench, tmp_path_factory):
    found, pixels = bench["run"].cases(tmp_path_factory.mktemp("bench"), 5, torch.device("cpu"))
    return found, pixels


def test_both_sides_do_the_same_work(bench, cases):
    for case in cases[0]:
        for module, own in (("plain", {}), ("project", case.own)):
            timed = getattr(bench[module], case.function)
            barrier = Mock()
            assert timed(*case.arguments, **case.options, **own, wait=barrier) > 0
            barrier.assert_called_once_with()


def test_rates_of_processes_add_up(bench, cases):
    case = next(one for one in cases[0] if one.function == "rank_pixels")
    table = bench["run"].compare([case], 1)
    assert table["ratio"].item() == table["project"].item() / table["plain"].item()


def test_the_median_and_the_range_of_ratios(bench):
    table = pd.DataFrame(
        {"name": "a", "unit": "u", "plain": [10.0, 20, 40], "project": [20.0, 60, 40]}
    )
    table["ratio"] = table["project"] / table["plain"]
    assert bench["run"].summary(table) == [["a", "u", "20", "40", "2.00", "1.00 to 3.00"]]


def test_the_work_of_a_linear_layer(bench):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(6, 3, bias=False)

        def loss(self, images, generator):
            return {"loss": self.layer(images.flatten(1)).sum()}

    pixels = torch.zeros(4, 1, 2, 3, dtype=torch.uint8)
    flop, traffic = bench["roofline"].work(Model, pixels)
    # Forward N · 6 · 3, the weight's gradient as much; the images want none. Two per multiply-add.
    assert flop == 2 * 2 * 6 * 3
    assert traffic > 6 * (1 + 4)


def test_the_memory_of_packing(bench, tmp_path):
    lines = bench["run"].packing_memory(tmp_path, [20])
    assert lines[0][0] == "20"
    assert float(lines[0][2]) > 10
    assert np.isfinite(float(lines[0][1].replace(",", "")))


# --- overhead ------------------------------------------------------------------------------------


def benchmark_file(folder, name, *, seconds, end):
    path = folder / "benchmarks" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"s\tmax_rss\n{seconds}\t100\n")
    os.utime(path, (end, end))


def test_overhead_by_hand(bench, tmp_path):
    overhead = bench["overhead"]
    # From 0 to 20 s on two cores: 10 + 6 s of training, 8 s of tables, 16 s idle.
    benchmark_file(tmp_path, "train_autoencoder/a.tsv", seconds=10, end=10)
    benchmark_file(tmp_path, "train_autoencoder/b.tsv", seconds=6, end=6)
    benchmark_file(tmp_path, "compute_metrics/a.tsv", seconds=8, end=20)
    table, totals = overhead.overhead(tmp_path, torch_seconds=1.5, cores=2)
    assert table.to_dict("list") == {
        "stage": ["train_autoencoder", "compute_metrics"],
        "jobs": [2, 1],
        "seconds": [16.0, 8.0],
        "torch_seconds": [3.0, 0.0],
    }
    assert totals == {"jobs": 24.0, "torch": 3.0, "wall": 20.0, "outside": pytest.approx(0.4)}


def test_a_folder_without_a_run_is_named(bench, tmp_path):
    with pytest.raises(SystemExit, match=str(tmp_path)):
        bench["overhead"].overhead(tmp_path, torch_seconds=1, cores=2)
