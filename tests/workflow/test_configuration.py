"""The configuration's schema and the checks that it cannot express."""

from dataclasses import fields
from pathlib import Path

import pytest
import yaml
from snakemake.utils import update_config

from medae.base.errors import InputError
from medae.data.phantom import FACTORS, PhantomOptions
from medae.workflow import options
from medae.workflow.configuration import check_configuration, complete_schema

FOLDER = Path(__file__).parents[2] / "config"
CONFIGURATIONS = sorted({path.name for path in FOLDER.glob("*.yaml")} - {"datasets.yaml"})


@pytest.fixture(scope="module")
def schema(root):
    text = (root / "workflow/schemas/config.schema.yaml").read_text()
    return complete_schema(yaml.safe_load(text))


@pytest.fixture
def config():
    files = ("datasets.yaml", "config.yaml")
    parts = [yaml.safe_load((FOLDER / name).read_text()) for name in files]
    return parts[0] | parts[1]


def mappings(node, path=""):
    """Yield (path, schema) of every mapping that the schema describes."""
    if isinstance(node, dict):
        if node.get("type") == "object":
            yield path, node
        for key, value in node.items():
            yield from mappings(value, f"{path}/{key}")
    elif isinstance(node, list):
        for value in node:
            yield from mappings(value, path)


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_the_projects_configurations_are_valid(name, config, schema):
    update_config(config, yaml.safe_load((FOLDER / name).read_text()))
    check_configuration(config, schema)


def test_the_schema_is_strict_at_every_level(schema):
    found = list(mappings(schema))
    assert len(found) > 10
    for path, node in found:
        assert "additionalProperties" in node, path
        assert node["additionalProperties"] is not True, path


def test_every_key_is_described(schema):
    for path, node in mappings(schema):
        for key, value in node.get("properties", {}).items():
            assert value.get("description") or "$ref" in value, f"{path}/{key}"


def test_the_generators_options_are_those_of_the_code(schema):
    generator = schema["$defs"]["dataset"]["properties"]["generator"]["properties"]
    assert generator["factors"]["items"]["enum"] == list(FACTORS)
    defaults = {field.name: field.default for field in fields(PhantomOptions)}
    for key, value in generator.items():
        if "default" in value:
            assert value["default"] == defaults[key]


def test_the_reference_has_a_score_of_the_run(config, schema):
    config["figures"]["reference"]["score"] = "information"
    check_configuration(config, schema)
    config["scoring"]["scores"] = []
    with pytest.raises(InputError, match="reference.score is information, which scoring.scores"):
        check_configuration(config, schema)


def test_the_reference_gives_types_bounds_and_defaults(schema):
    text = options.reference(schema)
    for line in (
        "image_size: integer ≥ 16 a multiple of 16 (default 64)",
        "methods.vae.kl_weight: number ≥ 0 (default 0.005)",
        "grid[].latent_dims: array of integer ≥ 1",
        "training.epochs: integer or null ≥ 1 (default null)",
    ):
        assert f"\n{line}\n" in text


def variant(method="ae", name="A", **options):
    return {"method": method, "name": name, "options": options}


# What Snakemake makes of --config "training={cuda_graphs: true}".
A_TEXT = "cuda_graphs is the text 'true'; it must be of type boolean"
HELD_OUT = "scoring.scores has information_held_out, but decision.held_out is 0"
SNAPSHOTS = "training.snapshots has 300, but rsna trains for 250 epochs"


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("training", "epoch"), 3, ["'epoch'", "did you mean 'epochs'", "training"]),
        (("training", "batch_size"), 1, ["training.batch_size", "at least 2"]),
        (("image_size",), 60, ["image_size", "60", "multiple of 16"]),
        (("methods",), {"vae": {"score_at": 1}}, ["methods.vae.score_at", "mean, sample"]),
        (("registry", "rsna", "layout"), "zip", ["registry.rsna.layout", "split_json"]),
        (("datasets",), [], ["datasets"]),
        (("run",), "reference", ["run"]),
        (("run",), "a/b", ["run", "'a/b'"]),
        (("run",), "../up", ["run", "'../up'"]),
        (("run",), 1.5, ["run: 1.5 is not of type 'string'"]),
        (("grid", 0, "latent_dims"), [0], ["grid.0.latent_dims.0", "0"]),
        (("seeds",), [1, 1], ["seeds", "non-unique"]),
        (("training", "device"), "gpu", ["training.device", "'gpu'", "cuda"]),
        (("audit", "threshold"), 1, ["audit.threshold", "correlation"]),
        (("baselines", "methods"), ["pcaa"], ["baselines.methods.0", "'pcaa'", "nearest"]),
        (("registry", "rsna", "group_pattern"), "([a-z", ["registry.rsna.group_pattern"]),
        (("registry", "rsna", "group_pattern"), "abc", ["0 groups", "must have one"]),
        (("registry", "rsna", "intensity_range"), [10, 0], ["intensity_range", "smaller"]),
        (("registry", "rsna", "masks"), True, ["split_json has none", "brats, folder"]),
        (("methods",), {"ceae": {"mask_side": 65}}, ["methods.ceae.mask_side is larger"]),
        (("grid", 0, "latent_dims"), [16.0], ["grid.0.latent_dims.0 is 16.0", "whole number"]),
        (("training", "cuda_graphs"), "true", [A_TEXT, "--configfile"]),
        (("datasets",), ["rsnaa"], ["'rsnaa'", "known"]),
        (("grid", 0, "methods"), ["aee"], ["'aee'", "did you mean 'ae'", "memae"]),
        (("grid", 0, "datasets"), ["lag_"], ["block of the grid names 'lag_'", "brats"]),
        (("figures", "reference", "latent_dim"), 3, ["figures.reference", "latent_dim 3"]),
        (("figures", "reference", "score"), "relative", ["figures.reference.score", "information"]),
        (("grid", 0, "training_sets"), ["without_twins"], ["figures.reference", "on all images"]),
        (("variants", "ae"), variant(), ["variants.ae has the name"]),
        (("variants", "wide"), variant(widht=1), ["variants.wide.options", "did you mean 'width'"]),
        (
            ("variants", "x"),
            variant("ceae", mask_side=99),
            ["variants.x.options.mask_side is larger"],
        ),
        (
            ("registry", "rsna", "name"),
            "BraTS2021",
            ["registry.brats and registry.rsna have the same name 'BraTS2021'"],
        ),
        (("variants", "x"), variant(name="VAE"), ["vae and variants.x have the same name 'VAE'"]),
        (("scoring", "scores"), ["informaton"], ["'informaton' is no score", "begin with one of"]),
        (("scoring", "scores"), ["information_held_out"], [HELD_OUT]),
        (("scoring", "scores"), ["squared_error"], ["squared_error, which every model has"]),
        (("training", "snapshots"), [250, 300], [SNAPSHOTS]),
        (("audit", "threshold"), float("nan"), ["audit.threshold is nan", "finite number"]),
        (("training", True), 1, ["unknown key 'True'"]),
    ],
)
def test_a_fault_is_named(config, schema, path, value, words):
    target = config
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    with pytest.raises(InputError) as caught:
        check_configuration(config, schema)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_entry_needs_a_place_for_its_images(config, schema):
    del config["registry"]["rsna"]["folder"]
    with pytest.raises(InputError, match=r"registry\.rsna needs folder or path or generator"):
        check_configuration(config, schema)
