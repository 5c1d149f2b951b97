"""Transfers over HTTP: repeated attempts, reasons in plain words, and progress.

What heals by itself (a broken connection, a busy server) is tried again after growing waits; what
does not (a missing file, a wrong address) is reported at once.
"""

import logging
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import requests

ZENODO_API = "https://zenodo.org/api/records"
LONGEST_WAIT = 120.0  # seconds
BUSY = (408, 425, 429, 500, 502, 503, 504)  # HTTP states that pass
ADDRESS_ERRORS = (
    requests.exceptions.MissingSchema,
    requests.exceptions.InvalidSchema,
    requests.exceptions.InvalidURL,
)
MEGABYTE = 1_000_000

logger = logging.getLogger(__name__)
Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Access:
    """How the network is used.

    `mirror` is a URL below which the archive files lie; `api` the base URL of the Zenodo records;
    `retries` the attempts after the first; `wait` the seconds before the second attempt, doubled
    for each further one; `timeout` the seconds without an answer; `bar` whether to draw a progress
    bar instead of writing log lines, by default only on a terminal.
    """

    mirror: str | None = None
    api: str = ZENODO_API
    retries: int = 3
    wait: float = 2.0
    timeout: float = 30.0
    bar: bool | None = None


class TransferError(Exception):
    """A transfer failed for good; the message says why, without a full stop."""


def attempt_repeatedly(action: Callable[[], Result], *, what: str, access: Access) -> Result:
    """Return `action()`, calling it again after failures that may heal.

    A `ValueError` of `action` stands for a wrong checksum: it is tried once more, for damage on
    the way, and no oftener, because a wrong file stays wrong.

    Raises
    ------
    TransferError
        When a failure cannot heal or the attempts are used up.
    """
    mismatches = 0
    for attempt in range(access.retries + 1):
        try:
            return action()
        except requests.RequestException as error:  # first, for some are ValueErrors as well
            failure, reason, heals = error, describe_failure(error), _may_heal(error)
        except ValueError as error:
            mismatches += 1
            failure, reason, heals = error, str(error).partition(". Deleted")[0], mismatches < 2
        if not heals or attempt == access.retries:
            raise TransferError(
                f"{what} failed in attempt {attempt + 1} of {access.retries + 1}: {reason}"
            ) from failure
        delay = min(max(access.wait * 2**attempt, _asked_wait(failure)), LONGEST_WAIT)
        logger.warning("%s failed: %s. Trying again in %g s", what, reason, delay)
        time.sleep(delay)
    raise AssertionError("the last attempt returns or raises")


def describe_failure(error: requests.RequestException) -> str:
    """Return what happened, in words that need no knowledge of the HTTP library."""
    if isinstance(error, requests.HTTPError):
        return f"{error.response.url} answered {error.response.status_code} {error.response.reason}"
    if isinstance(error, ADDRESS_ERRORS):
        return (
            f"{error} (an address begins with https:// or http://; archives in a folder of this "
            "machine are found if that folder is the data_dir)"
        )
    if isinstance(error, requests.JSONDecodeError):
        return "the server gave some page instead of a record"
    if isinstance(error, requests.Timeout):
        return f"{error.request.url} gave no answer in time"
    if error.request is None:  # so the answer had begun
        return f"the connection broke off ({_innermost(error)})"
    return f"{error.request.url} cannot be reached ({_innermost(error)})"


def _innermost(error: Exception) -> Exception:
    """Return the failure that the layers of HTTP libraries have wrapped."""
    inner = getattr(error, "reason", None) or (error.args[-1] if error.args else None)
    return _innermost(inner) if isinstance(inner, Exception) else error


def _may_heal(error: requests.RequestException) -> bool:
    if isinstance(error, requests.HTTPError):
        return error.response.status_code in BUSY
    return not isinstance(error, ADDRESS_ERRORS)


def _asked_wait(error: Exception) -> float:
    """Return the seconds that a busy server asks to wait, 0 if it asks for none."""
    response = getattr(error, "response", None)
    asked = "" if response is None else response.headers.get("Retry-After", "")
    return float(asked) if asked.isdecimal() else 0.0


class LogProgress:
    """A progress bar for a log file: a line after each tenth, or 100 MB where the size is unknown.

    It has what pooch asks of a progress bar: `total`, `update`, `reset` and `close`.
    """

    def __init__(self, name: str) -> None:
        """Start at nothing; `total` (bytes) is set by the downloader when the server says it."""
        self.name = name
        self.total = 0
        self.done = 0
        self.logged = 0

    def update(self, size: int) -> None:
        """Count `size` bytes more."""
        self.done += size
        step = self.total / 10 if self.total else 100 * MEGABYTE
        if self.done // step > self.logged:
            self.logged = self.done // step
            done, total = self.done / MEGABYTE, self.total / MEGABYTE
            of = f" of {total:,.1f}" if self.total else ""
            logger.info("%s: %s%s MB", self.name, f"{min(done, total or done):,.1f}", of)

    def reset(self) -> None:
        """Count from nothing again; lines that have been written are not repeated."""
        self.done = 0

    def close(self) -> None:
        """Do nothing; a bar on a terminal would end its line here."""


def choose_progress(name: str, *, bar: bool | None) -> bool | LogProgress:
    """Return what to give pooch: True, for its own bar, on a terminal; otherwise log lines.

    `bar` decides instead of the terminal, unless it is None.
    """
    drawn = sys.stderr.isatty() if bar is None else bar
    return drawn or LogProgress(name)
