# What the rules of several stages use: the checked configuration, the table of runs, and the files
# that a script depends on.
import json
import os
import shlex
import signal
import sys

import yaml

PACKAGE = str(Path(workflow.basedir, "../scripts").resolve())
sys.path.insert(0, PACKAGE)

from medae.base.errors import InputError
from medae.base.logs import explain
from medae.duplicates.training_sets import TRAINING_SETS
from medae.models.baselines import BASELINES, LINEAR
from medae.models.information import INFORMATION, INFORMED
from medae.workflow.configuration import (
    check_configuration,
    complete_schema,
    with_defaults,
)
from medae.workflow.content import images_digest
from medae.workflow.grid import (
    all_runs,
    baseline_runs,
    dataset_notes,
    example_settings,
    grid_methods,
    method_notes,
    shared_weights,
    used_configuration,
)
from medae.workflow.startup import (
    SCRIPTS,
    check_owner,
    claim_run,
    dataset_folder,
    imported_modules,
    keep_metadata,
    share_package,
    take_over_lock,
)

share_package(PACKAGE)
sys.executable = shlex.quote(sys.executable)  # Snakemake writes it into a shell's line
# A batch system announces the end of a job's time by SIGUSR1 to all its processes. A training answers
# by saving its state; Snakemake would die at once, and the job with it.
signal.signal(signal.SIGUSR1, signal.SIG_IGN)
if workflow.is_main_process:  # not a job on another machine
    keep_metadata()
    take_over_lock()


def or_workflow_error(function, *arguments):
    """Call a function; what the user can fix ends the workflow with its paragraph."""
    try:
        return function(*arguments)
    except (InputError, OSError) as error:
        raise WorkflowError(explain(error) or str(error)) from None


def read_yaml(path):
    return yaml.safe_load(Path(workflow.basedir, path).read_text(encoding="utf-8"))


SCHEMA = or_workflow_error(complete_schema, read_yaml("schemas/config.schema.yaml"))
or_workflow_error(check_configuration, config, SCHEMA)
OWNER = or_workflow_error(check_owner, config["run"], workflow.overwrite_configfiles)
# Merging files leaves an order that depends on which of them states a key; Snakemake would take
# another order for a changed parameter.
config = with_defaults(json.loads(json.dumps(config, sort_keys=True)))
config["data_dir"] = os.path.expanduser(config["data_dir"])

for block in config["grid"]:
    if not set(block.get("datasets", config["datasets"])) & set(config["datasets"]):
        logger.warning(
            f"Nothing is trained of the block {block}: `datasets` has none of its own."
        )

METHODS = grid_methods(config)
SHARED_WEIGHTS = shared_weights(config)
# Networks and baselines; the Snakefile adds the paths of their files.
RUNS = all_runs(config)
NETWORKS = list(RUNS.query("network")["method"].unique())
# What the figures of examples compare.
EXAMPLE_VIEWS = ["latent_dimension", "methods"][: 1 + (RUNS["method"].nunique() > 1)]
NAMES = {dataset: config["registry"][dataset]["name"] for dataset in config["datasets"]}
METHOD_NAMES = {  # in the order of the grid, in which a sweep stands as it was written
    key: {**METHODS, **BASELINES}[key].display_name for key in RUNS["method"].unique()
}
INFORMED_NAMES = {  # networks and PCA also with what they are by information
    f"{key}{ending}": f"{name}{words}"
    for key, name in METHOD_NAMES.items()
    for ending, words in (("", ""), (INFORMED, " (information)"))
    if not ending or key in METHODS or key == LINEAR
}
NAMED = {"names": NAMES, "methods": METHOD_NAMES}
PAPERS = {  # each dataset's key in the paper's tables
    key: config["registry"][key].get("paper", key) for key in config["datasets"]
}
REFERENCE = config["figures"]["reference"]
HELD_OUT_SHARE = config["decision"]["held_out"]
PAPER_VALUES, REFERENCE_VALUES = (
    os.path.relpath(Path(workflow.basedir, f"resources/{name}.tsv"))
    for name in ("paper_values", "reference_code")
)

# What goes beyond the paper adds its results here.
ADDITIONS = []
SELECTIONS = []  # tables of chosen d, which the table of methods shows
SELECTOR = {}  # `selector`: whose choice that is


def paths(pattern):
    """The path of a file of every run."""
    return [pattern.format(**run) for run in RUNS.to_dict("records")]


def runs(query):
    """The runs of a query, which may name wildcards, as a parameter of a script."""
    columns = ["dataset", "training_set", "method", "latent_dim", "seed"]
    return lambda wildcards: RUNS.query(query.format(**wildcards))[columns].to_dict(
        "records"
    )


def modules(script, *others):
    """The script, the package's files that it imports, and others that it loads by name.

    Relative paths: a project folder that is moved stays up to date.
    """
    sources = [Path(SCRIPTS, f"{script}.py"), *others]
    found = {path for source in sources for path in imported_modules(source)}
    return sorted(os.path.relpath(path) for path in found | set(sources))


def method_modules(script):
    """As `modules`, with the module of the wildcard `method`."""
    folder = Path(SCRIPTS, "medae/models/methods")
    return lambda wildcards: modules(
        script, folder / f"{METHODS[wildcards.method].module}.py"
    )


def of_dataset(key):
    """A key of the dataset's registry entry, or None."""
    return lookup(dpath=f"registry/{{dataset}}/{key}", within=config, default=None)


def training_rows(wildcards):
    """The table of the images that a setting is trained on; nothing for all of them."""
    return (
        [] if wildcards.training_set == "all" and not HELD_OUT_SHARE else TRAINING_SET
    )


