"""The grid of a run: every model and baseline that a configuration asks for, as one table."""

from itertools import product
from typing import NamedTuple

import pandas as pd

from medae.models.baselines import BASELINES, LINEAR, can
from medae.models.information import INFORMATION
from medae.models.methods import METHODS

ABILITIES = ["scores_images", "reconstructs", "has_maps"]
"""Columns of the table of runs, and fields of medae.models.baselines.Baseline."""

SETTING_COLUMNS = ["dataset", "training_set", "method", "latent_dim"]
"""What a job of training or scoring is about; it makes all seeds."""


class GridMethod(NamedTuple):
    """What a name of a method in the grid stands for."""

    module: str
    """In medae/models/methods/."""
    display_name: str
    options: dict
    """Keyword arguments of its class."""

    @property
    def own_map(self) -> bool:
        """Whether its own score is that of an anomaly map of its own, not the squared error."""
        return METHODS[self.module].own_map


def grid_methods(config: dict) -> dict[str, GridMethod]:
    """Return what a grid may name: the methods, then the variants of the configuration."""
    found = {
        key: GridMethod(key, method.display_name, config["methods"][key])
        for key, method in METHODS.items()
    }
    for key, variant in config["variants"].items():
        module = variant["method"]
        options = config["methods"][module] | variant["options"]
        found[key] = GridMethod(module, variant["name"], options)
    return found


def network_runs(config: dict) -> pd.DataFrame:
    """Return a row per network of the grid and seed, each once, in the configuration's order.

    Columns: SETTING_COLUMNS and seed.
    """
    rows = [
        (*setting, seed)
        for dataset in config["datasets"]
        for block in config["grid"]
        if dataset in block.get("datasets", [dataset])
        for setting in product(
            [dataset], block.get("training_sets", ["all"]), block["methods"], block["latent_dims"]
        )
        for seed in config["seeds"]
    ]
    return pd.DataFrame(rows, columns=[*SETTING_COLUMNS, "seed"]).drop_duplicates(ignore_index=True)


def shared_weights(config: dict) -> dict[str, str]:
    """Return, by method of the grid that is another score of another one's weights, that other one.

    Both have the same options; a method without such a partner is trained itself.
    """
    methods = grid_methods(config)
    used = network_runs(config)["method"].unique()
    return {
        key: partner
        for key in used
        for partner in used
        if methods[partner].module == METHODS[methods[key].module].trained_as
        and methods[partner].options == methods[key].options
    }


def baseline_runs(config: dict) -> list[dict]:
    """Return what the baselines score on every dataset: training_set, method, latent_dim and seed.

    latent_dim is 0 for those that have none, and that of `figures.reference` is always among the
    others. Only a random training set depends on the seed; the others have the first one.
    """
    chosen = config["baselines"]
    sizes = sorted({*chosen["latent_dims"], config["figures"]["reference"]["latent_dim"]})
    runs = []
    for method in chosen["methods"]:
        baseline = BASELINES[method]
        for training_set in chosen["training_sets"] if baseline.reconstructs else ["all"]:
            for size in sizes if baseline.has_latent else [0]:
                seeds = config["seeds"] if training_set == "without_random" else config["seeds"][:1]
                run = {"training_set": training_set, "method": method, "latent_dim": size}
                runs += [run | {"seed": seed} for seed in seeds]
    return runs


