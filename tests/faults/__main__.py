"""The fault suite: `poe faults`. What an app or the library acknowledged must survive every fault, once.

Both runtimes are under load at the same time, each on projects of its own. A fault is inflicted, `fastzero up` is run,
and the ledger of acknowledged writes is compared with the database. The exit code is 1 if anything was lost, doubled,
answered with what is no "try again", left over, or not brought back by that `up`.
"""

import argparse
import itertools
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from tests.conftest import FOREIGN

from . import report
from .rounds import Arena, Outcome
from .scenarios import RUNTIMES, SCENARIOS, Scenario
from .schedule import Round, schedule

BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
_printing = threading.Lock()


class Run:
    """The rounds of one runtime, one after another, until its time is over."""

    def __init__(self, runtime: str, seed: int, scenarios: Sequence[Scenario], deadline: float) -> None:
        self.outcomes: list[Outcome] = []
        self._rounds = schedule(seed, runtime, [scenario.name for scenario in scenarios])
        self._runtime = runtime
        self._deadline = deadline
        self._arenas: dict[str, Arena] = {}

    def __call__(self) -> list[Outcome]:
        try:
            for planned in itertools.takewhile(lambda _: time.monotonic() < self._deadline, self._rounds):
                self._run(planned)
        finally:
            for world in list(self._arenas):
                self._close(world)
        return self.outcomes

    def end_soon(self) -> None:
        """Begin no other round."""
        self._deadline = 0.0

    def _run(self, planned: Round) -> None:
        scenario = BY_NAME[planned.scenario]
        began = time.monotonic()
        try:
            outcome = self._arena(scenario.world).run(scenario, planned)
        except Exception as error:  # no project could be made; another round may have more luck
            outcome = Outcome(planned, failure=f"{type(error).__name__}: {error}")
        self._keep(outcome, time.monotonic() - began)
        if outcome.problems:  # the next round gets a project that nothing is wrong with
            self._close(scenario.world)

    def _arena(self, world: str) -> Arena:
        if world not in self._arenas:
            self._arenas[world] = Arena(self._runtime, world)
        return self._arenas[world]

    def _close(self, world: str) -> None:
        arena = self._arenas.pop(world, None)
        if arena is None:
            return
        if left := arena.close():
            self._keep(Outcome(Round(self._runtime, f"down --volumes ({world})", 1, ""), leftovers=left), 0)

    def _keep(self, outcome: Outcome, seconds: float) -> None:
        self.outcomes.append(outcome)
        planned = outcome.round
        with _printing:
            head = f"{planned.runtime:9} {planned.scenario:22} #{planned.turn:<3} {seconds:5.0f} s"
            print(f"{head}  {outcome.acknowledged:6,} acknowledged, {len(outcome.verdict.lost)} lost", flush=True)
            for problem in outcome.problems:
                print(f"  {problem}", flush=True)


def main() -> int:
    options = _options()
    for name in [name for name in os.environ if name.startswith("FASTZERO_") or name in FOREIGN]:
        del os.environ[name]  # the projects of this suite are nobody else's
    wanted = [BY_NAME[name] for name in options.only or BY_NAME]
    runtimes = options.runtime or RUNTIMES
    skipped = {
        (runtime, scenario.name): reason
        for runtime, scenario in itertools.product(runtimes, wanted)
        if (reason := scenario.reason_to_skip(runtime))
    }
    if options.list:
        for name, scenario in BY_NAME.items():
            print(f"{name:22} {', '.join(scenario.runtimes):17} {scenario.what}")
        return 0
    for (runtime, name), reason in skipped.items():
        print(f"{runtime:9} {name:22} is not run: {reason}")
    minutes = options.hours * 60 if options.hours else options.minutes
    print(f"seed {options.seed}, {minutes:g} minutes")
    deadline = time.monotonic() + minutes * 60
    runs = [
        Run(runtime, options.seed, here, deadline)
        for runtime in runtimes
        if (here := [each for each in wanted if (runtime, each.name) not in skipped])
    ]
    outcomes = _all(runs)
    print(report.table(outcomes))
    if options.write:
        report.write(report.page(f"Seed {options.seed}, {minutes:g} minutes.", outcomes, skipped))
    return 1 if not outcomes or any(outcome.problems for outcome in outcomes) else 0


def _all(runs: Sequence[Run]) -> list[Outcome]:
    """Every outcome of the runs, side by side. SIGTERM and Ctrl-C end them after the round that is under way."""

    def end_soon(*_: object) -> None:
        print("ending after the rounds that are under way", flush=True)
        for run in runs:
            run.end_soon()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end_soon)
    with ThreadPoolExecutor(max(len(runs), 1)) as pool:
        return [outcome for done in pool.map(lambda run: run(), runs) for outcome in done]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="poe faults", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seed", type=int, default=1, help="decides which fault comes when, and how it is")
    parser.add_argument("--minutes", type=float, default=15, help="begin no round after so long")
    parser.add_argument("--hours", type=float, help="the same in hours")
    parser.add_argument("--runtime", action="append", choices=RUNTIMES, help="one runtime")
    parser.add_argument("--only", action="append", choices=list(BY_NAME), metavar="FAULT", help="one kind of fault")
    parser.add_argument("--list", action="store_true", help="list the kinds of faults, and run nothing")
    parser.add_argument("--write", action="store_true", help="write the results into docs/faults.md")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
