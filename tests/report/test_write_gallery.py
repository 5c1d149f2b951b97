import base64
import io
import json
import re

import numpy as np
import pytest
import write_gallery as script
from gallery_files import (
    IDS,
    LABELS,
    METHODS,
    REFERENCE,
    SETTINGS,
    SIDE,
    TWINS,
    write_gallery_files,
)
from PIL import Image
from write_gallery import setting_sprite, write_gallery

from medae.base.errors import InputError
from medae.data.packed import as_floats, read_packed
from medae.models.information import score_reconstructions
from medae.models.score_files import read_maps, read_scores


@pytest.fixture
def make(root, tmp_path):
    """A function that writes inputs, makes their page and returns it with the inputs."""

    def make_page(page="page.html", information=True, **options):
        files = write_gallery_files(tmp_path / "in", **options)
        files["template"] = root / "workflow/resources/gallery.html"
        files["information"] = information
        write_gallery(**files, page=tmp_path / page)
        return (tmp_path / page).read_text(encoding="utf-8"), files

    return make_page


def contents(page: str) -> dict:
    """Return what the page's script reads."""
    text = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)[1]
    return json.loads(text)


def pixels(uri: str) -> np.ndarray:
    """Return the pixels of a data URI."""
    assert uri.startswith("data:image/png;base64,")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


def cell(picture: np.ndarray, column: int, row: int) -> np.ndarray:
    return picture[row * SIDE :, column * SIDE :][:SIDE, :SIDE]


def test_maps_lose_little_in_eight_bits():
    maps = np.random.default_rng(0).exponential(0.01, (3, SIDE, SIDE)).astype(np.float32)
    below = maps - maps.mean()  # with negative values
    picture, (made, other) = setting_sprite(np.zeros((3, 1, SIDE, SIDE), np.float32), maps, below)
    found = pixels(picture)
    assert set(np.unique(found[:SIDE])) == {128}  # a reconstruction of 0 in [-1, 1]
    decoded = (cell(found, 1, 1) / 255.0) ** 2 * made["top"]
    assert np.abs(np.sqrt(decoded) - np.sqrt(maps[1])).max() <= 0.51 / 255 * made["top"] ** 0.5
    assert made["scale"] == pytest.approx(np.percentile(maps, 99.5))
    assert other["low"] == pytest.approx(below.min())
    decoded = other["low"] + (cell(found, 1, 2) / 255.0) ** 2 * (other["top"] - other["low"])
    assert np.abs(decoded - below[1]).max() < 0.005 * (other["top"] - other["low"])
    picture, (made,) = setting_sprite(np.zeros((1, 1, 4, 4)), np.zeros((1, 4, 4)))  # no error
    assert not pixels(picture)[4:].any()
    assert made["scale"] > 0


