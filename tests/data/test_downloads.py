"""Downloads against a server on this machine that plays the record and fails in every way."""

import hashlib
import io
import json
import logging
import os
import resource
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from download_dataset import download_dataset

from medae.data.downloads import wanted_archives
from medae.base.errors import InputError
from medae.data.installing import SOURCE
from medae.data.transfers import Access, LogProgress

SCRIPT = Path(__file__).parents[2] / "scripts" / "download_dataset.py"
DOI = "10.5281/zenodo.12677223"
NOISE = hashlib.shake_256(b"pixels").digest(300_000)  # does not compress, like an image
IMAGES = {
    "RSNA/data.json": b'{"train": {"0": ["a.png"]}}',
    "RSNA/images/a.png": NOISE[:100_000],
    "RSNA/images/b.png": NOISE[100_000:],
}


def packed(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        for name, content in files.items():
            opened.writestr(name, content)
    return buffer.getvalue()


GOOD = packed(IMAGES)


class Server(ThreadingHTTPServer):
    """A server of `files` by path; `faults[path]` lists what the next requests get instead.

    A fault is an HTTP state, "cut" (half of the file, then the connection closes), "stall" (half
    of the file, then nothing), "mute" (no answer) or "damage" (one wrong byte).
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, list] = {}
        self.asked: list[str] = []
        self.closing = threading.Event()

    def offer(self, archive: bytes, name: str = "RSNA.tar.gz", **replaced: object) -> None:
        """Put an archive and a record that lists it on the server."""
        self.files[f"/files/{name}"] = archive
        record = {
            "key": name,
            "size": len(archive),
            "checksum": f"md5:{hashlib.md5(archive).hexdigest()}",
            "links": {"self": f"{self.url}/files/{name}"},
        }
        self.files["/api/12677223"] = json.dumps({"files": [record | replaced]}).encode()

    def handle_error(self, *_args: object) -> None:
        """Keep silent about clients that were killed."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_args: object) -> None:
        pass

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        faults = self.server.faults.get(self.path, [])
        fault = faults.pop(0) if faults else None
        content = self.server.files.get(self.path)
        if fault == "mute":
            self.server.closing.wait(20)
        elif isinstance(fault, int) or content is None:
            self.send_response(fault or 404)
            self.send_header("Retry-After", "0")
            self.end_headers()
            self.wfile.write(b'{"status": "error"}')
        else:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            part = len(content) // 2 if fault in ("cut", "stall") else len(content)
            if fault == "damage":
                content = content[:100] + bytes([content[100] ^ 1]) + content[101:]
            self.wfile.write(content[:part])
            self.wfile.flush()
            if fault == "stall":
                self.server.closing.wait(20)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.closing.set()
    server.shutdown()
    server.server_close()
    thread.join(timeout=5)


class Case:
    """One dataset, one data folder, one server."""

    def __init__(self, server: Server, data_dir: Path) -> None:
        self.server = server
        self.data_dir = data_dir
        self.marker = data_dir / "RSNA.verified.json"
        self.entry = {
            "name": "RSNA",
            "folder": "RSNA",
            "doi": DOI,
            "archive": "RSNA.tar.gz",
            "license": "CC BY 4.0",
            "citation": "Cai et al. 2024 “BMAD”",
            "url": "https://example.org/rsna",
        }
        self.access = {"api": f"{server.url}/api", "retries": 2, "wait": 0.001, "timeout": 5.0}

    def run(self, **access: object) -> dict:
        download_dataset(
            entry=self.entry,
            key="rsna",
            data_dir=self.data_dir,
            marker=self.marker,
            access=Access(**(self.access | access)),
        )
        return json.loads(self.marker.read_text(encoding="utf-8"))

    def fails(self, match: str, *, by_hand: bool = True, **access: object) -> str:
        """Assert one paragraph of help and no data, and return the paragraph."""
        with pytest.raises(InputError, match=match) as caught:
            self.run(**access)
        message = str(caught.value)
        assert "\n" not in message
        assert str(self.data_dir) in message
        if by_hand:
            assert "in a browser" in message
            assert self.entry.get("archive", "ISIC") in message
            assert "same snakemake command again" in message
        self.assert_no_data()
        assert not (self.data_dir / ".rsna.partial/tree").exists()
        return message

    def assert_no_data(self) -> None:
        assert not (self.data_dir / "RSNA").exists()
        assert not list(self.data_dir.glob("RSNA.*json"))

    def assert_data(self) -> None:
        for name, content in IMAGES.items():
            assert (self.data_dir / name).read_bytes() == content
        assert self.marker.exists()
        assert not (self.data_dir / ".rsna.partial").exists()


@pytest.fixture
def case(server: Server, tmp_path: Path) -> Case:
    server.offer(GOOD)
    return Case(server, tmp_path / "data")


# ---------------------------------------------------------------------------------- what goes well


def test_a_good_download(case: Case) -> None:
    marker = case.run()
    case.assert_data()
    assert marker == {
        "dataset": "rsna",
        "folder": "RSNA",
        "archives": [
            {
                "archive": "RSNA.tar.gz",
                "size": len(GOOD),
                "checksum": f"md5:{hashlib.md5(GOOD).hexdigest()}",
                "checksum_from": f"record {DOI}",
                "source": f"{case.server.url}/files/RSNA.tar.gz",
            }
        ],
        "files": 3,
        "bytes": sum(map(len, IMAGES.values())),
    }
    licence = (case.data_dir / "RSNA.LICENSE_AND_CITATION.txt").read_text(encoding="utf-8")
    for part in ("CC BY 4.0", "“BMAD”", DOI, "https://example.org/rsna"):
        assert part in licence
    assert sorted(path.name for path in case.data_dir.iterdir()) == [
        "RSNA",
        "RSNA.LICENSE_AND_CITATION.txt",
        "RSNA.verified.json",
    ]


def test_a_second_run_downloads_nothing_and_writes_the_same_marker(case: Case) -> None:
    case.run()
    first = case.marker.read_bytes()
    case.marker.unlink()  # as Snakemake does before it runs a rule again
    case.server.asked.clear()
    case.run()
    assert case.marker.read_bytes() == first
    assert case.server.asked == []


def test_several_zip_files_become_one_folder(case: Case) -> None:
    parts = {
        "ISIC_Input": zipped({"ISIC_Input/a.jpg": b"a", "ISIC_Input/LICENSE.txt": b"l"}),
        "ISIC_Truth": zipped({"ISIC_Truth/t.csv": b"t", "ISIC_Truth/LICENSE.txt": b"l"}),
    }
    for name, content in parts.items():
        case.server.files[f"/isic/{name}.zip"] = content
    first, second = (f"{case.server.url}/isic/{name}.zip" for name in parts)
    digest = hashlib.sha256(parts["ISIC_Input"]).hexdigest()
    case.entry = {"folder": "ISIC", "urls": [{"url": first, "sha256": digest}, second]}
    marker = case.run()
    assert (case.data_dir / "ISIC/ISIC_Input/a.jpg").read_bytes() == b"a"
    assert (case.data_dir / "ISIC/ISIC_Truth/t.csv").read_bytes() == b"t"
    assert [part["checksum"] for part in marker["archives"]] == [
        f"sha256:{hashlib.sha256(content).hexdigest()}" for content in parts.values()
    ]
    assert [part["checksum_from"] for part in marker["archives"]] == ["registry", None]


def test_the_stronger_checksum_is_used() -> None:
    entry = {"folder": "R", "doi": DOI, "archive": "R.tar.gz", "md5": "AB", "sha256": "CD"}
    assert wanted_archives(entry)[0].checksum == "sha256:cd"


def test_a_mirror_is_used_with_the_checksum_of_the_record(case: Case) -> None:
    case.server.files["/mirror/RSNA.tar.gz"] = case.server.files.pop("/files/RSNA.tar.gz")
    marker = case.run(mirror=f"{case.server.url}/mirror/")
    case.assert_data()
    assert marker["archives"][0]["source"] == f"{case.server.url}/mirror/RSNA.tar.gz"
    assert marker["archives"][0]["checksum_from"] == f"record {DOI}"


def test_a_mirror_with_a_pinned_checksum_needs_no_record(case: Case) -> None:
    case.server.files["/mirror/RSNA.tar.gz"] = GOOD
    case.entry["sha256"] = hashlib.sha256(GOOD).hexdigest()
    case.run(mirror=f"{case.server.url}/mirror")
    case.assert_data()
    assert case.server.asked == ["/mirror/RSNA.tar.gz"]


@pytest.mark.parametrize("pinned", [True, False])
def test_an_archive_in_the_data_folder_is_taken_and_kept(case: Case, pinned: bool) -> None:
    case.data_dir.mkdir()
    (case.data_dir / "RSNA.tar.gz").write_bytes(GOOD)
    if pinned:
        case.entry["md5"] = hashlib.md5(GOOD).hexdigest()
    marker = case.run()
    case.assert_data()
    assert (case.data_dir / "RSNA.tar.gz").read_bytes() == GOOD
    assert case.server.asked == ([] if pinned else ["/api/12677223"])
    assert marker["archives"][0]["source"] == "file in data_dir"


def test_an_archive_in_the_data_folder_is_taken_unchecked_when_offline(
    case: Case, caplog: pytest.LogCaptureFixture
) -> None:
    case.data_dir.mkdir()
    (case.data_dir / "RSNA.tar.gz").write_bytes(GOOD)
    marker = case.run(api="http://127.0.0.1:9/api")
    case.assert_data()
    assert marker["archives"][0]["checksum"] == f"sha256:{hashlib.sha256(GOOD).hexdigest()}"
    assert marker["archives"][0]["checksum_from"] is None
    assert "was not checked" in caplog.text


def test_an_unpacked_folder_is_taken_without_the_network(case: Case) -> None:
    (case.data_dir / "RSNA").mkdir(parents=True)
    (case.data_dir / "RSNA/a.png").write_bytes(b"abc")
    marker = case.run()
    assert marker == {"dataset": "rsna", "folder": "RSNA", "archives": [], "files": 1, "bytes": 3}
    assert (case.data_dir / "RSNA.LICENSE_AND_CITATION.txt").exists()
    assert case.server.asked == []


def test_a_linked_folder_is_taken(case: Case, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/a.png").write_bytes(b"abc")
    case.data_dir.mkdir()
    (case.data_dir / "RSNA").symlink_to(tmp_path / "elsewhere")
    assert case.run()["files"] == 1


def test_an_empty_folder_is_filled(case: Case) -> None:
    (case.data_dir / "RSNA").mkdir(parents=True)
    case.run()
    case.assert_data()


def test_progress_is_lines_in_a_log_and_a_bar_on_a_terminal(
    case: Case, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    progress = LogProgress("x.zip")
    progress.total = 50_000_000
    for _ in range(50):
        progress.update(1_000_000)
    progress.reset()  # pooch counts once more at the end
    progress.update(50_000_000)
    assert len(caplog.messages) == 10
    assert caplog.messages[0] == "x.zip: 5.0 of 50.0 MB"
    assert caplog.messages[-1] == "x.zip: 50.0 of 50.0 MB"
    case.run(bar=True)
    assert "100%" in capsys.readouterr().err
    shutil.rmtree(case.data_dir / "RSNA")
    caplog.clear()
    case.run(bar=False)
    assert "100%" not in capsys.readouterr().err
    assert "RSNA.tar.gz: 0.3 of 0.3 MB" in caplog.messages


# ------------------------------------------------------------------------------- what heals itself


@pytest.mark.parametrize(
    ("path", "fault"),
    [
        *(("/api/12677223", fault) for fault in (500, 503, 429, "cut")),
        *(("/files/RSNA.tar.gz", fault) for fault in (500, 503, 429, "cut", "damage")),
    ],
)
def test_a_fault_that_passes(case: Case, path: str, fault: int | str) -> None:
    case.server.faults[path] = [fault]
    case.run()
    case.assert_data()
    assert case.server.asked.count(path) == 2


def test_waits_double(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("medae.data.transfers.time.sleep", waits.append)
    case.server.faults["/files/RSNA.tar.gz"] = [500, "cut", 503]
    case.run(retries=3, wait=2.0)
    assert waits == [2.0, 4.0, 8.0]


# --------------------------------------------------------------------------- what ends in a message


def test_a_wrong_checksum(case: Case) -> None:
    case.server.offer(GOOD, checksum=f"md5:{'0' * 32}")
    message = case.fails("does not match")
    assert f"md5:{'0' * 32}" in message
    assert case.server.asked.count("/files/RSNA.tar.gz") == 2  # once more, not for ever
    assert not (case.data_dir / ".rsna.partial").exists()


def test_a_pinned_checksum_overrules_the_record(case: Case) -> None:
    case.entry["sha256"] = "1" * 64
    case.fails(f"sha256:{'1' * 64}")


def test_a_connection_cut_every_time(case: Case) -> None:
    case.server.faults["/files/RSNA.tar.gz"] = ["cut"] * 9
    message = case.fails("broke off")
    assert "attempt 3 of 3" in message
    assert f"{len(GOOD):,} bytes" in message
    assert hashlib.md5(GOOD).hexdigest() in message
    assert f"https://doi.org/{DOI}" in message
    assert not (case.data_dir / ".rsna.partial").exists()


@pytest.mark.parametrize("path", ["/api/12677223", "/files/RSNA.tar.gz"])
def test_a_missing_file_is_asked_for_once(case: Case, path: str) -> None:
    case.server.files.pop(path)
    case.fails("404 Not Found")
    assert case.server.asked.count(path) == 1


@pytest.mark.parametrize("path", ["/api/12677223", "/files/RSNA.tar.gz"])
def test_a_server_that_stays_broken(case: Case, path: str) -> None:
    case.server.faults[path] = [500] * 9
    case.fails("500 Internal Server Error")
    assert case.server.asked.count(path) == 3


@pytest.mark.parametrize("mirror", [None, "http://127.0.0.1:9/mirror"])
def test_a_server_out_of_reach(case: Case, mirror: str | None) -> None:
    """Port 9 is closed; the record is out of reach too, so only the pinned checksum is known."""
    case.entry["md5"] = hashlib.md5(GOOD).hexdigest()
    message = case.fails("cannot be reached", api="http://127.0.0.1:9/api", mirror=mirror)
    assert case.entry["md5"] in message


@pytest.mark.parametrize("fault", ["mute", "stall"])
def test_a_server_that_says_nothing(case: Case, fault: str) -> None:
    case.server.faults["/files/RSNA.tar.gz"] = [fault] * 9
    expected = {"mute": "no answer in time", "stall": "broke off .*timed out"}
    case.fails(expected[fault], timeout=0.1)


@pytest.mark.parametrize(
    "answer",
    [b"<html>maintenance</html>", b"[]", b'{"files": null}', b'{"files": [{}]}', b'{"message": 1}'],
)
def test_a_record_that_is_none(case: Case, answer: bytes) -> None:
    case.server.files["/api/12677223"] = answer
    case.fails("record")


def test_a_record_without_the_file(case: Case) -> None:
    case.entry["archive"] = "Other.tar.gz"
    assert "RSNA.tar.gz" in case.fails("has no file")


@pytest.mark.parametrize("mirror", ["/data/mirror", "data.example", "s3://bucket/x"])
def test_a_mirror_that_is_no_address(case: Case, mirror: str) -> None:
    assert "begins with https://" in case.fails(mirror, mirror=mirror)


def test_a_mirror_without_any_checksum_is_refused(case: Case) -> None:
    case.server.files.pop("/api/12677223")
    case.server.files["/mirror/RSNA.tar.gz"] = GOOD
    assert "sha256" in case.fails("no checksum", mirror=f"{case.server.url}/mirror")
    assert case.server.asked == ["/api/12677223"]


def test_a_broken_archive_in_the_data_folder_is_left_there(case: Case) -> None:
    case.data_dir.mkdir()
    (case.data_dir / "RSNA.tar.gz").write_bytes(GOOD[:-9])
    message = case.fails("not the published one")
    assert f"{len(GOOD) - 9:,} bytes" in message
    assert (case.data_dir / "RSNA.tar.gz").exists()


def test_a_hostile_archive(case: Case) -> None:
    case.server.offer(packed(IMAGES | {"../../evil": b"evil"}))
    case.fails("not safe")
    assert not list(case.data_dir.parent.rglob("evil"))
    assert not (case.data_dir / ".rsna.partial").exists()


def test_a_hostile_archive_of_the_user_is_left_there(case: Case) -> None:
    case.data_dir.mkdir()
    archive = packed(IMAGES | {"../../evil": b"evil"})
    case.server.offer(archive)
    (case.data_dir / "RSNA.tar.gz").write_bytes(archive)
    case.fails("not safe")
    assert (case.data_dir / "RSNA.tar.gz").read_bytes() == archive


def test_a_damaged_archive_of_which_no_checksum_is_known(case: Case) -> None:
    case.server.files["/isic/ISIC.zip"] = zipped({"ISIC/a.jpg": NOISE})[:-9]
    case.entry = {"folder": "ISIC", "urls": [f"{case.server.url}/isic/ISIC.zip"]}
    case.fails("damaged")
    case.server.files["/isic/ISIC.zip"] = zipped({"ISIC/a.jpg": NOISE})
    assert case.run()["files"] == 1


@pytest.mark.parametrize(
    "files", [{}, {"Other/a.png": b"a"}, {"data.json": b"{}", "images/a.png": b"a"}, {"RSNA": b"a"}]
)
def test_an_archive_without_the_folder(case: Case, files: dict[str, bytes]) -> None:
    case.server.offer(packed(files))
    message = case.fails("no folder RSNA")
    assert f"lie in {case.data_dir / 'RSNA'}" in message
    assert all(name.partition("/")[0] in message for name in files)


def test_a_dataset_without_a_download(case: Case) -> None:
    case.entry = {"folder": "RSNA"}
    assert "Put the images there" in case.fails("no download in the registry", by_hand=False)
    case.entry |= {"how_to_get": "Ask the authors.\n", "url": "https://example.org/x"}
    case.fails(r"RSNA is missing or empty. Ask the authors. .*example.org/x", by_hand=False)


def test_a_file_or_a_dead_link_in_the_way(case: Case) -> None:
    case.data_dir.mkdir()
    (case.data_dir / "RSNA").write_bytes(b"")
    with pytest.raises(InputError, match="in the way"):
        case.run()
    (case.data_dir / "RSNA").unlink()
    (case.data_dir / "RSNA").symlink_to("nowhere")
    with pytest.raises(InputError, match="in the way"):
        case.run()
    assert case.server.asked == []


def test_a_data_folder_that_is_a_file(case: Case) -> None:
    case.data_dir.write_bytes(b"")
    with pytest.raises(InputError, match=r"File exists|Not a directory"):
        case.run()


def test_a_folder_that_has_lost_files(case: Case) -> None:
    case.run()
    (case.data_dir / "RSNA/images/b.png").unlink()
    with pytest.raises(InputError, match=r"3 files .* 2 of .* Delete the folder"):
        case.run()


def test_a_folder_of_another_version(case: Case) -> None:
    case.run()
    case.entry["sha256"] = "2" * 64  # cannot be compared with the md5 of the record
    case.run()
    case.entry |= {"sha256": None, "md5": "3" * 32}
    with pytest.raises(InputError, match=f"md5:{'3' * 32}. Delete the folder"):
        case.run()
    case.entry["md5"] = hashlib.md5(GOOD).hexdigest()
    case.run()


def test_a_source_note_that_is_damaged(case: Case) -> None:
    case.run()
    (case.data_dir / "RSNA" / SOURCE).write_bytes(b"{")
    with pytest.raises(InputError, match="cannot be read"):
        case.run()


# ------------------------------------------------------------------------------------- a full disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=10)
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"a file system of a given size can be mounted by root only: {error}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True, timeout=10)


def test_a_disk_that_is_known_to_be_too_small(case: Case, small_disk: Path) -> None:
    case.data_dir = small_disk
    case.marker = small_disk / "RSNA.verified.json"
    case.server.offer(GOOD, size=2_000_000)
    case.fails("bytes free")
    assert case.server.asked == ["/api/12677223"]


def test_a_disk_that_fills_during_the_download(case: Case, small_disk: Path) -> None:
    case.data_dir = small_disk
    case.marker = small_disk / "RSNA.verified.json"
    (small_disk / "ballast").write_bytes(bytes(900_000))
    case.server.offer(GOOD, size=None)
    case.fails("no room left", by_hand=False)
    (small_disk / "ballast").unlink()
    case.run()
    case.assert_data()


def test_a_disk_that_fills_during_unpacking(case: Case, small_disk: Path) -> None:
    """The archive is whole and checked by then; it isn't downloaded a second time."""
    case.data_dir = small_disk
    case.marker = small_disk / "RSNA.verified.json"
    (small_disk / "ballast").write_bytes(bytes(600_000))
    case.fails("no room left", by_hand=False)
    (small_disk / "ballast").unlink()
    case.server.files.pop("/files/RSNA.tar.gz")
    case.run()
    case.assert_data()


def test_a_limit_on_the_size_of_files(case: Case) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        case.fails("ulimit", by_hand=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    case.run()
    case.assert_data()


def test_a_data_folder_that_cannot_be_written(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_kwargs: object) -> None:
        raise PermissionError(13, "Permission denied", str(case.data_dir))

    monkeypatch.setattr("medae.data.installing.Path.mkdir", refuse)
    case.fails("Permission denied", by_hand=False)


# ------------------------------------------------------------------------- runs that were cut short


CHILD = """
import json, os, sys, time
from pathlib import Path
from download_dataset import download_dataset
from medae.data import archives
from medae.data.transfers import Access

entry, data_dir, access, slow = json.loads(sys.argv[1])
write = archives._write_file
def stop_at_second(source, target, name, size):
    if target.name == "b.png":
        Path(data_dir, "unpacking").touch()
        time.sleep(60)
    write(source, target, name, size)
if slow:
    archives._write_file = stop_at_second
download_dataset(entry=entry, key="rsna", data_dir=Path(data_dir),
                 marker=Path(data_dir, "RSNA.verified.json"), access=Access(**access))
"""


def child(case: Case, *, slow: bool) -> subprocess.Popen:
    argument = json.dumps([case.entry, str(case.data_dir), case.access, slow])
    environment = os.environ | {"PYTHONPATH": str(SCRIPT.parent)}
    return subprocess.Popen([sys.executable, "-c", CHILD, argument], env=environment)


def kill_when(process: subprocess.Popen, sign: Path, pattern: str) -> None:
    """Send SIGKILL as soon as a file that matches is there."""
    deadline = time.monotonic() + 20
    try:
        while time.monotonic() < deadline and process.poll() is None:
            if any(path.is_file() for path in sign.glob(pattern)):
                break
            time.sleep(0.01)
        else:
            pytest.fail("the run did not come to the point where it was to be killed")
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=10)


def test_killed_in_the_middle_of_a_download(case: Case) -> None:
    case.server.faults["/files/RSNA.tar.gz"] = ["stall"]
    kill_when(child(case, slow=False), case.data_dir, ".rsna.partial/archives/tmp*")
    case.assert_no_data()
    assert not list(case.data_dir.glob("**/RSNA.tar.gz"))
    case.server.faults["/files/RSNA.tar.gz"] = [404]
    case.fails("404")
    assert not (case.data_dir / ".rsna.partial").exists()  # what was killed left nothing for good
    case.run()
    case.assert_data()


def test_killed_in_the_middle_of_unpacking(case: Case) -> None:
    kill_when(child(case, slow=True), case.data_dir, "unpacking")
    (case.data_dir / "unpacking").unlink()
    assert list(case.data_dir.glob(".rsna.partial/tree/**/a.png"))
    assert not (case.data_dir / "RSNA").exists()
    assert not case.marker.exists()
    case.server.files.pop("/files/RSNA.tar.gz")  # the checked archive is still there
    case.run()
    case.assert_data()


def test_a_second_run_at_the_same_time_is_refused(case: Case) -> None:
    process = child(case, slow=True)
    try:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and not (case.data_dir / "unpacking").exists():
            time.sleep(0.01)
        with pytest.raises(InputError, match="Another run"):
            case.run()
        assert list(case.data_dir.glob(".rsna.partial/tree/**/a.png"))  # and not disturbed
    finally:
        process.kill()
        process.wait(timeout=10)


def test_stopped_between_the_folder_and_the_marker(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(_entry: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("download_dataset.licence_text", stop)
        case.run()
    assert not case.marker.exists()
    case.server.asked.clear()
    marker = case.run()
    case.assert_data()
    assert case.server.asked == []
    assert marker["archives"][0]["checksum_from"] == f"record {DOI}"


# ------------------------------------------------------------------------------- as Snakemake does


AS_RULE = """
import json, runpy, sys
from types import SimpleNamespace

script, params, marker, log = json.loads(sys.argv[1])
params = SimpleNamespace(**params)
rule = SimpleNamespace(params=params, output=SimpleNamespace(marker=marker), log=[log])
runpy.run_path(script, init_globals={"snakemake": rule}, run_name="__main__")
"""


@pytest.mark.parametrize("good", [True, False])
def test_the_rule(case: Case, tmp_path: Path, good: bool) -> None:
    if not good:
        case.server.files.pop("/files/RSNA.tar.gz")
    params = {
        "entry": {"key": "rsna", **case.entry},
        "mirror": None,
        "retries": 0,
        "api": f"{case.server.url}/api",
    }
    log = tmp_path / "logs" / "rsna.log"
    argument = json.dumps([str(SCRIPT), params, str(case.marker), str(log)])
    environment = os.environ | {"PYTHONPATH": str(SCRIPT.parent)}
    ended = subprocess.run(
        [sys.executable, "-c", AS_RULE, argument],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == (0 if good else 1)
    assert ended.stderr == log.read_text(encoding="utf-8")
    assert "Traceback" not in ended.stderr
    if good:
        case.assert_data()
    else:
        case.assert_no_data()
        assert "in a browser" in ended.stderr
