"""Checks of the configuration before any rule runs, with messages that name the wrong key."""

import difflib
import math
import re

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.validators import extend

from medae.base.errors import InputError
from medae.data.layouts import LAYOUTS, LAYOUTS_WITH_MASKS, LAYOUTS_WITH_PATIENTS
from medae.duplicates.training_sets import TRAINING_SETS
from medae.models.baselines import BASELINES
from medae.models.information import PLAIN_SCORE, parse_score
from medae.models.methods import METHODS

ENUMS_OF_THE_CODE = {  # the enumerations that a schema takes from the code
    "layouts": list(LAYOUTS),
    "training_sets": list(TRAINING_SETS),
    "baselines": list(BASELINES),
    "methods": list(METHODS),
}


def _is_number(checker: object, value: object) -> bool:
    return isinstance(value, int | float) and type(value) is not bool and math.isfinite(value)


# JSON has neither NaN nor a difference of 8 and 8.0; YAML has both, and code that expects integers
# would fail.
Validator = extend(
    Draft202012Validator,
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine_many(
        {"number": _is_number, "integer": lambda checker, value: type(value) is int}
    ),
)


def complete_schema(schema: dict) -> dict:
    """Return the schema with what the code knows: names, and the options of every method.

    In the file `enum: baselines` stands for the names of the baselines, and so on.
    """

    def fill(node):
        if isinstance(node, list):
            return [fill(value) for value in node]
        if not isinstance(node, dict):
            return node
        return {
            key: ENUMS_OF_THE_CODE[value]
            if key == "enum" and isinstance(value, str)
            else fill(value)
            for key, value in node.items()
        }

    found = fill(schema)
    _check_methods()
    found["properties"]["methods"]["properties"] = {
        key: {
            "description": f"Options of {method.display_name}.",
            "type": "object",
            "additionalProperties": False,
            "properties": method.options,
        }
        for key, method in METHODS.items()
    }
    return found


def _check_methods() -> None:
    """Raise InputError for a method whose name is a baseline's, or whose options are not valid."""
    for key, method in METHODS.items():
        where = f"scripts/medae/models/methods/{key}.py"
        if key in BASELINES:
            raise InputError(f"{where} has the name of a baseline. Rename the file.")
        for name, schema in method.options.items():
            try:
                Validator.check_schema(schema)
                Validator(schema).validate(schema["default"])
            except (SchemaError, ValidationError) as error:
                raise InputError(
                    f"The option {name} in {where} is not a JSON schema with a valid default: "
                    f"{error.message}. Correct it there."
                ) from error


def with_defaults(config: dict) -> dict:
    """Return a valid configuration with all options of all methods, and a layout's own patients."""
    stated = config["methods"]
    methods = {key: method.defaults | stated.get(key, {}) for key, method in METHODS.items()}
    registry = {
        key: {"group_pattern": LAYOUTS[entry["layout"]].group_pattern} | entry
        if entry.get("layout") in LAYOUTS_WITH_PATIENTS
        else entry
        for key, entry in config["registry"].items()
    }
    return config | {"methods": methods, "registry": registry}


def check_configuration(config: dict, schema: dict) -> None:
    """Raise InputError with one line per fault of `config`: the key, the fault, what is allowed.

    `schema` is a complete one.
    """
    check_schema(config, schema)
    faults = _variant_faults(config, schema) or _inconsistencies(with_defaults(config))
    raise_faults(faults)


def check_schema(value: dict, schema: dict, where: str = "") -> None:
    """Raise InputError unless `value`, the configuration's part `where`, fits the schema."""
    raise_faults([_explain(error, where) for error in Validator(schema).iter_errors(value)])


def raise_faults(faults: list[str]) -> None:
    """Raise InputError that names all faults, if there are any."""
    if faults:
        raise InputError("The configuration is not valid: " + "; ".join(sorted(faults)) + ".")


def _explain(error: ValidationError, part: str = "") -> str:
    path = [part] * bool(part) + [str(key) for key in error.absolute_path]
    where = ".".join(path) or "the top level"
    if error.validator == "additionalProperties":
        known = list(error.schema.get("properties", {}))
        wrong = [str(key) for key in error.instance if key not in known]
        hints = [difflib.get_close_matches(key, known, n=1) for key in wrong]
        keys = ", ".join(
            f"'{key}'" + (f" (did you mean '{hint[0]}'?)" if hint else "")
            for key, hint in zip(wrong, hints, strict=True)
        )
        return f"unknown key {keys} in {where}; allowed: {', '.join(sorted(known))}"
    if error.validator == "enum":
        allowed = ", ".join(map(str, error.validator_value))
        return f"{where} is {error.instance!r}; allowed: {allowed}"
    if error.validator == "anyOf" and "required" in error.validator_value[0]:
        keys = " or ".join(choice["required"][0] for choice in error.validator_value)
        return f"{where} needs {keys}"
    kinds = error.validator_value if error.validator == "type" else []
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if isinstance(error.instance, float) and {"integer", "number"} & set(kinds):
        kind = "a whole number, without a point" if "integer" in kinds else ""
        return f"{where} is {error.instance}; it must be {kind or 'a finite number'}"
    if error.validator == "type" and isinstance(error.instance, str):
        return (
            f"{where} is the text {error.instance!r}; it must be of type {' or '.join(kinds)}. All "
            "values within braces after --config are text to Snakemake: write them into a file and "
            "name it after --configfile"
        )
    meaning = error.schema.get("description", "")
    return f"{where}: {error.message}" + (f" ({meaning.rstrip('.')})" if meaning else "")


