"""The benchmark harness at tiny size: both sides run, the table adds up, counts are right."""

import os
import subprocess
import sys
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from workflow import jobs


@pytest.fixture(scope="module")
def bench(root):
    sys.path.insert(0, str(root / "benchmarks"))
    import cost
    import numeric
    import overhead
    import plain_loop
    import project
    import roofline
    import run

    yield {
        "cost": cost,
        "numeric": numeric,
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

        def noise(self, shape, generator):
            return None

        def loss(self, images, noise):
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


# --- the cost model ------------------------------------------------------------------------------


def test_a_fit_finds_what_costs_were_made_of(bench):
    points = [(1,), (2,), (5,), (9,)]
    model = bench["cost"].fit(lambda x: (1.0, x), points, [3 + 2 * x for (x,) in points])
    assert model.coefficients == pytest.approx([3, 2])
    assert model(100) == pytest.approx(203)
    falling = bench["cost"].fit(lambda x: (1.0, x), points, [10 - x for (x,) in points])
    assert falling.coefficients[1] == 0  # nothing costs less than nothing


def test_the_terms_of_a_step_and_of_memory(bench):
    assert bench["cost"].step_terms(64, 16) == (1.0, 64 * 64 * 64, 2_351_184)
    assert bench["cost"].memory_terms(64, 16, 10)[3] == 10 * 64 * 64


def test_a_step_is_timed_and_memory_grows_with_the_images(bench):
    cost = bench["cost"]
    seconds = cost.step_seconds(16, 1, precision="float32", device=torch.device("cpu"))
    assert 0 < seconds < 10
    points = [(16, 1, 128), (16, 1, 400_000), (16, 2, 128)]
    (few, many, _), model = cost.memory(points)
    assert many - few > 400_000 * 16**2 / 2**20 / 2
    assert model(*points[0]) > 0


def test_the_grid_by_hand(bench):
    cost = bench["cost"]
    config = {
        "image_size": 64,
        "seeds": [0, 1],
        "datasets": ["a", "b"],
        "grid": [{"methods": ["ae"], "latent_dims": [16, 1]}],
        "registry": {
            key: {"name": key, "epochs": 10, "masks": masks, "expected": expected}
            for key, masks, expected in [
                ("a", False, {"train": 128, "test_normal": 30, "test_abnormal": 20}),
                ("b", True, {"train": 65, "test_normal": 30, "test_abnormal": 20}),
            ]
        },
    }
    steps = {name: cost.Model(lambda side, d: (d,), np.ones(1)) for name in cost.PRECISIONS}
    lines = cost.grid_lines(config, steps, flop=1e12, device=torch.device("cpu"))
    # Four trainings of 10 epochs of 2 steps, which take d seconds: 2 · 20 · (16 + 1), on all cores.
    hours = f"{680 / cost.CORES / 3600:.1f}"
    assert lines[0][:6] == ["a", "4", "0", hours, hours, f"{4 * 10 * 128 * 1e12 / 1e13 / 3600:.1f}"]
    assert lines[2][:2] == ["together", "8"]
    models = 2 * (cost.checkpoint_bytes(64, 16) + cost.checkpoint_bytes(64, 1))
    latents = 2 * 4 * (16 + 1) * (128 + 50)
    assert lines[0][6:] == ["0.00", f"{(models + latents) / 1e9:.2f}", "0.00"]


def test_a_checkpoint_is_four_bytes_a_weight(bench):
    size = bench["cost"].checkpoint_bytes(64, 16)
    assert 4 * 2_351_184 < size < 4.1 * 2_351_184


# --- numeric choices -----------------------------------------------------------------------------


def metrics_file(run, values, **changes):
    row = {"dataset": "a", "training_set": "all", "method": "ae", "latent_dim": 4}
    rows = [
        row | {"split": split, "metric": metric, "seed": seed, "value": value} | changes
        for split, shift in (("published", 0.0), ("leak_free", 0.3))
        for metric in ("auc", "ap")
        for seed, value in enumerate(np.add(values, shift))
    ]
    rows += [row | {"split": "published", "metric": "auc", "seed": 0, "value": 0, "method": "pca"}]
    run.mkdir()
    pd.DataFrame(rows).to_csv(run / "metrics.tsv", sep="\t", index=False)
    return run


def test_numeric_choices_by_hand(bench, tmp_path):
    first = metrics_file(tmp_path / "exact", [0.5, 0.6])
    second = metrics_file(tmp_path / "fast", [0.52, 0.56])
    metrics, distances = bench["numeric"].compare([first, second])
    assert "| a | ae | 4 | AUC | 55.0 ± 7.1 | 54.0 ± 2.8 |" in metrics
    assert "pca" not in metrics
    assert "| exact | 0.0 | 0.0 |" in distances
    assert "| fast | 4.0 | 1.0 |" in distances


def test_runs_of_other_settings_are_not_compared(bench, tmp_path):
    first = metrics_file(tmp_path / "exact", [0.5, 0.6])
    second = metrics_file(tmp_path / "fast", [0.5, 0.6], latent_dim=8)
    with pytest.raises(SystemExit, match="fast has other settings"):
        bench["numeric"].compare([first, second])


# --- overhead ------------------------------------------------------------------------------------


def benchmark_file(folder, name, *, seconds, end):
    path = folder / "benchmarks" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"s\tmax_rss\n{seconds}\t100\n")
    os.utime(path, (end, end))


