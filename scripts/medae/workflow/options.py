"""Print every key of the configuration: type and range, default, what it means.

PYTHONPATH=scripts python -m medae.workflow.options
"""

import textwrap
from collections.abc import Iterator
from pathlib import Path

import yaml

from medae.workflow.configuration import complete_schema

SCHEMA = Path(__file__).parents[3] / "workflow/schemas/config.schema.yaml"
LIMITS = {
    "minimum": "≥ {}",
    "exclusiveMinimum": "> {}",
    "maximum": "≤ {}",
    "exclusiveMaximum": "< {}",
    "multipleOf": "a multiple of {}",
}


def describe(schema: dict) -> str:
    """Return type, range and default of a value in a few words."""
    kinds = schema.get("type", "value")
    words = [kinds if isinstance(kinds, str) else " or ".join(kinds)]
    if "enum" in schema:
        words = [" | ".join(map(str, schema["enum"]))]
    if items := schema.get("items"):
        words.append(f"of {describe(items)}" if "enum" in items or "type" in items else "")
    words += [text.format(schema[key]) for key, text in LIMITS.items() if key in schema]
    if "default" in schema:
        words.append(f"(default {'null' if schema['default'] is None else schema['default']})")
    return " ".join(filter(None, words))


def keys(schema: dict, whole: dict, path: str = "") -> Iterator[tuple[str, dict]]:
    """Yield the path and the schema of every key, depth first."""
    if "$ref" in schema:
        schema = whole["$defs"][schema["$ref"].rpartition("/")[2]]
    nested = dict(schema.get("properties", {}))
    if isinstance(schema.get("additionalProperties"), dict) and schema["additionalProperties"]:
        nested["<name>"] = schema["additionalProperties"]
    for key, value in nested.items():
        place = f"{path}.{key}" if path else key
        if "$ref" not in value:
            yield place, value
        yield from keys(value, whole, place)
    if isinstance(items := schema.get("items"), dict) and "properties" in items:
        yield from keys(items, whole, f"{path}[]")


def reference(schema: dict) -> str:
    """Return the text: two lines per key."""
    lines = []
    for path, value in keys(schema, schema):
        lines.append(f"{path}: {describe(value)}")
        lines += textwrap.wrap(
            value.get("description", ""), 96, initial_indent="    ", subsequent_indent="    "
        )
    return "\n".join(lines)


if __name__ == "__main__":
    print(reference(complete_schema(yaml.safe_load(SCHEMA.read_text(encoding="utf-8")))))
