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
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pooch
import requests

from medae.base.errors import InputError
from medae.base.files import write_text

SOURCE = ".medae_source.json"  # in a dataset's folder: the archives that it was made from
TIMEOUT = 30.0  # seconds without an answer
MOST_MEMBERS = 500_000  # of an archive; the largest dataset known here has 12,000 files and 3 GB
MOST_BYTES = 64 << 30
# Unpacked bytes per archive byte. Images hardly compress; headers of many small files do.
MOST_RATIO, RATIO_FLOOR = 200, 64 << 20
# "identity": a server that packs a .tar.gz once more would change its checksum.
HEADERS = {"User-Agent": f"medae (pooch {pooch.__version__})", "Accept-Encoding": "identity"}
# What damaged and hostile archives raise; the last three for a name that is a file and a folder.
DAMAGE = (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError)
DAMAGE += (ValueError, RuntimeError, FileExistsError, NotADirectoryError, IsADirectoryError)

pooch.get_logger().setLevel(logging.ERROR)  # it writes past the rule's log
logger = logging.getLogger(__name__)


class Archive(NamedTuple):
    """One archive of a dataset."""

    name: str
    url: str
    page: str  # where a person finds it
    checksum: str | None  # "md5:…" or "sha256:…"
    folder: str  # the one folder in it that is wanted
    place: str  # where that goes in the dataset's folder


def wanted_archives(entry: Mapping[str, Any], api: str) -> list[Archive]:
    """Return the archives of a registry entry, none if it has no download.

    An entry has `doi` and `archive`, a file of a Zenodo record, with an optional `sha256` or `md5`,
    or else `urls`: addresses, or mappings of `url` with the same optional keys.
    """
    if "archive" in entry:
        record = entry["doi"].rpartition("zenodo.")[2]
        url = f"{api.rstrip('/')}/{record}/files/{entry['archive']}/content"
        page = f"https://doi.org/{entry['doi']}"
        return [Archive(entry["archive"], url, page, _checksum(entry), entry["folder"], ".")]
    archives = []
    for item in entry.get("urls", []):
        facts = {"url": item} if isinstance(item, str) else item
        url = facts["url"]
        name = urlsplit(url).path.rpartition("/")[2]
        folder = Path(name.removesuffix(".gz")).stem
        archives.append(Archive(name, url, url, _checksum(facts), folder, folder))
    return archives


def _checksum(facts: Mapping[str, Any]) -> str | None:
    """Return the stronger checksum that a registry entry states."""
    stated = [f"{kind}:{facts[kind]}" for kind in ("sha256", "md5") if facts.get(kind)]
    return stated[0] if stated else None


def install_dataset(
    folder: Path, archives: Sequence[Archive], *, mirror: str | None, retries: int
) -> None:
    """Download and unpack `archives` into `folder`, and write its SOURCE.

    Until all is done everything lies beside it, in `.<name>.partial`; a later run takes archives
    from there that are complete. Raises InputError when the data cannot be had, differ from what
    was published or cannot be unpacked safely, and OSError when the disk is full.
    """
    work = folder.with_name(f".{folder.name}.partial")
    with _work_folder(work):
        notes, staged = [], work / "tree" / "staged"
        staged.mkdir(parents=True)
        for archive in archives:
            try:
                path, source = _fetch(archive, folder.parent, work, mirror, retries)
                checksum = _check(path, archive.checksum)
                _unpack(path, work / "tree" / archive.name)
                wanted = work / "tree" / archive.name / archive.folder
                if not wanted.is_dir() or not any(wanted.iterdir()):
                    names = sorted(item.name for item in wanted.parent.glob("*"))[:10]
                    raise InputError(
                        f"The archive {path} has no folder {archive.folder} with files in it; at "
                        f"its top are: {', '.join(names) or 'no files'}"
                    )
            except InputError as error:
                (work / archive.name).unlink(missing_ok=True)
                raise InputError(
                    f"{error}. Nothing of it has been kept. To do it by hand: open {archive.page} "
                    f"in a browser, download {archive.name} "
                    f"({archive.checksum or 'no checksum is known'}), put it as it is into "
                    f"{folder.parent}, or its images into {folder}, and give the same snakemake "
                    "command again."
                ) from error
            wanted.rename(staged / archive.place)
            notes.append({"archive": archive.name, "source": source, "checksum": checksum})
        write_text(json.dumps({"archives": notes}, indent=2) + "\n", staged / SOURCE)
        os.sync()  # a power cut must not leave the name without the contents
        staged.rename(folder)
    shutil.rmtree(work)


