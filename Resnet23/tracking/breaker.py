"""When to ask a server again that has failed."""

import time

FIRST_PAUSE = 15  # seconds
LONGEST_PAUSE = 600


class CircuitBreaker:
    """Keeps a server in trouble from being asked all the time: each failure in a row doubles the pause after it."""

    def __init__(self) -> None:
        self._failures = 0
        self._open_until = 0.0  # on the monotonic clock
        self.is_broken = False  # for good

    def is_closed(self) -> bool:
        """Whether the server may be asked now."""
        return not self.is_broken and time.monotonic() >= self._open_until

    def failed(self, for_good: bool = False) -> None:
        """Count a failure; `for_good` when asking again cannot help."""
        pause = min(FIRST_PAUSE * 2**self._failures, LONGEST_PAUSE)
        self._failures += 1
        self._open_until = time.monotonic() + pause
        self.is_broken = self.is_broken or for_good

    def succeeded(self) -> None:
        """Forget the failures."""
        self._failures = 0
        self._open_until = 0.0
