"""The tail of a rule's script: from Snakemake's names to one call."""

from collections.abc import Callable
from pathlib import Path

from medae.base.logs import script_logging

NOT_ARGUMENTS = {"modules", "results"}
"""Inputs that only tell Snakemake when to run the rule again."""


def run_script(function: Callable[..., None], snakemake) -> None:
    """Call `function` with the rule's named inputs, outputs and params; log to the rule's log.

    Inputs and outputs become a Path, or a list of Paths where the rule names a list. Raises
    TypeError when the names are not those of the function's arguments.
    """
    arguments = dict(snakemake.params.items())
    for files in (snakemake.input, snakemake.output):
        for name, value in files.items():
            if name not in NOT_ARGUMENTS:
                several = not isinstance(value, str)
                arguments[name] = [Path(path) for path in value] if several else Path(value)
    with script_logging(snakemake.log[0]):
        function(**arguments)
