"""Single grey images from DICOM files; no tag but those that say how the pixels are to be read.

Patients' names and ids are never parsed, and pydicom's warnings, which can quote a tag, are not
logged.
"""

import logging
import warnings
from io import BytesIO

import numpy as np
import pydicom
from PIL import Image
from pydicom.pixels import apply_modality_lut, apply_voi_lut, apply_windowing

from medae.data.pictures import REPLACE, SAVE_PLAIN, ImageError, Picture, check_size

TAGS = [  # what is read of a file
    "BitsAllocated",
    "BitsStored",
    "Columns",
    "HighBit",
    "ImageOrientationPatient",
    "ModalityLUTSequence",
    "NumberOfFrames",
    "PhotometricInterpretation",
    "PixelData",
    "PixelRepresentation",
    "PlanarConfiguration",
    "RescaleIntercept",
    "RescaleSlope",
    "Rows",
    "SOPClassUID",
    "SamplesPerPixel",
    "VOILUTFunction",
    "VOILUTSequence",
    "WindowCenter",
    "WindowWidth",
]
# An upright slice has the patient's left or back to the right, and the back or the feet below: the
# axes of the patient (left, back, head) in this order, each in this direction.
UPRIGHT = (1, 1, -1)
DECODER = (
    "Install a decoder for it (the environment has pylibjpeg's), or save the image uncompressed"
)

logging.getLogger("pydicom").setLevel(logging.CRITICAL)
warnings.filterwarnings("ignore", module="pydicom")
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE


def read_dicom(data: bytes, *, own_scale: bool) -> Picture:
    """Return the image of a DICOM file, upright, its values in the units of its rescaling.

    `own_scale` applies the file's own window or lookup table; without one its black and white are
    the least and greatest value that its bits can hold. MONOCHROME1 has white for the least value.
    Slices are turned by their orientation; radiographs are as they are stored.
    Raises ImageError for colour, several frames, and files that are damaged or cannot be decoded.
    """
    syntax = None
    try:
        tags = pydicom.dcmread(BytesIO(data), specific_tags=TAGS)
        syntax = tags.file_meta.get("TransferSyntaxUID")
        _check(tags)
        return _picture(tags, own_scale)
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # damaged bytes make pydicom raise nearly everything
        if syntax and isinstance(error, RuntimeError | NotImplementedError):
            reason = f"DICOM pixels that cannot be decoded ({syntax.name})"
            raise ImageError(reason, DECODER) from None
        reason = f"a damaged DICOM file ({type(error).__name__})"  # its text can quote a tag
        raise ImageError(reason, REPLACE) from None


def _check(tags: pydicom.Dataset) -> None:
    if "PixelData" not in tags:
        raise ImageError("a DICOM file without an image", REPLACE)
    if (frames := int(tags.get("NumberOfFrames") or 1)) > 1:
        raise ImageError(f"{frames} frames in one DICOM file", SAVE_PLAIN)
    if not tags.PhotometricInterpretation.startswith("MONOCHROME"):
        raise ImageError(f"DICOM in colour ({tags.PhotometricInterpretation})", SAVE_PLAIN)
    check_size((tags.Columns, tags.Rows))


def _picture(tags: pydicom.Dataset, own_scale: bool) -> Picture:
    values = np.asarray(apply_modality_lut(tags.pixel_array, tags), dtype=np.float64)
    black_white = _range_of_bits(tags)
    # Where each file has a scale of its own, brightness would tell files of several kinds apart.
    depth = f"DICOM of {tags.BitsStored} bits" if own_scale or tags.BitsStored <= 8 else "DICOM"
    window = own_scale and _has_window(tags)
    if own_scale and (window or tags.get("VOILUTSequence")):
        depth = "DICOM with a window"
    if own_scale and tags.get("VOILUTSequence"):
        values = np.asarray(apply_voi_lut(values.astype(np.int64), tags), dtype=np.float64)
        black_white = (0, 2 ** tags.VOILUTSequence[0].LUTDescriptor[2] - 1)
    elif window:
        tags.VOILUTFunction = tags.get("VOILUTFunction") or "LINEAR"  # the tag may be empty
        values = apply_windowing(values, tags)
    return Picture(
        Image.fromarray(np.ascontiguousarray(_upright(values, tags), dtype=np.float32)),
        depth,
        black_white,
        inverted=tags.PhotometricInterpretation == "MONOCHROME1",
    )


def _has_window(tags: pydicom.Dataset) -> bool:
    """Whether the file has a window, the first if several, of a width that can be applied."""
    width = tags.get("WindowWidth")
    if width is None or tags.get("WindowCenter") is None:
        return False
    width = float(width[0] if isinstance(width, pydicom.multival.MultiValue) else width)
    return width >= 1 or (width > 0 and (tags.get("VOILUTFunction") or "LINEAR") != "LINEAR")


def _range_of_bits(tags: pydicom.Dataset) -> tuple[float, float]:
    """Return the least and the greatest value that the file's bits can hold, rescaled."""
    if tags.get("ModalityLUTSequence"):
        return 0, 2 ** tags.ModalityLUTSequence[0].LUTDescriptor[2] - 1
    low = -(2 ** (tags.BitsStored - 1)) if tags.PixelRepresentation else 0
    slope, intercept = float(tags.get("RescaleSlope", 1)), float(tags.get("RescaleIntercept", 0))
    ends = (slope * value + intercept for value in (low, low + 2**tags.BitsStored - 1))
    return tuple(sorted(ends))


def _upright(values: np.ndarray, tags: pydicom.Dataset) -> np.ndarray:
    """Turn and mirror a slice as it lies in the patient."""
    cosines = tags.get("ImageOrientationPatient")
    if not cosines or len(cosines) != 6:
        return values
    directions = np.array(cosines, dtype=float).reshape(2, 3)  # of a row and of a column
    axes = np.abs(directions).argmax(axis=1)
    if axes[0] > axes[1]:
        values, directions, axes = values.T, directions[::-1], axes[::-1]
    along, down = (directions[i, axes[i]] * UPRIGHT[axes[i]] < 0 for i in (0, 1))
    return values[:: -1 if down else 1, :: -1 if along else 1]
