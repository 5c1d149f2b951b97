"""Datasets from the network: archives are fetched, checked and unpacked, whole or not at all."""

import fcntl
import gzip
import itertools
import json
import logging
import os
import shutil
import sys
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import pooch
import requests

from medae.base.errors import InputError
from medae.base.files import write_text

SOURCE = ".medae_source.json"  # in a dataset's folder: what it was made from
MOST_MEMBERS = 500_000  # of an archive; the largest dataset known here has 12,000 files and 3 GB
MOST_BYTES = 64 << 30
# Unpacked bytes per archive byte. Images hardly compress; headers of many small files do.
MOST_RATIO, RATIO_FLOOR = 200, 64 << 20
LONGEST_WAIT = 120  # seconds
PASSING = (408, 425, 429)  # HTTP states 4xx that are worth another try
# "identity": a server that packs a .tar.gz once more would change its checksum.
HEADERS = {"User-Agent": f"medae (pooch {pooch.__version__})", "Accept-Encoding": "identity"}
# What damaged and hostile archives raise; the last three for a name that is a file and a folder.
DAMAGE = (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError)
DAMAGE += (ValueError, RuntimeError, FileExistsError, NotADirectoryError, IsADirectoryError)

pooch.get_logger().setLevel(logging.ERROR)  # it writes past the rule's log
logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Access:
    """How the network is used."""

    mirror: str | None = None  # URL below which the archives lie
    api: str = "https://zenodo.org/api/records"
    retries: int = 3  # attempts after the first
    wait: float = 2.0  # seconds before the second attempt, doubled for each further one
    timeout: float = 30.0  # seconds without an answer


@dataclass(frozen=True, kw_only=True)
class Archive:
    """One archive of a dataset; `checksum` is "md5:…" or "sha256:…", `size` is in bytes."""

    name: str
    folder: str  # the one folder in it that is wanted
    page: str  # where a person finds it
    doi: str | None = None
    url: str | None = None
    checksum: str | None = None
    checksum_from: str | None = None
    size: int | None = None


def wanted_archives(entry: Mapping[str, Any]) -> list[Archive]:
    """Return the archives of a registry entry, none if it has no download.

    An entry has `doi` and `archive`, with optional `sha256` or `md5` and `size`, or else `urls`:
    addresses, or mappings of `url` with the same optional keys.
    """
    items = [{"url": item} if isinstance(item, str) else item for item in entry.get("urls", [])]
    found = []
    for item in [entry] if "archive" in entry else items:
        sums = [f"{kind}:{item[kind].lower()}" for kind in ("sha256", "md5") if item.get(kind)]
        facts = {"checksum": sums[0], "checksum_from": "registry"} if sums else {}
        if "archive" in entry:
            facts |= {"name": item["archive"], "folder": item["folder"], "doi": item["doi"]}
            facts["page"] = f"https://doi.org/{item['doi']}"
        else:
            name = urlsplit(item["url"]).path.rpartition("/")[2]
            facts |= {"name": name, "folder": Path(name).stem}
            facts |= {"page": item["url"], "url": item["url"]}
        found.append(Archive(size=item.get("size"), **facts))
    return found


def install_dataset(folder: Path, *, entry: Mapping[str, Any], key: str, access: Access) -> None:
    """Download and unpack the archives of a registry entry into `folder`, and write its SOURCE.

    Until all is done everything lies beside it, in `.<key>.partial`; a later run takes archives
    from there that are complete. Raises InputError when the data cannot be had, differ from what
    was published or cannot be unpacked safely, and OSError when the disk is full.
    """
    archives = wanted_archives(entry)
    if not archives:
        steps = entry.get("how_to_get", "Put the images there, laid out as the registry says.")
        raise InputError(
            f"The dataset {key} has no download in the registry, and the folder {folder} is "
            f"missing or empty. {steps.strip()} Then run again. Page of the originals: "
            f"{entry.get('url', 'none is known')}"
        )
    with _work_folder(folder.parent / f".{key}.partial") as work:
        reports, staged = [], work / "tree" / "staged"
        staged.mkdir(parents=True)
        for archive in archives:
            try:
                archive = _look_up(archive, folder.parent, access)
                path, origin, checksum = _obtain(archive, folder.parent, work, access)
                wanted = _unpack(path, work / "tree" / archive.name) / archive.folder
                if not count_files(wanted)[0]:
                    names = ", ".join(sorted(item.name for item in wanted.parent.glob("*"))[:10])
                    raise InputError(
                        f"The archive {path} has no folder {archive.folder} with files in it; at "
                        f"its top are: {names or 'no files'}"
                    )
            except InputError as error:
                (work / archive.name).unlink(missing_ok=True)
                size = f"{archive.size:,} bytes, " if archive.size else ""
                raise InputError(
                    f"{error}. Nothing of it has been kept. To do it by hand: open {archive.page} "
                    f"in a browser, download {archive.name} ({size}"
                    f"{archive.checksum or 'no checksum is known here'}), put it as it is into "
                    f"{folder.parent}, or its images into {folder}, and give the same snakemake "
                    "command again."
                ) from error
            # The folder of a single archive is the dataset; those of several become parts of it.
            wanted.rename(staged if "archive" in entry else staged / archive.folder)
            report = {"archive": archive.name, "size": path.stat().st_size, "source": origin}
            report |= {"checksum": checksum, "checksum_from": archive.checksum_from}
            reports.append(report)
        files, size = count_files(staged)
        note = {"archives": reports, "files": files, "bytes": size}
        write_text(json.dumps(note, indent=2) + "\n", staged / SOURCE)
        os.sync()  # a power cut must not leave the name without the contents
        staged.rename(folder)
    shutil.rmtree(work)


