"""Write docs/configuration.md: every key of the configuration, from the schema and the defaults.

Inputs: workflow/schemas/config.schema.yaml and config/config.yaml. Output: docs/configuration.md. A
test compares it with what this gives; after a change of either file, run

    .venv/bin/python tests/configuration_reference.py

Fails with KeyError when the schema has a key without a description.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs/configuration.md"
UNSET = "–"
OPTIONAL = "may be left out"
HEAD = """\
# Every key of the configuration

Made from [the schema](../workflow/schemas/config.schema.yaml) and
[config.yaml](../config/config.yaml) by `.venv/bin/python tests/configuration_reference.py`; a test
keeps it in step. [config/README.md](../config/README.md) says how to write a configuration, the
comments in `config.yaml` why a value is what it is.

`[]` after a key stands for each item of a list, `<name>` for a name of your choice. *Default* is
the value in `config.yaml` that yours replaces, – where you have to give one. An unknown key or a
value that is not allowed stops the workflow before any rule runs.
"""


@dataclass(frozen=True)
class Key:
    """A key that has a value of its own."""

    path: str
    allowed: str
    default: str
    meaning: str


def document(schema: dict, defaults: dict) -> str:
    """Return the page in Markdown: keys without parts first, then a section per key with parts."""
    simple, sections = [], []
    for name, node in schema["properties"].items():
        keys = list(walk(name, node, schema, defaults.get(name, UNSET)))
        if [key.path for key in keys] == [name]:
            simple += keys
        else:
            text = " ".join([node["description"], *alternatives(node, schema)])
            sections += ["", f"## {name}", "", text, "", *table(keys)]
    return "\n".join([HEAD, *table(simple), *sections, ""])


def walk(path: str, node: dict, schema: dict, default: object) -> Iterator[Key]:
    """Yield the keys below a key, or the key itself where nothing is below it.

    `default` is the key's value in config.yaml; UNSET or OPTIONAL without one.
    """
    node = resolve(node, schema)
    named = node.get("additionalProperties")
    if "properties" in node:
        for name, part in node["properties"].items():
            missing = UNSET if name in node.get("required", []) else OPTIONAL
            missing = OPTIONAL if default == OPTIONAL else missing
            value = default.get(name, missing) if isinstance(default, dict) else missing
            yield from walk(f"{path}.{name}", part, schema, value)
    elif isinstance(named, dict) and "properties" in resolve(named, schema):
        yield from walk(f"{path}.<name>", named, schema, UNSET)
    elif "properties" in node.get("items", {}):
        for name, part in node["items"]["properties"].items():
            values = [item[name] for item in default if name in item]
            shown = "; ".join(map(code, values)) or OPTIONAL
            yield Key(f"{path}[].{name}", describe(part), shown, part["description"])
    else:
        value = node.get("default", default) if default in (UNSET, OPTIONAL) else default
        shown = value if value in (UNSET, OPTIONAL) else code(value)
        yield Key(path, describe(node), shown, node["description"])


def alternatives(node: dict, schema: dict) -> list[str]:
    """Return a sentence on the keys of which one has to be there, if there are any."""
    entry = resolve(node.get("additionalProperties") or {}, schema)
    keys = [choice["required"][0] for choice in entry.get("anyOf", [])]
    return [f"One of {', '.join(map(code, keys))} has to be there."] if keys else []


def resolve(node: dict, schema: dict) -> dict:
    """Return a node, or the definition that it refers to."""
    return schema["$defs"][node["$ref"].rsplit("/", 1)[1]] if "$ref" in node else node


def describe(node: dict) -> str:
    """Return in words which values a node allows."""
    if "enum" in node:
        return "one of " + ", ".join(code(value) for value in node["enum"])
    if "oneOf" in node:
        return " or ".join(describe(choice) for choice in node["oneOf"])
    kinds = node["type"] if isinstance(node["type"], list) else [node["type"]]
    kinds = sorted(kinds, key=lambda kind: kind != "null")  # else null would end another's rules
    return " or ".join(describe_kind(kind, node) for kind in kinds)


def describe_kind(kind: str, node: dict) -> str:
    """Return in words which values of one JSON type a node allows."""
    words = {
        "null": "`null`",
        "boolean": "`true` or `false`",
        "integer": "whole number",
        "number": "number",
        "string": "text",
    }
    if kind == "object":
        parts = node.get("properties") or ["<option>"]
        return "mapping of " + ", ".join(map(code, parts))
    if kind == "array":
        least, most = node.get("minItems", 0), node.get("maxItems")
        count = f" of {least}" if most == least else f" of {least} or more" if least else ""
        count += ", none twice" if node.get("uniqueItems") else ""
        return f"list{count}; each {describe(node['items'])}"
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    rules = [f"{sign} {node[name]}" for name, sign in signs.items() if name in node]
    rules += [f"a multiple of {node['multipleOf']}"] if "multipleOf" in node else []
    rules += [f"like {code(node['pattern'])}"] if "pattern" in node else []
    return ", ".join([words[kind], *(rules if kind != "null" else [])])


def code(value: object) -> str:
    """Return a value as YAML writes it, as code in a cell of a table."""
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**6)
    text = value if isinstance(value, str) else text.removesuffix("\n").removesuffix("\n...")
    return "`" + text.replace("|", r"\|") + "`"


def table(keys: Sequence[Key]) -> list[str]:
    """Return the lines of a Markdown table."""
    rows = [
        # GitHub takes <run> for a tag and shows nothing
        f"| `{k.path}` | {k.allowed} | {k.default} | {k.meaning.replace('<', '&lt;')} |"
        for k in keys
    ]
    return ["| key | allowed | default | meaning |", "| :-- | :-- | :-- | :-- |", *rows]


def make(root: Path = ROOT) -> str:
    """Return the page for the files of a project."""
    schema = yaml.safe_load((root / "workflow/schemas/config.schema.yaml").read_text("utf-8"))
    return document(schema, yaml.safe_load((root / "config/config.yaml").read_text("utf-8")))


if __name__ == "__main__":
    DOCUMENT.write_text(make(), encoding="utf-8", newline="\n")
