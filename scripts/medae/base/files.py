"""Files that appear whole or not at all, and the one dialect of tables."""

import errno
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from medae.base.errors import InputError


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it replaces `path` when the block succeeds.

    The temporary file is removed when the block fails, so nothing half-written remains; its name
    is unique, so two writers of the same `path` don't mix. An OSError of the block that names no
    file, as on a full disk, gets the name of `path`.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(
        dir=path.parent, prefix=f".{path.name}.", suffix=f".partial{path.suffix}"
    )
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp makes files private; results are to be shared
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno and not error.filename:
            error.filename = str(path)
        raise


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes `path` when the block succeeds, else it is removed.

    Raises InputError when `path` exists and is not an empty folder.
    """
    if path.is_file() or (path.is_dir() and any(path.iterdir())):
        raise InputError(f"{path} exists and is not an empty folder. Remove it and run again.")
    path.parent.mkdir(parents=True, exist_ok=True)
    # Within a second folder, since the one that tempfile makes is private to the user.
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as private:
        temporary = Path(private, path.name)
        temporary.mkdir()
        yield temporary
        temporary.replace(path)


def check_writable(folder: Path) -> None:
    """Raise PermissionError for the first folder at or below `folder` that cannot be written to."""
    for place, _, _ in os.walk(folder):
        if not os.access(place, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), place)


def write_text(text: str, path: Path) -> None:
    """Write UTF-8 text atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_table(frame: pd.DataFrame, path: Path) -> None:
    """Write a TSV with nine significant digits, atomically; the index is not written."""
    with atomic_path(path) as temporary:
        frame.to_csv(temporary, sep="\t", index=False, float_format="%.9g", lineterminator="\n")


def read_table(path: Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Read a TSV of `write_table`; only empty cells are missing values.

    Raises InputError when the file is missing or not a table, or, with `columns`, when its columns
    are others.
    """
    try:
        # Names of files may hold other ends of lines, and may be "NA".
        options = {"lineterminator": "\n", "keep_default_na": False, "na_values": [""]}
        table = pd.read_csv(path, sep="\t", **options)
    except (OSError, ValueError) as error:
        raise InputError(
            f"Cannot read the table {path}: {error}. Delete it and run the workflow again; "
            "it will be made again."
        ) from error
    if columns is not None and list(table.columns) != list(columns):
        raise InputError(
            f"{path} has the columns {list(table.columns)} instead of {list(columns)}. Delete it "
            "and run the workflow again; it will be made again."
        )
    return table
