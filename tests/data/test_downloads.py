"""Downloads from a server on this machine that plays the record and fails in every way."""

import contextlib
import gzip
import hashlib
import io
import json
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
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import download_dataset as script
import pytest
from download_dataset import download_dataset

from medae.base.errors import InputError
from medae.data import downloads
from medae.data.downloads import SOURCE, Access

DOI = "10.5281/zenodo.12677223"
RECORD, FILE = "/api/12677223", "/files/RSNA.tar.gz"
NOISE = hashlib.shake_256(b"pixels").digest(300_000)  # does not compress, like an image
IMAGES = {
    "RSNA/data.json": b"{}",
    "RSNA/images/a ü.png": NOISE[:100_000],
    "RSNA/images/b.png": NOISE[100_000:],
}


def member(name, **attributes):
    found = tarfile.TarInfo(name)
    for attribute, value in attributes.items():
        setattr(found, attribute, value)
    return found


def tarred(files, *others):
    """A tar file of `files`, contents by name, and other members without content."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            tar.addfile(member(name, size=len(content), mode=0o6777), io.BytesIO(content))
        for other in others:
            tar.addfile(other)
    return buffer.getvalue()


def zipped(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, content in files.items():
            opened.writestr(name, content)
    return buffer.getvalue()


GOOD = tarred(IMAGES, member("RSNA/empty", type=tarfile.DIRTYPE, mode=0))
GOOD_SUM = f"md5:{hashlib.md5(GOOD).hexdigest()}"


class Server(ThreadingHTTPServer):
    """A server of `files` by path; `faults[path]` lists what the next requests get instead.

    A fault is an HTTP state, "cut" (after half of the file), "stall" (the same, without closing)
    or "damage" (one wrong byte).
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.files, self.faults, self.asked = {}, {}, []
        self.closing = threading.Event()

    def handle_error(self, *_args):
        """Keep silent about clients that were killed."""


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_args):
        pass

    def do_GET(self):
        self.server.asked.append(self.path)
        faults = self.server.faults.get(self.path, [])
        fault = faults.pop(0) if faults else None
        content = self.server.files.get(self.path)
        if isinstance(fault, int) or content is None:
            self.send_error(fault or 404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        part = len(content) // 2 if fault in ("cut", "stall") else len(content)
        if fault == "damage":
            content = content[:100] + bytes([content[100] ^ 1]) + content[101:]
        self.wfile.write(content[:part])
        if fault == "stall":
            self.server.closing.wait(20)


class Case:
    """One dataset, one data folder, one server."""

    def __init__(self, server, data_dir):
        self.server, self.data_dir = server, data_dir
        self.entry = {"folder": "RSNA", "doi": DOI, "archive": "RSNA.tar.gz"}
        self.entry |= {"license": "CC BY 4.0", "citation": "“BMAD”", "url": "https://x.org/rsna"}
        self.access = {"api": f"{server.url}/api", "retries": 2, "wait": 0.001, "timeout": 5.0}
        self.offer(GOOD)

    @property
    def marker(self):
        return self.data_dir / "RSNA.verified.json"

    def offer(self, archive, name="RSNA.tar.gz", **replaced):
        """Put an archive and a record that lists it on the server, and ask for it."""
        self.entry["archive"] = name
        self.server.files[f"/files/{name}"] = archive
        file = {"key": name, "size": len(archive)} | replaced
        file.setdefault("checksum", f"md5:{hashlib.md5(archive).hexdigest()}")
        file["links"] = {"self": f"{self.server.url}/files/{name}"}
        self.server.files[RECORD] = json.dumps({"files": [file]}).encode()

    def put(self, content):
        """Put an archive into the data folder."""
        self.data_dir.mkdir(exist_ok=True)
        (self.data_dir / "RSNA.tar.gz").write_bytes(content)

    def run(self, **access):
        download_dataset(
            entry=self.entry,
            key="rsna",
            data_dir=self.data_dir,
            marker=self.marker,
            access=Access(**(self.access | access)),
        )
        return json.loads(self.marker.read_text(encoding="utf-8"))

    def fails(self, match, **access):
        """Assert one paragraph that says what to do by hand and no data; return the paragraph."""
        with pytest.raises(InputError, match=match) as caught:
            self.run(**access)
        message = str(caught.value)
        assert "\n" not in message
        assert f"in a browser, download {self.entry['archive']}" in message
        assert f"put it as it is into {self.data_dir}" in message
        self.assert_no_data()
        return message

    def assert_no_data(self):
        assert not (self.data_dir / "RSNA").exists()
        assert not self.marker.exists()
        left = {path.name for path in self.data_dir.glob(".rsna.partial/*")}
        assert left <= {"lock", self.entry["archive"]}

    def assert_data(self):
        for name, content in IMAGES.items():
            assert (self.data_dir / name).read_bytes() == content
        assert not (self.data_dir / ".rsna.partial").exists()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.closing.set()
    server.shutdown()
    server.server_close()
    thread.join(timeout=5)


@pytest.fixture
def case(server, tmp_path):
    return Case(server, tmp_path / "data")


# --- what goes well ------------------------------------------------------------------------------


def test_a_good_download(case):
    (case.data_dir / "RSNA").mkdir(parents=True)  # an empty folder is no obstacle
    marker = case.run()
    case.assert_data()
    (archive,) = marker.pop("archives")
    size = sum(map(len, IMAGES.values()))
    assert marker == {"dataset": "rsna", "folder": "RSNA", "files": 3, "bytes": size}
    assert archive == {
        "archive": "RSNA.tar.gz",
        "size": len(GOOD),
        "checksum": GOOD_SUM,
        "checksum_from": f"record {DOI}",
        "source": f"{case.server.url}{FILE}",
    }
    licence = (case.data_dir / "RSNA.LICENSE_AND_CITATION.txt").read_text(encoding="utf-8")
    assert all(part in licence for part in ("CC BY 4.0", "“BMAD”", DOI, "https://x.org/rsna"))
    assert (case.data_dir / "RSNA/data.json").stat().st_mode & 0o7022 == 0  # no set-id
    case.server.asked.clear()
    first = case.marker.read_bytes()
    case.marker.unlink()  # as Snakemake does before it runs a rule again
    case.run()
    assert case.marker.read_bytes() == first
    assert case.server.asked == []


def test_several_zip_files_become_one_folder(case):
    parts = {name: zipped({f"{name}/a.jpg": name.encode()}) for name in ("Input", "Truth")}
    for name, content in parts.items():
        case.server.files[f"/isic/{name}.zip"] = content
    urls = [f"{case.server.url}/isic/{name}.zip" for name in parts]
    sums = [hashlib.sha256(content).hexdigest() for content in parts.values()]
    case.entry = {"folder": "ISIC", "urls": [{"url": urls[0], "sha256": sums[0]}, urls[1]]}
    marker = case.run()
    for name in parts:
        assert (case.data_dir / f"ISIC/{name}/a.jpg").read_bytes() == name.encode()
    found = [(part["checksum"], part["checksum_from"]) for part in marker["archives"]]
    assert found == [(f"sha256:{sums[0]}", "registry"), (f"sha256:{sums[1]}", None)]


def test_a_mirror_is_used_with_a_known_checksum_only(case):
    case.server.files["/mirror/RSNA.tar.gz"] = case.server.files.pop(FILE)
    mirror = f"{case.server.url}/mirror/"
    record = case.server.files.pop(RECORD)
    assert "sha256" in case.fails("no checksum", mirror=mirror)
    assert case.server.asked == [RECORD]
    case.server.files[RECORD] = record
    assert case.run(mirror=mirror)["archives"][0]["source"] == f"{mirror}RSNA.tar.gz"
    case.assert_data()
    shutil.rmtree(case.data_dir)
    case.server.asked.clear()
    case.entry |= {"md5": "AB", "sha256": hashlib.sha256(GOOD).hexdigest()}  # the stronger counts
    case.run(mirror=mirror)
    assert case.server.asked == ["/mirror/RSNA.tar.gz"]


@pytest.mark.parametrize("known", ["registry", "record", None])
def test_an_archive_put_into_the_data_folder_is_taken(case, known, caplog):
    case.put(GOOD)
    if known == "registry":
        case.entry["md5"] = hashlib.md5(GOOD).hexdigest()
    marker = case.run(api="http://127.0.0.1:9/api" if known is None else case.access["api"])
    case.assert_data()
    assert (case.data_dir / "RSNA.tar.gz").read_bytes() == GOOD
    assert case.server.asked == ([RECORD] if known == "record" else [])
    assert marker["archives"][0]["source"] == "file in data_dir"
    assert ("was not checked" in caplog.text) == (known is None)


@pytest.mark.parametrize("linked", [False, True])
def test_a_folder_put_there_is_taken_as_it_is(case, linked, tmp_path):
    folder = tmp_path / "elsewhere" if linked else case.data_dir / "RSNA"
    folder.mkdir(parents=True)
    (folder / "a.png").write_bytes(b"abc")
    if linked:
        case.data_dir.mkdir()
        (case.data_dir / "RSNA").symlink_to(folder)
    expected = {"dataset": "rsna", "folder": "RSNA", "archives": [], "files": 1, "bytes": 3}
    assert case.run() == expected
    assert case.server.asked == []


# --- the network ---------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [RECORD, FILE])
@pytest.mark.parametrize("fault", [500, 429, "cut"])
def test_a_fault_that_passes(case, path, fault, monkeypatch):
    waits = []
    monkeypatch.setattr(downloads.time, "sleep", waits.append)
    case.server.faults[path] = [fault, fault]
    case.run(wait=2.0)
    case.assert_data()
    assert case.server.asked.count(path) == 3
    assert waits == [2.0, 4.0]


@pytest.mark.parametrize("path", [RECORD, FILE])
@pytest.mark.parametrize(("fault", "times"), [(404, 1), (500, 3)])
def test_a_server_that_stays_broken(case, path, fault, times):
    case.server.faults[path] = [fault] * 9
    case.fails(str(fault))
    assert case.server.asked.count(path) == times


@pytest.mark.parametrize(("fault", "match"), [("cut", "IncompleteRead"), ("stall", "timed out")])
def test_a_connection_that_breaks_every_time(case, fault, match):
    case.server.faults[FILE] = [fault] * 9
    message = case.fails(match, timeout=0.5 if fault == "stall" else 5)
    for fact in ("3 attempts", f"{len(GOOD):,} bytes", GOOD_SUM, f"https://doi.org/{DOI}"):
        assert fact in message


@pytest.mark.parametrize("mirror", [None, "http://127.0.0.1:9/mirror", "s3://bucket/x"])
def test_a_server_out_of_reach(case, mirror):
    case.entry["md5"] = GOOD_SUM[4:]
    message = case.fails("refused|s3://", api="http://127.0.0.1:9/api", mirror=mirror)
    assert GOOD_SUM in message


OTHER = b'{"files": [{"key": "Other.tar.gz"}]}'


@pytest.mark.parametrize(
    "answer", [b"<html>", b"[]", b'{"files": null}', b'{"files": [{}]}', OTHER]
)
def test_a_record_that_is_none_or_another(case, answer):
    case.server.files[RECORD] = answer
    other = "has no file RSNA.tar.gz, but Other.tar.gz"
    case.fails(other if answer == OTHER else "does not answer with a record")


def test_a_wrong_checksum(case):
    case.server.faults[FILE] = ["damage"]
    case.run()  # damage on the way heals
    shutil.rmtree(case.data_dir)
    case.server.asked.clear()
    case.offer(GOOD, checksum=f"md5:{'0' * 32}")
    assert f"md5:{'0' * 32}" in case.fails("does not match")
    assert case.server.asked.count(FILE) == 2  # once more, not for ever
    case.entry["sha256"] = "1" * 64  # overrules the record
    case.fails(f"sha256:{'1' * 64}")
    case.put(GOOD[:-9])
    assert f"{len(GOOD) - 9:,} bytes" in case.fails("not the published one")
    assert (case.data_dir / "RSNA.tar.gz").exists()


def test_a_dataset_without_a_download(case):
    case.entry = {"folder": "RSNA"}
    with pytest.raises(InputError, match="no download in the registry.* Put the images there"):
        case.run()
    case.entry |= {"how_to_get": "Ask the authors.\n", "url": "https://x.org"}
    with pytest.raises(InputError, match=r"RSNA is missing or empty. Ask the authors. .*//x.org"):
        case.run()


# --- archives ------------------------------------------------------------------------------------

LINK = {"type": tarfile.SYMTYPE}
HOSTILE = {
    "name up": [member("../evil")],
    "name up inside": [member("RSNA/../../evil")],
    "name absolute": [member("/evil")],
    "backslash": [member("RSNA\\..\\evil")],
    "link inside": [member("RSNA/x", linkname="data.json", **LINK)],
    "link to a sibling": [member("RSNA/x", linkname="../evil", **LINK)],
    "link absolute": [member("RSNA/x", linkname="/etc/passwd", **LINK)],
    "through a link": [member("RSNA/x", linkname="..", **LINK), member("RSNA/x/evil")],
    "hard link": [member("RSNA/x", linkname="../evil", type=tarfile.LNKTYPE)],
    "device": [member("RSNA/x", type=tarfile.CHRTYPE)],
    "pipe": [member("RSNA/x", type=tarfile.FIFOTYPE)],
    "sparse": [member("RSNA/x", type=tarfile.GNUTYPE_SPARSE)],
    "file below a file": [member("RSNA/data.json/x")],
}


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("ours", [True, False])
def test_an_archive_cannot_write_outside_its_folder(case, kind, ours):
    archive = tarred(IMAGES, *HOSTILE[kind])
    case.offer(archive)
    if not ours:
        case.put(archive)
    case.fails("not safe")
    assert not list(case.data_dir.parent.rglob("*evil*"))
    assert (case.data_dir / "RSNA.tar.gz").exists() != ours  # the user's own is left there
    assert not (case.data_dir / ".rsna.partial/RSNA.tar.gz").exists()


@pytest.mark.parametrize("name", ["../evil", "RSNA/../../evil", "/evil", "RSNA\\..\\evil"])
def test_a_zip_cannot_write_outside_its_folder(case, name):
    case.offer(zipped(IMAGES | {name: b"evil"}), "RSNA.zip")
    case.fails("leads out of the folder")
    assert not list(case.data_dir.parent.rglob("*evil*"))


def test_a_link_or_a_password_in_a_zip(case):
    link = zipfile.ZipInfo("RSNA/link")
    link.external_attr = 0o120777 << 16
    case.offer(zipped(IMAGES | {link: b"/etc/passwd"}), "RSNA.zip")
    case.run()
    assert not (case.data_dir / "RSNA/link").is_symlink()
    shutil.rmtree(case.data_dir)
    archive = bytearray(zipped(IMAGES))
    archive[archive.index(b"PK\x01\x02") + 8] |= 1
    case.offer(bytes(archive), "RSNA.zip")
    case.fails("encrypted")


MB = bytes(1 << 20)
BOMBS = {
    "file": tarred({"RSNA/a": 3 * MB}),
    "small files": tarred({f"RSNA/{i}": MB for i in range(3)}),
    "behind the end": gzip.compress(gzip.decompress(tarred({"RSNA/a": b""})) + 3 * MB),
    "header": gzip.compress(member("x", type=tarfile.XHDTYPE, size=3 << 20).tobuf() + 3 * MB),
    "zip": zipped({"RSNA/a": 3 * MB}),
}


@pytest.mark.parametrize("kind", BOMBS)
@pytest.mark.parametrize("limit", ["MOST_BYTES", "RATIO_FLOOR"])
def test_a_bomb(case, kind, limit, monkeypatch):
    case.offer(BOMBS[kind], "RSNA.zip" if kind == "zip" else "RSNA.tar.gz")
    monkeypatch.setattr(downloads, limit, 2 << 20)
    monkeypatch.setattr(downloads, "MOST_RATIO", 100)
    case.fails("too many bytes")
    monkeypatch.setattr(downloads, limit, 4 << 20)
    if kind != "header":
        case.run()


@pytest.mark.parametrize("pack", [tarred, zipped])
def test_too_many_members(case, pack, monkeypatch):
    name = "RSNA.tgz" if pack is tarred else "RSNA.zip"
    case.offer(pack({f"RSNA/{i}": b"" for i in range(11)}), name)
    monkeypatch.setattr(downloads, "MOST_MEMBERS", 10)
    case.fails("more than 10 members")
    monkeypatch.setattr(downloads, "MOST_MEMBERS", 11)
    case.run()


@pytest.mark.parametrize("name", ["RSNA.tar.gz", "RSNA.zip", "RSNA.rar"])
@pytest.mark.parametrize("damage", [0, 0.3, 0.6, 0.9, "page", "flipped"])
def test_an_archive_that_is_damaged_though_its_checksum_fits(case, name, damage):
    whole = zipped(IMAGES) if name == "RSNA.zip" else GOOD
    if damage == "page":
        whole = b"<html>please log in</html>" * 100
    elif damage == "flipped":  # in the checksum of the format; in gzip behind the last file
        at = whole.index(b"PK\x01\x02") + 16 if name == "RSNA.zip" else -8
        whole = whole[:at] + bytes([whole[at] ^ 1]) + whole[at:][1:]
    else:
        whole = whole[: int(len(whole) * damage)]
    case.offer(whole, name)
    case.fails("damaged or not safe")


@pytest.mark.parametrize("files", [{}, {"Other/a.png": b"a"}, {"RSNA": b"a"}])
def test_an_archive_without_the_folder(case, files):
    case.offer(tarred(files))
    message = case.fails("no folder RSNA")
    assert all(name.partition("/")[0] in message for name in files)


# --- what lies in the data folder ----------------------------------------------------------------


def test_something_in_the_way(case):
    case.data_dir.mkdir()
    (case.data_dir / "RSNA").symlink_to("nowhere")
    with pytest.raises(InputError, match="in the way"):
        case.run()
    shutil.rmtree(case.data_dir)
    case.data_dir.write_bytes(b"")
    with pytest.raises(InputError, match="in the way"):
        case.run()


def test_a_folder_that_has_changed(case):
    case.run()
    case.entry["sha256"] = "2" * 64  # cannot be compared with the md5 of the record
    case.run()
    case.entry |= {"sha256": None, "md5": "3" * 32}
    with pytest.raises(InputError, match=f"md5:{'3' * 32}. Delete it"):
        case.run()
    case.entry["md5"] = None
    (case.data_dir / "RSNA/images/b.png").unlink()
    with pytest.raises(InputError, match=r"has 2 files .* made with 3 files .* Delete it"):
        case.run()
    (case.data_dir / "RSNA" / SOURCE).write_bytes(b"{")
    with pytest.raises(InputError, match="cannot be read"):
        case.run()


# --- a full disk, and runs that were cut short ---------------------------------------------------


def test_a_full_disk(case):
    """A limit on the size of files, which anyone can set, fails as a full disk does."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit in (250_000, 150_000):  # less than the archive, less than a file in it
        if limit == 150_000:
            case.put(GOOD)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limits[1]))
        try:
            with pytest.raises(OSError, match="File too large") as caught:
                case.run()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert str(case.data_dir) in str(caught.value.filename)
        case.assert_no_data()
    case.run()
    case.assert_data()


CHILD = """
import json, sys, time
from pathlib import Path
from types import SimpleNamespace
import runpy
from medae.data import downloads

script, params, marker, log, slow = json.loads(sys.argv[1])
check = downloads._check_member
def stop_at_second(name, count):
    if name.endswith("b.png"):
        Path(marker).with_name("unpacking").touch()
        time.sleep(60)
    check(name, count)
if slow:
    downloads._check_member = stop_at_second
rule = SimpleNamespace(
    params=SimpleNamespace(**params), output=SimpleNamespace(marker=marker), log=[log])
runpy.run_path(script, init_globals={"snakemake": rule}, run_name="__main__")
"""


def start_rule(case, *, slow=False):
    """Start the script as Snakemake does; `slow` stops it before the last file is unpacked."""
    params = {"entry": {"key": "rsna", **case.entry}, "mirror": None, "retries": 0}
    params["api"] = case.access["api"]
    log = str(case.data_dir.parent / "logs/rsna.log")
    argument = json.dumps([script.__file__, params, str(case.marker), log, slow])
    environment = os.environ | {"PYTHONPATH": str(Path(downloads.__file__).parents[2])}
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, argument], env=environment, stderr=subprocess.PIPE, text=True
    )


@contextlib.contextmanager
def killed_when(case, process, pattern):
    """Wait for a file that matches, run the block, then send SIGKILL."""
    deadline = time.monotonic() + 30
    try:
        while not any(path.is_file() for path in case.data_dir.glob(pattern)):
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.01)
        yield
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=10)


def test_the_rule(case):
    case.server.faults[FILE] = [404]
    failed = start_rule(case)
    error = failed.communicate(timeout=60)[1]
    assert failed.returncode == 1
    assert "in a browser" in error
    assert "Traceback" not in error
    assert error == (case.data_dir.parent / "logs/rsna.log").read_text(encoding="utf-8")
    case.assert_no_data()
    done = start_rule(case)
    done.communicate(timeout=60)
    assert done.returncode == 0
    case.assert_data()


def test_killed_in_the_middle_of_a_download(case):
    case.server.faults[FILE] = ["stall"]
    with killed_when(case, start_rule(case), ".rsna.partial/tmp*"):
        pass
    assert not list(case.data_dir.glob("**/RSNA*"))
    case.run()
    case.assert_data()


def test_killed_in_the_middle_of_unpacking_while_a_second_run_waits(case):
    with killed_when(case, start_rule(case, slow=True), "unpacking"):
        with pytest.raises(InputError, match="Another run"):
            case.run()
        assert list(case.data_dir.glob(".rsna.partial/tree/**/a ü.png"))  # and not disturbed
    (case.data_dir / "unpacking").unlink()
    assert not (case.data_dir / "RSNA").exists() and not case.marker.exists()
    case.server.files.pop(FILE)  # the checked archive is still there
    case.run()
    case.assert_data()
