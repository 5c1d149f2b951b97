"""Logging of a rule's script: everything to the rule's log and to the screen."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from medae.errors import InputError


@contextmanager
def script_logging(log: str) -> Iterator[None]:
    """Send log lines and failures of the enclosed block to the file `log` and to stderr.

    An `InputError` becomes its one paragraph and exit code 1; any other exception is logged
    with its traceback and re-raised.
    """
    Path(log).parent.mkdir(parents=True, exist_ok=True)
    handlers = [logging.FileHandler(log, mode="w", encoding="utf-8"), logging.StreamHandler()]
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        handlers=handlers,
        force=True,
    )
    logging.captureWarnings(True)
    logging.getLogger("fontTools").setLevel(logging.WARNING)  # a thousand lines per PDF
    try:
        yield
    except InputError as error:
        logging.error("%s", error)
        sys.exit(1)
    except Exception:
        logging.exception("unexpected failure")
        raise
