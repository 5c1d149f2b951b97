"""What is read of an image file, and why a file cannot be used."""

import math
from dataclasses import dataclass

from PIL import Image

from medae.base.errors import InputError

# A guard against files that decompress to fill the memory; large mammograms have 30 million.
MAX_PIXELS = 80_000_000

REPLACE = "Replace the file by an intact copy, or remove it from the dataset"
SET_RANGE = (
    "Set `intensity_range` in the dataset's registry entry: [low, high], the values that become "
    "black and white, or `percentiles`, each file's own"
)
SHRINK = "Resize the image before, or remove it from the dataset"
SAVE_PLAIN = "Save the image as 8-bit grey or colour, or as 16-bit grey, one image in a file"


class ImageError(InputError):
    """A file that cannot be used: `reason` says why, `remedy` what to do; both without the name."""

    def __init__(self, reason: str, remedy: str) -> None:
        """Compose the message; whoever knows the file adds its name."""
        super().__init__(f"{reason}. {remedy}.")
        self.reason, self.remedy = reason, remedy


@dataclass(frozen=True)
class Picture:
    """The image of a file, upright, and what its values mean."""

    image: Image.Image
    depth: str  # "8 bits", "more than 8 bits", "DICOM …": files of one scale have the same
    # What becomes black and white without an intensity_range; None: `units` says why one is needed.
    full_range: tuple[float, float] | None = None
    units: str = ""
    unit: float = 1.0  # the file's value is this times the image's
    inverted: bool = False  # the lowest value is white
    oddity: str | None = None  # what the user should know of the file


def check_size(size: tuple[int, int]) -> None:
    """Raise ImageError for an image of too many pixels."""
    if math.prod(size) > MAX_PIXELS:
        raise ImageError(f"{times(size)} pixels, more than {MAX_PIXELS}", SHRINK)


def times(size: tuple[int, ...]) -> str:
    """Return a width and a height as text."""
    return " × ".join(map(str, size))
