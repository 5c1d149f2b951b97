"""Download one registered dataset, check it, unpack it, and write its licence beside it.

Inputs: none; the registry entry says where the archives lie. What is already in `data_dir`, the
unpacked folder or the archive files themselves, is taken instead of a download.

Outputs: `marker`, a JSON file written last that says what the folder was made from. The folder
itself and `<folder>.LICENSE_AND_CITATION.txt` lie beside it.

Fails when the data cannot be had, differ from what was published, or cannot be unpacked safely;
the message then says what to do by hand. The folder appears whole or not at all.
"""

import errno
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medae.base.errors import InputError
from medae.base.files import write_text
from medae.data.installing import install_dataset, read_source
from medae.data.transfers import Access

LICENCE = ".LICENSE_AND_CITATION.txt"


def download_dataset(
    *, entry: Mapping[str, Any], key: str, data_dir: Path, marker: Path, access: Access
) -> None:
    """Make the folder `data_dir / entry["folder"]` and `marker` for the dataset `key`.

    Raises InputError, with the steps to do by hand, when that is not possible.
    """
    folder = data_dir.absolute() / entry["folder"]
    try:
        install_dataset(folder, entry=entry, key=key, access=access)
        source = read_source(folder, entry=entry)
        write_text(licence_text(entry), folder.with_name(f"{folder.name}{LICENCE}"))
        content = {"dataset": key, "folder": folder.name, **source}
        write_text(json.dumps(content, indent=2) + "\n", marker)
    except OSError as error:
        raise InputError(_disk_problem(error, folder.parent)) from error


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


def _disk_problem(error: OSError, data_dir: Path) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        what = "there is no room left. Free some, or set data_dir to a folder on a larger disk"
    elif error.errno == errno.EFBIG:
        what = "a file grew beyond the limit for one file (`ulimit -f`). Raise it"
    else:
        what = (
            f"{error.strerror or error} ({error.filename}). Make the folder writable, or set "
            "data_dir to one that is; data that lie elsewhere can be linked into it"
        )
    return (
        f"In the data folder {data_dir} nothing could be finished: {what}, and run again. Nothing "
        "half-done has been taken for data; an archive that was complete is not downloaded again."
    )


if __name__ == "__main__":
    from medae.base.logs import script_logging

    with script_logging(snakemake.log[0]):
        registered = dict(snakemake.params.entry)
        download_dataset(
            key=registered.pop("key"),
            entry=registered,
            data_dir=Path(snakemake.output.marker).parent,
            marker=Path(snakemake.output.marker),
            access=Access(
                mirror=snakemake.params.mirror,
                retries=snakemake.params.retries,
                api=snakemake.params.api,
            ),
        )
