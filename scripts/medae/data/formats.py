"""The file formats that are read, and the endings of their files: one table.

Only decoders that notice a truncated file. JPEG 2000 is not among them: a file cut after its header
gives a grey image without an error.
"""

from pathlib import Path

PILLOW = {  # Pillow's name: endings
    "PNG": (".png",),
    "JPEG": (".jpg", ".jpeg", ".jfif"),
    "TIFF": (".tif", ".tiff"),
    "BMP": (".bmp",),
    "GIF": (".gif",),
    "WEBP": (".webp",),
    "PPM": (".pgm", ".ppm"),
}
DICOM = (".dcm", ".dicom")  # and files of other names that begin as DICOM does: is_image
VOLUME = (".nii", ".nii.gz")  # NIfTI, one image per slice
SUFFIXES = frozenset([*(end for ends in PILLOW.values() for end in ends), *DICOM, *VOLUME])


def ending(path: Path) -> str:
    """Return the ending of SUFFIXES that a file's name has, as it is written; "" for another."""
    name = path.name.lower()
    end = ".nii.gz" if name.endswith(".nii.gz") else name[name.rfind(".") :]
    return path.name[-len(end) :] if end in SUFFIXES and len(name) > len(end) else ""


def stem(path: Path) -> str:
    """Return a file's name without its ending, `.nii.gz` as a whole."""
    return path.name.removesuffix(ending(path))


def is_image(path: Path) -> bool:
    """Whether a file is taken for an image: by its ending, or by how a DICOM file begins.

    Archives export DICOM files without an ending, or with a UID that looks like one.
    """
    if ending(path):
        return True
    if path.name == "DICOMDIR" or not path.is_file():  # the index of a medium; a pipe
        return False
    try:
        with path.open("rb") as file:
            return is_dicom(file.read(132))
    except OSError:
        return False


def is_volume(path: Path) -> bool:
    """Whether a file is a volume, of which every slice is an image."""
    return ending(path).lower() in VOLUME


def is_dicom(data: bytes) -> bool:
    """Whether these are the first bytes of a DICOM file (part 10 of the standard)."""
    return data[128:132] == b"DICM"
