"""Ask addresses in turn, each time on a new connection, until stdin is closed; then print what was answered, as JSON.

A program of its own, for a client outside of the nodes: `load.py PATH HOST:PORT…`.
"""

import json
import sys
import threading
from http.client import HTTPConnection
from itertools import cycle

PAUSE = 0.05  # seconds
PATIENCE = 20  # seconds


def main(path: str, *addresses: str) -> None:
    over = threading.Event()
    threading.Thread(target=_set_at_end, args=(over,), daemon=True).start()
    answers = []
    for address in cycle(addresses):
        answers.append(_asked(address, path))
        if over.wait(PAUSE):
            break
    json.dump({"asked": len(answers), "failed": [each for each in answers if each != 200]}, sys.stdout)


def _set_at_end(over: threading.Event) -> None:
    sys.stdin.read()
    over.set()


def _asked(address: str, path: str) -> int | str:
    connection = HTTPConnection(address, timeout=PATIENCE)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
        return response.status
    except OSError as error:
        return f"{address}: {error!r}"
    finally:
        connection.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
