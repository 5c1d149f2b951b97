"""What the Snakefile takes its jobs from."""

from medae.baselines import BASELINES
from medae.workflow import Setting, baseline_runs, settings

CONFIG = {
    "datasets": ["a", "b"],
    "grid": [
        {"methods": ["ae"], "latent_dims": [2, 4], "training_sets": ["all", "without_twins"]},
        {"methods": ["ae", "vae"], "latent_dims": [4]},
    ],
    "seeds": [5, 7],
    "figures": {"reference": {"method": "ae", "latent_dim": 4}},
    "baselines": {
        "methods": ["nearest", "pca", "contrast"],
        "latent_dims": [8],
        "training_sets": ["all", "without_random"],
    },
}


def test_blocks_are_products_and_each_setting_comes_once():
    found = settings(CONFIG)
    assert len(found) == len(set(found)) == 2 * (2 * 2 + 1)
    assert Setting("b", "without_twins", "ae", 4) in found
    assert Setting("a", "all", "vae", 4) in found
    assert Setting("a", "without_twins", "vae", 4) not in found


def test_only_a_random_training_set_has_all_seeds():
    runs = {tuple(run.values()) for run in baseline_runs(CONFIG)}
    assert runs == {
        ("all", "nearest", 0, 5),
        ("without_random", "nearest", 0, 5),
        ("without_random", "nearest", 0, 7),
        *(("all", "pca", d, 5) for d in (4, 8)),  # 4 is the reference's
        *(("without_random", "pca", d, seed) for d in (4, 8) for seed in (5, 7)),
        ("all", "contrast", 0, 5),
    }


def test_a_run_without_baselines_has_none():
    assert baseline_runs(CONFIG | {"baselines": CONFIG["baselines"] | {"methods": []}}) == []
    assert set(BASELINES) == {
        *("nearest", "pca", "mean_intensity", "contrast", "total_variation", "intensity")
    }
