"""The end of every script of a rule: from Snakemake's job to one call of the script's function."""

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin

from medae.base.logs import script_logging


def run_script(function: Callable[..., None], job: Any, **given: Any) -> None:
    """Call `function` with what the rule of `job`, Snakemake's object, gives, and log to its log.

    An argument takes the value of its name among input, output, params and wildcards, made a Path,
    a list of Paths or an int where it is annotated so. `given` are arguments of other names.
    Raises TypeError when a name without a default stands in none, or one in several, of these.
    """
    names = ("input", "output", "params", "wildcards")
    parts = [vars(getattr(job, name)) for name in names if hasattr(job, name)]
    with script_logging(job.log[0]):
        for name, parameter in inspect.signature(function, eval_str=True).parameters.items():
            values = [part[name] for part in parts if name in part]
            if name in given or (not values and parameter.default is not parameter.empty):
                continue
            if len(values) != 1:
                where = f"{len(values)} parts of the job"
                raise TypeError(f"{function.__name__}: {name} stands in {where}")
            given[name] = _as(parameter.annotation, values[0])
        function(**given)


def _as(annotation: Any, value: Any) -> Any:
    """Return the value as the annotation says; Snakemake gives text, and [] for no file."""
    kinds = get_args(annotation)
    if annotation is Path:
        return Path(value)
    if NoneType in kinds and Path in kinds:
        return Path(value) if value else None
    if get_origin(annotation) in (list, Sequence) and kinds == (Path,):
        return [Path(path) for path in ([value] if isinstance(value, str) else value)]
    return int(value) if annotation is int else value
