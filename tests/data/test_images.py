import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_files import encoded
from PIL import Image, ImageChops, ImageFile, PngImagePlugin

from medae.base.errors import InputError
from medae.data.images import Preparation, check_range, decode_image, decode_mask, load_file
from medae.data.layouts import Record
from medae.data.pictures import MAX_PIXELS, ImageError
from medae.data.reading import read_picture

BILINEAR = Image.Resampling.BILINEAR
CHANNELS = {1: "L", 3: "RGB"}
COLOUR, GREY_ALPHA, COLOUR_ALPHA = 2, 4, 6  # PNG colour types
TRANSPARENT = ("have transparent pixels, which became black",)
SAVED_AS = {"1": "PNG", "L": "PNG", "P": "GIF", "LA": "PNG", "RGB": "JPEG"}
SAVED_AS |= {"RGBA": "PNG", "CMYK": "JPEG"}


def decode(image, image_format="PNG", *, channels=1, side=8, **preparation):
    """Decode an image, or the bytes of its file."""
    data = image if isinstance(image, bytes) else encoded(image, image_format)
    preparation = Preparation(**preparation)
    return decode_image(data, channels=channels, image_size=side, preparation=preparation)


def noise(shape, high=256, dtype=np.uint8, seed=0):
    return np.random.default_rng(seed).integers(0, high, shape).astype(dtype)


def with_header(size, depth, colour_type):
    """A PNG of 8 × 8 grey pixels whose header says something else."""
    small = encoded(Image.new("L", (8, 8)))
    header = b"IHDR" + struct.pack(">IIBBBBB", *size, depth, colour_type, 0, 0, 0)
    return small[:12] + header + struct.pack(">I", zlib.crc32(header)) + small[33:]


def in_mode(mode, width, height, seed=0):
    bands = {"1": 1, "L": 1, "P": 1, "LA": 2, "RGB": 3, "RGBA": 4, "CMYK": 4}[mode]
    array = noise((height, width, bands), seed=seed).squeeze(axis=-1 if bands == 1 else ())
    if mode == "1":
        return Image.fromarray(array).convert("1")
    if mode == "P":
        image = Image.fromarray(array, "L").convert("P")
        image.putpalette(noise(768, seed=seed + 1).tolist())
        return image
    return Image.frombytes(mode, (width, height), array.tobytes())


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mode", SAVED_AS)
def test_8_bit_images_are_exactly_what_pil_makes_of_them(mode, channels):
    data = encoded(in_mode(mode, 90, 70), SAVED_AS[mode])
    plain = Image.open(io.BytesIO(data))
    if mode in ("LA", "RGBA"):  # what is transparent is black
        *bands, alpha = plain.split()
        plain = Image.merge("RGB", [ImageChops.multiply(b, alpha) for b in (bands * 3)[:3]])
    plain = plain.convert(CHANNELS[channels])
    expected = np.asarray(plain.resize((64, 64), BILINEAR))
    decoded = decode(data, channels=channels, side=64)
    assert decoded.pixels.dtype == np.uint8
    assert (decoded.size, decoded.depth, decoded.limits) == ((90, 70), "8 bits", (0, 255))
    assert decoded.oddities == (TRANSPARENT if mode in ("LA", "RGBA") else ())
    difference = decoded.pixels.transpose(1, 2, 0) - expected.reshape(64, 64, channels).astype(int)
    assert np.abs(difference).max() <= (1 if mode in ("LA", "RGBA") else 0)  # rounding of alpha


@pytest.mark.parametrize("kind", ["png", "tiff", "big-endian tiff", "compressed tiff"])
def test_16_bit_gradients_keep_their_range(kind):
    gradient = np.linspace(0, 65535, 64 * 64).round().astype(np.uint16).reshape(64, 64)
    image = Image.fromarray(gradient)
    if kind.startswith("big"):
        image = Image.frombytes("I;16B", (64, 64), gradient.astype(">u2").tobytes())
    options = {"compression": "tiff_lzw"} if kind.startswith("compressed") else {}
    data = encoded(image, kind[-4:].strip().upper(), **options)
    decoded = decode(data, side=64)
    np.testing.assert_array_equal(decoded.pixels[0], np.rint(gradient / 65535 * 255))
    assert len(np.unique(decoded.pixels)) == 256
    assert decoded.limits == (0, 65535)


