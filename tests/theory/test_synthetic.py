"""Synthetic anomalies: exact masks, within the body, of their kind and of nothing but the seed."""

import numpy as np
import pytest
from scipy import ndimage

from medae.base.errors import InputError
from medae.theory.synthetic import AREA, HAZE_AREA, KINDS, find_foreground, make_anomaly

SIZE = 64


def brain(seed, *, channels=1, size=SIZE):
    """A textured ellipse with two dark holes on black."""
    random = np.random.default_rng(seed)
    y, x = (np.indices((size, size)) + 0.5) / size * 2 - 1
    inside = (x / 0.7) ** 2 + (y / 0.85) ** 2 < 1
    holes = ((np.abs(x) - 0.15) / 0.08) ** 2 + (y / 0.2) ** 2 < 1
    texture = ndimage.gaussian_filter(random.standard_normal((channels, size, size)), (0, 2, 2))
    image = 110 + 30 * texture / texture.std() + 10 * random.uniform(-1, 1)
    return np.clip(image * (inside & ~holes), 0, 255).astype(np.uint8)


def chest(seed):
    """A bright body that fills the image, with two dark lungs."""
    image = brain(seed).astype(float)
    return np.clip(220 - image, 20, 255).astype(np.uint8)


IMAGES = {"brain": brain, "chest": chest}


def make(kind, image, *, name="a", seed=0, donor=None):
    donor = brain(99, channels=len(image), size=image.shape[-1]) if donor is None else donor
    return make_anomaly(image, kind=kind, name=name, seed=seed, donor=donor)


@pytest.fixture(params=list(KINDS))
def kind(request):
    return request.param


@pytest.mark.parametrize("organ", IMAGES)
def test_the_mask_is_what_changed_and_lies_in_the_foreground(kind, organ):
    shares = []
    for number in range(15):
        image = IMAGES[organ](number)
        before = image.copy()
        pixels, mask = make(kind, image, name=str(number))
        assert (pixels.dtype, pixels.shape) == (np.uint8, image.shape)
        assert (mask.dtype, mask.shape) == (np.uint8, image.shape[1:])
        assert np.array_equal(mask == 1, (pixels != image).any(axis=0))
        assert np.array_equal(image, before)
        foreground = find_foreground(image)
        assert not mask[~foreground].any()
        shares.append(mask.sum() / foreground.sum())
    low, high = HAZE_AREA if kind == "haze" else AREA
    # A rectangle has whole pixels on each side, so it can be a little larger.
    assert max(shares) < high * 1.15
    assert np.median(shares) > low


def test_equal_arguments_give_equal_anomalies_and_others_do_not(kind):
    image = brain(1)
    first = make(kind, image).pixels
    changes = [{}, {"seed": 1}, {"name": "b"}, {"donor": brain(8)}]
    same = [np.array_equal(first, make(kind, image, **change).pixels) for change in changes]
    assert same == [True, False, False, kind != "foreign_patch"]


def test_blobs_and_haze_have_their_sign():
    for number in range(10):
        image = brain(number).astype(int)
        for kind, sign in (("bright_blob", 1), ("dark_blob", -1)):
            change = sign * (make(kind, image.astype(np.uint8)).pixels.astype(int) - image)
            assert (change >= 0).all()
        pixels, mask = make("haze", image.astype(np.uint8))
        change = (pixels.astype(int) - image)[0][mask == 1]
        assert change.mean() > 0


def test_haze_lowers_the_contrast():
    ratios = []
    for number in range(10):
        image = brain(number)
        pixels, mask = make("haze", image)
        core = ndimage.binary_erosion(mask, iterations=4)
        fine = [
            (one[0] - ndimage.gaussian_filter(one[0].astype(float), 2))[core].std()
            for one in (image, pixels)
        ]
        ratios.append(fine[1] / fine[0])
    assert np.mean(ratios) < 0.9


def test_a_foreign_patch_continues_its_surroundings():
    image, donor = brain(1), brain(2) // 4  # much darker
    pixels, mask = make("foreign_patch", image, donor=donor)
    change = pixels[0].astype(float) - image[0]
    assert abs(change[mask == 1].mean()) < 30  # without the shift about -80


def test_the_foreground_by_hand():
    y, x = np.indices((64, 64)) - 31.5
    radius = np.hypot(x, y)
    image = np.where((radius < 20) & (radius > 5), 200, 0)
    image[:4, :4] = 255  # a label beside the body
    found = find_foreground(image[None].astype(np.uint8))
    assert np.array_equal(found, ndimage.binary_fill_holes(found))
    assert found[radius < 19].all()
    assert not found[radius > 22].any()


def test_without_a_body_the_whole_image_is_taken():
    assert find_foreground(np.full((1, 16, 16), 7, np.uint8)).all()
    speck = np.zeros((1, 64, 64), np.uint8)
    speck[0, 10:13, 10:13] = 255
    assert find_foreground(speck).all()


def test_an_image_of_one_grey_value_has_no_piece_to_show():
    blank = np.zeros((1, 32, 32), np.uint8)
    with pytest.raises(InputError, match="The training image x.png cannot .* kind cut_paste"):
        make("cut_paste", blank, name="x.png")
    assert make("bright_blob", blank).mask.any()
