"""What a user's folder of images holds, by content, told at every start of the workflow."""

import hashlib
import json
import logging
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from multiprocessing.pool import ThreadPool
from pathlib import Path

from medae.base.files import write_text
from medae.data.formats import is_volume
from medae.data.layouts import VolumeOptions, check_counts, read_layout

THREADS = 4
SETTLED = 2 * 10**9  # nanoseconds after which another change gives a file another time


def images_digest(
    root: Path,
    *,
    layout: str,
    masks: bool,
    expected: Mapping[str, int] | None,
    cache: Path,
    volumes: Mapping | None = None,
) -> str:
    """Return a digest of the names, labels and bytes of what is packed of the folder `root`.

    Neither times nor the folder's place are part of it, nor files that the layout doesn't list.
    Raises InputError as packing would for the folder's contents, and OSError for a file that can't
    be read.
    """
    logger = logging.getLogger("medae.data")
    level = logger.level
    logger.setLevel(logging.ERROR)  # packing warns of what it ignores, once
    try:
        records = read_layout(root, layout, VolumeOptions(**volumes or {}))
        if not any(is_volume(record.image) for record in records):  # whose slices aren't known yet
            check_counts(root, layout, records, expected)
    finally:
        logger.setLevel(level)
    # Without `masks` those of volumes still say which slices are abnormal.
    fields = [
        vars(one) | {"mask": one.mask if masks or is_volume(one.image) else None} for one in records
    ]
    paths = {value for one in fields for value in one.values() if isinstance(value, Path)}
    sums = file_sums(paths, cache)
    digest = hashlib.sha256()
    for one in fields:
        digest.update(repr([sums.get(value, value) for value in one.values()]).encode())
    return digest.hexdigest()


def file_sums(paths: Iterable[Path], cache: Path) -> dict[Path, str]:
    """Return the SHA-256 of each file; the file `cache` saves reading those that have not changed.

    A file counts as unchanged by its inode, its size and both of its times: unlike the time of its
    last edit, that of its inode's last change cannot be set, so that nothing passes for a file that
    it has replaced. Raises OSError for a file that can't be read.
    """
    try:
        known = json.loads(cache.read_bytes())
    except (OSError, ValueError):
        known = {}

    def look(path: Path) -> list:
        status = path.stat()
        state = [status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]
        before, found = known.get(str(path), (None, ""))
        if before != state:
            if time.time_ns() - status.st_ctime_ns < SETTLED:
                state = []
            with path.open("rb") as stream:
                found = hashlib.file_digest(stream, "sha256").hexdigest()
        return [state, found]

    names = sorted(paths)
    with ThreadPool(THREADS) as pool:
        looked = dict(zip(map(str, names), pool.map(look, names), strict=True))
    if looked != known:
        with suppress(OSError):  # it only saves time
            write_text(json.dumps(looked), cache)
    return {path: looked[str(path)][1] for path in names}