@settings(max_examples=40, deadline=None)
@given(
    width=st.integers(1, 50),
    height=st.integers(1, 50),
    side=st.sampled_from([1, 7, 16, 32]),
    low=st.integers(-1000, 40000),
    span=st.integers(1, 65535),
    seed=st.integers(0, 99),
)
def test_the_linear_rule_is_pils_filter_on_clipped_numbers(width, height, side, low, span, seed):
    values = noise((height, width), 65536, np.uint16, seed)
    image = Image.fromarray(values)
    decoded = decode(image, side=side, intensity_range=(low, low + span))
    plane = np.clip((values.astype(float) - low) / span, 0, 1) * 255
    resized = Image.fromarray(plane.astype(np.float32)).resize((side, side), BILINEAR)
    # Values next to a half may round either way.
    assert np.abs(decoded.pixels[0] - np.asarray(resized)).max() <= 0.5 + 1e-3


@pytest.mark.parametrize("channels", [1, 3])
def test_8_bit_images_follow_the_rule_when_a_range_is_given(channels):
    image = Image.fromarray(noise((16, 16, 3)))
    decoded = decode(image, channels=channels, side=16, intensity_range=(50, 150))
    plain = np.asarray(image.convert(CHANNELS[channels])).reshape(16, 16, channels)
    expected = np.rint(np.clip((plain - 50.0) / 100, 0, 1) * 255)
    np.testing.assert_array_equal(decoded.pixels.transpose(1, 2, 0), expected)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused(value):
    array = np.zeros((8, 8), np.float32)
    array[3, 4] = value
    with pytest.raises(ImageError, match=r"not finite"):
        decode(Image.fromarray(array), "TIFF", intensity_range=(0, 1))


def test_ranges_have_to_ascend():
    for wrong in [(1, 1), (2, 1), (0, float("inf")), (float("nan"), 1)]:
        with pytest.raises(InputError, match=r"intensity_range is \["):
            check_range(wrong)
    assert check_range([0, 4095]) == (0.0, 4095.0)
    assert check_range(None) is None
    assert check_range("percentiles") == "percentiles"


@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "PPM"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_cut_file_fails_or_has_lost_nothing(image_format):
    assert not ImageFile.LOAD_TRUNCATED_IMAGES
    data = encoded(Image.fromarray(noise((24, 20))), image_format)
    whole = decode(data).pixels
    failures = 0
    for length in [*range(0, len(data), 7), *range(len(data) - 16, len(data))]:
        try:
            cut = decode(data[:length]).pixels
        except ImageError as error:
            assert "intact copy" in str(error)
            failures += 1
        else:
            np.testing.assert_array_equal(cut, whole)
    assert failures > len(data) / 7 - 1


def test_a_flipped_bit_in_a_png_is_noticed():
    """Also in what comes before and after the pixels: PIL compares few of the checksums."""
    text = PngImagePlugin.PngInfo()
    text.add_text("before", "pixels")
    text.add(b"zzZz", b"a private chunk after the pixels", after_idat=True)
    data = encoded(Image.fromarray(noise((24, 20))), pnginfo=text)
    assert decode(data).size == (20, 24)
    sums = [data.index(kind) - 1 for kind in (b"IDAT", b"zzZz", b"IEND")]  # before the lengths
    for position in [*range(40, len(data) - 16, 11), *(at - 4 for at in sums)]:
        flipped = bytearray(data)
        flipped[position] ^= 4
        with pytest.raises(ImageError):
            decode(bytes(flipped))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_transparent_png_without_its_palette_is_refused(channels):
    image = Image.fromarray(noise((24, 20))).convert("P")
    data = encoded(image, transparency=0)
    start = data.index(b"PLTE") - 4
    stop = start + 12 + struct.unpack(">I", data[start : start + 4])[0]
    with pytest.raises(ImageError, match="colours of PIL mode P"):
        decode(data[:start] + data[stop:], channels=channels)


