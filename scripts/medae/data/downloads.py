"""Getting one archive file: from the user's folder, a mirror, a Zenodo record or a plain URL.

The archive that comes back is whole and, wherever a checksum exists, equal to it. Everything that
can go wrong on the way ends in an InputError that says how to get the file by hand.
"""

import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pooch
import requests
from pooch.downloaders import HTTPDownloader, ZenodoRepository

from medae.base.errors import InputError
from medae.data.transfers import Access, TransferError, attempt_repeatedly, choose_progress, describe_failure

CHUNK = 1 << 20
# "identity": a server that packs a .tar.gz once more would change its checksum
HEADERS = {"User-Agent": f"medae (pooch {pooch.__version__})", "Accept-Encoding": "identity"}

pooch.get_logger().setLevel(logging.ERROR)  # it writes past the rule's log; this module says more
logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Archive:
    """One archive file of a dataset; `checksum` is "md5:…" or "sha256:…", `size` is in bytes."""

    name: str
    folder: str  # the one folder in it that is wanted
    page: str  # where a person finds it
    doi: str | None = None
    url: str | None = None
    checksum: str | None = None
    checksum_from: str | None = None
    size: int | None = None

    def by_hand(self, data_dir: Path, *, unpacked: Path | None = None) -> str:
        """Return the steps that replace the download, to be added to an error message.

        With `unpacked`, the folder of the dataset, they replace the unpacking too.
        """
        facts = [f"{self.size:,} bytes"] if self.size else []
        facts.append(self.checksum or "no checksum is known here; compare if the page shows one")
        steps = (
            f"To do it by hand: open {self.page} in a browser, download {self.name} "
            f"({', '.join(facts)}), "
        )
        if unpacked is not None:
            return (
                f"{steps}look into it, and if it is right unpack it so that its images lie in "
                f"{unpacked}; then give the same snakemake command again, which takes the folder "
                "as it is."
            )
        return (
            f"{steps}put it as it is, not unpacked, into the folder {data_dir}, and give the same "
            "snakemake command again, which checks and unpacks it without a download."
        )


def wanted_archives(entry: Mapping[str, Any]) -> list[Archive]:
    """Return the archives of a registry entry, with the checksums that the registry states.

    An entry has `doi` and `archive`, with optional `sha256` or `md5` and `size`, or else `urls`:
    addresses, or mappings of `url` with the same optional keys. An entry with none of them has no
    download, and the list is empty.
    """
    if "archive" in entry:
        page = f"https://doi.org/{entry['doi']}"
        names = {"name": entry["archive"], "folder": entry["folder"], "doi": entry["doi"]}
        return [Archive(page=page, **names, **_stated(entry))]
    items = [{"url": item} if isinstance(item, str) else item for item in entry.get("urls", [])]
    return [_archive_at(item) for item in items]


def _archive_at(item: Mapping[str, Any]) -> Archive:
    name = urlsplit(item["url"]).path.rpartition("/")[2]
    return Archive(
        name=name, folder=Path(name).stem, page=item["url"], url=item["url"], **_stated(item)
    )


def _stated(item: Mapping[str, Any]) -> dict[str, Any]:
    stated: dict[str, Any] = {"size": item.get("size")}
    for algorithm in ("md5", "sha256"):  # the stronger one is read last and stays
        if item.get(algorithm):
            stated["checksum"] = f"{algorithm}:{item[algorithm].lower()}"
            stated["checksum_from"] = "registry"
    return stated


def obtain_archive(
    archive: Archive, *, data_dir: Path, storage: Path, access: Access
) -> tuple[Path, Archive, str]:
    """Return the path of the archive file, what is known of it, and where it came from.

    A file of that name in `data_dir` is the user's own and is taken instead of a download.
    Otherwise it is downloaded into `storage`, under another name until its checksum has been met;
    a file there from an interrupted run is taken if it still meets the checksum.

    Raises
    ------
    InputError
        When the file cannot be had or is not the published one; with the steps to do by hand.
    OSError
        When the disk is full or cannot be written.
    """
    local = data_dir / archive.name
    if local.exists():
        archive = _with_checksum_if_any(archive, access)
        _check_local(archive, local, data_dir)
        return local, archive, "file in data_dir"
    if access.mirror is not None:
        archive = _with_checksum_if_any(archive, access)
        if archive.checksum is None:
            raise InputError(
                f"The mirror {access.mirror} was not used for {archive.name}: no checksum of the "
                "file could be had, so there would be no knowing what the mirror gave. Add its "
                f"sha256 to the dataset's entry in the registry. {archive.by_hand(data_dir)}"
            )
        archive = replace(archive, url=f"{access.mirror.rstrip('/')}/{archive.name}")
    try:
        if access.mirror is None and archive.doi is not None:
            archive = attempt_repeatedly(
                lambda: _ask_record(archive, access),
                what=f"Looking up {archive.name} in the record {archive.doi}",
                access=access,
            )
        return _download(archive, storage=storage, access=access), archive, archive.url
    except (TransferError, InputError) as error:
        raise InputError(
            f"{error}. Nothing of it has been kept. {archive.by_hand(data_dir)}"
        ) from error