def of_seeds(pattern):
    """The files of a setting for all seeds."""
    return expand(pattern, seed=config["seeds"], allow_missing=True)


def of_partner(pattern):
    """As `of_seeds`, of the method whose weights the wildcard `method` takes over."""
    return lambda wildcards: expand(
        of_seeds(pattern),
        **{**wildcards, "method": SHARED_WEIGHTS[wildcards.method]},
    )


def of_runs(pattern, chosen):
    """The files of a dataset's runs, which state all wildcards but the dataset."""
    return [one for run in chosen for one in expand(pattern, **run, allow_missing=True)]


# --- data


def is_generated(entry):
    return "generator" in entry and "path" not in entry


def is_downloaded(dataset):
    """Whether the folder is ours to fetch: not generated, not named by `path`, not there before."""
    entry = config["registry"][dataset]
    if is_generated(entry) or "path" in entry:
        return False
    folder = dataset_folder(config, dataset)
    return Path(f"{folder}.verified.json").exists() or not folder.exists()


def images_source(wildcards):
    """What the images of a dataset are made by; nothing for a folder of the user's."""
    entry = config["registry"][wildcards.dataset]
    if is_generated(entry):
        return RAW
    return MARKER.format(**entry) if is_downloaded(wildcards.dataset) else []


# A dataset is packed again, and all that follows is made again, when its `packed_content` changes.
# The folder's place and what only describes or checks the images must not count, so they are
# parameters that take `output`: Snakemake doesn't compare those.


def images_folder(wildcards, output):
    if is_generated(config["registry"][wildcards.dataset]):
        return RAW.format(dataset=wildcards.dataset)
    return str(dataset_folder(config, wildcards.dataset))


def packing_options(wildcards, output):
    """The keys of a registry entry that packing needs."""
    entry = config["registry"][wildcards.dataset]
    return {key: entry[key] for key in [*DECIDING, *DESCRIBING] if key in entry}


DECIDING = ["layout", "channels", "masks", "intensity_range", "fit", "volumes"]
DESCRIBING = ["expected", "url"]


def packed_content(dataset):
    """What decides the packed images: options, and the bytes of a user's files, not their times.

    A folder that can't be read stops the workflow where it was packed before: the job would delete
    the packed file and fail, and all models would be trained again.
    """
    entry = config["registry"][dataset]
    options = {key: entry[key] for key in DECIDING if key in entry}
    made = is_generated(entry) or is_downloaded(dataset)
    if made or not workflow.is_main_process:
        return (
            options  # a rule's own images; a job on a cluster's node compares nothing
        )
    cache = Path(".snakemake/images", config["run"], f"{dataset}.json")
    try:
        digest = images_digest(
            dataset_folder(config, dataset),
            layout=entry["layout"],
            masks=entry["masks"],
            volumes=entry.get("volumes"),
            expected=entry.get("expected"),
            cache=cache,
        )
    except (InputError, OSError) as error:
        if Path(PACKED.format(dataset=dataset)).exists():
            raise WorkflowError(explain(error) or str(error)) from None
        digest = None  # the job says why
    return options | {"images": digest}


def download_entry(wildcards):
    """The registry entry whose data lie in the wildcard `folder`, and its key."""
    for key, entry in config["registry"].items():
        if entry.get("folder") == wildcards.folder:
            return {"key": key, **entry}


def published_share(wildcards):
    """The share of abnormal images at which AP is given; None: that of the full test set."""
    registry = config["registry"]
    counts = registry.get(registry[wildcards.dataset].get("paper"), {}).get("expected")
    if counts:
        abnormal = counts["test_abnormal"]
        return abnormal / (counts["test_normal"] + abnormal)


# --- duplicates and models


def audit_options(wildcards):
    """How duplicates are found on a dataset."""
    entry = config["registry"][wildcards.dataset]
    own = {"threshold": entry["copy_threshold"]} if "copy_threshold" in entry else {}
    return config["audit"] | own


def epochs(wildcards):
    return (
        config["training"]["epochs"] or config["registry"][wildcards.dataset]["epochs"]
    )


def kept_or_temporary(files):
    """Anomaly maps are large; they go when all that reads them is done."""
    return files if config["scoring"]["keep_maps"] else [temp(file) for file in files]


# --- report

# Queries of runs: what reconstructs on a dataset, and what ranks its images, at the first seed.
RECONSTRUCTING = "dataset == '{dataset}' & shown & first & reconstructs"
RANKED = "dataset == '{dataset}' & shown & first & scores_images"


def table(name, caption, label, *ends, category="Tables"):
    """The forms of a table; the page is in the report."""
    forms = {"markdown": "md", "table": "tsv", **{end: "tex" for end in ends}}
    page = report(
        f"{TABLES}/{name}.html",
        caption=f"../report/{caption}.rst",
        category=category,
        labels={"table": label},
    )
    return {key: f"{TABLES}/{name}.{end}" for key, end in forms.items()} | {
        "html": page
    }


def figure(name, caption, label, category="Figures"):
    """A figure for print and one for the report, there by its dataset if it has one."""
    picture = report(
        f"{FIGURES}/{name}.png",
        caption=f"../report/{caption}.rst",
        category=category,
        labels={"figure": label}
        | ({"dataset": "{dataset}"} if "{dataset}" in name else {}),
    )
    return {"pdf": f"{FIGURES}/{name}.pdf", "png": picture}


def examples_shown(wildcards):
    """The settings that a view of the examples shows, in its order."""
    found = runs(RECONSTRUCTING)(wildcards)
    return example_settings(found, view=wildcards.view, reference=REFERENCE)
