"""A dataset's folder on disk, made whole or not at all, with a note of what it was made from."""

import fcntl
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from medae.data.archives import unpack_archive
from medae.data.downloads import Archive, obtain_archive, wanted_archives
from medae.base.errors import InputError
from medae.base.files import write_text
from medae.data.transfers import Access

SOURCE = ".medae_source.json"  # in the folder, so that a later run still knows its origin

logger = logging.getLogger(__name__)


def install_dataset(folder: Path, *, entry: Mapping[str, Any], key: str, access: Access) -> None:
    """Download and unpack the archives of a registry entry into `folder`.

    A folder with files in it is left as it is. Until all is done everything lies beside it, in
    `.<key>.partial`; a later run goes on with the archives there that are complete and checked.

    Raises
    ------
    InputError
        When the data cannot be had, differ from what was published, or cannot be unpacked safely.
    OSError
        When the disk is full or cannot be written.
    """
    if folder.is_dir() and (count_files(folder)[0] or (folder / SOURCE).exists()):
        logger.info("%s is there already; nothing is downloaded", folder)
        return
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise InputError(f"{folder} is not a folder, and in the way of one. Remove it, run again.")
    archives = wanted_archives(entry)
    if not archives:
        steps = entry.get("how_to_get", "Put the images there, laid out as the registry says.")
        raise InputError(
            f"The dataset {key} has no download in the registry, and the folder {folder} is "
            f"missing or empty. {steps.strip()} Then run again. Page of the originals: "
            f"{entry.get('url', 'none is known')}"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _partial_folder(folder.parent / f".{key}.partial") as partial:
        storage, staged = partial / "archives", partial / "tree" / "staged"
        shutil.rmtree(partial / "tree", ignore_errors=True)  # a run that was killed left it
        storage.mkdir(exist_ok=True)
        for stray in {*storage.iterdir()} - {storage / archive.name for archive in archives}:
            stray.unlink()  # the beginning of a download that was killed
        staged.mkdir(parents=True)
        reports = []
        for archive in archives:
            path, found, origin = obtain_archive(
                archive, data_dir=folder.parent, storage=storage, access=access
            )
            unpacked = _unpack(found, path, folder=folder, partial=partial)
            # the folder of a single archive is the dataset; those of several become parts of it
            unpacked.rename(staged if "archive" in entry else staged / archive.folder)
            reports.append(_report(found, path, origin))
        files, size = count_files(staged)
        note = {"archives": reports, "files": files, "bytes": size}
        write_text(json.dumps(note, indent=2) + "\n", staged / SOURCE)
        os.sync()  # a power cut must not leave the name without the contents
        staged.rename(folder)
        shutil.rmtree(storage)


@contextmanager
def _partial_folder(partial: Path) -> Iterator[Path]:
    """Yield the folder of what is not finished, locked against a second run.

    Afterwards all in it goes but archives that were complete and checked.
    """
    partial.mkdir(exist_ok=True)
    with (partial / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"Another run is working in {partial}. Wait until it has ended, then run again."
            ) from error
        except OSError as error:  # some network file systems have no locks
            logger.warning("%s cannot be locked (%s); start no second run", partial, error)
        try:
            yield partial
        finally:
            shutil.rmtree(partial / "tree", ignore_errors=True)
            if not any((partial / "archives").glob("*")):
                shutil.rmtree(partial, ignore_errors=True)


def _unpack(archive: Archive, path: Path, *, folder: Path, partial: Path) -> Path:
    """Return the wanted folder of the unpacked archive; a bad archive of ours is deleted."""
    destination = partial / "tree" / archive.name
    try:
        logger.info("Unpacking %s", path)
        unpack_archive(path, destination)
        wanted = destination / archive.folder
        if not wanted.is_dir() or not count_files(wanted)[0]:
            names = sorted(item.name for item in destination.iterdir())[:10]
            raise InputError(
                f"The archive {path} has no folder {archive.folder} with files in it; at its top "
                f"are: {', '.join(names) or 'no files'}. Nothing of it has been kept."
            )
    except InputError as error:
        if path.is_relative_to(partial):
            path.unlink()
        raise InputError(f"{error} {archive.by_hand(folder.parent, unpacked=folder)}") from error
    return wanted


def _report(archive: Archive, path: Path, origin: str) -> dict[str, Any]:
    checksum = archive.checksum
    if checksum is None:  # then there is nobody in `checksum_from`
        with path.open("rb") as stream:
            checksum = f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"
        logger.warning("%s was not checked; its sum is %s", archive.name, checksum)
    return {
        "archive": archive.name,
        "size": path.stat().st_size,
        "checksum": checksum,
        "checksum_from": archive.checksum_from,
        "source": origin,
    }


def count_files(folder: Path) -> tuple[int, int]:
    """Return the number of files below `folder` and their bytes, hidden files left out."""
    sizes = [
        (Path(parent) / name).stat().st_size
        for parent, _, names in os.walk(folder)
        for name in names
        if not name.startswith(".")
    ]
    return len(sizes), sum(sizes)


def read_source(folder: Path, *, entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the folder was made from: its `archives`, and its number of `files` and `bytes`.

    A folder that the user put there has no archives.

    Raises InputError when a folder that was installed has changed since, or was made from other
    archives than those whose checksums the registry states.
    """
    files, size = count_files(folder)
    note = folder / SOURCE
    if not note.exists():
        logger.warning("%s was not made by this workflow; its images are taken as they are", folder)
        return {"archives": [], "files": files, "bytes": size}
    try:
        source = json.loads(note.read_text(encoding="utf-8"))
        expected = source["files"], source["bytes"]
        sums = {part["archive"]: part["checksum"] for part in source["archives"]}
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{note} cannot be read. Delete the folder that it is in.") from error
    if expected != (files, size):
        raise InputError(
            f"The folder {folder} has changed: {expected[0]:,} files of {expected[1]:,} bytes were "
            f"unpacked, {files:,} of {size:,} are there. Delete the folder to have it made anew, "
            f"or delete {note} to have the images taken as they are; then run again."
        )
    for archive in wanted_archives(entry):
        stated, noted = archive.checksum or "", sums.get(archive.name, "")
        same_kind = stated.partition(":")[0] == noted.partition(":")[0]
        if same_kind and stated != noted:
            raise InputError(
                f"The folder {folder} was made from a {archive.name} with {noted}, but the "
                f"registry states {stated}. Delete the folder to have it made anew, then run again."
            )
    return source
