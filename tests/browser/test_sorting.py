"""Tables as pages: sorted by a click or a key on a column's head."""

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from medae.report.tables import Section, html_page


@pytest.fixture
def heads(browser, tmp_path):
    rows = [["b", "9.5 ± 0.1"], ["a", "–"], ["c", "-1.0"], ["d", "10.2"], ["e", "<0.001"]]
    page = tmp_path / "table.html"
    section = Section(header=["Name", "AUC"], rows=rows, align="lr")
    page.write_text(html_page("T", [section]), encoding="utf-8")
    browser.open(page)
    yield browser.driver.find_elements(By.CSS_SELECTOR, "thead th")
    assert browser.complaints() == [] and browser.outside() == []


def names(browser):
    cells = browser.driver.find_elements(By.CSS_SELECTOR, "tbody td:first-child")
    return "".join(cell.text for cell in cells)


def test_a_click_sorts_numbers_by_size_and_a_second_one_turns_them_round(browser, heads):
    heads[1].click()
    assert names(browser) == "cebda"
    assert heads[1].get_attribute("aria-sort") == "ascending"
    heads[1].click()
    assert names(browser) == "dbeca"
    assert heads[1].get_attribute("aria-sort") == "descending"


def test_keys_sort_names(browser, heads):
    heads[0].send_keys(Keys.ENTER)
    assert names(browser) == "abcde"
    heads[0].send_keys(Keys.SPACE)
    assert names(browser) == "edcba"
    heads[1].send_keys(Keys.ENTER)
    assert heads[0].get_attribute("aria-sort") is None
