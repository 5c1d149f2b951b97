"""Unpacking of downloaded archives that trusts nothing in them.

Nothing leaves the destination, nothing but plain files and folders is made, nothing is made twice,
and what comes out is bounded in number and size while it is written, not after. Modes, owners and
times in the archive are ignored: files are created like any other file of the user.
"""

import gzip
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from medae.base.errors import InputError

CHUNK = 1 << 20
LARGEST_READ = 16 << 20  # bytes; files are copied in chunks, so only a header asks for more at once


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What an archive may grow to.

    `ratio` is unpacked bytes per archive byte; images hardly compress, so an honest archive stays
    below 20. It counts only above `ratio_floor` bytes, because tar headers of many small files
    compress well. The largest dataset known here has 12,000 files and 3 GB.
    """

    members: int = 500_000
    bytes: int = 64 << 30
    ratio: int = 200
    ratio_floor: int = 64 << 20

    def bytes_of(self, archive: Path) -> int:
        """Return the number of bytes that `archive` may unpack to."""
        by_ratio = max(self.ratio * archive.stat().st_size, self.ratio_floor)
        return min(self.bytes, by_ratio)


class _UnsafeError(Exception):
    """A property of the archive that no honest archive has."""


class _DamagedError(Exception):
    """The archive ends early or does not decode."""


# ValueError: names that are not in the encoding they claim
DAMAGE = (_DamagedError, tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, ValueError)


def unpack_archive(archive: Path, destination: Path, *, limits: Limits | None = None) -> None:
    """Unpack a .tar, .tar.gz, .tgz or .zip file into the new folder `destination`.

    On any failure the folder is removed again.

    Raises
    ------
    InputError
        For an archive that is damaged, of another kind, or unsafe: a name that is absolute, leaves
        the destination or is not printable; a link, device, pipe or sparse file; an encrypted file;
        two members of one name; more members or bytes than `limits` allow.
    OSError
        When the disk is full or cannot be written.
    """
    limits = limits or Limits()
    if not archive.name.endswith((".zip", ".tar.gz", ".tgz", ".tar")):
        raise InputError(
            f"The archive {archive} has an unknown ending; .tar, .tar.gz, .tgz and .zip can be "
            "unpacked."
        )
    unpack = _unpack_zip if archive.name.endswith(".zip") else _unpack_tar
    destination.mkdir(parents=True)
    try:
        with _removed_on_failure(destination):
            unpack(archive, destination, limits)
    except _UnsafeError as error:
        raise InputError(
            f"The archive {archive} was not unpacked because it is not safe: {error}. An archive "
            "of images has no need of this; report it to whoever offers the file."
        ) from error
    except DAMAGE as error:
        raise InputError(
            f"The archive {archive} is damaged or not an archive ({error}). Nothing was unpacked; "
            "the file has to be downloaded again."
        ) from error


@contextmanager
def _removed_on_failure(folder: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _place(name: str, destination: Path) -> Path:
    """Return where a member goes; _UnsafeError unless that is below `destination`."""
    path = PurePosixPath(name)
    if not name.isprintable():
        raise _UnsafeError(f"the name {name!a} has characters that cannot be printed")
    if "\\" in name:
        raise _UnsafeError(f"the name {name!a} has a backslash")
    if path.is_absolute() or name[1:2] == ":":
        raise _UnsafeError(f"the name {name!a} is absolute")
    if ".." in path.parts:
        raise _UnsafeError(f"the name {name!a} leads out of the folder")
    return destination / path


def _make_folder(target: Path, name: str) -> None:
    try:
        target.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise _UnsafeError(f"the folder of {name!a} is also a file") from error


def _write_file(source: BinaryIO, target: Path, name: str, size: int) -> None:
    """Copy `source` into the new file `target`, which must come to exactly `size` bytes."""
    _make_folder(target.parent, name)
    try:
        with target.open("xb") as sink:
            shutil.copyfileobj(source, sink, CHUNK)
            written = sink.tell()
    except FileExistsError as error:
        # also two names that differ in case only, on a file system that does not tell them apart
        raise _UnsafeError(f"there are two members {name!a}") from error
    if written != size:
        raise _DamagedError(f"{name!a} has {written} bytes instead of {size}")


class _Bounded:
    """A forward-only reader that counts what it decompresses and stops at a limit.

    Every byte that tarfile sees passes here, headers too: an archive that hides its weight in an
    extended header never reaches memory.
    """

    def __init__(self, stream: BinaryIO, limit: int) -> None:
        self.stream = stream
        self.limit = limit
        self.position = 0
        self.last = b""

    def read(self, size: int) -> bytes:
        if size > LARGEST_READ:
            raise _UnsafeError(f"it has a header of {size:,} bytes")
        self.last = self.stream.read(size)
        self.position += len(self.last)
        if self.position > self.limit:
            raise _UnsafeError(f"it unpacks to more than {self.limit:,} bytes")
        return self.last

    def seek(self, position: int) -> None:
        if position < self.position:
            raise _DamagedError("its parts overlap")
        while self.position < position and self.read(min(CHUNK, position - self.position)):
            pass

    def tell(self) -> int:
        return self.position


def _tar_members(tar: tarfile.TarFile, reader: _Bounded) -> Iterator[tarfile.TarInfo]:
    yield from tar
    # tarfile takes a damaged header in the middle for the end; the real end is a block of zeros
    if reader.last != bytes(tarfile.BLOCKSIZE):
        raise _DamagedError("it has no end mark")
    while reader.read(CHUNK):  # the rest of a gzip file, whose last bytes are its checksum
        pass


def _unpack_tar(archive: Path, destination: Path, limits: Limits) -> None:
    opener = open if archive.name.endswith(".tar") else gzip.open
    with opener(archive, "rb") as stream:
        reader = _Bounded(stream, limits.bytes_of(archive))
        try:
            with tarfile.open(fileobj=reader, mode="r:") as tar:
                for count, member in enumerate(_tar_members(tar, reader), start=1):
                    if count > limits.members:
                        raise _UnsafeError(f"it has more than {limits.members:,} members")
                    _unpack_tar_member(tar, member, destination, limits)
        except gzip.BadGzipFile as error:  # an OSError, which would pass for a disk problem
            raise _DamagedError(str(error)) from error


def _unpack_tar_member(
    tar: tarfile.TarFile, member: tarfile.TarInfo, destination: Path, limits: Limits
) -> None:
    target = _place(member.name, destination)
    try:
        tarfile.data_filter(member, str(destination))  # Python's own judgement, as a second opinion
    except tarfile.FilterError as error:
        raise _UnsafeError(str(error)) from error
    if member.isdir():
        _make_folder(target, member.name)
        return
    if not member.isreg() or member.issparse():
        kind = "link" if member.issym() or member.islnk() else "special file"
        raise _UnsafeError(f"{member.name!a} is a {kind}")
    if member.size > limits.bytes:
        raise _UnsafeError(f"{member.name!a} claims {member.size:,} bytes")
    with tar.extractfile(member) as source:
        _write_file(source, target, member.name, member.size)


def _unpack_zip(archive: Path, destination: Path, limits: Limits) -> None:
    with zipfile.ZipFile(archive) as opened:
        members = opened.infolist()
        if len(members) > limits.members:
            raise _UnsafeError(f"it has more than {limits.members:,} members")
        # zipfile reads no more of a member than the size stated here, so stated sizes are a bound
        limit = limits.bytes_of(archive)
        if sum(member.file_size for member in members) > limit:
            raise _UnsafeError(f"it unpacks to more than {limit:,} bytes")
        for member in members:
            target = _place(member.filename, destination)
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                what = "link" if kind == stat.S_IFLNK else "special file"
                raise _UnsafeError(f"{member.filename!a} is a {what}")
            if member.flag_bits & 1:
                raise _UnsafeError(f"{member.filename!a} is encrypted")
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise _DamagedError(f"{member.filename!a} is compressed in an unusual way")
            if member.is_dir():
                _make_folder(target, member.filename)
                continue
            with opened.open(member) as source:
                _write_file(source, target, member.filename, member.file_size)
