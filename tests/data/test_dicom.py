"""DICOM files made of arrays: what becomes black and white, which side is up, what is refused."""

import logging

import numpy as np
import pytest
from dicom_files import PATIENT, dicom
from pydicom.dataset import Dataset
from pydicom.uid import JPEG2000Lossless, RLELossless

from medae.base.errors import InputError
from medae.data.findings import Findings
from medae.data.images import LoadedRecord, Preparation, decode_image
from medae.data.layouts import Record
from medae.data.pictures import ImageError

RAMP = np.arange(0, 4096, 16, dtype=np.uint16).reshape(16, 16)
TWELVE_BITS = {"BitsStored": 12, "HighBit": 11}
HOUNSFIELD = {"RescaleSlope": 2, "RescaleIntercept": -1024}


def pixels(data, intensity_range=None):
    preparation = Preparation(intensity_range)
    return decode_image(data, channels=1, image_size=16, preparation=preparation).pixels[0]


def linear(values, low, high):
    return np.rint(np.clip((values - low) / (high - low), 0, 1) * 255)


def test_a_range_is_in_rescaled_units():
    data = dicom(RAMP, WindowCenter=1, WindowWidth=10, **HOUNSFIELD)
    expected = linear(RAMP * 2.0 - 1024, -1000, 1000)
    np.testing.assert_array_equal(pixels(data, (-1000.0, 1000.0)), expected)


def test_the_window_of_the_file_applies_without_a_range():
    data = dicom(RAMP, WindowCenter=["40", "600"], WindowWidth=["401", "2"], **HOUNSFIELD)
    values = RAMP * 2.0 - 1024
    np.testing.assert_array_equal(pixels(data), linear(values, 39.5 - 200, 39.5 + 200))
    exact = dicom(RAMP, WindowCenter=40, WindowWidth=400, VOILUTFunction="LINEAR_EXACT")
    np.testing.assert_array_equal(pixels(exact), linear(RAMP.astype(float), -160, 240))
    sigmoid = dicom(RAMP, WindowCenter=2000, WindowWidth=1000, VOILUTFunction="SIGMOID")
    expected = 255 / (1 + np.exp(-4 * (RAMP - 2000.0) / 1000))
    assert np.abs(pixels(sigmoid) - expected).max() <= 0.5 + 1e-3


def test_a_window_without_width_is_none():
    for width in ("0", "", None):
        data = dicom(RAMP, **TWELVE_BITS, WindowCenter="0", WindowWidth=width)
        np.testing.assert_array_equal(pixels(data), linear(RAMP.astype(float), 0, 4095))


def test_files_of_several_scales_are_not_mixed_in_silence(tmp_path):
    window = {"WindowCenter": 2048, "WindowWidth": 16000}
    narrow = dicom((RAMP // 16).astype(np.uint8))
    plain, windowed = dicom(RAMP, **TWELVE_BITS), dicom(RAMP, **TWELVE_BITS, **window)
    for one, other, rule in (
        (plain, dicom(RAMP), None),
        (plain, windowed, None),
        (plain, narrow, (0.0, 4095.0)),
    ):
        found = Findings(Preparation(rule))
        for name, data in (("one", one), ("other", other)):
            image = decode_image(data, channels=1, image_size=16, preparation=Preparation(rule))
            found.add(LoadedRecord(Record("train", name, 0, tmp_path / name), {}, image))
        with pytest.raises(InputError, match=r"different scales: 1 of DICOM.*; 1 of DICOM"):
            found.check(tmp_path)
        found.preparation = Preparation("percentiles")
        found.check(tmp_path)
    found = Findings(Preparation((-1000.0, 1000.0)))
    found.depths |= {"DICOM": ["a"], "more than 8 bits": ["b"]}  # both in Hounsfield units
    found.check(tmp_path)


def test_a_lookup_table_of_the_file_applies():
    table = Dataset()
    table.LUTDescriptor = [4096, 0, 12]
    table.LUTData = (4095 - np.arange(4096)).astype("<u2").tobytes()
    table["LUTDescriptor"].VR = "US"
    table["LUTData"].VR = "OW"
    data = dicom(RAMP, VOILUTSequence=[table])
    np.testing.assert_array_equal(pixels(data), linear(4095.0 - RAMP, 0, 4095))


def test_all_stored_bits_count_without_a_window():
    np.testing.assert_array_equal(pixels(dicom(RAMP, **TWELVE_BITS)), linear(1.0 * RAMP, 0, 4095))
    signed = (RAMP.astype(np.int16) - 2048) * 16
    np.testing.assert_array_equal(pixels(dicom(signed)), linear(1.0 * signed, -32768, 32767))


def test_monochrome1_has_white_for_the_least_value():
    for options, rule in ((TWELVE_BITS, None), ({}, (0.0, 4095.0))):
        plain, inverted = (
            pixels(dicom(RAMP, photometric=f"MONOCHROME{kind}", **options), rule).astype(int)
            for kind in (2, 1)
        )
        assert np.abs(plain + inverted - 255).max() <= 1
        assert inverted[0, 0] == 255


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless])
def test_compressed_pixels_are_the_same(syntax):
    large = np.tile(RAMP, (4, 4))
    plain = pixels(dicom(large), (0.0, 4095.0))
    compressed = dicom(large, compress=syntax)
    assert len(compressed) < len(dicom(large))
    np.testing.assert_array_equal(pixels(compressed, (0.0, 4095.0)), plain)


@pytest.mark.parametrize(
    ("cosines", "turned"),
    [
        ([1, 0, 0, 0, 1, 0], lambda a: a),
        ([-1, 0, 0, 0, -1, 0], lambda a: a[::-1, ::-1]),  # prone
        ([0.99, 0.1, 0, 0, -0.99, 0.1], lambda a: a[::-1]),
        ([0, 1, 0, 1, 0, 0], lambda a: a.T),
        ([0, 1, 0, 0, 0, -1], lambda a: a),  # sagittal
        ([1, 0, 0, 0, 0, 1], lambda a: a[::-1]),  # coronal, feet first
    ],
)
def test_slices_lie_as_in_the_patient(cosines, turned):
    rule = (0.0, 4095.0)
    found = pixels(dicom(RAMP, ImageOrientationPatient=cosines), rule)
    np.testing.assert_array_equal(found, turned(pixels(dicom(RAMP), rule)))


def test_what_cannot_be_read_is_refused_without_a_word_on_the_patient(caplog, recwarn):
    caplog.set_level(logging.DEBUG)
    whole = dicom(RAMP, StudyDate="not a date")
    pixels(whole)
    refused = {
        "frames in one DICOM": dicom(RAMP, NumberOfFrames=2),
        r"in colour \(RGB\)": dicom(np.zeros((4, 4, 3), np.uint8), photometric="RGB"),
        "damaged|cannot be decoded": whole[:-100],
        "without an image": whole[: whole.index(b"\xe0\x7f\x10\x00")],
    }
    for reason, data in refused.items():
        with pytest.raises(ImageError, match=reason) as caught:
            pixels(data)
        assert PATIENT not in str(caught.value) and "4711" not in str(caught.value)
    for length in range(132, len(whole), 60):
        with pytest.raises(ImageError):
            pixels(whole[:length])
    assert caplog.text == "" and not recwarn.list
