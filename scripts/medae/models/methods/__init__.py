"""The methods, one file each: `methods/<name>.py` is what the configuration calls `<name>`.

Such a file has one class with a `display_name`, a `torch.nn.Module` with

- `display_name = "AE"`, its name in tables and figures, and `options = {…}`, a JSON schema with
  `description` and `default` for each option of its own. Both are literals, for they are read
  without running the file. A class inherits the options of another method's class, imported by
  `from medae.models.methods.ae import AutoEncoder`. An option with
  `"unit": "pixels"` may not exceed the image's side; `"notes": {value: sentence}` says below the
  table of methods what a value means. `note = "…"`, a literal as well, is such a sentence about
  the method itself and is not inherited;
- optionally `trained_as = "ae"`, a literal that is not inherited: the method is another score of
  that one's weights, which it takes over where a grid has both with equal options;
- keyword-only arguments `image_size`, `channels`, `latent_dim` and all options, without defaults;
- `noise(shape, generator)` → what the loss of a batch of `shape` N × C × H × W takes at random, one
  tensor on the generator's device, or None; the only source of randomness;
- `loss(images, noise)` → dict of scalars, `loss` being the one that is minimised and the others its
  parts. It is recorded as a CUDA graph, so all that it does is operations on tensors of its own
  device: no branches on values, no `.item()`, no random draws, no counters that it keeps;
- `encode(images)` → latents N × d and `decode(latents)` → reconstructions N × C × H × W, both
  without randomness in evaluation mode. A method that keeps more than d numbers of an image has
  all of them in that row, and says so in its `note`;
- optionally `anomaly_map(images, latents, reconstructions)` → N × h × w, none below 0, where the
  squared error averaged over channels is not what shows anomalies. An image's score is the mean of
  its map; a map of another size than the image is then resized to it. No image may depend on others
  of its batch;
- optionally `needs_gradient = True`: scoring then lets `images` require a gradient, so that
  `anomaly_map` can differentiate `reconstructions` and `latents` with respect to them;
- optionally `rate(images)` → bits per image, N: what a code of the latent would need under a prior
  that the method has, without randomness in evaluation mode.

Images are N × C × H × W in [-1, 1].
"""

import ast
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from medae.base.errors import InputError

SIZES = {
    "width": {
        "type": "integer",
        "minimum": 1,
        "default": 16,
        "description": "Channels after the first convolution.",
    },
    "hidden_dim": {
        "type": "integer",
        "minimum": 1,
        "default": 1024,
        "description": "Units of the layer on either side of the latent vector.",
    },
}
"""The options of every method; defaults of the reference code."""


class Method(NamedTuple):
    """What the file of a method says about it."""

    class_name: str
    display_name: str
    options: dict[str, dict]  # option -> JSON schema, which has its description and default
    note: str
    trained_as: str  # the method whose weights it has, or ""
    own_map: bool  # whether it has an `anomaly_map`, inherited or not

    @property
    def defaults(self) -> dict[str, Any]:
        """Option -> default."""
        return {option: schema["default"] for option, schema in self.options.items()}


def read_methods(folder: Path) -> dict[str, Method]:
    """Return the methods in `folder` by name; nothing is imported, since that would load torch.

    Raises InputError for a file that is not a method as this module describes it.
    """
    found = {}
    for path in sorted(folder.glob("[!_]*.py")):
        try:
            found[path.stem] = _read_class(path)
        except (SyntaxError, ValueError, TypeError, AttributeError) as error:
            raise InputError(
                f"{path} is not a method: {error}. See the top of {folder / '__init__.py'}."
            ) from error

    def inherited(name: str) -> Method:
        method, parent = found[name]
        if parent not in found:
            return method._replace(options=SIZES | method.options)
        above = inherited(parent)
        own_map = method.own_map or above.own_map
        return method._replace(options=above.options | method.options, own_map=own_map)

    return {name: inherited(name) for name in found}


def _read_class(path: Path) -> tuple[Method, str | None]:
    """Return a method without what its class inherits, and the method that it inherits from."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    classes = [
        (node, literals)
        for node in tree.body
        if isinstance(node, ast.ClassDef) and "display_name" in (literals := _attributes(node))
    ]
    if len(classes) != 1:
        raise ValueError(f"{len(classes)} of its classes have a display_name instead of one")
    ((node, literals),) = classes
    options = literals.get("options", {})
    texts = [literals.get(key, "") for key in ("display_name", "note", "trained_as")]
    if not all(isinstance(text, str) for text in texts) or not isinstance(options, dict):
        raise ValueError("display_name, note and trained_as have to be texts, and options a dict")
    for option, schema in options.items():
        if not isinstance(schema, dict) or not {"default", "description"} <= set(schema):
            raise ValueError(f"its option {option} needs a default and a description")
    methods = {
        alias.asname or alias.name: statement.module.rpartition(".")[2]
        for statement in tree.body
        if isinstance(statement, ast.ImportFrom)
        and (statement.module or "").startswith(f"{__name__}.")
        for alias in statement.names
    }
    parents = (methods[base.id] for base in node.bases if getattr(base, "id", None) in methods)
    own_map = any(getattr(statement, "name", None) == "anomaly_map" for statement in node.body)
    name, note, trained_as = texts
    return Method(node.name, name, options, note, trained_as, own_map), next(parents, None)


def _attributes(node: ast.ClassDef) -> dict[str, Any]:
    """Return what a class says that is read without running it; ValueError if not literals."""
    keys = {"display_name", "options", "note", "trained_as"}
    return {
        statement.targets[0].id: ast.literal_eval(statement.value)
        for statement in node.body
        if isinstance(statement, ast.Assign) and getattr(statement.targets[0], "id", None) in keys
    }


METHODS = read_methods(Path(__file__).parent)


def build(method: str, *, image_size: int, channels: int, latent_dim: int, **options):
    """Return a new model of `method`, initialised from torch's current random state.

    `options` are those that differ from the defaults.
    """
    known = METHODS[method]
    class_ = getattr(import_module(f"{__name__}.{method}"), known.class_name)
    sizes = {"image_size": image_size, "channels": channels, "latent_dim": latent_dim}
    return class_(**sizes, **known.defaults | options)
