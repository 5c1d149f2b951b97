"""Copy the trained models of one setting for a method that is another score of their weights."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from medae.base.files import atomic_path
from medae.models.checkpoints import load_tensors, save_tensors


def copy_weights(
    *,
    trained: Sequence[Path],
    trained_histories: Sequence[Path],
    trained_snapshots: Sequence[Path],
    module: str,
    checkpoints: Sequence[Path],
    histories: Sequence[Path],
    snapshots: Sequence[Path],
) -> None:
    """Copy the files in their order; checkpoints and snapshots then name the method `module`."""
    sources, copies = [*trained, *trained_snapshots], [*checkpoints, *snapshots]
    for source, copy in zip(sources, copies, strict=True):
        tensors, description = load_tensors(source)
        save_tensors(copy, tensors, description | {"method": module})
    for source, copy in zip(trained_histories, histories, strict=True):
        with atomic_path(copy) as temporary:
            shutil.copyfile(source, temporary)


if __name__ == "__main__":
    from medae.base.scripts import run_script

    run_script(copy_weights, snakemake)
