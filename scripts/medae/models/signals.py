"""Signals that ask a training to stop: a batch system sends them before it ends a job."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)


@contextmanager
def stop_requests() -> Iterator[Callable[[], str | None]]:
    """Yield a function that returns the name of the signal that asked to stop, None without one.

    Within the block SIGTERM, SIGUSR1 and SIGINT (Ctrl-C) only ask; a second SIGINT raises
    KeyboardInterrupt. For the main thread.
    """
    requests: list[str] = []

    def note(number: int, _frame) -> None:
        if number == signal.SIGINT and "SIGINT" in requests:
            raise KeyboardInterrupt
        requests.append(signal.Signals(number).name)

    before = {number: signal.signal(number, note) for number in STOP_SIGNALS}
    try:
        yield lambda: requests[0] if requests else None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
