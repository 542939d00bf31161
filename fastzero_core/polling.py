"""Poll a condition until it is true or a timeout expires. Standard library only."""

import time
from collections.abc import Callable
from typing import TypeVar

EVERY = 0.02  # seconds

Result = TypeVar("Result")


def poll(function: Callable[[], Result], timeout: float, *, every: float = EVERY) -> Result:
    """Call `function` until its result is true, for up to `timeout` seconds, at least once. Return the last result."""
    deadline = time.monotonic() + timeout
    while not (result := function()):
        if time.monotonic() > deadline:
            break
        time.sleep(every)
    return result


def wait_until(condition: Callable[[], object], timeout: float, *, every: float = EVERY) -> bool:
    """Return whether `condition()` became true within `timeout` seconds. It is called at least once."""
    return bool(poll(condition, timeout, every=every))
