"""Images as the bytes of their files, and folders of them as packed datasets."""

import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from pack_dataset import pack_dataset
from PIL import Image


def encoded(image, image_format="PNG", **options) -> bytes:
    """Return what PIL writes for an image."""
    stream = io.BytesIO()
    image.save(stream, image_format, **options)
    return stream.getvalue()


def pack_folder(root: Path, packed: Path, **changes) -> None:
    """Pack a folder of images; `changes` are arguments of `pack_dataset`."""
    texts = {"dataset": "toy", "layout": "folder", "source": "toy"}
    options = {"channels": 1, "image_size": 16, "masks": True, "workers": 2}
    pack_dataset(root=root, packed=packed, **texts | options | changes)


def write_noise(root: Path, names: Iterable[str], shape=(64, 64)) -> None:
    """Write an image of noise, as PNG whatever its ending, for each path below `root`."""
    random = np.random.default_rng(0)
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, shape, np.uint8)).save(path, "PNG")
