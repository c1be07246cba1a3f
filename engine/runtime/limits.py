"""How long a request may take, and whether its caller still wants it."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from engine.errors import DeadlineError, OptionError, RequestCancelledError

# Seconds between two looks at a cancellation while a request waits in line.
_LOOK_S = 0.01


@dataclass(frozen=True, slots=True)
class Limits:
    """deadline: on the clock of time.monotonic; cancelled: set by anybody, at any time."""

    deadline: float | None
    cancelled: threading.Event | None = None

    def check(self) -> None:
        """Raise DeadlineError or RequestCancelledError when the request is to end."""
        if self.cancelled is not None and self.cancelled.is_set():
            message = "the request was cancelled; its outputs were not computed."
            raise RequestCancelledError(message)
        if self.deadline is not None and time.monotonic() >= self.deadline:
            message = "the request's time was over before it was finished. Give a longer timeout, or send fewer at once."
            raise DeadlineError(message)

    def acquire(self, lock: threading.Lock) -> None:
        """Wait for a lock. Raises as `check`."""
        while True:
            left = _LOOK_S if self.cancelled is not None else threading.TIMEOUT_MAX
            if self.deadline is not None:
                left = min(left, max(0.0, self.deadline - time.monotonic()))
            if lock.acquire(timeout=left):
                return
            self.check()


def limits_of(timeout: float | None, cancelled: threading.Event | None) -> Limits | None:
    """The limits of a request that begins now; None for one without.

    timeout   seconds; None: as long as it takes

    Raises OptionError for a timeout that is negative or no number.
    """
    if timeout is None:
        return None if cancelled is None else Limits(None, cancelled)
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not timeout >= 0:
        message = f"timeout must be seconds of at least 0, or None; got {timeout!r}."
        raise OptionError(message)
    return Limits(time.monotonic() + timeout, cancelled)