@contextmanager
def _work_folder(work: Path) -> Iterator[None]:
    """Lock the new or old folder `work` against a second run, with no `tree` in it."""
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
                yield
            finally:
                shutil.rmtree(work / "tree", ignore_errors=True)
    except OSError as error:
        error.filename = error.filename or str(work.parent)
        raise


def _fetch(
    archive: Archive, data_dir: Path, work: Path, mirror: str | None, retries: int
) -> tuple[Path, str]:
    """Return the archive's file and where it came from.

    A file of that name in `data_dir` is the user's own and is taken instead of a download.
    """
    if (data_dir / archive.name).exists():
        return data_dir / archive.name, "file in data_dir"
    url = f"{mirror.rstrip('/')}/{archive.name}" if mirror else archive.url
    if mirror and archive.checksum is None:
        raise InputError(
            f"The mirror {url} was not used, since no checksum of the file is known. Add its "
            "sha256 to the dataset's entry in the registry"
        )
    logger.info("Fetching %s", url)
    options = {"chunk_size": 1 << 20, "headers": HEADERS, "timeout": TIMEOUT}
    http = pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), **options)
    # Without a checksum, so that pooch repeats no download for a wrong one.
    files = {"registry": {archive.name: None}, "urls": {archive.name: url}}
    cache = pooch.create(work, "", retry_if_failed=retries, **files)
    try:
        return Path(cache.fetch(archive.name, downloader=http)), url
    except requests.RequestException as error:
        raise InputError(
            f"{archive.name} could not be had in {retries + 1} attempts: "
            f"{' '.join(str(error).split()).rstrip('.')}"
        ) from error


def _check(path: Path, stated: str | None) -> str:
    """Return the checksum of a file; raises InputError unless it is the one `stated`."""
    algorithm = (stated or "sha256").partition(":")[0]
    checksum = f"{algorithm}:{pooch.file_hash(str(path), alg=algorithm)}"
    if stated is None:
        logger.warning("%s was not checked; its sum is %s", path.name, checksum)
    elif stated != checksum:
        raise InputError(
            f"The file {path} ({path.stat().st_size:,} bytes, {checksum}) is not the published "
            "one; its download may not have finished. Delete it"
        )
    return checksum


def _unpack(archive: Path, destination: Path) -> None:
    """Unpack a .tar.gz, .tgz or .zip file into the new folder `destination`.

    Raises InputError for an archive that is damaged or of another kind, or that has names that
    leave the folder, links, devices, or more members or bytes than an honest one.
    """
    limit = min(MOST_BYTES, max(MOST_RATIO * archive.stat().st_size, RATIO_FLOOR))
    count = itertools.count(1)

    def check(member: tarfile.TarInfo, folder: str) -> tarfile.TarInfo:
        if not (member.isreg() or member.isdir()) or member.issparse():
            raise ValueError(f"{member.name!a} is neither a plain file nor a folder")
        _bound(next(count), MOST_MEMBERS)
        return tarfile.data_filter(member, folder)

    logger.info("Unpacking %s", archive)
    try:
        if archive.name.endswith(".zip"):
            with zipfile.ZipFile(archive) as opened:
                members = opened.infolist()
                _bound(len(members), MOST_MEMBERS)
                # No more of a member is read than the size stated here.
                _bound(sum(member.file_size for member in members), limit)
                opened.extractall(destination)  # plain files and folders, in `destination` only
        elif archive.name.endswith((".tar.gz", ".tgz")):
            # Headers count too; and read to the end, where gzip has its checksum.
            with gzip.open(archive, "rb") as stream:
                while stream.read(1 << 20):
                    _bound(stream.tell(), limit)
            with tarfile.open(archive, "r:gz") as tar:
                tar.extractall(destination, filter=check)
        else:
            raise ValueError("only .tar.gz, .tgz and .zip can be unpacked")
    except DAMAGE as error:
        raise InputError(f"The archive {archive} is damaged or not safe: {error}") from error


def _bound(number: int, most: int) -> None:
    if number > most:
        raise ValueError(f"it unpacks to too much: more than {most:,} bytes or members")
