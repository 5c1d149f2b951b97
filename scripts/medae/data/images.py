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
from medae.data.layouts import Record, name_some

logger = logging.getLogger(__name__)

RANGE_16_BIT = (0.0, 65535.0)
USED_SHARE = 1 / 8  # 12-bit data use 1/16 of the 16-bit range
# Decoders that notice a truncated file. JPEG 2000 is not among them: a file cut after its header
# gives a grey image without an error.
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "PPM")
# A guard against files that decompress to fill the memory; large mammograms have 30 million.
MAX_PIXELS = 80_000_000
MODES = {1: "L", 3: "RGB"}  # PIL's mode for a number of channels
PNG_CHUNK_HEADER = 8  # bytes: length and kind
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
class DecodedImage:
    """An image after resizing."""

    pixels: np.ndarray  # uint8, C×H×W
    size: tuple[int, int]  # width and height of the file's image in pixels
    peak: int | None  # greatest value of a 16-bit image to which RANGE_16_BIT was applied


@dataclass(frozen=True)
class DecodedMask:
    """A mask after resizing."""

    pixels: np.ndarray  # uint8, H×W, 1 where abnormal
    size: tuple[int, int]  # width and height of the file's image in pixels
    empty: bool  # nothing is abnormal in the file, before resizing


@dataclass(frozen=True)
class LoadedRecord:
    """What was read of one record, or why it cannot be used."""

    record: Record
    sums: list[tuple[str, str]]  # (path in the root folder, line of its SHA-256) of each file
    image: DecodedImage | None = None
    mask: DecodedMask | None = None
    failed: Path | None = None  # the file with the `error`
    error: ImageError | None = None


@dataclass
class Findings:
    """What is learnt from all images together, block by block; pixels are not kept."""

    sums: list[tuple[str, str]] = field(default_factory=list)
    failures: dict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))
    train_of_pixels: dict[bytes, str] = field(default_factory=dict)
    identical: dict[str, str] = field(default_factory=dict)  # test id: training id
    blank: list[str] = field(default_factory=list)
    empty_masks: list[str] = field(default_factory=list)
    lost_masks: list[str] = field(default_factory=list)
    masked: int = 0  # images of whose mask something is left
    peak: int | None = None  # greatest 16-bit value

    def add(self, root: Path, loaded: LoadedRecord) -> None:
        """Take in one record; training images come first."""
        name, image, mask = loaded.record.id, loaded.image, loaded.mask
        self.sums += loaded.sums
        if loaded.error is not None:
            file = loaded.failed.relative_to(root).as_posix()
            self.failures[loaded.error.remedy][file] = loaded.error.reason
            return
        digest = hashlib.sha256(image.pixels).digest()
        if loaded.record.split == "train":
            self.train_of_pixels.setdefault(digest, name)
        elif digest in self.train_of_pixels:
            self.identical[name] = self.train_of_pixels[digest]
        if image.pixels.min() == image.pixels.max():
            self.blank.append(name)
        if mask is not None and mask.pixels.any():
            self.masked += 1
        elif mask is not None:
            (self.empty_masks if mask.empty else self.lost_masks).append(name)
        if image.peak is not None:
            self.peak = max(image.peak, self.peak or 0)

    def check(self, root: Path) -> None:
        """Raise InputError when files cannot be used, naming those of each kind."""
        if not self.failures:
            if (self.empty_masks or self.lost_masks) and not self.masked:
                raise InputError(
                    f"All masks in {root} are empty at this image size, so there is nothing to "
                    "measure. Check the mask files (abnormal pixels are those above 0), or set "
                    "`masks: false` in the registry entry."
                )
            return
        kinds = []
        for remedy, reasons in self.failures.items():
            first = min(reasons)
            kinds.append(f"{name_some(reasons)} ({first!r}: {reasons[first]}). {remedy}.")
        count = sum(map(len, self.failures.values()))
        raise InputError(f"{count} files in {root} cannot be packed: {' '.join(kinds)}")

    def log(self) -> None:
        """Log what the user should know of a dataset that can be used."""
        if self.identical:
            test, train = min(self.identical.items())
            logger.warning(
                "%d test images have the packed pixels of a training image, such as %r those of %r",
                len(self.identical),
                test,
                train,
            )
        if self.peak is not None and self.peak < USED_SHARE * 2**16:
            logger.warning(
                "the greatest of all 16-bit values is %d, so the images are nearly black, probably "
                "since they have fewer bits. %s.",
                self.peak,
                SET_RANGE,
            )
        for names, what in (
            (self.blank, "have the same value in all pixels"),
            (self.empty_masks, "are abnormal but have an empty mask"),
            (self.lost_masks, "have a mask so small that nothing of it is left at this size"),
        ):
            if names:
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
) -> DecodedImage:
    """Decode the bytes of an image file to `channels` × `image_size` × `image_size`.

    `intensity_range` is in the units of the file's values; without it 8-bit images are taken as
    they are and 16-bit ones as [0, 65535]. Raises ImageError when the file is truncated, not an
    image, too large, of several frames, or needs an `intensity_range` that is not given.
    """
    image = _open(data)
    mode = MODES[channels]
    peak = None
    if image.mode == "F" or image.mode.startswith("I"):  # floating point, 16 and 32 bits
        values = np.asarray(image)
        if intensity_range is None:
            if not image.mode.startswith("I;16"):
                raise ImageError(f"values of more than 16 bits (PIL mode {image.mode})", SET_RANGE)
            intensity_range, peak = RANGE_16_BIT, int(values.max())
        plane = _resize_linear(values, image_size, intensity_range)
        pixels = np.repeat(plane[None], channels, axis=0)
    else:
        image = _convert(image, mode)
        if intensity_range is None:
            side = (image_size, image_size)
            resized = np.asarray(image.resize(side, Image.Resampling.BILINEAR))
            pixels = resized.reshape(image_size, image_size, channels).transpose(2, 0, 1)
        else:
            bands = [np.asarray(band) for band in image.split()]
            pixels = np.stack([_resize_linear(b, image_size, intensity_range) for b in bands])
    return DecodedImage(np.ascontiguousarray(pixels), image.size, peak)


