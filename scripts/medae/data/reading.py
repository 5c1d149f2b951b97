"""Reading of image files to their values, before any scaling or resizing."""

import logging
import re
from io import BytesIO

import simplejpeg
from PIL import Image, ImageOps

from medae.data.dicom import read_dicom
from medae.data.formats import PILLOW, is_dicom
from medae.data.pictures import REPLACE, SAVE_PLAIN, ImageError, Picture, check_size

PHOTOMETRIC, SAMPLE_FORMAT = 262, 339  # TIFF tags
WHITE_IS_ZERO, SIGNED = 0, 2
ORIENTATION = 274  # EXIF tag; it is in one of these parts of a file
TAGGED = {"exif", "xmp", "Raw profile type exif", "XML:com.adobe.xmp"}
# Some encoders leave a few bytes between whole parts; many are what is left of damaged data.
EXTRANEOUS, MOST_EXTRANEOUS = re.compile(r"(\d+) extraneous bytes before marker"), 16

SAVE_READABLE = (
    "Save it as PNG, or as TIFF of 16-bit or 32-bit floating-point grey, or replace it by an "
    "intact copy"
)

logging.getLogger("PIL").setLevel(logging.WARNING)


def read_picture(data: bytes, *, own_scale: bool = True) -> Picture:
    """Return the image in the bytes of a file, turned as its orientation tag says.

    `own_scale` is for DICOM: whether its own window applies. Raises ImageError when the file is
    damaged, not an image, too large or of several frames, or when its values cannot be had as they
    are.
    """
    if is_dicom(data):
        return read_dicom(data, own_scale=own_scale)
    oddity = None
    try:
        image = Image.open(BytesIO(data), formats=tuple(PILLOW))
        kind = str(image.tile)
        _check_header(image, kind)
        maximum = _stated_maximum(image)
        if image.format == "PNG":  # its decoder skips the checksums that this compares
            image.verify()
            image = Image.open(BytesIO(data), formats=tuple(PILLOW))
        if image.format in ("JPEG", "MPO") and image.mode in ("L", "RGB"):
            image, oddity = _read_jpeg(data, image)
        else:
            image.load()
        if not TAGGED.isdisjoint(image.info) and image.getexif().get(ORIENTATION, 1) != 1:
            image = ImageOps.exif_transpose(image)  # of TIFF, load() has done so
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # damaged bytes make decoders raise nearly everything
        raise _unreadable(error) from error
    if not is_wide(image):
        return Picture(image, "8 bits", (0, maximum), unit=maximum / 255, oddity=oddity)
    if image.format == "PPM":  # Pillow scales to 16 bits
        return Picture(image, "more than 8 bits", (0, maximum), unit=maximum / 65535)
    if image.mode.startswith("I;16"):
        return Picture(image, "more than 8 bits", (0, 65535))
    if "I;32N" in kind and image.getextrema()[0] < 0:
        raise ImageError("unsigned 32-bit values above 2³¹, read as negative", SAVE_PLAIN)
    units = "floating-point values" if image.mode == "F" else "32-bit values"
    if "I;16" in kind:
        units = "signed 16-bit values"
    return Picture(image, "more than 8 bits", units=units)


def is_wide(image: Image.Image) -> bool:
    """Whether the values have more than 8 bits: 16, 32, or floating point."""
    return image.mode == "F" or image.mode.startswith("I")


def convert(image: Image.Image, mode: str) -> Image.Image:
    """Return the image in PIL's `mode`, L or RGB, what is transparent on black."""
    try:
        plain = image.convert(mode)  # fails without a palette, which RGBA does not
        if has_alpha(image):
            above = image.convert("RGBA")
            black = Image.new("RGBA", image.size, (0, 0, 0, 255))
            plain = Image.alpha_composite(black, above).convert(mode)
        return plain
    except (ValueError, AssertionError) as error:  # no palette is an AssertionError
        raise ImageError(f"colours of PIL mode {image.mode}", SAVE_PLAIN) from error


def has_alpha(image: Image.Image) -> bool:
    """Whether an image can have transparent pixels."""
    return image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info


def _read_jpeg(data: bytes, image: Image.Image) -> tuple[Image.Image, str | None]:
    """Return the pixels of a grey or colour JPEG, and what is odd about its data.

    Pillow fills what is missing in the middle of a file with grey and says nothing. simplejpeg has
    the same decoder, gives the same bits, and passes on its warnings.
    """
    space = {"L": "GRAY", "RGB": "RGB"}[image.mode]
    try:
        pixels = simplejpeg.decode_jpeg(data, space, strict=True)
    except ValueError as error:
        image.load()  # what Pillow refuses is not readable at all
        extraneous = EXTRANEOUS.search(str(error))
        if extraneous is None or int(extraneous[1]) > MOST_EXTRANEOUS:
            raise ImageError(f"damaged: {error}", REPLACE) from error
        return image, "may be damaged: there are extraneous bytes in the file"
    found = Image.frombuffer(image.mode, image.size, pixels, "raw", image.mode, 0, 1)
    found.format, found.info = image.format, image.info
    return found, None


def _check_header(image: Image.Image, kind: str) -> None:
    """Raise ImageError for images that PIL would open but not give as they are."""
    check_size(image.size)
    # Cameras append previews to JPEG (MPO); other files with several frames are stacks.
    if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
        raise ImageError(f"{image.n_frames} frames in one file", SAVE_PLAIN)
    wide = image.mode.startswith("I;16")
    if not wide and image.mode != "I" and ";16" in kind:
        raise ImageError("16-bit colour or transparency, read with 8 bits only", SAVE_PLAIN)
    if image.format != "TIFF":
        return
    if wide and image.tag_v2.get(PHOTOMETRIC) == WHITE_IS_ZERO:
        raise ImageError("16-bit TIFF whose zero is white, read inverted", SAVE_PLAIN)
    if not is_wide(image) and SIGNED in image.tag_v2.get(SAMPLE_FORMAT, ()):
        raise ImageError("signed 8-bit values, read as unsigned", SAVE_PLAIN)


def _stated_maximum(image: Image.Image) -> int:
    """Return the greatest value that a file can have; a portable graymap states its own."""
    arguments = image.tile[0].args if image.tile else None
    if image.format == "PPM" and isinstance(arguments, tuple):
        return arguments[-1]
    return 65535 if is_wide(image) else 255


def _unreadable(error: Exception) -> ImageError:
    """Return why a file could not be read at all."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, Image.UnidentifiedImageError):  # its message names a BytesIO
        return ImageError("not readable as an image: unknown format", SAVE_READABLE)
    return ImageError(f"not readable as an image: {text[:120]}", REPLACE)