def all_runs(config: dict) -> pd.DataFrame:
    """Return the table of all runs: networks, then baselines.

    Beside SETTING_COLUMNS and seed it has columns of bool: network; first, it has the first seed;
    scores_images, reconstructs and has_maps, what it gives; compared, it is trained on all images
    and, of a baseline, at the reference's latent dimension; shown, tables and figures of methods
    have it: compared, with something to rank on its dataset; informed, it has a table of other
    scores. Methods stand as in the grid, latent dimensions of networks ascend.
    """
    networks = network_runs(config).assign(network=True)
    places = {method: place for place, method in enumerate(networks["method"].unique())}
    networks = networks.sort_values(
        ["method", "latent_dim"], kind="stable", key=lambda column: column.replace(places)
    )
    baselines = [
        {"dataset": dataset, **run, "network": False}
        for dataset in config["datasets"]
        for run in baseline_runs(config)
    ]
    table = pd.concat([networks, pd.DataFrame(baselines, columns=networks.columns)])
    table = table.reset_index(drop=True).astype({"network": bool})
    table["first"] = table["seed"] == config["seeds"][0]
    for ability in ABILITIES:
        table[ability] = [can(method, ability) for method in table["method"]]
    size = config["figures"]["reference"]["latent_dim"]
    at_size = table["network"] | table["latent_dim"].isin([0, size])
    table["compared"] = (table["training_set"] == "all") & at_size
    masks = table["dataset"].map(
        {key: config["registry"][key]["masks"] for key in config["datasets"]}
    )
    table["shown"] = table["compared"] & (table["scores_images"] | masks)
    # The nearest image has no error on training images.
    linear = (table["method"] == LINEAR) & (table["training_set"] == "all")
    informed = linear & (INFORMATION in config["scoring"]["scores"])
    table["informed"] = table["network"] | informed
    return table


def example_settings(runs: list[dict], *, view: str, reference: dict) -> list[dict]:
    """Return the up to eight of `runs` that a view of the examples shows, in their order.

    The reference method's latent dimensions, or the methods at the reference's latent dimension.
    Eight fit a page: of the paper's d = 1 … 1024 those of Table 1; the reference is always kept.
    """
    fixed = {"latent_dimension": "method", "methods": "latent_dim"}[view]
    found = [run for run in runs if run[fixed] == reference[fixed] or not run["latent_dim"]]
    keys = ["method", "latent_dim"]
    kept = [
        run for i, run in enumerate(found) if i < 7 or all(run[k] == reference[k] for k in keys)
    ]
    return kept if len(kept) == 8 else found[:8]


def method_notes(config: dict, names: dict[str, str]) -> list[str]:
    """Return what the table of methods says of the trained methods and the settings it lacks.

    A method can have a `note`, and an option `notes`, a sentence by its value; `names` are display
    names.
    """
    networks = network_runs(config)
    methods = grid_methods(config)
    notes = []
    for key in networks["method"].unique():
        module, _, options = methods[key]
        notes += [METHODS[module].note] if METHODS[module].note else []
        for option, value in options.items():
            sentence = METHODS[module].options[option].get("notes", {}).get(value)
            notes += [sentence] if sentence else []
    size = config["figures"]["reference"]["latent_dim"]
    others = networks[(networks["method"] != "ae") & (networks["latent_dim"] != size)]
    left_out = {
        f"{names[method]} d = {latent_dim}"
        for method, latent_dim in zip(others["method"], others["latent_dim"], strict=True)
    }
    if left_out:
        notes.append(f"Trained but not in this table: {', '.join(sorted(left_out))}.")
    return list(dict.fromkeys(notes))


def dataset_notes(config: dict) -> dict[str, str]:
    """Return what stands below tables and figures about datasets, by key.

    The `note` of a registry entry, and that a class of test images is meant to be missing.
    """
    notes = {}
    for key in config["datasets"]:
        entry = config["registry"][key]
        expected = entry.get("expected", {})
        missing = [name for name in ("normal", "abnormal") if expected.get(f"test_{name}") == 0]
        parts = [entry["note"]] if "note" in entry else []
        if missing:
            parts.append(
                f"{entry['name']} has no {' and no '.join(missing)} test images, so no metrics "
                "that need both classes."
            )
        if parts:
            notes[key] = " ".join(parts)
    return notes


def used_configuration(config: dict) -> dict:
    """Return the configuration without the datasets and methods that the run doesn't use."""
    names = sorted(network_runs(config)["method"].unique())
    modules = sorted({grid_methods(config)[name].module for name in names})
    variants = config["variants"]
    return config | {
        "registry": {key: config["registry"][key] for key in config["datasets"]},
        "methods": {key: config["methods"][key] for key in modules},
        "variants": {key: variants[key] for key in names if key in variants},
    }
