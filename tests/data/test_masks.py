"""Which pixels of a mask are abnormal, for masks as people have them."""

import numpy as np
import pytest
from image_files import encoded
from PIL import Image, ImageFilter

from medae.data.images import decode_mask
from medae.data.masks import GREY, LABELS
from medae.data.pictures import ImageError

TRUTH = np.zeros((40, 48), dtype=bool)
TRUTH[5:21, 13:37] = True


def mask_of(values, image_format="PNG", **options):
    image = values if isinstance(values, Image.Image) else Image.fromarray(values)
    return decode_mask(encoded(image, image_format, **options), image_size=48)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_lossy_and_blurred_masks_are_cut_at_half_of_their_maximum(mode):
    image = Image.fromarray(TRUTH.astype(np.uint8) * 200).convert(mode)
    for lossy in (
        mask_of(image, "JPEG", quality=60),
        mask_of(image.filter(ImageFilter.GaussianBlur(1))),
    ):
        assert lossy.share == pytest.approx(TRUTH.mean(), rel=0.02)
        assert lossy.oddities == (GREY,)
    smooth = (TRUTH * 0.6 + 0.2).astype(np.float32)
    assert mask_of(smooth, "TIFF").share == TRUTH.mean()
    assert mask_of(TRUTH.astype(np.uint8) * 254 + 1).oddities == (GREY,)


def test_labels_are_abnormal_but_for_0():
    labels = TRUTH.astype(np.uint8)
    labels[10:12, 20:30] = 2
    labels[12:20, 20:30] = 4  # as in BraTS
    found = mask_of(labels)
    assert (found.share, found.oddities) == (TRUTH.mean(), (LABELS,))
    colours = np.array([[0, 0, 0], [0, 0, 9], [250, 0, 0], [0, 0, 0], [0, 60, 0]], np.uint8)
    found = mask_of(colours[labels])
    assert (found.share, found.oddities) == (TRUTH.mean(), (LABELS,))


def test_255_beside_0_and_1_is_asked_about():
    values = TRUTH.astype(np.uint8)
    values[0] = 255
    with pytest.raises(ImageError, match=r"with the values 0, 1, 255. Is 255 to be ignored"):
        mask_of(values)


@pytest.mark.parametrize("colour", [0, 255])
def test_a_mask_in_the_transparency_alone_is_refused(colour):
    image = Image.fromarray(np.full((40, 48), colour, np.uint8)).convert("RGB")
    image.putalpha(Image.fromarray(TRUTH.astype(np.uint8) * 255))
    with pytest.raises(ImageError, match="in the transparency alone"):
        mask_of(image)
    opaque = Image.fromarray(TRUTH.astype(np.uint8) * 255).convert("RGBA")
    assert mask_of(opaque).share == TRUTH.mean()
