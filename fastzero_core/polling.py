"""The one loop that waits for something to become true. Standard library only."""

import time
from collections.abc import Callable

EVERY = 0.02  # seconds


def wait_until(condition: Callable[[], object], timeout: float, *, every: float = EVERY) -> bool:
    """Whether `condition()` came true within `timeout` seconds; it is asked at least once."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(every)
    return True
