"""Clients that write through the proxies of the nodes, for a client outside of them: `writers.py COUNT PORT HOST…`.

A program of its own. Each line on stdin is an order, and is answered by a line of JSON: `begin` counts from here on,
`report` tells what was counted, `pause` stops writing, and the name of a file, with the titles of all rows as JSON,
compares them and goes on.
"""

import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.api.client import Client
from tests.faults.ledger import Ledger, Row, row_of
from tests.faults.writers import CLOSED, TIMED_OUT, HttpWriter, Load, Refusal

PATIENCE = 20  # seconds for an answer


class ProxyWriter(HttpWriter):
    """A client that asks another node after its own did not answer."""

    def __init__(self, port: int, hosts: list[str], first: int) -> None:
        super().__init__(lambda: port)
        self._hosts = hosts
        self._at = first

    def write(self, row: Row) -> None:
        try:
            super().write(row)
        except Refusal as refusal:
            if refusal.kind in (CLOSED, TIMED_OUT):
                self._at += 1
            raise

    def _client(self) -> Client:
        return Client(self._port(), host=self._hosts[self._at % len(self._hosts)], patience=PATIENCE)


def main(count: str, port: str, *hosts: str) -> None:
    ledger = Ledger()
    load = Load(ledger, [ProxyWriter(int(port), list(hosts), number) for number in range(int(count))])
    with ExitStack() as held:
        for order in sys.stdin:
            print(json.dumps(_answer(order.strip(), ledger, load, held)), flush=True)
    load.stop()


def _answer(order: str, ledger: Ledger, load: Load, held: ExitStack) -> dict[str, Any]:
    if order == "begin":
        load.begin_round()
    elif order == "pause":
        held.enter_context(load.paused())
    elif order != "report":
        titles = json.loads(Path(order).read_text())
        verdict = ledger.check([row_of(title) for title in titles])
        held.close()
        return vars(verdict)
    return {"total": ledger.total, "outage": load.longest_outage, "refusals": load.refusals}


if __name__ == "__main__":
    main(*sys.argv[1:])