def decode_mask(data: bytes, *, image_size: int) -> DecodedMask:
    """Decode the bytes of a mask file; pixels that are not black are abnormal.

    Resized with the nearest-neighbour filter. Raises ImageError as `decode_image` does.
    """
    image = _open(data)
    if image.mode == "F" or image.mode.startswith("I"):
        abnormal = np.asarray(image) > 0
    else:  # by colour, not grey: the darkest colours of a label map would become black
        abnormal = np.asarray(_convert(image, "RGB")).any(axis=-1)
    resized = Image.fromarray(abnormal.astype(np.uint8)).resize(
        (image_size, image_size), Image.Resampling.NEAREST
    )
    return DecodedMask(np.asarray(resized), image.size, not abnormal.any())


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
    sums: list[tuple[str, str]] = []
    path, mask = record.image, None
    try:
        image = decode_image(
            _read(path, record.id, sums),
            channels=channels,
            image_size=image_size,
            intensity_range=intensity_range,
        )
        if record.mask is not None:
            path = record.mask
            name = path.relative_to(root).as_posix()
            mask = decode_mask(_read(path, name, sums), image_size=image_size)
            if mask.size != image.size:
                raise ImageError(f"{_times(mask.size)} pixels, its image {_times(image.size)}", FIT)
    except ImageError as error:
        return LoadedRecord(record, sums, failed=path, error=error)
    return LoadedRecord(record, sums, image, mask)


def sum_line(data: bytes, name: str) -> str:
    """Return the line that coreutils' sha256sum prints for a file `name` with the bytes `data`."""
    escaped = name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    mark = "\\" if escaped != name else ""
    return f"{mark}{hashlib.sha256(data).hexdigest()}  {escaped}"


def _read(path: Path, name: str, sums: list[tuple[str, str]]) -> bytes:
    """Return the bytes of a file and add its sum to `sums`, by the file's `name` in the root."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ImageError(f"cannot be read: {error.strerror}", REPLACE) from error
    sums.append((name, sum_line(data, name)))
    return data


def _times(size: tuple[int, int]) -> str:
    return f"{size[0]} × {size[1]}"


def _open(data: bytes) -> Image.Image:
    """Return the whole decoded image of a file; raises ImageError."""
    try:
        image = Image.open(BytesIO(data), formats=FORMATS)
        _check_header(image)
        if image.format == "PNG":  # its decoder skips the check sums that this compares
            # As image.verify() does, after which the file would have to be opened again.
            image.fp.seek(image.tile[0][2] - PNG_CHUNK_HEADER)
            image.png.verify()
        image.load()
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # damaged bytes make decoders raise nearly everything
        raise ImageError(f"not readable as an image: {_short(error)}", REPLACE) from error
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
    if image.mode == mode:  # PIL would copy it
        return image
    try:
        return image.convert(mode)
    except (ValueError, AssertionError) as error:  # no palette is an AssertionError
        raise ImageError(f"colours of PIL mode {image.mode}", SAVE_PLAIN) from error


def _resize_linear(values: np.ndarray, side: int, intensity_range: tuple[float, float]):
    """Apply the linear rule to one plane; returns uint8, side × side."""
    low, high = intensity_range
    scaled = (values.astype(np.float64) - low) * 255.0 / (high - low)
    if not np.isfinite(scaled).all():
        raise ImageError("pixels that are not finite numbers", REPLACE)
    plane = Image.fromarray(np.clip(scaled, 0.0, 255.0).astype(np.float32))
    resized = np.asarray(plane.resize((side, side), Image.Resampling.BILINEAR))
    return np.clip(np.rint(resized), 0, 255).astype(np.uint8)  # np.rint rounds half to even


def _short(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return "unknown format" if isinstance(error, Image.UnidentifiedImageError) else text[:120]
