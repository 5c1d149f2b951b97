"""Decoding of image files to the 8-bit square arrays that networks are trained on.

8-bit images are converted to grey or RGB and resized with PIL's bilinear filter, as the paper's
code does; transparency and the orientation tag of cameras are ignored, as there. Images with more
than 8 bits, and all images when `intensity_range` is given, follow one linear rule: the range
[low, high] becomes [0, 255], values beyond are clipped, the image is resized as floating point
numbers with the same filter, and values are rounded half to even.
"""

import hashlib
import logging
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from medae.base.errors import InputError
from medae.data.formats import FORMATS
from medae.data.layouts import Record, name_some

logger = logging.getLogger(__name__)

RANGE_16_BIT = (0.0, 65535.0)
USED_SHARE = 1 / 8  # 12-bit data use 1/16 of the 16-bit range
# A guard against files that decompress to fill the memory; large mammograms have 30 million.
MAX_PIXELS = 80_000_000
MODES = {1: "L", 3: "RGB"}  # PIL's mode for a number of channels
TIFF_PHOTOMETRIC, TIFF_WHITE_IS_ZERO = 262, 0

REPLACE = "Replace the file by an intact copy, or remove it from the dataset"
SET_RANGE = (
    "Set `intensity_range: [low, high]` in the dataset's registry entry, the values that become "
    "black and white"
)
SHRINK = "Resize the image before, or remove it from the dataset"
FIT = "Export each mask at the size of its image"
SAVE_PLAIN = "Save the image as 8-bit grey or colour, or as 16-bit grey, one image in a file"


class ImageError(InputError):
    """A file that cannot be used: `reason` says why, `remedy` what to do; both without the name."""

    def __init__(self, reason: str, remedy: str) -> None:
        """Compose the message; whoever knows the file adds its name."""
        super().__init__(f"{reason}. {remedy}.")
        self.reason, self.remedy = reason, remedy


@dataclass(frozen=True)
class Decoded:
    """An image or a mask after resizing."""

    pixels: np.ndarray  # uint8: C×H×W of an image; H×W of a mask, 1 where abnormal
    size: tuple[int, int]  # width and height of the file's image in pixels
    peak: int | None = None  # greatest value of a 16-bit image to which RANGE_16_BIT was applied
    empty: bool = False  # nothing is abnormal in a mask's file


@dataclass(frozen=True)
class LoadedRecord:
    """What was read of one record, or why it cannot be used."""

    record: Record
    sums: dict[str, str]  # path in the root folder of each file: what sha256sum prints for it
    image: Decoded | None = None
    mask: Decoded | None = None
    failed: str | None = None  # path in the root folder of the file with the `error`
    error: ImageError | None = None


