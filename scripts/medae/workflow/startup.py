"""What happens before any rule: which files a rule depends on, and whose results these are."""

import ast
import hashlib
import os
import signal
from functools import cache
from pathlib import Path

from medae.base.errors import InputError
from medae.base.files import check_writable

SCRIPTS = Path(__file__).parents[2]


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


def fingerprint(folder: Path) -> str:
    """Return a digest of the names, sizes and times of the visible files below `folder`.

    Cheap enough for every start of the workflow; a dataset that changed is packed again. Links are
    followed, and the folder's own name is not part of it. A file that cannot be looked at counts by
    its name: packing says what is wrong with it.
    """
    digest = hashlib.sha256()
    for place, folders, files in os.walk(folder, followlinks=True):
        folders.sort()
        for name in sorted(name for name in files if not name.startswith(".")):
            path = os.path.join(place, name)  # noqa: PTH118 - names need not be valid text
            digest.update(os.fsencode(os.path.relpath(path, folder)))
            try:
                status = os.stat(path)  # noqa: PTH116
                digest.update(f" {status.st_size} {status.st_mtime_ns}\n".encode())
            except OSError:
                digest.update(b" unreadable\n")
    return digest.hexdigest()


def sort_keys(value):
    """Return a configuration whose mappings are sorted by key, at every level.

    Merging files leaves an order that depends on which of them states a key; Snakemake would take
    another order for a changed parameter and run jobs again.
    """
    if isinstance(value, dict):
        return {key: sort_keys(value[key]) for key in sorted(value)}
    return [sort_keys(item) for item in value] if isinstance(value, list) else value


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


def ignore_announcements() -> None:
    """Let Snakemake ignore SIGUSR1, with which a batch system announces the end of a job's time.

    It goes to all processes of a job. A training answers it by saving its state; Snakemake would
    die at once, and the job with it.
    """
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
