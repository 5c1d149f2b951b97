# What the rules of several stages use: the checked configuration, the table of runs, and the files
# that a script depends on.
import os
import sys

import yaml

# Snakemake puts a script's own folder on the path, and scripts lie in a folder per stage, so that
# the package beside them is found by PYTHONPATH. Jobs on other machines read this file too.
PACKAGE = str(Path(workflow.basedir, "../scripts").resolve())
sys.path.insert(0, PACKAGE)
if PACKAGE not in os.environ.get("PYTHONPATH", "").split(os.pathsep):
    os.environ["PYTHONPATH"] = os.pathsep.join(
        filter(None, [PACKAGE, os.environ.get("PYTHONPATH")])
    )

from medae.base.errors import InputError
from medae.base.logs import explain
from medae.duplicates.training_sets import TRAINING_SETS
from medae.models.baselines import BASELINES
from medae.workflow.configuration import (
    check_configuration,
    complete_schema,
    with_defaults,
)
from medae.workflow.grid import (
    all_runs,
    baseline_runs,
    example_settings,
    example_views,
    grid_methods,
    method_notes,
    used_configuration,
)
from medae.workflow.startup import (
    SCRIPTS,
    check_owner,
    claim_run,
    dataset_folder,
    fingerprint,
    ignore_announcements,
    imported_modules,
    sort_keys,
)

ignore_announcements()


def with_paragraph(function, *arguments):
    """Call a function; what the user can fix ends the workflow with its paragraph."""
    try:
        return function(*arguments)
    except (InputError, OSError) as error:
        raise WorkflowError(explain(error) or str(error)) from None


def read_yaml(path):
    return yaml.safe_load(Path(workflow.basedir, path).read_text(encoding="utf-8"))


SCHEMA = complete_schema(read_yaml("schemas/config.schema.yaml"))
with_paragraph(check_configuration, config, SCHEMA)
OWNER = with_paragraph(check_owner, config["run"], workflow.overwrite_configfiles)
config = with_defaults(sort_keys(config))
config["data_dir"] = os.path.expanduser(config["data_dir"])

METHODS = grid_methods(config)
RUNS = all_runs(
    config
)  # networks and baselines; the Snakefile adds the paths of their files
EXAMPLE_VIEWS = example_views(RUNS)
NAMES = {dataset: config["registry"][dataset]["name"] for dataset in config["datasets"]}
METHOD_NAMES = {  # in the order of the grid, in which a sweep stands as it was written
    key: {**METHODS, **BASELINES}[key].display_name for key in RUNS["method"].unique()
}
REFERENCE = config["figures"]["reference"]
PAPER_VALUES = os.path.relpath(Path(workflow.basedir, "resources/paper_values.tsv"))

# What goes beyond the paper adds its results here.
ADDITIONS = []
SELECTIONS = []  # tables of chosen d, which the table of methods shows


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


def of_dataset(key, default=None):
    """A key of the dataset's registry entry."""
    return lookup(dpath=f"registry/{{dataset}}/{key}", within=config, default=default)


def training_rows(wildcards):
    """The table of the images that a setting is trained on; nothing for all of them."""
    return [] if wildcards.training_set == "all" else TRAINING_SET


def of_seeds(pattern):
    """The files of a setting for all seeds."""
    return expand(pattern, seed=config["seeds"], allow_missing=True)
