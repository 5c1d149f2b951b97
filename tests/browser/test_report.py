"""Snakemake's report as a reader sees it: every category and item opens, and asks for nothing."""

import pytest
from selenium.webdriver.common.by import By

pytestmark = pytest.mark.workflow


@pytest.fixture(scope="module")
def path(finished, tmp_path_factory):
    page = tmp_path_factory.mktemp("report") / "report.html"
    finished.run("--report", str(page))
    return page


@pytest.fixture
def report(browser, path):
    browser.open(path)
    browser.wait(lambda driver: driver.find_elements(By.TAG_NAME, "nav"))
    yield browser
    assert not browser.complaints(warnings=False)  # of Snakemake's libraries, about versions
    assert not browser.outside()


def click(browser, text):
    """Click what has the text in the menu, as soon as it is there."""
    place = (By.XPATH, f"//nav//*[normalize-space(text())='{text}']")
    browser.wait(lambda driver: driver.find_elements(*place))
    browser.driver.find_element(*place).click()


def buttons(browser, icon):
    """Return the buttons beside the items of the open category: `eye` or `information-circle`."""
    return browser.driver.find_elements(By.CSS_SELECTOR, f"nav tbody a[iconname={icon}]")


def check_shown(browser):
    """Wait until the picture or page that was chosen is drawn."""
    driver = browser.driver
    kind = browser.run("return app.state.content")
    if kind == "img":
        browser.wait("document.querySelector('#app img:not(nav img)').naturalWidth > 100")
        return
    assert kind == "html"
    driver.switch_to.frame(driver.find_element(By.TAG_NAME, "iframe"))
    browser.wait("document.readyState === 'complete' && document.body.innerText.length > 100")
    if browser.run("return document.title").endswith("anomaly maps"):
        browser.wait("document.body.dataset.ready")
    driver.switch_to.default_content()


def test_it_opens_with_the_workflow_and_its_categories(report):
    report.wait("document.querySelector('svg.marks, canvas.marks')")
    text = report.driver.find_element(By.TAG_NAME, "nav").text
    for category in ("Audit", "Figures", "Gallery", "Provenance", "Tables"):
        assert category in text
    assert "Autoencoder anomaly detection" in report.driver.find_element(By.ID, "app").text


def test_every_category_and_item_opens(report):
    """A label of which half the items have one value and half another becomes a switch.

    Items that have no counterpart then break their whole category.
    """
    paths = report.run("return Object.keys(results)")
    opened = set()
    for category in report.run("return Object.keys(categories)"):
        click(report, category)
        report.wait("document.querySelector('nav tbody')")
        for number in range(len(buttons(report, "eye"))):
            button = buttons(report, "eye")[number]
            if name := button.get_attribute("download"):  # a table for another program
                assert button.get_attribute("href").startswith("data:")
                opened |= {path for path in paths if path.endswith("/" + name)}
                continue
            button.click()
            report.wait("document.querySelector('#app iframe, #app img') && app.state.content")
            check_shown(report)
            opened.add(report.run("return app.state.resultPath"))
        report.driver.find_element(By.CSS_SELECTOR, "nav nav a").click()  # to all categories
    assert opened == set(paths)


def test_every_item_has_a_description(report):
    for path in report.run("return Object.keys(results)"):
        report.run("app.showResultInfo(arguments[0])", path)
        report.wait("document.querySelector('nav .prose')")
        text = report.driver.find_element(By.CSS_SELECTOR, "nav .prose").text
        assert len(text) > 40 and "{{" not in text, path