@dataclass
class Findings:
    """What is learnt from all images together, block by block; pixels are not kept."""

    sums: dict[str, str] = field(default_factory=dict)
    failures: dict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))
    train_of_pixels: dict[bytes, str] = field(default_factory=dict)
    identical: dict[str, str] = field(default_factory=dict)  # test id: training id
    odd: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))  # what: ids
    masks: int = 0
    masks_left: int = 0  # that have something abnormal after resizing
    peak: int | None = None  # greatest 16-bit value

    def add(self, loaded: LoadedRecord) -> None:
        """Take in one record; training images come first."""
        name, image, mask = loaded.record.id, loaded.image, loaded.mask
        self.sums |= loaded.sums
        if loaded.error is not None:
            self.failures[loaded.error.remedy][loaded.failed] = loaded.error.reason
            return
        digest = hashlib.sha256(image.pixels).digest()
        if loaded.record.split == "train":
            self.train_of_pixels.setdefault(digest, name)
        elif digest in self.train_of_pixels:
            self.identical[name] = self.train_of_pixels[digest]
        if image.pixels.min() == image.pixels.max():
            self.odd["have the same value in all pixels"].append(name)
        if mask is not None:
            self.masks += 1
            self.masks_left += mask.pixels.any()
            if mask.empty:
                self.odd["are abnormal but have an empty mask"].append(name)
            elif not mask.pixels.any():
                self.odd["have a mask of which nothing is left at this size"].append(name)
        if image.peak is not None:
            self.peak = max(image.peak, self.peak or 0)

    def check(self, root: Path) -> None:
        """Raise InputError when files cannot be used, naming those of each kind."""
        if self.failures:
            kinds = []
            for remedy, reasons in self.failures.items():
                first = min(reasons)
                kinds.append(f"{name_some(reasons)} ({first!r}: {reasons[first]}). {remedy}.")
            count = sum(map(len, self.failures.values()))
            raise InputError(f"{count} files in {root} cannot be used: {' '.join(kinds)}")
        if self.masks and not self.masks_left:
            raise InputError(
                f"All masks in {root} are empty at this image size, so there is nothing to "
                "measure. Check the mask files (abnormal pixels are those above 0), or set "
                "`masks: false` in the registry entry."
            )

    def log(self) -> None:
        """Log what the user should know of a dataset that can be used."""
        if self.identical:
            test, train = min(self.identical.items())
            what = "test images have the packed pixels of a training image, such as"
            logger.warning("%d %s %r those of %r", len(self.identical), what, test, train)
        if self.peak is not None and self.peak < USED_SHARE * 2**16:
            logger.warning(
                "the greatest of all 16-bit values is %d, so the images are nearly black, probably "
                "since they have fewer bits. %s.",
                self.peak,
                SET_RANGE,
            )
        for what, names in self.odd.items():
            logger.warning("%d images %s: %s", len(names), what, name_some(names))


def check_range(intensity_range: Sequence[float] | None) -> tuple[float, float] | None:
    """Return the range [low, high] as floats; raise InputError unless low < high, both finite."""
    if intensity_range is None:
        return None
    low, high = map(float, intensity_range)
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise InputError(f"intensity_range is {list(intensity_range)}. {SET_RANGE}.")
    return low, high


def decode_image(
    data: bytes,
    *,
    channels: int,
    image_size: int,
    intensity_range: tuple[float, float] | None = None,
) -> Decoded:
    """Decode the bytes of an image file to `channels` × `image_size` × `image_size`.

    `intensity_range` is in the units of the file's values; without it 8-bit images are taken as
    they are and 16-bit ones as [0, 65535]. Raises ImageError when the file is truncated, not an
    image, too large, of several frames, or needs an `intensity_range` that is not given.
    """
    image = _open(data)
    peak = None
    if not _is_wide(image):
        image = _convert(image, MODES[channels])
    elif intensity_range is None:
        if not image.mode.startswith("I;16"):
            raise ImageError(f"values of more than 16 bits (PIL mode {image.mode})", SET_RANGE)
        intensity_range, peak = RANGE_16_BIT, int(np.asarray(image).max())
    if intensity_range is None:
        resized = np.asarray(image.resize((image_size, image_size), Image.Resampling.BILINEAR))
        pixels = resized.reshape(image_size, image_size, channels).transpose(2, 0, 1)
    else:
        planes = [_resize_linear(band, image_size, intensity_range) for band in image.split()]
        pixels = np.broadcast_to(planes, (channels, image_size, image_size))
    return Decoded(np.ascontiguousarray(pixels), image.size, peak)


def decode_mask(data: bytes, *, image_size: int) -> Decoded:
    """Decode the bytes of a mask file; pixels that are not black are abnormal.

    Resized with the nearest-neighbour filter. Raises ImageError as `decode_image` does.
    """
    image = _open(data)
    if _is_wide(image):
        abnormal = np.asarray(image) > 0
    else:  # by colour, not grey: the darkest colours of a label map would become black
        abnormal = np.asarray(_convert(image, "RGB")).any(axis=-1)
    resized = Image.fromarray(abnormal.astype(np.uint8)).resize(
        (image_size, image_size), Image.Resampling.NEAREST
    )
    return Decoded(np.asarray(resized), image.size, empty=not abnormal.any())


