"""What happens before any rule: which files a rule depends on, and whose results these are."""

import ast
import fcntl
import os
import shutil
import socket
from functools import cache
from pathlib import Path

from snakemake.logging import logger

from medae.base.errors import InputError
from medae.base.files import check_writable

SCRIPTS = Path(__file__).parents[2]
OWN = Path(".snakemake")  # Snakemake's folder, in that of the run


@cache
def imported_modules(source: Path) -> frozenset[Path]:
    """Return the files of the package that `source` imports, directly or through one of them.

    Snakemake does not see an imported module change, so rules name these files as inputs. The
    packages' `__init__.py` are left out: they say what belongs there, and that of the methods finds
    them by name. A rule that runs a method names that method's file.
    """
    found: set[Path] = set()
    pending = [Path(source)]
    while pending:
        for module in _imports(pending.pop()) - found:
            found.add(module)
            pending.append(module)
    return frozenset(found)


@cache
def _imports(source: Path) -> frozenset[Path]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    paths = {SCRIPTS.joinpath(*name.split(".")) for name in names if name.startswith("medae.")}
    files = {path.with_suffix(".py") for path in paths}
    return frozenset(path for path in files if path.is_file())


def dataset_folder(config: dict, dataset: str) -> Path:
    """Return the folder in which the images of a registered dataset lie or will lie."""
    entry = config["registry"][dataset]
    return Path(entry.get("path") or Path(config["data_dir"], entry["folder"])).expanduser()


def _owner_record(run: str) -> Path:
    return Path("results", run, ".configuration")


def check_owner(run: str, configfiles: list[Path]) -> str:
    """Return the configuration files that make this run; refuse the results of other ones.

    `configfiles` are those of the command line; without one it is config/config.yaml. Raises
    InputError when results/<run>/ belongs to others, since their results would be replaced.
    """
    owner = " ".join(os.path.relpath(file) for file in configfiles or ["config/config.yaml"])
    record = _owner_record(run)
    if record.exists() and (other := record.read_text(encoding="utf-8")) != owner:
        raise InputError(
            f"results/{run}/ belongs to the configuration {other}, not to {owner}: two "
            "configurations must not share a folder. Give this one another `run:` name, or remove "
            "that folder."
        )
    return owner


def claim_run(run: str, owner: str) -> None:
    """Record the owner of results/<run>/; raises OSError when something there can't be written."""
    record = _owner_record(run)
    record.parent.mkdir(parents=True, exist_ok=True)
    record.write_text(owner, encoding="utf-8")
    check_writable(record.parent)


def share_package(folder: str) -> None:
    """Let the scripts of all jobs import the package in `folder`.

    Snakemake puts a script's own folder on the path, and scripts lie in a folder per stage, so the
    package beside them is found by PYTHONPATH. Jobs on other machines read the Snakefile too.
    """
    before = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if folder not in before:
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [folder, *before]))


def keep_metadata() -> None:
    """Let Snakemake keep its records of finished jobs beside the results.

    People delete `.snakemake` to unlock a folder. Without the records results of other images or
    parameters would count as up to date. Where the link can't be made, the records lie in there.
    """
    place, kept = OWN / "metadata", Path("results", OWN, "metadata")
    try:
        kept.mkdir(parents=True, exist_ok=True)
        (OWN / "incomplete").mkdir(parents=True, exist_ok=True)  # else it takes them for old ones
        if place.is_symlink():
            return
        if place.exists():
            shutil.copytree(place, kept, dirs_exist_ok=True)
            shutil.rmtree(place)
        place.symlink_to(os.path.relpath(kept.resolve(), place.parent.resolve()))
    except OSError:
        pass


_held = []  # the stream whose lock is this run's sign of life, until the process ends


def take_over_lock() -> None:
    """Remove Snakemake's lock of a run on this machine that is dead.

    A run holds a lock of the kernel on a file of its machine, which ends with the process, by
    kill -9 too. It also leaves its machine's name among Snakemake's locks, which go when it ends:
    those of another machine, or of nobody known, are left for `--unlock`.
    """
    machine = socket.gethostname()
    locks = OWN / "locks"
    try:
        OWN.mkdir(exist_ok=True)
        stream = (OWN / f"alive.{machine}").open("w")
        _held.append(stream)
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            alone = True
        except BlockingIOError:
            alone = False
        names = {path.name for path in locks.glob("*") if path.suffix != ".lock"}
        if alone and names == {machine} and any(locks.glob("*.lock")):
            shutil.rmtree(locks)
            logger.warning("Taking over the lock of a run on this machine that was killed.")
        locks.mkdir(exist_ok=True)
        (locks / machine).touch()
        fcntl.flock(stream, fcntl.LOCK_SH)
    except OSError:  # no such locks on this disk
        pass
