"""What the Snakefile takes its jobs from."""

from medae.models.baselines import BASELINES
from medae.workflow.grid import (
    Setting,
    baseline_runs,
    candidates,
    grid_methods,
    settings,
    used_configuration,
    validation_settings,
)

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


CHOICE = CONFIG | {
    "grid": [
        {"methods": ["ae"], "latent_dims": [4, 2]},
        {"methods": ["ae"], "latent_dims": [8], "training_sets": ["without_twins"]},
        {"methods": ["vae"], "latent_dims": [4]},
        {"methods": ["entropy_ae", "low", "high"], "latent_dims": [128], "datasets": ["a"]},
        {"methods": ["wide"], "latent_dims": [2]},
    ],
    "methods": {
        **{key: {"width": 16} for key in ["ae", "vae", "memae", "ceae"]},
        "entropy_ae": {"width": 16, "rate_weight": 3e-5},
    },
    "variants": {
        "low": {"method": "entropy_ae", "name": "Low", "options": {"rate_weight": 1e-5}},
        "high": {"method": "entropy_ae", "name": "High", "options": {"rate_weight": 1e-4}},
        "wide": {"method": "ae", "name": "Wide", "options": {"width": 32}},
        "unused": {"method": "ae", "name": "Unused", "options": {}},
    },
    "selection": {"datasets": ["a"]},
    "registry": {"a": {}, "b": {}, "c": {}},
}


def test_a_variant_is_its_method_with_other_options():
    methods = grid_methods(CHOICE)
    assert methods["low"] == ("entropy_ae", "Low", {"width": 16, "rate_weight": 1e-5})
    assert methods["entropy_ae"].options["rate_weight"] == 3e-5
    assert methods["ae"].display_name == "AE"


def test_a_block_with_datasets_is_trained_on_these():
    found = settings(CHOICE)
    assert Setting("a", "all", "low", 128) in found
    assert Setting("b", "all", "low", 128) not in found


def test_candidates_are_families_by_rising_capacity():
    found = [(c["family"], c["method"], c["latent_dim"]) for c in candidates(CHOICE, "a")]
    assert found == [
        ("ae", "ae", 2),
        ("ae", "ae", 4),
        ("entropy_ae", "high", 128),
        ("entropy_ae", "entropy_ae", 128),
        ("entropy_ae", "low", 128),
    ]
    assert [c["method"] for c in candidates(CHOICE, "b")] == ["ae", "ae"]


def test_candidates_are_trained_again_on_what_is_not_held_out():
    found = {
        (s.dataset, s.training_set, s.method, s.latent_dim) for s in validation_settings(CHOICE)
    }
    chosen = {
        ("a_validation", "all", c["method"], c["latent_dim"]) for c in candidates(CHOICE, "a")
    }
    assert found == chosen
    assert validation_settings(CHOICE | {"selection": {"datasets": []}}) == []


def test_provenance_has_the_methods_and_variants_that_are_used():
    used = used_configuration(CHOICE)
    assert set(used["methods"]) == {"ae", "vae", "entropy_ae"}
    assert set(used["variants"]) == {"low", "high", "wide"}
