"""What a failing script leaves in its log and on the screen."""

import contextlib
import errno
import logging
import os
import warnings

import pytest

from medae.base.errors import InputError
from medae.base.logs import explain, script_logging


@pytest.fixture(autouse=True)
def root_logger():
    """Put the handlers and switches back that a script sets for its whole process."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    for handler in set(root.handlers) - set(handlers):
        root.removeHandler(handler)
        with contextlib.suppress(OSError):  # of the full disk
            handler.close()
    for handler in set(handlers) - set(root.handlers):
        root.addHandler(handler)
    root.setLevel(level)
    logging.captureWarnings(False)
    logging.raiseExceptions = True


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (InputError("Bad input in x. Fix it."), ["Bad input in x. Fix it."]),
        (OSError(errno.ENOSPC, "?", "a/b"), ["Cannot use a/b: No space left on device", "Free"]),
        (OSError(errno.EFBIG, "?", "a/b"), ["Cannot use a/b: File too large", "quota"]),
        (OSError(errno.EROFS, "?", "a/b"), ["Cannot use a/b: Read-only file system", "Let the"]),
        (PermissionError(errno.EACCES, "?", "a/b"), ["a/b: Permission denied", "Let the user"]),
        (OSError(errno.ENOSPC, "?"), ["Cannot use a file: No space left"]),
        (MemoryError("8 GiB"), ["Not enough memory (8 GiB)", "--cores"]),
        (KeyboardInterrupt(), ["Interrupted by Ctrl-C", "same command again"]),
    ],
)
def test_what_the_user_can_fix_is_one_paragraph(error, words, tmp_path, capsys):
    log = tmp_path / "logs/deep/rule.log"
    with pytest.raises(SystemExit) as ended, script_logging(str(log)):
        raise error
    assert ended.value.code == 1
    for place in (log.read_text(), capsys.readouterr().err):
        assert all(word in place for word in words)
        assert "Traceback" not in place
        assert len(place.strip().splitlines()) == 1


@pytest.mark.parametrize("error", [ValueError("a bug"), OSError(errno.EIO, "?", "a/b")])
def test_anything_else_keeps_its_traceback(error, tmp_path):
    with pytest.raises(type(error)), script_logging(str(tmp_path / "rule.log")):
        raise error
    text = (tmp_path / "rule.log").read_text()
    assert "unexpected failure" in text and "Traceback" in text
    assert explain(error) is None


def test_lines_and_warnings_go_to_the_log_and_the_screen(tmp_path, capsys):
    with script_logging(str(tmp_path / "rule.log")):
        logging.getLogger("medae.x").info("a line")
        warnings.warn("a warning", stacklevel=1)
    for place in ((tmp_path / "rule.log").read_text(), capsys.readouterr().err):
        assert "INFO medae.x: a line" in place and "a warning" in place


def test_a_log_that_cannot_be_written_is_said_on_the_screen(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(SystemExit, match="log .*file/rule.log cannot be written.*"),
        script_logging(str(tmp_path / "file/rule.log")),
    ):
        raise AssertionError("the block must not run")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")  # noqa: PTH110
def test_a_log_on_a_full_disk_does_not_hide_what_failed(capsys):
    with pytest.raises(SystemExit), script_logging("/dev/full"):
        logging.info("a line")
        raise InputError("Bad input.")
    screen = capsys.readouterr().err
    assert "Bad input." in screen
    assert "Traceback" not in screen and "Logging error" not in screen
