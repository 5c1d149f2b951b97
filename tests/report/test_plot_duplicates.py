"""The contact sheet of near-duplicates: which pairs it shows, and that they lie on each other."""

import numpy as np
import pandas as pd
import pytest
from packed_files import audit, write_packed
from plot_duplicates import BELOW, describe, find_pair, make_bands, plot_duplicates

from medae.data.packed import PackedDataset
from medae.duplicates.similarity import SYMMETRIES, move

THRESHOLDS = pd.DataFrame({"threshold": [0.98, 0.99, 0.999], "used": [0, 1, 0]})


def table(similarity, identical=()):
    frame = pd.DataFrame({"similarity": similarity, "identical": 0})
    frame.loc[list(identical), "identical"] = 1
    return frame


# --- bands ---


def test_bands_by_hand():
    test = table([0.5, 1.0, 0.9995, 0.999, 0.995, 0.9899, 1.0, 0.99], identical=[6])
    assert make_bands(test, THRESHOLDS) == {
        "identical pixels: 1 test image": [6],
        "0.9990 ≤ r, not identical: 3 test images": [1, 2, 3],
        "0.9900 ≤ r < 0.9990: 2 test images": [4, 7],
        "below the threshold, 0.9900: the most similar of 2 test images": [5, 0],
    }
    (below,) = make_bands(table(np.linspace(0, 0.9, 50)), THRESHOLDS).values()
    assert below == list(range(49, 49 - BELOW, -1))
    assert len(make_bands(table([1.0, 0.9999]), THRESHOLDS)) == 1


def test_pairs_are_evenly_spaced_by_rank():
    # In order 1, 4, 5 (tied, as they come), 2, 3, 0; places 0, 2.5 (to even: 2) and 5.
    bands = make_bands(table([0.991, 0.995, 0.993, 0.992, 0.994, 0.994]), THRESHOLDS)
    assert list(bands.values()) == [[1, 5, 0]]


# --- pairs ---


@pytest.mark.parametrize("symmetry", SYMMETRIES)
@pytest.mark.parametrize("channels", [1, 3])
def test_the_moved_training_image_lies_as_the_test_image(symmetry, channels):
    random = np.random.default_rng(0)
    train = random.integers(0, 200, (3, channels, 16, 16), dtype=np.uint8)
    test = move(train[1], SYMMETRIES.index(symmetry)).copy()
    data = PackedDataset(train, ["a", "1", "c"], test[None], ["t"], np.zeros(1), None, {})
    # What the audit writes: the symmetry that moves the test image to the nearest one.
    back = [number for number in range(8) if np.array_equal(move(test, number), train[1])]
    row = pd.Series({"nearest": 1, "symmetry": SYMMETRIES[back[0]]})  # an id that reads as a number
    image, nearest, moved, difference = find_pair(data, row, 0)
    np.testing.assert_array_equal(nearest, train[1] / 127.5 - 1)
    np.testing.assert_array_equal(moved, image)
    assert not difference.any()
    test[0, :2] += 30  # of two rows, in the first channel
    changed = find_pair(data, row, 0)[3]
    assert changed[:2] == pytest.approx(30 / channels) and not changed[2:].any()


def test_labels_of_pairs():
    row = {"id": "x/Te-1.png", "nearest": "y/Tr-2.png", "similarity": 0.99987654}
    row["symmetry"] = "unmoved"
    assert describe(row) == ["Te-1 – Tr-2", "r = 0.99988, unmoved"]
    row["id"], row["similarity"] = f"x/{'0123456789' * 5}.png", 0.999999
    long, short, last = describe(row)
    assert len(long) == 36
    assert long.startswith("…") and long.endswith("0123456789")
    assert (short, last) == ("Tr-2", "r > 0.99999, unmoved")


# --- the figure ---


def test_what_is_drawn(tmp_path):
    """A dataset with a rotated and an identical copy."""
    random = np.random.default_rng(0)
    train, test = (random.integers(0, 200, (6, 1, 16, 16), dtype=np.uint8) for _ in range(2))
    test[0], test[2] = move(train[4], 5), train[3]
    test_ids = [f"test/{i}$.png" for i in range(6)]
    write_packed(tmp_path / "packed.h5", train, test, [0, 0, 0, 1, 1, 1], test_ids=test_ids)
    audit(tmp_path / "packed.h5", tmp_path)
    tables = {name: tmp_path / f"{name}.tsv" for name in ("images", "thresholds")}
    figure = plot_duplicates(packed=tmp_path / "packed.h5", **tables, name="Toy $")
    panels = {axes.get_label(): axes for axes in figure.axes}
    assert len(panels) == 6 * 4 + 1
    shown = {key: axes.images[0].get_array() for key, axes in panels.items() if axes.images}
    for i in (0, 2):
        np.testing.assert_array_equal(shown[f"test {i}"], shown[f"matched {i}"])
        assert not shown[f"difference {i}"].any()
    assert not np.array_equal(shown["training 0"], shown["matched 0"])
    assert shown["difference 1"].any()
    figure.draw_without_rendering()
    height = figure.get_size_inches()[1]
    assert max(text.get_window_extent().y1 / figure.dpi for text in figure.texts) <= height
    assert min(axes.get_position().y0 for axes in figure.axes) > 0
