"""What theory adds to a run's plan: checks, held-out datasets, the columns of its tables."""

from collections.abc import Mapping

import pandas as pd

SUFFIX = "_validation"
"""What follows a dataset's key in the key of its held-out dataset."""

AUTOENCODER = "ae"
"""The method whose latent dimension is chosen, and compared with known numbers of factors."""

ENTROPY_COLUMNS = ["dataset", "method", "latent_dim", "seed", "quantity", "value"]
"""Of measure_entropy.py: a row per seed and quantity."""

SELECTION_COLUMNS = ["dataset", "family", "selector", "score", "method", "latent_dim", "criterion"]
"""Of select_latent_dim.py's choices."""

CURVE_COLUMNS = ["dataset", "family", "method", "latent_dim", "quantity", "value"]
"""Of select_latent_dim.py's table of what was compared."""


def check_theory(config: Mapping) -> list[str]:
    """Return faults of `config["theory"]` that its schema cannot express, a text for each."""
    theory, known = config["theory"], config["datasets"]
    selection, factors = theory["selection"], theory["factors"]
    faults = []
    if config["decision"]["held_out"]:
        faults.append("theory needs decision.held_out: 0, since it measures the training images")
    for where, keys in (
        ("selection.datasets", selection["datasets"]),
        ("selection.no_anomalies", selection["no_anomalies"]),
        ("factors", factors),
    ):
        faults += [
            f"theory.{where} names '{key}', which `datasets` does not; it has {', '.join(known)}"
            for key in keys
            if key not in known
        ]
    faults += [
        f"theory needs {AUTOENCODER} on all training images of {key}; add it to the grid"
        for key in {*selection["datasets"], *factors} & set(known)
        if not any(
            AUTOENCODER in block["methods"]
            and key in block.get("datasets", [key])
            and "all" in block.get("training_sets", ["all"])
            for block in config["grid"]
        )
    ]
    if len(factors) == 1:
        faults.append("theory.factors needs two datasets or more, as it compares them")
    for key in selection["datasets"]:
        if not anomaly_kinds(config, key):
            faults.append(f"theory.selection.no_anomalies leaves {key} no kind of anomaly")
        if f"{key}{SUFFIX}" in config["registry"]:
            faults.append(
                f"the registry's '{key}{SUFFIX}' has the key of the held-out part of {key}; give "
                "it another one"
            )
    return faults


def held_out_entries(config: Mapping) -> dict[str, dict]:
    """Return the registry entries of the held-out datasets, by key.

    A held-out dataset is packed by a rule of its own, so it has no source; its abnormal images are
    synthetic, so it has masks, and their ids begin with synthetic/<kind>/, which a pattern that is
    anchored at the beginning has to pass over.
    """
    sources = ("folder", "path", "generator", "expected")
    found = {}
    for key in config["theory"]["selection"]["datasets"]:
        entry = {k: v for k, v in config["registry"][key].items() if k not in sources}
        if (pattern := entry.get("group_pattern", "")).startswith("^"):
            entry["group_pattern"] = rf"^(?:synthetic/[^/]+/)?{pattern[1:]}"
        found[f"{key}{SUFFIX}"] = entry | {"name": f"{entry['name']}, held out", "masks": True}
    return found


def anomaly_kinds(config: Mapping, dataset: str) -> list[str]:
    """Return the kinds of synthetic anomalies that are made in a dataset's images."""
    selection = config["theory"]["selection"]
    left_out = selection["no_anomalies"].get(dataset, [])
    return [kind for kind in selection["anomalies"] if kind not in left_out]


def candidates(runs: pd.DataFrame, dataset: str) -> list[int]:
    """Return the latent dimensions to choose among on a dataset, ascending.

    `runs` has the columns dataset, training_set, method and latent_dim.
    """
    chosen = (runs["dataset"] == dataset) & (runs["training_set"] == "all")
    sizes = runs.loc[chosen & (runs["method"] == AUTOENCODER), "latent_dim"]
    return sorted({int(size) for size in sizes})