def count_files(folder: Path) -> tuple[int, int]:
    """Return the number of files below `folder` and their bytes, hidden files left out."""
    files = [path for path in folder.rglob("[!.]*") if path.is_file()]
    return len(files), sum(path.stat().st_size for path in files)


@contextmanager
def _work_folder(work: Path) -> Iterator[Path]:
    """Yield the folder `work`, locked against a second run, with no `tree` in it."""
    try:
        work.mkdir(parents=True, exist_ok=True)
        with (work / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise InputError(
                    f"Another run is working in {work}. Wait until it has ended, then run again."
                ) from error
            except OSError as error:  # some network file systems have no locks
                logger.warning("%s cannot be locked (%s); start no second run", work, error)
            shutil.rmtree(work / "tree", ignore_errors=True)  # a run that was killed left it
            try:
                yield work
            finally:
                shutil.rmtree(work / "tree", ignore_errors=True)
    except OSError as error:
        error.filename = error.filename or str(work.parent)
        raise


def _look_up(archive: Archive, data_dir: Path, access: Access) -> Archive:
    """Return `archive` with what its record states.

    Whoever has the file, or a mirror, may be offline: then for the checksum alone, asked once.
    """
    elsewhere = (data_dir / archive.name).exists() or access.mirror is not None
    if archive.doi is None or (elsewhere and archive.checksum):
        return archive
    try:
        retries = 0 if elsewhere else access.retries
        return _retry(lambda: _ask_record(archive, access), archive.name, retries, access.wait)
    except InputError as error:
        if not elsewhere:
            raise
        logger.warning("No checksum of %s: %s", archive.name, error)
        return archive


def _obtain(archive: Archive, data_dir: Path, work: Path, access: Access) -> tuple[Path, str, str]:
    """Return the archive's file, where it came from, and its checksum.

    A file of that name in `data_dir` is the user's own and is taken instead of a download.
    """
    local = data_dir / archive.name
    if local.exists():
        path, url = local, "file in data_dir"
    else:
        path, url = work / archive.name, archive.url
        if access.mirror is not None:
            url = f"{access.mirror.rstrip('/')}/{archive.name}"
            if archive.checksum is None:
                raise InputError(
                    f"The mirror {url} was not used: no checksum of the file could be had. Add its "
                    "sha256 to the dataset's entry in the registry"
                )
        logger.info("Fetching %s (%s bytes)", url, archive.size or "unknown number of")
        bar = sys.stderr.isatty()
        options = {"chunk_size": 1 << 20, "headers": HEADERS, "timeout": access.timeout}
        http = pooch.HTTPDownloader(progressbar=bar, **options)
        known = {"known_hash": archive.checksum, "path": work, "fname": archive.name}
        download = partial(pooch.retrieve, url, downloader=http, **known)
        _retry(download, archive.name, access.retries, access.wait)
    algorithm = (archive.checksum or "sha256").partition(":")[0]
    checksum = f"{algorithm}:{pooch.file_hash(str(path), alg=algorithm)}"
    if archive.checksum is None:
        logger.warning("%s was not checked; its sum is %s", archive.name, checksum)
    elif archive.checksum != checksum:
        raise InputError(
            f"The file {path} ({path.stat().st_size:,} bytes, {checksum}) is not the published "
            "one; its download may not have finished. Delete it"
        )
    return path, url, checksum


def _ask_record(archive: Archive, access: Access) -> Archive:
    """Return `archive` with the URL and size that the Zenodo record states, and its checksum.

    A checksum from the registry is kept: it is the version that results were computed from.
    """
    url = f"{access.api.rstrip('/')}/{archive.doi.rpartition('zenodo.')[2]}"
    answer = requests.get(url, headers=HEADERS, timeout=access.timeout)
    answer.raise_for_status()
    try:
        files = {file["key"]: file for file in answer.json()["files"]}
        if archive.name not in files:
            raise InputError(
                f"The record {archive.doi} has no file {archive.name}, but {', '.join(files)}; "
                "correct `archive` in the dataset's entry in the registry"
            )
        file = files[archive.name]
        stated = {"url": file["links"]["self"], "size": file["size"]}
        if archive.checksum is None:
            stated |= {"checksum": file["checksum"], "checksum_from": f"record {archive.doi}"}
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{url} does not answer with a record that has files ({error!r}): the record may have "
            "been closed, or the address of the API is wrong"
        ) from error
    return replace(archive, **stated)


