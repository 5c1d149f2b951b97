"""Checks of the configuration before any rule runs, with messages that name the wrong key."""

import difflib

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from medae.errors import InputError


def check_configuration(config: dict, schema: dict) -> None:
    """Raise InputError with one line per fault of `config`: the key, the fault, what is allowed."""
    faults = [_explain(error) for error in Draft202012Validator(schema).iter_errors(config)]
    if not faults:
        faults = _inconsistencies(config)
    if faults:
        raise InputError("The configuration is not valid: " + "; ".join(sorted(faults)) + ".")


def _explain(error: ValidationError) -> str:
    where = ".".join(str(part) for part in error.absolute_path) or "the top level"
    if error.validator == "additionalProperties":
        known = list(error.schema.get("properties", {}))
        wrong = [key for key in error.instance if key not in known]
        hints = [difflib.get_close_matches(key, known, n=1) for key in wrong]
        keys = ", ".join(
            f"'{key}'" + (f" (did you mean '{hint[0]}'?)" if hint else "")
            for key, hint in zip(wrong, hints, strict=True)
        )
        return f"unknown key {keys} in {where}; allowed: {', '.join(sorted(known))}"
    if error.validator == "enum":
        allowed = ", ".join(map(str, error.validator_value))
        return f"{where} is {error.instance!r}; allowed: {allowed}"
    meaning = error.schema.get("description", "")
    return f"{where}: {error.message}" + (f" ({meaning.rstrip('.')})" if meaning else "")


def _inconsistencies(config: dict) -> list[str]:
    """Return faults that a schema cannot express."""
    unknown = [key for key in config["datasets"] if key not in config["registry"]]
    faults = [
        f"datasets names '{key}', which is not in the registry; known: "
        f"{', '.join(sorted(config['registry']))}"
        for key in unknown
    ]
    reference = config["figures"]["reference"]
    if not any(
        reference["method"] in block["methods"] and reference["latent_dim"] in block["latent_dims"]
        for block in config["grid"]
    ):
        faults.append(
            f"figures.reference is {reference['method']} with latent_dim {reference['latent_dim']},"
            " which the grid does not train; name one of its settings"
        )
    return faults
