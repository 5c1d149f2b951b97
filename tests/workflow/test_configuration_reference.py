"""docs/configuration.md against the schema and the defaults that it is made from."""

import re

import pytest
import yaml
from configuration_reference import document, make

SCHEMA = yaml.safe_load("""
properties:
  size: {description: Its <size>., type: integer, minimum: 2, multipleOf: 4}
  blocks:
    description: Blocks.
    type: array
    items:
      properties:
        sizes: {description: Sizes., type: array, minItems: 1, items: {type: number}}
        kind: {description: Kind., enum: [a, b]}
  options:
    description: Options.
    type: object
    required: [given]
    properties:
      given: {description: Given., type: string, pattern: "^(a|b)$"}
      other: {description: Other., type: [number, "null"], exclusiveMinimum: 0, default: null}
      parts:
        description: Parts.
        type: object
        properties:
          one: {description: One., type: boolean}
  things:
    description: Things.
    type: object
    additionalProperties: {$ref: "#/$defs/thing"}
$defs:
  thing:
    anyOf: [{required: [a]}, {required: [b]}]
    required: [c]
    properties:
      a: {description: A., type: string}
      b: {description: B., type: array, minItems: 2, maxItems: 2, items: {type: integer}}
      c: {description: C., enum: [1, 3]}
""")
DEFAULTS = {"size": 8, "blocks": [{"sizes": [1, 2]}, {"sizes": [3]}], "options": {"given": "a"}}
ROWS = [
    "| `size` | whole number, ≥ 2, a multiple of 4 | `8` | Its &lt;size>. |",
    "| `blocks[].sizes` | list of 1 or more; each number | `[1, 2]`; `[3]` | Sizes. |",
    "| `blocks[].kind` | one of `a`, `b` | may be left out | Kind. |",
    r"| `options.given` | text, like `^(a\|b)$` | `a` | Given. |",
    "| `options.other` | `null` or number, > 0 | `null` | Other. |",
    "| `options.parts.one` | `true` or `false` | may be left out | One. |",
    "| `things.<name>.a` | text | may be left out | A. |",
    "| `things.<name>.b` | list of 2; each whole number | may be left out | B. |",
    "| `things.<name>.c` | one of `1`, `3` | – | C. |",
]


def names(node):
    """Yield every name of a property in a schema."""
    if isinstance(node, dict):
        properties = node.get("properties")
        yield from properties if isinstance(properties, dict) else []
        for value in node.values():
            yield from names(value)
    elif isinstance(node, list):
        for value in node:
            yield from names(value)


def test_the_page_is_the_one_that_schema_and_defaults_give(root):
    page = (root / "docs/configuration.md").read_text(encoding="utf-8")
    assert page == make(root), "run: python tests/configuration_reference.py"


def test_every_name_of_the_schema_is_on_the_page(root):
    schema = yaml.safe_load((root / "workflow/schemas/config.schema.yaml").read_text())
    words = set(re.findall(r"\w+", (root / "docs/configuration.md").read_text(encoding="utf-8")))
    found = set(names(schema))
    assert len(found) > 50
    assert found <= words


@pytest.mark.parametrize("row", ROWS)
def test_a_row_says_what_is_allowed_and_what_the_default_is(row):
    assert row in document(SCHEMA, DEFAULTS).splitlines()


def test_a_choice_of_keys_is_said():
    assert "Things. One of `a`, `b` has to be there." in document(SCHEMA, DEFAULTS)
