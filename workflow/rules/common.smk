# Checks of the configuration and the functions that rules take their inputs and parameters from.
import os
import sys

import yaml

# Snakemake puts a script's own folder on the path, and scripts lie in a folder per stage, so the
# package beside them is found by PYTHONPATH; jobs on other machines read this file too.
PACKAGE_ROOT = str(Path(workflow.basedir, "../scripts").resolve())
sys.path.insert(0, PACKAGE_ROOT)
os.environ["PYTHONPATH"] = os.pathsep.join(
    [PACKAGE_ROOT, *filter(None, [os.environ.get("PYTHONPATH")])]
)

from medae.models.baselines import BASELINES, can
from medae.workflow.configuration import check_configuration
from medae.base.errors import InputError
from medae.theory.score_names import CONTROL
from medae.duplicates.training_sets import TRAINING_SETS
from medae.theory.held_out import SUFFIX
from medae.workflow.grid import (
    SCRIPTS,
    baseline_runs,
    candidates,
    check_owner,
    dataset_folder,
    family,
    fingerprint,
    grid_methods,
    imported_modules,
    settings,
    sort_keys,
    used_configuration,
    validation_settings,
)

OWNER_RECORD = Path("results", str(config.get("run")), ".configuration")
try:
    check_configuration(
        config,
        yaml.safe_load(
            Path(workflow.basedir, "schemas/config.schema.yaml").read_text(
                encoding="utf-8"
            )
        ),
    )
    OWNER = check_owner(config["run"], workflow.overwrite_configfiles, OWNER_RECORD)
except InputError as error:
    raise WorkflowError(str(error)) from None

config = sort_keys(config)
config["data_dir"] = os.path.expanduser(config["data_dir"])
METHODS = grid_methods(config)
SETTINGS = settings(config)
VALIDATION_SETTINGS = validation_settings(config)
VALIDATION_SETS = sorted({setting.dataset for setting in VALIDATION_SETTINGS})
BASELINE_RUNS = baseline_runs(config)
REFERENCE_RUN = {
    "training_set": "all",
    "seed": config["seeds"][0],
    **config["figures"]["reference"],
}
DRAWN_TRAINING_SETS = [s for s in config["baselines"]["training_sets"] if s != "all"]
# In the order of the grid, in which a sweep stands as it was written.
METHOD_NAMES = {
    key: {**METHODS, **BASELINES}[key].display_name
    for key in dict.fromkeys([*(s.method for s in SETTINGS), *METHODS, *BASELINES])
}
PAPER_VALUES = os.path.relpath(Path(workflow.basedir, "resources/paper_values.tsv"))
NAMES = {dataset: config["registry"][dataset]["name"] for dataset in config["datasets"]}


def modules(script, *others):
    """The package's files that a script imports, and others that it loads by name.

    Relative paths: a project folder that is moved stays up to date.
    """
    sources = [Path(SCRIPTS, f"{script}.py"), *others]
    found = {path for source in sources for path in imported_modules(source)}
    return sorted(os.path.relpath(path) for path in found | set(others))


def method_modules(script):
    """As `modules`, with the module of the wildcard `method`."""
    return lambda wildcards: modules(
        script,
        Path(
            SCRIPTS,
            "medae",
            "models",
            "methods",
            f"{METHODS[wildcards.method].module}.py",
        ),
    )


def entry(wildcards):
    """The registry entry of a dataset; a validation set is made of the images of its source."""
    key = wildcards.dataset
    return config["registry"].get(key) or config["registry"][key.removesuffix(SUFFIX)]


def has_masks(wildcards):
    """A validation set has the masks of its synthetic anomalies."""
    return wildcards.dataset.endswith(SUFFIX) or entry(wildcards)["masks"]


def is_generated(wildcards):
    return "generator" in entry(wildcards) and "path" not in entry(wildcards)


def is_downloaded(wildcards):
    """Whether the folder is ours to fetch: not generated, not named by `path`, not there before."""
    if is_generated(wildcards) or "path" in entry(wildcards):
        return False
    folder = dataset_folder(config, wildcards.dataset)
    marker = Path(f"{folder}.verified.json")
    return marker.exists() or not folder.exists()


def images_source(wildcards):
    """What the images of a dataset are made by; nothing for a folder of the user's."""
    if is_generated(wildcards):
        return RAW
    return MARKER.format(**entry(wildcards)) if is_downloaded(wildcards) else []


def images_folder(wildcards):
    if is_generated(wildcards):
        return RAW.format(dataset=wildcards.dataset)
    return str(dataset_folder(config, wildcards.dataset))


def images_fingerprint(wildcards):
    """Changes when the files of a user's folder do, so that the dataset is packed anew."""
    if is_generated(wildcards) or is_downloaded(wildcards):
        return "made by a rule"
    return fingerprint(images_folder(wildcards))


def packing_options(wildcards):
    """The keys of a registry entry that packing depends on."""
    keys = [
        "layout",
        "channels",
        "masks",
        "modality",
        "expected",
        "intensity_range",
        "url",
    ]
    return {key: entry(wildcards)[key] for key in keys if key in entry(wildcards)}


def download_entry(wildcards):
    """The registry entry whose data lie in the wildcard `folder`, and its key."""
    for key, value in config["registry"].items():
        if value.get("folder") == wildcards.folder:
            return {"key": key, **value}


def audit_options(wildcards):
    """How copies are found on a dataset."""
    options = dict(config["audit"])
    options["threshold"] = entry(wildcards).get("copy_threshold", options["threshold"])
    return options