def _retry(action: Callable[[], Any], name: str, retries: int, wait: float) -> Any:
    """Return `action()`, tried again after growing waits; raises InputError."""
    for attempt in range(retries + 1):
        try:
            return action()
        except (requests.RequestException, ValueError) as error:
            answer = getattr(error, "response", None)
            refused = answer is not None and answer.status_code < 500
            # A wrong checksum is a ValueError. It may be damage on the way, but not twice.
            last = retries if isinstance(error, requests.RequestException) else min(retries, 1)
            if attempt >= last or (refused and answer.status_code not in PASSING):
                raise InputError(
                    f"{name} could not be had in {attempt + 1} attempts: "
                    f"{' '.join(str(error).split()).rstrip('.')}"
                ) from error
            delay = min(wait * 2**attempt, LONGEST_WAIT)
            logger.warning("%s: %s. Trying again in %g s", name, error, delay)
            time.sleep(delay)
    raise AssertionError("the last attempt returns or raises")


def _unpack(archive: Path, destination: Path) -> Path:
    """Unpack a .tar.gz, .tgz or .zip file into the new folder `destination`, and return it.

    Raises InputError for an archive that is damaged or of another kind, or that has links, devices,
    names that leave the folder, or more members or bytes than an honest one.
    """
    limit = min(MOST_BYTES, max(MOST_RATIO * archive.stat().st_size, RATIO_FLOOR))
    logger.info("Unpacking %s", archive)
    try:
        if archive.name.endswith(".zip"):
            with zipfile.ZipFile(archive) as opened:
                members = opened.infolist()
                for count, member in enumerate(members, start=1):
                    _check_member(member.filename, count)
                # No more of a member is read than the size stated here.
                if sum(member.file_size for member in members) > limit:
                    raise ValueError("it unpacks to too many bytes")
                opened.extractall(destination)  # makes plain files and folders only
        elif archive.name.endswith((".tar.gz", ".tgz")):
            with gzip.open(archive, "rb") as stream:
                _unpack_tar(_Bounded(stream, limit), destination)
        else:
            raise ValueError("only .tar.gz, .tgz and .zip can be unpacked")
    except DAMAGE as error:
        raise InputError(f"The archive {archive} is damaged or not safe: {error}") from error
    return destination


class _Bounded:
    """The bytes of a tar file up to a limit; headers count too."""

    def __init__(self, stream: BinaryIO, limit: int) -> None:
        self.stream, self.left = stream, limit

    def read(self, size: int) -> bytes:
        data = self.stream.read(size)
        self.left -= len(data)
        if self.left < 0:
            raise ValueError("it unpacks to too many bytes")
        return data


def _unpack_tar(reader: _Bounded, destination: Path) -> None:
    count = itertools.count(1)

    def check(member: tarfile.TarInfo, folder: str) -> tarfile.TarInfo:
        _check_member(member.name, next(count))
        if not (member.isreg() or member.isdir()) or member.issparse():
            raise ValueError(f"{member.name!a} is neither a plain file nor a folder")
        return tarfile.data_filter(member, folder)

    with tarfile.open(fileobj=reader, mode="r|") as tar:
        tar.extractall(destination, filter=check)
    while reader.read(1 << 20):  # to the end, where gzip has its checksum
        pass


def _check_member(name: str, count: int) -> None:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name:
        raise ValueError(f"the name {name!a} leads out of the folder")
    if count > MOST_MEMBERS:
        raise ValueError(f"it has more than {MOST_MEMBERS:,} members")