def test_overhead_by_hand(bench, tmp_path):
    overhead = bench["overhead"]
    # Snakemake starts in 2 s; from 0 to 20 s on two cores 10 + 6 s of training and 8 s of tables;
    # the record of the run is written at 23 s. So of 2 · 25 s, 26 are idle.
    benchmark_file(tmp_path, "train_autoencoder/a.tsv", seconds=10, end=10)
    benchmark_file(tmp_path, "train_autoencoder/b.tsv", seconds=6, end=6)
    benchmark_file(tmp_path, "compute_metrics/a.tsv", seconds=8, end=20)
    record = tmp_path / "provenance.json"
    record.touch()
    os.utime(record, (23, 23))
    table, totals = overhead.overhead(
        tmp_path,
        torch_of={"train_autoencoder": 1.5, "compute_metrics": 0}.get,
        start_of={"train_autoencoder": 2, "compute_metrics": 1}.get,
        start=2,
        cores=2,
    )
    assert table.to_dict("list") == {
        "stage": ["train_autoencoder", "compute_metrics"],
        "jobs": [2, 1],
        "start": [4, 1],
        "torch": [3.0, 0.0],
        "seconds": [16.0, 8.0],
    }
    assert totals == {
        "jobs": 24.0,
        "wall": 25.0,
        "torch": pytest.approx(0.06),
        "start": pytest.approx(0.1),
        "idle": pytest.approx(0.52),
    }


def test_a_folder_without_a_run_is_named(bench, tmp_path):
    with pytest.raises(SystemExit, match=str(tmp_path)):
        bench["overhead"].overhead(
            tmp_path, torch_of=lambda stage: 0, start_of=lambda stage: 0, start=0, cores=2
        )


def test_the_jobs_of_a_plan(bench, root):
    """Four settings of the demo, and a job for each of their stages."""
    jobs = bench["overhead"].planned_jobs(root / "config" / "demo.yaml")
    assert jobs["train_autoencoder"] == jobs["score_images"] == jobs["probe_latents"] == 4
    assert not {"all", "total"} & jobs.keys()


def test_stages_that_load_the_compiler(bench, tmp_path):
    """Optimisers and forward differentiation, which the probes take, load it; scoring does not."""
    packed = jobs.write_packed(tmp_path / "packed.h5")
    training = jobs.training_job(packed, tmp_path, epochs=1)
    scoring = jobs.scoring_job(packed, training["output"]["checkpoints"], tmp_path)
    stages = {
        "train_autoencoder": jobs.command("train_autoencoder", training, tmp_path / "train.json"),
        "score_images": jobs.command("score_images", scoring, tmp_path / "score.json"),
        "probe_latents": [
            sys.executable,
            "-c",
            "import torch; x = torch.ones(1, 2); torch.func.jvp(torch.nn.Linear(2, 1), (x,), (x,))",
        ],
    }
    found = set()
    for stage, (python, *arguments) in stages.items():
        command = [python, "-X", "importtime", *arguments]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        if "torch._dynamo\n" in done.stderr:
            found.add(stage)
    assert found == bench["overhead"].COMPILER