def anomaly_kinds(wildcards):
    """The synthetic anomalies that are made on a dataset."""
    left_out = entry(wildcards).get("no_anomalies", [])
    return [kind for kind in config["selection"]["anomalies"] if kind not in left_out]


def group_pattern(wildcards):
    return entry(wildcards).get("group_pattern")


def training_rows(wildcards):
    """The table of the images that a setting is trained on; nothing for all of them."""
    return [] if wildcards.training_set == "all" else TRAINING_SET


def epochs(wildcards):
    return config["training"]["epochs"] or entry(wildcards)["epochs"]


def maps_for_metrics(wildcards):
    """Anomaly maps are measured where the dataset has masks."""
    if not has_masks(wildcards):
        return []
    return expand(f"{SCORES}/maps.h5", seed=config["seeds"], allow_missing=True)


def is_compared(run):
    """Whether tables and figures set a run of a baseline beside the networks."""
    size = config["figures"]["reference"]["latent_dim"]
    return run["training_set"] == "all" and run["latent_dim"] in (0, size)


MAPPED_RUNS = [
    run for run in BASELINE_RUNS if is_compared(run) and can(run["method"], "has_maps")
]


def dataset_settings(wildcards):
    """What is compared on one dataset, at the first seed: methods as registered, d ascending.

    The networks of all training images, then the baselines.
    """
    key = wildcards.dataset
    found = [
        vars(setting) | {"seed": config["seeds"][0]}
        for setting in SETTINGS
        if (setting.dataset, setting.training_set) == (key, "all")
    ]
    found.sort(key=lambda s: (list(METHODS).index(s["method"]), s["latent_dim"]))
    masks = entry(wildcards)["masks"]
    return found + [
        run | {"dataset": key}
        for run in BASELINE_RUNS
        if is_compared(run) and (masks or can(run["method"], "scores_images"))
    ]


def scoring_settings(wildcards):
    """The settings of one dataset whose scores of images count."""
    settings = dataset_settings(wildcards)
    return [s for s in settings if can(s["method"], "scores_images")]


def reconstructing_settings(wildcards):
    """The settings of one dataset that reconstruct images."""
    settings = dataset_settings(wildcards)
    return [s for s in settings if can(s["method"], "learns")]


# What the figures of examples compare: the reference method's latent dimensions, and the methods at
# the reference's latent dimension where there are several.
EXAMPLE_VIEWS = ["latent_dimension"]
if len({setting.method for setting in SETTINGS}) > 1 or BASELINE_RUNS:
    EXAMPLE_VIEWS.append("methods")


def example_settings(wildcards):
    """The settings that a view of the examples shows, in its order."""
    fixed = {"latent_dimension": "method", "methods": "latent_dim"}[wildcards.view]
    reference = config["figures"]["reference"]
    found = reconstructing_settings(wildcards)
    found = [s for s in found if s[fixed] == reference[fixed] or not s["latent_dim"]]
    # Eight fit a page: of the paper's grid d = 1 … 128, those of Table 1; the reference is kept.
    chosen = {key: reference[key] for key in ("method", "latent_dim")}
    kept = [s for i, s in enumerate(found) if i < 7 or chosen.items() <= s.items()]
    return kept if len(kept) == 8 else found[:8]


def dataset_runs(wildcards):
    """The settings of one dataset with all seeds; a baseline has one, since none changes it."""
    return [
        setting | {"seed": seed}
        for setting in dataset_settings(wildcards)
        for seed in config["seeds"][: None if setting["method"] in METHODS else 1]
    ]


def files_of(settings_of, pattern):
    """The files of one dataset's settings, as one of the functions above gives them."""
    return lambda wildcards: [pattern.format(**s) for s in settings_of(wildcards)]


def maps_for_bootstrap(wildcards):
    """The anomaly maps of `dataset_runs`, in their order, where the dataset has masks."""
    if not entry(wildcards)["masks"]:
        return []
    return [
        f"{SCORES}/maps.h5".format(**run)
        for run in dataset_runs(wildcards)
        if can(run["method"], "has_maps")
    ]


def method_notes():
    """What the table of methods says of itself."""
    used = {setting.method for setting in SETTINGS}
    size = config["figures"]["reference"]["latent_dim"]
    others = {s for s in SETTINGS if s.method != "ae" and s.latent_dim != size}
    left_out = sorted({f"{METHOD_NAMES[s.method]} d = {s.latent_dim}" for s in others})
    notes = []
    if "vae" in used and METHODS["vae"].options["score_at"] == "mean":
        notes.append("VAE is scored at z = μ (the reference samples z).")
    elif "vae" in used:
        notes.append("VAE is scored at a draw of z, as the reference does.")
    if left_out:
        notes.append(f"Trained but not in this table: {', '.join(left_out)}.")
    return notes


def dataset_candidates(wildcards):
    """What is chosen among on a dataset: family, method and latent_dim."""
    keys = ("family", "method", "latent_dim")
    found = candidates(config, wildcards.dataset)
    return [{key: candidate[key] for key in keys} for candidate in found]


def validated(wildcards):
    """The candidates of a dataset on its held-out part, at the first seed."""
    key = f"{wildcards.dataset}{SUFFIX}"
    return [
        candidate | {"dataset": key, "training_set": "all", "seed": config["seeds"][0]}
        for candidate in dataset_candidates(wildcards)
    ]


def measured_pixels(wildcards):
    """Which metrics of pixels are compared; their intervals take long."""
    if wildcards.dataset.endswith(SUFFIX):
        return "none"
    reference = config["figures"]["reference"]
    setting = {"method": wildcards.method, "latent_dim": int(wildcards.latent_dim)}
    return "intervals" if setting == reference else "metrics"
