"""The table of runs that rules take their files from."""

import pandas as pd

from medae.models.methods import METHODS
from medae.workflow.configuration import with_defaults
from medae.workflow.grid import (
    SETTING_COLUMNS,
    all_runs,
    baseline_runs,
    example_settings,
    grid_methods,
    method_notes,
    network_runs,
    shared_weights,
    used_configuration,
)

CONFIG = with_defaults(
    {
        "datasets": ["a", "b"],
        "grid": [
            {"methods": ["vae"], "latent_dims": [4], "datasets": ["a"]},
            {"methods": ["memae"], "latent_dims": [4], "datasets": ["c"]},  # not in this run
            {"methods": ["ae"], "latent_dims": [4, 2], "training_sets": ["all", "without_twins"]},
            {"methods": ["ae", "wide"], "latent_dims": [4]},
        ],
        "seeds": [5, 7],
        "figures": {"reference": {"method": "ae", "latent_dim": 4}},
        "scoring": {"scores": ["information"]},
        "baselines": {
            "methods": ["nearest", "pca", "contrast", "intensity"],
            "latent_dims": [8],
            "training_sets": ["all", "without_random"],
        },
        "methods": {"ae": {"hidden_dim": 8}},
        "variants": {
            "wide": {"method": "ae", "name": "Wide", "options": {"width": 32}},
            "unused": {"method": "ae", "name": "Unused", "options": {}},
        },
        "registry": {"a": {"masks": True}, "b": {"masks": False}, "c": {"masks": False}},
    }
)


def test_blocks_are_products_and_each_run_comes_once():
    found = network_runs(CONFIG)
    settings = [tuple(row) for row in found[SETTING_COLUMNS].drop_duplicates().to_numpy()]
    of_ae = [(images, "ae", d) for images in ("all", "without_twins") for d in (4, 2)]
    of_ae.append(("all", "wide", 4))
    assert settings == [("a", "all", "vae", 4)] + [(key, *rest) for key in "ab" for rest in of_ae]
    assert found.groupby(SETTING_COLUMNS)["seed"].agg(list).map(lambda seeds: seeds == [5, 7]).all()


def test_only_a_random_training_set_has_all_seeds_of_a_baseline():
    runs = {tuple(run.values()) for run in baseline_runs(CONFIG)}
    assert runs == {
        ("all", "nearest", 0, 5),
        *(("without_random", "nearest", 0, seed) for seed in (5, 7)),
        *(("all", "pca", d, 5) for d in (4, 8)),  # 4 is the reference's
        *(("without_random", "pca", d, seed) for d in (4, 8) for seed in (5, 7)),
        ("all", "contrast", 0, 5),
        ("all", "intensity", 0, 5),
    }


def test_a_run_without_baselines_has_none():
    none = CONFIG | {"baselines": CONFIG["baselines"] | {"methods": []}}
    assert baseline_runs(none) == []
    assert all_runs(none)["network"].tolist() == [True] * len(network_runs(none))


def shown(runs: pd.DataFrame, dataset: str, **equal) -> list[tuple]:
    rows = runs[(runs["dataset"] == dataset) & runs["shown"] & runs["first"]]
    for column, value in equal.items():
        rows = rows[rows[column] == value]
    return [tuple(row) for row in rows[["method", "latent_dim"]].to_numpy()]


def test_what_is_shown_stands_in_the_order_of_figures():
    runs = all_runs(CONFIG)
    networks = [("vae", 4), ("ae", 2), ("ae", 4), ("wide", 4)]
    baselines = [("nearest", 0), ("pca", 4), ("contrast", 0)]
    assert shown(runs, "a") == [*networks, *baselines, ("intensity", 0)]
    # Without masks there is nothing to measure the intensity with.
    assert shown(runs, "b") == [*networks[1:], *baselines]
    assert shown(runs, "a", reconstructs=True) == [*networks, ("nearest", 0), ("pca", 4)]
    assert ("contrast", 0) not in shown(runs, "a", has_maps=True)
    assert shown(runs, "b", informed=True) == [*networks[1:], ("pca", 4)]
    without = all_runs(CONFIG | {"scoring": {"scores": []}})
    assert shown(without, "b", informed=True) == networks[1:]
    assert ("intensity", 0) not in shown(runs, "a", scores_images=True)


def test_a_variant_is_its_method_with_other_options():
    methods = grid_methods(CONFIG)
    assert methods["wide"] == ("ae", "Wide", {"width": 32, "hidden_dim": 8})
    assert methods["ae"].display_name == "AE"
    assert (methods["wide"].own_map, methods["aeu"].own_map) == (False, True)
    assert methods["vae"].options["kl_weight"] == 0.005


def test_a_score_of_weights_that_the_grid_trains_takes_these_over():
    methods = ["ae_grad", "wide_grad", "ae", "wide", "vae_rec"]
    variant = {"method": "ae_grad", "name": "Wide grad", "options": {"width": 32, "hidden_dim": 8}}
    given = CONFIG["methods"] | {"ae_grad": CONFIG["methods"]["ae"]}
    config = CONFIG | {
        "grid": [{"methods": methods, "latent_dims": [4]}],
        "variants": CONFIG["variants"] | {"wide_grad": variant},
        "methods": given,
    }
    assert shared_weights(config) == {"ae_grad": "ae", "wide_grad": "wide"}
    given["ae_grad"] = given["ae_grad"] | {"hidden_dim": 9}
    assert shared_weights(config) == {"wide_grad": "wide"}


def test_the_examples_fit_a_page_and_keep_the_reference():
    runs = [{"method": "ae", "latent_dim": 2**k} for k in range(11)]
    runs.append({"method": "pca", "latent_dim": 1024})
    reference = {"method": "ae", "latent_dim": 1024, "score": "squared_error"}
    found = example_settings(runs, view="latent_dimension", reference=reference)
    assert [run["latent_dim"] for run in found] == [1, 2, 4, 8, 16, 32, 64, 1024]
    assert example_settings(runs, view="methods", reference=reference) == runs[-2:]


def test_the_notes_of_the_table_of_methods():
    names = {"vae": "VAE", "ae": "AE", "wide": "Wide"}
    smaller = {"figures": {"reference": {"method": "ae", "latent_dim": 2}}}
    assert method_notes(CONFIG, names) == ["VAE is scored at z = μ (the reference samples z)."]
    assert method_notes(CONFIG | smaller, names)[1:] == [
        "Trained but not in this table: VAE d = 4, Wide d = 4."
    ]
    block = {"methods": ["ae_spatial"], "latent_dims": [4], "datasets": ["a"]}
    with_spatial = CONFIG | {"grid": [*CONFIG["grid"], block]}
    found = method_notes(with_spatial, {"ae_spatial": "AE-spatial"})
    assert found[1:] == [METHODS["ae_spatial"].note]


def test_provenance_has_the_datasets_methods_and_variants_that_are_used():
    used = used_configuration(CONFIG)
    assert set(used["methods"]) == {"ae", "vae"}
    assert set(used["variants"]) == {"wide"}
    assert set(used["registry"]) == {"a", "b"}