@pytest.mark.parametrize(("masks", "channels"), [(True, 1), (False, 3)])
def test_the_page_has_every_chosen_image_and_every_setting(make, masks, channels):
    page, files = make(masks=masks, channels=channels)
    found = contents(page)
    data = read_packed(files["packed"])
    tables = [read_scores(path, data).query("split == 'test'") for path in files["scores"]]
    judge = tables[SETTINGS.index(REFERENCE)]["score"].to_numpy()
    rows = [*np.argsort(judge[:8]), *(8 + np.argsort(judge[8:]))]  # all, by class and score
    assert found["images"] == [
        {"id": IDS[i], "label": ["normal", "abnormal"][LABELS[i]], "twin": IDS[i] in TWINS}
        for i in rows
    ]
    assert found["start"] == SETTINGS.index(REFERENCE)
    names = [(s["method"], s["latent_dim"]) for s in found["settings"]]
    assert names == [(files["methods"][s["method"]], s["latent_dim"]) for s in SETTINGS]
    inputs = pixels(found["inputs"])
    shown = np.moveaxis(data.test_images[rows[2]], 0, -1).squeeze()
    assert np.array_equal(cell(inputs, 2, 0), shown)
    assert found["masks"] == masks == (len(inputs) == 2 * SIDE)
    if masks:
        assert np.array_equal(cell(inputs, 9, 1), 255 * data.test_masks[rows[9]])
    for setting, table, path in zip(found["settings"], tables, files["maps"], strict=True):
        scores = table["score"].to_numpy()
        view, *other = setting["views"]
        assert view["scores"] == pytest.approx(scores[rows], rel=1e-5)
        below = [100 * (scores[LABELS == 0] < score).mean() for score in scores[rows]]
        assert view["below"] == pytest.approx(below, abs=0.05)
        picture = pixels(setting["sprite"])
        expected = (read_maps(path, data, name="reconstructions")[rows[5]] + 1) * 127.5
        difference = cell(picture, 5, 0) - np.moveaxis(expected, 0, -1).squeeze()
        assert np.abs(difference).max() <= 0.51
        level = (cell(picture, 5, 1) / 255.0) ** 2 * view["top"]
        level = level if level.ndim == 2 else level[..., 0]
        assert level == pytest.approx(read_maps(path, data)[rows[5]], abs=0.02)
        assert len(other) == (setting["method"] != METHODS["nearest"])
        for view in other:
            again = read_maps(path, data, name="reconstructions")
            pair = {"images": as_floats(data.test_images), "reconstructions": again}
            values, maps = score_reconstructions("information", **pair, floor=0.02)
            assert view["scores"] == pytest.approx(values[rows], rel=1e-5)
            level = (cell(picture, 5, 2) / 255.0) ** 2 * (view["top"] - view["low"]) + view["low"]
            level = level if level.ndim == 2 else level[..., 0]
            assert level == pytest.approx(maps[rows[5]], abs=0.02)


def test_without_information_there_is_no_switch(make):
    page, _ = make(information=False)
    assert all(len(setting["views"]) == 1 for setting in contents(page)["settings"])
    assert 'id="informed"' not in page


@pytest.mark.parametrize(("most", "alike"), [(100, True), (1, False)])
def test_one_colour_scale_is_the_start_only_for_maps_of_like_units(most, alike, make, monkeypatch):
    monkeypatch.setattr(script, "UNLIKE", most)
    page, _ = make()
    assert ('id="common" checked>' in page) == alike


def test_texts_are_escaped(make, tmp_path):
    evil = '</script><img src="http://example.org/x">'
    _, files = make(ids=[*IDS[:-1], evil])
    files |= {"name": evil, "methods": files["methods"] | {"ae": evil}}
    write_gallery(**files, page=tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "<img" not in page
    assert page.count("</script>") == 2
    assert evil in [image["id"] for image in contents(page)["images"]]


def test_the_page_names_nothing_outside_and_equal_inputs_give_equal_bytes(make, tmp_path):
    page, files = make()
    assert not re.search(r"https?:|//[a-z]+\.|@import|<link|<iframe|\bfetch\(", page)
    policy = re.search(r'Content-Security-Policy"\s+content="(.*?)"', page)[1]
    assert policy.startswith("default-src 'none'; img-src data:;")
    write_gallery(**files, page=tmp_path / "again.html")
    assert (tmp_path / "again.html").read_text() == page


def test_fewer_images_where_the_page_would_be_too_large(make, monkeypatch):
    page, files = make()
    monkeypatch.setattr(script, "GALLERY_BYTES", len(page.encode()))
    write_gallery(**files, page=files["packed"].parent / "smaller.html")
    smaller = (files["packed"].parent / "smaller.html").read_text()
    assert len(contents(smaller)["images"]) == 6 + 5
    assert "11 images of the full test set" in smaller
    monkeypatch.setattr(script, "GALLERY_BYTES", 10_000)
    with pytest.raises(InputError, match=r"5 settings of 16 × 16 pixels.*gallery: false"):
        write_gallery(**files, page=files["packed"].parent / "too_large.html")
    assert not (files["packed"].parent / "too_large.html").exists()
