"""Every kind of hostile or damaged archive ends in an InputError and leaves nothing behind."""

import gzip
import io
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from medae.data.archives import LARGEST_READ, Limits, unpack_archive
from medae.base.errors import InputError

GOOD = {"RSNA/data.json": b"{}", "RSNA/images/a.png": b"a" * 2000, "RSNA/images/b ü.png": b"b"}


def tar_member(name: str, **attributes: object) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    for attribute, value in attributes.items():
        setattr(member, attribute, value)
    return member


def write_tar(path: Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> Path:
    mode = "w" if path.suffix == ".tar" else "w:gz"
    with tarfile.open(path, mode) as tar:
        for member, content in members:
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def write_zip(path: Path, files: dict[str, bytes], modes: dict[str, int] | None = None) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = (modes or {}).get(name, stat.S_IFREG | 0o644) << 16
            opened.writestr(info, content)
    return path


def good_archive(path: Path) -> Path:
    if path.suffix == ".zip":
        return write_zip(path, GOOD)
    return write_tar(path, [(tar_member(name), content) for name, content in GOOD.items()])


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def refused(archive: Path, match: str, **limits: int) -> None:
    """Assert that nothing of the archive is kept, inside the destination or outside of it."""
    before = contents(archive.parent)
    with pytest.raises(InputError, match=match) as caught:
        unpack_archive(archive, archive.parent / "out", limits=Limits(**limits))
    assert str(archive) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (archive.parent / "out").exists()
    assert contents(archive.parent) == before


@pytest.mark.parametrize("name", ["good.tar.gz", "good.tgz", "good.tar", "good.zip"])
def test_a_good_archive_is_unpacked_whole(tmp_path: Path, name: str) -> None:
    unpack_archive(good_archive(tmp_path / name), tmp_path / "out")
    assert contents(tmp_path / "out") == GOOD


def test_folders_and_dots_in_names_are_plain(tmp_path: Path) -> None:
    folder = tar_member("./RSNA/empty", type=tarfile.DIRTYPE, mode=0o000)
    archive = write_tar(
        tmp_path / "a.tar.gz",
        [
            (tar_member("./", type=tarfile.DIRTYPE), b""),
            (folder, b""),
            (tar_member("./RSNA/a"), b"a"),
        ],
    )
    unpack_archive(archive, tmp_path / "out")
    assert contents(tmp_path / "out") == {"RSNA/a": b"a"}
    assert (tmp_path / "out/RSNA/empty").stat().st_mode & 0o700 == 0o700


@pytest.mark.parametrize("suffix", ["tar.gz", "zip"])
def test_set_id_and_executable_bits_are_dropped(tmp_path: Path, suffix: str) -> None:
    archive = tmp_path / f"a.{suffix}"
    if suffix == "zip":
        write_zip(archive, {"RSNA/a": b"a"}, {"RSNA/a": stat.S_IFREG | 0o6777})
    else:
        write_tar(archive, [(tar_member("RSNA/a", mode=0o6777), b"a")])
    unpack_archive(archive, tmp_path / "out")
    assert (tmp_path / "out/RSNA/a").stat().st_mode & 0o7111 == 0


BAD_NAMES = [
    ("../evil", "leads out"),
    ("RSNA/../../evil", "leads out"),
    ("RSNA/..", "leads out"),
    ("/evil", "absolute"),
    ("//evil", "absolute"),
    ("C:/evil", "absolute"),
    ("RSNA\\..\\evil", "backslash"),
    ("RSNA/a\nb", "cannot be printed"),
    ("RSNA/a\x1b[2J", "cannot be printed"),
]


@pytest.mark.parametrize("suffix", ["tar.gz", "zip"])
@pytest.mark.parametrize(("name", "match"), BAD_NAMES)
def test_a_name_that_leaves_the_folder(tmp_path: Path, name: str, match: str, suffix: str) -> None:
    archive = tmp_path / f"a.{suffix}"
    if suffix == "zip":
        write_zip(archive, {"RSNA/first": b"1", name: b"evil"})
    else:
        write_tar(archive, [(tar_member("RSNA/first"), b"1"), (tar_member(name), b"evil")])
    refused(archive, match)


SPECIAL = {
    "symlink inside": {"type": tarfile.SYMTYPE, "linkname": "first"},
    "symlink outside": {"type": tarfile.SYMTYPE, "linkname": "../../outside"},
    "symlink absolute": {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"},
    "hard link inside": {"type": tarfile.LNKTYPE, "linkname": "RSNA/first"},
    "hard link outside": {"type": tarfile.LNKTYPE, "linkname": "../outside"},
    "block device": {"type": tarfile.BLKTYPE},
    "character device": {"type": tarfile.CHRTYPE},
    "pipe": {"type": tarfile.FIFOTYPE},
    "sparse file": {"type": tarfile.GNUTYPE_SPARSE},
}


@pytest.mark.parametrize("kind", list(SPECIAL))
def test_a_tar_member_that_is_neither_file_nor_folder(tmp_path: Path, kind: str) -> None:
    member = tar_member("RSNA/x", **SPECIAL[kind])
    archive = write_tar(tmp_path / "a.tar.gz", [(tar_member("RSNA/first"), b"1"), (member, b"")])
    refused(archive, "link|special|Link")


def test_a_file_written_through_a_link(tmp_path: Path) -> None:
    """The classic: a link to the outside, then a file below it."""
    link = tar_member("RSNA/images", type=tarfile.SYMTYPE, linkname=str(tmp_path))
    refused(
        write_tar(tmp_path / "a.tar.gz", [(link, b""), (tar_member("RSNA/images/evil"), b"1")]),
        "link",
    )


@pytest.mark.parametrize("mode", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFBLK, stat.S_IFCHR])
def test_a_zip_member_that_is_neither_file_nor_folder(tmp_path: Path, mode: int) -> None:
    refused(
        write_zip(tmp_path / "a.zip", {"RSNA/x": b"/etc/passwd"}, {"RSNA/x": mode | 0o777}),
        "link|special",
    )


def test_an_encrypted_zip(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", {"RSNA/a": b"a"})
    raw = bytearray(archive.read_bytes())
    raw[raw.index(b"PK\x01\x02") + 8] |= 1  # the encryption flag in the central directory
    archive.write_bytes(bytes(raw))
    refused(archive, "encrypted")


@pytest.mark.parametrize(
    "names", [("a", "a"), ("a", "./a"), ("d/a", "d//a"), ("a", "a/b"), ("a/b", "a"), ("a", "a/b/c")]
)
@pytest.mark.parametrize("suffix", ["tar.gz", "zip"])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_in_one_place(tmp_path: Path, names: tuple[str, str], suffix: str) -> None:
    archive = tmp_path / f"a.{suffix}"
    if suffix == "zip":
        with zipfile.ZipFile(archive, "w") as opened:
            for name in names:
                opened.writestr(name, name)
    else:
        write_tar(archive, [(tar_member(name), name.encode()) for name in names])
    refused(archive, "two members|also a file")


BOMB = bytes(3 << 20)


@pytest.mark.parametrize("suffix", ["tar.gz", "zip", "tar"])
@pytest.mark.parametrize(
    ("limits", "applies_to"),
    [
        ({"bytes": 2 << 20}, ("tar.gz", "zip", "tar")),
        ({"ratio": 100, "ratio_floor": 1 << 20}, ("tar.gz", "zip")),
    ],
)
def test_a_bomb(tmp_path: Path, suffix: str, limits: dict, applies_to: tuple) -> None:
    archive = tmp_path / f"a.{suffix}"
    if suffix == "zip":
        write_zip(archive, {"RSNA/a": BOMB})
    else:
        write_tar(archive, [(tar_member("RSNA/a"), BOMB)])
    if suffix in applies_to:
        refused(archive, "unpacks to more|claims", **limits)
    else:
        unpack_archive(archive, tmp_path / "out", limits=Limits(**limits))


def test_a_bomb_of_many_small_files(tmp_path: Path) -> None:
    parts = [(tar_member(f"RSNA/{i}"), bytes(1 << 20)) for i in range(3)]
    refused(write_tar(tmp_path / "a.tar.gz", parts), "unpacks to more", bytes=2 << 20)


def test_a_bomb_behind_the_end_mark(tmp_path: Path) -> None:
    archive = good_archive(tmp_path / "a.tar.gz")
    archive.write_bytes(gzip.compress(gzip.decompress(archive.read_bytes()) + BOMB))
    refused(archive, "unpacks to more", bytes=2 << 20)


def test_a_huge_header_is_not_read_into_memory(tmp_path: Path) -> None:
    header = tar_member("x", type=tarfile.XHDTYPE)
    header.size = LARGEST_READ + 512
    archive = tmp_path / "a.tar.gz"
    with gzip.open(archive, "wb", compresslevel=1) as stream:
        stream.write(header.tobuf())
        stream.write(bytes(LARGEST_READ + 512))
    refused(archive, "it has a header of")


def test_a_claimed_size_is_refused_before_it_is_written(tmp_path: Path) -> None:
    header = tar_member("RSNA/a")
    header.size = 1 << 50
    archive = tmp_path / "a.tar.gz"
    archive.write_bytes(gzip.compress(header.tobuf(tarfile.GNU_FORMAT)))
    refused(archive, "claims")


@pytest.mark.parametrize("suffix", ["tar.gz", "zip"])
def test_too_many_members(tmp_path: Path, suffix: str) -> None:
    archive = tmp_path / f"a.{suffix}"
    if suffix == "zip":
        write_zip(archive, {f"RSNA/{i}": b"" for i in range(11)})
    else:
        write_tar(archive, [(tar_member(f"RSNA/{i}"), b"") for i in range(11)])
    refused(archive, "more than 10 members", members=10)
    unpack_archive(archive, tmp_path / "out", limits=Limits(members=11))
    assert len(contents(tmp_path / "out")) == 11


@pytest.mark.parametrize("name", ["a.tar.gz", "a.tar", "a.zip"])
@pytest.mark.parametrize("keep", [0, 0.3, 0.6, 0.9])
def test_a_truncated_archive(tmp_path: Path, name: str, keep: float) -> None:
    archive = tmp_path / name
    content = bytes(range(256)) * 64
    if name.endswith(".zip"):
        write_zip(archive, {f"RSNA/{i}": content for i in range(8)})
    else:
        write_tar(archive, [(tar_member(f"RSNA/{i}"), content) for i in range(8)])
    whole = archive.read_bytes()
    archive.write_bytes(whole[: int(len(whole) * keep)])
    refused(archive, "damaged")


def test_a_tar_cut_between_two_members(tmp_path: Path) -> None:
    """Python's tarfile takes this for the end of the archive."""
    archive = good_archive(tmp_path / "a.tar")
    archive.write_bytes(archive.read_bytes()[:1024])
    refused(archive, "end mark")


def test_a_damaged_header_in_the_middle(tmp_path: Path) -> None:
    """Python's tarfile takes this, too, for the end of the archive."""
    archive = good_archive(tmp_path / "a.tar")
    raw = bytearray(archive.read_bytes())
    raw[1024:1100] = b"x" * 76
    archive.write_bytes(bytes(raw))
    refused(archive, "end mark")


@pytest.mark.parametrize("name", ["a.tar.gz", "a.zip"])
def test_a_flipped_bit(tmp_path: Path, name: str) -> None:
    """Found by the checksum of the format; in gzip it lies behind the last file."""
    archive = good_archive(tmp_path / name)
    raw = bytearray(archive.read_bytes())
    raw[-8 if name == "a.tar.gz" else raw.index(b"PK\x01\x02") + 16] ^= 1
    archive.write_bytes(bytes(raw))
    refused(archive, "damaged")


@pytest.mark.parametrize("name", ["a.tar.gz", "a.tar", "a.zip"])
def test_a_page_instead_of_an_archive(tmp_path: Path, name: str) -> None:
    archive = tmp_path / name
    archive.write_bytes(b"<html>please log in</html>" * 100)
    refused(archive, "damaged or not an archive")


def test_an_unknown_ending(tmp_path: Path) -> None:
    archive = tmp_path / "a.rar"
    archive.write_bytes(b"Rar!")
    refused(archive, "unknown ending")


def test_a_failing_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = good_archive(tmp_path / "a.tar.gz")
    monkeypatch.setattr("medae.data.archives.shutil.copyfileobj", failing(OSError(28, "no space")))
    with pytest.raises(OSError, match="no space"):
        unpack_archive(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def failing(error: Exception) -> Callable[..., None]:
    def fail(*_args: object) -> None:
        raise error

    return fail
