"""The browser of these tests notices what they rely on."""

from urllib.parse import quote


def open_text(browser, folder, text):
    (folder / "page.html").write_text(f"<!DOCTYPE html><link rel=icon href=data:,>{text}")
    browser.open(folder / "page.html")
    browser.wait("document.readyState === 'complete'")


def test_faults_and_requests_are_heard_of_and_forgotten(browser, tmp_path):
    frame = quote("<img src=http://example.org/a.png>")
    faults = ["<script>undefined.name</script>", "<script>console.warn('no')</script>"]
    for text in [*faults, f'<iframe src="data:text/html,{frame}"></iframe>']:
        open_text(browser, tmp_path, text)
        assert browser.complaints()
    assert "http://example.org/a.png" in browser.outside()
    open_text(browser, tmp_path, "")
    assert not browser.complaints() and not browser.outside()
