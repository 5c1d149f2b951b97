"""Logging of a rule's script: everything to the rule's log and to the screen."""

import errno
import gc
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from medae.base.errors import InputError

FREE_SPACE = "Free some space there, or have the quota raised"
GIVE_ACCESS = "Let the user who runs the workflow read and write there"
ADVICE = {  # by the number of an OSError
    errno.ENOSPC: FREE_SPACE,
    errno.EDQUOT: FREE_SPACE,
    errno.EFBIG: FREE_SPACE,
    errno.EROFS: GIVE_ACCESS,
    errno.EACCES: GIVE_ACCESS,
    errno.EPERM: GIVE_ACCESS,
}


def explain(error: BaseException) -> str | None:
    """Return the paragraph on a failure that the user can fix; None on any other one."""
    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, OSError) and error.errno in ADVICE:
        return (
            f"Cannot use {error.filename or 'a file'}: {os.strerror(error.errno)}. "
            f"{ADVICE[error.errno]}, then run the same command again; what is done is kept, and "
            "no half-written result was left."
        )
    if isinstance(error, MemoryError):
        return (
            f"Not enough memory ({error}). Run fewer jobs at once (--cores), or use a machine with "
            "more memory, then run the same command again."
        )
    if isinstance(error, KeyboardInterrupt):
        return "Interrupted by Ctrl-C. Run the same command again; what is done is kept."
    return None


@contextmanager
def script_logging(log: str) -> Iterator[None]:
    """Send log lines and failures of the enclosed block to the file `log` and to stderr.

    What the user can fix becomes one paragraph and exit code 1; any other exception is logged
    with its traceback and re-raised.
    """
    handlers: list[logging.Handler] = [logging.StreamHandler()]
    logging.raiseExceptions = False  # a log on a full disk must not hide what failed
    try:
        Path(log).parent.mkdir(parents=True, exist_ok=True)
        handlers.append(logging.FileHandler(log, mode="w", encoding="utf-8"))
    except OSError as error:
        sys.exit(f"The log {log} cannot be written. {explain(error) or error}")
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        handlers=handlers,
        force=True,
    )
    logging.captureWarnings(True)
    logging.getLogger("fontTools").setLevel(logging.WARNING)  # a thousand lines per PDF
    # What imports made stays to the end, so Python need not search it for garbage, neither now nor
    # when it ends: a third of what torch's import costs a job.
    gc.freeze()
    try:
        yield
        gc.freeze()
    except (Exception, KeyboardInterrupt) as error:
        paragraph = explain(error)
        if paragraph is None:
            logging.exception("unexpected failure")
            raise
        logging.error("%s", paragraph)
        sys.exit(1)
