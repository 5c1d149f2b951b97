"""Download one registered dataset, check it, unpack it, and write its licence beside it.

What is already in `data_dir`, the unpacked folder or the archives, is taken instead of a download.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medae.base.errors import InputError
from medae.base.files import write_text
from medae.data.downloads import SOURCE, Archive, install_dataset, wanted_archives

logger = logging.getLogger(__name__)


def download_dataset(
    *,
    entry: Mapping[str, Any],
    data_dir: Path,
    marker: Path,
    mirror: str | None,
    retries: int,
    api: str,
) -> None:
    """Make the folder `data_dir / entry["folder"]`, its licence file and, last, `marker`.

    Raises InputError when the data cannot be had, and OSError when the disk is full.
    """
    folder = data_dir.absolute() / entry["folder"]
    for place in (folder.parent, folder):
        if (place.is_symlink() or place.exists()) and not place.is_dir():
            raise InputError(f"{place} is in the way of a folder. Remove it, then run again.")
    archives = wanted_archives(entry, api)
    if not folder.exists() or not any(folder.iterdir()):
        if not archives:
            steps = entry.get("how_to_get", "Put the images there, laid out as the registry says.")
            raise InputError(
                f"The dataset {entry['key']} has no download in the registry, and the folder "
                f"{folder} is missing or empty. {steps.strip()} Then run again. Page of the "
                f"originals: {entry.get('url', 'none is known')}"
            )
        install_dataset(folder, archives, mirror=mirror, retries=retries)
    content = {"dataset": entry["key"], "folder": folder.name, **read_source(folder, archives)}
    licence = folder.with_name(f"{folder.name}.LICENSE_AND_CITATION.txt")
    write_text(licence_text(entry), licence)
    write_text(json.dumps(content, indent=2) + "\n", marker)


def read_source(folder: Path, wanted: Sequence[Archive]) -> dict[str, Any]:
    """Return the `archives` that the folder was made from, none for one that the user put there.

    Raises InputError when their checksums are not those of the `wanted` ones.
    """
    note = folder / SOURCE
    if not note.exists():
        logger.warning("%s was not made by this workflow; its images are taken as they are", folder)
        return {"archives": []}
    try:
        source = json.loads(note.read_text(encoding="utf-8"))
        sums = {part["archive"]: part["checksum"] for part in source["archives"]}
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{note} cannot be read. Delete the folder that it is in.") from error
    for archive in wanted:
        if archive.checksum not in (None, sums.get(archive.name)):
            raise InputError(
                f"The folder {folder} was made from {sums}, but the registry has {archive.name} "
                f"with {archive.checksum}. Delete it to have it made again, or delete {note} to "
                "have the images taken as they are; then run again."
            )
    return source


def licence_text(entry: Mapping[str, Any]) -> str:
    """Return the terms and the reference of a dataset, for whoever finds its folder."""
    doi = f"https://doi.org/{entry['doi']}" if "doi" in entry else None
    lines = [
        f"Dataset:  {entry.get('name', entry['folder'])}",
        f"Licence:  {entry.get('license', 'not stated in the registry')}",
        f"Citation: {entry.get('citation', 'not stated in the registry')}",
        *(f"Source:   {url}" for url in (entry.get("url"), doi) if url),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    from medae.base.scripts import run_script

    run_script(download_dataset, snakemake, data_dir=Path(snakemake.output.marker).parent)
