"""Writing of HDF5 files to a disk that may be full."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py


class _DeferredErrors(io.FileIO):
    """A file that keeps the first failure of its writing for later; HDF5 crashes on one."""

    failure: OSError | None = None

    def write(self, data) -> int:
        left = memoryview(data).cast("B")
        size = len(left)
        try:
            while left:
                left = left[super().write(left) :]
        except OSError as error:
            self.failure = self.failure or error
        return size

    def truncate(self, size: int | None = None) -> int:
        try:
            return super().truncate(size)
        except OSError as error:
            self.failure = self.failure or error
            return size or 0


@contextmanager
def new_hdf5(path: Path, **options) -> Iterator[h5py.File]:
    """Yield a new HDF5 file; `options` are those of h5py.File.

    Raises OSError at the block's end when something could not be written. On a full disk the HDF5
    library itself would crash the interpreter, so that nothing is said at all.
    """
    with _DeferredErrors(path, "w+") as stream:
        try:
            with h5py.File(stream, "w", **options) as file:
                yield file
        finally:
            if stream.failure:
                raise stream.failure
