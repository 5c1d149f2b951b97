"""Download one registered dataset, check it, unpack it, and write its licence beside it.

What is already in `data_dir`, the unpacked folder or the archives, is taken instead of a download.
"""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medae.base.errors import InputError
from medae.base.files import write_text
from medae.data.downloads import SOURCE, Access, count_files, install_dataset, wanted_archives

LICENCE = ".LICENSE_AND_CITATION.txt"

logger = logging.getLogger(__name__)


def download_dataset(
    *, entry: Mapping[str, Any], key: str, data_dir: Path, marker: Path, access: Access
) -> None:
    """Make the folder `data_dir / entry["folder"]`, its licence file and, last, `marker`.

    Raises InputError when the data cannot be had, and OSError when the disk is full.
    """
    folder = data_dir.absolute() / entry["folder"]
    for place in (folder.parent, folder):
        if (place.is_symlink() or place.exists()) and not place.is_dir():
            raise InputError(f"{place} is in the way of a folder. Remove it, then run again.")
    if not (folder / SOURCE).exists() and not count_files(folder)[0]:
        install_dataset(folder, entry=entry, key=key, access=access)
    content = {"dataset": key, "folder": folder.name, **read_source(folder, entry=entry)}
    write_text(licence_text(entry), folder.with_name(f"{folder.name}{LICENCE}"))
    write_text(json.dumps(content, indent=2) + "\n", marker)


def read_source(folder: Path, *, entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the folder was made from: its `archives`, and its number of `files` and `bytes`.

    A folder that the user put there has no archives. Raises InputError when one of ours has changed
    since, or was made from other archives than those whose checksums the registry states.
    """
    files, size = count_files(folder)
    note = folder / SOURCE
    if not note.exists():
        logger.warning("%s was not made by this workflow; its images are taken as they are", folder)
        return {"archives": [], "files": files, "bytes": size}
    try:
        source = json.loads(note.read_text(encoding="utf-8"))
        made = f"{source['files']:,} files of {source['bytes']:,} bytes"
        sums = {part["archive"]: part["checksum"] for part in source["archives"]}
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{note} cannot be read. Delete the folder that it is in.") from error
    changes = []
    if made != (found := f"{files:,} files of {size:,} bytes"):
        changes.append(f"has {found}, but was made with {made}")
    for archive in wanted_archives(entry):
        stated, noted = archive.checksum or "", sums.get(archive.name, "")
        if stated.partition(":")[0] == noted.partition(":")[0] and stated != noted:
            changes.append(
                f"was made from {archive.name} with {noted}, but the registry has {stated}"
            )
    if changes:
        raise InputError(
            f"The folder {folder} {' and '.join(changes)}. Delete it to have it made again, or "
            f"delete {note} to have the images taken as they are; then run again."
        )
    return source


def licence_text(entry: Mapping[str, Any]) -> str:
    """Return the terms and the reference of a dataset, for whoever finds its folder."""
    doi = f"https://doi.org/{entry['doi']}" if "doi" in entry else None
    lines = [
        f"Dataset:  {entry.get('name', entry['folder'])}",
        f"Licence:  {entry.get('license', 'not stated in the registry')}",
        f"Citation: {entry.get('citation', 'not stated in the registry')}",
        *(f"Source:   {url}" for url in dict.fromkeys((entry.get("url"), doi)) if url),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    from medae.base.scripts import run_script

    entry = dict(snakemake.params.entry)
    access = {name: getattr(snakemake.params, name) for name in ("mirror", "retries", "api")}
    run_script(
        download_dataset,
        snakemake,
        key=entry.pop("key"),
        entry=entry,
        data_dir=Path(snakemake.output.marker).parent,
        access=Access(**access),
    )
