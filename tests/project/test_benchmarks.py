"""The benchmark at tiny size: both sides do the same work, ratios and counts are right."""

import sys
from math import prod

import pandas as pd
import pytest
import torch
from torch import nn

from medae.base.files import read_table


@pytest.fixture(scope="module")
def bench(root):
    """The modules of the benchmark."""
    sys.path.insert(0, str(root / "benchmarks"))
    import processes
    import roofline
    import run

    yield {"processes": processes, "roofline": roofline, "run": run}
    sys.path.remove(str(root / "benchmarks"))


@pytest.fixture(scope="module")
def cases(bench, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench")
    return bench["run"].comparisons(folder, 5, torch.device("cpu"), False)


@pytest.fixture(scope="module")
def gpu_cases(bench, cases):
    """What is compared on a GPU, all but what is compiled, on the CPU and short."""
    run, (pixels,), network = bench["run"], cases[0].arguments, cases[0].options
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "IMAGES_TIMED", 2)
        patch.setattr(run, "AT_ONCE", [1, 3])
        network = {key: network[key] for key in ("build", "device")}
        found = [case for t in (False, True) for case in run.gpu_comparisons(pixels, network, t)]
    return [case for case in found if not case.own.get("compiled")]


def test_both_sides_count_the_same_items(bench, cases, gpu_cases):
    """But for how often the project is told to do it."""
    for case in [*cases, *gpu_cases]:
        items = []
        for side, own in (("plain", {}), ("project", case.own)):
            options = case.options | own
            function = getattr(bench["processes"].SIDES[side], case.function)
            timed = function(*case.arguments, **options)
            next(timed)  # is prepared
            often = (options.get(name, 1) for name in ("epochs", "models", "rounds"))
            items.append(next(timed) / prod(often))
        assert items[0] == items[1], case


def test_a_comparison_runs_in_processes_of_its_own(bench, cases, tmp_path):
    case = next(one for one in cases if one.function == "rank_pixels")
    (row,) = (
        bench["run"].compare([case], 1, once=False, out=tmp_path / "bench.tsv").to_dict("records")
    )
    assert (row["name"], row["unit"]) == ("pixel metrics", "pixels/s")
    assert min(row["plain"], row["project"]) > 0


def test_on_a_gpu_the_plain_loop_is_timed_once_and_rows_are_kept(bench, monkeypatch, tmp_path):
    run = bench["run"]
    rates = iter([4.0, 2.0, 6.0])
    monkeypatch.setattr(run, "rate", lambda *_: next(rates))
    cases = [run.Comparison(name, "train", (), {}) for name in "abc"]
    with pytest.raises(StopIteration):  # the third one is cut off
        run.compare(cases, 1, once=True, out=tmp_path / "bench.tsv")
    assert list(read_table(tmp_path / "bench.tsv")["ratio"]) == [2.0, 3.0]


def test_the_median_and_the_range_of_ratios(bench):
    table = pd.DataFrame(
        {"name": "a", "unit": "u", "plain": [10.0, 20, 40], "project": [20.0, 60, 48]}
    )
    table["ratio"] = table["project"] / table["plain"]
    assert bench["run"].summary(table) == [["a", "u", "20", "48", "2.00", "1.20 to 3.00"]]


def test_the_work_of_a_linear_layer(bench):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(6, 3, bias=False)

        def noise(self, shape, generator):
            return None

        def loss(self, images, noise):
            return {"loss": self.layer(images.flatten(1)).sum()}

    pixels = torch.zeros(4, 1, 2, 3, dtype=torch.uint8)
    flop, traffic = bench["roofline"].work(Model, pixels)
    # Forward N · 6 · 3, the weight's gradient as much; the images want none. Two per multiply-add.
    assert flop == 2 * 2 * 6 * 3
    assert traffic > 6 * (1 + 4)