def _ask_record(archive: Archive, access: Access) -> Archive:
    """Return `archive` with the URL, size and checksum that the Zenodo record states.

    A checksum from the registry is kept: it is the version that results were computed from.
    """

    def refuse(response: requests.Response, *_args: Any, **_kwargs: Any) -> None:
        response.raise_for_status()  # pooch itself would look for files in an error page

    number = archive.doi.rpartition("zenodo.")[2]
    # built here, and not by pooch from the DOI, which would need doi.org to be up as well
    record = ZenodoRepository(
        archive.doi,
        f"https://zenodo.org/records/{number}",
        headers=HEADERS,
        timeout=access.timeout,
        hooks={"response": refuse},
    )
    record.base_api_url = access.api.rstrip("/")
    catalogue = pooch.create(path="", base_url=f"doi:{archive.doi}/", registry={})
    try:
        record.populate_registry(catalogue)
        sizes = {file.get("key"): file.get("size") for file in record.api_response["files"]}
        offered = catalogue.registry_files
        url = record.download_url(archive.name) if archive.name in offered else None
    except requests.RequestException:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{access.api}/{number} does not answer with a record that has files ({error!r}): the "
            "record may have been closed, or the address of the API is wrong"
        ) from error
    if url is None:
        raise InputError(
            f"The record {archive.doi} has no file {archive.name}, but {', '.join(offered)}; "
            "correct `archive` in the dataset's entry in the registry"
        )
    found = replace(archive, url=url, size=sizes.get(archive.name) or archive.size)
    if archive.checksum is None:
        found = replace(
            found,
            checksum=catalogue.registry[archive.name].lower(),
            checksum_from=f"record {archive.doi}",
        )
    return found


def _with_checksum_if_any(archive: Archive, access: Access) -> Archive:
    """Return `archive` with the record's checksum if it lacks one and the record answers at once.

    Asked once only, because whoever has the file already, or a mirror, may well be offline.
    """
    if archive.checksum is not None or archive.doi is None:
        return archive
    try:
        return _ask_record(archive, access)
    except requests.RequestException as error:
        logger.warning("No checksum of %s: %s", archive.name, describe_failure(error))
    except InputError as error:
        logger.warning("No checksum of %s: %s", archive.name, error)
    return archive


def _check_local(archive: Archive, local: Path, data_dir: Path) -> None:
    if archive.checksum is None:
        return
    algorithm = archive.checksum.partition(":")[0]
    found = f"{algorithm}:{pooch.file_hash(str(local), alg=algorithm)}"
    if found != archive.checksum:
        raise InputError(
            f"The file {local} ({local.stat().st_size:,} bytes, {found}) is not the published one; "
            f"its download may not have finished. Delete it. {archive.by_hand(data_dir)}"
        )


def _download(archive: Archive, *, storage: Path, access: Access) -> Path:
    free = shutil.disk_usage(storage).free
    if archive.size and not (storage / archive.name).exists() and free < archive.size:
        raise InputError(
            f"The disk has {free:,} bytes free and {archive.name} alone has {archive.size:,}; free "
            "about three times that, for the archive and for what is in it, or set data_dir to a "
            "folder on a larger disk, and run again"
        )

    def fetch() -> str:
        downloader = HTTPDownloader(
            progressbar=choose_progress(archive.name, bar=access.bar),
            chunk_size=CHUNK,
            headers=HEADERS,
            timeout=access.timeout,
        )
        return pooch.retrieve(
            archive.url,
            known_hash=archive.checksum,
            fname=archive.name,
            path=storage,
            downloader=downloader,
        )

    logger.info("Fetching %s from %s", archive.name, archive.url)
    return Path(attempt_repeatedly(fetch, what=f"Downloading {archive.url}", access=access))
