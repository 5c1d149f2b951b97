"""Images as the bytes of their files, and folders of them as packed datasets."""

import io
from pathlib import Path

from pack_dataset import pack_dataset


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
