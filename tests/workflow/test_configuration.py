"""The configuration's schema and the checks that it cannot express."""

import itertools
import os
import re
from dataclasses import fields

import pytest
import yaml

from medae.base.errors import InputError
from medae.data.layouts import LAYOUTS
from medae.data.phantom import FACTORS, PhantomOptions
from medae.duplicates.training_sets import TRAINING_SETS
from medae.models.baselines import BASELINES
from medae.models.methods import REGISTRY
from medae.theory.selectors import SELECTORS
from medae.theory.synthetic import KINDS
from medae.workflow.configuration import check_configuration
from medae.workflow.grid import fingerprint, settings, sort_keys


@pytest.fixture(scope="module")
def schema(root):
    return yaml.safe_load((root / "workflow/schemas/config.schema.yaml").read_text())


@pytest.fixture
def config(root):
    files = ("datasets.yaml", "config.yaml")
    parts = [yaml.safe_load((root / "config" / name).read_text()) for name in files]
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


def test_the_projects_configuration_is_valid(config, schema):
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


def test_every_key_of_the_configuration_is_commented(root):
    lines = (root / "config/config.yaml").read_text().splitlines()
    for above, line in itertools.pairwise(lines):
        key = re.match(r"\s*(?:- )?(\w+):", line)
        section = line.rstrip().endswith(":") or "&sizes" in line or "<<" in line
        if key and not section and not line.startswith("    latent_dims"):
            assert "#" in line or above.strip().startswith("#"), line


def test_enumerations_are_those_of_the_code(schema):
    definitions = schema["$defs"]
    assert definitions["method"]["enum"] == list(REGISTRY)
    baselines = schema["properties"]["baselines"]["properties"]
    assert baselines["methods"]["items"]["enum"] == list(BASELINES)
    assert baselines["training_sets"]["items"]["enum"] == TRAINING_SETS
    dataset = definitions["dataset"]["properties"]
    assert set(dataset["layout"]["enum"]) == set(LAYOUTS)
    generator = dataset["generator"]["properties"]
    assert generator["factors"]["items"]["enum"] == list(FACTORS)
    defaults = {field.name: field.default for field in fields(PhantomOptions)}
    for key, value in generator.items():
        if "default" in value:
            assert value["default"] == defaults[key]


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("training", "epoch"), 3, ["'epoch'", "did you mean 'epochs'", "training"]),
        (("training", "batch_size"), 1, ["training.batch_size", "at least 2"]),
        (("training", "learning_rate"), 0, ["training.learning_rate"]),
        (("image_size",), 60, ["image_size", "60", "multiple of 16"]),
        (("methods", "vae", "score_at"), "mode", ["methods.vae.score_at", "mean, sample"]),
        (("registry", "rsna", "layout"), "zip", ["registry.rsna.layout", "split_json"]),
        (("registry", "rsna", "channels"), 2, ["registry.rsna.channels", "1, 3"]),
        (("datasets",), [], ["datasets"]),
        (("seeds",), [-1], ["seeds.0"]),
        (("run",), "reference", ["run"]),
        (("run",), "a/b", ["run", "'a/b'"]),
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


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("registry", "rsna", "group_pattern"), "([a-z", ["registry.rsna.group_pattern"]),
        (("registry", "rsna", "group_pattern"), "abc", ["0 groups", "must have one"]),
        (("registry", "rsna", "intensity_range"), [10, 0], ["intensity_range", "smaller"]),
        (("registry", "rsna", "masks"), True, ["split_json has none", "brats, folder"]),
        (("methods", "ceae", "mask_side"), 65, ["methods.ceae.mask_side"]),
        (
            ("grid",),
            [{"methods": ["ae"], "latent_dims": [16.0]}],
            ["grid.0.latent_dims.0 is 16.0", "whole number"],
        ),
        (
            ("training", "seeds_together"),
            "true",  # what Snakemake makes of --config "training={seeds_together: true}"
            ["seeds_together is the text 'true'; it must be of type boolean", "--configfile"],
        ),
        (("training", "epochs"), "2", ["training.epochs is the text '2'", "integer or null"]),
        (("training", "learning_rate"), float("inf"), ["training.learning_rate", "finite"]),
        (("datasets",), ["rsnaa"], ["'rsnaa'", "known"]),
        (("datasets",), ["rsna", "x_validation"], ["'x_validation'", "another key"]),
        (("grid", 0, "methods"), ["aee"], ["'aee'", "did you mean 'ae'", "memae"]),
        (("grid", 0, "datasets"), ["lgg"], ["names 'lgg'", "brats"]),
        (("scores",), ["information_w8"], ["'information_w8' is no score", "odd"]),
        (("selection", "datasets"), ["lgg"], ["selection.datasets names 'lgg'"]),
        (
            ("variants",),
            {"ae": {"method": "ae", "name": "A", "options": {}}},
            ["variants.ae has the name"],
        ),
        (
            ("variants",),
            {"wide": {"method": "ae", "name": "A", "options": {"widht": 1}}},
            ["variants.wide.options", "did you mean 'width'"],
        ),
        (
            ("variants",),
            {"hole": {"method": "ceae", "name": "A", "options": {"mask_side": 100}}},
            ["variants.hole.options.mask_side is larger"],
        ),
        (("entropy", "rise"), float("nan"), ["entropy.rise is nan", "finite number"]),
        (("selection", "seed"), 0.0, ["selection.seed is 0.0", "whole number"]),
        (("selection", "recommended"), "oracle", ["selection.recommended", "knee"]),
        (("registry", "rsna", "no_anomalies"), ["hase"], ["no_anomalies.0 is 'hase'", "haze"]),
        (("registry", "rsna", "no_anomalies"), list(KINDS), ["no_anomalies", "all but one"]),
        (("training", True), 1, ["unknown key 'True'"]),
    ],
)
def test_a_fault_beyond_the_schema_is_named(config, schema, path, value, words):
    target = config
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    with pytest.raises(InputError) as caught:
        check_configuration(config, schema)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_an_entry_needs_a_place_for_its_images(config, schema):
    del config["registry"]["rsna"]["folder"]
    with pytest.raises(InputError, match=r"registry\.rsna needs folder or path or generator"):
        check_configuration(config, schema)