def _variant_faults(config: dict, schema: dict) -> list[str]:
    """Return what is wrong with the variants' options and the names of methods in the grid."""
    known = schema["properties"]["methods"]["properties"]
    faults = []
    for key, variant in config["variants"].items():
        errors = Validator(known[variant["method"]]).iter_errors(variant["options"])
        faults += [_explain(error, f"variants.{key}.options") for error in errors]
        if key in known or key in BASELINES:
            faults.append(f"variants.{key} has the name of a method; give it another one")
    names = [*known, *config["variants"]]
    for method in {name for block in config["grid"] for name in block["methods"]} - set(names):
        hint = difflib.get_close_matches(method, names, n=1)
        faults.append(
            f"grid names the method '{method}'"
            + (f" (did you mean '{hint[0]}'?)" if hint else "")
            + f"; known: {', '.join(names)}"
        )
    return faults


def _inconsistencies(config: dict) -> list[str]:
    """Return faults that a schema cannot express."""
    mentioned = {
        "datasets": config["datasets"],
        "a block of the grid": [key for one in config["grid"] for key in one.get("datasets", [])],
    }
    faults = [
        f"{where} names '{key}', which is not in the registry; known: "
        f"{', '.join(sorted(config['registry']))}"
        for where, keys in mentioned.items()
        for key in keys
        if key not in config["registry"]
    ]
    for name in config["scoring"]["scores"]:
        try:
            held_out = parse_score(name).held_out
        except InputError as error:
            faults.append(f"scoring.scores: {str(error).rstrip('.')}")
        else:
            if held_out and not config["decision"]["held_out"]:
                faults.append(f"scoring.scores has {name}, but decision.held_out is 0")
    if PLAIN_SCORE in config["scoring"]["scores"]:
        faults.append(f"scoring.scores has {PLAIN_SCORE}, which every model has; take it out")
    reference = config["figures"]["reference"]
    if reference["score"] not in [PLAIN_SCORE, *config["scoring"]["scores"]]:
        faults.append(
            f"figures.reference.score is {reference['score']}, which scoring.scores lacks"
        )
    faults += [
        f"figures.reference is {reference['method']} with latent_dim {reference['latent_dim']}, "
        f"which the grid does not train on all images of '{dataset}'; name one of its settings, or "
        "train it on every dataset"
        for dataset in config["datasets"]
        if not any(
            reference["method"] in block["methods"]
            and reference["latent_dim"] in block["latent_dims"]
            and dataset in block.get("datasets", [dataset])
            and "all" in block.get("training_sets", ["all"])
            for block in config["grid"]
        )
    ]
    training = config["training"]
    faults += [
        f"training.snapshots has {max(training['snapshots'])}, but {key} trains for {epochs} epochs"
        for key in config["datasets"]
        if training["snapshots"] and key in config["registry"]
        for epochs in [training["epochs"] or config["registry"][key]["epochs"]]
        if max(training["snapshots"]) > epochs
    ]
    chosen = [(f"methods.{key}", key, options) for key, options in config["methods"].items()]
    chosen += [
        (f"variants.{key}.options", variant["method"], variant["options"])
        for key, variant in config["variants"].items()
    ]
    faults += [
        f"{where}.{name} is larger than the image (image_size)"
        for where, method, options in chosen
        for name, value in options.items()
        if METHODS[method].options[name].get("unit") == "pixels" and value > config["image_size"]
    ]
    registered = sorted(set(config["datasets"]) & set(config["registry"]))
    faults += _equal_names({f"registry.{key}": config["registry"][key] for key in registered})
    shown = [*METHODS.items(), *BASELINES.items()]
    named = {key: {"name": method.display_name} for key, method in shown}
    named |= {f"variants.{key}": variant for key, variant in config["variants"].items()}
    faults += _equal_names(named)
    for key in registered:
        faults += [f"registry.{key}.{fault}" for fault in _entry_faults(config["registry"][key])]
    return faults


def _equal_names(entries: dict[str, dict]) -> list[str]:
    """Return a fault for each `name` of several entries, by which tables and figures go."""
    keys: dict[str, list[str]] = {}
    for key, entry in entries.items():
        keys.setdefault(entry["name"], []).append(key)
    return [
        f"{' and '.join(found)} have the same name {name!r}, and would stand under one heading; "
        "name them differently"
        for name, found in keys.items()
        if len(found) > 1
    ]


def _entry_faults(entry: dict) -> list[str]:
    faults = []
    stated = entry.get("intensity_range", (0, 1))
    low, high = (0, 1) if stated == "percentiles" else stated
    if not low < high:
        faults.append(f"intensity_range is {[low, high]}; the first number must be the smaller one")
    if entry["masks"] and entry["layout"] not in LAYOUTS_WITH_MASKS:
        faults.append(
            f"masks is true, but the layout {entry['layout']} has none; those with masks: "
            f"{', '.join(LAYOUTS_WITH_MASKS)}"
        )
    try:
        groups = re.compile(entry.get("group_pattern", "(x)")).groups
    except re.error as error:
        return [*faults, f"group_pattern is not a regular expression ({error})"]
    if groups != 1:
        faults.append(f"group_pattern has {groups} groups in parentheses; it must have one")
    return faults
