"""The browser of these tests notices what they rely on."""

from urllib.parse import quote

import pytest


def open_text(browser, folder, text):
    (folder / "page.html").write_text(f"<!DOCTYPE html><link rel=icon href=data:,>{text}")
    browser.open(folder / "page.html")
    browser.wait("document.readyState === 'complete'")


def test_a_page_without_faults_is_silent(browser, tmp_path):
    open_text(browser, tmp_path, "<script>document.title = 'done'</script>")
    assert browser.driver.title == "done"
    assert not browser.complaints()
    assert not browser.outside()


@pytest.mark.parametrize("script", ["undefined.name", "console.error('no')", "console.warn('no')"])
def test_errors_are_heard_of(browser, tmp_path, script):
    open_text(browser, tmp_path, f"<script>{script}</script>")
    assert browser.complaints()
    open_text(browser, tmp_path, "")
    assert not browser.complaints()


def test_requests_are_heard_of_from_a_frame_too(browser, tmp_path):
    text = quote("<img src=http://example.org/a.png>")
    open_text(browser, tmp_path, f'<iframe src="data:text/html,{text}"></iframe>')
    assert "http://example.org/a.png" in browser.outside()
    assert browser.complaints()
