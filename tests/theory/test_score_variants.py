"""The names of scores."""

import pytest

from medae.base.errors import InputError
from medae.theory.score_names import display_name, parse_variant


@pytest.mark.parametrize(
    ("name", "parts", "shown"),
    [
        ("mse", ("mse", None, 1), "squared error"),
        ("mse_w9", ("mse", 9, 1), "squared error, 9 × 9"),
        ("relative_x10", ("relative", None, 10), "relative error, 10 ε"),
        ("information_w17_x0.5", ("information", 17, 0.5), "information, 17 × 17, 0.5 ε"),
        ("ncc_w3", ("ncc", 3, 1), "1 − correlation, 3 × 3"),
    ],
)
def test_names(name, parts, shown):
    assert parse_variant(name) == parts
    assert display_name(name) == shown


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "does not begin"),
        ("ssim", "does not begin"),
        ("mse_9", "does not begin"),
        ("ncc_x10_w9", "does not begin"),
        ("ncc_w09", "does not begin"),
        ("ncc_w8", "odd number"),
        ("ncc_w1", "at least 3"),
        ("mse_x10", "no noise floor"),
        ("ncc_x0", "positive"),
        ("ncc_x1", "1 is left out"),
    ],
)
def test_other_names_are_refused(name, message):
    with pytest.raises(InputError, match=message):
        parse_variant(name)