def load_record(
    record: Record,
    *,
    root: Path,
    channels: int,
    image_size: int,
    intensity_range: tuple[float, float] | None,
) -> LoadedRecord:
    """Read and decode the image of `record` and, if it has one, its mask, each file once.

    Raises nothing for bad files; the result says what is wrong, so that all can be reported.
    """
    sums, mask, name = {}, None, record.id
    options = {"channels": channels, "intensity_range": intensity_range}
    try:
        data = _read(record.image)
        sums[name] = sum_line(data, name)
        image = decode_image(data, image_size=image_size, **options)
        if record.mask is not None:
            name = record.mask.relative_to(root).as_posix()
            data = _read(record.mask)
            sums[name] = sum_line(data, name)
            mask = decode_mask(data, image_size=image_size)
            if mask.size != image.size:
                raise ImageError(f"{_times(mask.size)} pixels, its image {_times(image.size)}", FIT)
    except ImageError as error:
        return LoadedRecord(record, sums, failed=name, error=error)
    return LoadedRecord(record, sums, image, mask)


def sum_line(data: bytes, name: str) -> str:
    """Return the line that coreutils' sha256sum prints for a file `name` with the bytes `data`."""
    escaped = name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    mark = "\\" if escaped != name else ""
    return f"{mark}{hashlib.sha256(data).hexdigest()}  {escaped}"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"cannot be read: {error.strerror}", REPLACE) from error


def _is_wide(image: Image.Image) -> bool:
    """Whether the values have more than 8 bits: 16, 32, or floating point."""
    return image.mode == "F" or image.mode.startswith("I")


def _times(size: tuple[int, int]) -> str:
    return f"{size[0]} × {size[1]}"


def _open(data: bytes) -> Image.Image:
    """Return the whole decoded image of a file; raises ImageError."""
    try:
        image = Image.open(BytesIO(data), formats=tuple(FORMATS))
        _check_header(image)
        if image.format == "PNG":  # its decoder skips the checksums that this compares
            image.verify()
            image = Image.open(BytesIO(data), formats=tuple(FORMATS))
        image.load()
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # damaged bytes make decoders raise nearly everything
        unknown = isinstance(error, Image.UnidentifiedImageError)  # its message names a BytesIO
        text = " ".join(str(error).split()) or type(error).__name__
        reason = "unknown format" if unknown else text[:120]
        raise ImageError(f"not readable as an image: {reason}", REPLACE) from error
    return image


def _check_header(image: Image.Image) -> None:
    """Raise ImageError for images that PIL would open but not give as they are."""
    if math.prod(image.size) > MAX_PIXELS:
        raise ImageError(f"{_times(image.size)} pixels, more than {MAX_PIXELS}", SHRINK)
    # Cameras append previews to JPEG (MPO); other files with several frames are stacks.
    if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
        raise ImageError(f"{image.n_frames} frames in one file", SAVE_PLAIN)
    wide = image.mode.startswith("I;16")
    if not wide and image.mode != "I" and ";16" in str(image.tile):
        raise ImageError("16-bit colour or transparency, read with 8 bits only", SAVE_PLAIN)
    if wide and image.format == "TIFF" and image.tag_v2.get(TIFF_PHOTOMETRIC) == TIFF_WHITE_IS_ZERO:
        raise ImageError("16-bit TIFF whose zero is white, read inverted", SAVE_PLAIN)


def _convert(image: Image.Image, mode: str) -> Image.Image:
    try:
        return image.convert(mode)
    except (ValueError, AssertionError) as error:  # no palette is an AssertionError
        raise ImageError(f"colours of PIL mode {image.mode}", SAVE_PLAIN) from error


def _resize_linear(
    band: Image.Image, side: int, intensity_range: tuple[float, float]
) -> np.ndarray:
    """Apply the linear rule to one band; returns uint8, side × side."""
    low, high = intensity_range
    scaled = (np.asarray(band).astype(np.float64) - low) * 255.0 / (high - low)
    if not np.isfinite(scaled).all():
        raise ImageError("pixels that are not finite numbers", REPLACE)
    plane = Image.fromarray(np.clip(scaled, 0.0, 255.0).astype(np.float32))
    resized = np.asarray(plane.resize((side, side), Image.Resampling.BILINEAR))
    return np.clip(np.rint(resized), 0, 255).astype(np.uint8)  # np.rint rounds half to even
