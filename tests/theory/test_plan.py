"""What theory adds to a run's plan."""

import copy

import pandas as pd
import pytest
import yaml

from medae.data.groups import group_names
from medae.data.layouts import LAYOUTS
from medae.theory.plan import candidates, check_theory, held_out_entries
from medae.theory.selectors import SELECTORS
from medae.theory.synthetic import KINDS


@pytest.fixture(scope="module")
def config(root):
    default, config, datasets = (
        yaml.safe_load((root / f"config/{name}.yaml").read_text())
        for name in ("config", "theory", "datasets")
    )
    registry = datasets["registry"]
    for key, entry in config["registry"].items():
        registry[key] = registry.get(key, {}) | entry
    return default | config | {"registry": registry}


def test_the_configuration_is_valid_and_names_what_the_code_has(config, root):
    assert check_theory(config) == []
    schema = yaml.safe_load((root / "workflow/theory/schema.yaml").read_text())
    selection = schema["properties"]["selection"]["properties"]
    assert selection["anomalies"]["items"]["enum"] == list(KINDS)
    assert selection["recommended"]["enum"] == list(SELECTORS)


@pytest.mark.parametrize(
    ("part", "change", "fault"),
    [
        ("selection", {"datasets": ["isic"]}, "selection.datasets names 'isic'"),
        ("selection", {"no_anomalies": {"isic": []}}, "no_anomalies names 'isic'"),
        ("selection", {"no_anomalies": {"lgg": list(KINDS)}}, "leaves lgg no kind"),
        ("factors", {"phantom": 16}, "two datasets or more"),
        ("factors", {"phantom": 16, "isic": 2}, "factors names 'isic'"),
    ],
)
def test_faults(config, part, change, fault):
    changed = copy.deepcopy(config)
    old = changed["theory"][part]
    merged = part == "selection"
    changed["theory"][part] = old | change if merged else change
    (found,) = check_theory(changed)
    assert fault in found


def test_faults_of_grid_and_registry(config):
    changed = copy.deepcopy(config)
    changed["decision"]["held_out"] = 0.2
    (found,) = check_theory(changed)
    assert "decision.held_out" in found
    changed = copy.deepcopy(config)
    changed["grid"][0]["datasets"] = ["brain_tumor", "pediatric_cxr", *config["theory"]["factors"]]
    assert check_theory(changed) == [
        "theory needs ae on all training images of lgg; add it to the grid"
    ]
    changed = copy.deepcopy(config)
    changed["registry"]["lgg_validation"] = {}
    (found,) = check_theory(changed)
    assert "'lgg_validation' has the key of the held-out part of lgg" in found


def test_held_out_datasets_are_entries_without_a_source(config):
    entries = held_out_entries(config)
    assert list(entries) == [
        f"{key}_validation" for key in config["theory"]["selection"]["datasets"]
    ]
    entry, source = entries["pediatric_cxr_validation"], config["registry"]["pediatric_cxr"]
    assert entry["masks"] and not source["masks"]
    assert entry["group_pattern"] == source["group_pattern"]
    assert not {"folder", "expected"} & set(entry)
    assert "pediatric_cxr_validation" not in config["registry"]


@pytest.mark.parametrize(
    ("layout", "name", "patient"),
    [("table", "patient1/a.png", "patient1"), ("patients", "train/normal/p1/a.png", "p1")],
)
def test_synthetic_images_have_the_patients_of_their_layout(config, layout, name, patient):
    changed = copy.deepcopy(config)
    changed["registry"]["lgg"]["group_pattern"] = LAYOUTS[layout].group_pattern
    pattern = held_out_entries(changed)["lgg_validation"]["group_pattern"]
    assert group_names([name, f"synthetic/blob/{name}"], pattern=pattern) == [patient] * 2


def test_candidates_are_the_autoencoders_of_all_images_by_rising_d():
    rows = [("a", "all", "ae", d) for d in (16, 2, 128, 2)]
    rows += [("b", "all", "ae", 1), ("a", "all", "vae", 4), ("a", "without_twins", "ae", 8)]
    runs = pd.DataFrame(rows, columns=["dataset", "training_set", "method", "latent_dim"])
    assert candidates(runs, "a") == [2, 16, 128]