@settings(max_examples=60, deadline=None)
@given(
    start=st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"BM", b"GIF89a"]),
    rest=st.binary(max_size=200),
)
def test_bytes_that_are_no_image_are_refused(start, rest):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ImageError):
            decode(start + rest)
        with pytest.raises(ImageError):
            decode_mask(start + rest, image_size=8)


@pytest.mark.parametrize("image_format", ["EPS", "JPEG2000"])
def test_formats_that_run_programs_or_hide_truncation_are_not_opened(image_format):
    with pytest.raises(ImageError, match=r"unknown format"):
        decode(Image.fromarray(noise((64, 64))), image_format)


@pytest.mark.parametrize("side", [9_000, 100_000])
def test_decompression_bombs_are_refused_before_decoding(side):
    assert side**2 > MAX_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ImageError, match=r"pixels"):
            decode(with_header((side, side), 8, 0))


@pytest.mark.parametrize("image_format", ["GIF", "TIFF", "PNG", "WEBP"])
def test_several_frames_are_refused(image_format):
    frames = [Image.fromarray(noise((8, 8), seed=seed)) for seed in range(3)]
    data = encoded(frames[0], image_format, save_all=True, append_images=frames[1:])
    with pytest.raises(ImageError, match=r"3 frames in one file.*one image in a file"):
        decode(data)


def test_previews_of_cameras_are_ignored():
    frames = [Image.fromarray(noise((16, 16), seed=seed)) for seed in range(2)]
    data = encoded(frames[0], "MPO", save_all=True, append_images=frames[1:])
    assert Image.open(io.BytesIO(data)).n_frames == 2
    first = decode(frames[0], "JPEG")
    np.testing.assert_array_equal(decode(data).pixels, first.pixels)


@pytest.mark.parametrize("colour_type", [COLOUR, GREY_ALPHA, COLOUR_ALPHA])
def test_16_bit_colour_is_refused_since_pil_keeps_8_bits(colour_type):
    with pytest.raises(ImageError, match=r"16-bit colour or transparency"):
        decode(with_header((8, 8), 16, colour_type), channels=3)


