"""From files to the 8-bit square arrays that networks are trained on.

Without an `intensity_range` 8-bit images are converted to grey or RGB and resized with PIL's
bilinear filter, as the paper's code does. All others follow one linear rule: a range [low, high]
becomes [0, 255], values beyond are clipped, the image is resized as floating point numbers with the
same filter, and values are rounded half to even. The range is `intensity_range`, or `percentiles`,
those of each file, or else what the file itself states: 16 bits, the greatest value of a portable
graymap, the window of DICOM.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from medae.base.errors import InputError
from medae.data.layouts import Record
from medae.data.masks import abnormal_pixels, binarise
from medae.data.pictures import REPLACE, SET_RANGE, ImageError, Picture, times
from medae.data.reading import convert, has_alpha, read_picture
from medae.data.volumes import read_slices

MODES = {1: "L", 3: "RGB"}  # PIL's mode for a number of channels
PERCENTILES = (0.5, 99.5)  # of a file's values: what becomes black and white
TRANSPARENT = "have transparent pixels, which became black"

SAME_SIZE = "Export each mask at the size of its image"
RIGHT_LABEL = "Correct the mask, or move the image to the abnormal ones"
SCALE_8_BITS = (
    "Leave `intensity_range` out for 8-bit images, or give one within their values; if files of 8 "
    "and of more bits are mixed, save all alike, or set `intensity_range: percentiles`"
)


@dataclass(frozen=True)
class Preparation:
    """How a file becomes pixels, by a dataset's registry entry; a model keeps it."""

    intensity_range: tuple[float, float] | str | None = None  # [low, high] or "percentiles"
    fit: str = "squash"  # a shape into a square: squash, pad with black, crop the middle
    axis: str = "axial"  # of the slices of volumes

    def as_json(self) -> str:
        """Return the text that `from_json` reads; the range alone where all else is usual."""
        usual = self == Preparation(self.intensity_range)
        return json.dumps(self.intensity_range if usual else asdict(self))

    @classmethod
    def from_json(cls, value: object) -> "Preparation":
        """Return what `as_json` wrote, already parsed."""
        options = dict(value) if isinstance(value, Mapping) else {"intensity_range": value}
        options["intensity_range"] = check_range(options["intensity_range"])
        return cls(**options)


@dataclass(frozen=True)
class Decoded:
    """An image or a mask after resizing."""

    pixels: np.ndarray  # uint8: C×H×W of an image; H×W of a mask, 1 where abnormal
    size: tuple[int, int]  # width and height of the file's image in pixels
    depth: str = ""  # an image's, see Picture
    limits: tuple[float, float] = (0, 255)  # the file's values that became 0 and 255
    share: float = 0.0  # of a mask's pixels that are abnormal in its file
    oddities: tuple[str, ...] = ()


@dataclass(frozen=True)
class LoadedRecord:
    """What was read of one record, or why it cannot be used."""

    record: Record
    sums: dict[str, str]  # path in the root folder of each file: what sha256sum prints for it
    image: Decoded | None = None
    mask: Decoded | None = None
    failed: str | None = None  # path in the root folder of the file with the `error`
    error: ImageError | None = None


def check_range(intensity_range: Sequence[float] | str | None) -> tuple[float, float] | str | None:
    """Return the range [low, high] as floats; raise InputError unless low < high, both finite."""
    if intensity_range is None or intensity_range == "percentiles":
        return intensity_range
    low, high = map(float, intensity_range)
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise InputError(f"intensity_range is {list(intensity_range)}. {SET_RANGE}.")
    return low, high


def decode_image(
    data: bytes, *, channels: int, image_size: int, preparation: Preparation
) -> Decoded:
    """Decode the bytes of an image file to `channels` × `image_size` × `image_size`.

    Raises ImageError when the file is damaged, not an image, too large, of several frames, or
    needs an `intensity_range` that is not given, or another one.
    """
    own_scale = preparation.intensity_range is None
    picture = read_picture(data, own_scale=own_scale)
    return _prepare(picture, channels=channels, image_size=image_size, preparation=preparation)


