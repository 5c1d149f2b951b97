"""The packed dataset: one HDF5 file per dataset and image size, which describes itself.

    /train/images  uint8 N×C×H×W     /test/images  uint8 N×C×H×W    [0, 255], H = W
    /train/ids     UTF-8 strings     /test/ids     UTF-8 strings    paths in the dataset's folder
                                     /test/labels  uint8 N          0 normal, 1 abnormal
                                     /test/masks   uint8 N×H×W      1 abnormal; only with masks

Both splits are sorted by id. ATTRIBUTES names the root attributes. Images are chunked by training
batch and not compressed: every job reads the file whole, the largest of the paper's sets has 40 MB
at 64 × 64, and the bytes then depend on no version of a compressor. The first 512 bytes, HDF5's
user block, are text with the SHA-256 of all others. Reading compares it before HDF5 sees the file,
since the library returns damaged images as they are and can hang on damaged structures.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import h5py
import numpy as np

from medae.base.errors import InputError
from medae.base.files import atomic_path
from medae.base.hdf5 import new_hdf5

SCHEMA_VERSION = 1
IMAGES_PER_CHUNK = 64
USER_BLOCK = 512  # bytes, the least that HDF5 allows
STAMP = "medae packed dataset\nSHA-256 of the bytes after the first 512: "
ATTRIBUTES = {  # root attribute: its type
    "schema_version": int,
    "dataset": str,  # key in the registry
    "source": str,  # where the images are from: a URL or the root folder's name
    "source_sha256": str,  # over the image and mask files, see pack_dataset.py
    "intensity_range": str,  # JSON, [low, high] in the files' units; null: by the files' bit depth
}


@dataclass(frozen=True)
class PackedDataset:
    """A packed dataset in memory; see the module for shapes and values."""

    train_images: np.ndarray
    train_ids: list[str]
    test_images: np.ndarray
    test_ids: list[str]
    test_labels: np.ndarray
    test_masks: np.ndarray | None
    attributes: dict[str, str | int]


def as_floats(images: np.ndarray) -> np.ndarray:
    """Return uint8 images as float32 in [-1, 1], as the networks see them."""
    return images.astype(np.float32) / np.float32(127.5) - 1


class PackedWriter:
    """Takes images in the order of the ids; made by `packed_writer`."""

    def __init__(self, file: h5py.File) -> None:
        """Start at the first image of both splits."""
        self._file = file
        self.written = {"train": 0, "test": 0}  # images
        self.attributes: dict[str, str | int] = {}  # the caller adds what only it knows

    def append(self, split: str, images: np.ndarray, masks: np.ndarray | None = None) -> None:
        """Write the next images (uint8, n×C×H×W) and masks (uint8, n×H×W) of `split`."""
        rows = slice(self.written[split], self.written[split] + len(images))
        self.written[split] = rows.stop
        self._file[f"{split}/images"][rows] = images
        if masks is not None:
            self._file[f"{split}/masks"][rows] = masks


@contextmanager
def packed_writer(
    path: Path,
    *,
    channels: int,
    image_size: int,
    train_ids: Sequence[str],
    test_ids: Sequence[str],
    test_labels: Sequence[int],
    masks: bool,
) -> Iterator[PackedWriter]:
    """Yield a writer of the packed file `path`, which appears when the block succeeds.

    The block appends all images in the order of the ids and sets the writer's `attributes` (those
    of ATTRIBUTES but the version). Equal arguments, images and attributes
    give equal bytes with the same HDF5 library: nothing in the file depends on time or place.
    """
    labels = np.asarray(test_labels, dtype=np.uint8)
    shape = (channels, image_size, image_size)
    with atomic_path(path) as temporary:
        with new_hdf5(temporary, userblock_size=USER_BLOCK) as file:
            for split, ids in (("train", train_ids), ("test", test_ids)):
                _create_images(file, f"{split}/images", (len(ids), *shape))
                text = h5py.string_dtype("utf-8")
                file.create_dataset(f"{split}/ids", data=list(ids), dtype=text)
            file.create_dataset("test/labels", data=labels)
            if masks:
                _create_images(file, "test/masks", (len(test_ids), image_size, image_size))
            writer = PackedWriter(file)
            yield writer
            for split, written in writer.written.items():
                if written != (wanted := len(file[f"{split}/ids"])):
                    raise ValueError(f"{written} of {wanted} images of {split} were appended")
            attributes = writer.attributes | {"schema_version": SCHEMA_VERSION}
            for name in ATTRIBUTES:
                file.attrs[name] = attributes[name]
        with temporary.open("r+b") as stream:
            stamp = _stamp(stream)
            stream.seek(0)
            stream.write(stamp)


def read_packed(path: Path) -> PackedDataset:
    """Return the packed dataset in the file `path`, read whole; the file is closed again.

    Raises InputError when the file is missing, truncated or damaged, or not a packed dataset of
    this version.
    """
    try:
        with path.open("rb") as stream:
            if stream.read(USER_BLOCK) != _stamp(stream):
                raise ValueError("its contents do not match its checksum")
        with h5py.File(path, "r") as file:
            version = file.attrs["schema_version"]
            if version != SCHEMA_VERSION:
                raise ValueError(f"its schema_version is {version}")
            return PackedDataset(
                train_images=file["train/images"][()],
                train_ids=list(file["train/ids"].asstr()[()]),
                test_images=file["test/images"][()],
                test_ids=list(file["test/ids"].asstr()[()]),
                test_labels=file["test/labels"][()],
                test_masks=file["test/masks"][()] if "test/masks" in file else None,
                attributes={name: kind(file.attrs[name]) for name, kind in ATTRIBUTES.items()},
            )
    except MemoryError:
        raise
    except Exception as error:  # HDF5 raises nearly everything
        raise InputError(
            f"{path} is not a whole packed dataset of schema version {SCHEMA_VERSION}: "
            f"{' '.join(str(error).split())}. Delete it and run the workflow again; it will be "
            "made again."
        ) from error


def _create_images(file: h5py.File, name: str, shape: tuple[int, ...]) -> None:
    chunks = (min(IMAGES_PER_CHUNK, shape[0]), *shape[1:]) if shape[0] else None
    file.create_dataset(name, shape=shape, dtype=np.uint8, chunks=chunks)


def _stamp(stream: BinaryIO) -> bytes:
    """Return the user block for the bytes of a packed file that come after it."""
    stream.seek(USER_BLOCK)
    text = f"{STAMP}{hashlib.file_digest(stream, 'sha256').hexdigest()}\n"
    return text.encode().ljust(USER_BLOCK, b"\0")