def test_fingerprint_sees_files_through_links_and_nothing_else(tmp_path):
    real, linked = tmp_path / "server", tmp_path / "data"
    (real / "train").mkdir(parents=True)
    (real / "train" / "a.png").write_bytes(b"a")
    linked.mkdir()
    (linked / "train").symlink_to(real / "train")
    first = fingerprint(linked)
    assert first == fingerprint(linked)
    (real / "train" / ".DS_Store").touch()
    assert fingerprint(linked) == first
    assert fingerprint(real) == first
    (real / "train" / "b.png").symlink_to("nowhere")
    second = fingerprint(linked)
    assert second != first
    (real / "train" / os.fsdecode(b"\xff.png")).touch()
    assert fingerprint(linked) != second


def test_settings_are_products_without_repeats():
    config = {
        "datasets": ["a", "b"],
        "grid": [
            {"methods": ["ae", "vae"], "latent_dims": [4]},
            {"methods": ["ae"], "latent_dims": [4, 2]},
        ],
    }
    found = [(s.dataset, s.method, s.latent_dim) for s in settings(config)]
    one = [("ae", 4), ("vae", 4), ("ae", 2)]
    assert found == [(dataset, *rest) for dataset in "ab" for rest in one]


def test_sorted_keys_hide_the_order_of_merging():
    assert repr(sort_keys({"b": [{"d": 1, "c": 2}], "a": 1})) == repr(
        {"a": 1, "b": [{"c": 2, "d": 1}]}
    )


def test_the_schema_knows_the_selectors_and_the_kinds_of_anomalies(schema):
    selection = schema["properties"]["selection"]["properties"]
    assert selection["recommended"]["enum"] == list(SELECTORS)
    entry = str(schema)
    assert str({"enum": list(KINDS)}) in entry


def test_a_selection_without_candidates_is_named(config, schema):
    config["selection"]["datasets"] = config["datasets"][:1]
    config["grid"] = [{"methods": ["vae"], "latent_dims": [16]}]
    config["figures"]["reference"] = {"method": "vae", "latent_dim": 16}
    with pytest.raises(InputError, match="nothing to choose among"):
        check_configuration(config, schema)
