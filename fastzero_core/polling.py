"""The one loop that waits for something to become true. Standard library only."""

import time
from collections.abc import Callable
from typing import TypeVar

EVERY = 0.02  # seconds

Answer = TypeVar("Answer")


def poll(question: Callable[[], Answer], timeout: float, *, every: float = EVERY) -> Answer:
    """Return the first answer that is true, else the last within `timeout` seconds. It asks at least once."""
    deadline = time.monotonic() + timeout
    while not (answer := question()):
        if time.monotonic() > deadline:
            break
        time.sleep(every)
    return answer


def wait_until(condition: Callable[[], object], timeout: float, *, every: float = EVERY) -> bool:
    """Return whether `condition()` came true within `timeout` seconds; it is asked at least once."""
    return bool(poll(condition, timeout, every=every))
