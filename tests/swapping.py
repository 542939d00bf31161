"""Another user who makes a folder a link to another folder and back, as fast as a shell can."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fastzero_core.polling import wait_until

# It ends with the test, when its own folder is gone, and at the latest after so many rounds.
ROUNDS = 20_000
SWAP = """
round=0
while [ $round -lt "$3" ]; do
    mv -T "$1" "$1.aside" && ln -s "$2" "$1" || exit
    echo
    rm "$1" && mv -T "$1.aside" "$1" || exit
    round=$((round + 1))
done
"""


@dataclass(frozen=True)
class Swapping:
    """What is swapped, and how often it was so far."""

    path: Path
    log: Path

    def count(self) -> int:
        return self.log.stat().st_size


@contextmanager
def swapping(path: Path, target: Path, uid: int) -> Iterator[Swapping]:
    """Have the user `uid` make `path`, in a folder of that user's, a link to `target` and back, during the block."""
    log = target.parent / "swaps"
    with log.open("wb") as out:
        child = subprocess.Popen(
            ["/bin/sh", "-c", SWAP, "sh", str(path), str(target), str(ROUNDS)],
            stdout=out,
            stderr=subprocess.DEVNULL,
            cwd="/",
            user=uid,
            group=uid,
            extra_groups=[],
        )
    swaps = Swapping(path, log)
    try:
        assert wait_until(lambda: swaps.count() > 0, 30)
        yield swaps
    finally:
        child.kill()
        child.wait()
