"""The gallery as a reader uses it: slider, keys and buttons, on a page that asks for nothing."""

import base64
import io

import numpy as np
import pytest
from gallery_files import IDS, LABELS, REFERENCE, SETTINGS, SIDE, write_gallery_files
from matplotlib.cm import inferno
from PIL import Image
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.common.by import By
from write_gallery import write_gallery

from medae.data.packed import read_packed
from medae.models.score_files import read_maps, read_scores, rescore

FACTS = ("id", "label", "score", "below", "twin", "place")


@pytest.fixture(scope="module")
def files(root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("gallery")
    found = write_gallery_files(folder) | {"template": root / "workflow/resources/gallery.html"}
    write_gallery(**found, page=folder / "toy.html")
    return found | {"page": folder / "toy.html"}


@pytest.fixture
def page(browser, files):
    browser.open(files["page"])
    browser.wait("document.body.dataset.ready")
    yield browser
    assert not browser.complaints()
    assert not browser.outside()


def text(browser, name):
    return browser.run("return document.getElementById(arguments[0]).textContent", name)


def chosen(browser):
    """Return method, d, and the id of the image that are shown."""
    method = browser.run("return document.querySelector('[aria-pressed=true]').textContent")
    return method.partition(" ")[2], text(browser, "sized"), text(browser, "id")


def pixels(browser, name):
    """Return what a canvas shows; uint8, height × width × 4."""
    uri = browser.run("return arguments[0].toDataURL()", by_id(browser, name))
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


def by_id(browser, name):
    return browser.driver.find_element(By.ID, name)


def press(browser, *keys):
    ActionChains(browser.driver).send_keys(*keys).perform()


def test_it_opens_at_the_reference_and_an_abnormal_image(page, files):
    method, size, name = chosen(page)
    assert (method, size) == ("AE", "d = 4")
    assert text(page, "label") == "abnormal"
    assert name in IDS[8:]
    assert all(text(page, fact) for fact in FACTS)


def test_every_setting_opens_with_its_own_pictures(page, files):
    by_id(page, "outline").click()
    data = read_packed(files["packed"])
    row = IDS.index(text(page, "id"))
    shown = pixels(page, "input")
    zoom = len(shown) // SIDE
    assert zoom > 1
    assert np.array_equal(shown[..., 0], data.test_images[row, 0].repeat(zoom, 0).repeat(zoom, 1))
    all_maps = [read_maps(path, data) for path in files["maps"]]
    scale = np.percentile(all_maps, 99.5)  # every image is on the page
    buttons = page.driver.find_elements(By.CSS_SELECTOR, "#settings button")
    for button, setting, maps, path in zip(buttons, SETTINGS, all_maps, files["maps"], strict=True):
        button.click()
        size = f"d = {setting['latent_dim']}" if setting["latent_dim"] else "none"
        assert chosen(page)[:2] == (files["methods"][setting["method"]], size)
        assert text(page, "score") in button.text
        assert by_id(page, "size").is_enabled() == (setting["method"] == "ae")
        reconstruction = read_maps(path, data, name="reconstructions")[row, 0]
        shown = pixels(page, "reconstruction")
        assert np.abs(shown[::zoom, ::zoom, 0] - (reconstruction + 1) * 127.5).max() <= 0.51
        colours = inferno(np.minimum(maps[row] / scale, 1), bytes=True).astype(int)
        assert np.abs(pixels(page, "map")[::zoom, ::zoom] - colours).mean() < 2


def test_every_image_opens_and_they_stand_by_ascending_score(page):
    seen = set()
    for place in range(len(IDS)):
        page.driver.find_elements(By.CSS_SELECTOR, "#images button")[place].click()
        assert text(page, "place") == f"{place + 1} of {len(IDS)} shown"
        seen.add(text(page, "id"))
    assert seen == set(IDS)
    for key in "123":
        press(page, key)
        labels = page.driver.find_elements(By.CSS_SELECTOR, "#images span")
        scores = [float(label.text.split()[1]) for label in labels]
        assert scores == sorted(scores)


def test_the_slider_changes_d_and_the_pictures(page):
    slider = by_id(page, "size")
    before = [pixels(page, name) for name in ("input", "reconstruction", "map")]
    slider.send_keys(Keys.ARROW_RIGHT)
    assert chosen(page)[1] == slider.get_attribute("aria-valuetext") == "d = 16"
    after = [pixels(page, name) for name in ("input", "reconstruction", "map")]
    same = [np.array_equal(*pair) for pair in zip(before, after, strict=True)]
    assert same == [True, False, False]
    slider.send_keys(Keys.ARROW_DOWN, Keys.ARROW_DOWN)
    assert chosen(page)[1] == "d = 1"


def test_keys_change_image_d_and_method(page):
    by_id(page, "images").find_element(By.CSS_SELECTOR, "button").click()
    press(page, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_LEFT)
    assert text(page, "place") == f"2 of {len(IDS)} shown"
    second = text(page, "id")
    press(page, Keys.ARROW_DOWN)
    assert chosen(page) == ("AE", "d = 1", second)
    press(page, Keys.ARROW_UP, Keys.ARROW_UP, Keys.ARROW_UP)
    assert chosen(page) == ("AE", "d = 16", second)
    press(page, "3")
    assert chosen(page) == ("Nearest training image", "none", second)
    press(page, "9", "1")
    assert chosen(page) == ("AE", "d = 16", second)  # the d that was chosen last


def test_keys_reach_everything_and_the_focus_is_seen(page):
    names = set()
    for _ in range(9):  # three methods, a slider, three ticks, and one button of each row
        press(page, Keys.TAB)
        focused = page.driver.switch_to.active_element
        assert focused.value_of_css_property("outline-style") == "solid"
        row = page.run("return arguments[0].closest('[role=group]')?.id", focused)
        names.add(row or focused.get_attribute("id"))
    assert names == {"methods", "size", "common", "informed", "outline", "settings", "images"}
    press(page, Keys.ARROW_RIGHT)  # the focus stays on the image that the keys choose
    focused = page.driver.switch_to.active_element
    assert focused.get_attribute("aria-current") == "true"
    assert text(page, "id") in focused.get_attribute("aria-label")


def test_ticks_change_the_colours_and_the_outline(page):
    before, top = pixels(page, "map"), text(page, "top")
    by_id(page, "outline").click()
    assert not np.array_equal(pixels(page, "map"), before)
    by_id(page, "outline").click()
    assert np.array_equal(pixels(page, "map"), before)
    by_id(page, "common").click()
    assert text(page, "top") != top
    assert not np.array_equal(pixels(page, "map"), before)


def test_the_map_changes_to_information_where_there_is_one(page, files):
    by_id(page, "outline").click()
    data = read_packed(files["packed"])
    row, place = IDS.index(text(page, "id")), SETTINGS.index(REFERENCE)
    table = read_scores(files["scores"][place], data)
    about = {
        "table": table,
        "trained_on": np.ones(len(data.train_ids), bool),
        "held_out": np.zeros(len(data.train_ids), bool),
        "maps": files["maps"][place],
        "truth": data,
        "what": "",
    }
    values, maps = rescore("information", **about)
    by_id(page, "common").click()
    by_id(page, "informed").click()
    assert float(text(page, "score")) == pytest.approx(values[row], rel=0.01)
    assert text(page, "kind").startswith("½ log2")
    low, scale = min(0, maps.min()), np.percentile(maps, 99.5)
    assert float(text(page, "low")) == pytest.approx(low, rel=0.01)
    colours = inferno(np.clip((maps[row] - low) / (scale - low), 0, 1), bytes=True).astype(int)
    shown = pixels(page, "map")
    zoom = len(shown) // SIDE
    assert np.abs(shown[::zoom, ::zoom] - colours).mean() < 2
    press(page, "3")  # the nearest training image has none
    assert text(page, "kind").startswith("by default")


def test_a_dataset_without_abnormal_images_opens(browser, root, tmp_path):
    found = write_gallery_files(tmp_path, masks=False, labels=0 * LABELS)
    template = root / "workflow/resources/gallery.html"
    write_gallery(**found, template=template, page=tmp_path / "toy.html")
    browser.open(tmp_path / "toy.html")
    browser.wait("document.body.dataset.ready")
    assert text(browser, "label") == "normal"
    assert not browser.complaints() and not browser.outside()


@pytest.mark.parametrize("dark", [False, True])
def test_it_follows_the_readers_preference_and_fits_a_narrow_window(browser, files, dark):
    browser.driver.set_window_size(500, 900)
    try:
        browser.open(files["page"], dark=dark)
        browser.wait("document.body.dataset.ready")
        style = "getComputedStyle(document.body)"
        paper, ink = browser.run(f"return [{style}.backgroundColor, {style}.color]")
        levels = [sum(map(int, colour.strip("rgb()").split(","))) / 3 for colour in (paper, ink)]
        assert (max(levels), min(levels)) == tuple(levels[::-1] if dark else levels)
        assert min(levels) < 64 and max(levels) > 192
        root = "document.documentElement"
        assert browser.run(f"return {root}.scrollWidth <= {root}.clientWidth")
        assert not browser.complaints() and not browser.outside()
    finally:
        browser.driver.set_window_size(1300, 1900)