def decode_mask(data: bytes, *, image_size: int, fit: str = "squash") -> Decoded:
    """Decode the bytes of a mask file, resized with the nearest-neighbour filter.

    `medae.data.masks` says which pixels are abnormal. Raises ImageError as `decode_image` does.
    """
    abnormal, oddity = abnormal_pixels(read_picture(data, own_scale=False))
    return _prepare_mask(abnormal, oddity, image_size=image_size, fit=fit)


def load_file(
    records: Sequence[Record],
    *,
    root: Path,
    channels: int,
    image_size: int,
    preparation: Preparation,
) -> list[LoadedRecord]:
    """Read and decode the images and masks of `records`, each file once.

    They are one image, or slices of one volume. Raises nothing for bad files; the result says what
    is wrong, so that all can be reported.
    """
    first, sums, loaded = records[0], {}, []
    options = {"channels": channels, "image_size": image_size, "preparation": preparation}
    mask_options = {"image_size": image_size, "fit": preparation.fit}
    masked = [record for record in records if record.mask]
    name = first.image.relative_to(root).as_posix()
    try:
        data = _read(first.image)
        sums[name] = sum_line(data, name)
        if first.slice is None:
            images = [decode_image(data, **options)]
        else:
            images = _decode_slices(data, [record.slice for record in records], **options)
        masks = []
        if masked:
            name = masked[0].mask.relative_to(root).as_posix()
            data = _read(masked[0].mask)
            sums[name] = sum_line(data, name)
            if first.slice is None:
                masks = [decode_mask(data, **mask_options)]
            else:
                chosen = [record.slice for record in masked]
                masks = _decode_mask_slices(data, chosen, axis=preparation.axis, **mask_options)
        mask_of = dict(zip((record.id for record in masked), masks, strict=True))
        for record, image in zip(records, images, strict=True):
            mask = mask_of.get(record.id)
            if mask and mask.size != image.size:
                reason = f"{times(mask.size)} pixels, its image {times(image.size)}"
                raise ImageError(reason, SAME_SIZE)
            if mask and not record.label and mask.share:
                raise ImageError("a mask of a normal image that is not empty", RIGHT_LABEL)
            loaded.append(LoadedRecord(record, sums, image, mask))
    except ImageError as error:
        return [LoadedRecord(record, sums, failed=name, error=error) for record in records]
    return loaded


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


def _prepare(
    picture: Picture, *, channels: int, image_size: int, preparation: Preparation
) -> Decoded:
    """Scale and resize an image."""
    image, limits = picture.image, preparation.intensity_range
    narrow, oddities = picture.depth == "8 bits", [picture.oddity] if picture.oddity else []
    if narrow:
        image = convert(picture.image, MODES[channels])
        if has_alpha(picture.image) and picture.image.convert("RGBA").getextrema()[3][0] < 255:
            oddities.append(TRANSPARENT)
    if limits is None:
        limits = picture.full_range
        if limits is None:
            raise ImageError(
                f"{picture.units}, which have no black and white of their own", SET_RANGE
            )
        if narrow:
            resized = _resize(image, image_size, preparation.fit, Image.Resampling.BILINEAR)
            pixels = resized.reshape(image_size, image_size, channels).transpose(2, 0, 1)
            return Decoded(
                np.ascontiguousarray(pixels), image.size, picture.depth, limits, 0, tuple(oddities)
            )
    bands = [np.asarray(band).astype(np.float64) for band in image.split()]
    if picture.unit != 1:
        bands = [np.rint(band * picture.unit) for band in bands]
    if not all(np.isfinite(band).all() for band in bands):
        raise ImageError("pixels that are not finite numbers", REPLACE)
    if limits == "percentiles":
        limits = percentile_range(np.array(bands))
    elif narrow and limits[1] > 255:
        reason = f"8-bit values, for which intensity_range: {list(limits)} is not meant"
        raise ImageError(reason, SCALE_8_BITS)
    if picture.inverted:
        limits = limits[::-1]
    planes = [_resize_linear(band, image_size, limits, preparation.fit) for band in bands]
    pixels = np.ascontiguousarray(np.broadcast_to(planes, (channels, image_size, image_size)))
    return Decoded(pixels, image.size, picture.depth, limits, 0, tuple(oddities))