def test_16_bit_tiff_with_white_as_zero_is_refused():
    image = Image.fromarray(noise((8, 8), 65536, np.uint16))
    with pytest.raises(ImageError, match=r"zero is white"):
        decode(encoded(image, "TIFF", tiffinfo={262: 0}))


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "I;16", "I", "F"])
def test_masks_are_binarised_and_resized_to_the_nearest_pixel(mode):
    truth = noise((40, 30), 2).astype(bool)
    if mode == "1":
        image = Image.fromarray(truth)
    elif mode == "RGB":
        image = Image.fromarray(truth[..., None] * np.array([0, 0, 1], np.uint8))
    else:
        dtype = {"L": np.uint8, "I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]
        image = Image.fromarray(truth.astype(dtype))
    data = encoded(image, "TIFF" if mode in ("I", "F") else "PNG")
    mask = decode_mask(data, image_size=16)
    expected = Image.fromarray(truth.astype(np.uint8)).resize((16, 16), Image.Resampling.NEAREST)
    np.testing.assert_array_equal(mask.pixels, np.asarray(expected))
    assert mask.pixels.dtype == np.uint8
    assert (mask.size, mask.share) == ((30, 40), truth.mean())


def test_masks_with_a_palette_count_every_colour_but_black():
    """Dark greys too, which in a grey image would be shades below half of the greatest."""
    image = Image.fromarray(np.array([[0, 1], [2, 0]], np.uint8), "P")
    image.putpalette([0] * 3 + [3] * 3 + [200] * 3)
    assert decode_mask(encoded(image), image_size=2).pixels.tolist() == [[0, 1], [1, 0]]


def test_the_bad_one_of_image_and_mask_is_named(tmp_path):
    image = encoded(Image.fromarray(noise((8, 8))))
    other = encoded(Image.fromarray(noise((8, 9))))  # height × width
    one = Record("test", "a.png", 1, tmp_path / "a.png", tmp_path / "m.png")
    options = {"root": tmp_path, "channels": 1, "image_size": 8, "preparation": Preparation()}
    for data, mask, name, reason in [
        (b"", image, "a.png", "not readable"),
        (image, b"x", "m.png", "not readable"),
        (image, other, "m.png", "9 × 8 pixels, its image 8 × 8"),
    ]:
        one.image.write_bytes(data)
        one.mask.write_bytes(mask)
        (loaded,) = load_file([one], **options)
        assert loaded.failed == name
        assert reason in loaded.error.reason
    one.image.unlink()
    assert "cannot be read: No such file" in load_file([one], **options)[0].error.reason


# --- what files say of themselves


EXIF_FORMATS = {"JPEG": {"quality": 100, "subsampling": 0}, "PNG": {}, "WEBP": {"lossless": True}}
EXIF_FORMATS |= {"TIFF": {}}


@pytest.mark.parametrize("image_format", EXIF_FORMATS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_and_masks_are_turned_as_their_orientation_tag_says(image_format, orientation):
    upright = np.zeros((16, 24, 3), np.uint8)
    upright[:8, :8], upright[8:, 12:] = (250, 0, 0), (0, 0, 250)
    # How the tag's number says that the rows and columns of the file lie.
    stored = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: np.rot90(a),
        7: lambda a: a.swapaxes(0, 1)[::-1, ::-1],
        8: lambda a: np.rot90(a, -1),
    }[orientation](upright)
    exif = Image.Exif()
    exif[274] = orientation
    image = Image.fromarray(np.ascontiguousarray(stored))
    data = encoded(image, image_format, exif=exif, **EXIF_FORMATS[image_format])
    files = (data, encoded(Image.fromarray(upright)))
    turned, plain = (decode(file, channels=3, side=16) for file in files)
    assert turned.size == (24, 16)
    difference = np.abs(turned.pixels.astype(int) - plain.pixels).mean()
    assert difference < (3 if image_format == "JPEG" else 1e-9)
    if image_format != "JPEG":
        turned, plain = (decode_mask(file, image_size=16) for file in files)
        assert turned.size == (24, 16)
        np.testing.assert_array_equal(turned.pixels, plain.pixels)


def graymap(values, maximum, plain):
    height, width = values.shape
    head = f"{'P2' if plain else 'P5'}\n{width} {height}\n{maximum}\n".encode()
    kind = ">u2" if maximum > 255 else "u1"
    return head + (
        " ".join(map(str, values.flat)).encode() if plain else values.astype(kind).tobytes()
    )


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("maximum", [100, 255, 4095, 65535])
def test_the_maximum_of_a_graymap_counts(maximum, plain):
    values = noise((8, 8), maximum + 1, np.int64)
    data = graymap(values, maximum, plain)
    expected = np.rint(values * 255 / maximum)
    assert np.abs(decode(data).pixels[0] - expected).max() <= (1 if maximum < 255 else 1e-9)
    high = maximum / 2
    ranged = decode(data, intensity_range=(0.0, high))
    np.testing.assert_array_equal(ranged.pixels[0], np.rint(np.clip(values / high, 0, 1) * 255))


def tiff(values, sample_format):
    """An uncompressed TIFF by hand, of types that PIL does not write."""
    height, width = values.shape
    data, bits = values.tobytes(), 8 * values.dtype.itemsize
    tags = [(256, width), (257, height), (258, bits), (259, 1), (262, 1), (273, 8), (277, 1)]
    tags += [(278, height), (279, len(data)), (339, sample_format)]
    table = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    start, count = struct.pack("<I", 8 + len(data)), struct.pack("<H", len(tags))
    return b"".join([b"II*\0", start, data, count, table, bytes(4)])


@pytest.mark.parametrize(
    ("dtype", "sample_format", "reason"),
    [
        ("<i2", 2, "signed 16-bit values, which have no black and white"),
        ("<i4", 2, "32-bit values, which have no"),
        ("<f4", 3, "floating-point values, which have no"),
        ("<f8", 3, "unknown format.*32-bit floating-point"),
        ("i1", 2, "signed 8-bit values"),
    ],
)
def test_the_true_reason_is_said_of_a_tiff(dtype, sample_format, reason):
    values = (np.arange(64).reshape(8, 8) - 20).astype(dtype)
    data = tiff(values, sample_format)
    with pytest.raises(ImageError, match=reason):
        decode(data)
    if "which have no" in reason:
        ranged = decode(data, intensity_range=(-10.0, 20.0))
        expected = np.rint(np.clip((values + 10.0) / 30, 0, 1) * 255)
        np.testing.assert_array_equal(ranged.pixels[0], expected)


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"subsampling": 0}, {"quality": 40}]
)
def test_a_jpeg_is_decoded_to_the_bits_of_pil(mode, options):
    smooth = np.cumsum(np.random.default_rng(0).normal(0, 9, (70, 90, 3)), axis=0) + 128
    image = Image.fromarray(np.clip(smooth, 0, 255).astype(np.uint8)).convert(mode)
    data = encoded(image, "JPEG", **options)
    np.testing.assert_array_equal(read_picture(data).image, Image.open(io.BytesIO(data)))


