"""Which pixels of a mask are abnormal."""

import numpy as np
from PIL import Image

from medae.data.pictures import REPLACE, ImageError, Picture
from medae.data.reading import convert, has_alpha, is_wide

MOST_LABELS = 15  # a mask's values up to this are labels of classes, not shades of grey
GREY = "have a mask with shades of grey, of which those above half of its greatest are abnormal"
LABELS = "have a mask with several labels, of which all but 0 (black) are abnormal"
IGNORE = (
    "Is 255 to be ignored? Save masks with two values, 0 where the image is normal; nothing can be "
    "left out"
)
OPAQUE = "Save masks without transparency, black where the image is normal"


def abnormal_pixels(picture: Picture) -> tuple[np.ndarray, str | None]:
    """Return where a mask is abnormal, bool H × W, and what is odd about its values.

    Raises ImageError when its values say nothing, or two things.
    """
    image = picture.image
    if is_wide(image):
        return binarise(np.asarray(image))
    if has_alpha(image):
        *colours, alpha = image.convert("RGBA").getextrema()
        if alpha[0] < 255 and all(low == high for low, high in colours):
            raise ImageError("a mask whose shape is in the transparency alone", OPAQUE)
    if image.mode in ("1", "L"):
        return binarise(np.asarray(image.convert("L")))
    # By colour, not grey: the darkest colours of a label map would become black.
    colour = convert(image, "RGB")
    peaks = np.asarray(colour).max(axis=-1)
    few = colour.getcolors(MOST_LABELS + 1)
    grey = few is None or all(red == green == blue for _, (red, green, blue) in few)
    if image.mode == "P" or not grey:
        several = few is None or len(few) > 2
        return peaks > 0, LABELS if several else None
    return binarise(peaks)


def binarise(values: np.ndarray) -> tuple[np.ndarray, str | None]:
    """Return where grey values or labels are abnormal, and what is odd about them.

    Two values, one of them 0, are a mask; small whole numbers from 0 are labels; of all others,
    which come from lossy or smoothed files, those above half of the greatest are abnormal.
    """
    whole = values.dtype.kind in "ub"
    if not whole and not np.isfinite(values).all():
        raise ImageError("a mask with values that are not finite numbers", REPLACE)
    small = whole and values.dtype.itemsize == 1
    if small:  # much faster than np.unique
        flat = values.reshape(len(values), -1).astype(np.uint8)  # volumes too
        found = np.flatnonzero(Image.fromarray(flat).histogram())
    else:
        found = np.unique(values)
    if len(found) > 2 and found[-1] == 255 and found[-2] <= MOST_LABELS:
        raise ImageError(f"a mask with the values {', '.join(f'{x:g}' for x in found)}", IGNORE)
    if len(found) == 1 or (found[0] == 0 and len(found) == 2):
        return values > 0, None
    if found[0] == 0 and found[-1] <= MOST_LABELS and (found == np.rint(found)).all():
        return values > 0, LABELS
    return values > found[-1] / 2, GREY