def percentile_range(values: np.ndarray) -> tuple[float, float]:
    """Return the PERCENTILES of some values, the second one greater than the first."""
    low, high = map(float, np.percentile(values, PERCENTILES))
    return (low, high) if low < high else (low, low + 1)


def _decode_slices(
    data: bytes, chosen: Sequence[int], *, preparation: Preparation, **sizes: int
) -> list[Decoded]:
    """As `decode_image`, of some slices of a volume; percentiles are those of the whole volume."""
    slices = read_slices(data, preparation.axis)
    if preparation.intensity_range == "percentiles":
        some = slices[:: max(1, len(slices) // 50), ::2, ::2]
        preparation = Preparation(percentile_range(some), preparation.fit, preparation.axis)
    pictures = [
        Picture(
            Image.fromarray(slices[index].astype(np.float32)),
            "more than 8 bits",
            units="values of a NIfTI volume",
        )
        for index in chosen
    ]
    return [_prepare(picture, preparation=preparation, **sizes) for picture in pictures]


def _decode_mask_slices(
    data: bytes, chosen: Sequence[int], *, axis: str, image_size: int, fit: str
) -> list[Decoded]:
    """As `decode_mask`, of some slices of a volume."""
    abnormal, oddity = binarise(read_slices(data, axis))
    if max(chosen) >= len(abnormal):
        raise ImageError(f"a volume of {len(abnormal)} slices, its image has more", SAME_SIZE)
    options = {"image_size": image_size, "fit": fit}
    return [_prepare_mask(abnormal[index], oddity, **options) for index in chosen]


def _prepare_mask(
    abnormal: np.ndarray, oddity: str | None, *, image_size: int, fit: str
) -> Decoded:
    image = Image.fromarray(abnormal.astype(np.uint8))
    pixels = _resize(image, image_size, fit, Image.Resampling.NEAREST)
    oddities = (oddity,) if oddity else ()
    return Decoded(
        pixels, image.size, share=np.count_nonzero(abnormal) / abnormal.size, oddities=oddities
    )


def _resize(image: Image.Image, side: int, fit: str, resampling: Image.Resampling) -> np.ndarray:
    """Return the image as a square of `side` pixels."""
    if fit == "squash" or image.width == image.height:
        return np.asarray(image.resize((side, side), resampling))
    width, height = image.size
    if fit == "crop":
        square = min(image.size)
        left, top = (width - square) / 2, (height - square) / 2
        box = (left, top, left + square, top + square)
        return np.asarray(image.resize((side, side), resampling, box=box))
    small = [max(1, round(side * length / max(image.size))) for length in image.size]
    padded = Image.new(image.mode, (side, side))  # black
    padded.paste(image.resize(small, resampling), [(side - length) // 2 for length in small])
    return np.asarray(padded)


def _resize_linear(
    values: np.ndarray, side: int, limits: tuple[float, float], fit: str
) -> np.ndarray:
    """Apply the linear rule to one band; returns uint8, side × side."""
    black, white = limits
    scaled = (values - black) * 255.0 / (white - black)
    plane = Image.fromarray(np.clip(scaled, 0.0, 255.0).astype(np.float32))
    resized = _resize(plane, side, fit, Image.Resampling.BILINEAR)
    return np.clip(np.rint(resized), 0, 255).astype(np.uint8)  # np.rint rounds half to even