def test_a_jpeg_with_damage_before_its_end_marker_is_noticed():
    data = encoded(Image.fromarray(noise((96, 96))), "JPEG")
    half = len(data) // 2
    for damaged in (
        data[:half] + data[-2:],
        data[:half] + bytes(len(data) - half - 2) + data[-2:],
        data[:half] + data[half + 300 :],
    ):
        Image.open(io.BytesIO(damaged)).load()  # says nothing
        with pytest.raises(ImageError, match="damaged: Corrupt JPEG data.*intact copy"):
            decode(damaged)
    data = encoded(Image.fromarray(noise((96, 96))), "JPEG", progressive=True)
    second = data.index(b"\xff\xc4", data.index(b"\xff\xda"))  # tables of the next scan
    decoded = decode(data[:second] + bytes(range(1, 15)) + data[second:])
    assert decoded.oddities == ("may be damaged: there are extraneous bytes in the file",)
    np.testing.assert_array_equal(decoded.pixels, decode(data).pixels)


def test_a_transparent_colour_of_a_palette_is_black():
    seen = np.zeros((16, 16), bool)
    seen[4:12, 4:12] = True
    visible = np.where(seen, noise((16, 16)), 0).astype(np.uint8)
    image = Image.fromarray(np.where(seen, visible.clip(1), 0).astype(np.uint8), "P")
    image.putpalette([255, 255, 255, *(v for v in range(1, 256) for _ in range(3))])
    found = decode(encoded(image, transparency=0), side=16)
    assert np.abs(found.pixels[0].astype(int) - visible).max() <= 1
    assert found.oddities == TRANSPARENT
    assert decode(Image.new("RGBA", (8, 8), (1, 2, 3, 255))).oddities == ()


def test_percentiles_scale_each_file_by_its_own_values():
    values = noise((50, 50), 1000, np.uint16) + 300
    for scaled in (values, values * 5):
        found = decode(Image.fromarray(scaled.astype(np.uint16)), intensity_range="percentiles")
        assert found.limits == tuple(np.percentile(scaled, (0.5, 99.5)))
    assert not decode(Image.new("L", (8, 8), 9), intensity_range="percentiles").pixels.any()
