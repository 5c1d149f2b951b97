"""What the Snakefile knows about files and settings, as functions that tests can call."""

import ast
import hashlib
import os
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

from medae.base.errors import InputError
from medae.models.baselines import BASELINES
from medae.models.methods import REGISTRY
from medae.theory.held_out import SUFFIX

SCRIPTS = Path(__file__).parents[2]


@dataclass(frozen=True, order=True)
class Setting:
    """One point of the grid; a job makes it for all seeds."""

    dataset: str
    training_set: str
    method: str
    latent_dim: int


class Method(NamedTuple):
    """What a name of a method in the grid stands for."""

    module: str
    """In medae/models/methods/."""
    display_name: str
    options: dict
    """Keyword arguments of its class."""


def grid_methods(config: dict) -> dict[str, Method]:
    """Return what a grid may name: the methods of the registry, then the variants of them."""
    found = {
        key: Method(key, entry.display_name, config["methods"][key])
        for key, entry in REGISTRY.items()
    }
    for key, variant in config["variants"].items():
        module = variant["method"]
        options = config["methods"][module] | variant["options"]
        found[key] = Method(module, variant["name"], options)
    return found


def validation_settings(config: dict) -> list[Setting]:
    """Return the settings that choose among those of the grid: the same on held-out images.

    Only models of all training images are chosen among.
    """
    return [
        replace(setting, dataset=setting.dataset + SUFFIX)
        for setting in settings(config)
        if setting.dataset in config["selection"]["datasets"]
        and setting.training_set == "all"
        and family(config, setting) is not None
    ]


def family(config: dict, setting: Setting) -> str | None:
    """Return the method whose one free number a choice is about: d of `ae`, λ of `entropy_ae`."""
    module = grid_methods(config)[setting.method].module
    return module if setting.method == "ae" or module == "entropy_ae" else None


def candidates(config: dict, dataset: str) -> list[dict]:
    """Return what is chosen among on a dataset, each family by rising capacity.

    The autoencoder by d, the entropy autoencoder by falling weight of the rate.
    """
    methods = grid_methods(config)
    found = [
        {"family": family(config, setting), **vars(setting)}
        for setting in settings(config)
        if (setting.dataset, setting.training_set) == (dataset, "all")
    ]

    def capacity(candidate: dict) -> tuple:
        weight = methods[candidate["method"]].options.get("rate_weight", 0.0)
        return candidate["family"], -weight, candidate["latent_dim"]

    return sorted((c for c in found if c["family"] is not None), key=capacity)


def settings(config: dict) -> list[Setting]:
    """Return the settings of the grid, each once, in the order of the configuration."""
    found = (
        Setting(dataset, training_set, method, latent_dim)
        for dataset in config["datasets"]
        for block in config["grid"]
        if dataset in block.get("datasets", [dataset])
        for training_set in block.get("training_sets", ["all"])
        for method in block["methods"]
        for latent_dim in block["latent_dims"]
    )
    return list(dict.fromkeys(found))


def baseline_runs(config: dict) -> list[dict]:
    """Return what the baselines score on every dataset: training_set, method, latent_dim and seed.

    latent_dim is 0 for those that have none, and that of `figures.reference` is always among the
    others. Only a random training set depends on the seed; the
    others have the first one.
    """
    chosen = config["baselines"]
    sizes = sorted({*chosen["latent_dims"], config["figures"]["reference"]["latent_dim"]})
    runs = []
    for method in chosen["methods"]:
        baseline = BASELINES[method]
        for training_set in chosen["training_sets"] if baseline.learns else ["all"]:
            for size in sizes if baseline.has_latent else [0]:
                seeds = config["seeds"] if training_set == "without_random" else config["seeds"][:1]
                run = {"training_set": training_set, "method": method, "latent_dim": size}
                runs += [run | {"seed": seed} for seed in seeds]
    return runs


@cache
def imported_modules(source: Path) -> frozenset[Path]:
    """Return the files of the package that `source` imports, directly or through one of them.

    Snakemake does not see an imported module change, so rules name these files as inputs. The
    registry `methods/__init__.py` is left out: it only maps names, and listing it would retrain
    every model whenever a method is added; a rule that runs a method names that method's module.
    """
    found: set[Path] = set()
    pending = [Path(source)]
    while pending:
        for module in _imports(pending.pop()) - found:
            found.add(module)
            pending.append(module)
    return frozenset(found)


@cache
def _imports(source: Path) -> frozenset[Path]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    paths = {SCRIPTS.joinpath(*name.split(".")) for name in names if name.startswith("medae.")}
    files = {path.with_suffix(".py") for path in paths}
    return frozenset(path for path in files if path.is_file())


def dataset_folder(config: dict, dataset: str) -> Path:
    """Return the folder in which the images of a registered dataset lie or will lie."""
    entry = config["registry"][dataset]
    return Path(entry.get("path") or Path(config["data_dir"], entry["folder"])).expanduser()


def used_configuration(config: dict) -> dict:
    """Return the configuration without the datasets and methods that the run doesn't use."""
    names = sorted({setting.method for setting in settings(config)})
    modules = sorted({grid_methods(config)[name].module for name in names})
    variants = config["variants"]
    return config | {
        "registry": {key: config["registry"][key] for key in config["datasets"]},
        "methods": {key: config["methods"][key] for key in modules},
        "variants": {key: variants[key] for key in names if key in variants},
    }


def fingerprint(folder: Path) -> str:
    """Return a digest of the names, sizes and times of the visible files below `folder`.

    Cheap enough for every start of the workflow; a dataset that changed is packed anew. Links are
    followed, and the folder's own name is not part of it. A file that cannot be looked at counts by
    its name: packing says what is wrong with it.
    """
    digest = hashlib.sha256()
    for place, folders, files in os.walk(folder, followlinks=True):
        folders.sort()
        for name in sorted(name for name in files if not name.startswith(".")):
            path = os.path.join(place, name)  # noqa: PTH118 - names need not be valid text
            digest.update(os.fsencode(os.path.relpath(path, folder)))
            try:
                status = os.stat(path)  # noqa: PTH116
                digest.update(f" {status.st_size} {status.st_mtime_ns}\n".encode())
            except OSError:
                digest.update(b" unreadable\n")
    return digest.hexdigest()


def sort_keys(value):
    """Return a configuration whose mappings are sorted by key, at every level.

    Merging files leaves an order that depends on which of them states a key; Snakemake would take
    another order for a changed parameter and run jobs again.
    """
    if isinstance(value, dict):
        return {key: sort_keys(value[key]) for key in sorted(value)}
    return [sort_keys(item) for item in value] if isinstance(value, list) else value


def check_owner(run: str, configfiles: list[Path], record: Path) -> str:
    """Return the configuration files that make this run; refuse the results of other ones.

    `configfiles` are those of the command line; without one it is config/config.yaml. `record`
    holds the names that the run's folder belongs to, if it exists. Raises InputError when those
    are others, since their results would be replaced.
    """
    owner = " ".join(os.path.relpath(file) for file in configfiles or ["config/config.yaml"])
    if record.exists() and record.read_text(encoding="utf-8") != owner:
        raise InputError(
            f"results/{run}/ belongs to the configuration {record.read_text(encoding='utf-8')}, "
            f"not to {owner}: two configurations must not share a folder. Give this one another "
            "`run:` name, or remove that folder."
        )
    return owner
