"""Downloads from a server on this machine that fails in every way."""

import contextlib
import gzip
import hashlib
import io
import json
import multiprocessing
import resource
import shutil
import tarfile
import threading
import time
import zipfile
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import product
from types import SimpleNamespace

import pooch.core
import pytest
from download_dataset import download_dataset

from medae.base.errors import InputError
from medae.data import downloads
from medae.data.downloads import SOURCE

FILE = "/api/12677223/files/{}/content"
URL = FILE.format("RSNA.tar.gz")
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


class Server(ThreadingHTTPServer):
    """A server of `files` by path; `faults[path]` lists what the next requests get instead.

    A fault is an HTTP state, "cut" (after half of the file) or "stall" (the same, without closing).
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
        self.wfile.write(content[: len(content) // 2] if fault else content)
        if fault == "stall":
            self.server.closing.wait(20)


class Case:
    """One dataset, one data folder, one server."""

    def __init__(self, server, data_dir):
        self.server, self.data_dir = server, data_dir
        self.marker = data_dir / "RSNA.verified.json"
        self.entry = {"key": "rsna", "folder": "RSNA", "doi": "10.5281/zenodo.12677223"}
        self.entry |= {"license": "CC BY 4.0", "citation": "“BMAD”", "url": "https://x.org/rsna"}
        self.access = {"api": f"{server.url}/api", "mirror": None, "retries": 2}
        self.offer(GOOD)

    def offer(self, archive, name="RSNA.tar.gz"):
        """Put an archive on the server and ask for it."""
        self.server.files[FILE.format(name)] = archive
        self.entry |= {"archive": name, "md5": hashlib.md5(archive).hexdigest()}

    def put(self, content):
        """Put an archive into the data folder."""
        self.data_dir.mkdir(exist_ok=True)
        (self.data_dir / "RSNA.tar.gz").write_bytes(content)

    def run(self, **access):
        options = self.access | access
        download_dataset(entry=self.entry, data_dir=self.data_dir, marker=self.marker, **options)
        return json.loads(self.marker.read_text(encoding="utf-8"))

    def fails(self, match, **access):
        """Assert one paragraph that says what to do by hand and no data; return the paragraph."""
        with pytest.raises(InputError, match=match) as caught:
            self.run(**access)
        message = str(caught.value)
        assert "\n" not in message
        assert f"open https://doi.org/{self.entry['doi']} in a browser" in message
        assert f"download {self.entry['archive']} (" in message
        assert f"put it as it is into {self.data_dir}" in message
        self.assert_no_data()
        return message

    def assert_no_data(self):
        assert not (self.data_dir / "RSNA").exists()
        assert not self.marker.exists()
        left = {path.name for path in self.data_dir.glob(".RSNA.partial/*")}
        assert left <= {"lock", self.entry["archive"]}

    def assert_data(self):
        for name, content in IMAGES.items():
            assert (self.data_dir / name).read_bytes() == content
        assert not (self.data_dir / ".RSNA.partial").exists()


@pytest.fixture
def case(tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield Case(server, tmp_path / "data")
    server.closing.set()
    server.shutdown()
    server.server_close()
    thread.join(timeout=5)


@pytest.fixture(autouse=True)
def waits(monkeypatch):
    """The seconds that were to pass before each further attempt."""
    found = []
    monkeypatch.setattr(pooch.core, "time", SimpleNamespace(sleep=found.append))
    return found


# --- what goes well ------------------------------------------------------------------------------


def test_a_good_download(case):
    (case.data_dir / "RSNA").mkdir(parents=True)  # an empty folder is no obstacle
    marker = case.run()
    case.assert_data()
    archive = {"archive": "RSNA.tar.gz", "source": f"{case.server.url}{URL}"}
    archive["checksum"] = f"md5:{case.entry['md5']}"
    assert marker == {"dataset": "rsna", "folder": "RSNA", "archives": [archive]}
    licence = (case.data_dir / "RSNA.LICENSE_AND_CITATION.txt").read_text(encoding="utf-8")
    parts = "CC BY 4.0", "“BMAD”", case.entry["doi"], "https://x.org/rsna"
    assert all(part in licence for part in parts)
    assert (case.data_dir / "RSNA/data.json").stat().st_mode & 0o7022 == 0  # no set-id
    case.marker.unlink()  # as Snakemake does before it runs a rule again
    assert case.run() == marker
    assert case.server.asked == [URL]


def test_several_files_become_one_folder(case, caplog):
    parts = {name: zipped({f"{name}/a.jpg": name.encode()}) for name in ("Input", "Truth")}
    parts |= {"More": tarred({"More/a.jpg": b"More"})}
    files = {f"/isic/{name}{'.tar.gz' if name == 'More' else '.zip'}": name for name in parts}
    case.server.files |= {path: parts[name] for path, name in files.items()}
    urls = [f"{case.server.url}{path}" for path in files]
    sums = [hashlib.sha256(content).hexdigest() for content in parts.values()]
    urls[0] = {"url": urls[0], "sha256": sums[0]}
    case.entry = {"key": "isic", "folder": "ISIC", "urls": urls}
    marker = case.run()
    for name in parts:
        assert (case.data_dir / f"ISIC/{name}/a.jpg").read_bytes() == name.encode()
    assert [part["checksum"] for part in marker["archives"]] == [f"sha256:{one}" for one in sums]
    assert "Input.zip was not checked" not in caplog.text
    assert f"Truth.zip was not checked; its sum is sha256:{sums[1]}" in caplog.text


def test_a_mirror_is_used_with_a_known_checksum_only(case):
    case.server.files["/mirror/RSNA.tar.gz"] = case.server.files.pop(URL)
    mirror = f"{case.server.url}/mirror/"
    case.entry["md5"] = None
    assert "Add its sha256" in case.fails("no checksum", mirror=mirror)
    assert case.server.asked == []
    case.entry |= {"md5": "0" * 32, "sha256": hashlib.sha256(GOOD).hexdigest()}  # the stronger one
    assert case.run(mirror=mirror)["archives"][0]["source"] == f"{mirror}RSNA.tar.gz"
    case.assert_data()


def test_an_archive_put_into_the_data_folder_is_taken_and_kept(case):
    case.put(GOOD)
    marker = case.run()
    case.assert_data()
    assert (case.data_dir / "RSNA.tar.gz").read_bytes() == GOOD
    assert case.server.asked == []
    assert marker["archives"][0]["source"] == "file in data_dir"


@pytest.mark.parametrize("linked", [False, True])
def test_a_folder_put_there_is_taken_as_it_is(case, linked, tmp_path):
    folder = tmp_path / "elsewhere" if linked else case.data_dir / "RSNA"
    folder.mkdir(parents=True)
    (folder / "a.png").write_bytes(b"abc")
    if linked:
        case.data_dir.mkdir()
        (case.data_dir / "RSNA").symlink_to(folder)
    assert case.run() == {"dataset": "rsna", "folder": "RSNA", "archives": []}
    assert case.server.asked == []


# --- the network ---------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [500, 429, "cut"])
def test_a_fault_that_passes(case, fault, waits):
    case.server.faults[URL] = [fault, fault]
    case.run()
    case.assert_data()
    assert len(case.server.asked) == 3
    assert waits == [1, 2]


@pytest.mark.parametrize(
    ("fault", "match"),
    [(404, "404"), (500, "500"), ("cut", "IncompleteRead"), ("stall", "timed out")],
)
def test_a_fault_that_stays(case, fault, match, monkeypatch):
    monkeypatch.setattr(downloads, "TIMEOUT", 0.5)
    case.server.faults[URL] = [fault] * 9
    message = case.fails(match)
    assert "3 attempts" in message and case.entry["md5"] in message
    assert len(case.server.asked) == 3


def test_a_server_out_of_reach(case):
    case.fails("refused", api="http://127.0.0.1:9/api")


def test_a_wrong_checksum(case):
    good, case.entry["md5"] = case.entry["md5"], "0" * 32
    assert f"(md5:{'0' * 32})" in case.fails(f"md5:{good}.* is not the published one")
    assert case.server.asked == [URL]
    case.put(GOOD[:-9])
    assert f"{len(GOOD) - 9:,} bytes" in case.fails("not the published one")
    assert (case.data_dir / "RSNA.tar.gz").exists()


def test_a_dataset_without_a_download(case):
    case.entry = {"key": "rsna", "folder": "RSNA"}
    with pytest.raises(InputError, match="no download in the registry.* Put the images there"):
        case.run()
    case.entry |= {"how_to_get": "Ask the authors.\n", "url": "https://x.org"}
    with pytest.raises(InputError, match=r"RSNA is missing or empty. Ask the authors. .*//x.org"):
        case.run()


# --- archives ------------------------------------------------------------------------------------

LINK = partial(member, "RSNA/x", type=tarfile.SYMTYPE)
HOSTILE = {
    "name up": [member("../evil")],
    "name up inside": [member("RSNA/../../evil")],
    "link inside": [LINK(linkname="data.json")],
    "link to a sibling": [LINK(linkname="../evil")],
    "link absolute": [LINK(linkname="/etc/passwd")],
    "through a link": [LINK(linkname=".."), member("RSNA/x/evil")],
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
    assert not (case.data_dir / ".RSNA.partial/RSNA.tar.gz").exists()


@pytest.mark.parametrize("pack", [tarred, zipped])
def test_a_name_that_an_unpacker_changes_stays_in_its_folder(case, pack, tmp_path):
    names = [f"/{tmp_path}/evil", "..\\..\\evil"]
    names += ["../evil", "RSNA/../../evil"] if pack is zipped else []
    case.offer(
        pack(IMAGES | dict.fromkeys(names, b"")), f"RSNA.{'zip' if pack is zipped else 'tgz'}"
    )
    case.run()
    outside = {
        path for path in tmp_path.rglob("*evil*") if case.data_dir / "RSNA" not in path.parents
    }
    assert outside == set()


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
    case.fails("too much")
    monkeypatch.setattr(downloads, limit, 4 << 20)
    if kind != "header":
        case.run()


@pytest.mark.parametrize("pack", [tarred, zipped])
def test_too_many_members(case, pack, monkeypatch):
    name = "RSNA.tgz" if pack is tarred else "RSNA.zip"
    case.offer(pack({f"RSNA/{i}": b"" for i in range(11)}), name)
    monkeypatch.setattr(downloads, "MOST_MEMBERS", 10)
    case.fails("too much")
    monkeypatch.setattr(downloads, "MOST_MEMBERS", 11)
    case.run()


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        *product(["RSNA.tar.gz", "RSNA.zip"], [0, 0.3, 0.6, 0.9, "page", "flipped"]),
        ("RSNA.rar", 1),  # of a kind that is not unpacked, whatever it holds
    ],
)
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


def test_a_folder_of_another_version(case):
    case.run()
    case.entry["md5"] = "3" * 32
    with pytest.raises(InputError, match=f"md5:{'3' * 32}. Delete it"):
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


@contextlib.contextmanager
def killed_when(case, pattern):
    """Run in another process until a file matches, then run the block and send SIGKILL.

    A fork, which has the case and what is patched.
    """
    process = multiprocessing.get_context("fork").Process(target=case.run)
    process.start()
    deadline = time.monotonic() + 30
    try:
        while not any(path.is_file() for path in case.data_dir.glob(pattern)):
            assert time.monotonic() < deadline and process.is_alive()
            time.sleep(0.01)
        yield
    finally:
        process.kill()
        process.join(10)


def test_killed_in_the_middle_of_a_download(case):
    case.server.faults[URL] = ["stall"]
    with killed_when(case, ".RSNA.partial/tmp*"):
        pass
    assert not list(case.data_dir.glob("**/RSNA*"))
    case.run()
    case.assert_data()


def test_killed_in_the_middle_of_unpacking_while_a_second_run_waits(case, monkeypatch):
    check = tarfile.data_filter

    def stop_at_second(member, folder):
        if member.name.endswith("b.png"):
            (case.data_dir / "unpacking").touch()
            time.sleep(60)
        return check(member, folder)

    with monkeypatch.context() as patch:
        patch.setattr(tarfile, "data_filter", stop_at_second)
        with killed_when(case, "unpacking"):
            with pytest.raises(InputError, match="Another run"):
                case.run()
            assert list(case.data_dir.glob(".RSNA.partial/tree/**/a ü.png"))  # not disturbed
    (case.data_dir / "unpacking").unlink()
    assert not (case.data_dir / "RSNA").exists() and not case.marker.exists()
    case.server.files.pop(URL)  # the checked archive is still there
    case.run()
    case.assert_data()
