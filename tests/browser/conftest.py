"""A headless browser that tells what a page complained of and asked for."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait

# No sandbox, since it does not start as root or in a container; no name is looked up, so that a
# page that asks for something outside is noticed and gets nothing.
ARGUMENTS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
ARGUMENTS += ["--window-size=1300,1900", "--host-resolver-rules=MAP * ~NOTFOUND"]
OWN = ("file:", "data:", "blob:", "about:")
SECONDS = 60  # a report of some MB takes its time on a busy machine


class Browser:
    """One window; `complaints` and `outside` are of the page that was opened last."""

    def __init__(self, driver: Chrome) -> None:
        """Take a driver that logs the console and what pages ask for."""
        self.driver = driver
        self.run = driver.execute_script

    def open(self, page: Path, *, dark: bool = False) -> None:
        """Open a file, with what the browser would say where the reader prefers dark pages."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        self.driver.get("about:blank")
        self.complaints(), self.outside()  # reading empties them
        self.driver.get(page.resolve().as_uri())

    def wait(self, met: str | Callable) -> object:
        """Wait until an expression in JavaScript, or a function of the driver, gives something."""
        test = met if callable(met) else lambda _: self.run(f"return {met}")
        return WebDriverWait(self.driver, SECONDS, poll_frequency=0.05).until(test, str(met))

    def complaints(self, *, warnings: bool = True) -> list[str]:
        """Return the console's errors, uncaught ones too, and warnings since the last call."""
        levels = {"SEVERE", "WARNING"} if warnings else {"SEVERE"}
        return [x["message"] for x in self.driver.get_log("browser") if x["level"] in levels]

    def outside(self) -> list[str]:
        """Return the addresses outside the file that were asked for since the last call."""
        messages = [json.loads(x["message"])["message"] for x in self.driver.get_log("performance")]
        sent = [m["params"] for m in messages if m["method"] == "Network.requestWillBeSent"]
        return [p["request"]["url"] for p in sent if not p["request"]["url"].startswith(OWN)]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, or another that is called so; what needs it is skipped without it."""
    programs = [shutil.which("chromium"), shutil.which("chromedriver")]
    if None in programs:
        pytest.skip("chromium and chromedriver are not both installed")
    options = ChromeOptions()
    options.binary_location, driver = programs
    for argument in ARGUMENTS:
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    # Both paths are given, so selenium looks for no browser and downloads none.
    with Chrome(options=options, service=Service(driver)) as chrome:
        yield Browser(chrome)
